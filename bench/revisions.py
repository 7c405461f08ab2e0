"""This revision beside another one: time and processor time of a petition, in blocks that take turns.

    python bench/revisions.py TREE [WORK...] [--seconds N]

TREE is a checkout of the other revision (`git worktree add`). A block of one follows a block of the other, so that both
meet the same machine, and each figure is the median of the blocks. The processor time is that of the service, its
supervisor, its shims and the commands, so it holds on a busy machine as well, where times on the wall do not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support import HERE, machine, row

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKS = {
    "one": "no-op petition, one at a time",
    "many": "no-op petitions, `running < 64`",
    "echo": "`echo hi`, one at a time",
    "true-2": "/bin/true, 2 at a time",
    "true-64": "/bin/true, 64 at a time",
}


@contextlib.contextmanager
def client(tree: Path, work: str) -> Iterator[subprocess.Popen[str]]:
    """Have a process that measures blocks of the revision of a tree."""
    environment = os.environ | {"PYTHONPATH": f"{tree}/src:{tree}/bench"}
    environment.setdefault("BENCH_FOLDER", str(HERE.parent))
    command = [sys.executable, "-P", str(HERE / "revision_client.py"), work]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def block(process: subprocess.Popen[str]) -> list[float]:
    """Measure one block: time, and processor time of the service, and of all that it started."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(file=process.stdin, flush=True)
    figures: list[float] = json.loads(process.stdout.readline())
    return figures


def compare(tree: Path, work: str, seconds: float) -> None:
    """Measure one kind of work in turn, print a row."""
    with client(HERE.parent, work) as here, client(tree, work) as there:
        pairs: list[tuple[list[float], list[float]]] = []
        end = time.monotonic() + seconds
        while not pairs or time.monotonic() < end:
            if len(pairs) % 2:
                mine, theirs = block(here), block(there)
            else:
                theirs, mine = block(there), block(here)
            pairs.append((mine, theirs))
    cells = []
    for unit, figures in (
        ("ms", [[one[0] * 1e3 for one in pair] for pair in pairs]),
        ("µs", [[sum(one[1:]) for one in pair] for pair in pairs]),
        ("µs", [[one[1] for one in pair] for pair in pairs]),
        ("µs", [[one[2] for one in pair] for pair in pairs]),
    ):
        new, old = (statistics.median(side) for side in zip(*figures, strict=True))
        ratio = statistics.median(one / other for one, other in figures) if old else 1.0
        digits = 3 if unit == "ms" else 0
        cells.append(f"{new:.{digits}f} / {old:.{digits}f} {unit}: {ratio:.2f}x" if old else "none")
    row(WORKS[work], *cells, len(pairs))


def main() -> None:
    """Measure all that is wanted, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tree", type=Path)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"which of {', '.join(WORKS)} (all)")
    parser.add_argument("--seconds", type=float, default=40, help="how long to measure each (40)")
    options = parser.parse_args()
    if unknown := set(options.works) - set(WORKS):
        parser.error(f"no such work: {', '.join(sorted(unknown))}")
    titles = ("time", "processor time", "… of the service", "… of all that it started", "blocks of each")
    row(f"this revision / the other one ({machine()})", *titles)
    row(*["---"] * (len(titles) + 1))
    for work in options.works or WORKS:
        compare(options.tree.resolve(), work, options.seconds)


if __name__ == "__main__":
    main()
