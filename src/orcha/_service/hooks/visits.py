"""What the hook thread is asked next, and what the machine makes of its answers."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, TypeGuard

from orcha._core import transitions
from orcha._core.asking_round import BROKEN, YES, Answered
from orcha._core.reasons import SAYS_NO
from orcha._core.record import Phase, Record
from orcha._core.state import State
from orcha._core.tuples import new_tuple
from orcha._protocol.messages import Reply, Verdict
from orcha._service import faults
from orcha._service.execution.action_threads import ActionRun
from orcha._service.execution.retries import tries_of
from orcha._service.hooks import deadlines as overdue
from orcha._service.hooks.hook_thread import Hooks
from orcha._service.hooks.rounds import Rounds
from orcha._service.hooks.starting import Starter
from orcha._service.hooks.visit import (
    CONDITION,
    CONVERT,
    ON_FINISH,
    ON_START,
    FunctionCall,
    HookCall,
    HookResult,
    Returned,
    Visit,
)
from orcha._service.verbs.call import answer_call
from orcha.interfaces.built_in import BUILT_IN_MANAGERS
from orcha.utils.threads import NoThreadError

if TYPE_CHECKING:
    from orcha._core.asking_round import Round
    from orcha._service.engine import Engine

# Looked up once: an attribute of an enumeration costs ten times a global name.
_ACTION, _CONVERTING, _RESTING, _WAITING = Phase.ACTION, Phase.CONVERTING, Phase.RESTING, Phase.WAITING
_BUSY, _REFUSED = Verdict.BUSY, Verdict.REFUSED
_QUEUED = State.QUEUED

CONVERT_AT_ONCE = 256
"""Conversions of one visit while nothing runs."""
CONVERT_MEANWHILE = 24
"""Conversions of one visit while something runs: more would keep those that wait from being asked."""
FEW = 16
"""Calls of a visit that is over sooner than a transaction."""
_HELD_FOR = 0.02


class Visits:
    """Gathers calls for the hook thread while it is busy, and hands them over when it is not."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self.functions: dict[str, Any] = {}
        self.hooks = Hooks(
            engine.managers.of,
            engine.petitions,
            engine.admission,
            Starter(engine.ending, engine.actions, engine.commands, engine.journal, engine.report),
            engine.port,
            self.functions,
            self._over,
            engine.hook_state,
        )
        self.hooks.on_death = engine.end_with
        self.hooks.came_back = lambda thread: engine.post(self._came_back, thread)
        self.rounds = Rounds(engine)
        self._starts: list[Record] = []
        self._finishes: list[Record] = []
        self._functions: list[FunctionCall] = []
        self._converts: list[Record] = []
        self._converts_from = 0
        self._again: list[HookCall | FunctionCall] = []
        self._visit: Visit | None = None
        self._finds = True
        self._overdue_armed = False
        self._stopped_by: int | None = None
        self._owed: dict[int, list[Record]] = {}

    def start(self) -> None:
        """Start the hook thread."""
        self.hooks.start()

    # --- what is to be asked ------------------------------------------------------------------------------------

    def convert(self, record: Record) -> None:
        """Have a message converted."""
        self._converts.append(record)

    def on_start(self, record: Record) -> None:
        """Have on_start called, and the action after it."""
        engine = self._engine
        if faults.is_held() and record.may_start:
            engine.timers.at(time.monotonic() + _HELD_FOR, lambda: self.on_start(record))
            return
        assert record.petition is not None
        run = ActionRun(engine.port, record, record.petition, engine.ending.take_ordinal())
        transitions.start.started(record, tries_of(engine.store, record), run)
        self._starts.append(record)
        if record.timeout is not None and not record.command:
            engine.ending.limit_run(record)

    def on_finish(self, record: Record) -> None:
        """Have on_finish called, unless its on_start is stuck: then after that came back."""
        if record.petition is None:
            if record.command:
                self.owe_on_finish(record)
        elif not self._owed or not any(record in owed for owed in self._owed.values()):
            self._finishes.append(record)
            self._engine.resting.rest(record)

    def owe_on_finish(self, record: Record) -> None:
        """Have on_finish called for an attempt of an earlier start of the service: converted again first."""
        self._again.append(HookCall(CONVERT, record, is_again=True))
        self._again.append(HookCall(ON_FINISH, record))

    def convert_again(self, record: Record) -> None:
        """Have the petition of a command that lives on made again."""
        self._again.append(HookCall(CONVERT, record, is_again=True))

    def call(self, function: FunctionCall) -> None:
        """Have a registered function called for a client."""
        self._functions.append(function)

    def set_look_ahead(self, count: int | None) -> None:
        """Consider only the first `count` of the waiting; None for all."""
        self.rounds.selection.look_ahead = count

    def wake(self) -> None:
        """Have blocked conditions asked again."""
        self._engine.petitions.note_change()
        self.rounds.hurry()

    # --- hand over ----------------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Hand over what has gathered, if the hook thread is free."""
        if not self._has_ended() or self._stopped_by is not None:
            return
        if not self.has_calls and self.rounds.selection.is_idle:  # a round costs fifty calls, and would ask nobody
            return
        asked = self.rounds.next_round(converting=bool(self._converts))
        if not (asked.waiting or asked.sample or self.has_calls):
            return
        self._visit = visit = Visit(self._gathered(asked), asked)
        self.rounds.selection.handed_over()
        if self._engine.managers.answer_at_once(visit):
            self.hooks.perform_here(visit)
            self.end(visit)
        else:
            self._watch()
            self.hooks.perform(visit)

    def _gathered(self, asked: Round) -> list[HookCall | FunctionCall]:
        """Take the calls that have gathered, in the order in which they are made."""
        calls, self._again = self._again, []
        if self._finishes:
            calls += [new_tuple(HookCall, (ON_FINISH, record, False)) for record in self._finishes]
            self._finishes = []
        if self._starts:
            calls += [new_tuple(HookCall, (ON_START, record, False)) for record in self._starts]
            self._starts = []
        if self._functions:
            calls += self._functions
            self._functions = []
        if asked.waiting or asked.sample:
            calls += [
                HookCall(CONVERT, r, is_again=True) for r in (*asked.waiting, *asked.sample) if r.petition is None
            ]
        if self._converts:
            calls += [new_tuple(HookCall, (CONVERT, record, False)) for record in self._take_converts()]
        return calls

    def _has_ended(self) -> bool:
        """Tell whether no visit is under way; where one is and there is work for the next, its end wakes the engine."""
        if self._visit is not None and (self.has_calls or self._engine.petitions.waiting):
            self._visit.awaited = True
        return self.collect()

    def collect(self) -> bool:
        """Take the results of a visit that is over; False where one is not."""
        visit = self._visit
        if visit is not None and visit.over:
            self.end(visit)
        return self._visit is None

    def _take_converts(self) -> list[Record]:
        begin = self._converts_from
        most = CONVERT_MEANWHILE if self._engine.petitions.granted else CONVERT_AT_ONCE
        taken = self._converts[begin : begin + most]
        if begin + len(taken) >= len(self._converts):
            self._converts = []
            self._converts_from = 0
        else:
            self._converts_from = begin + len(taken)
        return taken

    def _over(self, visit: Visit) -> None:
        """Take what came of a visit; called on the hook thread."""
        self._engine.mailbox.run_or_post(self.end, visit, may_keep=True)

    # --- what came of it ----------------------------------------------------------------------------------------

    def end(self, visit: Visit) -> None:
        """Take what came of a visit."""
        if visit is not self._visit:
            return
        self._visit = None
        self._apply(visit)

    def _apply(self, visit: Visit) -> None:
        converted: list[Record] = []
        for result in visit.results:
            if isinstance(result, Returned):
                answer_call(self._engine, result)
            elif result.hook is CONVERT and result.error is None:
                record = result.record
                transitions.submit.enter_converted(record, result.value)
                if record.phase is _CONVERTING:
                    converted.append(record)
                else:
                    self._converted_again(record)
            elif result.hook is ON_START:
                self._started(result.record, result.error, called=result.value is not False)
            else:
                self._came_of(result)
        answered = {answer.record.seq: answer for answer in visit.round.answers}  # the last one, of several
        for record in converted:
            self._accept(record, answered.pop(record.seq, None))
        settled = self.rounds.selection.settle(answered.values(), visit.round.unchanged, self._engine.petitions.now)
        self._engine.stored.load(settled.unloaded)
        for record, is_first in settled.blocked:
            self._say_blocked(record, is_first=is_first)
        if visit.round.waiting:
            self._finds = settled.are_starting
        self.rounds.note(visit)

    def _converted_again(self, record: Record) -> None:
        if record.phase is _ACTION:
            self._engine.command_adoption.converted(record)
        elif record.state is _QUEUED and record.queue_timeout is not None:
            self._engine.ending.limit_wait(record)

    def _came_of(self, result: HookResult) -> None:
        hook, record = result.hook, result.record
        if hook is ON_FINISH:
            if result.error is not None:
                self._engine.report(logging.ERROR, "petition %s: %s", record.key, result.error)
            transitions.finish.hook_done(self._engine.petitions, record.seq, self._engine.petitions.now)
        else:
            self._not_converted(record, result.error or "")

    def _accept(self, record: Record, answered: Answered | None) -> None:
        engine, selection = self._engine, self.rounds.selection
        if answered is not None and answered.answer is BROKEN:
            transitions.submit.refuse(engine.petitions, record, _REFUSED, answered.error or "its condition broke")
            return
        if record.once is not None and not engine.once.admits(record):
            return
        if record.after and not engine.dependents.admits(record, engine.submissions.may_name(record)):
            return
        start = answered is not None and answered.answer is YES
        if start:
            start = selection.counts(record, are_stopped=engine.draining is not None or engine.paused)
        elif answered is not None:
            is_first = transitions.wait.note_no(record, answered.why, answered.asked)
            if is_first is not None:
                self._say_blocked(record, is_first=is_first)
        own = record.channel == record.token
        channel = engine.channels.known(record.channel) or engine.channels.create(record.channel, record.owner, own=own)
        transitions.submit.accept(
            engine.petitions, record, engine.petitions.now, start=start, new_channel=not channel.kept
        )
        channel.kept = True
        if record.phase is _RESTING:
            engine.appointments.wait(record)
            return
        if record.state is _QUEUED and record.queue_timeout is not None:
            engine.ending.limit_wait(record)
        if answered is not None and not start:
            engine.admitting.park(record)

    def _not_converted(self, record: Record, reason: str) -> None:
        petitions = self._engine.petitions
        if record.phase is _CONVERTING:
            transitions.submit.refuse(petitions, record, _REFUSED, reason)
        elif record.phase is _ACTION:
            self._engine.command_adoption.converted(record, reason)
        elif petitions.records.get(record.seq) is record:
            transitions.finish.break_waiting(petitions, record, reason, petitions.now)
        else:
            text = "petition %s: on_finish is owed, but it cannot be made again: %s"
            self._engine.report(logging.ERROR, text, record.key, reason)

    def _say_blocked(self, record: Record, *, is_first: bool) -> None:
        """Tell the log of a new reason why a petition waits; each new number in a reason is worth a line to few."""
        if record.why is not None and record.why != SAYS_NO:
            level = logging.INFO if is_first and record.manager not in BUILT_IN_MANAGERS else logging.DEBUG
            self._engine.report(level, "petition %s waits: %s", record.key, record.why.text())

    def _started(self, record: Record, error: str | None, *, called: bool) -> None:
        if error is None:
            transitions.finish.action_going(self._engine.petitions, record.seq, record.attempt)
        else:
            transitions.finish.start_failed(
                self._engine.petitions, record.seq, record.attempt, error, self._engine.petitions.now, called=called
            )

    # --- calls that do not come back ----------------------------------------------------------------------------

    def _watch(self) -> None:
        if not self._overdue_armed:
            self._overdue_armed = True
            self._engine.timers.at(time.monotonic() + self._engine.settings.hook_deadline, self._overdue)

    def _overdue(self) -> None:
        self._overdue_armed = False
        visit = self._visit
        if visit is None or visit.over:
            return
        now = time.monotonic()
        if visit.is_overdue(self._engine.settings.hook_deadline, now):
            try:
                self.hooks.prepare_another()
            except NoThreadError as error:  # until then other petitions wait for the call that hangs
                self._engine.report(logging.ERROR, "a hook that hangs cannot be given up yet: %s", error)
                self._overdue_armed = True
                self._engine.timers.at(now + overdue.NO_THREAD_SECONDS, self._overdue)
                return
        call = visit.abandon(self._engine.settings.hook_deadline, now)
        if call is None:
            self._overdue_armed = True
            due = (visit.since if visit.current is not None else now) + self._engine.settings.hook_deadline
            self._engine.timers.at(due, self._overdue)
            return
        self._give_up(visit, call)

    def _give_up(self, visit: Visit, call: HookCall | FunctionCall) -> None:
        deadline = self._engine.settings.hook_deadline
        reason = overdue.told(call.hook, deadline)
        what = call.name if isinstance(call, FunctionCall) else f"petition {call.record.key}"
        text = "%s: %s did not return in %g s; it is at:\n%s"
        self._engine.report(logging.ERROR, text, what, call.hook.name.lower(), deadline, self.hooks.stack())
        old = self.hooks.give_up()
        self._visit = None
        self._apply(visit)
        self._again = visit.left()
        self._engine.petitions.note_change()
        if self._engine.settings.on_hook_timeout == "stop":
            self._stopped_by = old
            self._turn_away()
        if isinstance(call, FunctionCall):
            self._engine.reply(call.peer, Reply(call.request, Verdict.RAISED, None, reason))
        elif call.hook is CONVERT:
            self._not_converted(call.record, reason)
        else:
            if call.hook is ON_START:
                self._owed.setdefault(old, []).append(call.record)
            self._end_what_waits(call, reason)
        if len(self.hooks.threads.given_up) > overdue.STALE_ALLOWED:
            self._engine.degrade("too many hooks that do not return")

    def _end_what_waits(self, call: HookCall, reason: str) -> None:
        """End what waits for a call that is given up, conversions aside."""
        record, petitions = call.record, self._engine.petitions
        if call.hook is ON_START:
            transitions.finish.start_failed(petitions, record.seq, record.attempt, reason, petitions.now, hung=True)
        elif call.hook is CONDITION:
            if record.phase is _WAITING:
                transitions.finish.break_waiting(petitions, record, reason, petitions.now)
        elif call.hook is ON_FINISH:
            transitions.finish.hook_done(petitions, record.seq, petitions.now)

    def _turn_away(self) -> None:
        """Refuse what waits to be converted: nobody knows when that can be."""
        left = [call.record for call in self._again if _is_new(call)]
        self._again = [call for call in self._again if not _is_new(call)]
        for record in left + self._converts[self._converts_from :]:
            transitions.submit.refuse(self._engine.petitions, record, _BUSY, overdue.WEDGED)
        self._converts, self._converts_from = [], 0

    def _came_back(self, thread: int) -> None:
        self._finishes.extend(self._owed.pop(thread, ()))
        if self._stopped_by == thread:
            self._stopped_by = None

    @property
    def are_inline(self) -> bool:
        """Whether built-in managers are the only ones, whose hooks the engine calls by itself: no thread is woken."""
        return self._engine.managers.are_ours

    @property
    def is_choosing(self) -> bool:
        """Whether the hook thread asks those that wait, found one the last time, and has little else to do."""
        visit = self._visit
        return visit is not None and self._finds and bool(visit.round.waiting) and len(visit.calls) <= FEW

    @property
    def may_find(self) -> bool:
        """Whether a petition that waits may start: one did when they were asked last, or a built-in manager answers."""
        return (self._finds or self._engine.managers.have_ours) and bool(self._engine.petitions.waiting)

    @property
    def is_busy(self) -> bool:
        """Whether the hook thread has work, or some is gathered for it."""
        return (self._visit is not None and not self._visit.over) or self.has_calls

    @property
    def is_free(self) -> bool:
        """Whether calls can be handed over: none is under way, whose end would bring that about."""
        return self._visit is None and self._stopped_by is None

    @property
    def has_calls(self) -> bool:
        """Whether calls wait for the hook thread."""
        return bool(self._again or self._starts or self._finishes or self._converts or self._functions)

    @property
    def wedged(self) -> str | None:
        """Why no message can be converted now, if that is so."""
        return overdue.WEDGED if self._stopped_by is not None else None


def _is_new(call: HookCall | FunctionCall) -> TypeGuard[HookCall]:
    """Tell whether a call converts a message for the first time."""
    return isinstance(call, HookCall) and call.hook is CONVERT and not call.is_again
