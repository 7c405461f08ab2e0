"""A client that does one of everything, in order, whatever happens to its service meanwhile."""

from __future__ import annotations

import random
import threading
from pathlib import Path

from durability.history import Figures, History, Journal, check
from durability.ledger_client import Worker
from orcha._client.client import Client
from orcha._protocol.endpoint import Endpoint
from support.service import RunningService
from support.waiting import DEADLINE

ENVIRONMENT = {"TEST_LIMIT": "1", "ORCHA_STOP_GRACE": "0"}
"""Of the service: one petition at a time."""


class Scenario:
    """Runs in a thread of its own, so that the service can be killed and started meanwhile."""

    def __init__(self, service: RunningService, folder: Path) -> None:
        """Prepare; the service need not run yet."""
        self._interrupts = False
        self._service = service
        self._journal_path = folder / "journal"
        self._ledger = folder / "ledger"
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="scenario")

    def start(self, *, interrupts: bool = False) -> None:
        """Begin, with a service that serves.

        Where the test `interrupts` the petition that may run again, its first attempt waits until the test does so.
        """
        self._interrupts = interrupts
        endpoint = Endpoint(self._service.address, self._service.port)
        self._client = Client(endpoint, None, reconnect=60, notify=lambda _: None)
        self._client.connect()
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it has done everything."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Wait until everything is done."""
        self._thread.join(DEADLINE)
        assert self.is_over, "the client waits for ever"
        self._client.close()
        if self._failure is not None:
            raise self._failure

    def check(self, *, stopped: bool = False) -> Figures:
        """Compare what the client knows with what the stopped service has kept."""
        endpoint = self._service.home / f"{self._service.address}-{self._service.port}"
        return check(History.read([self._journal_path]), self._ledger, endpoint, stopped=stopped)

    def _run(self) -> None:
        journal = Journal(self._journal_path)
        try:
            self._perform(Worker(self._client, journal, str(self._ledger), "s", random.Random(1)))
        except BaseException as error:  # noqa: BLE001 - told to the thread that joins
            self._failure = error
        finally:
            journal.close()

    def _perform(self, worker: Worker) -> None:
        channel = self._client.channel
        plain = {"lines": 2, "pause": 0, "child": False, "code": 0, "priority": 1, "policy": "fail"}
        working = worker.item(channel(), **plain | {"lines": 4, "pause": 0.03, "child": True})
        again = worker.item(
            channel(), **plain | {"lines": 3, "pause": 0.1, "policy": "rerun", "stays": self._interrupts}
        )
        large = worker.item(channel(), **plain | {"lines": 4, "width": 40_000})
        ahead = worker.item(channel(), **plain | {"priority": 0})
        queued = worker.item(channel(), **plain | {"priority": 9})
        running = worker.item(channel(), **plain | {"lines": 15, "pause": 0.02, "child": True})
        buried = worker.item(channel(), **plain)
        shared = channel()
        sharing = [worker.item(shared, **plain), worker.item(shared, **plain | {"code": 3})]
        items = [working, again, large, ahead, queued]
        assert worker.submit(items)
        assert worker.submit(items)
        assert worker.cancel(queued, before=False)
        assert worker.cancel(buried, before=True)
        for item in items:
            worker.read(channel(item.channel))
        assert worker.submit([buried, *sharing])
        worker.read(channel(buried.channel))
        worker.read(shared, 2)
        assert worker.submit([running])
        assert channel(running.channel).get() is not None
        assert worker.cancel(running, before=False)
        assert worker.submit([*items, *sharing, buried, running])
