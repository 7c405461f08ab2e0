"""What a command leaves behind: heard, named, asked to end, ended, or let go."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from service_start import Start, executing, kill_shim, shim_identity

from orcha._processes.identity import is_alive
from orcha._processes.tag import read_tag
from orcha._supervisor import dead_shims
from orcha._supervisor.contract import CommandLost, CommandStarted, SurvivorsGone
from support.waiting import wait_for

LONG = 36_000.0


def start_and_leave(world: Start, program: str, script: str, many: int = 1, **fields: Any) -> Any:
    """Run a script whose shell ends once so many of what it starts execute the program; give the key."""
    key = world.start("sh", "-c", f"{script} read x; exit 0", stdin="pipe", **fields)
    wait_for(lambda: len(executing(program)) == many, what="what is left behind")
    world.commands.close_stdin(*key, 0)
    return key


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_what_still_writes_is_heard_as_long_as_its_time_lasts(world: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    key = world.start("sh", "-c", f"(read x <{gate}; echo late $x) & echo first", drain=LONG)
    world.said(key, b"first")
    wait_for(lambda: is_gone(world.wait(key, CommandStarted).pid), what="the leader's end")
    gate.write_text("word\n")
    ended = world.end(key)
    assert world.output(key) == b"first\nlate word\n"
    assert (ended.code, ended.left, ended.leftovers, ended.signals) == (0, 0, (), [])


def test_when_its_time_is_over_it_is_named_and_ended(world: Start, nap: str) -> None:
    ended = world.end(start_and_leave(world, nap, f"{nap} 1000 & {nap} 1000 &", 2, drain=0))
    assert (ended.code, ended.why, ended.left, ended.kept) == (0, None, 2, False)
    assert [name for _, name in ended.leftovers] == ["nap", "nap"]
    assert [(number, why) for _, number, why in ended.signals] == [(signal.SIGTERM, "leftovers")]
    assert not executing(nap)


def test_what_holds_no_output_open_is_asked_to_end_before_it_is_killed(world: Start, tmp_path: Path) -> None:
    asked, ready = tmp_path / "asked", tmp_path / "ready"
    os.mkfifo(ready)
    daemon = f"trap 'echo asked >{asked}; exit' TERM; echo ready >{ready}; while :; do read x <{ready}; done"
    script = f"(exec </dev/null >/dev/null 2>&1; {daemon}) & read x <{ready}"
    ended = world.end(world.start("sh", "-c", script, drain=LONG, grace=LONG))
    assert asked.read_text() == "asked\n"
    assert ended.left == 1
    assert [number for _, number, _ in ended.signals] == [signal.SIGTERM]


def test_what_does_not_end_when_it_is_asked_is_killed_after_the_grace(world: Start, nap: str) -> None:
    script = f"(trap '' TERM; echo ready; exec {nap} 1000) & read x; exit 0"
    key = world.start("sh", "-c", script, stdin="pipe", drain=0, grace=0.2)
    world.said(key, b"ready")
    world.commands.close_stdin(*key, 0)
    ended = world.end(key)
    assert [number for _, number, _ in ended.signals] == [signal.SIGTERM, signal.SIGKILL]
    assert not executing(nap)


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_its_first_signal_is_term_whatever_a_cancel_begins_with(world: Start, nap: str, stop_signal: int) -> None:
    ended = world.end(world.start("sh", "-c", f"{nap} 1000 & exit 0", drain=0, stop_signal=stop_signal))
    assert [number for _, number, _ in ended.signals] == [signal.SIGTERM]


def test_a_cancel_does_not_wait_for_its_time_to_be_over(world: Start, nap: str) -> None:
    key = world.start("sh", "-c", f"{nap} 1000 & exit 4", drain=LONG)
    wait_for(lambda: executing(nap) and is_gone(world.wait(key, CommandStarted).pid), what="the leader's end")
    world.commands.cancel(*key, "cancelled")
    ended = world.end(key)
    assert (ended.code, ended.why) == (4, None)
    assert not executing(nap)


def test_a_kill_does_not_ask(world: Start, nap: str) -> None:
    key = world.start("sh", "-c", f"trap '' TERM; {nap} 1000 & exit 4", drain=LONG, grace=LONG)
    wait_for(lambda: executing(nap) and is_gone(world.wait(key, CommandStarted).pid), what="the leader's end")
    world.commands.kill(*key, "test")
    assert world.end(key).code == 4
    assert not executing(nap)


def test_what_writes_beyond_the_output_limit_is_ended_at_once(world: Start) -> None:
    ended = world.end(world.start("sh", "-c", "yes & exit 0", drain=LONG, output_limit=100_000, output_policy="kill"))
    assert ended.why == "output"


def test_what_is_about_to_end_is_not_named(world: Start) -> None:
    keys = [world.start("bash", "-c", "true & cat </dev/null & exec > >(cat >/dev/null); echo a") for _ in range(20)]
    assert [world.end(key).left for key in keys] == [0] * 20


@pytest.fixture
def kept(nap: str) -> str:
    """Give the program of what is let go; it is ended after the test."""
    yield nap
    for pid in executing(nap):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not executing(nap))


def test_what_is_kept_is_let_go_and_lives_on(world: Start, kept: str) -> None:
    script = f"(exec setsid {kept} 1000 </dev/null >/dev/null 2>&1) &"
    key = start_and_leave(world, kept, script, leftovers="keep", drain=LONG)
    ended = world.end(key)
    [pid] = executing(kept)
    assert (ended.code, ended.kept, ended.left, ended.leftovers) == (0, True, 1, ((pid, "nap"),))
    assert ended.signals == []
    world.run("true")
    world.close()
    assert executing(kept) == [pid]
    assert read_tag(pid) == read_tag(os.getpid())


def test_the_shim_of_what_is_kept_takes_no_other_command(world: Start, kept: str) -> None:
    key = start_and_leave(world, kept, f"(exec {kept} 1000 </dev/null >/dev/null 2>&1) &", leftovers="keep")
    word = world.shim_of(key)
    world.end(key)
    wait_for(lambda: not is_alive(shim_identity(word)), what="the shim's end")
    assert len(executing(kept)) == 1
    assert world.end(world.start("true")).code == 0


def test_after_a_cancel_nothing_is_kept(world: Start, nap: str) -> None:
    key = world.start("sh", "-c", f"setsid {nap} 1000 & echo ready; exec {nap} 1000", leftovers="keep")
    world.said(key, b"ready")
    world.commands.cancel(*key, "cancelled")
    ended = world.end(key)
    assert (ended.why, ended.kept, ended.left) == ("cancelled", False, 0)
    assert not executing(nap)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root enters another's namespace of process ids here")
@pytest.mark.parametrize("cancel", [False, True])
def test_an_orphan_in_the_namespace_of_another_attempt_is_found(world: Start, nap: str, cancel: bool) -> None:
    other = world.start("unshare", "--pid", "--fork", "sh", "-c", "echo ready; exec sleep 1000")
    world.said(other, b"ready")
    leader = world.wait(other, CommandStarted).pid
    [first] = (int(word) for word in Path(f"/proc/{leader}/task/{leader}/children").read_text().split())
    inner = f"setsid {nap} 1000 </dev/null >/dev/null 2>&1 & exit 0"
    script = f'nsenter --target {first} --pid -- sh -c "{inner}"; echo out; {"read x" if cancel else "exit 0"}'
    key = world.start("sh", "-c", script, stdin="pipe", drain=0.1)
    if cancel:
        world.said(key, b"out")
        wait_for(lambda: executing(nap))
        world.commands.cancel(*key, "cancelled")
    ended = world.end(key)
    assert not executing(nap)
    assert ended.survivors == []
    if not cancel:
        assert [name for _, name in ended.leftovers] == ["nap"]
    world.commands.kill(*other, "test")
    world.end(other)


def test_nothing_else_of_the_system_delays_an_end(world: Start) -> None:
    """Whatever other processes begin and end meanwhile, none of them carries the tag."""
    with subprocess.Popen(["sh", "-c", "while :; do /bin/true; done"]) as busy:
        try:
            for _ in range(20):
                ended = world.end(world.start("true", drain=LONG))
                assert (ended.left, ended.signals) == (0, [])
        finally:
            busy.kill()


def test_what_cannot_be_killed_when_its_shim_dies_is_named_until_it_has_gone(
    world: Start, nap: str, frozen: Callable[[int, bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_shims, "_SWEEP_SECONDS", 0.1)
    key = world.start(nap, "1000")
    pid = world.wait(key, CommandStarted).pid
    wait_for(lambda: executing(nap))
    frozen(pid, True)
    kill_shim(world.shim_of(key))
    lost = world.wait(key, CommandLost)
    assert lost.survivors == (pid,)
    assert not [event for event in world.of(key) if isinstance(event, SurvivorsGone)]
    frozen(pid, False)
    world.wait(key, SurvivorsGone)
    assert not executing(nap)
