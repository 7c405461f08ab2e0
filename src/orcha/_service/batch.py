"""One batch of the engine: which step is next, one transaction, then the effects, then the replies."""

from __future__ import annotations

import contextlib
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._core.moment import Moment
from orcha._core.tuples import new_tuple
from orcha._protocol.frames import encode
from orcha._protocol.messages import Error
from orcha._service.reports.explanations import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orcha._core.changes import Changes
    from orcha._core.effects import Do, Final
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.channels.channel_book import ChannelBook
    from orcha._service.execution.shims import Shims
    from orcha._service.hooks.visits import Visits
    from orcha._service.mailbox import Mailbox
    from orcha._service.outbox import Outbox
    from orcha._service.transaction import Transaction

    Effects = Mapping[Do, Callable[[Record, Any], None]]
    """What is called for each kind of effect, with the petition and the effect's detail."""

GATHER_SECONDS = 0.0005
"""How long an outcome may wait for what starts in its place: about as long as a transaction takes."""


class Step(IntEnum):
    """The steps of a batch, in their order."""

    LISTEN = 0
    """Wait for an event."""
    HANDLE = 1
    """Handle the events that came."""
    ASK = 2
    """Hand the manager's calls over: hooks run while the disk is waited for."""
    GATHER = 3
    """Wait a moment for what starts in place of what ended, so that one transaction keeps both."""
    KEEP = 4
    """Keep what changed in one transaction, then have the effects."""


# Looked up once: an attribute of an enumeration costs ten times a global name.
_LISTEN, _HANDLE, _ASK, _GATHER, _KEEP = Step.LISTEN, Step.HANDLE, Step.ASK, Step.GATHER, Step.KEEP


class Listeners(NamedTuple):
    """The functions that a batch calls."""

    ends: Callable[[Sequence[Final]], None]
    """Called with petitions that ended, before their ends are kept and before waiting petitions are asked."""
    ended: Callable[[Sequence[Final], float], None]
    """Called with petitions that ended, and the time, once their ends are kept."""
    prompt: Callable[[], None]
    """Called where petitions begin before the next transaction."""
    about_to_keep: Callable[[], None]
    """Called before each transaction, and may add changes to it."""
    kept: Callable[[Changes], None]
    """Called with the changes that a transaction kept."""
    failed: Callable[[BaseException], None]
    """Called with the error that ended the engine."""


