"""What nothing can kill is given up after a while: named in the attempt's end, killed on, and told when it has gone."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orcha._supervisor import black_box, leftovers
from orcha._supervisor import shim_attempt as attempts
from orcha._supervisor.contract import CommandSpec
from orcha._supervisor.escalation import GIVE_UP_SECONDS
from orcha._supervisor.process_tree import Child
from orcha._supervisor.shim_attempt import SURVIVOR_LOOK_SECONDS, ShimAttempt
from orcha._supervisor.shim_secrets import ShimSecrets

LEADER, FROZEN = 1_000_001, 1_000_002
"""Pids that no system hands out by default."""


class FrozenTree:
    """The processes of an attempt that a frozen cgroup holds: every signal waits until they are thawed."""

    def __init__(self) -> None:
        self.pids = [FROZEN, LEADER]
        self.sent: list[int] = []

    def members(self) -> list[Child]:
        return [Child(pid, 0) for pid in self.pids]

    def has_others(self, _first: int, _since: float) -> bool:
        return bool(self.pids)

    def signal(self, number: int) -> int:
        self.sent.append(number)
        return len(self.pids)

    def sweep(self, _seconds: float) -> None:
        self.sent.append(signal.SIGKILL)

    def resume(self) -> None:
        pass


class Watched:
    """Watches nothing."""

    def register(self, _descriptor: int, _events: int) -> None:
        pass

    def unregister(self, _descriptor: int) -> None:
        pass


class Scene:
    """An attempt whose processes are frozen, on a clock that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.tree = FrozenTree()
        self.groups: list[int] = []
        self.phases: list[int] = []
        spec = CommandSpec(1, 1, bytes(16), ("true",), "/", {}, grace=4.0)
        tree: Any = self.tree
        secrets = ShimSecrets(str(folder), "none")
        self.attempt = ShimAttempt(
            spec, str(folder / "output"), tree, Watched(), lambda one: self.phases.append(one.phase), secrets
        )

    def go_on(self, until: float) -> None:
        """Let time pass, step by step as the attempt asks for it."""
        while (due := self.attempt.due()) <= until:
            self.now = max(self.now, due)
            self.attempt.step()
        self.now = until


@pytest.fixture
def scene(tmp_path, monkeypatch):
    made = Scene(tmp_path)
    clock = SimpleNamespace(monotonic=lambda: made.now, time=lambda: made.now)
    monkeypatch.setattr(attempts, "time", clock)
    monkeypatch.setattr(attempts, "spawn", lambda *_: LEADER)
    monkeypatch.setattr(os, "killpg", lambda _leader, number: made.groups.append(number))
    monkeypatch.setattr(os, "wait4", lambda *_: (0, 0, None))
    made.attempt.start(None)
    assert made.phases == [black_box.TAKEN, black_box.STARTED]
    return made


def test_it_is_given_up_so_long_after_the_first_kill_and_not_before(scene):
    scene.attempt.cancel("cancelled")
    first_kill = scene.now + 4.0
    scene.go_on(first_kill + GIVE_UP_SECONDS - 0.01)
    assert signal.SIGKILL in scene.groups
    assert scene.attempt.phase == black_box.STARTED
    scene.go_on(first_kill + GIVE_UP_SECONDS + 1.0)
    assert scene.attempt.phase == black_box.DONE
    report = scene.attempt.report()
    assert report["survivors"] == [LEADER, FROZEN]
    assert (report["why"], report["code"], report["signal"]) == ("cancelled", None, signal.SIGKILL)
    assert scene.phases[-1] == black_box.DONE


def test_it_is_killed_on_and_its_end_is_told(scene):
    scene.attempt.kill("cancelled")
    scene.go_on(scene.now + GIVE_UP_SECONDS + 1.0)
    assert scene.attempt.phase == black_box.DONE
    scene.tree.sent.clear()
    scene.go_on(scene.now + 10 * SURVIVOR_LOOK_SECONDS)
    assert len(scene.tree.sent) >= 9
    assert set(scene.tree.sent) == {signal.SIGKILL}
    assert not scene.attempt.is_end_of_survivors_unreported
    scene.tree.pids.clear()
    scene.go_on(scene.now + 2 * SURVIVOR_LOOK_SECONDS)
    assert scene.attempt.is_end_of_survivors_unreported
    assert scene.attempt.escalation.survivors == []
    assert scene.attempt.due() == float("inf")


def leader_dies(scene, monkeypatch):
    """Have the leader be reaped, and leave the other process."""
    ended = iter([(LEADER, int(signal.SIGKILL), resource.getrusage(resource.RUSAGE_SELF))])
    monkeypatch.setattr(os, "wait4", lambda *_: next(ended, (0, 0, None)))
    scene.tree.pids.remove(LEADER)
    scene.tree.sent.clear()
    scene.attempt.reap()
    assert scene.attempt.phase == black_box.ENDED


@pytest.mark.parametrize("how", ["kill", "cancel"])
def test_after_the_first_kill_what_the_leader_leaves_gets_no_grace(scene, monkeypatch, how):
    monkeypatch.setattr(leftovers, "_is_exiting", lambda _pid: False)
    getattr(scene.attempt, how)("cancelled")
    scene.go_on(scene.now + 4.0)
    leader_dies(scene, monkeypatch)
    scene.go_on(scene.now + 1.0)
    assert set(scene.tree.sent) == {signal.SIGKILL}
    assert scene.attempt.report()["signals"][-1][1] == signal.SIGKILL
    scene.attempt.alone = True
    scene.go_on(scene.now + 0.2)
    assert scene.attempt.phase == black_box.DONE


def test_while_leftovers_exit_the_shim_sleeps(scene, monkeypatch):
    monkeypatch.setattr(leftovers, "_is_exiting", lambda _pid: True)
    scene.attempt.kill("cancelled")
    leader_dies(scene, monkeypatch)
    times = []
    for _ in range(10):
        scene.now = max(scene.now, scene.attempt.due())
        times.append(scene.now)
        scene.attempt.step()
    assert len(set(times)) >= 9
    scene.attempt.alone = True
    scene.go_on(scene.now + 0.2)
    assert scene.attempt.phase == black_box.DONE
