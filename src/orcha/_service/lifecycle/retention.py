"""Forgetting petitions that ended long ago: never a petition that is live, followed, or younger than the least age."""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from typing import TYPE_CHECKING

from orcha._core.changes import AuditBounds
from orcha._core.retention import AuditLooks, beyond
from orcha._output.sizes import sizes_of
from orcha.utils.threads import NoThreadError, guarded, start

if TYPE_CHECKING:
    from orcha._service.engine import Engine

ROUND_INTERVAL_SECONDS = 60.0
"""Seconds between rounds."""
AUDIT_PAUSE_SECONDS = 1.0
"""Seconds between two looks at what is kept of what clients did, where entries come fast."""
PETITIONS_PER_TRANSACTION = 500
"""Petitions forgotten in one transaction: more would keep submits waiting."""
CHANNELS_PER_LOOK = 500
"""Channels whose owners are looked up at a time, for the same reason."""
SLICE_INTERVAL_SECONDS = 0.05
"""Seconds between two slices."""
MAX_LOOKED_AT_PETITIONS = 20_000
"""Ended petitions that one round looks at for their output."""


class Retention:
    """Prunes ended petitions, a slice at a time."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self._began = time.time(), time.monotonic()
        self._audit_looks = AuditLooks()
        self._is_measuring = False
        """Whether the output is being measured, or petitions are forgotten for what was measured."""

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
        audited = engine.audit.noted_number + engine.petitions.forgotten_number  # a forgotten petition leaves an entry
        if self._audit_looks.is_due(audited, time.monotonic()):
            engine.petitions.changes.audit_left = AuditBounds(now - settings.audit_keep, settings.audit_count)
        is_over = len(forgotten) < PETITIONS_PER_TRANSACTION
        rests = min(ROUND_INTERVAL_SECONDS, max(1.0, settings.keep_least))
        if self._audit_looks.is_behind(audited):
            rests = min(rests, AUDIT_PAUSE_SECONDS)
        pause = rests if is_over else SLICE_INTERVAL_SECONDS
        for token in [token for token, until in engine.tombstones.items() if until < engine.petitions.now.steady]:
            del engine.tombstones[token]
        engine.timers.at(time.monotonic() + pause, self._round)
        if is_over and (settings.keep_bytes is not None or self._is_shared()):
            self._measure(settings.keep_bytes)

    def _is_shared(self) -> bool:
        """Tell whether it matters whose the output is: a user has a quota, or there are petitions of several users."""
        return self._engine.petitions.quotas is not None or self._engine.petitions.fairness is not None

    def _measure(self, most: int | None) -> None:
        """Have the output measured on a thread of its own: there may be many files, and the disk may be slow."""
        if self._is_measuring:
            return
        engine = self._engine
        folder = engine.settings.endpoint.output_folder

        def measure() -> None:
            try:
                engine.post(self._measured, sizes_of(folder), most)
            except OSError as error:
                engine.report(logging.ERROR, "the output in %s cannot be measured: %s", folder, error.strerror)
                engine.post(self._measured, {}, most)

        with contextlib.suppress(NoThreadError):  # the next round tries again
            start(guarded("orcha-measure", measure, engine.end_with))
            self._is_measuring = True

    def _measured(self, sizes: dict[bytes, int], most: int | None) -> None:
        """Forget the oldest petitions whose output has no room."""
        self._is_measuring = False
        if self._is_shared():
            self._share(list(sizes.items()), {})
        if most is None or sum(sizes.values()) <= most:
            return
        engine = self._engine
        now = self._now()
        young = now - engine.settings.keep_least
        ended = engine.store.prunable(older_than=now, keep=0, younger_than=young, limit=MAX_LOOKED_AT_PETITIONS)
        records, channels = engine.petitions.records, engine.channels
        mine = {seq: channel for seq, channel in ended if seq not in records and not channels.is_followed(channel)}
        forgotten = beyond(sizes, mine.items(), most)
        if forgotten:
            text = "the output has %d bytes, and %d may be kept: %d ended petitions are forgotten"
            engine.report(logging.INFO, text, sum(sizes.values()), most, len(forgotten))
            self._forget([(seq, mine[seq]) for seq in forgotten])

    def _share(self, left: list[tuple[bytes, int]], known: dict[str, int]) -> None:
        """Find out how much of the output is whose, a slice at a time."""
        now, later = left[:CHANNELS_PER_LOOK], left[CHANNELS_PER_LOOK:]
        owners = self._engine.store.channel_owners([channel for channel, _ in now])
        for channel, size in now:
            if channel in owners:
                known[owners[channel]] = known.get(owners[channel], 0) + size
        if later:
            self._engine.timers.at(time.monotonic() + SLICE_INTERVAL_SECONDS, lambda: self._share(later, known))
        else:
            self._engine.user_quotas.note_output(known)

    def _forget(self, left: list[tuple[int, bytes]]) -> None:
        """Forget petitions, a slice at a time, unless somebody has begun to follow them."""
        engine, channels = self._engine, self._engine.channels
        now, later = left[:PETITIONS_PER_TRANSACTION], left[PETITIONS_PER_TRANSACTION:]
        engine.petitions.forget_ended([seq for seq, channel in now if not channels.is_followed(channel)])
        self._is_measuring = bool(later)
        if later:
            engine.timers.at(time.monotonic() + SLICE_INTERVAL_SECONDS, lambda: self._forget(later))
