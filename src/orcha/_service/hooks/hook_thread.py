"""The hook thread: all of the manager's code, one call at a time.

A *visit* is a batch of calls the engine hands over; each result is published by itself, so that a call that outlives
its deadline costs only itself. The thread that is stuck in it is given up: a fresh one takes what is left of the visit,
and whatever the old one still asks of Orcha raises :class:`~orcha.exceptions.StaleCall`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from orcha._core.asking_round import BROKEN, NO, YES, Round, Said
from orcha._core.reasons import SAYS_NO, ConditionSaidNo
from orcha._core.selection import Cost
from orcha._core.tuples import new_tuple
from orcha._protocol import values
from orcha._protocol.frames import MAX_FRAME_BYTES
from orcha._service.execution.action_threads import FORKED_AND_RETURNED_CODE
from orcha._service.hooks.conversion import convert
from orcha._service.hooks.starting import mark_started
from orcha._service.hooks.visit import (
    CALL,
    CONVERT,
    ON_FINISH,
    ON_START,
    FunctionCall,
    HookResult,
    PermissionCall,
    Visit,
)
from orcha._service.reports.explanations import describe, explain
from orcha._service.reports.explanations import said as said_by_plugin
from orcha.exceptions import ConditionFailed, StaleCall
from orcha.interfaces.built_in import BUILT_IN_MANAGERS
from orcha.utils import this_process
from orcha.utils.threads import NoThreadError, guarded, ignore_death, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.admission import Admission
    from orcha._core.converted import Candidate, Converted
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.execution.attempt_port import AttemptPort
    from orcha._service.hooks.starting import Starter
    from orcha.utils.threads import DeadThreadError, OnDeath

FINAL_VALUE_WAIT_SECONDS = 0.002
"""Seconds for which the final value of an action may lie there while that action goes on."""
SAMPLE_SECONDS = 0.002
"""Longest slice of asking petitions far from the head."""
CANCELLED_BEFORE = "cancelled before it started"
MAX_RESULT_BYTES = MAX_FRAME_BYTES - 1024
"""Bytes of what a registered function returns, encoded: it goes in one answer."""
_monotonic = time.monotonic


class Stack:
    """Where a thread is; the lines of code are read when it is written."""

    def __init__(self, summary: traceback.StackSummary) -> None:
        """Take the frames, the innermost first."""
        self._summary = summary

    def __str__(self) -> str:
        """Give it as a traceback shows it, the innermost last."""
        return "".join(reversed(self._summary.format()))


class HookThreadState:
    """Written by the hook threads and the engine; read by any thread, without a lock."""

    def __init__(self, look: Callable[[], None]) -> None:
        """Know of no thread; `look` has the engine look at what it was not woken for."""
        self.look = look
        self.given_up: set[int] = set()
        """Identities of given-up threads whose call has not returned."""
        self.looks_again = False
        """Whether the hook thread has the engine look in a moment: a thread that brings a value need not wake it."""

    def check(self) -> None:
        """Raise StaleCall on a thread whose hook was given up."""
        if self.given_up and threading.get_ident() in self.given_up:
            raise StaleCall


class Hooks:
    """Calls the manager. Everything that it needs of the engine is given to it."""

    def __init__(
        self,
        managers: Mapping[str, Any],
        petitions: Petitions,
        admission: Admission,
        steps: Starter,
        port: AttemptPort,
        threads: HookThreadState,
    ) -> None:
        """Prepare; no thread runs before `start`.

        Args:
            managers: whose hooks are called, by the name that is stored with their petitions.
            petitions: have the book of granted slots, in which a yes is entered at once, and a version.
            admission: says what blocks a petition whatever its condition says.
            steps: what is to be done for a petition between the calls.
            port: the engine, as channels in this process see it.
            threads: which threads were given up, and what this one is about to do.

        """
        self._managers = managers
        self._petitions = petitions
        self._admission = admission
        self._steps = steps
        self._port = port
        self.threads = threads
        self.functions: dict[str, Callable[..., Any]] = {}
        """What clients may call by name."""
        self.done: Callable[[], None]
        """Told that a visit is over, where the engine waits for it."""
        self.came_back: Callable[[int], object] = lambda _: None
        """Told the identity of a given-up thread whose call returned."""
        self.on_death: OnDeath = ignore_death
        """Told where the hook thread dies."""
        self._pid = this_process.pid
        self._inbox: SimpleQueue[Visit | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._other: tuple[SimpleQueue[Visit | None], threading.Thread] | None = None
        """A thread that waits to take the place of the hook thread."""
        self._probe: tuple[SimpleQueue[Visit | None], Visit] | None = None
        """A visit without any call, and where it was put: the hook thread goes on where that is over."""

    def start(self) -> None:
        """Start the hook thread; a client may have come before that, so the thread begins with the visits there are."""
        self._thread = self._thread_for(self._inbox)
        start(self._thread)

    def _thread_for(self, inbox: SimpleQueue[Visit | None]) -> threading.Thread:
        return guarded("orcha-hooks", partial(self._run, inbox), self._died)

    def prepare_another(self) -> None:
        """Have a thread that `give_up` puts in place of the hook thread; raise NoThreadError where there is no room."""
        if self._other is None:
            inbox: SimpleQueue[Visit | None] = SimpleQueue()
            thread = self._thread_for(inbox)
            start(thread)
            self._other = inbox, thread

    def give_up(self) -> int:
        """Leave the thread to its call, and go on with the other one; give the identity of the old one."""
        old, other = self._thread, self._other
        assert old is not None
        assert old.ident is not None
        assert other is not None
        (self._inbox, self._thread), self._other = other, None
        self.threads.given_up.add(old.ident)
        return old.ident

    def stack(self) -> Stack:
        """Tell where the thread is now, for the log."""
        frames_of = sys._current_frames()  # noqa: SLF001 - what faulthandler prints, as objects
        frame = frames_of.get(self._thread.ident or 0) if self._thread else None
        frames = traceback.walk_stack(frame) if frame is not None else ()
        return Stack(traceback.StackSummary.extract(frames, lookup_lines=False))

    def goes_on(self) -> bool:
        """Tell whether the hook thread has got round to it since this was asked last; the engine's.

        A thread that was put in the place of another one since then has not been asked.
        """
        probe = self._probe
        if probe is not None and probe[0] is self._inbox and not probe[1].over:
            return False
        self._probe = self._inbox, Visit([], Round([]))
        self._inbox.put(self._probe[1])
        return True

    def perform(self, visit: Visit) -> None:
        """Hand a visit to the hook thread."""
        self._inbox.put(visit)

    def perform_here(self, visit: Visit) -> None:
        """Make a visit on the caller's thread, while no other is under way: of hooks that never take long."""
        self._visit(visit)
        visit.over = True

    def stop(self) -> None:
        """Let the thread end after the visits it has."""
        self._inbox.put(None)
        if self._other is not None:
            self._other[0].put(None)

    def is_hook_thread(self) -> bool:
        """Tell whether the caller runs on the hook thread now in force."""
        return self._thread is threading.current_thread()

    # --- on the hook thread -------------------------------------------------------------------------------------

    def _run(self, inbox: SimpleQueue[Visit | None]) -> None:
        try:
            visit = inbox.get()
            while visit is not None:
                self._visit(visit)
                visit.over = True
                if visit.awaited:  # looked at last: the engine sets it, and looks at `over` after that
                    self.done()
                visit = self._next(inbox) if visit.started else inbox.get()
        except StaleCall:
            self._leave()

    def _leave(self) -> None:
        """End as a thread that was given up."""
        identity = threading.get_ident()
        self.threads.given_up.discard(identity)
        self.came_back(identity)

    def _died(self, death: DeadThreadError) -> None:
        if threading.get_ident() in self.threads.given_up:
            self._leave()
        else:
            self.on_death(death)

    def _next(self, inbox: SimpleQueue[Visit | None]) -> Visit | None:
        """Wait for the visit that follows the start of an action; the engine looks in a moment, or as soon as it comes.

        An action that is over at once brings its own thread to the engine, which need not be woken for its value.
        """
        self.threads.looks_again = True
        try:
            return inbox.get(timeout=FINAL_VALUE_WAIT_SECONDS)
        except Empty:
            pass
        finally:
            self.threads.looks_again = False  # before the look: who brings a value puts it first, and then reads this
            self.threads.look()
        return inbox.get()

    def _visit(self, visit: Visit) -> None:
        self._make_calls(visit)
        visit.choosing = True
        asked = visit.round
        if asked.waiting or asked.new or asked.sample:
            self._ask(visit)

    def _ask(self, visit: Visit) -> None:
        """Ask the petitions that the round names; far from the head for a moment only."""
        asked = visit.round
        asking = asked.ask(self._admission, self._petitions.granted, self._version)
        begun = _times() if asked.by_time else (0.0, 0.0)
        begun_others: tuple[float, float] | None = None
        said: Said | None = None
        while True:
            if this_process.pid != self._pid:
                os._exit(FORKED_AND_RETURNED_CODE)
            with visit.lock:
                if visit.abandoned:
                    raise StaleCall
                try:  # the round takes what the last petition said, and gives the next one
                    candidate = asking.send(said)  # type: ignore[arg-type]  # None begins it
                except StopIteration:
                    visit.current = None
                    break
                if asked.is_sampling:
                    if begun_others is None:
                        visit.firsts_cost = Cost(len(asked.waiting), *_since(begun))
                        begun_others = _times()
                    elif _monotonic() - begun_others[1] > SAMPLE_SECONDS:
                        asked.stop_sampling()
                        visit.current = None
                        break
                visit.since = asked_at = _monotonic()
                visit.current = candidate
            said = _said(candidate, None if candidate.manager in BUILT_IN_MANAGERS else asked_at)
        if asked.by_time and begun_others is None:
            visit.firsts_cost = Cost(len(asked.waiting), *_since(begun))
        elif begun_others is not None:
            visit.others_cost = Cost(asked.sampled, *_since(begun_others))

    def _version(self) -> int:
        return self._petitions.version

    def _make_calls(self, visit: Visit) -> None:
        for call in visit.calls:
            visit.since = _monotonic()
            visit.current = call
            hook, about, is_again = call
            if hook is ON_START:
                result = self._on_start(about)
            elif hook is ON_FINISH:
                again = visit.round.again
                result = self._on_finish(about, again.get(about.seq) if again else None)
            elif hook is CONVERT:
                result = self._convert(about, visit.round, is_new=not is_again)
            else:
                result = self._call_function(about)
            if this_process.pid != self._pid:
                os._exit(FORKED_AND_RETURNED_CODE)
            with visit.lock:
                if visit.abandoned:
                    raise StaleCall
                if result[2] is not None:
                    visit.awaited = True
                elif hook is ON_START:
                    result = self._go(about, result)
                    visit.started = True
                visit.results.append(result)
                visit.current = None

    def _on_start(self, record: Record) -> HookResult:
        if not record.may_start:
            return ON_START, record, CANCELLED_BEFORE, False
        try:
            self._steps.prepare(record)
            answer = self._managers[record.manager].on_start(record.petition)
        except StaleCall:
            raise
        except BaseException as error:  # noqa: BLE001 - plugin code: SystemExit too ends this petition only
            return ON_START, record, f"its start failed: {explain(error)}", None
        if answer is False:
            return ON_START, record, "its plugin does not let it start", None
        if _is_cancelled(record):  # meanwhile
            return ON_START, record, CANCELLED_BEFORE, None
        return ON_START, record, None, None

    def _go(self, record: Record, result: HookResult) -> HookResult:
        """Have the action called; where no thread can be started for it, the petition ends with that."""
        try:
            self._steps.go(record)
        except NoThreadError as error:
            return ON_START, record, f"its action could not be started: {error}", None
        return result

    def _on_finish(self, record: Record, again: Converted | None) -> HookResult:
        petition = record.petition if again is None else again.petition
        if petition is None:
            return ON_FINISH, record, "the petition could not be made again", None
        try:
            mark_started(petition)
            self._steps.mark(record, petition)
            self._managers[record.manager].on_finish(petition)
        except StaleCall:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            return ON_FINISH, record, f"on_finish: {describe(error)}", None
        return ON_FINISH, record, None, None

    def _call_function(self, call: FunctionCall) -> HookResult:
        """Call a function that the manager registered, or ask the manager whether a client may do something."""
        try:
            if isinstance(call, PermissionCall):
                return CALL, call, None if call.asks() else "its plugin does not allow it", None
            args, kwargs = values.decode(call.args, channel=bytes), values.decode(call.kwargs, channel=bytes)
            value = self.functions[call.name](*args, **kwargs)
            encoded = values.encode(value, "its result")
            if len(encoded) > MAX_RESULT_BYTES:
                error = (
                    f"its result has {len(encoded)} bytes, where {MAX_RESULT_BYTES} are allowed: put it on a channel"
                )
                raise ValueError(error)  # noqa: TRY301 - told as whatever the function itself raises
        except StaleCall:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            said = describe(error)
            return CALL, call, f"{call.name} failed: {said}" if isinstance(call, PermissionCall) else said, None
        else:
            return CALL, call, None, encoded

    def _convert(self, record: Record, asked: Round, *, is_new: bool) -> HookResult:
        converted = convert(record, self._managers[record.manager], self._port, self._admission, is_new=is_new)
        if isinstance(converted, str):
            return CONVERT, record, converted, None
        self._steps.mark(record, converted.petition)
        if is_new:
            asked.new.append(converted)
        else:
            asked.again[converted.seq] = converted
        return CONVERT, record, None, converted


