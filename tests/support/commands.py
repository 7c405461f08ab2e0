"""Clients of the built-in manager of commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

from orcha.interfaces import Message
from support.gates import Latch

COMMANDS = "orcha.lib:CommandManager"
"""What `serve` starts for commands."""
STEADY = """
import os, sys, time
number, ledger, gate = sys.argv[1:]
with open(ledger, "a") as notes:
    notes.write(f"{number} start {os.environ['ORCHA_ATTEMPT']}\\n")
lines = 0
while not os.path.exists(gate):
    for stream in (sys.stdout, sys.stderr):
        print(number, lines, file=stream, flush=True)
    lines += 1
    time.sleep(0.05)
with open(ledger, "a") as notes:
    notes.write(f"{number} end {lines}\\n")
sys.exit(int(number) % 5)
"""
"""The program of `steady`."""
WRITER = """
echo "$1 start $ORCHA_ATTEMPT" >> "$3"
i=0
while [ $i -lt $2 ]; do
    echo "$1 $i ...................................................................................."
    [ $i -eq $(($2 / 2)) ] && read -r _ <"$4"
    i=$((i + 1))
done
echo "$1 end $ORCHA_ATTEMPT" >> "$3"
exit $(($1 % 5))
"""
"""Prints $2 numbered lines, the last half of them once the latch $4 is open; notes start and end in the ledger $3."""


class Written(NamedTuple):
    """Everything that came of a command."""

    out: bytes
    err: bytes
    lines: list[str]
    """What the service said to people."""
    code: int | None


def run(client: Any, name: str, *argv: str | bytes, **extras: Any) -> Any:
    """Send a command; give the channel of its values."""
    queue = client.manager.Queue()
    client.send(Message(name, {"argv": list(argv), "queue": queue} | extras))
    return queue


def everything(queue: Any) -> Written:
    """Read to the final value."""
    written = {1: [b""], 2: [b""]}
    lines = []
    while isinstance(value := queue.get(), (tuple, str)):
        if isinstance(value, str):
            lines.append(value)
        else:
            written[value[0]].append(value[1])
    return Written(b"".join(written[1]), b"".join(written[2]), lines, value)


def steady(number: int, ledger: Path, gate: Path) -> list[str]:
    """Give a command that prints numbered lines to both streams until the file `gate` exists.

    It notes its start, and at its end the number of its lines, in the ledger. A shell would start a process for each
    pause: ten of such commands cost more than the service.
    """
    return [sys.executable, "-I", "-S", "-c", STEADY, str(number), str(ledger), str(gate)]


def writer(number: int, lines: int, ledger: Path, latch: Latch) -> list[str]:
    """Give the command line of a writer."""
    return ["sh", "-c", WRITER, "writer", str(number), str(lines), str(ledger), latch.path]


def written_by(number: int, lines: int) -> bytes:
    """Give what a writer prints."""
    return b"".join(b"%d %d %s\n" % (number, line, b"." * 84) for line in range(lines))
