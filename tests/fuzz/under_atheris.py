"""``python under_atheris.py TARGET OPTION...``: have atheris drive one target; the options are libFuzzer's."""

from __future__ import annotations

import sys
import time
from functools import partial

import atheris

with atheris.instrument_imports(include=["orcha", "cronsim", "tomllib"]):
    from fuzz.targets import TARGETS

SLOW_SECONDS = 5.0
"""Of processor time: an input that takes longer is a fault, too."""


def tried(target, data):
    """Try an input; raise where that takes long, however loaded the machine is."""
    began = time.process_time()
    target(data)
    took = time.process_time() - began
    assert took < SLOW_SECONDS, f"an input of {len(data)} bytes takes {took:.1f} s"


def main() -> None:
    """Fuzz until libFuzzer is told to end, or has found an input on which the target raises."""
    atheris.Setup([sys.argv[0], *sys.argv[2:]], partial(tried, TARGETS[sys.argv[1]]))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
