"""Keeping a batch in one transaction, or the most important part where not all can be kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.changes import Changes
from orcha._core.state import State
from orcha._protocol.messages import Kind, Verdict
from orcha._service import faults
from orcha._service.channels.output_pieces import PASSED, SPAN
from orcha.exceptions.store import ChannelKnown, StoreFull, TokenKnown

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from orcha._core.effects import Effect
    from orcha._core.petitions import Petitions
    from orcha._service.channels.channel_book import ChannelBook
    from orcha._service.timers import Timers
    from orcha._store.contract import Store

# Looked up once: an attribute of an enumeration costs ten times a global name.
_ENDED, _RUNNING = State.ENDED, State.RUNNING
_BUSY, _KNOWN, _REFUSED = Verdict.BUSY, Verdict.KNOWN, Verdict.REFUSED
_VALUE = Kind.VALUE

FLAGS_WAIT_SECONDS = 0.05
"""Seconds for which the end of an on_finish may wait for a transaction to ride with."""
DISK_ANSWER_SECONDS = 0.25
"""Seconds for which an answer about the room on the disk holds."""
FULL = "the service's disk is full: try again when there is room"


class Transaction:
    """Keeps the changes of each batch, or as much of them as the disk takes."""

    def __init__(
        self,
        petitions: Petitions,
        store: Store,
        channels: ChannelBook,
        timers: Timers,
        forget_output: Callable[[bytes], None],
    ) -> None:
        """Keep in `store` what changed of the petitions and their channels.

        `forget_output` deletes what lies in files of a channel that is not kept any more.
        """
        self._petitions = petitions
        self._store = store
        self._channels = channels
        self._timers = timers
        self._forget_output = forget_output
        self._flags_due = False
        self._looked = 0.0
        self._has_room = True

    # --- room on the disk ---------------------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Tell whether there is room for new petitions; the disk is asked a few times a second at most."""
        now = time.monotonic()
        if now - self._looked >= DISK_ANSWER_SECONDS or (self._has_room and not self._store.has_reserve):
            self._looked = now
            self._has_room = self._store.space()
        return self._has_room

    def note_full(self) -> None:
        """Believe what a failed write said, until it is time to ask again."""
        self._looked = time.monotonic()
        self._has_room = False

    def look_for_room(self) -> None:
        """Have values dropped while the disk is full, and kept as soon as there is room again."""
        if self._channels.scarce or not self._store.has_reserve:
            self._channels.scarce = not self.has_room()

    # --- one batch ----------------------------------------------------------------------------------------------

    def keep(self, changes: Changes, effects: list[Effect]) -> list[Effect]:
        """Keep as much as the disk takes; give the effects that are due then."""
        channels = self._channels
        if changes.appends and any(step.state is _ENDED for step in changes.transitions.values()):
            channels.sync({append.channel for append in changes.appends})
        durable = bool(changes.petitions or changes.tombstones or changes.deleted) or not _only_running(changes)
        if faults.CRASHES:
            faults.reach_commit(changes, "before")
        try:
            forgotten = self._store.commit(changes, durable=durable)
        except ChannelKnown as error:
            return self._in_known(changes, effects, error.channels)
        except TokenKnown as error:
            return self._without(changes, effects, error.tokens, _KNOWN, "known already")
        except StoreFull as error:
            return self._smaller(changes, effects, error)
        if self._petitions.ahead:
            transitions.ahead.kept(self._petitions)
        if faults.CRASHES:
            faults.reach_commit(changes, "after")
        if forgotten and faults.CRASHES:
            faults.reach("prune.before-unlink")
        for channel in forgotten:
            channels.forget(channel)
            self._forget_output(channel)
        return effects

    def _in_known(self, changes: Changes, effects: list[Effect], channels: tuple[bytes, ...]) -> list[Effect]:
        """Keep petitions whose channels exist already; refuse petitions that name another user's channel."""
        foreign = [channel for channel in channels if not self._channels.adopt(channel, changes)]
        if not foreign:
            return self.keep(changes, effects)
        tokens = {new.token for new in changes.petitions if new.channel in foreign}
        return self._without(changes, effects, tokens, _REFUSED, "this channel belongs to somebody else")

    def _without(
        self, changes: Changes, effects: list[Effect], tokens: Container[bytes], verdict: int, reason: str
    ) -> list[Effect]:
        """Keep all petitions but these new ones, and answer the new ones with the verdict instead."""
        channels = self._channels
        gone = {new.seq for new in changes.petitions if new.token in tokens}
        made = {channel.id for channel in changes.channels}
        effects = transitions.submit.take_back(self._petitions, changes, effects, tokens, verdict, reason)
        channels.redo(changes, lambda record: record.seq not in gone)
        for channel in made - {channel.id for channel in changes.channels}:
            channels.discard(channel)
        return self.keep(changes, effects) if changes else effects

    def _smaller(self, changes: Changes, effects: list[Effect], error: StoreFull) -> list[Effect]:
        """Keep less where the disk is full: first no new petitions, then no values, then no clearing up."""
        self.note_full()
        if changes.petitions:
            return self._without(changes, effects, {new.token for new in changes.petitions}, _BUSY, FULL)
        channels = self._channels
        if not channels.scarce:
            channels.scarce = True
            channels.redo(changes, lambda record: record.kind not in (_VALUE, SPAN))
        elif channels.has_passed(changes):
            channels.redo(changes, lambda record: record.kind != PASSED)
        elif changes.deleted or changes.flags or _are_flags_alone(changes):
            changes.deleted = []
            self._later(changes)
        else:
            raise error
        return self.keep(changes, effects) if changes else effects

    # --- flags --------------------------------------------------------------------------------------------------

    def flags_wait(self, changes: Changes) -> bool:
        """Tell whether these changes are flags only, for which a transaction is due already."""
        return self._flags_due and _are_flags_alone(changes)

    def postpone_flags(self, changes: Changes) -> None:
        """Let flags that come alone wait for a transaction to ride with."""
        if _are_flags_alone(changes):
            self._later(changes)

    def let_flags_wait(self, changes: Changes) -> None:
        """Let flags that have gathered alone since the last transaction wait for one to ride with."""
        if _are_flags_alone(changes):
            self._flush_soon()

    def _later(self, changes: Changes) -> None:
        self._petitions.postpone(changes, steps=_are_flags_alone(changes))
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flags_due:
            self._flags_due = True
            self._timers.at(time.monotonic() + FLAGS_WAIT_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flags_due = False
        petitions = self._petitions
        if self._channels.dirty:  # output came: how far it was taken is kept with it, never before it
            return
        if _are_flags_alone(petitions.changes):
            self.keep(petitions.take_changes(), [])


def _are_flags_alone(changes: Changes) -> bool:
    """Tell whether these changes are only flags and notes that commands run: their loss in a crash does no harm."""
    return not (
        changes.petitions or changes.channels or changes.appends or changes.tombstones or changes.deleted
    ) and _only_running(changes)


def _only_running(changes: Changes) -> bool:
    for step in changes.transitions.values():
        if step.state is not _RUNNING:
            return False
    return not changes.declares
