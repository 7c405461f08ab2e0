"""Dependencies: how soon the petitions that wait for one petition are considered once it has ended.

python bench/dependencies.py [DEPENDENTS]
"""

from __future__ import annotations

import os
import sys
import time

from command_client import connect, item
from orcha._cli.session import MANAGER, Session
from orcha._protocol.messages import Item, Verdict
from peer_work import expect
from support import machine, milliseconds, row, scaled, service

DEPENDENTS = scaled(10_000)
AT_ONCE = 1_000
"""Petitions of one submit."""
RUNS = scaled(10)
FULL = "full"
"""A group without a slot: its petitions are considered, and none of them starts."""


def seconds_until(dependents: int) -> tuple[float, float]:
    """End a petition for which so many wait; give the time until the first and until the last of them has begun.

    The others are of a group without a slot, so that no start of theirs delays the last one.
    """
    with service(script="command_service.py") as running:
        session = connect(running.port)
        awaited = item(["/bin/sleep", "1000"], session.channel())
        _submit(session, [awaited])
        after, unread = {"after": [awaited.id]}, session.channel()
        channels = [session.channel() for _ in range(2)]
        first, last = (item(["/bin/echo", "hi"], channel, **after) for channel in channels)
        others = [item(["/bin/true"], unread, group=FULL, **after) for _ in range(dependents - 2)]
        waiting = [first, *others, last]
        for begin in range(0, len(waiting), AT_ONCE):
            _submit(session, waiting[begin : begin + AT_ONCE])
        begun = time.perf_counter()
        expect(session.cancel(id=str(awaited.id), at_once=True).verdict, Verdict.OK)
        times = []
        for channel in channels:
            expect(channel.get(), (1, b"hi\n"))
            times.append(time.perf_counter() - begun)
        session.close()
    return times[0], times[1]


def _submit(session: Session, items: list[Item]) -> None:
    for answer in session.submit(items, MANAGER):
        expect(answer.verdict, Verdict.ACCEPTED)


def main() -> None:
    """Measure, and print a table."""
    row(f"{DEPENDENTS:,} that wait for one petition ({machine()})", "p50 / p99", "wanted")
    row("---", "---", "---")
    os.environ["ORCHA_SLOTS"] = f"{FULL}=0"
    two, many = ([seconds_until(count) for _ in range(RUNS)] for count in (2, max(2, DEPENDENTS)))
    row("the end asked for → output of the first of 2", milliseconds([first for first, _ in two]), "the yardstick")
    row("the end asked for → output of the first of all", milliseconds([first for first, _ in many]), "p99 ≤ 100 ms")
    row("the end asked for → output of the last of all", milliseconds([last for _, last in many]), "reported")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        DEPENDENTS = int(sys.argv[1])
    main()
