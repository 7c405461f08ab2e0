"""A set-user-ID program that an unprivileged service cannot kill holds what its petition had until it has ended."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from orcha._processes.identity import read_stat
from support.waiting import wait_for

OWNER = 61001
OTHER = 30_000 + os.getpid() % 30_000  # tests that run at once must not take each other's processes for their own
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes programs of another user"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv(1), which changes the real user too"),
]


@pytest.fixture
def another_users(users):
    """Give the words that run a command as another user, whose processes the service may not signal."""
    program = users.folder / "as-other"
    shutil.copy(shutil.which("setpriv"), program)
    os.chown(program, OTHER, OTHER)
    program.chmod(0o4755)
    if os.statvfs(program).f_flag & os.ST_NOSUID:
        pytest.skip("the file system of temporary files ignores set-user-ID programs")
    return [str(program), "--reuid", str(OTHER), "--"]


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
        wait_for(lambda: self.text in users.run(OWNER, "show", "it").stdout, what="what lives on in `show`")

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
    for pid in of_other("sleep"):
        os.kill(pid, signal.SIGKILL)


def of_other(name):
    """Give the processes of the other user that have this name."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid == OTHER and (folder / "comm").read_text() == f"{name}\n":
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_it_holds_id_and_needs_and_is_named_by_ps_show_and_stop(users, leave):
    left = leave()
    listed = users.run(OWNER, "ps").stdout
    assert "it" in listed.split()
    assert f"pid {left.pid}" in users.run(OWNER, "ps", "--json").stdout
    refused = users.run(OWNER, "run", "--detach", "--name", "it", "--", "true")
    assert refused.returncode != 0
    assert left.text in refused.stderr
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
