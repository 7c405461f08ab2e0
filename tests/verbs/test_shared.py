"""A key that users share lets them in where the service is shared, and everybody knows whose user acts then."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support import as_user
from support.plugins_served import install
from support.ports import free_port
from support.processes import processes_of
from support.waiting import DEADLINE, wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")
OWNER, OTHER = 61001, 61002
KEY = "a key that two users share"


PROGRAM = """
import sys
from support.as_user import become
become(int(sys.argv[1]), sys.argv[2])
from orcha import ClientManager, Message
client = ClientManager(port=int(sys.argv[3]), auth_key=sys.argv[4])
client.plugin_name = "alpha"
assert client.connect()
queue = client.manager.Queue()
client.send(Message("theirs", {"queue": queue}))
while isinstance(value := queue.get(), str):
    print(value, end="")
print(value)
client.shutdown()
"""
"""A program of another user, for a plugin that is served."""


def name_of(uid: int) -> str:
    """Give a user as people are told of one."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


class Users:
    """Users with a home each, and what they run at one port."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self._folder = folder
        self._environment = environment
        self._services: list[subprocess.Popen[str]] = []

    def home(self, uid: int) -> Path:
        home = self._folder / str(uid)
        home.mkdir(mode=0o700, exist_ok=True)
        os.chown(home, uid, uid)
        return home

    def command(self, uid: int, *words: str, key: str | None = KEY) -> list[str]:
        where = ["--port", str(self.port), *(["--key", key] if key else [])]
        return [sys.executable, as_user.__file__, str(uid), str(self.home(uid)), *where, *words]

    def run(self, uid: int, *words: str, key: str | None = KEY) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(uid, *words, key=key),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
            check=False,
        )

    def serve(self, uid: int, *words: str) -> list[str]:
        """Start a service, and give what it says up to when it is ready."""
        process = subprocess.Popen(
            self.command(uid, "serve", *words),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._services.append(process)
        said = []
        while not (said and said[-1].startswith("orcha: serving ")):
            line = process.stderr.readline()
            assert line, said
            said.append(line)
        return said

    def end(self) -> str:
        """Stop the service; give what else it said."""
        process = self._services.pop()
        process.terminate()
        _, said = process.communicate(timeout=2 * DEADLINE)
        return said

    def close(self) -> None:
        while self._services:
            self.end()
        wait_for(lambda: not processes_of(self._folder), what="the end of all that was started")


@pytest.fixture
def users(serve, tmp_path):
    """Give the users of a machine."""
    folder = Path(tempfile.mkdtemp(prefix="orcha-users-"))
    folder.chmod(0o711)
    made = Users(folder, serve.environment())
    yield made
    made.close()
    shutil.rmtree(folder)


def test_without_share_the_key_lets_in_no_other_user(users):
    said = users.serve(OWNER, "commands")
    assert not any("shared" in line for line in said)
    refused = users.run(OTHER, "run", "--", "id", "-u")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (125, "", 1)
    assert "started without --share" in refused.stderr
    for own in (OWNER, 0):
        assert users.run(own, "run", "--", "id", "-u").stdout == f"{OWNER}\n"


def test_with_share_both_sides_are_told_whose_user_acts(users):
    said = users.serve(OWNER, "--share", "commands")
    assert any("shared: whoever has the key" in line and f"runs as {name_of(OWNER)}" in line for line in said)
    ran = users.run(OTHER, "run", "--", "id", "-u")
    assert (ran.returncode, ran.stdout) == (0, f"{OWNER}\n")
    assert ran.stderr == f"orcha: what is asked for here runs as {name_of(OWNER)}, who started the service\n"
    own = users.run(OWNER, "run", "--", "id", "-u")
    assert (own.stdout, own.stderr) == (f"{OWNER}\n", "")
    wrong = users.run(OTHER, "run", "--", "id", "-u", key="another key than the one that is shared")
    assert (wrong.returncode, wrong.stdout) == (125, "")
    assert users.end().count(f"uid:{OTHER} came in with the key: what it asks for runs as {name_of(OWNER)}") == 1


def test_a_service_of_root_runs_commands_for_root_alone(users, tmp_path):
    install(tmp_path, "alpha")
    said = users.serve(0, "--share", "commands", "alpha")
    assert any("commands are root's alone" in line for line in said)
    refused = users.run(OTHER, "run", "--", "id", "-u")
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "this service is root's, and runs commands for root alone" in refused.stderr
    assert users.run(0, "run", "--name", "roots", "--", "id", "-u").stdout == "0\n"
    for words in (["retry", "roots"], ["show", "roots"], ["rm", "roots"], ["stop"], ["pause"], ["stats"]):
        denied = users.run(OTHER, *words)
        assert denied.returncode != 0, words
    plugin = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(OTHER), str(users.home(OTHER)), str(users.port), KEY],
        env=users._environment,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        check=True,
    )
    assert plugin.stdout == "alpha runs theirs\n0\n"
    assert plugin.stderr == f"orcha: what is asked for here runs as {name_of(0)}, who started the service\n"


def test_nobody_else_types_into_a_command_of_root(users):
    users.serve(0, "--share", "commands")
    typed = subprocess.Popen(
        users.command(0, "run", "-i", "--name", "roots", "--", "sh"),
        env=users._environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with typed:
        typed.stdin.write("echo root says\n")
        typed.stdin.flush()
        assert typed.stdout.readline() == "root says\n"
        denied = users.run(OTHER, "attach", "roots")
        assert denied.returncode != 0
        assert "root says" not in denied.stdout
        typed.stdin.write("echo only root\n")
        rest, _ = typed.communicate(timeout=DEADLINE)
    assert rest == "only root\n"


def test_to_share_takes_a_port(users):
    command = [word for word in users.command(0, "serve", "--share") if word not in {"--port", str(users.port)}]
    refused = subprocess.run(command, env=users._environment, capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "give --port before serve too" in refused.stderr