class Batch:
    """Makes batches, one after the other; the `Work` of a mailbox."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is a part that a batch touches
        self,
        petitions: Petitions,
        mailbox: Mailbox,
        visits: Visits,
        channels: ChannelBook,
        transaction: Transaction,
        outbox: Outbox,
        shims: Shims,
        effects: Effects,
        listeners: Listeners,
    ) -> None:
        """Be given what a batch touches.

        Args:
            petitions: the petitions, and what has gathered about them since the last transaction.
            mailbox: has the events, and says whether this batch is the last one.
            visits: the manager's calls.
            channels: the last records of what ended, and the output to keep.
            transaction: keeps changes.
            outbox: the replies.
            shims: are sent what waits for the end of the batch.
            effects: what happens after the transaction.
            listeners: called at each batch.

        """
        self._petitions = petitions
        self._mailbox = mailbox
        self._visits = visits
        self._channels = channels
        self._transaction = transaction
        self._outbox = outbox
        self._shims = shims
        self._effects = effects
        self._listeners = listeners
        self._uncounted: Changes | None = None

    def make(self, *, own: bool = True, may_keep: bool = True, more: Callable[[], bool] | None = None) -> None:
        """Make one batch, from its events to its replies; `own` on the engine's thread.

        `may_keep` and `more` are as `Mailbox.run_or_post` says.
        """
        self._petitions.now = new_tuple(Moment, (time.time(), time.monotonic()))
        if self._visits.under_way is not None:
            self._visits.collect()
        if own or self._mailbox.events:
            self._mailbox.handle(due=own)
        step = self._ask(own=own, more=more)
        if step is _GATHER:
            step = self._gather()
        if step is _KEEP and may_keep:
            self.keep()
            step = self._next_step(_KEEP)
        if step is not _KEEP:  # a reply says what is kept: with what is not kept yet, it waits for the disk
            self.send()
        if (executor := self._shims.executor) is not None and not self._petitions.ahead:
            executor.settle()  # else a start follows soon, and wakes the shim of an ended command once for both
        if self._mailbox.is_over or step is not _LISTEN:
            self._mailbox.wake()

    # --- which step is next -------------------------------------------------------------------------------------

    def wakes_a_hook_thread(self, *, ends: bool) -> bool:
        """Tell, before an event is handled, whether that wakes a hook thread.

        Then the engine's thread handles the event, and its transaction runs beside the hooks. Where an attempt `ends`,
        that is so while anything may start in its place; otherwise where the waiting petitions are to be asked.
        """
        visits = self._visits
        return not visits.are_inline and (
            visits.has_calls or (self._petitions.may_have_waiting and (visits.may_find if ends else visits.are_news))
        )

    def _next_step(self, done: Step, *, own: bool = True) -> Step:
        """Give the step that comes after `done`.

        Another thread than the engine's `own` gathers nothing. It asks petitions that said no the last time when its
        answer has left.
        """
        visits = self._visits
        may_have_waiting = self._petitions.may_have_waiting
        if done is _HANDLE and (own or visits.has_calls or (may_have_waiting and visits.may_find)):
            return _ASK
        if done is _ASK and own and self._petitions.changes.transitions and visits.is_choosing:
            return _GATHER
        works = self._has_work()
        if done is _HANDLE and not works:
            return _ASK
        if done is not _KEEP and works:
            return _KEEP
        is_left = works or ((visits.has_calls or (may_have_waiting and visits.are_news)) and visits.is_free)
        return _HANDLE if is_left else _LISTEN

    def _has_work(self) -> bool:
        """Tell whether anything is to be kept, done or answered, flags aside that wait for a transaction."""
        petitions = self._petitions
        if petitions.effects or petitions.finals or self._outbox.waiting or self._channels.dirty:
            return True
        changes = petitions.changes
        return bool(changes) and (self._mailbox.is_over or not self._transaction.flags_wait(changes))

    # --- the steps ----------------------------------------------------------------------------------------------

    def _ask(self, *, own: bool, more: Callable[[], bool] | None) -> Step:
        """Hand the manager's calls over, where that is the next step, and again as long as more comes."""
        step = self._next_step(_HANDLE, own=own)
        if step is _ASK:  # else waiting petitions are asked when the answer has left
            self._hand_over()
        while more is not None and more():
            self._hand_over()
        if step is _KEEP and more is None:
            return step
        return self._next_step(_ASK, own=own)

    def _gather(self) -> Step:
        """Wait for what starts in place of what ended, and handle that."""
        until = time.monotonic() + GATHER_SECONDS
        step = _GATHER
        while step is _GATHER and (left := until - time.monotonic()) > 0 and self._mailbox.listen(left):
            self._visits.collect()
            self._mailbox.handle()
            step = self._next_step(_ASK)
        return self._next_step(_GATHER) if step is _GATHER else step

    def _hand_over(self) -> None:
        """Hand over the manager's calls that have gathered."""
        if self._petitions.finals:
            self._listeners.ends(self._petitions.finals)
        self._dispatch()
        if self._petitions.prompt:
            self._listeners.prompt()

    def _dispatch(self) -> None:
        """Hand over calls and waiting petitions, where there is any of them, or a petition that may give its place."""
        petitions, visits = self._petitions, self._visits
        may_ask = visits.under_way is not None or visits.has_calls or petitions.may_have_waiting
        if may_ask or petitions.preemptible or petitions.lent:
            visits.dispatch()

    def keep(self) -> None:
        """Keep what changed, have the effects, send the replies, and hand over the calls that follow."""
        self.commit()
        self.send()  # before a hook thread is woken: the two would wait for each other's turn
        self._dispatch()
        changes = self._petitions.changes
        if (changes.flags or changes.attempts or changes.transitions) and not self._mailbox.is_over:
            self._transaction.let_flags_wait(changes)
        self.count()

    def commit(self) -> None:
        """Keep what changed, in one transaction, then have the effects."""
        petitions, channels, transaction = self._petitions, self._channels, self._transaction
        self._listeners.about_to_keep()
        changes, effects, finals = petitions.take()
        for final in finals:
            channels.append_final(final)
        if channels.dirty or channels.scarce:
            transaction.look_for_room()
            channels.flush(changes)
        if (changes.flags or changes.attempts) and not self._mailbox.is_over:
            transaction.postpone_flags(changes)
        if changes.petitions or changes.transitions or changes:
            effects = transaction.keep(changes, effects)
            self._uncounted = changes
        for do, record, detail in effects:
            self._effects[do](record, detail)
        if finals:
            self._listeners.ended(finals, petitions.now.wall)
        waiting, self._outbox.waiting = self._outbox.waiting, []
        for call in waiting:
            call()
        if channels.delivery or channels.unkept.attempts:
            channels.deliver()

    def count(self) -> None:
        """Count the changes that were kept: nobody waits for the figures, so this is done last."""
        changes, self._uncounted = self._uncounted, None
        if changes is not None:
            self._listeners.kept(changes)

    def send(self) -> None:
        """Send the replies that have gathered."""
        if self._outbox.frames:
            self._outbox.send()
            if self._channels.pace.sent:
                self._channels.pace.batch_is_sent()

    def fail(self, error: BaseException) -> None:
        """Tell all parts that the engine has failed and nothing goes on."""
        self._listeners.failed(error)
        with contextlib.suppress(Exception):  # the sender may be the part that failed
            self._outbox.send_to_all(encode(Error(f"the service stopped: {explain(error)}")))
