"""Ending one attempt's processes, and no others."""

from __future__ import annotations

import os
import signal

import pytest

from orcha._processes.identity import identify, is_alive
from processes.fake_services import FakeService, gone, interpreters


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("python", [pytest.param(path, id=version) for version, path in interpreters().items()])
def test_cancelling_one_of_two_leaves_the_other_and_the_helpers(fake: FakeService, method, python) -> None:
    ready = fake.start(method, python)
    first, second = fake.start_tree(1), fake.start_tree(2)
    fake.say("cancel 1")
    ended = fake.hear("ended")
    assert ended == {"ended": 1, "survivors": [], "signal": signal.SIGKILL}  # one of them ignores INT and TERM
    assert gone(first)
    assert all(map(is_alive, second))
    assert all(identify(pid) for pid in ready["helpers"])
    assert len(ready["helpers"]) == (2 if method == "forkserver" else 1)

    third = fake.start_tree(3)  # processes can still be started
    fake.say("cancel 2")
    assert fake.hear("ended")["ended"] == 2
    assert gone(second)
    assert all(map(is_alive, third))


def test_stopped_processes_are_ended_too(fake: FakeService) -> None:
    fake.start("fork")
    tree = fake.start_tree(1)
    for one in tree:
        os.kill(one.pid, signal.SIGSTOP)
    fake.say("cancel 1")
    assert fake.hear("ended")["survivors"] == []
    assert gone(tree)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_sigterm_to_a_forked_child_ends_it_and_never_reaches_the_service(fake: FakeService, loop) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    fake.start("fork", loop=loop)
    fake.start_tree(1)
    os.kill(fake.role(1, "child").pid, signal.SIGTERM)
    back = fake.hear("back")
    assert back["code"] == -signal.SIGTERM
    assert back["may_have_processes"] is True
    fake.say("ping")
    fake.hear("pong")
    assert not [fields for fields in fake.dropped if "handler" in fields]
    os.kill(fake.process.pid, signal.SIGTERM)
    assert fake.hear("handler")["handler"] == signal.SIGTERM


def test_an_attempt_that_started_nothing_needs_no_sweep(fake: FakeService) -> None:
    fake.start("fork")
    fake.start_tree(1)
    fake.say("quiet")
    assert fake.hear("may_have_processes")["may_have_processes"] is False
