"""What the manager's own code asks of its service: the same as a client does, without a connection."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.authority import ADMIN
from orcha._protocol.messages import Result, Verdict
from orcha._service.verbs.submit import take_all
from orcha.exceptions import ManagerShutdownError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orcha._protocol.messages import Item
    from orcha._service.engine import Engine

_LOOK_INTERVAL_SECONDS = 1.0
"""Seconds between looks whether the engine is still there."""


class Insider:
    """The service as its own client: it may do what its owner may."""

    id = 0
    """No peer has this number, so that nothing is sent to it."""
    role = ADMIN
    door = "socket"
    """What it asks for is decided as what its user asks for by the Unix socket."""
    is_other = False
    key = host = ""

    def __init__(self) -> None:
        """Have the rights of the user who runs the service."""
        self.identity = f"uid:{os.getuid()}"


class Order:
    """Messages that were submitted together, and their verdicts: a `Submission` that is answered here."""

    credit = 0

    def __init__(
        self,
        peer: Insider,
        items: Sequence[Item],
        told: Callable[[Item, str], None] | None,
    ) -> None:
        """Gather the answers; where nobody waits for them, `told` gets each refusal."""
        self.peer = peer
        self.results: dict[int, Result] = {}
        self.gate = threading.Lock()
        self.gate.acquire()
        self._items = items
        self._told = told

    def answer(self, position: int, verdict: int, channel: bytes | None, reason: str | None) -> None:
        """Add an answer."""
        self.results[position] = Result(position, verdict, channel, reason)
        if self._told is not None and verdict not in {Verdict.ACCEPTED, Verdict.KNOWN}:
            self._told(self._items[position], reason or "refused")
        if len(self.results) == len(self._items):
            self.gate.release()


class InProcessRequests:
    """Submits and cancels for code that runs in the service. In a hook nothing waits for another hook."""

    def __init__(self, engine: Engine, plugin: str | None = None) -> None:
        """Belong to an engine, and speak for the manager of this plugin."""
        self._engine = engine
        self._plugin = plugin
        self._peer = Insider()

    def submit(self, items: Sequence[Item]) -> list[Result] | None:
        """Submit; give what became of each, or in a hook None at once: a refusal is then logged.

        Raises:
            ManagerShutdownError: the service is stopping.
            StaleCall: the calling hook was given up.

        """
        engine = self._engine
        engine.hook_state.check()
        in_hook = engine.visits.hooks.is_hook_thread()
        if in_hook and engine.draining is not None:
            raise ManagerShutdownError(engine.draining)
        if not items:
            return []
        order = Order(self._peer, items, self._refused if in_hook else None)
        engine.post(self._take, order, items)
        if in_hook:
            return None
        self._wait(order.gate)
        return [order.results[position] for position in range(len(items))]

    def cancel(self, key: str, manager: str | None = None) -> bool:
        """Decide that the petition of this str(id) ends; False where none is live. It does not wait for the end.

        With `manager` only one of that ``module:qualname``.
        """
        self._engine.hook_state.check()
        gate = threading.Lock()
        gate.acquire()
        answer: list[bool] = []
        self._engine.post(self._cancel, key, manager, answer, gate)
        self._wait(gate)
        return answer[0]

    # --- on the engine thread -----------------------------------------------------------------------------------

    def _take(self, order: Order, items: Sequence[Item]) -> None:
        take_all(self._engine, order, items, self._plugin)

    def _cancel(self, key: str, manager: str | None, answer: list[bool], gate: threading.Lock) -> None:
        record = self._engine.find(key)
        if record is not None and manager not in {None, record.manager}:
            record = None
        if record is not None:
            transitions.cancel.cancel(
                self._engine.petitions,
                record,
                transitions.cancel.cancelled("cancelled by its manager"),
                self._engine.petitions.now,
            )
        answer.append(record is not None)
        self._engine.after_batch(gate.release)

    def _refused(self, item: Item, reason: str) -> None:
        self._engine.report(logging.WARNING, "message %s, sent by a hook, was refused: %s", item.id, reason)

    def _wait(self, gate: threading.Lock) -> None:
        """Wait until the engine has kept what was decided; it never waits for a hook."""
        while not gate.acquire(timeout=_LOOK_INTERVAL_SECONDS):
            if self._engine.stopped.is_set():
                raise ManagerShutdownError("the service has stopped")
