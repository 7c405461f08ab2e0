"""Whatever a command has started ends with it, and nothing else does."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_start import Start, kill_shim, running_from
from trees import LEFT_BEHIND, TREES, tree

from orcha._supervisor.cgroups import CgroupPlaces
from orcha._supervisor.contract import CommandEnded, CommandLost, CommandOutput, CommandStarted
from support.waiting import wait_for

GROUPS = pytest.param(
    {"pids": 1000},
    id="cgroup",
    marks=pytest.mark.skipif("pids" not in CgroupPlaces().available, reason="no cgroup is writable here"),
)


@pytest.fixture(autouse=True)
def _bystander(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process of the same user, with the same command line but for its folder, that must live."""
    folder = tmp_path_factory.mktemp("bystander")
    program = folder / "nap"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "1000"], start_new_session=True) as process:
        yield
        alive = process.poll() is None
        process.kill()
    assert alive, "an innocent process was killed"


def gone(nap: str) -> bool:
    return not running_from(Path(nap).parent)


@pytest.mark.parametrize("fields", [pytest.param({}, id="no cgroup"), GROUPS])
@pytest.mark.parametrize("name", TREES)
def test_a_cancel_leaves_no_process(world: Start, nap: str, name: str, fields: dict[str, int]) -> None:
    key = world.start(*tree(TREES, name, nap), **fields)
    world.said(key, b"ready")
    world.commands.cancel(*key, "cancelled")
    ended = world.end(key)
    assert isinstance(ended, CommandEnded)
    assert gone(nap)
    assert ended.survivors == []
    assert ended.why == ("cancelled" if ended.signals[0][2] == "cancelled" else None)


@pytest.mark.parametrize("fields", [pytest.param({}, id="no cgroup"), GROUPS])
@pytest.mark.parametrize("name", TREES)
def test_a_limit_leaves_no_process(world: Start, nap: str, name: str, fields: dict[str, int]) -> None:
    key = world.start(*tree(TREES, name, nap), timeout=0.4, **fields)
    ended = world.end(key)
    assert gone(nap)
    assert ended.survivors == []
    assert ended.why == ("timeout" if name != "fork loop" else ended.why)


@pytest.mark.parametrize("fields", [pytest.param({}, id="no cgroup"), GROUPS])
@pytest.mark.parametrize("name", TREES)
def test_the_shim_s_death_leaves_no_process(world: Start, nap: str, name: str, fields: dict[str, int]) -> None:
    key = world.start(*tree(TREES, name, nap), **fields)
    world.said(key, b"ready")
    if world.wait(key, CommandStarted, CommandLost) and not any(isinstance(one, CommandEnded) for one in world.of(key)):
        kill_shim(world.shim_of(key))
    world.end(key)
    wait_for(lambda: gone(nap), what="the leftovers' end")


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_the_leader_s_end_is_the_end_of_all(world: Start, nap: str, name: str) -> None:
    key = world.start(*tree(LEFT_BEHIND, name, nap))
    ended = world.end(key)
    assert (ended.code, ended.why, ended.survivors) == (0, None, [])
    assert b"ready" in world.output(key)
    assert gone(nap)


def test_the_last_words_of_others_are_heard_after_the_leader_s_end(world: Start) -> None:
    key = world.run("sh", "-c", "(while kill -0 $$ 2>/dev/null; do :; done; echo last) & exit 3")
    assert world.output(key) == b"last\n"
    assert world.end(key).code == 3


def test_the_record_says_which_signals_were_sent_and_why(world: Start) -> None:
    key = world.start("sh", "-c", "trap 'echo polite; exit 7' INT; echo ready; while :; do sleep 0.01; done",
                      grace=1000)  # fmt: skip
    world.said(key, b"ready")
    world.commands.cancel(*key, "cancelled")
    world.commands.cancel(*key, "twice")
    ended = world.end(key)
    assert (ended.code, ended.why) == (7, "cancelled")
    assert [(number, why) for _, number, why in ended.signals] == [(signal.SIGINT, "cancelled")]
    assert world.output(key) == b"ready\npolite\n"


