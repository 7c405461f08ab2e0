"""Shims that a command stops, and a service that goes without a word."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from service_start import Start, executing, kill_shim, shim_identity

from orcha._processes import sweep as sweeping
from orcha._processes.identity import Stat, is_alive, read_stat, signal_exactly
from orcha._service.lifecycle.process_limits import check_limits
from orcha._supervisor import black_box, dead_shims, main, shim_executor, shim_heartbeats, supervisor_process
from orcha._supervisor.contract import FOREIGN, CommandEnded, CommandLost, CommandStarted, FoundAttempt, Silent
from orcha._supervisor.foreign_shims import ForeignShims
from orcha._supervisor.shim_heartbeats import (
    ENDS_WITHIN_SECONDS,
    LAST_SHORT_LOOKS,
    LOOKS_PER_SILENCE,
    SHORT_LOOKS_PER_SILENCE,
    SILENCE_SECONDS,
)
from orcha.exceptions import ConfigurationError
from support.waiting import wait_for

NEVER = float("inf")
INTERVAL = SILENCE_SECONDS / LOOKS_PER_SILENCE
SHORT_INTERVAL = SILENCE_SECONDS / SHORT_LOOKS_PER_SILENCE
HOUR = 3600.0


@pytest.fixture(autouse=True)
def nobody_looks(world: Start) -> None:
    """Have a look taken by the test alone: any other would let go on what is to be stopped."""
    world.commands._heartbeats._all_due = world.commands._heartbeats.due = NEVER


class Clock:
    """The time for looks: goes on when a test says so."""

    def __init__(self, world: Start) -> None:
        self._heartbeats, self._lock = world.commands._heartbeats, world.commands._lock
        self._wakes = partial(os.eventfd_write, world.commands._wake, 1)
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def look(self, seconds: float, *, late: float = 0.0, at_all: bool = True) -> None:
        """Have the reader take a look that is due after so many seconds, and comes so many seconds late.

        The look is at all shims, or only at shims that may have to be killed.
        """
        with self._lock:
            self._heartbeats._all_due = self.now + seconds if at_all else NEVER
            self._heartbeats.due = self.now + seconds
            self.now += seconds + late
        self._wakes()
        wait_for(self._has_looked, what="a look")

    def _has_looked(self) -> bool:
        """Tell whether the look is over: the reader holds the lock until it has roused the last shim."""
        with self._lock:
            return self._heartbeats.due > self.now


@pytest.fixture
def clock(world: Start, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(world)
    for module in (shim_heartbeats, supervisor_process, shim_executor):
        monkeypatch.setattr(module, "time", clock)  # by another clock each look would seem to be due: it would spin
    return clock


def is_stopped(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.is_stopped


def stopped(world: Start, program: str) -> tuple[tuple[int, int], int]:
    """Start a command that stops its shim; give its key, and the shim's process."""
    key = world.start("sh", "-c", f"kill -STOP $PPID; exec {program} 1000")
    pid = world.shim_of(key).pid
    wait_for(lambda: executing(program) and is_stopped(pid), what="a stopped shim")
    return key, pid


@pytest.mark.parametrize("verb", ["cancel", "kill"])
def test_a_cancel_reaches_a_command_that_has_stopped_its_shim(world: Start, nap: str, verb: str) -> None:
    key, _ = stopped(world, nap)
    getattr(world.commands, verb)(*key, "cancelled")
    ended = world.wait(key, CommandEnded)
    assert ended.why == "cancelled"
    assert not executing(nap)


def test_a_stop_leaves_nothing_of_it(world: Start, nap: str) -> None:
    key, _ = stopped(world, nap)
    word = world.shim_of(key)
    world.close()
    wait_for(lambda: not executing(nap) and not is_alive(shim_identity(word)), what="the end of both")


def test_a_look_lets_it_go_on_so_that_its_limits_hold(world: Start, nap: str) -> None:
    key = world.start("sh", "-c", f"kill -STOP $PPID; exec {nap} 1000", timeout=0.05)
    pid = world.shim_of(key).pid
    wait_for(lambda: is_stopped(pid), what="a stopped shim")
    world.commands._heartbeats.look(list(world.commands._registry), now=NEVER)
    assert world.wait(key, CommandEnded).why == "timeout"


