"""A set-user-ID program that an unprivileged service cannot kill holds what its petition had until it has ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from orcha._processes.identity import read_stat
from support import as_user
from support.processes import each_process
from support.waiting import wait_for

OWNER = 61001
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes programs of another user"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv(1), which changes the real user too"),
]


def other():
    """Give the other user: tests that run at once must not take each other's processes for their own."""
    return 30_000 + os.getpid() % 30_000


@pytest.fixture
def another_users(users):
    """Give the words that run a command as another user, whose processes the service may not signal."""
    program = users.folder / "as-other"
    shutil.copy(shutil.which("setpriv"), program)
    os.chown(program, other(), other())
    program.chmod(0o4755)
    if os.statvfs(program).f_flag & os.ST_NOSUID:
        pytest.skip("the file system of temporary files ignores set-user-ID programs")
    return [str(program), "--reuid", str(other()), "--"]


class Left:
    """A command of another user whose shim is dead."""

    def __init__(self, users, words, *options):
        users.serve(OWNER, "--resource", "rig=1", "commands")
        started = users.run(
            OWNER, "run", "--detach", "--name", "it", "--need", "rig=1", *options, "--", *words, "sleep", "600"
        )
        assert started.returncode == 0, started.stderr
        self.pid = wait_for(lambda: of_other("sleep"), what="the command")[0]
        shim = read_stat(self.pid).parent
        assert b"orcha" in Path(f"/proc/{shim}/cmdline").read_bytes()
        os.kill(shim, signal.SIGKILL)
        self.text = f"nothing can kill sleep (pid {self.pid}): its id, slot and resources are held until that has ended"
        wait_for(
            lambda: self.text in users.run(OWNER, "show", "it").stdout,
            what="what lives on in `show`",
            interval=1.0,  # it is looked for during five seconds before it counts as what nothing can kill
        )

    def end(self):
        os.kill(self.pid, signal.SIGKILL)


@pytest.fixture
def leave(users, another_users):
    """Give a function that starts a command as another user, and kills its shim."""
    left = []

    def leave_one(*options):
        left.append(Left(users, another_users, *options))
        return left[-1]

    yield leave_one
    end_all_of_other("sleep")


def of_other(name):
    """Give the processes of the other user that have this name."""
    named = [pid for pid, comm in each_process("comm") if comm == f"{name}\n".encode()]
    found = []
    for pid in named:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if Path(f"/proc/{pid}").stat().st_uid == other():
                found.append(pid)
    return found


def end_all_of_other(name):
    """End the processes of the other user that have this name, so that no later test takes one for its own."""
    for pid in of_other(name):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not of_other(name), what=f"the end of each {name}")


def it_holds_its_id(users, left):
    """Hold that what lives is named by ps, and keeps another petition from its id."""
    assert f"pid {left.pid}" in users.run(OWNER, "ps", "--json").stdout
    refused = users.run(OWNER, "run", "--detach", "--name", "it", "--", "true")
    assert refused.returncode != 0
    assert left.text in refused.stderr


def test_it_holds_id_and_needs_and_is_named_by_ps_show_and_stop(users, leave):
    left = leave()
    listed = users.run(OWNER, "ps").stdout
    assert "it" in listed.split()
    it_holds_its_id(users, left)
    users.run(OWNER, "run", "--detach", "--name", "next", "--need", "rig=1", "--", "true")
    assert "rig" in users.run(OWNER, "show", "next").stdout
    stopped = users.run(OWNER, "stop")
    assert (stopped.returncode, stopped.stderr) == (0, f"orcha: it stays behind: {left.text}\n")
    assert left.pid in of_other("sleep")
    users.end()
    users.serve(OWNER, "--resource", "rig=1", "commands")
    assert left.text in users.run(OWNER, "show", "it").stdout
    assert "rig" in users.run(OWNER, "show", "next").stdout
    left.end()
    assert users.run(OWNER, "wait", "next").returncode == 0
    assert users.run(OWNER, "run", "--name", "it", "--", "true").returncode == 0


def test_no_second_attempt_begins_beside_it(users, leave):
    left = leave("--on-interrupt", "rerun")
    users.run(OWNER, "run", "--detach", "--name", "next", "--need", "rig=1", "--", "true")
    assert of_other("sleep") == [left.pid]
    left.end()
    [second] = wait_for(lambda: [pid for pid in of_other("sleep") if pid != left.pid], what="the second attempt")
    assert "attempt 2" in users.run(OWNER, "show", "it").stdout
    os.kill(second, signal.SIGKILL)
    assert users.run(OWNER, "wait", "next").returncode == 0


# --- the same of an action, where the service dies ------------------------------------------------------------------

