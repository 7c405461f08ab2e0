"""The document's plugin, and a variant of it that misbehaves by the id of a message, run as a person runs them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from orcha.lib import ClientManager
from support.processes import command_line
from support.service import RunningService, Serve
from support.waiting import wait_for

TESTS = Path(__file__).resolve().parent.parent
HELLO_WORLD = TESTS / "fixtures" / "hello_world"
"""What the document has its reader write, to the letter."""
VARIANTS = TESTS / "fixtures" / "variants"
"""The plugin ``hello-variant``: the document's, with faults and gates."""
CAUGHT = b"Ctrl + C caught! Finishing...\n"
"""What the document's client prints when it is interrupted while it waits."""
ANY_STATE = 0b1111110


def lines(count: int, first: int = 0) -> bytes:
    """Give what the document's client prints for lines from the `first` to before the `count`-th."""
    return b"".join(b"Hello world! %d\n\r" % number for number in range(first, count))


class Sent:
    """A client of the document that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Take it over."""
        self.process = process

    def line(self) -> bytes:
        """Wait for its next line on stdout; the document's end in LF CR, and the CR comes with the next read."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def notice(self) -> str:
        """Wait for its next line on stderr, which `ended` does not give again."""
        assert self.process.stderr is not None
        return self.process.stderr.readline().decode()

    def read(self, size: int) -> bytes:
        """Wait for so many more bytes on stdout."""
        assert self.process.stdout is not None
        data = b""
        while len(data) < size and (more := self.process.stdout.read(size - len(data))):
            data += more
        return data

    def interrupt(self) -> None:
        """Press Ctrl+C."""
        self.process.send_signal(signal.SIGINT)

    def ended(self) -> tuple[bytes, str, int]:
        """Wait for its end; give the rest of stdout, stderr, and the code."""
        out, err = self.process.communicate(timeout=90)
        return out, err.decode(), self.process.returncode


class Document:
    """A service of the document's plugin, or of its variant, and its clients."""

    def __init__(self, serve: Serve, name: str = "hello-variant", *, start: bool = True, **environment: str) -> None:
        """Start the service: ``orcha NAME serve``."""
        self.name = name
        paths = {"PYTHONPATH": os.pathsep.join(map(str, (TESTS, HELLO_WORLD, VARIANTS)))}
        self.service: RunningService = serve(arguments=(name, "serve"), environment=paths | environment, start=start)
        self._clients: list[int] = []
        self.idle = self.processes() if start else set()
        """What runs when no petition does: the service and its helpers."""

    def restart(self, **environment: str) -> None:
        """Start the service again."""
        self.service.start(environment=environment)
        self.idle = self.processes()

    def send(self, identity: str, counter: int = 1, sleep_time: float = 0, **options: Any) -> Sent:
        """Start the document's client: ``orcha NAME send IDENTITY --counter N --sleep-time T``."""
        words = ("send", identity, "--counter", str(counter), "--sleep-time", str(sleep_time))
        unbuffered = {"PYTHONUNBUFFERED": "1"}  # the document prints one of its lines without a flush
        environment = self.service.environment | unbuffered | options.pop("environment", {})
        streams: dict[str, Any] = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "env": environment,
            "bufsize": 0,
        }
        command = options.pop("command", None) or self.service.orcha(self.name)
        client = self.service.spawn(*command, *words, **streams | options)
        self._clients.append(client.pid)
        return Sent(client)

    def processes(self) -> set[int]:
        """Give what runs of the service, its helpers (the watcher aside) and its petitions."""
        found = set(self.service.processes()) - set(self._clients)
        return {pid for pid in found if "_processes/watcher.py" not in command_line(pid)}

    def wait_until_idle(self) -> None:
        """Wait until no process of any petition is left."""
        wait_for(lambda: self.processes() <= self.idle, what=f"only {self.idle} run")


def rows(client: ClientManager) -> list[dict[str, Any]]:
    """Give the petitions of a service, newest first, ended ones too."""
    return list(client.manager.client.rows(ANY_STATE, 1000))


def states(client: ClientManager) -> dict[str, str]:
    """Give the state of each petition: the outcome of an ended one."""
    return {row["id"]: row["outcome"] or row["state"] for row in reversed(rows(client))}


def wait_for_state(client: ClientManager, identity: str, state: str) -> None:
    """Wait until a petition is in a state, or has ended with an outcome."""
    wait_for(lambda: states(client).get(identity) == state, what=f"{identity} {state}", interval=0.02)