def test_a_shim_that_is_stopped_again_and_again_and_answers_goes_on(world: Start, nap: str, clock: Clock) -> None:
    key, pid = stopped(world, nap)
    shim = world.commands._registry.by_key[key]
    for _ in range(3 * LOOKS_PER_SILENCE):
        clock.look(INTERVAL)
        wait_for(lambda: shim.asked is None, what="an answer")
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: is_stopped(pid), what="a stopped shim")
    assert executing(nap)
    assert not silences(world, key)
    clock.look(INTERVAL)


def test_a_shim_that_is_stopped_before_it_can_answer_is_killed_with_its_command(
    world: Start, nap: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = stopped(world, nap)
    told_to_go_on = []
    monkeypatch.setattr(shim_heartbeats, "signal_exactly", lambda *sent: told_to_go_on.append(sent[1]))
    clock.look(INTERVAL)
    for _ in range(LOOKS_PER_SILENCE):
        clock.look(INTERVAL)
    assert world.wait(key, Silent).is_silent
    assert {signal.SIGCONT} == {*told_to_go_on}
    monkeypatch.setattr(
        shim_heartbeats, "signal_exactly", lambda *sent: sent[1] != signal.SIGCONT and signal_exactly(*sent)
    )
    for _ in range(LAST_SHORT_LOOKS):
        assert executing(nap)
        clock.look(SHORT_INTERVAL, at_all=False)
    lost = world.end(key)
    assert lost == CommandLost(
        *key, executed=True, failure="it did not answer for 40 s, so Orcha killed it and ended the command"
    )
    assert not executing(nap)


@pytest.fixture
def hang(world: Start, nap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[int, int]]:
    """Give a function that starts a command whose shim hangs, and gives its key; the file `hangs` is there then."""
    sources = str(Path(main.__file__).parents[2])
    hangs, goes = tmp_path / "hangs", tmp_path / "goes"
    program = Path(__file__).parent.parent / "support" / "shims" / "hanging.py"
    monkeypatch.setattr(supervisor_process, "_program", lambda folder: [str(program), str(folder), sources, str(hangs)])

    def start() -> tuple[int, int]:
        key = world.start(
            "sh", "-c", f'while [ ! -e "$1" ]; do sleep 0.02; done; echo; exec {nap} 1000', "sh", str(goes)
        )
        world.wait(key, CommandStarted)
        pid = world.shim_of(key).pid
        hangs.touch()
        goes.touch()
        wait_for(lambda: executing(nap) and "futex" in Path(f"/proc/{pid}/wchan").read_text(), what="a shim that hangs")
        return key

    return start


def test_a_shim_that_answers_is_never_silent(world: Start, nap: str, clock: Clock) -> None:
    key = world.start(nap, "1000")
    world.wait(key, CommandStarted)
    shim = world.commands._registry.by_key[key]
    for _ in range(40):
        clock.look(INTERVAL)
        wait_for(lambda: shim.asked is None, what="an answer")
    assert executing(nap)
    assert not [event for event in world.of(key) if isinstance(event, Silent)]


def silences(world: Start, key: tuple[int, int]) -> list[bool]:
    return [event.is_silent for event in world.of(key) if isinstance(event, Silent)]


def test_a_shim_that_hangs_is_told_and_told_to_go_on_and_then_killed_with_its_command(
    world: Start, nap: str, clock: Clock, hang: Callable[[], tuple[int, int]]
) -> None:
    key = hang()
    word = world.shim_of(key)
    clock.look(INTERVAL)
    clock.look(SILENCE_SECONDS - 1)
    assert not silences(world, key)
    clock.look(1)
    assert world.wait(key, Silent).is_silent
    assert any("has not answered for 30 s" in line for line in world.reports)
    for _ in range(LAST_SHORT_LOOKS):
        assert executing(nap)
        clock.look(SHORT_INTERVAL, at_all=False)
    lost = world.end(key)
    assert (type(lost), lost.executed) == (CommandLost, True)
    assert lost.failure == "it did not answer for 40 s, so Orcha killed it and ended the command"
    assert not executing(nap)
    assert not is_alive(shim_identity(word))
    assert silences(world, key) == [True]


def test_time_in_which_the_service_did_not_go_on_is_no_silence(
    world: Start, nap: str, clock: Clock, hang: Callable[[], tuple[int, int]]
) -> None:
    key = hang()
    clock.look(INTERVAL)
    for _ in range(10):
        clock.look(INTERVAL, late=HOUR)
    clock.look(SILENCE_SECONDS - 1)
    assert not silences(world, key)
    clock.look(1)
    assert world.wait(key, Silent).is_silent
    for _ in range(LAST_SHORT_LOOKS - 1):
        clock.look(SHORT_INTERVAL, at_all=False)
    for pause in (2.0, HOUR) * 5:  # the machine stands still again and again, for short times too
        clock.look(SHORT_INTERVAL, late=pause, at_all=False)
    assert executing(nap)
    clock.look(SHORT_INTERVAL, at_all=False)
    assert isinstance(world.end(key), CommandLost)


def test_a_shim_that_waits_for_a_disk_is_not_given_up(
    world: Start, nap: str, clock: Clock, hang: Callable[[], tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = hang()
    clock.look(INTERVAL)
    with monkeypatch.context() as patch:
        patch.setattr(shim_heartbeats, "read_stat", lambda pid: Stat("D", 1, 1, 1))
        for _ in range(10):
            clock.look(SILENCE_SECONDS)
        assert not silences(world, key)
    clock.look(SILENCE_SECONDS)
    assert world.wait(key, Silent).is_silent
    for _ in range(LAST_SHORT_LOOKS):
        clock.look(SHORT_INTERVAL, at_all=False)
    assert isinstance(world.end(key), CommandLost)


def test_a_shim_that_is_stopped_before_it_gets_a_command_is_told_to_go_on(world: Start, nap: str, clock: Clock) -> None:
    world.commands._heartbeats._interval = 0.01
    world.commands._heartbeats._all_due = world.commands._heartbeats.due = clock.now
    world.run("true")
    name = wait_for(lambda: [shim.name for shim in world.commands._registry.idle], what="an idle shim")[-1]
    word = black_box.read(str(world.folder / "shims" / f"{name}.box"))
    wait_for(lambda: world.commands._sleeps, what="a reader that waits for nothing but messages")
    os.kill(word.pid, signal.SIGSTOP)
    wait_for(lambda: is_stopped(word.pid), what="a stopped shim")
    world.commands._heartbeats._all_due = world.commands._heartbeats.due = clock.now
    assert world.end(world.start("true")).code == 0


def test_a_shim_that_was_silent_and_answers_is_told(world: Start, nap: str, clock: Clock) -> None:
    key = world.start(nap, "1000")
    world.wait(key, CommandStarted)
    with world.commands._lock:
        shim = world.commands._registry.by_key[key]
        shim.asked, shim.is_silent = 0.0, True  # it has been told that it does not answer
        shim.link.send({"t": "ping"})
    world.until(lambda: [event for event in world.of(key) if isinstance(event, Silent)])
    assert not world.wait(key, Silent).is_silent


@pytest.mark.parametrize("verb", ["cancel", "kill"])
def test_a_cancel_ends_a_command_whose_shim_hangs(
    world: Start, nap: str, clock: Clock, hang: Callable[[], tuple[int, int]], verb: str
) -> None:
    key = hang()
    clock.look(0)
    getattr(world.commands, verb)(*key, "cancelled")
    clock.look(ENDS_WITHIN_SECONDS - 1, late=HOUR, at_all=False)
    clock.look(ENDS_WITHIN_SECONDS - 1, at_all=False)
    clock.look(0.5, late=2, at_all=False)  # the end would be due meanwhile
    clock.look(ENDS_WITHIN_SECONDS - 1, at_all=False)
    assert executing(nap)
    clock.look(1, at_all=False)
    assert isinstance(world.end(key), CommandLost)
    assert not executing(nap)


def test_a_stop_ends_a_command_whose_shim_hangs(
    world: Start, nap: str, hang: Callable[[], tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = hang()
    word = world.shim_of(key)
    monkeypatch.setattr(shim_executor, "MAX_END_SECONDS", 0.05)
    world.close()
    assert not executing(nap)
    assert not is_alive(shim_identity(word))


def test_a_loss_is_told_where_no_thread_can_be_started(world: Start, nap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = world.start(nap, "1000")
    word = world.shim_of(key)
    wait_for(lambda: executing(nap), what="the command")

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    kill_shim(word)
    assert isinstance(world.end(key), CommandLost)
    assert not executing(nap)
    assert any("can't start new thread" in line for line in world.reports)


def test_what_survives_a_shim_is_waited_for_once_a_thread_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [(17,)]
    monkeypatch.setattr(sweeping, "SURVIVOR_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(dead_shims, "clean_up", lambda *_: dead_shims.DeadShim("0a", (1, 1), None, 1 << 32, (17,)))
    monkeypatch.setattr(sweeping, "sweep", lambda *_, **__: sweeping.Swept((), left.pop() if left else ()))
    told: list[str] = []
    gone = threading.Event()
    cleaner = dead_shims.DeadShimCleaner(tmp_path, lambda _, line: told.append(line))

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        cleaner.begin("0a", lambda dead: told.append(f"cleaned up {dead.shim}"), gone.set)
        cleaner.go_on()
        assert (bool(cleaner.without_thread), gone.is_set(), told[1:]) == (True, False, ["cleaned up 0a"])
    cleaner.go_on()
    assert gone.wait(60)
    assert not cleaner.without_thread
    cleaner.join()


def test_a_foreign_attempt_is_watched_once_a_thread_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shims").mkdir()
    posted: list[CommandLost] = []
    told = threading.Event()

    def post(lost: CommandLost) -> None:
        posted.append(lost)
        told.set()

    reports: list[str] = []
    foreign = ForeignShims(tmp_path, {}, post, lambda _: None, lambda _, line: reports.append(line))

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        foreign.add([FoundAttempt(7, 1, b"", FOREIGN, "0a")])
        assert (foreign.lacks_thread, posted) == (True, [])
        assert "can't start new thread" in reports[0]
    foreign.go_on()
    assert told.wait(60)
    assert posted == [CommandLost(7, 1, executed=True)]
    foreign.close(keep=True)


def test_a_supervisor_that_forks_no_shim_is_killed_and_another_takes_its_place(
    world: Start, nap: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run("true")
    supervisor = world.commands._supervisor
    os.kill(supervisor.pid, signal.SIGSTOP)
    monkeypatch.setattr(
        shim_heartbeats, "read_stat", lambda pid: None if pid == supervisor.pid else read_stat(pid)
    )  # it hangs, and nobody sees that it is stopped
    while world.commands._registry.idle:
        world.wait(world.start(nap, "1000"), CommandStarted)
    key = world.start(nap, "1000")
    for _ in range(LOOKS_PER_SILENCE):
        clock.look(INTERVAL)
    for pause in (0, 0, HOUR, 0, 0, 0, 2, 0, 0, 0, 0):
        clock.look(SHORT_INTERVAL, late=pause, at_all=False)
    assert world.commands._supervisor is supervisor
    assert not world.of(key)
    clock.look(SHORT_INTERVAL, at_all=False)
    world.wait(key, CommandStarted)
    assert any("the supervisor of commands forked no shim for 40 s" in line for line in world.reports)


def test_a_supervisor_takes_a_reset_connection_for_a_service_that_is_gone() -> None:
    theirs, own = socket.socketpair()
    own.send(b"not read")
    theirs.close()
    assert main._received(own) == b""
    own.close()


@pytest.mark.parametrize(
    ("limit", "least", "words"),
    [
        (resource.RLIMIT_NOFILE, 64, "open files.* 64.*ulimit -n"),
        (resource.RLIMIT_NPROC, 32, "processes.* 32.*ulimit -u"),
    ],
)
def test_a_start_with_too_little_is_refused_with_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, limit: int, least: int, words: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 61003)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    given = {limit: (least - 1, least)}
    monkeypatch.setattr(resource, "getrlimit", lambda which: given.get(which, unlimited))
    with pytest.raises(ConfigurationError, match=words):
        check_limits()
    given[limit] = (least, least)
    check_limits()
