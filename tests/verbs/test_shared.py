"""A key that users share lets them in where the service is shared, and everybody knows whose user acts then."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

import pytest

from support import as_user, warm
from support.plugins_served import install
from support.users import KEY
from support.waiting import DEADLINE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")
OWNER, OTHER = 61001, 61002


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
    said = users.serve(0, "--share", "commands", "alpha", **{as_user.PLUGINS: "1"})
    assert any("commands are root's alone" in line for line in said)
    refused = users.run(OTHER, "run", "--", "id", "-u")
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "this service is root's, and runs commands for root alone" in refused.stderr
    assert users.run(0, "run", "--name", "roots", "--", "id", "-u").stdout == "0\n"
    for words in (["retry", "roots"], ["show", "roots"], ["rm", "roots"], ["stop"], ["pause"], ["stats"]):
        denied = users.run(OTHER, *words)
        assert denied.returncode != 0, words
    plugin = warm.run(
        [sys.executable, "-c", PROGRAM, str(OTHER), str(users.home(OTHER)), str(users.port), KEY],
        env=users.environment,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        check=True,
    )
    assert plugin.stdout == "alpha runs theirs\n0\n"
    assert plugin.stderr == f"orcha: what is asked for here runs as {name_of(0)}, who started the service\n"


def test_nobody_else_types_into_a_command_of_root(users):
    users.serve(0, "--share", "commands")
    typed = warm.Popen(
        users.command(0, "run", "-i", "--name", "roots", "--", "sh"),
        env=users.environment,
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
    refused = warm.run(command, env=users.environment, capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "give --port before serve too" in refused.stderr
