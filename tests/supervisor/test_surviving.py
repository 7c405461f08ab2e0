"""Commands live on when the service, the supervisor or a shim is killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from service_start import CHANNEL, Start, box_path, boxes, executing, kill_shim, living, running_from, shim_identity

from orcha._processes.identity import identify, is_alive
from orcha._supervisor import black_box, shim_failures
from orcha._supervisor.contract import (
    CommandEnded,
    CommandLost,
    CommandOutput,
    CommandSpec,
    CommandStarted,
    SurvivorsGone,
)
from orcha._supervisor.protocol import pack_spec
from orcha._supervisor.shim_connection import ShimConnection, connect
from support.waiting import wait_for


class Holder:
    """A service in a process of its own."""

    def __init__(self, folder: Path, epoch: int = 1, *, acknowledge: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("holder.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say([epoch, str(folder), acknowledge])

    def start(self, seq: int, *argv: str, **fields: Any) -> tuple[int, int]:
        spec = CommandSpec(seq, 1, CHANNEL, argv, "/", dict(os.environ), **{"grace": 0.6, **fields})
        self._say(pack_spec(spec))
        return seq, 1

    def wait(self, kind: str, seq: int) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if json.loads(line)[:2] == [kind, seq]:
                return
        raise AssertionError(f"no {kind} of {seq}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream
            stream.close()

    def _say(self, what: object) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()


@pytest.fixture
def hold(folder: Path) -> Iterator[Callable[..., Holder]]:
    """Give a function that starts services of their own processes."""
    holders: list[Holder] = []

    def held(epoch: int = 1, **settings: bool) -> Holder:
        holders.append(Holder(folder, epoch, **settings))
        return holders[-1]

    yield held
    for holder in holders:
        if holder.process.poll() is None:
            holder.kill()


def gate(tmp_path: Path) -> tuple[str, Path]:
    """Give a shell's words that wait for a file, and the file."""
    path = tmp_path / "gate"
    return f"while [ ! -e {path} ]; do sleep 0.01; done", path


def test_a_command_survives_the_service_and_is_found_again(hold, open_world, tmp_path: Path) -> None:
    words, opens = gate(tmp_path)
    holder = hold()
    key = holder.start(1, "sh", "-c", f"echo before; {words}; echo after; exit 5")
    holder.wait("CommandOutput", 1)
    holder.kill()
    world = open_world(epoch=2)
    [found] = world.commands.adopt()
    assert (found.seq, found.attempt, found.phase, found.channel) == (1, 1, "running", CHANNEL)
    assert (found.last_chunk, found.last_took) == (1, 0)
    world.commands.resume(*key, after_chunk=0)
    opens.touch()
    assert world.end(key).code == 5
    assert world.output(key) == b"before\nafter\n"


def test_what_was_taken_is_not_given_again(hold, open_world, tmp_path: Path) -> None:
    words, opens = gate(tmp_path)
    holder = hold(acknowledge=True)
    key = holder.start(1, "sh", "-c", f"echo before; {words}; echo after")
    holder.wait("CommandOutput", 1)
    holder.kill()
    world = open_world(epoch=2)
    [found] = world.commands.adopt()
    world.commands.resume(*key, after_chunk=1)
    opens.touch()
    world.end(key)
    assert world.output(key) == b"after\n"
    assert found.last_took in {0, 1}


def test_an_end_without_a_service_is_kept(hold, open_world, tmp_path: Path) -> None:
    words, opens = gate(tmp_path)
    holder = hold()
    key = holder.start(1, "sh", "-c", f"{words}; echo late; echo error >&2; exit 9")
    holder.wait("CommandStarted", 1)
    holder.kill()
    opens.touch()
    wait_for(lambda: [one.phase for one in living(holder_folder(open_world))] == [black_box.DONE], what="its end")
    world = open_world(epoch=3)
    [found] = world.commands.adopt()
    assert found.phase == "ended"
    world.commands.resume(*key, after_chunk=0)
    assert world.end(key).code == 9
    assert (world.output(key, 1), world.output(key, 2)) == (b"late\n", b"error\n")
    assert world.file(key, "index").exists()


