"""One revision of a comparison, as a process that measures a block of petitions for each line on its stdin.

    PYTHONPATH=TREE/src:TREE/bench python -P bench/revision_client.py WORK

Everything of Orcha comes from TREE, also the client and the scripts that serve. Each block is answered in JSON: the
seconds of a petition, and the microseconds of processor time of a petition, by the service and by all that it started:
its supervisor, the shims, the commands. The first line is written once the service is warm.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import command_client
import noop
from orcha.interfaces import Message
from support import MeasuredService, scaled, service

if TYPE_CHECKING:
    from collections.abc import Callable

MANY, COMMANDS, ONE = scaled(2_000), scaled(400), scaled(100)
TICKS = os.sysconf("SC_CLK_TCK")


def processor_time(process: int) -> float:
    """Give the seconds that a process has used, also in ended threads (clock_getcpuclockid(3)); 0 once it ended."""
    try:
        return time.clock_gettime(~process << 3 | 2)
    except OSError:
        return 0.0


def descendants(process: int) -> list[int]:
    """Give the processes that a process started, and those that these started."""
    children: list[int] = []
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for task in Path(f"/proc/{process}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    return children + [one for child in children for one in descendants(child)]


def waited_for(process: int) -> float:
    """Give the seconds that ended children of a process have used, in whole ticks of the clock."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / TICKS


def used(running: MeasuredService) -> tuple[float, float]:
    """Give the seconds of the service, and of all processes that it started, with those that ended."""
    service_time, processes = processor_time(running.process.pid), descendants(running.process.pid)
    return service_time, sum(map(processor_time, processes)) + sum(map(waited_for, [running.process.pid, *processes]))


def serve(running: MeasuredService, block: Callable[[int], None], count: int) -> None:
    """Measure a block for each line, until stdin ends."""
    block(count)
    block(count)
    print("[]", flush=True)
    for _ in sys.stdin:
        before, begun = used(running), time.perf_counter()
        block(count)
        taken = time.perf_counter() - begun
        spent = [(after - earlier) / count * 1e6 for after, earlier in zip(used(running), before, strict=True)]
        print(json.dumps([taken / count, *spent]), flush=True)


def actions(work: str) -> None:
    """Measure petitions that only finish: one at a time, or many with `running < 64`."""
    with service("64") as running:
        manager, number = noop.connect(running), iter(range(10**9))

        def many(count: int) -> None:
            queue = manager.manager.Queue()
            messages = [Message(f"many-{next(number)}", {"queue": queue}) for _ in range(count)]
            manager.send_many(messages)
            for _ in messages:
                if queue.get() is not None:
                    raise RuntimeError("no success")

        def one_by_one(count: int) -> None:
            for _ in range(count):
                queue = manager.manager.Queue()
                manager.send(Message(f"one-{next(number)}", {"queue": queue}))
                if queue.get() is not None:
                    raise RuntimeError("no success")

        serve(running, *((many, MANY) if work == "many" else (one_by_one, ONE)))
        manager.shutdown()


def commands(work: str) -> None:
    """Measure commands: `echo hi` one at a time, or many `true`, so many of them at once."""
    os.environ["ORCHA_COMMANDS"] = work.removeprefix("true-") if work != "echo" else "2"
    with service(script="command_service.py") as running:
        session = command_client.connect(running.port)

        def echo(count: int) -> None:
            for _ in range(count):
                command_client.echo(session)

        def many(count: int) -> None:
            command_client.true(session, count)

        serve(running, *((echo, ONE) if work == "echo" else (many, COMMANDS)))
        session.close()


if __name__ == "__main__":
    (actions if sys.argv[1] in {"one", "many"} else commands)(sys.argv[1])
