"""The service is killed where something of an array is kept: each element is executed once, and none is lost."""

from __future__ import annotations

import signal
from threading import Thread

import pytest

from orcha.interfaces import Message
from support.commands import COMMANDS

ELEMENTS = 6
KINDS = {"accept": (1, 2, 4), "start": (2,), "end": (1, 3)}
POINTS = [f"{kind}.{when}-commit:{nth}" for kind, nths in KINDS.items() for nth in nths for when in ("before", "after")]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("point", POINTS)
def test_killed_where_something_is_kept_each_element_is_executed_once(serve, connect, tmp_path, point):
    ran = tmp_path / "ran"
    service = serve(COMMANDS, environment={"ORCHA_CRASH": point})
    client = connect(service)
    service.environment.pop("ORCHA_CRASH")
    queue = client.manager.Queue()
    extras = {
        "argv": ["/bin/sh", "-c", f"echo {{}} >> {ran}"],
        "env": {"PATH": "/usr/bin:/bin"},
        "array": {"range": [1, ELEMENTS, 1], "at_most": 1},
        "queue": queue,
    }
    sender = Thread(target=lambda: client.send(Message("many", extras)))
    sender.start()
    assert service.wait_for_end() == -signal.SIGKILL, point
    service.start()
    sender.join(60)
    told = []
    while isinstance(value := queue.get(timeout=60), dict):
        told.append(value["index"])
    assert value == 0
    assert sorted(map(int, ran.read_text().split())) == list(range(1, ELEMENTS + 1))
    assert sorted(told) == list(range(1, ELEMENTS + 1))
