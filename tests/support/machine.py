"""The machine's service with its users, as a test starts and uses it: see `support.machine_users`."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orcha._cli.install_units import pam_service
from orcha._supervisor.pam_session import LIBRARY
from support import as_user, machine_users, warm
from support.processes import processes_of
from support.waiting import DEADLINE, wait_for

ALICE, BOB, CAROL, DAN, ERIN, GONE, LAB = 61001, 61002, 61003, 61004, 61005, 61009, 61100
PASSWD = "root:x:0:0::/root:/bin/sh\n"
ACCOUNTS = {ALICE: "alice", BOB: "bob", CAROL: "carol"}


def can_have_a_machine() -> bool:
    """Tell whether this process may have users and a mount namespace of its own."""
    if os.geteuid():
        return False
    child = os.fork()
    if not child:
        os._exit(ctypes.CDLL(None).unshare(machine_users.CLONE_NEWNS) != 0)
    return os.waitpid(child, 0)[1] == 0


def has_pam() -> bool:
    """Tell whether PAM is installed, with the module that gives limits."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    folders = ("usr/lib*", "usr/lib/*", "lib*", "lib/*")
    return any(any(Path("/").glob(f"{folder}/security/pam_limits.so")) for folder in folders)


class Machine:
    """The machine's service, and the commands of its users."""

    def __init__(self, environment: Mapping[str, str], accounts: Mapping[int, str] = ACCOUNTS) -> None:
        """Write the files; `start` starts the service."""
        self.folder = Path(tempfile.mkdtemp(prefix="orcha-machine-"))
        self.folder.chmod(0o755)
        (self.folder / "nosuid").mkdir()
        self.write_accounts(accounts, f"lab:x:{LAB}:alice\n")
        self.environment = {name: text for name, text in environment.items() if name != "ORCHA_HOME"}
        self.environment |= {"ORCHA_SYSTEM_ROOT": str(self.folder), "SECRET_OF_ROOT": "canary", "ORCHA_COMMANDS": "2"}
        self.process: subprocess.Popen[str] | None = None

    def write_accounts(self, accounts: Mapping[int, str], groups: str) -> None:
        """Write both files in their places: what is mounted are these very files."""
        lines = [f"{name}:x:{uid}:{uid}::{self.folder}/{uid}:/bin/sh\n" for uid, name in accounts.items()]
        (self.folder / "passwd").write_text(PASSWD + "".join(lines))
        (self.folder / "group").write_text("root:x:0:\n" + groups)
        for name in ("passwd", "group"):
            (self.folder / name).chmod(0o644)

    def write_limits(self, lines: str) -> None:
        """Have PAM give these lines of limits.conf(5), by the service that Orcha installs; before `start`."""
        (self.folder / "pam.d").mkdir(exist_ok=True)
        text = pam_service().replace("pam_limits.so", f"pam_limits.so conf={self.folder}/limits.conf")
        (self.folder / "pam.d" / "orcha").write_text(text)
        (self.folder / "limits.conf").write_text(lines)

    def home(self, uid: int) -> Path:
        """Give the home of a user, who has ORCHA_HOME there."""
        home = self.folder / str(uid)
        home.mkdir(mode=0o700, exist_ok=True)
        os.chown(home, uid, uid)
        return home

    def start(self, *managers: str) -> None:
        """Start the service, and return when it serves."""
        command = [sys.executable, machine_users.__file__, str(self.folder), "serve", "--system", *managers]
        self.process = warm.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        line = ""
        while not line.startswith("orcha: serving "):
            line = self.process.stderr.readline()
            assert line, "the service ended"

    def kill(self) -> None:
        """Kill the service."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate(timeout=DEADLINE)

    def words(self, uid: int, *words: str) -> list[str]:
        """Give the command line of an orcha command of a user."""
        return [sys.executable, machine_users.__file__, str(self.folder), str(uid), str(self.home(uid)), *words]

    def run(
        self, uid: int, *words: str, cwd: str | Path = "/", groups: str = "", **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run an orcha command of a user to its end; `groups` are numbers of further groups."""
        options = {"stdin": subprocess.DEVNULL} | options if "input" not in options else options
        return warm.run(
            self.words(uid, *words),
            env=self.environment | {as_user.GROUPS: groups},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
            **options,
        )

    def rows(self, uid: int) -> dict[str, Any]:
        """Give what `orcha ps --all` shows a user, by id."""
        return {row["id"]: row for row in json.loads(self.run(uid, "ps", "--all", "--json").stdout)}

    def close(self) -> None:
        """End the service, and wait for the end of all that was started."""
        if self.process is not None and self.process.poll() is None:
            self.run(0, "stop", "--now")
            self.process.communicate(timeout=2 * DEADLINE)
        wait_for(lambda: not processes_of(self.folder), what="the end of all that was started")
        shutil.rmtree(self.folder)
