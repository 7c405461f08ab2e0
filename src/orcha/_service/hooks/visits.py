"""Which calls and conditions the hook thread gets next, and when.

Calls gather here while the hook thread is busy. As soon as the thread is free, one visit takes all of them,
together with a round of the waiting petitions that are to be asked. `selection` in the core says which petitions these
are; here the clock is looked at, and the records are loaded.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from orcha._core.asking_round import Round
from orcha._service import faults
from orcha._service.hooks.deadlines import WEDGED
from orcha._service.hooks.hook_thread import CANCELLED_BEFORE
from orcha._service.hooks.visit import CALL, CONVERT, ON_FINISH, ON_START, Visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._core.selection import Selection
    from orcha._service.conditions.sampling import Sampling
    from orcha._service.execution.retries import Resting
    from orcha._service.hooks.deadlines import Deadline
    from orcha._service.hooks.hook_thread import Hooks
    from orcha._service.hooks.managers import Managers
    from orcha._service.hooks.outcomes import Outcomes
    from orcha._service.hooks.preempting import Preempting
    from orcha._service.hooks.starting import Starter
    from orcha._service.hooks.visit import FunctionCall, HookCall
    from orcha._service.lifecycle.stored_records import StoredPetitions
    from orcha._service.mailbox import Mailbox
    from orcha._service.outbox import Outbox
    from orcha._service.timers import Timers

CONVERSIONS_PER_IDLE_VISIT = 256
"""Conversions of one visit while nothing runs."""
CONVERSIONS_PER_BUSY_VISIT = 24
"""Conversions of one visit while something runs: with more, waiting petitions would be asked late."""
MAX_QUICK_CALLS = 16
"""Calls of a visit that is over sooner than a transaction."""
_HELD_FOR_SECONDS = 0.02
_NOBODY = Round([])
"""The round of a visit that asks no petition, and converts none that it could ask; nothing changes it."""


class Visits:
    """Gathers calls for the hook thread while it is busy, and hands them over when it is not; the engine thread's."""

    def __init__(  # noqa: PLR0913 - each is one neighbour of the hook thread
        self,
        *,
        petitions: Petitions,
        selection: Selection,
        managers: Managers,
        hooks: Hooks,
        outcomes: Outcomes,
        starter: Starter,
        resting: Resting,
        stored: StoredPetitions,
        sampling: Sampling,
        preempting: Preempting,
        deadline: Deadline,
        mailbox: Mailbox,
        outbox: Outbox,
        timers: Timers,
        stops_on_timeout: bool,
    ) -> None:
        """Prepare; no thread runs before `start`.

        Args:
            petitions: the petitions.
            selection: says which waiting petitions are asked.
            managers: say whether a visit is of built-in managers alone.
            hooks: the hook thread.
            outcomes: takes what came of a visit.
            starter: begins an attempt whose start is kept.
            resting: has a petition that rests wait again.
            stored: loads the records of waiting petitions.
            sampling: looks at what conditions in text name.
            preempting: has commands give their place to more urgent petitions, and come back.
            deadline: watches over calls that do not return.
            mailbox: brings the end of a visit to the engine.
            outbox: calls what is to happen once this batch is kept.
            timers: wake the engine when a round is due.
            stops_on_timeout: whether no hook is called while a hook that was given up has not returned.

        """
        self._petitions = petitions
        self.selection = selection
        self._managers = managers
        self.hooks = hooks
        self._outcomes = outcomes
        self._starter = starter
        self._resting = resting
        self._stored = stored
        self._sampling = sampling
        self._conditions = sampling.book
        self._preempting = preempting
        self._deadline = deadline
        self._outbox = outbox
        self._timers = timers
        self._stops_on_timeout = stops_on_timeout
        hooks.done = partial(mailbox.run_or_wake, may_keep=True)  # the batch takes the results of the visit
        hooks.came_back = partial(mailbox.post, self._came_back)
        deadline.under_way, deadline.given_up = lambda: self.under_way, self._give_up
        self.are_inline = managers.are_ours
        """Whether built-in managers are the only ones, whose hooks the engine calls by itself: no thread is woken."""
        self.may_start = True
        """Whether anything may start: not while everything is paused, or the service stops."""
        self.has_calls = False
        """Whether calls wait for the hook thread."""
        self.wedged: str | None = None
        """Why no message can be converted now; None where messages can."""
        self._starts: list[Record] = []
        self._finishes: list[Record] = []
        self._functions: list[FunctionCall] = []
        self._converts: list[Record] = []
        self._converts_from = 0
        self._again: list[HookCall] = []
        self.under_way: Visit | None = None
        """The visit that was handed over last, unless its results have been taken."""
        self._when_free: list[Callable[[], None]] = []
        """Calls that are made when the visit under way is over."""
        self._finds = True
        self._armed_for: float | None = None
        self._stopped_by: int | None = None
        self._owed: dict[int, list[Record]] = {}

    def start(self) -> None:
        """Start the hook thread."""
        self.hooks.start()

    # --- what is to be asked ------------------------------------------------------------------------------------

    def convert(self, record: Record) -> None:
        """Have a message converted."""
        self._converts.append(record)
        self.has_calls = True

    def on_start(self, record: Record, _: object = None) -> None:
        """Have on_start called, and the action after it."""
        if faults.HOLD is not None and record.may_start and faults.is_held(faults.HOLD):
            self._timers.at(time.monotonic() + _HELD_FOR_SECONDS, lambda: self.on_start(record))
            return
        self._starter.begin(record)
        if record.command and not record.has_hooks:
            self._outbox.after(partial(self._start_command, record))  # the shim of an ended command is free then
            return
        self._starts.append(record)
        self.has_calls = True

    def begin_at_once(self, record: Record) -> None:
        """Have a command begin whose start was kept before, in an earlier transaction."""
        self._starter.begin(record)
        self._start_command(record)

    def _start_command(self, record: Record) -> None:
        if record.may_start:
            self._starter.go(record)
            self._outcomes.take_start(record, None, called=True)
        else:
            self._outcomes.take_start(record, CANCELLED_BEFORE, called=False)

    def on_finish(self, record: Record, _: object = None) -> None:
        """Have on_finish called; where the on_start is stuck, after the on_start has returned."""
        if record.command and not record.has_hooks:
            self._outcomes.take_finish(record)
        elif record.petition is None:
            if record.command or record.hook_owed:
                self.owe_on_finish(record)
        elif not self._owed or not any(record in owed for owed in self._owed.values()):
            self._finishes.append(record)
            self.has_calls = True
            if record.due is not None:
                self._resting.rest(record)

    def owe_on_finish(self, record: Record) -> None:
        """Have on_finish called for an attempt of an earlier start of the service, after a new conversion."""
        self.convert_again(record)
        self._again.append((ON_FINISH, record, False))

    def convert_again(self, record: Record) -> None:
        """Have the petition of a command that lives on made again."""
        self._again.append((CONVERT, record, True))
        self.has_calls = True

    def call(self, function: FunctionCall) -> None:
        """Have a registered function called for a client."""
        self._functions.append(function)
        self.has_calls = True

    def when_free(self, call: Callable[[], None]) -> None:
        """Call once no hook thread asks petitions: now, or when the visit that is under way is over."""
        visit = self.under_way
        if visit is not None:
            visit.awaited = True  # before `over` is looked at, as in `dispatch`
            if not visit.over:
                self._when_free.append(call)
                return
            self._end(visit)
        call()

    def set_look_ahead(self, count: int | None) -> None:
        """Consider only the first `count` of the waiting; None for all."""
        self.selection.look_ahead = count

    def wake(self) -> None:
        """Have blocked conditions asked again."""
        self._petitions.note_change()
        self.selection.hurry(time.monotonic())

    # --- what the next step of a batch hangs on -----------------------------------------------------------------

    @property
    def is_free(self) -> bool:
        """Whether calls can be handed over: no visit is under way whose end hands them over, and the thread goes on."""
        return self.under_way is None and self._stopped_by is None

    @property
    def are_news(self) -> bool:
        """Whether the waiting petitions are to be asked once more, or parked ones may wait with them again."""
        return self.may_start and self.selection.are_news

    @property
    def may_find(self) -> bool:
        """Whether a petition that waits may start: one did when they were asked last, or a built-in manager answers."""
        return (self._finds or self._managers.have_ours) and bool(self._petitions.waiting)

    @property
    def is_choosing(self) -> bool:
        """Whether the hook thread asks waiting petitions, found one to start last time, and has little else to do."""
        visit = self.under_way
        return visit is not None and self._finds and bool(visit.round.waiting) and len(visit.calls) <= MAX_QUICK_CALLS

    @property
    def is_busy(self) -> bool:
        """Whether the hook thread has work, or work has gathered for it."""
        return (self.under_way is not None and not self.under_way.over) or self.has_calls

    def go_on(self) -> bool:
        """Tell whether the hook thread goes on: it has got round to it since this was asked last, or calls a plugin.

        A call that takes too long is no fault of the thread: `deadlines.py` gives it up.
        """
        visit = self.under_way
        return self.hooks.goes_on() or (visit is not None and not visit.over and visit.current is not None)

    # --- hand over ----------------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Hand over the gathered calls, if the hook thread is free."""
        visit = self.under_way
        if visit is not None:
            if not visit.awaited and (self.has_calls or self._are_waited_for()):
                visit.awaited = True  # before `over` is looked at: the hook thread sets that, and looks at this then
            if not visit.over:
                return
            self._end(visit)
        if self._petitions.preemptible or self._petitions.lent:
            self._preempting.look(may_start=self.may_start)
        if self._stopped_by is not None or not (self.has_calls or self._round_is_due()):
            return
        asked = self._next_round()
        if not (self.has_calls or asked.waiting or asked.sample):
            return
        starts_number = len(self._starts)
        calls = self._gathered(asked)
        self.under_way = visit = Visit(calls, asked, only_starts=len(calls) == starts_number)
        if asked is not _NOBODY:
            self.selection.handed_over()
        if self._managers.have_ours and self._managers.answer_at_once(visit):
            self.hooks.perform_here(visit)
            self._end(visit)
        else:
            if not self._deadline.is_armed:
                self._deadline.watch()
            self.hooks.perform(visit)

    def _are_waited_for(self) -> bool:
        """Tell whether petitions wait that the end of the visit under way may let start."""
        petitions = self._petitions
        return petitions.may_have_waiting and (bool(petitions.waiting) or self.selection.may_unpark())

    def _round_is_due(self) -> bool:
        """Tell whether a round might ask anybody, or something may be done to prepare one."""
        selection = self.selection
        if not (self.may_start and self._petitions.may_have_waiting and selection.has_waiting()):
            return False
        return self._conditions.is_news or selection.is_due(time.monotonic())

    def _next_round(self) -> Round:
        """Give the petitions to ask now; new ones may come with them."""
        selection = self.selection
        if not self.may_start:
            selection.stand_still()
        if not (self.may_start and self._petitions.may_have_waiting and selection.has_waiting()):
            if not (self._converts or self._again):
                return _NOBODY
            petitions = self._petitions
            asked = Round([], look_ahead=selection.look_ahead, version=petitions.version, fairness=petitions.fairness)
            asked.may_start = self.may_start
            return asked
        if self._conditions.is_news:
            self._sampling.look_soon()
        if unloaded := selection.make_ready():
            self._stored.load(unloaded)
        asked = selection.next_round(time.monotonic(), converting=bool(self._converts))
        self._arm()
        return asked

    def _arm(self) -> None:
        """Have the engine wake when another round is due.

        A timer that is set already may come too early: it sets another one then, so that many rounds that are due one
        after the other, and made before that since something happened, have the engine wake once.
        """
        due = self.selection.due
        if due is not None and (self._armed_for is None or due < self._armed_for):
            self._armed_for = due
            self._timers.at(due, partial(self._wake, due))

    def _wake(self, due: float) -> None:
        """See to the next timer: a round is made now, or as soon as the visit that is under way is over."""
        if self._armed_for == due:
            self._armed_for = None
            later = self.selection.due
            if later is not None and later > time.monotonic():
                self._arm()

    def _gathered(self, asked: Round) -> list[HookCall]:
        """Take the calls that have gathered, in the order in which they are made."""
        calls, self._again = self._again, []
        if self._finishes:
            calls += [(ON_FINISH, record, False) for record in self._finishes]
            self._finishes = []
        if self._starts:
            calls += [(ON_START, record, False) for record in self._starts]
            self._starts = []
        if self._functions:
            calls += [(CALL, function, False) for function in self._functions]
            self._functions = []
        if asked.waiting or asked.sample:
            calls += [(CONVERT, record, True) for record in (*asked.waiting, *asked.sample) if record.petition is None]
        if self._converts:
            calls += [(CONVERT, record, False) for record in self._take_converts()]
        self.has_calls = bool(self._converts)
        return calls

    def _take_converts(self) -> list[Record]:
        begin, most = self._converts_from, CONVERSIONS_PER_BUSY_VISIT
        if len(self._converts) - begin > most and not self._petitions.granted:
            most = CONVERSIONS_PER_IDLE_VISIT
        taken = self._converts[begin : begin + most]
        if begin + len(taken) >= len(self._converts):
            self._converts = []
            self._converts_from = 0
        else:
            self._converts_from = begin + len(taken)
        return taken

    # --- what came of it ----------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Take the results of a visit that is over."""
        visit = self.under_way
        if visit is not None and visit.over:
            self._end(visit)

    def _end(self, visit: Visit) -> None:
        """Have the results of the visit under way applied to the petitions."""
        self.under_way = None
        self._take(visit)

    def _take(self, visit: Visit) -> None:
        self._take_answers(visit)
        while self._when_free and self.under_way is None:
            self._when_free.pop(0)()

    def _take_answers(self, visit: Visit) -> None:
        asked = visit.round
        are_starting = self._outcomes.take(visit, may_start=self.may_start)
        if asked.waiting:
            self._finds = are_starting
        if self._petitions.may_have_waiting and (asked.waiting or asked.new or asked.sample or asked.by_time):
            self.selection.note(asked, time.monotonic(), firsts=visit.firsts_cost, others=visit.others_cost)
            self._arm()
        if self._conditions.is_news:
            self._sampling.look_soon()

    # --- calls that do not come back ----------------------------------------------------------------------------

    def _give_up(self, visit: Visit, call: HookCall, reason: str, thread: int) -> None:
        """Give a call up, and go on with the other calls of its visit."""
        self.under_way = None
        self._take(visit)
        self._again = [*visit.left(), *self._again]
        self._petitions.note_change()
        if self._stops_on_timeout:
            self._stopped_by, self.wedged = thread, WEDGED
            self._turn_away()
        self._note_calls()
        if call[0] is ON_START:
            self._owed.setdefault(thread, []).append(call[1])
        self._outcomes.not_returned(call, reason)

    def _note_calls(self) -> None:
        self.has_calls = bool(self._again or self._finishes or self._starts or self._functions or self._converts)

    def _turn_away(self) -> None:
        """Refuse messages that wait for their conversion: nobody knows when they could be converted."""
        left = [call[1] for call in self._again if _is_new(call)]
        self._again = [call for call in self._again if not _is_new(call)]
        self._outcomes.turn_away([*left, *self._converts[self._converts_from :]])
        self._converts, self._converts_from = [], 0

    def _came_back(self, thread: int) -> None:
        self._finishes.extend(self._owed.pop(thread, ()))
        self._note_calls()
        if self._stopped_by == thread:
            self._stopped_by = self.wedged = None


def _is_new(call: HookCall) -> bool:
    """Tell whether a call converts a message for the first time."""
    hook, _, is_again = call
    return hook is CONVERT and not is_again