PLUGIN = """
import json, os, subprocess
from orcha.interfaces import Message, Petition, Policy
from orcha.lib import ClientManager, Manager
from orcha.plugins import BasePlugin

class LeavingManager(Manager):
    def convert_to_petition(self, m):
        said = m.extras
        def act(callback, petition):
            process = subprocess.Popen(said["words"], stderr=subprocess.DEVNULL)
            open(said["log"], "a").write(f"{process.pid}\\n")
            process.wait()
            petition.finish(0)
        policy = Policy(on_interrupt=said["on_interrupt"], needs={"rig": 1}, timeout=said.get("timeout"))
        return Petition(m.id, m.extras.get("queue"), act, lambda p: True, policy=policy)

    def on_start(self, petition):
        pass

    def on_finish(self, petition):
        open(os.environ["LEFT_LOG"], "a").write(f"finished {petition.id}\\n")

class LeavingPlugin(BasePlugin):
    name = "leaving"
    manager = LeavingManager

    def create_parser(self, parser):
        parser.add_argument("id")
        parser.add_argument("said")

    def handle(self, namespace):
        client = ClientManager()
        client.connect()
        client.send(Message(namespace.id, json.loads(namespace.said)))
        client.shutdown()
        return 0

    @staticmethod
    def version():
        return "orcha-leaving - 1"

plugin = LeavingPlugin
"""


class LeftByAction:
    """A service that is killed while its action runs a program of another user."""

    def __init__(self, users, words, on_interrupt, **more):
        self.users = users
        self.log = users.folder / str(OWNER) / "log"
        (users.folder / "plugins").mkdir()
        (users.folder / "plugins" / "orcha_leaving.py").write_text(PLUGIN)
        users.environment = {
            **users.environment,
            "PYTHONPATH": str(users.folder / "plugins"),
            "LEFT_LOG": str(self.log),
        }
        self.serve()
        said = {"words": [*words, "sleep", "600"], "on_interrupt": on_interrupt, "log": str(self.log), **more}
        users.environment[as_user.PLUGINS] = "1"
        sent = users.run(OWNER, "leaving", "it", json.dumps(said))
        del users.environment[as_user.PLUGINS]
        assert sent.returncode == 0, sent.stderr
        self.pid = wait_for(lambda: of_other("sleep"), what="the program")[0]
        wait_for(lambda: self.started() == [self.pid], what="what the action notes")
        self.text = f"nothing can kill sleep (pid {self.pid}): its id, slot and resources are held until that has ended"

    def serve(self):
        return self.users.serve(OWNER, "--resource", "rig=1", "leaving", "commands", **{as_user.PLUGINS: "1"})

    def kill_service(self):
        self.users.kill()
        return self.serve()

    def started(self):
        lines = self.log.read_text().split("\n") if self.log.exists() else []
        return [int(line) for line in lines if line.isdigit()]

    def finished(self):
        return self.log.read_text().count("finished it")


@pytest.fixture
def left_by_action(users, another_users):
    yield lambda *policy, **more: LeftByAction(users, another_users, *policy, **more)
    end_all_of_other("sleep")


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["rerun", "fail"])
def test_what_an_action_left_holds_id_and_needs_over_starts_until_it_has_ended(users, left_by_action, policy):
    left = left_by_action(policy)
    for _ in "12":
        said = left.kill_service()
        assert f"orcha: an earlier start left processes that cannot be killed: {left.pid}\n" in said
        assert left.text in users.run(OWNER, "show", "it").stdout
        it_holds_its_id(users, left)
    users.run(OWNER, "run", "--detach", "--name", "next", "--need", "rig=1", "--", "true")
    assert "rig" in users.run(OWNER, "show", "next").stdout
    stopped = users.run(OWNER, "stop")
    assert left.text in stopped.stderr
    users.end()
    left.serve()
    assert "rig" in users.run(OWNER, "show", "next").stdout
    assert (left.started(), left.finished()) == ([left.pid], 0)
    os.kill(left.pid, signal.SIGKILL)
    wait_for(lambda: left.finished() == 1, what="its on_finish")
    if policy == "rerun":
        second = wait_for(lambda: left.started()[1:], what="the second attempt")[0]
        assert "attempt 2" in users.run(OWNER, "show", "it").stdout
        os.kill(second, signal.SIGKILL)
    else:
        assert "interrupted" in users.run(OWNER, "show", "it").stdout
    assert users.run(OWNER, "wait", "next").returncode == 0
    assert len(left.started()) == 1 + (policy == "rerun")


@pytest.mark.slow
def test_a_cancel_of_what_an_action_left_breaks_it_and_names_the_process(users, left_by_action):
    left = left_by_action("rerun")
    left.kill_service()
    cancelled = users.run(OWNER, "cancel", "it")
    assert cancelled.stderr == "orcha: it had ended: broken\n"
    shown = users.run(OWNER, "show", "it").stdout
    assert f"cannot be killed: process {left.pid}" in shown
    assert left.text in shown
    left.kill_service()
    assert left.text in users.run(OWNER, "show", "it").stdout
    os.kill(left.pid, signal.SIGKILL)
    wait_for(lambda: left.finished() == 1, what="its on_finish")
    assert left.started() == [left.pid]