def test_the_ladder_goes_from_the_stop_signal_over_term_to_kill(world: Start, nap: str) -> None:
    key = world.start(*tree(TREES, "ignores INT and TERM", nap), stop_signal=signal.SIGUSR1, grace=0.4)
    world.said(key, b"ready")
    world.commands.cancel(*key, "cancelled")
    ended = world.end(key)
    assert ended.signal == signal.SIGUSR1  # nothing catches that one
    key = world.start("sh", "-c", f"trap '' USR1 TERM; echo ready; exec {nap} 1000",
                      stop_signal=signal.SIGUSR1, grace=0.4)  # fmt: skip
    world.said(key, b"ready")
    world.commands.cancel(*key, "cancelled")
    ended = world.end(key)
    assert ended.signal == signal.SIGKILL
    assert [number for _, number, _ in ended.signals] == [signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_command_that_takes_a_signal_of_the_ladder_ends_as_it_likes(world: Start, number: int) -> None:
    script = "trap 'echo USR1; exit 7' USR1; trap 'echo TERM; exit 7' TERM; echo ready; while :; do sleep 0.01; done"
    key = world.start("sh", "-c", script, stop_signal=number, grace=1000)
    world.said(key, b"ready")
    world.commands.cancel(*key, "cancelled")
    ended = world.end(key)
    assert (ended.code, [sent for _, sent, _ in ended.signals]) == (7, [number])
    assert world.output(key).split() == [b"ready", signal.Signals(number).name.removeprefix("SIG").encode()]


def test_the_shim_that_ends_one_runs_the_next_as_it_ran_the_first(world: Start, nap: str) -> None:
    key = world.start(nap, "1000")
    word = world.shim_of(key)
    before = os.sched_getscheduler(word.pid)
    for _ in range(3):
        world.commands.cancel(*key, "cancelled")
        world.end(key)
        key = world.start(nap, "1000")
        started = world.wait(key, CommandStarted)
        assert os.sched_getscheduler(started.pid) == os.SCHED_OTHER
    assert os.sched_getscheduler(word.pid) == before
    world.commands.kill(*key, "test")
    world.end(key)


def test_a_kill_does_not_wait(world: Start, nap: str) -> None:
    key = world.start(*tree(TREES, "ignores INT and TERM", nap), grace=1000)
    world.said(key, b"ready")
    world.commands.cancel(*key, "cancelled")
    world.commands.kill(*key, "killed")
    ended = world.end(key)
    assert (ended.signal, ended.why) == (signal.SIGKILL, "cancelled")
    assert gone(nap)


def test_a_cancel_before_there_is_a_shim_ends_it_unexecuted(world: Start, tmp_path: Path) -> None:
    key = world.start("touch", str(tmp_path / "mark"))
    world.commands.cancel(*key, "cancelled")
    ended = world.end(key)
    assert ended.why == "cancelled"
    assert any(isinstance(one, CommandStarted) for one in world.of(key)) == (tmp_path / "mark").exists()


def test_a_verb_about_an_attempt_that_is_over_does_nothing(world: Start) -> None:
    key = world.run("/bin/true")
    world.commands.cancel(*key, "late")
    world.commands.kill(*key, "late")
    world.commands.signal(*key, signal.SIGTERM)
    world.commands.write(*key, 0, b"late")
    assert world.end(world.start("/bin/true")).why is None
    assert len(world.of(key)) == 2


def test_of_an_attempt_without_output_only_start_and_end_are_told(world: Start) -> None:
    key = world.run("/bin/true")
    assert [type(event) for event in world.of(key)] == [CommandStarted, CommandEnded]
    assert not any(isinstance(event, CommandOutput) for event in world.events)
    assert list((world.folder / "output").iterdir()) == []
