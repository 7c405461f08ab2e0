"""What is told where /proc hides processes, and that those of attempts are ended all the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from orcha._processes import sweep
from orcha._processes.hidden_processes import hidden
from orcha._service.lifecycle import compose
from orcha._store.contract import Incarnation
from support.waiting import DEADLINE

USER = 61005
LINE = "proc /proc proc rw,relatime{} 0 0\n"


@pytest.mark.parametrize(
    ("options", "is_told"),
    [
        ("", False),
        (",hidepid=0", False),
        (",hidepid=off", False),
        (",hidepid=1", False),
        (",hidepid=noaccess", False),
        (",gid=4,hidepid=2", True),
        (",hidepid=invisible", True),
        (",hidepid=4", True),
        (",hidepid=ptraceable", True),
    ],
)
def test_it_is_told_where_processes_are_not_shown(tmp_path: Path, options: str, is_told: bool) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("tmpfs /tmp tmpfs rw 0 0\n" + LINE.format(options))
    told = hidden(str(mounts), uid=61003)
    assert (told is not None) is is_told
    assert told is None or options.rpartition(",")[2] in told
    assert hidden(str(mounts), uid=0) is None


def test_the_mount_on_top_counts(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(LINE.format(",hidepid=2") + LINE.format(""))
    assert hidden(str(mounts), uid=61003) is None


def test_nothing_is_told_where_nobody_knows(tmp_path: Path) -> None:
    assert hidden(str(tmp_path / "none"), uid=61003) is None


@pytest.fixture
def in_hiding(tmp_path: Path):
    """Give a function that runs hiding.py as a user where /proc hides processes."""
    if os.geteuid() != 0 or not Path("/usr/bin/python3").exists():
        pytest.skip("only root mounts /proc with hidepid=2, and the user needs /usr/bin/python3")
    folder = Path(tempfile.mkdtemp(prefix="orcha-"))
    os.chown(folder, USER, USER)

    def run(how: str) -> str:
        program = [sys.executable, str(Path(__file__).with_name("hiding.py")), str(USER), str(folder), how]
        script = 'mount -o remount,hidepid=2 /proc 2>&1 || exit 77; exec "$@"'
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh", *program],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
            check=False,
        )
        if done.returncode == 77 or "unshare" in done.stderr:
            pytest.skip(f"/proc cannot be mounted so: {done.stdout}{done.stderr}")
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield run
    shutil.rmtree(folder)


@pytest.mark.parametrize("how", ["action", "orphan"])
def test_a_hidden_process_of_an_action_is_ended(in_hiding, how: str) -> None:
    assert in_hiding(how) == f"ended [(), {int(signal.SIGINT)}]\n"


def test_a_hidden_process_of_a_service_that_was_killed_with_its_watcher_is_ended_by_the_next_start(in_hiding) -> None:
    assert in_hiding("restart") == "lives, ended, no line\n"


def test_where_too_many_processes_were_started_since_the_next_start_says_so(in_hiding) -> None:
    assert in_hiding("restart too late") == "lives, lives, a line\n"


@pytest.mark.parametrize(("survivors", "said"), [((17, 23), "cannot be killed: 17, 23\n"), ((), "")])
def test_a_start_names_what_an_earlier_one_left_that_it_cannot_kill(monkeypatch, capsys, survivors, said: str) -> None:
    monkeypatch.setattr(compose, "sweep", lambda *_, **__: sweep.Swept((), survivors))
    compose._sweep_left(Incarnation(1, 5, "boot", 1000, 1.0, 4711, 99))
    assert capsys.readouterr().err.rpartition("an earlier start left processes that ")[2] == said


@pytest.mark.parametrize(
    ("pid", "started_before", "since"),
    [
        (700, 999, 700),
        (700, 0, None),
        (0, 999, None),
        (700, 1001, 801),  # the system counts less than was noted: nobody knows
        (700, 500, 801),
    ],
)
def test_pids_that_may_have_come_round_are_all_looked_at_where_they_are_few(
    monkeypatch, pid: int, started_before: int, since: int | None
) -> None:
    monkeypatch.setattr(sweep, "newest_pid", lambda: 800)
    monkeypatch.setattr(sweep, "started_tasks", lambda: 1000)
    monkeypatch.setattr(sweep, "_pid_limit", lambda: 400)
    assert sweep.hidden_since(pid, started_before) == since
    monkeypatch.setattr(sweep, "_pid_limit", lambda: 1 << 22)
    monkeypatch.setattr(sweep, "_MAX_HIDDEN_PIDS", 400)
    assert sweep.hidden_since(pid, started_before) == (since if since == pid else None)


def test_a_hidden_process_that_a_command_leaves_is_ended(in_hiding) -> None:
    assert in_hiding("command") == "ended []\n"
