"""A service reduced to its processes: ``python fake_service.py FOLDER PORT START_METHOD MARK [LOOP]``.

It takes its lock, sweeps what an earlier one left, listens, and follows commands from stdin, one a line; each answer is
a line of JSON. Its actions run in threads and start trees of processes.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any


def record(folder: str, role: str) -> None:
    """Say where a process of a tree is, in one step."""
    text = Path(folder, f".{os.getpid()}")
    text.write_text(role)
    text.rename(Path(folder, f"pid-{os.getpid()}"))


def wait_for_ever() -> None:
    while True:
        signal.pause()


def tree(folder: str, mark: str) -> None:
    """Be the child of an action that has started all kinds of processes. Six with itself."""
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        record(folder, "stubborn")
        wait_for_ever()
    if (middle := os.fork()) == 0:
        if os.fork() == 0:
            os.setsid()
            record(folder, "escaped")
            wait_for_ever()
        os._exit(0)
    os.waitpid(middle, 0)
    subprocess.Popen(["env", "-i", "setsid", "sleep", mark])
    subprocess.Popen(["sh", "-c", f"sleep {mark} & exec sleep {mark}"])
    record(folder, "child")
    wait_for_ever()


class Service:
    """The parts that this package's parts are for."""

    def __init__(self, folder: str, port: int, method: str, mark: str) -> None:
        from orcha._processes import (
            attempt_processes,
            attempt_tracking,
            helpers,
            lock,
            sweep,
            tag,
            terminator,
            watcher_process,
        )

        began = time.monotonic()
        self.folder, self.mark, self.attempts = Path(folder), mark, attempt_tracking
        self.lock = lock.EndpointLock(self.folder / "endpoint")
        nonces = self.folder / "nonces"
        recorded = nonces.read_text().split() if nonces.exists() else []
        swept = [sweep.sweep(tag.all_of(int(nonce)), deadline=20) for nonce in recorded]
        self.nonce = tag.new_nonce()
        nonces.write_text(f"{self.nonce}\n")
        tag.tag_self(tag.tag_of(self.nonce, 0))
        if method != "default":
            multiprocessing.set_start_method(method)
        self.helpers = helpers.ensure_helpers()
        self.population = attempt_processes.processes_for(self.nonce)
        self.watcher = watcher_process.Watcher(self.nonce)
        self.port = port
        self.server: asyncio.Server | None = None
        state = attempt_tracking.ServiceState(self.population, self.descriptors, (self.forget,), self.watcher.need)
        attempt_tracking.install(state)
        self.ending = terminator.AttemptTerminator(self.population, attempt_tracking.claim_children, self.ended)
        self.secret: str | None = "secret"
        self.start = {
            "killed": sorted(pid for one in swept for pid in one.killed),
            "took": time.monotonic() - began,
            "nonce": self.nonce,
        }

    def descriptors(self) -> list[int]:
        assert self.server is not None
        return [self.lock.descriptor, *(each.fileno() for each in self.server.sockets)]

    def forget(self) -> None:
        self.secret = None

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda number=number: self.say(handler=number))
        self.server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", self.port)
        self.say(ready=os.getpid(), helpers=sorted(self.helpers), **self.start)
        lines: asyncio.Queue[str] = asyncio.Queue()
        loop.add_reader(0, lambda: lines.put_nowait(sys.stdin.readline()))
        while line := await lines.get():
            command, *rest = line.split()
            getattr(self, f"do_{command}")(*map(int, rest))

    def say(self, **fields: Any) -> None:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()

    def ended(self, ordinal: int, survivors: tuple[int, ...], number: int | None) -> None:
        self.say(ended=ordinal, survivors=survivors, signal=number)

    def do_ping(self) -> None:
        self.say(pong=True, secret=self.secret, watcher=self.watcher.pid)

    def do_start(self, ordinal: int) -> None:
        threading.Thread(target=self.act, args=(ordinal,), daemon=True).start()

    def do_cancel(self, ordinal: int) -> None:
        from orcha._processes.escalation_plan import EscalationStep

        self.ending.begin(
            ordinal,
            [
                EscalationStep(signal.SIGINT, 0.2),
                EscalationStep(signal.SIGTERM, 0.2),
                EscalationStep(signal.SIGKILL, 30),
            ],
        )

    def do_quiet(self) -> None:
        """Run an attempt that starts nothing."""
        with self.attempts.working_for(99) as attempt:
            pass
        self.say(may_have_processes=attempt.may_have_processes)

    def act(self, ordinal: int) -> None:
        folder = self.folder / f"tree-{ordinal}"
        folder.mkdir(exist_ok=True)
        with self.attempts.working_for(ordinal) as attempt:
            process = multiprocessing.Process(target=tree, args=(str(folder), f"{self.mark}{ordinal}"))
            process.start()
            self.attempts.adopt(ordinal, process.pid or 0)
            process.join()
        self.say(back=ordinal, code=process.exitcode, may_have_processes=attempt.may_have_processes)


def main(folder: str, port: str, method: str, mark: str, loop: str = "asyncio") -> None:
    from orcha.exceptions import OrchaError

    if loop == "uvloop":
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    try:
        service = Service(folder, int(port), method, mark)
    except OrchaError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None
    asyncio.run(service.serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
