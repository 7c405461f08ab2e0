"""The service's side of admission: what is kept of pauses and groups, and the records of petitions that leave lots."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orcha._core import groups as core
from orcha._core.admission import ALL
from orcha._service.lifecycle.stored_records import record_of

if TYPE_CHECKING:
    from orcha._core.record import Key, Record
    from orcha._service.engine import Engine


class Admitting:
    """Keeps what people decide, and reads what the core needs of the store; the engine thread's."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine

    def load(self) -> None:
        """Take over what is kept as paused, and the groups as they were set, where they are not set anew."""
        engine = self._engine
        paused = engine.store.pauses()
        engine.paused = ALL in paused
        kept, settings = engine.store.slots(), engine.settings
        groups = core.declared(kept, settings.slots, settings.forgotten_groups)
        engine.admission.load(paused, groups)
        if groups != kept:
            engine.machine.changes.slots = groups
        before = {name: count for name, count in groups.items() if name not in settings.slots}
        if before:
            engine.report(logging.INFO, "groups are as they were set before: %s", core.spelled(before))
        engine.admission.keys.load(engine.store.once())

    def pause(self, name: str) -> None:
        """Hold back what this names, from now on, also after a restart of the service."""
        self._engine.admission.pause(name)
        if name == ALL:
            self._engine.pause(paused=True)

    def resume(self, name: str) -> None:
        """Hold it back no more."""
        self._engine.admission.resume(name)
        if name == ALL:
            self._engine.pause(paused=False)
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Let what goes on wait with the others, a part at a time."""
        unloaded, are_more = self._engine.admission.unpark_resumed()
        self.load_records(unloaded)
        if are_more:
            self._engine.post(self._go_on)

    def park(self, record: Record) -> None:
        """Park a petition that may not start, where something that the service knows holds it back."""
        self.load_records(self._engine.admission.park(record))

    def unpark(self) -> None:
        """Let those wait with the others again that can go now."""
        self.load_records(self._engine.admission.unpark())

    def load_records(self, keys: list[Key]) -> None:
        """Load the records of petitions of which only the keys are in memory."""
        if keys:
            for row in self._engine.store.rows([key[1] for key in keys]):
                self._engine.machine.load(record_of(row))
