"""``python under_atheris.py TARGET OPTION...``: have atheris drive one target; the options are libFuzzer's."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["orcha", "cronsim", "tomllib"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer has done enough, or has found an input on which the target raises."""
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
