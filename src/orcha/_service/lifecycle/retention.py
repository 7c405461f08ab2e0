"""Forgetting petitions that ended long ago: never a petition that is live, followed, or younger than the least age."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orcha._service.engine import Engine

ROUND_INTERVAL_SECONDS = 60.0
"""Seconds between rounds."""
PETITIONS_PER_TRANSACTION = 500
"""Petitions forgotten in one transaction: more would keep submits waiting."""


class Retention:
    """Prunes ended petitions, a slice at a time."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self._began = time.time(), time.monotonic()

    def _now(self) -> float:
        """Give the time by which ages are told: a clock that is set forward makes nothing older."""
        wall, steady = self._began
        return min(time.time(), wall + time.monotonic() - steady)

    def start(self) -> None:
        """Begin. The first round is due soon, so that a service that is restarted often prunes, too."""
        self._engine.timers.at(
            time.monotonic() + min(ROUND_INTERVAL_SECONDS, max(1.0, self._engine.settings.keep_least)), self._round
        )

    def _round(self) -> None:
        engine, settings = self._engine, self._engine.settings
        now = self._now()
        if not engine.petitions.granted and not engine.petitions.waiting:
            gc.collect()  # nobody waits for it now
        candidates = engine.store.prunable(
            older_than=now - settings.keep_age,
            keep=settings.keep_count,
            younger_than=now - settings.keep_least,
            limit=PETITIONS_PER_TRANSACTION + engine.channels.followed(),
        )
        forgotten = [
            seq
            for seq, channel in candidates
            if seq not in engine.petitions.records and not engine.channels.is_followed(channel)
        ][:PETITIONS_PER_TRANSACTION]
        engine.petitions.forget_ended(forgotten)
        pause = (
            0.05
            if len(forgotten) == PETITIONS_PER_TRANSACTION
            else min(ROUND_INTERVAL_SECONDS, max(1.0, settings.keep_least))
        )
        for token in [token for token, until in engine.tombstones.items() if until < engine.petitions.now.steady]:
            del engine.tombstones[token]
        engine.timers.at(time.monotonic() + pause, self._round)
