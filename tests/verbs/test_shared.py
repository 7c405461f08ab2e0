"""A key that users share lets them in where the service is shared, and everybody knows whose user acts then."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys

import pytest

from support import as_user, warm
from support.plugins_served import install
from support.waiting import DEADLINE
from verbs.users import KEY

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
    for words in (["retry", "roots"], ["logs", "roots"], ["rm", "roots"], ["stop"], ["pause"], ["stats"]):
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


class SharedByName:
    """A service of a user that is shared with some users by name, without a key and a port."""

    def __init__(self, users):
        root = users.folder / "machine"
        (root / "tmp").mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        self.folder = root / "tmp" / f"orcha-share-{OWNER}"
        self.users = users
        self.environment = {**users.environment, "ORCHA_SYSTEM_ROOT": str(root)}

    def words(self, uid, *words):
        return [sys.executable, as_user.__file__, str(uid), str(self.users.home(uid)), *words]

    def serve(self, *words, uid=OWNER):
        command = self.words(uid, "serve", *words)
        return warm.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def run(self, uid, *words, groups="", service=f"user:{OWNER}"):
        return warm.run(
            self.words(uid, "--service", service, *words),
            env=self.environment | {as_user.GROUPS: groups},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
            check=False,
        )


def said_until_it_serves(process):
    said = []
    while not (said and said[-1].startswith("orcha: serving ")):
        said.append(process.stderr.readline())
        assert said[-1], said
    return "".join(said)


def test_a_service_shared_with_users_and_groups_runs_all_as_its_own_user(users):
    shared, third, lab, nobodys = SharedByName(users), 61003, 61100, 61004
    serving = shared.serve("--share", f"{OTHER},@{lab}", "commands")
    with serving:
        said = said_until_it_serves(serving)
        assert f"shared with {name_of(OTHER)}, the group {lab}, who may ask by the socket" in said
        assert f"all that they ask for runs as {name_of(OWNER)}" in said
        told = f"orcha: what is asked for here runs as {name_of(OWNER)}, who started the service\n"
        for _ in range(2):
            ran = shared.run(OTHER, "run", "--name", "theirs", "--", "id", "-u")
            assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"{OWNER}\n", told)
        assert shared.run(third, "run", "--", "id", "-u", groups=str(lab)).stdout == f"{OWNER}\n"
        assert shared.run(OWNER, "run", "--name", "own", "--", "id", "-u").stderr == ""
        refused = shared.run(nobodys, "run", "--", "id", "-u")
        assert (refused.returncode, refused.stdout) == (125, "")
        line = (
            f"the service of {name_of(OWNER)} is not shared with {name_of(nobodys)}: have them add you to serve --share"
        )
        assert line in refused.stderr
        for words in (["stop"], ["cancel", "own"], ["logs", "own"], ["rm", "own"], ["reload"], ["drain"]):
            assert shared.run(OTHER, *words).returncode != 0, words
        assert shared.run(OWNER, "show", "theirs").returncode == 0
        assert shared.run(OWNER, "stop").returncode == 0
        _, rest = serving.communicate(timeout=DEADLINE)
    came = f"uid:{OTHER} came in by the socket ({name_of(OTHER)}, submitter): what it asks for runs as {name_of(OWNER)}"
    assert (said + rest).count(came) == 1
    assert [*shared.folder.iterdir()] == []


def test_nobody_else_can_stand_in_for_the_service_that_a_user_shares(users):
    shared = SharedByName(users)
    shared.folder.mkdir()
    os.chown(shared.folder, OTHER, OTHER)
    refused = shared.serve("--share", str(OTHER), "commands")
    _, said = refused.communicate(timeout=DEADLINE)
    assert refused.returncode == 78
    assert f"others may write to {shared.folder}, which belongs to uid {OTHER}" in said
    with socket.socket(socket.AF_UNIX) as pretends:
        pretends.bind(str(shared.folder / "default.sock"))
        pretends.listen()
        os.chmod(shared.folder / "default.sock", 0o666)  # noqa: PTH101
        os.chown(shared.folder / "default.sock", OWNER, OWNER)
        nobody = shared.run(61003, "run", "--", "id")
        assert (nobody.returncode, nobody.stdout) == (125, "")


def test_a_service_of_root_is_not_shared_with_some_users(users):
    shared = SharedByName(users)
    refused = shared.serve("--share", "root,daemon", "commands", uid=0)
    _, said = refused.communicate(timeout=DEADLINE)
    assert refused.returncode == 78
    assert "a service of root is not shared with some users: start the machine's service, orcha serve --system" in said
    unknown = shared.serve("--share", "nobody-by-this-name", "commands")
    _, said = unknown.communicate(timeout=DEADLINE)
    assert unknown.returncode == 78
    assert "this machine has no user nobody-by-this-name" in said