def holder_folder(open_world: Callable[..., Start]) -> Path:
    world = open_world(epoch=2)
    world.close()
    return world.folder


def test_limits_hold_without_a_service(hold, open_world, nap: str) -> None:
    holder = hold()
    key = holder.start(1, nap, "1000", timeout=0.3)
    holder.wait("CommandStarted", 1)
    holder.kill()
    wait_for(lambda: not running_from(Path(nap).parent), what="the limit")
    world = open_world(epoch=2)
    world.commands.adopt()
    world.commands.resume(*key, after_chunk=0)
    assert world.end(key).why == "timeout"


def test_many_commands_are_found_again(hold, open_world, tmp_path: Path) -> None:
    words, opens = gate(tmp_path)
    holder = hold()
    for seq in range(1, 13):
        holder.start(seq, "sh", "-c", f"echo {seq}; {words}; exit {seq}")
    world_folder = holder_folder(open_world)
    wait_for(lambda: sum(one.phase == black_box.STARTED for one in boxes(world_folder)) == 12, what="12 commands")
    holder.kill()
    world = open_world(epoch=2)
    found = world.commands.adopt()
    assert sorted(one.seq for one in found) == list(range(1, 13))
    for one in found:
        world.commands.resume(one.seq, one.attempt, after_chunk=0)
    opens.touch()
    assert [world.end((seq, 1)).code for seq in range(1, 13)] == list(range(1, 13))
    assert [world.output((seq, 1)) for seq in range(1, 13)] == [b"%d\n" % seq for seq in range(1, 13)]


def test_a_command_survives_a_service_that_lets_go_of_it(open_world, tmp_path: Path) -> None:
    words, opens = gate(tmp_path)
    first = open_world(epoch=1)
    key = first.start("sh", "-c", f"{words}; exit 4")
    first.wait(key, CommandStarted)
    first.close(keep=True)
    second = open_world(epoch=2)
    assert [one.phase for one in second.commands.adopt()] == ["running"]
    second.commands.resume(*key, after_chunk=0)
    opens.touch()
    assert second.end(key).code == 4


def test_closing_without_keeping_ends_every_command(open_world, nap: str) -> None:
    world = open_world()
    keys = [world.start(nap, "1000") for _ in range(3)]
    for key in keys:
        world.wait(key, CommandStarted)
    world.close()
    assert not running_from(Path(nap).parent)
    wait_for(lambda: not running_from(world.folder), what="supervisor and shims to go")
    assert {path.suffix for path in (world.folder / "shims").iterdir()} <= {"", ".box"}
    assert {word.phase for word in boxes(world.folder)} <= {black_box.DONE}, "what was not forgotten tells how it ended"


def test_shims_without_an_attempt_end_with_the_service(hold, open_world) -> None:
    holder = hold()
    holder.start(1, "/bin/true")
    holder.wait("CommandEnded", 1)
    holder.kill()
    folder = holder_folder(open_world)
    wait_for(lambda: len(list((folder / "shims").glob("*.sock"))) == 1, what="the spare ones to go")


def test_every_connection_is_one_that_a_forked_child_lets_go_of(world: Start) -> None:
    before = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    world.run("/bin/true")
    added = {int(path.name) for path in Path("/proc/self/fd").iterdir()} - before
    kinds = {number: kind(number) for number in added}
    assert {number for number in added if kinds[number].startswith("socket")} <= set(world.commands.descriptors())
    assert len(world.commands.descriptors()) >= 5


def kind(descriptor: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return ""


def test_after_the_supervisor_s_death_commands_go_on_and_new_ones_start(world: Start, tmp_path: Path) -> None:
    words, opens = gate(tmp_path)
    key = world.start("sh", "-c", f"{words}; exit 6")
    world.wait(key, CommandStarted)
    supervisor = world.commands._supervisor.pid
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: world.commands._supervisor is None, what="its end to be noticed")
    others = [world.start("echo", "new") for _ in range(6)]
    assert [world.end(other).code for other in others] == [0] * 6
    opens.touch()
    assert world.end(key).code == 6