def _times() -> tuple[float, float]:
    """Give the processor's time that this thread has had, and the time."""
    return time.thread_time(), _monotonic()


def _since(begun: tuple[float, float]) -> tuple[float, float]:
    """Give the seconds of both that have passed."""
    processor, now = _times()
    return processor - begun[0], now - begun[1]


def _said(candidate: Candidate, at: float | None) -> Said:
    """Ask a petition's own condition."""
    petition = candidate.petition
    try:
        try:
            answer = petition.condition(petition)  # type: ignore[union-attr]
        except ConditionFailed as failed:
            return _said_no(candidate, failed, at)
        if answer:
            return new_tuple(Said, (YES, None, None, False, at))
        if isinstance(answer, ConditionFailed):
            return _said_no(candidate, answer, at)
    except StaleCall:
        raise
    except BaseException as raised:  # noqa: BLE001 - plugin code: SystemExit too ends this petition only
        return Said(BROKEN, error=f"its condition failed: {explain(raised)}")
    return new_tuple(Said, (NO, SAYS_NO, None, False, at))


def _said_no(candidate: Candidate, failed: ConditionFailed, at: float | None) -> Said:
    reason = getattr(failed, "reason", None)  # a class of a plugin's may not have called our __init__
    text = None if reason is None else said_by_plugin(reason) or None
    known = candidate.why  # the same object where it says the same: that compares at once
    same = isinstance(known, ConditionSaidNo) and known.said == text
    why = known if same else ConditionSaidNo(text)
    return Said(NO, why, for_all=bool(getattr(failed, "for_all", False)), at=at)


def _is_cancelled(record: Record) -> bool:
    """Tell whether the action must not be called any more."""
    return not record.may_start
