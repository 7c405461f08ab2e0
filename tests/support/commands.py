"""Clients of the built-in manager of commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from orcha.interfaces import Message

COMMANDS = "orcha.lib:CommandManager"
"""What `serve` starts for commands."""
STEADY = """
echo "$1 start $ORCHA_ATTEMPT" >> "$2"
i=0
while [ ! -e "$3" ]; do
    echo "$1 $i"; echo "$1 $i" >&2
    i=$((i + 1))
    sleep 0.05
done
echo "$1 end $i" >> "$2"
exit $(($1 % 5))
"""
"""Prints numbered lines to both streams until the file $3 exists; notes start and end in the ledger $2."""
WRITER = """
echo "$1 start $ORCHA_ATTEMPT" >> "$3"
i=0
while [ $i -lt $2 ]; do
    echo "$1 $i ...................................................................................."
    [ $i -eq $(($2 / 2)) ] && while [ ! -e "$4" ]; do sleep 0.05; done
    i=$((i + 1))
done
echo "$1 end $ORCHA_ATTEMPT" >> "$3"
exit $(($1 % 5))
"""
"""Prints $2 numbered lines, the last half of them once the file $4 exists; notes start and end in the ledger $3."""


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


def writer(number: int, lines: int, ledger: Path, gate: Path) -> list[str]:
    """Give the command line of a writer."""
    return ["sh", "-c", WRITER, "writer", str(number), str(lines), str(ledger), str(gate)]


def written_by(number: int, lines: int) -> bytes:
    """Give what a writer prints."""
    return b"".join(b"%d %d %s\n" % (number, line, b"." * 84) for line in range(lines))
