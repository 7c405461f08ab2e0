"""Stopped and started again and again under load, a service executes each petition once, and tells each end once.

``TEST_STOPS`` sets how many stops there are for each kind of petition; ``make test-long`` makes 200.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter

import pytest

from orcha.exceptions import ManagerShutdownError, OrchaConnectionError
from orcha.interfaces import Message
from support.commands import COMMANDS, everything, run
from support.waiting import wait_for

STOPS = int(os.environ.get("TEST_STOPS", "3"))
FEEDERS = 3
"""Clients that each have one petition after another executed."""


class Feeder:
    """Has one petition after another executed, and notes how each ended."""

    def __init__(self, number, client, ledger, send):
        self.ends = {}
        """Final values, by id."""
        self.failure = None
        self.refused = 0
        self._over = threading.Event()
        self._number, self._client, self._ledger, self._send = number, client, ledger, send
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            while not self._over.is_set():
                self._one(f"f{self._number}-{len(self.ends)}")
        except BaseException as error:  # noqa: BLE001 - the test tells it
            self.failure = error

    def _one(self, name):
        while True:
            try:
                queue = self._send(self._client, name, str(self._ledger))
            except (ManagerShutdownError, OrchaConnectionError):  # it stops: that was not accepted
                self.refused += 1
            else:
                *_, code = everything(queue)
                self.ends[name] = code
                return

    def end(self):
        self._over.set()
        self._thread.join(90)
        assert not self._thread.is_alive(), "the end of a petition did not come"
        if self.failure is not None:
            raise self.failure


def command(client, name, ledger):
    return run(client, name, "sh", "-c", 'echo "$ORCHA_ID" >> "$0"', ledger, env={"PATH": os.environ["PATH"]})


def action(client, name, ledger):
    queue = client.manager.Queue()
    client.send(Message(name, {"ledger": ledger, "queue": queue}))
    return queue


@pytest.mark.slow
@pytest.mark.timeout(120 + 10 * STOPS)
@pytest.mark.parametrize(
    ("manager", "send"), [(COMMANDS, command), ("support.managers:ScriptManager", action)], ids=["commands", "actions"]
)
def test_each_petition_is_executed_once_over_stops(serve, connect, tmp_path, manager, send):
    chance = random.Random(STOPS)
    ledger = tmp_path / "ledger"
    ledger.touch()
    service = serve(manager, environment={"ORCHA_KEEP_COMMANDS": "1"})
    feeders = [Feeder(number, connect(service), ledger, send) for number in range(FEEDERS)]

    def executed():
        return ledger.read_text().splitlines()

    try:
        for _ in range(STOPS):
            enough = len(executed()) + chance.randrange(1, 30)
            wait_for(
                lambda enough=enough: len(executed()) >= enough or any(each.failure for each in feeders), what="load"
            )
            assert service.stop() == 0
            service.start()
    finally:
        for feeder in feeders:
            feeder.end()
    ends = {name: code for feeder in feeders for name, code in feeder.ends.items()}
    assert Counter(executed()) == Counter(dict.fromkeys(ends, 1))
    assert {code or 0 for code in ends.values()} == {0}
    refused = sum(feeder.refused for feeder in feeders)
    print(f"{STOPS} stops: {len(ends)} petitions, each executed once and ended once; {refused} refused meanwhile")
