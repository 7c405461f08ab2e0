"""A service of its own process, to be killed: starts what it is told on its standard input, tells what happens.

Each line in is `EPOCH FOLDER` first, then JSON of a specification; each line out JSON of an event's kind, seq, attempt.
It acknowledges nothing but output, and that only where it is told to.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from orcha._supervisor.contract import CommandOutput, Event
from orcha._supervisor.protocol import unpack_spec
from orcha._supervisor.shim_executor import ShimExecutor


def main() -> None:
    epoch, folder, acknowledge = json.loads(sys.stdin.readline())

    def on_events(events: list[Event]) -> None:
        for event in events:
            on_event(event)

    def on_event(event: Event) -> None:
        number = event.chunks[-1].number if isinstance(event, CommandOutput) else 0
        if number and acknowledge:
            commands.took(event.seq, event.attempt, number)
        print(json.dumps([type(event).__name__, event.seq, event.attempt, number]), flush=True)

    commands = ShimExecutor(
        Path(folder), epoch=epoch, on_events=on_events, report=lambda _level, line: print(line, file=sys.stderr)
    )
    commands.adopt()
    for line in sys.stdin:
        commands.start(unpack_spec(json.loads(line)))


if __name__ == "__main__":
    main()
