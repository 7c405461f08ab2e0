"""The service is killed where something of a command is kept: it is executed once, and nothing is lost."""

from __future__ import annotations

import signal
from threading import Thread

import pytest

from orcha.interfaces import Message
from support.commands import COMMANDS, everything, run, writer, written_by
from support.waiting import wait_for

KINDS = ("accept", "start", "put", "end")
POINTS = [f"{kind}.{when}-commit" for kind in KINDS for when in ("before", "after")]
POINTS += [f"put.{when}-commit:{nth}" for when in ("before", "after") for nth in (2,)]
POINTS += [f"reply.after-send:{nth}" for nth in (1, 2, 3)]
AT_START = ["begin.before-commit", "begin.after-sweep", "begin.after-forget"]
AT_START += [
    "recover.before-commit",
    "recover.after-commit",
    "reply.after-send",
    "put.before-commit",
    "end.after-commit",
]
LINES = 3_000

pytestmark = pytest.mark.slow


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "ledger"


def noted(ledger):
    return [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []


def check(queue, ledger):
    """Compare what came, and what was executed."""
    result = everything(queue)
    assert (result.code, result.lines) == (2, [])
    assert result.out == written_by(2, LINES)
    (start, end) = noted(ledger)
    assert [start[1], end[1]] == ["start", "end"]
    assert start[2] == end[2]


def died(service):
    return service.wait_for_end() == -signal.SIGKILL


@pytest.mark.parametrize("point", POINTS)
def test_killed_where_something_is_kept_it_goes_on_from_there(serve, connect, latch, ledger, point):
    service = serve(COMMANDS, environment={"ORCHA_CRASH": point})
    latch.open()
    client = connect(service)
    service.environment.pop("ORCHA_CRASH")
    queue = client.manager.Queue()
    extras = {"argv": writer(2, LINES, ledger, latch), "queue": queue}
    sender = Thread(target=lambda: client.send(Message("w2", extras)))
    sender.start()
    assert died(service), point
    service.start()
    sender.join(60)
    check(queue, ledger)


@pytest.mark.parametrize("point", AT_START)
def test_killed_again_while_it_comes_back(serve, connect, latch, ledger, point):
    service = serve(COMMANDS)
    queue = run(connect(service), "w2", *writer(2, LINES, ledger, latch))
    wait_for(lambda: noted(ledger), what="its start")
    service.kill()
    latch.open()
    service.start(ready=False, environment={"ORCHA_CRASH": point})
    assert died(service), point
    service.start()
    check(queue, ledger)
