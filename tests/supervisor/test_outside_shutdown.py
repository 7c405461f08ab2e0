"""SIGTERM to a command and to its shim, as where systemd stops a unit, in each order."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from service_start import Start, executing

from orcha._supervisor import main, supervisor_process
from orcha._supervisor.contract import OUTSIDE, CommandEnded, CommandLost
from orcha._supervisor.outside_shutdown import OutsideShutdown
from support.waiting import wait_for

SLOW_SHIM = Path(__file__).parent.parent / "support" / "shims" / "patient.py"


def begin(world: Start, nap: str, *argv: str, **fields: object) -> tuple[tuple[int, int], int, int]:
    """Start a command; give its key, its shim's process and its own."""
    key = world.start(*(argv or (nap, "1000")), **fields)
    wait_for(lambda: executing(nap), what="the command")
    word = world.shim_of(key)
    return key, word.pid, wait_for(lambda: world.shim_of(key).leader, what="its first process")


def test_the_shim_first(world: Start, nap: str) -> None:
    key, shim, leader = begin(world, nap)
    os.kill(shim, signal.SIGTERM)
    os.kill(leader, signal.SIGTERM)
    ended = world.wait(key, CommandEnded)
    assert (ended.why, ended.signal) == (OUTSIDE, signal.SIGTERM)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have shims wait for a SIGTERM of their own for longer than any test takes."""
    sources = str(Path(main.__file__).parents[2])
    monkeypatch.setattr(supervisor_process, "_program", lambda folder: [str(SLOW_SHIM), str(folder), sources])


@pytest.mark.parametrize("shell", [False, True], ids=["by the signal", "by the code of a shell"])
def test_the_command_first(patient: None, world: Start, nap: str, shell: bool) -> None:
    argv = ("sh", "-c", f"{nap} 1000; exit $?") if shell else ()
    key, shim, _ = begin(world, nap, *argv)
    pid = executing(nap)[0]
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not executing(nap), what="the end of the command")
    os.kill(shim, signal.SIGTERM)
    assert world.wait(key, CommandEnded).why == OUTSIDE


def test_a_shim_that_is_killed_meanwhile_says_nothing_of_the_end(patient: None, world: Start, nap: str) -> None:
    key, shim, leader = begin(world, nap)
    os.kill(leader, signal.SIGTERM)
    wait_for(lambda: not executing(nap), what="the end of the command")
    os.kill(shim, signal.SIGKILL)
    lost = world.end(key)
    assert (type(lost), lost.ended) == (CommandLost, None)


@pytest.mark.parametrize(
    ("script", "expected"), [("exit 0", False), ("exit 3", False), ("exit 143", True), ("kill -TERM $$", True)]
)
def test_what_had_ended_by_itself_when_the_shutdown_came_ends_as_it_ended(script: str, expected: bool) -> None:
    ended = os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ)
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)  # it stays to be reaped
    shutdown = OutsideShutdown(1.0)
    shutdown.begin(ended, 100.0)
    _, status = os.waitpid(ended, 0)
    assert shutdown.explains(status, 100.1) is expected


def test_a_command_that_handles_it_and_exits_with_0_is_interrupted(tmp_path: Path) -> None:
    script = f"trap 'exit 0' TERM; touch {tmp_path}/waits; while :; do sleep 0.02; done"
    runs = os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ)
    wait_for((tmp_path / "waits").exists, what="the command's handler")
    shutdown = OutsideShutdown(1.0)
    shutdown.begin(runs, 100.0)
    os.kill(runs, signal.SIGTERM)
    _, status = os.waitpid(runs, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert shutdown.explains(status, 100.1)


def test_a_sigterm_to_the_command_alone_is_its_end(world: Start, nap: str) -> None:
    key, _, leader = begin(world, nap)
    os.kill(leader, signal.SIGTERM)
    ended = world.wait(key, CommandEnded)
    assert (ended.why, ended.signal) == (None, signal.SIGTERM)


def test_a_command_that_ignores_it_ends_as_it_ends(world: Start, nap: str, tmp_path: Path) -> None:
    waits = f"trap '' TERM; {nap} 1000 & while [ ! -e {tmp_path}/end ]; do sleep 0.02; done; exit 3"
    key, shim, leader = begin(world, nap, "sh", "-c", waits)
    for pid in (leader, shim):
        os.kill(pid, signal.SIGTERM)
    (tmp_path / "end").touch()
    ended = world.wait(key, CommandEnded)
    assert (ended.why, ended.code) == (None, 3)


def test_the_next_command_of_that_shim_has_nothing_to_do_with_it(world: Start, nap: str) -> None:
    key, shim, leader = begin(world, nap)
    for pid in (leader, shim):
        os.kill(pid, signal.SIGTERM)
    world.wait(key, CommandEnded)
    again, same, leader = begin(world, nap)
    os.kill(leader, signal.SIGKILL)
    ended = world.wait(again, CommandEnded)
    assert (same, ended.why, ended.signal) == (shim, None, signal.SIGKILL)
