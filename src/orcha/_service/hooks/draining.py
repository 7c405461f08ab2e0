"""A service that is drained: what runs comes to its end, and nothing more starts."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.reasons import ServiceDrained
from orcha._service.clock_looks import ClockLooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.petitions import Petitions
    from orcha._service.timers import Timers
    from orcha._store.contract import Store

_KIND, _NAME = "drained service", ""
"""The name under which a drain is kept among the decisions of people; there is one drain at most."""


class ServiceDrain(NamedTuple):
    """Why nothing starts, who wanted that, since when, and until when."""

    why: str
    who: str
    since: float
    """Wall-clock time, as the next field."""
    until: float | None

    @property
    def reason(self) -> ServiceDrained:
        """The reason of each petition that waits."""
        return ServiceDrained(self.why, self.until)


class Draining:
    """Remembers that nothing is to start, over restarts too; the engine thread's."""

    def __init__(self, petitions: Petitions, store: Store, timers: Timers, changed: Callable[[], None]) -> None:
        """Have petitions started; `changed` is told when that changes."""
        self._petitions = petitions
        self._store = store
        self._changed = changed
        self._looks = ClockLooks(timers, self._look)
        self.drained: ServiceDrain | None = None

    def load(self) -> None:
        """Take over what was kept."""
        text = self._store.decided(_KIND).get(_NAME)
        if text is not None:
            self.drained = ServiceDrain(**json.loads(text))
            self._changed()
            self._look()

    def set(self, drained: ServiceDrain | None) -> None:
        """Have nothing more started from now on; or with None, petitions started again."""
        self.drained = drained
        self._petitions.keep_decided(_KIND, _NAME, None if drained is None else json.dumps(drained._asdict()))
        self._changed()
        self._look()

    def _look(self) -> None:
        """Have petitions started again where it is time."""
        if self.drained is None or self.drained.until is None:
            return
        if time.time() >= self.drained.until:
            self.set(None)
        else:
            self._looks.ask_for(self.drained.until)


__all__ = ["Draining", "ServiceDrain"]
