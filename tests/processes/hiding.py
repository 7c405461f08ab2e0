"""Processes that /proc hides, ended as a service ends those of its attempts: ``python hiding.py UID FOLDER WHO``.

Run by root where /proc is mounted with hidepid=2. `WHO` is `action`, `orphan` or `command`; prints what came of it.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from pathlib import Path

HIDES = """
import ctypes, os, signal, sys
if sys.argv[1] == "orphan":
    if os.fork():
        os._exit(0)
    os.setsid()
PR_SET_DUMPABLE = 4
assert ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
sys.stdout.write(f"{os.getpid()}\\n")
sys.stdout.flush()
os.close(1)
os.close(2)
while True:
    signal.pause()
"""


def python() -> str:
    """Give an interpreter that every user may execute."""
    return "/usr/bin/python3"


def of_an_action(how: str) -> str:
    """Have an attempt's terminator end it, when the attempt's thread has started it."""
    from orcha._processes import attempt_tracking, tag
    from orcha._processes.attempt_processes import TaggedProcesses
    from orcha._processes.identity import read_stat
    from orcha._processes.terminator import AttemptTerminator

    population = TaggedProcesses(tag.new_nonce())
    attempt_tracking.install(attempt_tracking.ServiceState(population))
    with attempt_tracking.working_for(7) as attempt:
        process = subprocess.Popen(
            [python(), "-c", HIDES, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        pid = int(process.stdout.readline())
    assert attempt.may_have_processes
    assert read_stat(pid) is None, "it is shown: nothing is tested"
    descriptor = os.pidfd_open(pid)
    done: list[object] = []
    over = threading.Event()

    def note(_ordinal: int, survivors: tuple[int, ...], number: int | None) -> None:
        done.extend((survivors, number and int(number)))
        over.set()

    ending = AttemptTerminator(population, attempt_tracking.claim_children, note)
    ending.begin(7)
    assert over.wait(60), "it is not ended"
    ending.stop()
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return f"{'ended' if poller.poll(10_000) else 'lives'} {done}"


def of_a_command(folder: str) -> str:
    """Have a shim end what a command leaves behind."""
    from orcha._processes.identity import read_stat
    from orcha._supervisor.contract import CommandEnded, CommandOutput, CommandSpec
    from orcha._supervisor.shim_executor import ShimExecutor

    events: list[object] = []
    arrived = threading.Condition()

    def take(new: list[object]) -> None:
        with arrived:
            events.extend(new)
            arrived.notify_all()

    def first(kind: type) -> object:
        with arrived:
            assert arrived.wait_for(lambda: any(isinstance(one, kind) for one in events), 60), (kind, events)
            return next(one for one in events if isinstance(one, kind))

    commands = ShimExecutor(Path(folder), epoch=1, on_events=take, report=lambda *_: None)
    commands.adopt()
    commands.recovered()
    words = (python(), "-c", HIDES, "orphan")
    commands.start(CommandSpec(1, 1, bytes(16), words, "/", dict(os.environ), grace=0.5, drain=60.0))
    output = first(CommandOutput)
    pid = int(output.chunks[0].data)
    assert read_stat(pid) is None, "it is shown: nothing is tested"
    descriptor = os.pidfd_open(pid)
    commands.cancel(1, 1, "cancelled")
    ended = first(CommandEnded)
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    commands.forget(1, 1)
    commands.close(keep=False)
    return f"{'ended' if poller.poll(10_000) else 'lives'} {ended.survivors}"


if __name__ == "__main__":
    from support.as_user import become

    become(int(sys.argv[1]), sys.argv[2])
    print(of_a_command(sys.argv[2]) if sys.argv[3] == "command" else of_an_action(sys.argv[3]))
