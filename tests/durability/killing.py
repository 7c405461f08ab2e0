"""Killing a service again and again while clients work with it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from durability.history import Figures, History, check
from orcha._processes.tag import NONCE_BITS, ORDINAL_BITS, read_tag
from support.processes import command_line
from support.service import RunningService, Serve
from support.waiting import wait_for

CLIENT = Path(__file__).parent / "ledger_client.py"


def orphans(service: RunningService, *, alive: bool = True) -> list[int]:
    """Give the processes that attempts of earlier starts of the service left; of all starts where it is not `alive`."""
    own = read_tag(service.pid) >> ORDINAL_BITS if alive else -1
    found = []
    for pid in service.processes():
        tag = read_tag(pid)
        nonce, ordinal = tag >> ORDINAL_BITS, tag & ((1 << ORDINAL_BITS) - 1)
        if ordinal and 0 < nonce < 1 << NONCE_BITS and nonce != own:
            found.append(pid)
    return found


class Campaign:
    """A service that is killed, its clients, and what they know."""

    def __init__(self, serve: Serve, folder: Path, seed: int, *, clients: int = 2, workers: int = 5) -> None:
        """Start the service and its clients."""
        self.random = random.Random(seed)
        self.folder = folder
        self.ledger = folder / "ledger"
        self.service = serve("support.ledger:LedgerManager", environment={"TEST_LIMIT": "4"})
        self.kills = 0
        self._seed = seed
        self._workers = workers
        self._clients: list[subprocess.Popen[Any]] = []
        self._journals: list[Path] = []
        for _ in range(clients):
            self.start_client()

    def start_client(self) -> None:
        """Start one more client."""
        number = len(self._journals)
        journal = self.folder / f"c{number}"
        self._journals.append(journal)
        words = (self.service.address, self.service.port, journal, self.ledger, f"{self._seed}/{number}", self._workers)
        command = [sys.executable, str(CLIENT), *map(str, words)]
        log = (self.folder / f"c{number}.stderr").open("wb")
        with log:
            self._clients.append(self.service.spawn(*command, stdin=subprocess.PIPE, stderr=log))

    def kill_client(self) -> None:
        """Kill a client and start another one."""
        client = self._clients.pop(self.random.randrange(len(self._clients)))
        client.kill()
        client.wait()
        self.start_client()

    def kill_service(self) -> None:
        """Kill -9 the service, whatever it is doing; by chance what watches over it too."""
        if self.random.random() < 0.2:
            for pid in self.service.processes():
                if "watcher.py" in command_line(pid):
                    os.kill(pid, signal.SIGKILL)
        self.service.kill()
        self.kills += 1

    def round(self) -> None:
        """Let it work for a moment, kill it, by chance once more while it recovers, and start it again."""
        time.sleep(self.random.uniform(0.02, 0.3))  # not a wait for a fact: the moment of the kill
        self.kill_service()
        while self.random.random() < 0.3:
            self.service.start(ready=False)
            time.sleep(self.random.uniform(0.1, 0.45))
            self.kill_service()
        self.service.start()
        left = [command_line(pid) for pid in orphans(self.service)]
        assert not left, f"a start serves while processes of earlier ones live: {left}"

    def acked(self) -> int:
        """Count what clients were told is accepted, so far."""
        return sum(story.acked for story in History.read(self._journals).stories.values())

    def end(self) -> Figures:
        """Let the clients read to the end, stop the service, and compare everything."""
        for client in self._clients:
            assert client.stdin is not None
            client.stdin.close()
        for client in self._clients:
            assert client.wait(60) == 0, f"a client failed: {self.complaints()}"
        assert self.service.stop() == 0
        wait_for(lambda: not orphans(self.service, alive=False), what="the end of what the attempts left")
        return check(History.read(self._journals), self.ledger, self.endpoint)

    @property
    def endpoint(self) -> Path:
        """The service's folder."""
        return self.service.home / f"{self.service.address}-{self.service.port}"

    def complaints(self) -> str:
        """Give what clients wrote to stderr."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("c*.stderr")))
