"""A service reduced to its processes (`processes/fake_service.py`), with any interpreter found on this machine."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from orcha._processes.identity import Identity, identify, is_alive
from orcha._processes.sweep import sweep
from orcha._processes.tag import all_of
from support.ports import free_port
from support.processes import each_process
from support.waiting import wait_for

SCRIPT = Path(__file__).parent / "fake_service.py"
SOURCES = SCRIPT.parent.parent.parent / "src"
TREE = 6
"""How many processes a tree has."""


@cache
def interpreters() -> dict[str, str]:
    """Give this interpreter and the newest one in PATH and below ~/.pyenv, by their versions.

    What the two show alike, those between them show as well: no start method was changed, and then changed back.
    """
    found = {f"3.{sys.version_info.minor}": sys.executable}
    for minor in range(19, sys.version_info.minor, -1):
        version = f"3.{minor}"
        installed = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
        path = str(installed[-1]) if installed else shutil.which(f"python{version}")
        if path and subprocess.run([path, "-c", ""], check=False).returncode == 0:
            found[version] = path
            break
    return found


def sleepers(mark: str) -> list[Identity]:
    """Give the ``sleep`` processes that were started with this argument."""
    found = []
    for pid, text in each_process("cmdline"):
        identity = identify(pid) if text.split(b"\0")[:2] == [b"sleep", mark.encode()] else None
        if identity is not None:
            found.append(identity)
    return found


class FakeService:
    """Runs `fake_service.py` and talks with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = str(random.SystemRandom().randrange(10**8, 10**9))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.nonces: list[int] = []
        self.others: list[Identity] = []
        self._bystander: subprocess.Popen[bytes] | None = None
        self.dropped: list[dict[str, Any]] = []
        """What it said while something else was waited for."""
        self._rest = b""

    def start(self, method: str, python: str = sys.executable, loop: str = "asyncio") -> dict[str, Any]:
        arguments = [str(self.folder), str(self.port), method, self.mark, loop]
        self.process = subprocess.Popen(
            [python, "-W", "ignore::DeprecationWarning", str(SCRIPT), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment(),
        )
        self._rest = b""
        ready = self.hear("ready")
        self.nonces.append(ready["nonce"])
        return ready

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(SOURCES)}

    def say(self, line: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def hear(self, key: str, deadline: float = 30) -> dict[str, Any]:
        """Wait for the next line that has this key; earlier ones are dropped."""
        assert self.process is not None
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while True:
            while b"\n" in self._rest:
                line, _, self._rest = self._rest.partition(b"\n")
                fields: dict[str, Any] = json.loads(line)
                if key in fields:
                    return fields
                self.dropped.append(fields)
            assert select.select([descriptor], [], [], deadline)[0], f"the service did not say {key!r}"
            chunk = os.read(descriptor, 65536)
            assert chunk, f"the service ended before it said {key!r}"
            self._rest += chunk

    def start_tree(self, ordinal: int) -> list[Identity]:
        """Have an action start its tree; give all processes of it."""
        self.say(f"start {ordinal}")
        return wait_for(lambda: self.tree(ordinal), what=f"tree {ordinal}")

    def tree(self, ordinal: int) -> list[Identity]:
        """Give the tree when it is complete."""
        known = {other.pid for other in self.others}
        found = [one for one in sleepers(f"{self.mark}{ordinal}") if one.pid not in known]
        for path in (self.folder / f"tree-{ordinal}").glob("pid-*"):
            identity = identify(int(path.name.removeprefix("pid-")))
            if identity is not None:
                found.append(identity)
        return found if len(found) == TREE else []

    def role(self, ordinal: int, role: str) -> Identity:
        """Give one process of a tree by its role."""
        for path in (self.folder / f"tree-{ordinal}").glob("pid-*"):
            identity = identify(int(path.name.removeprefix("pid-")))
            if path.read_text() == role and identity is not None:
                return identity
        raise AssertionError(role)

    def watcher(self) -> Identity:
        """Wait until the watcher runs and holds the service, which its ignoring SIGINT shows."""

        def ready() -> Identity | None:
            self.say("ping")
            pid = self.hear("pong")["watcher"]
            identity = identify(pid) if pid else None
            if identity is None:
                return None
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                holds = any("pidfd" in link for link in links(pid))
            except OSError:  # it opens and closes files, or has ended
                return None
            ignored = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn")), 16)
            return identity if holds and ignored & 1 << (signal.SIGINT - 1) else None

        return some(wait_for(ready, what="the watcher"))

    def kill(self) -> None:
        """Kill the service with SIGKILL and reap it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    def bystander(self, ordinal: int) -> Identity:
        """Start an innocent one: same user, same command line, same environment as one of the tree."""
        process = subprocess.Popen(["sleep", f"{self.mark}{ordinal}"], env=self.environment())
        identity = wait_for(lambda: sleepers(f"{self.mark}{ordinal}"))[0]
        assert identity.pid == process.pid
        self.others.append(identity)
        self._bystander = process
        return identity

    def close(self) -> None:
        """End all that is left."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for nonce in self.nonces:
            assert not sweep(all_of(nonce), deadline=20).survivors
        if self._bystander is not None:
            self._bystander.kill()
            self._bystander.wait()


def links(pid: int) -> list[str]:
    """Give what the descriptors of a process are open on."""
    return [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]


def some(identity: Identity | None) -> Identity:
    """Give what must be there."""
    assert identity is not None
    return identity


def gone(processes: list[Identity]) -> bool:
    """Whether none of them lives."""
    return not any(is_alive(one) for one in processes)
