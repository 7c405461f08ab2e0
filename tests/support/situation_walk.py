"""A walk of one petition through all that can happen to it, with the real transitions and a store that checks steps."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import islice, product
from typing import TYPE_CHECKING, NamedTuple

from orcha._core import transitions
from orcha._core.admission import Admission
from orcha._core.changes import AttemptStep
from orcha._core.codes import CANCELLED_CODE, TIMED_OUT_CODE
from orcha._core.effects import Do
from orcha._core.moment import Moment
from orcha._core.moves import Event
from orcha._core.petitions import PREEMPTED, Petitions
from orcha._core.preempted import REQUEUE, Preempted
from orcha._core.reasons import RestingUntil
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.retry import Tries
from orcha._core.situations import Situation, situation
from orcha._core.state import OnInterrupt, Outcome, State
from orcha._core.transitions.command import CommandEnd
from orcha._service.lifecycle.stored_records import record_of
from orcha._store.memory import MemoryStore
from orcha.interfaces import Retry
from support.miniature_hooks import LIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEQ, TOKEN = 1, b"t" * 16
NOW, LATER = Moment(1000.0, 1000.0), Moment(2000.0, 2000.0)
SOON = 1050.0
UNTIL_SOON = RestingUntil(1, None, SOON)
CANCELLED = Cancellation(Outcome.CANCELLED, CANCELLED_CODE, None)
TIMED_OUT = Cancellation(Outcome.TIMED_OUT, TIMED_OUT_CODE, "too long")
BY_ITSELF = CommandEnd(Outcome.FAILED, 3)
BY_SIGNAL = CommandEnd(Outcome.CANCELLED, CANCELLED_CODE, by_itself=False)
SURVIVOR = (42,)


class Kind(NamedTuple):
    """A kind of petitions that events treat alike."""

    command: bool
    retry: Retry | None
    on_interrupt: OnInterrupt


RETRY = Retry(times=9, delay=50, jitter=0)
POLICIES = [(RETRY, OnInterrupt.FAIL), (None, OnInterrupt.RERUN), (None, OnInterrupt.ASK)]
KINDS = [Kind(command, *policies) for command in (False, True) for policies in POLICIES]


class Move(NamedTuple):
    """What one event made of a petition."""

    before: Situation
    event: Event
    after: Situation


MAY_HAVE_PROCESSES = frozenset(
    (
        *(Situation.STARTING, Situation.EXECUTING, Situation.RETRY_UNRETURNED, Situation.RETRY_SWEEPING),
        *(Situation.CANCELLING_ON_START, Situation.CANCELLING, Situation.CANCELLING_UNRETURNED),
        *(Situation.CANCELLING_SWEEPING, Situation.ENDED_UNRETURNED, Situation.ENDED_SWEEPING),
    )
)
"""Situations of an action in which a process of the attempt may outlive the service."""


class Walker:
    """One petition and those around it: its hooks, its action or shim, its store, and people."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.store = MemoryStore()
        self.store.begin(nonce=1, boot_id="boot", uid=0, now=NOW.wall)
        self.petitions = Petitions()
        self.record = Record(SEQ, TOKEN, "a", "tests:Manager", "me", TOKEN, b"extras", NOW.wall)
        self.owed = 0
        """Calls of on_finish that have not come back."""
        self.called = False
        """Whether the action, or the shim, has said something: then on_start said yes."""
        transitions.submit.receive(self.petitions, self.record)
        self._convert()

    def _convert(self) -> None:
        self.record.command = self.kind.command
        self.record.retry, self.record.on_interrupt = self.kind.retry, self.kind.on_interrupt
        self.record.preemptible = REQUEUE if self.kind.command else None

    @property
    def situation(self) -> Situation:
        return situation(self.petitions, self.record)

    def look(self) -> tuple[object, ...]:
        """Give all that decides what can happen from here on."""
        record, petitions = self.record, self.petitions
        cancellation = record.cancellation
        decided = cancellation and (cancellation.outcome, cancellation.requeue, cancellation.due)
        known = record.state, record.phase, record.outcome, record.returned, record.processes_gone, decided
        rest = record.due, record.rests_until, record.survivors, record.hook_owed, record.run is None, record.may_start
        places = petitions.is_live(record), petitions.granted.has(SEQ), SEQ in petitions.leaving
        owing = SEQ in petitions.owing and petitions.owing[SEQ] is None, SEQ in petitions.owing
        ahead = petitions.ahead.get(SEQ)
        preempted = SEQ in petitions.preempted
        queued = petitions.waiting.is_ready(record.place), petitions.waiting.is_parked(record.place)
        rows = [
            (row.state, row.attempt > 0, row.started is None, row.outcome, row.hook_pending, row.slot_held)
            for row in self.store.rows([SEQ])
        ]
        kept = [(each.due, each.attempt == record.attempt) for each in self.store.attempts([SEQ]).values()]
        kept_of_it = tuple(rows), tuple(kept)
        return (
            known,
            rest,
            places,
            owing,
            ahead,
            preempted,
            queued,
            kept_of_it,
            self.owed,
            self.called,
            record.attempt > 0,
        )

    # --- what can happen ----------------------------------------------------------------------------------------

    def choices(self) -> Iterator[tuple[Event, Callable[[], object]]]:
        """Give each event that can come now, in each of its variants."""
        live = self.petitions.is_live(self.record)
        if self.owed:
            yield Event.ON_FINISH_BACK, self._on_finish_back
        if self.situation is not Situation.REFUSED:
            yield Event.CRASH, partial(self._crash)
            yield Event.CRASH, partial(self._crash, executed=False)
            yield Event.CRASH, partial(self._crash, lives=True)
            if not self.kind.command and self.situation in MAY_HAVE_PROCESSES:
                yield Event.CRASH, self._crash_with_left
        if not live:
            return
        yield from self._from_people()
        if self.record.phase is Phase.CONVERTING:
            yield from self._from_conversion()
            return
        if self.kind.command and not self.record.attempt:
            yield Event.KEPT_AHEAD, self._keep_ahead
        yield Event.PUT_BACK, lambda: transitions.ahead.put_back(self.petitions, self.record, NOW)
        yield Event.YES, self._yes
        yield Event.BREAKS, self._on_break
        yield Event.TIME_CAME, lambda: transitions.retry.time_came(self.petitions, SEQ, LATER)
        if self.record.survivors and self.record.run is None:
            yield Event.SURVIVORS_GONE, self._survivors_gone
            survive = partial(transitions.command.outlived, self.petitions, SEQ, self.record.attempt)
            yield Event.PROCESSES_SURVIVE, partial(survive, SURVIVOR, "died", NOW)
        if self.record.run is not None and self.petitions.owing.get(SEQ, self.record) is not None:
            yield from self._from_on_start()
            yield from self._from_shim() if self.kind.command else self._from_action()

    def _from_people(self) -> Iterator[tuple[Event, Callable[[], object]]]:
        record, petitions = self.record, self.petitions
        yield Event.CANCEL, lambda: transitions.cancel.cancel(petitions, record, CANCELLED, NOW, object())
        waits = record.phase is Phase.WAITING and record.state is State.QUEUED
        runs = record.state is State.STARTING and not record.command
        if waits or runs or transitions.retry.is_decided(record):
            yield Event.LIMIT, lambda: transitions.cancel.cancel(petitions, record, TIMED_OUT, NOW)
        if record.state in (State.STARTING, State.RUNNING):
            yield Event.SHUTDOWN, lambda: transitions.cancel.interrupt(petitions, record, "stopped", NOW)
        if record.state is State.RUNNING and record.phase is Phase.ACTION and not record.survivors:
            yield Event.PREEMPTED, lambda: transitions.preempt.give_way(petitions, record, "urgent", NOW)
        yield Event.RELEASED, lambda: transitions.hold.release(petitions, record, NOW)
        yield (
            Event.REPRIORITIZED,
            lambda: transitions.hold.reprioritize(petitions, Admission(petitions).resources, record, 0),
        )
        yield Event.PARKED, lambda: transitions.hold.park(petitions, record, "lot")
        if petitions.waiting.is_parked(record.place):
            yield Event.UNPARKED, lambda: transitions.hold.unpark(petitions, "lot", 1)

    def _from_conversion(self) -> Iterator[tuple[Event, Callable[[], object]]]:
        yield Event.ACCEPTED, partial(self._accept, start=False)
        yield Event.ACCEPTED, partial(self._accept, start=True)
        yield Event.ACCEPTED, partial(self._accept, start=False, delay=50.0)
        yield Event.REFUSED, lambda: transitions.submit.refuse(self.petitions, self.record, 1, "no")
        yield Event.REFUSED, partial(self._not_kept, start=False)
        yield Event.REFUSED, partial(self._not_kept, start=True)
        yield Event.REFUSED, partial(self._not_kept, start=False, delay=50.0)

    def _from_on_start(self) -> Iterator[tuple[Event, Callable[[], object]]]:
        of = self.petitions, SEQ, self.record.attempt
        yield Event.ACTION_GOING, partial(self._said, transitions.finish.action_going, *of)
        if not self.called:
            failed = partial(transitions.finish.start_failed, *of, "no", NOW)
            yield Event.START_FAILED, failed
            yield Event.START_FAILED, partial(failed, called=False)
            yield Event.START_FAILED, partial(failed, hung=True)

    def _from_action(self) -> Iterator[tuple[Event, Callable[[], object]]]:
        of = self.petitions, SEQ, self.record.attempt
        if not self.record.returned:
            for value in (0, 1):
                yield Event.FINISH, partial(self._said, transitions.finish.finish, *of, value, NOW)
            for error, left in product([None, "no"], [False, True]):
                returned = partial(transitions.finish.returned, *of, error, NOW, processes=left)
                yield Event.RETURNED, partial(self._said, returned)
            named = partial(transitions.finish.processes_left, self.petitions, self.record)
            yield Event.PROCESS_NAMED, partial(self._said, named)
        yield Event.PROCESSES_GONE, lambda: transitions.finish.processes_gone(*of, [], NOW)
        yield Event.PROCESSES_SURVIVE, lambda: transitions.finish.processes_gone(*of, [42], NOW)
        yield Event.ABANDONED, lambda: transitions.finish.abandon(*of, NOW)

    def _from_shim(self) -> Iterator[tuple[Event, Callable[[], object]]]:
        of = self.petitions, SEQ, self.record.attempt
        yield Event.COMMAND_RUNS, partial(self._said, transitions.command.running, *of, NOW)
        ends = [BY_ITSELF, BY_ITSELF._replace(survivors=SURVIVOR)]
        if self.kind.retry is not None:
            ends.append(BY_ITSELF._replace(due=SOON))
        if self.record.state is State.CANCELLING:
            ends += [BY_SIGNAL, BY_SIGNAL._replace(survivors=SURVIVOR)]
        for end in ends:
            yield Event.COMMAND_ENDED, partial(self._said, self._on_end, end)
        for executed, losses in ((True, 0), (False, 1), (False, 3)):
            lost = partial(transitions.command.lost, *of, NOW, executed=executed, losses=losses)
            yield Event.COMMAND_LOST, partial(self._said, lost)
        yield Event.COMMAND_LOST, partial(self._said, transitions.command.outlived, *of, SURVIVOR, "lost", NOW)
        if self.record.survivors:
            yield Event.SURVIVORS_GONE, self._survivors_gone

    # --- what the service does then -----------------------------------------------------------------------------

    def _said(self, report: Callable[..., object], *args: object) -> None:
        self.called = True
        report(*args)

    def _on_end(self, end: CommandEnd) -> None:
        is_news = transitions.command.unfinished(self.petitions, SEQ, self.record.attempt) is not None
        again = transitions.command.ended(self.petitions, SEQ, self.record.attempt, end, NOW)
        if is_news:
            self.petitions.keep_attempt(AttemptStep(SEQ, self.record.attempt, due=end.due if again else None))

    def _yes(self) -> None:
        if self.petitions.waits(self.record):
            self.petitions.granted.take(self.record)  # as the hook thread does
        transitions.start.start(self.petitions, self.record, NOW)

    def _keep_ahead(self) -> None:
        transitions.ahead.keep_ahead(self.petitions, self.record, NOW)

    def _on_break(self) -> None:
        transitions.finish.break_waiting(self.petitions, self.record, "no", NOW)

    def _accept(self, *, start: bool, delay: float | None = None) -> None:
        self.record.delay = delay
        transitions.submit.accept(self.petitions, self.record, NOW, start=start, new_channel=True)

    def _not_kept(self, *, start: bool, delay: float | None = None) -> None:
        self._accept(start=start, delay=delay)
        changes, effects, _ = self.petitions.take()
        transitions.submit.take_back(self.petitions, changes, effects, {TOKEN}, 1, "full")
        assert not changes, "a petition that is taken back leaves something to be kept"

    def _survivors_gone(self) -> None:
        if not transitions.command.gone(self.petitions, SEQ, self.record.attempt):
            transitions.command.lost(self.petitions, SEQ, self.record.attempt, NOW, executed=True)

    def _on_finish_back(self) -> None:
        self.owed -= 1
        transitions.finish.hook_done(self.petitions, SEQ, NOW)

    def keep(self) -> None:
        """Keep what gathered, and do what is due then."""
        for _ in self.petitions.take_prompt():
            self._begin()
        changes, effects, _ = self.petitions.take()
        if changes:
            self.store.commit(changes)
            transitions.ahead.kept(self.petitions)
        for effect in effects:
            if effect.do is Do.ON_START:
                self._begin()
            self.owed += effect.do is Do.ON_FINISH

    def _begin(self) -> None:
        tries = None if self.kind.retry is None or self.kind.command else Tries(self.kind.retry)
        transitions.start.started(self.record, tries, (SEQ, self.record.attempt))
        self.called = False

    # --- the next start of the service --------------------------------------------------------------------------

    def _crash(self, *, executed: bool = True, lives: bool = False) -> None:
        rows = self.store.rows([SEQ])
        if not rows:
            self._forget()
            return
        (row,) = rows
        self.petitions = Petitions(next_seq=SEQ + 1)
        self.record, self.owed, self.called = record_of(row), 0, False
        kept = {int(seq): Preempted.of(text) for seq, text in self.store.decided(PREEMPTED).items()}
        transitions.preempt.load(self.petitions, kept)
        transitions.preempt.found(self.petitions, self.record, lives=lives)
        runs = self.kind.command and row.state in LIVE
        if runs and lives:
            transitions.command.adopt(self.petitions, self.record)
            self._convert()
            self.record.run, self.called = (SEQ, row.attempt), True
        elif self.kind.command and row.state is State.ENDED and row.slot_held and lives:
            transitions.command.adopt_outlived(self.petitions, self.record, SURVIVOR, hook_owed=row.hook_pending)
            self.record.run = SEQ, row.attempt
        else:
            self._recover(losses=int(runs and not executed))

    def _crash_with_left(self) -> None:
        (row,) = self.store.rows([SEQ])
        self.petitions = Petitions(next_seq=SEQ + 1)
        self.record, self.owed, self.called = record_of(row), 0, False
        transitions.command.adopt_left(self.petitions, self.record, SURVIVOR, "died", NOW, hook_owed=row.hook_pending)
        self._convert()

    def _forget(self) -> None:
        self.petitions = Petitions()
        self.record.outcome = Outcome.REJECTED

    def _recover(self, *, losses: int) -> None:
        (row,) = self.store.rows([SEQ])
        kept = self.store.attempts([SEQ]).get(SEQ)
        due = None if kept is None or kept.is_command or kept.attempt != row.attempt else kept.due
        self.owed += transitions.recover.recovered(
            self.petitions,
            self.record,
            NOW,
            hook_pending=row.hook_pending,
            slot_held=row.slot_held,
            losses=losses,
            due=due,
        )
        if losses:
            self.petitions.keep_attempt(AttemptStep(SEQ, row.attempt, losses=losses))
        if self.record.state is State.QUEUED:
            if kept is not None and kept.due is not None and kept.attempt == row.attempt:
                transitions.recover.rest(self.petitions, self.record, UNTIL_SOON, NOW)
            else:
                self.petitions.load_waiting([self.record.place])
                self.keep()
                self.record = record_of(self.store.rows([SEQ])[0])
                self.petitions.load(self.record)
        self._convert()


def walk() -> set[Move]:
    """Give every move that any event makes of any petition that any events brought to where it is."""
    return {move for kind in KINDS for move in _walk(kind)}


def _walk(kind: Kind) -> Iterator[Move]:
    seen: set[tuple[object, ...]] = set()
    paths: deque[tuple[int, ...]] = deque([()])
    while paths:
        path = paths.popleft()
        walker = _go(kind, path)
        begin, before = walker.look(), walker.situation
        choices = list(walker.choices())
        for number, (event, _) in enumerate(choices):
            choices[number][1]()
            walker.keep()
            yield Move(before, event, walker.situation)
            look = walker.look()
            if look == begin and event is not Event.CRASH:
                continue
            if look not in seen:
                seen.add(look)
                paths.append((*path, number))
            if number + 1 < len(choices):
                walker = _go(kind, path)
                choices[number + 1 :] = list(walker.choices())[number + 1 :]


def _go(kind: Kind, path: tuple[int, ...]) -> Walker:
    walker = Walker(kind)
    for number in path:
        _, happen = next(islice(walker.choices(), number, None))
        happen()
        walker.keep()
    return walker
