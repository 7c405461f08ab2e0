"""The results of a visit, applied to the petitions: the manager's code has answered, and the core decides."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from orcha._core import transitions
from orcha._core.reasons import SAYS_NO, TextIsFalse
from orcha._core.record import Phase
from orcha._core.state import State
from orcha._protocol.messages import Reply, Verdict
from orcha._service.hooks.deadlines import WEDGED
from orcha._service.hooks.visit import CALL, CONDITION, CONVERT, ON_FINISH, ON_START, FunctionCall, PermissionCall
from orcha.interfaces.built_in import BUILT_IN_MANAGERS, LEASE_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._core.selection import Selection
    from orcha._service.execution.attempt_ending import Ending
    from orcha._service.execution.command_adoption import CommandAdoption
    from orcha._service.execution.leases import Leases
    from orcha._service.hooks.acceptance import Acceptance
    from orcha._service.hooks.visit import HookCall, HookResult, Visit
    from orcha._service.lifecycle.stored_records import StoredPetitions
    from orcha._service.outbox import Outbox

# Looked up once: an attribute of an enumeration costs ten times a global name.
_ACTION, _CONVERTING, _ON_START, _WAITING = Phase.ACTION, Phase.CONVERTING, Phase.ON_START, Phase.WAITING
_BUSY, _OK, _RAISED, _REFUSED = Verdict.BUSY, Verdict.OK, Verdict.RAISED, Verdict.REFUSED
_QUEUED = State.QUEUED


class Adoptions(NamedTuple):
    """Goes on with attempts that outlived an earlier start of the service."""

    commands: CommandAdoption
    leases: Leases


class Outcomes:
    """Has the transitions made that follow from what hooks and conditions said; the engine thread's."""

    def __init__(
        self,
        petitions: Petitions,
        selection: Selection,
        acceptance: Acceptance,
        stored: StoredPetitions,
        ending: Ending,
        adoptions: Adoptions,
        outbox: Outbox,
        report: Callable[..., None],
    ) -> None:
        """Prepare.

        Args:
            petitions: the petitions that the results are about.
            selection: settles what the round of a visit found out.
            acceptance: decides about petitions that have just been converted.
            stored: loads the records of petitions that leave lots.
            ending: limits how long a petition waits.
            adoptions: go on with leases, and with commands that outlived an earlier start of the service.
            outbox: has the answers for clients that called functions.
            report: writes to the log.

        """
        self._petitions = petitions
        self._selection = selection
        self._acceptance = acceptance
        self._stored = stored
        self._ending = ending
        self._adoption, self._leases = adoptions
        self._outbox = outbox
        self._report = report

    def take(self, visit: Visit, *, may_start: bool) -> bool:
        """Take the results of a visit, then what its round found out; tell whether a petition starts that waited."""
        converted = self._take_results(visit.results)
        asked = visit.round
        if not (converted or asked.answers or asked.unchanged):
            return False
        answered = {answer.record.seq: answer for answer in asked.answers}  # the last one, of several
        for record in converted:
            news = self._acceptance.take(record, answered.pop(record.seq, None), may_start=may_start)
            if news is not None and record.why is not SAYS_NO:
                self._say_blocked(record, is_first=news)
        if not (answered or asked.unchanged):
            return False
        settled = self._selection.settle(answered.values(), asked.unchanged, self._petitions.now)
        if settled.unloaded:
            self._stored.load(settled.unloaded)
        for record, is_first in settled.blocked:
            self._say_blocked(record, is_first=is_first)
        return settled.are_starting

    def _take_results(self, results: Iterable[HookResult]) -> list[Record]:
        """Take the results of the calls; give the petitions that are to be accepted."""
        petitions = self._petitions
        converted: list[Record] = []
        for hook, record, error, value in results:
            if hook is ON_START:
                if record.phase is _ON_START:  # else its action has returned already
                    self.take_start(record, error, called=value is not False)
            elif hook is ON_FINISH:
                if error is not None:
                    self._report(logging.ERROR, "petition %s: %s", record.key, error)
                transitions.finish.hook_done(petitions, record.seq, petitions.now)
            elif hook is CALL:
                self._answer(record, error, value)
            elif error is not None:
                self.not_converted(record, error)
            else:
                transitions.submit.enter_converted(record, value)
                if record.command and record.manager == LEASE_MANAGER:
                    self._leases.converted(record)
                if record.phase is _CONVERTING:
                    converted.append(record)
                else:
                    self._converted_again(record)
        return converted

    def take_start(self, record: Record, error: str | None, *, called: bool) -> None:
        """Take that an attempt was handed over; or with an `error` that it was not, though on_start may be `called`."""
        petitions = self._petitions
        if error is None:
            transitions.finish.action_going(petitions, record.seq, record.attempt)
        else:
            transitions.finish.start_failed(petitions, record.seq, record.attempt, error, petitions.now, called=called)

    def take_finish(self, record: Record) -> None:
        """Take that the on_finish of an attempt is over."""
        transitions.finish.hook_done(self._petitions, record.seq, self._petitions.now)

    def _answer(self, call: FunctionCall, error: str | None, value: bytes | None) -> None:
        """Answer the client that called a function with what that returned, or what it raised."""
        if isinstance(call, PermissionCall):
            call.then(error)
            return
        self._outbox.reply(call.peer, Reply(call.request, _OK if error is None else _RAISED, value, error))

    def _converted_again(self, record: Record) -> None:
        if record.phase is _ACTION:
            if record.manager != LEASE_MANAGER:
                self._adoption.converted(record)
        elif record.state is _QUEUED and record.queue_timeout is not None:
            self._ending.limit_wait(record)

    def not_converted(self, record: Record, reason: str) -> None:
        """Take that no petition could be made of a message."""
        petitions = self._petitions
        if record.phase is _CONVERTING:
            transitions.submit.refuse(petitions, record, _REFUSED, reason)
        elif record.phase is _ACTION:
            (self._leases if record.manager == LEASE_MANAGER else self._adoption).converted(record, reason)
        elif petitions.records.get(record.seq) is record:
            transitions.finish.break_waiting(petitions, record, reason, petitions.now)
        else:
            text = "petition %s: on_finish is owed, but it cannot be made again: %s"
            self._report(logging.ERROR, text, record.key, reason)

    def not_returned(self, call: HookCall, reason: str) -> None:
        """Take that a call was given up."""
        petitions = self._petitions
        hook, record, _ = call
        if hook is CALL:
            self._answer(record, reason, None)
        elif hook is CONVERT:
            self.not_converted(record, reason)
        elif hook is ON_START:
            transitions.finish.start_failed(petitions, record.seq, record.attempt, reason, petitions.now, hung=True)
        elif hook is CONDITION:
            if record.phase is _WAITING:
                transitions.finish.break_waiting(petitions, record, reason, petitions.now)
        else:
            transitions.finish.hook_done(petitions, record.seq, petitions.now)

    def turn_away(self, records: Iterable[Record]) -> None:
        """Refuse messages that are not converted yet: nobody knows when that can be."""
        for record in records:
            transitions.submit.refuse(self._petitions, record, _BUSY, WEDGED)

    def _say_blocked(self, record: Record, *, is_first: bool) -> None:
        """Tell the log of a new reason why a petition waits; each new number in a reason is worth a line to few."""
        why = record.why
        if why is not None and why is not SAYS_NO and why != SAYS_NO:
            is_worth = is_first and record.manager not in BUILT_IN_MANAGERS and not isinstance(why, TextIsFalse)
            level = logging.INFO if is_worth else logging.DEBUG
            self._report(level, "petition %s waits: %s", record.key, why.text())


__all__ = ["Adoptions", "Outcomes"]