def test_a_dead_shim_s_attempt_is_lost_and_its_processes_are_gone(world: Start, nap: str) -> None:
    key = world.start("sh", "-c", f"setsid {nap} 1000 & env -i {nap} 1000")
    wait_for(lambda: len(executing(nap)) == 2)
    kill_shim(world.shim_of(key))
    assert world.wait(key, CommandLost) == CommandLost(*key, executed=True, ended=None)
    assert not running_from(Path(nap).parent)
    assert world.end(world.start("/bin/true")).code == 0


def test_a_shim_that_dies_with_the_service_is_found_lost(hold, open_world, nap: str) -> None:
    holder = hold()
    holder.start(1, "sh", "-c", f"setsid {nap} 1000 & {nap} 1000")
    folder = holder_folder(open_world)
    wait_for(lambda: len(executing(nap)) == 2)
    holder.kill()  # it would sweep
    ours = [known for pid in running_from(folder) if (known := identify(pid)) is not None]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # the supervisor would sweep too, when it sees the shim's end first
        for known in ours:
            with contextlib.suppress(ProcessLookupError):  # a shim without a command ends with its service
                os.kill(known.pid, number)
    wait_for(lambda: not any(map(is_alive, ours)), what="the end of supervisor and shims, sockets and all")
    assert len(running_from(Path(nap).parent)) == 3
    world = open_world(epoch=3)
    [found] = world.commands.adopt()
    assert not running_from(Path(nap).parent)
    assert (found.phase, found.executed, found.ended, found.same_boot) == ("lost", True, None, True)
    assert [one.phase for one in open_again(open_world, world)] == ["lost"]


def open_again(open_world: Callable[..., Start], world: Start) -> list[Any]:
    """A loss is told until it is forgotten."""
    world.close(keep=True)
    again = open_world(epoch=4)
    found = again.commands.adopt()
    for one in found:
        again.commands.forget(one.seq, one.attempt)
    assert again.commands.adopt() == []
    return found


def test_a_shim_that_failed_while_no_service_was_there_says_why(hold, open_world, nap: str) -> None:
    holder = hold()
    holder.start(1, nap, "1000")
    holder.wait("CommandStarted", 1)
    holder.kill()
    folder = holder_folder(open_world)
    path = box_path(folder, (1, 1))
    word = black_box.read(str(path))
    shim_failures.note(str(folder), path.stem, OverflowError("signed integer\nis greater than maximum"))
    assert word
    kill_shim(word)
    world = open_world(epoch=3)
    [found] = world.commands.adopt()
    assert (found.phase, found.failure) == ("lost", "OverflowError: signed integer is greater than maximum")
    assert any("OverflowError: signed integer is greater than maximum" in line for line in world.reports)
    assert not list((world.folder / "shims").glob("*.error"))


def test_a_shim_s_leftovers_die_though_there_is_no_service(hold, open_world, nap: str) -> None:
    holder = hold()
    holder.start(1, "sh", "-c", f"setsid {nap} 1000 & env -i {nap} 1000")
    folder = holder_folder(open_world)
    wait_for(lambda: len(executing(nap)) == 2)
    holder.kill()
    for word in boxes(folder):
        kill_shim(word)
    wait_for(lambda: not running_from(Path(nap).parent), what="the supervisor's sweep")


def test_a_command_whose_shim_cannot_be_found_any_more_ends_with_its_service(hold, open_world, nap: str) -> None:
    holder = hold()
    holder.start(1, "sh", "-c", f"trap '' INT TERM; setsid {nap} 1000 & env -i {nap} 1000")
    folder = holder_folder(open_world)
    wait_for(lambda: len(executing(nap)) == 2)
    [shim] = [word.pid for word in boxes(folder) if word.seq == 1]
    shutil.rmtree(folder / "shims")
    holder.kill()
    wait_for(lambda: not running_from(Path(nap).parent), what="its end")
    wait_for(lambda: not Path(f"/proc/{shim}").exists(), what="the end of its shim")


