"""Users of a machine, each with a home of its own; needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orcha._protocol.keys import make_key
from support import as_user, warm
from support.ports import free_port
from support.processes import processes_of
from support.waiting import DEADLINE, wait_for

KEY = make_key().text
"""What `Users.command` gives as --key: a made key, since a password costs both sides 0.1 s of processor time."""


class Users:
    """Services and commands of several users, at one port."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.folder = folder
        self.environment = environment
        self._services: list[subprocess.Popen[str]] = []

    def home(self, uid: int) -> Path:
        """Give the folder that is this user's ORCHA_HOME."""
        home = self.folder / str(uid)
        home.mkdir(mode=0o700, exist_ok=True)
        os.chown(home, uid, uid)
        return home

    def command(self, uid: int, *words: str, key: str | None = KEY) -> list[str]:
        """Give the command line of an orcha command of this user."""
        where = ["--port", str(self.port), *(["--key", key] if key else [])]
        return [sys.executable, as_user.__file__, str(uid), str(self.home(uid)), *where, *words]

    def run(self, uid: int, *words: str, key: str | None = KEY) -> subprocess.CompletedProcess[str]:
        """Run an orcha command of this user to its end."""
        return warm.run(
            self.command(uid, *words, key=key),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
        )

    def serve(self, uid: int, *words: str, processes: int | None = None, **environment: str) -> list[str]:
        """Start a service of this user, who may have so many processes; give the lines that it writes until then.

        Other keyword arguments are variables of its environment.
        """
        if processes is not None:
            environment |= {as_user.PROCESSES: str(processes)}
        process = warm.Popen(
            self.command(uid, "serve", *words),
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._services.append(process)
        said: list[str] = []
        assert process.stderr is not None
        while not (said and said[-1].startswith("orcha: serving ")):
            line = process.stderr.readline()
            assert line, said
            said.append(line)
        return said

    def end(self) -> str:
        """Stop the service that was started last; give the rest of what it wrote."""
        process = self._services.pop()
        process.terminate()
        _, said = process.communicate(timeout=2 * DEADLINE)
        return said

    def kill(self) -> None:
        """Kill the service that was started last, as with kill -9."""
        process = self._services.pop()
        process.kill()
        process.communicate(timeout=2 * DEADLINE)

    def close(self) -> None:
        """Stop every service, and wait until nothing that was started lives."""
        while self._services:
            self.end()
        wait_for(lambda: not processes_of(self.folder), what="the end of all that was started")


@contextmanager
def users_with(environment: Mapping[str, str]) -> Iterator[Users]:
    """Give users whose processes get this environment; everything of theirs is ended and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="orcha-users-"))
    folder.chmod(0o711)
    made = Users(folder, environment)
    yield made
    made.close()
    shutil.rmtree(folder)
