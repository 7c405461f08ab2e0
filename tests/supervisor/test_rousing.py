"""Shims that a command stops, and a service that goes without a word."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading

import pytest
from world import World, executing, kill_shim, shim_identity

from orcha._processes.identity import is_alive, read_stat
from orcha._service.lifecycle.compose import check_limits
from orcha._supervisor import main
from orcha._supervisor.contract import Ended, Lost
from orcha._supervisor.rousing import TOO_OFTEN
from orcha.exceptions import ConfigurationError
from support.waiting import wait_for

NEVER = float("inf")


@pytest.fixture(autouse=True)
def nobody_looks(world: World) -> None:
    """Have a look taken by the test alone: any other would let go on what is to be stopped."""
    world.commands._rousing._due = NEVER


def is_stopped(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.is_stopped


def stopped(world: World, program: str) -> tuple[tuple[int, int], int]:
    """Start a command that stops its shim; give its key, and the shim's process."""
    key = world.start("sh", "-c", f"kill -STOP $PPID; exec {program} 1000")
    pid = world.shim_of(key).pid
    wait_for(lambda: executing(program) and is_stopped(pid), what="a stopped shim")
    return key, pid


@pytest.mark.parametrize("verb", ["cancel", "kill"])
def test_a_cancel_reaches_a_command_that_has_stopped_its_shim(world: World, nap: str, verb: str) -> None:
    key, _ = stopped(world, nap)
    getattr(world.commands, verb)(*key, "cancelled")
    ended = world.wait(key, Ended)
    assert ended.why == "cancelled"
    assert not executing(nap)


def test_a_stop_leaves_nothing_of_it(world: World, nap: str) -> None:
    key, _ = stopped(world, nap)
    word = world.shim_of(key)
    world.close()
    wait_for(lambda: not executing(nap) and not is_alive(shim_identity(word)), what="the end of both")


def test_a_look_lets_it_go_on_so_that_its_limits_hold(world: World, nap: str) -> None:
    key = world.start("sh", "-c", f"kill -STOP $PPID; exec {nap} 1000", timeout=0.05)
    pid = world.shim_of(key).pid
    wait_for(lambda: is_stopped(pid), what="a stopped shim")
    world.commands._rousing.look(list(world.commands._roster), now=NEVER)
    assert world.wait(key, Ended).why == "timeout"


def test_one_that_is_stopped_again_and_again_is_killed_with_its_command(world: World, nap: str) -> None:
    key, pid = stopped(world, nap)
    for _ in range(TOO_OFTEN):
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: is_stopped(pid), what="a stopped shim")
        world.commands._rousing.look(list(world.commands._roster), now=NEVER)
    assert isinstance(world.end(key), Lost)
    assert not executing(nap)
    assert any("stopped again and again" in line for line in world.reports)


def test_a_loss_is_told_where_no_thread_can_be_started(world: World, nap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = world.start(nap, "1000")
    word = world.shim_of(key)
    wait_for(lambda: executing(nap), what="the command")

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    kill_shim(word)
    assert isinstance(world.end(key), Lost)
    assert not executing(nap)
    assert any("can't start new thread" in line for line in world.reports)


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