def test_a_shim_that_cannot_be_found_any_more_ends_with_its_command(hold, open_world, tmp_path: Path) -> None:
    words, opens = gate(tmp_path)
    holder = hold()
    holder.start(1, "sh", "-c", f"echo begun; {words}")
    holder.wait("CommandOutput", 1)
    folder = holder_folder(open_world)
    [shim] = [word.pid for word in boxes(folder) if word.seq == 1]
    holder.kill()
    wait_for(lambda: not is_connected(shim), what="its service is gone for it, too")
    shutil.rmtree(folder / "shims")
    opens.touch()
    wait_for(lambda: not Path(f"/proc/{shim}").exists(), what="the end of the shim")


def is_connected(shim: int) -> bool:
    """Tell whether a shim has a connection: a socket beside the one that it listens at."""
    sockets = 0
    for path in Path(f"/proc/{shim}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            sockets += str(path.readlink()).startswith("socket:")
    return sockets > 1


def test_a_command_that_is_not_to_outlive_its_service_ends_with_it(hold, open_world, nap: str, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    holder = hold()
    holder.start(
        1, "sh", "-c", f"trap 'touch {asked}; exit' INT; setsid {nap} 1000 & {nap} 1000", outlives=False, grace=20.0
    )
    folder = holder_folder(open_world)
    wait_for(lambda: len(executing(nap)) == 2)
    holder.kill()
    wait_for(lambda: not running_from(Path(nap).parent), what="its end")
    wait_for(lambda: not living(folder), what="the end of its shim")
    assert asked.exists(), "it was asked to end first"


def test_a_leader_s_end_is_known_though_the_shim_died(open_world, folder: Path) -> None:
    world = open_world(acknowledge=False)
    key = world.start("sh", "-c", "exit 42")
    world.end(key)
    kill_shim(world.shim_of(key))
    lost = world.wait(key, CommandLost)
    assert lost.executed
    assert lost.ended.code == 42


def test_after_a_reboot_nothing_is_signalled(hold, open_world, nap: str) -> None:
    holder = hold()
    holder.start(1, nap, "1000")
    holder.wait("CommandStarted", 1)
    folder = holder_folder(open_world)
    path = box_path(folder, (1, 1))
    word = black_box.read(str(path))
    os.kill(word.pid, signal.SIGSTOP)
    try:
        for name in (path.name, path.with_suffix(".sock").name):  # as if that boot had been another
            (folder / "shims" / name).rename(folder / name)
        copy = folder / "shims" / "feed.box"
        descriptor = os.open(copy, os.O_RDWR | os.O_CREAT, 0o600)
        black_box.write(descriptor, word._replace(boot_id="another"))
        os.close(descriptor)
        holder.kill()
        world = open_world(epoch=2)
        lost = [one for one in world.commands.adopt() if one.phase == "lost"]
        assert [(one.seq, one.executed, one.same_boot) for one in lost] == [(1, True, False)]
        assert running_from(Path(nap).parent)
        assert is_alive(shim_identity(word))
    finally:
        os.kill(word.pid, signal.SIGCONT)
        kill_shim(word)
        for pid in running_from(Path(nap).parent):
            os.kill(pid, signal.SIGKILL)


def test_a_service_of_an_earlier_epoch_is_refused(open_world, tmp_path: Path) -> None:
    words, opens = gate(tmp_path)
    newer = open_world(epoch=7)
    key = newer.start("sh", "-c", words)
    newer.wait(key, CommandStarted)
    older = open_world(epoch=6)
    assert [(there.seq, there.phase) for there in older.commands.adopt()] == [(1, "foreign")]
    assert "epoch 6 is over" in older.reports[0]
    older.close(keep=True)
    opens.touch()
    assert newer.end(key).code == 0


@pytest.mark.parametrize("killed", [False, True])
def test_of_one_under_a_shim_that_refuses_the_end_is_told_and_a_cancel_kills_it(
    open_world, nap: str, tmp_path: Path, killed: bool
) -> None:
    words, opens = gate(tmp_path)
    newer = open_world(epoch=7)
    key = newer.start("sh", "-c", f"{nap} 1000 & {words}; exit 3")
    newer.wait(key, CommandStarted)
    newer.close(keep=True)
    older = open_world(epoch=6)
    assert [(there.seq, there.phase) for there in older.commands.adopt()] == [(1, "foreign")]
    older.commands.recovered()
    if killed:
        older.commands.cancel(*key, "cancelled")
    else:
        opens.touch()
    lost = older.end(key)
    assert (lost.executed, lost.ended and lost.ended.code) == (True, None if killed else 3)
    wait_for(lambda: not running_from(Path(nap).parent), what="the end of all its processes")
    wait_for(lambda: not living(older.folder), what="the end of its shim")


def test_what_cannot_be_killed_when_one_apart_ends_is_named_until_it_has_gone(
    open_world, nap: str, frozen: Callable[[int, bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orcha._supervisor.dead_shims._SWEEP_SECONDS", 0.1)
    newer = open_world(epoch=7)
    key = newer.start(nap, "1000")
    pid = newer.wait(key, CommandStarted).pid
    wait_for(lambda: running_from(Path(nap).parent), what="its process")
    newer.close(keep=True)
    older = open_world(epoch=6)
    older.commands.adopt()
    older.commands.recovered()
    frozen(pid, True)
    older.commands.cancel(*key, "cancelled")
    assert older.end(key).survivors == (pid,)
    assert not [event for event in older.of(key) if isinstance(event, SurvivorsGone)]
    frozen(pid, False)
    older.wait(key, SurvivorsGone)
    assert not running_from(Path(nap).parent)


def test_of_a_shim_that_does_not_answer_nobody_knows_what_outlived_its_command(
    hold, open_world, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orcha._supervisor.adoption.ANSWER_SECONDS", 0.2)
    holder = hold()
    key = holder.start(1, "/bin/true")
    holder.wait("CommandEnded", 1)
    shim = next(one for one in boxes(folder) if one.seq == 1).pid
    os.kill(shim, signal.SIGSTOP)
    try:
        holder.kill()
        later = open_world(epoch=2)
        assert [(there.seq, there.phase, there.is_silent) for there in later.commands.adopt()] == [(1, "ended", True)]
        later.commands.recovered()
        later.commands.resume(*key, after_chunk=0)
    finally:
        os.kill(shim, signal.SIGCONT)
    assert later.end(key).survivors == []


def test_what_is_apart_and_unknown_is_killed_without_a_word(open_world, nap: str) -> None:
    newer = open_world(epoch=7)
    key = newer.start(nap, "1000")
    newer.wait(key, CommandStarted)
    newer.close(keep=True)
    older = open_world(epoch=6)
    older.commands.adopt()
    older.commands.discard(*key)
    wait_for(lambda: not running_from(Path(nap).parent), what="its end")
    wait_for(lambda: not living(older.folder), what="the end of its shim")
    older.close()
    assert older.events == []


def test_a_shim_that_speaks_another_version_is_left_alone(
    open_world, folder: Path, tmp_path: Path, monkeypatch
) -> None:
    words, opens = gate(tmp_path)
    first = open_world()
    key = first.start("sh", "-c", words)
    first.wait(key, CommandStarted)
    shims = os.open(folder / "shims", os.O_RDONLY)
    monkeypatch.setattr("orcha._supervisor.shim_connection.VERSIONS", (98, 99))
    path = box_path(folder, key)
    stranger = ShimConnection(path.stem, connect(shims, path.stem), 9)
    answer = wait_for(lambda: list(stranger.link.receive()))
    assert answer[0].head["t"] == "refused"
    stranger.link.close()
    os.close(shims)
    opens.touch()
    assert first.end(key).code == 0


def test_what_the_store_does_not_know_is_killed_and_forgotten(hold, open_world, nap: str) -> None:
    holder = hold()
    key = holder.start(1, "sh", "-c", f"echo out; {nap} 1000")
    holder.wait("CommandOutput", 1)
    holder.kill()
    world = open_world(epoch=2)
    world.commands.adopt()
    world.commands.discard(*key)
    wait_for(lambda: not running_from(Path(nap).parent), what="its end")
    wait_for(lambda: all(one.phase == black_box.IDLE for one in boxes(world.folder)), what="the shim to forget it")
    world._next = 1
    assert world.end(world.start("/bin/true")).code == 0
    assert world.of(key) == []
    assert not any(isinstance(event, CommandOutput) for event in world.events)


def test_an_attempt_that_no_shim_took_was_not_executed(open_world, tmp_path: Path) -> None:
    world = open_world()
    world.run("/bin/true")
    idle = wait_for(lambda: [one for one in boxes(world.folder) if one.phase == black_box.IDLE])
    for word in idle:
        os.kill(word.pid, signal.SIGSTOP)
    key = world.start("touch", str(tmp_path / "mark"))
    for word in idle:
        kill_shim(word)
    ending = world.end(key)
    assert ending == CommandLost(*key, executed=False) or isinstance(ending, CommandEnded)
    assert isinstance(ending, CommandEnded) == (tmp_path / "mark").exists()
    assert not any(isinstance(one, CommandOutput) for one in world.of(key))


def test_of_a_dead_shim_without_a_box_nobody_knows_what_it_executed(open_world, nap: str) -> None:
    world = open_world()
    key = world.start(nap, "1000")
    world.wait(key, CommandStarted)
    word, path = world.shim_of(key), box_path(world.folder, key)
    path.unlink()
    kill_shim(word)
    assert world.end(key) == CommandLost(*key, executed=True)


@pytest.mark.parametrize("what", ["the box", "the notes", "all"])
def test_what_ran_and_left_no_trace_may_have_run(hold, open_world, nap: str, what: str) -> None:
    holder = hold()
    key = holder.start(1, nap, "1000")
    holder.wait("CommandStarted", 1)
    holder.kill()
    folder = holder_folder(open_world)
    path = box_path(folder, key)
    kill_shim(next(word for word in boxes(folder) if word.seq == 1))
    path.unlink()
    if what == "the notes":
        (folder / "shims" / "handed").write_bytes(b"")
    elif what == "all":
        shutil.rmtree(folder / "shims")
    world = open_world(epoch=2)
    assert world.commands.adopt() == []
    assert world.commands.may_have_run(*key, epoch=1)
    if what == "the box":
        assert not world.commands.may_have_run(2, 1, epoch=1), "it was never handed over"


def test_what_a_shim_was_told_to_forget_may_have_run_all_the_same(open_world) -> None:
    world = open_world()
    key = world.run("/bin/true")
    wait_for(lambda: all(one.phase == black_box.IDLE for one in boxes(world.folder)), what="the shim to forget it")
    world.close(keep=True)
    later = open_world(epoch=2)
    assert later.commands.adopt() == []
    assert later.commands.may_have_run(*key, epoch=1)


def test_a_shim_that_does_not_answer_carries_out_no_order_of_the_service_before(
    hold, open_world, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("orcha._supervisor.adoption.ANSWER_SECONDS", 0.2)
    holder = hold(acknowledge=True)
    holder.start(1, "/bin/true")
    holder.wait("CommandEnded", 1)
    folder = holder_folder(open_world)
    idle = wait_for(lambda: [one for one in living(folder) if one.phase == black_box.IDLE], what="idle shims")
    for word in idle:
        os.kill(word.pid, signal.SIGSTOP)
    key = holder.start(2, "touch", str(tmp_path / "mark"))
    wait_for(lambda: noted_in(folder, 2), what="the hand-over")
    holder.kill()
    world = open_world(epoch=2)
    assert [there.seq for there in world.commands.adopt()] == [1]
    assert not world.commands.may_have_run(*key, epoch=1)
    assert not any(is_alive(shim_identity(word)) for word in idle)
    world.commands.recovered()
    world.commands.discard(1, 1)
    world._next = 2
    assert world.end(world.start("/bin/true")).code == 0
    assert not (tmp_path / "mark").exists()


def noted_in(folder: Path, seq: int) -> bool:
    """Tell whether a hand-over of this petition is noted."""
    return seq.to_bytes(8, "big") in (folder / "shims" / "handed").read_bytes()
