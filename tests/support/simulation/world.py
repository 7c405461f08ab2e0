"""What outlives a service: the disk, the shims and their commands, the clocks, and what really happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from random import Random
from typing import Any
from unittest.mock import patch

from orcha._core.changes import AttemptStep, Changes
from orcha._core.petitions import PREEMPTED
from orcha._core.preempted import PAUSE, REQUEUE, Preempted
from orcha._core.retry import decided_at
from orcha._core.state import Outcome, State
from orcha._protocol.messages import Submitted, Verdict
from orcha._service.arrays import array_book
from orcha._service.execution import leases
from orcha._service.hooks import schedules
from orcha._service.lifecycle import installed_build
from orcha._store.contract import Row
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.interfaces.needs import WHOLE
from support.simulation.allowances import Allowances, Running
from support.simulation.group_book import GroupBook
from support.simulation.plans import GROUPS, RESOURCES, Plan
from support.simulation.series import Series
from support.simulation.service import VERDICTS, Service
from support.simulation.shims import Attempt, SimulatedShims
from support.simulation.stock import Stock, held_by
from support.simulation.store import SimulatedStore
from support.simulation.virtual_time import VirtualTime

RUNS = (State.STARTING, State.RUNNING, State.CANCELLING)
_KEPT_OF_AN_END = ("state", "outcome", "code", "reason", "ended", "attempt")


class World:
    """The machine, its users, and what was seen of the service by now."""

    def __init__(self, random: Random) -> None:
        """Have nothing happen yet."""
        self.random = random
        self.time = VirtualTime()
        self.lines: list[tuple[float, str, tuple[Any, ...]]] = []
        """The story so far."""
        self.store = SimulatedStore(self._kept)
        self.shims = SimulatedShims()
        self.service: Service | None = None
        self.interleave: Callable[[Service], None] = lambda _: None
        self.groups = GroupBook(GROUPS, self.time)
        self.stock = Stock(RESOURCES)
        self.allowances = Allowances()
        self.has_leases = False
        """Whether leases are served."""
        self.extended: dict[int, float] = {}
        """By how many seconds people had leases last longer, by sequence."""
        self._extended: dict[int, float] = {}
        """The same as it is kept."""
        self._given: dict[bytes, dict[str, float | None]] = {}
        """How long an attempt may run by what each group gave when the petition came, by token."""
        self.limits: dict[bytes, float | None] = {}
        """How long attempts may run of each petition, by token, as it was when the petition was accepted."""
        self.look_ahead: int | None = None
        self.flags: set[str] = set()
        self.load = 0.0
        self.plans: dict[bytes, Plan] = {}
        self.asked: dict[int, Plan] = {}
        """Plans of petitions that were asked, by sequence: these may not be kept in the end."""
        self.converted: set[bytes] = set()
        self.sent: dict[int, list[bytes]] = {}
        """Tokens of each submit, by request."""
        # What really happened, over all starts of the service.
        self.acked: dict[bytes, None] = {}
        """Tokens of petitions that clients were told are accepted."""
        self.forgotten: set[bytes] = set()
        self.on_starts: Counter[Attempt] = Counter()
        self.begun: Counter[Attempt] = Counter()
        """Actions that were called."""
        self.survived: set[int] = set()
        """Petitions that left something which could not be killed."""
        self.series = Series(self.store, self.time, self.survived)
        self.unread: set[int] = set()
        """Petitions that could not be made again while their command went on: nothing but the command is known."""
        self.cancelled: set[int] = set()
        """Petitions that were being cancelled."""
        self.requeued: Counter[int] = Counter()
        """How often petitions gave their place, and were to run anew."""
        self.rests: dict[Attempt, float] = {}
        """When petitions that rest may start again, on the clock that nobody sets."""
        self._decided: dict[Attempt, float] = {}
        """When each of them was to start again as it was decided first, on the clock on the wall."""
        self.dues: dict[int, float] = {}
        """The same for first attempts, on the clock on the wall."""
        self.start_decided: dict[int, float] = {}
        """When the last start of each petition in a group was decided, on the clock on the wall; it is kept later."""

    @contextmanager
    def is_one_build(self) -> Iterator[None]:
        """Have the service make the same tokens whenever the story is played, and be of one build."""
        numbers = count(1)

        def make() -> bytes:
            return int(self.time.wall * 1_000).to_bytes(6, "big") + b"s%09d" % next(numbers)

        with ExitStack() as stack:
            for module in (array_book, schedules):
                stack.enter_context(patch.object(module, "new_identity", make))
            stack.enter_context(patch.object(installed_build, "own_version", lambda: "1.0"))  # each start would search
            yield

    def note(self, text: str, *args: Any) -> None:
        """Tell what happens."""
        self.lines.append((self.time.steady, text, args))

    def has_given_its_place(self, seq: int) -> bool:
        """Tell whether a command stands still for a more urgent one."""
        kept = self.store.decided(PREEMPTED).get(str(seq))
        row = self.store.rows_by_seq.get(seq)
        if kept is None or row is None or Preempted.of(kept).how != PAUSE:
            return False
        command = self.shims.commands.get((seq, row.attempt))
        return command is not None and command.stands_still

    def plan_of(self, seq: int) -> Plan:
        """Give the plan of a petition that is kept, or was asked once."""
        row = self.store.rows_by_seq.get(seq)
        return self.asked[seq] if row is None or row.token not in self.plans else self.plans[row.token]

    def length_of(self, seq: int, plan: Plan) -> float | None:
        """Give how long a petition runs at most, as far as anybody said that."""
        row = self.store.rows_by_seq.get(seq)
        limit = plan.timeout if row is None else self.limits.get(row.token, plan.timeout)
        length = limit if plan.expect is None else plan.expect
        return None if length is None else length + self.extended.get(seq, 0.0)

    def note_arrival(self, token: bytes) -> None:
        """Note what groups give to a petition that has just come."""
        self._given[token] = self.groups.timeouts()

    def note_limit(self, token: bytes, plan: Plan) -> None:
        """Note how long an attempt may run of a petition that has just been converted, by what its group gave to it."""
        given = self._given.get(token, {})
        self.limits[token] = given.get(plan.group or "") if plan.timeout is None else plan.timeout

    def waits_since(self, row: Row, plan: Plan) -> float:
        """Give the time on the wall from which on a petition waits for its turn."""
        return row.submitted + (plan.delay or 0.0) if plan.at is None else max(plan.at, row.submitted)

    def note_not_granted(self, seq: int) -> None:
        """Note that a petition did not get its slot, which it was about to get when people decided something."""
        for book in (self.stock, self.groups, self.allowances):
            book.decided_before.discard(seq)

    # --- what the service does ----------------------------------------------------------------------------------

    def starts_again(self) -> None:
        """Note that a service starts: what rests goes by the clock on the wall, where that is earlier."""
        self.service = None
        self.stock.starts()
        self.groups.starts()
        self.allowances.starts()
        # A lease that could not be kept may have been extended all the same; another one may have its number now.
        self._extended = {seq: by for seq, by in self._extended.items() if seq in self.store.rows_by_seq}
        self.extended = dict(self._extended)
        self.sent.clear()
        for row in self.store.resting():
            key = row.seq, row.attempt
            if not row.attempt:
                self.rests.pop(key, None)
                self.dues[row.seq] = row.due or 0.0
            elif key in self.rests:
                self.rests[key] = min(self.rests[key], self.time.steady + (row.due or 0.0) - self.time.wall)

    def on_start(self, key: Attempt) -> None:
        """Note that on_start is called."""
        self.on_starts[key] += 1
        assert self.on_starts[key] == 1, f"on_start is called twice for attempt {key}"
        row = self.store.rows_by_seq[key[0]]
        assert row.attempt == key[1], f"on_start of attempt {key} is called, and {row} is kept"
        assert row.state in RUNS, f"on_start of attempt {key} is called, and {row} is kept"

    def begins(self, key: Attempt) -> None:
        """Note that an action is called."""
        self.begun[key] += 1
        assert self.begun[key] == 1, f"the action of attempt {key} is called twice"

    def answered(self, said: Submitted) -> None:
        """Take what a client hears of its submit."""
        tokens = self.sent[said.request]
        for result in said.results:
            self.note("answer to {}: {} {}", said.request, VERDICTS[result.verdict], result.reason or "")
            token, is_attached = tokens[result.position], result.reason is not None
            if result.verdict in {Verdict.ACCEPTED, Verdict.KNOWN} and not is_attached:
                self.acked[token] = None
                assert self.is_kept(token), f"petition {token!r} is acknowledged and not kept"

    def is_kept(self, token: bytes) -> bool:
        """Tell whether a petition is kept, or was and is forgotten since."""
        return token in self.forgotten or bool(self.store.tokens([token]))

    # --- what is kept -------------------------------------------------------------------------------------------

    def _kept(self, changes: Changes, before: dict[int, Row | None]) -> None:
        rows = self.store.rows_by_seq
        if changes.slots is not None:
            self.groups.is_kept()
        if changes.decided:
            self.stock.is_kept()
            self.groups.is_kept()
            self._extended = dict(self.extended)
            given = {int(seq): text for (kind, seq), text in changes.decided.items() if kind == PREEMPTED and text}
            self.requeued.update(seq for seq, text in given.items() if Preempted.of(text).how == REQUEUE)
        if changes.arrays or changes.elements or changes.schedules or changes.firings or changes.array_stops:
            self.series.kept(changes)
        for seq, earlier in before.items():
            now = rows.get(seq)
            if now is None:
                assert earlier is not None
                assert earlier.state is State.ENDED, f"{earlier} is forgotten, and has not ended"
                self.forgotten.add(earlier.token)
                continue
            self.note("kept: {}", _Shown(earlier, now))
            self._hold_of(earlier, now)
            starts = now.state is State.STARTING and not _is_same_attempt(earlier, now)
            attempt = 0 if earlier is None else earlier.attempt
            if self.service is not None and now.state is State.CANCELLING and now.attempt > attempt:
                self._note_start(self.service, now, is_new=True)  # cancelled before its start was kept
            if self.service is not None and starts and not self.is_ahead(seq):
                self._note_start(self.service, now, is_new=earlier is None)
                self._hold_of_start(self.service, now, was_ahead=earlier is not None and earlier.attempt == now.attempt)
        self._note_times(changes)
        self.series.note_failures()

    def _note_times(self, changes: Changes) -> None:
        for step in changes.attempts.values():
            key = step.seq, step.attempt
            if step.due is None:
                self.rests.pop(key, None)
                self._decided.pop(key, None)
                continue
            plan = self.plan_of(step.seq)
            if step.attempt:
                self._note_rest(key, step)
            elif plan.delay is not None:
                self.rests[step.seq, 0] = self.time.steady + plan.delay
            else:
                self.dues[step.seq] = step.due

    def _note_rest(self, key: Attempt, step: AttemptStep) -> None:
        """Note until when a petition rests: as it was when that was decided, whatever people made of the clock since.

        An attempt that takes too long is kept twice with the time of the next one: when its end is decided, and when
        nothing of it lives any more.
        """
        if key in self.rests and self._decided.get(key) == step.due:
            return
        assert step.due is not None
        decided = decided_at(step.history)
        self._decided[key] = step.due
        if decided is None:
            self.rests[key] = self.time.steady + step.due - self.time.wall
        else:
            self.rests[key] = self.time.steady_when(decided) + step.due - decided

    def _note_start(self, service: Service, row: Row, *, is_new: bool) -> None:
        """Note a start in a group; the row of a petition that starts as it is accepted says when it was asked for."""
        plan = self.plan_of(row.seq)
        if plan.group is not None and (is_new or row.started is not None):
            decided = self.start_decided.get(row.seq, service.engine.petitions.now.wall)
            self.groups.note_start(plan.group, row.seq, decided if is_new or row.started is None else row.started)

    def is_ahead(self, seq: int) -> bool:
        """Tell whether a petition waits, and its start is kept already."""
        return self.service is not None and seq in self.service.engine.petitions.ahead

    def _hold_of(self, earlier: Row | None, now: Row) -> None:
        if earlier is not None:
            is_put_back = earlier.state is State.STARTING and (earlier.attempt, now.attempt) == (1, 0)
            assert now.attempt >= earlier.attempt or is_put_back, f"{earlier} became {now}"
            assert not (is_put_back and self.shims.executed[now.seq, 1]), f"{now} is put back, and was executed"
            if earlier.state is State.ENDED:
                was, is_now = ([getattr(row, name) for name in _KEPT_OF_AN_END] for row in (earlier, now))
                assert was == is_now, f"{earlier} ended, and became {now}"
        if now.outcome is Outcome.INTERRUPTED and now.state is State.ENDED:
            assert not (now.reason or "").startswith("preempted"), f"{now} was to run anew"
        if now.state is State.ENDED and now.reason == leases.OVER:
            length, until = self.length_of(now.seq, self.plan_of(now.seq)), self.time.highest
            assert length is not None, f"{now} has no end, and ended"
            assert until >= (now.started or 0.0) + length, f"{now} ended before its time"
        if now.state is State.CANCELLING:
            self.cancelled.add(now.seq)
        if now.state is State.QUEUED:
            following = now.seq, now.attempt + 1
            assert not self.on_starts[following], f"{now} waits, and attempt {following[1]} was started"
            assert not self.shims.executed[following], f"{now} waits, and attempt {following[1]} was executed"
        action = None if self.service is None else self.service.actions.get((now.seq, now.attempt))
        if now.state is State.ENDED and action is not None and action.alive:
            assert now.slot_held, f"the action of {now} goes on, and that is not kept"

    def _hold_of_start(self, service: Service, row: Row, *, was_ahead: bool) -> None:
        """Hold what is to be so where an attempt is kept as started; it may live where its start `was_ahead`."""
        plan = self.plan_of(row.seq)
        record = service.engine.petitions.records.get(row.seq)
        if record is not None and row.token in self.limits:
            limit = self.limits[row.token]
            assert record.timeout == limit, f"{row} starts, may run for {record.timeout} s, and was given {limit} s"
        for (seq, attempt), action in service.actions.items():
            assert seq != row.seq or not (action.alive or action.processes), f"{row} starts while {attempt} lives"
        for (seq, attempt), command in self.shims.commands.items():
            is_it = was_ahead and attempt == row.attempt
            assert seq != row.seq or is_it or not command.lives, f"{row} starts while {attempt} lives"
        for kept in self.store.dependencies([row.seq]):
            assert kept.has_ended, f"{row.id} starts before {kept.id} has ended"
            must_succeed = kept.must_succeed and plan.if_dependency_fails == "cancel"
            assert not must_succeed or kept.outcome is Outcome.SUCCEEDED, f"{row.id} starts, and {kept.id} failed"
        self.series.hold_of_start(row, self.is_ahead)
        self._hold_of_attempts(row, plan, was_ahead=was_ahead)
        self._hold_of_capacities(service, row, plan)

    def _hold_of_attempts(self, row: Row, plan: Plan, *, was_ahead: bool) -> None:
        kept = self.store.attempts([row.seq]).get(row.seq)
        tried = kept.retries if kept is not None else 0
        most = plan.retry.times if plan.retry is not None else 0
        assert tried <= most, f"{row.id} was tried again {tried} times, and may be {most} times"
        if plan.on_interrupt == "fail":
            ran = sum(seq == row.seq for seq, _ in {*self.begun, *self.shims.executed})
            most = tried + self.requeued[row.seq] + was_ahead
            assert ran <= most, f"{row.id} runs again, though its policy says that it fails"

    def _hold_of_capacities(self, service: Service, row: Row, plan: Plan) -> None:
        """Hold that nothing starts beyond what there is."""
        rows = self.store.rows_by_seq
        running = {seq for seq, each in rows.items() if each.state in RUNS or each.slot_held}
        given_back = service.engine.petitions.leaving  # nothing of them lives: on_finish alone is to come
        running = {seq for seq in running if not self.is_ahead(seq) and seq not in given_back}
        running |= {seq for (seq, _), action in service.actions.items() if action.alive or action.processes}
        running |= {seq for (seq, _), command in self.shims.commands.items() if command.lives}
        plans = [(rows[seq].manager, self._holds(seq)) for seq in running if seq in rows]
        if plan.group is not None and row.seq not in self.groups.decided_before:
            others = [self._holds(seq) for seq in running - {row.seq} if seq in rows]
            full = self.groups.is_full(plan, others) or self.groups.has_too_many_starts(plan.group)
            assert full is None, f"{row} starts, and {full}"
        self._hold_of_shares(row, plan, running & rows.keys())
        if plan.needs and row.seq not in self.stock.decided_before:
            self._hold_of_needs(row, plan, [seq for seq in running if seq in rows])
        whose = row.manager, plan.owner, plan.once
        same = sum((manager, each.owner, each.once) == whose for manager, each in plans)
        assert plan.once is None or same == 1, f"{same} with the key {plan.once} run"

    def _hold_of_shares(self, row: Row, plan: Plan, running: set[int]) -> None:
        """Hold that nothing starts beyond a quota, or beside a petition that has the whole machine."""
        if self.has_leases:
            others = [self.store.rows_by_seq[seq].id for seq in running - {row.seq}]
            whole = [seq for seq in running if WHOLE in self.plan_of(seq).needs]
            assert not (whole and others), f"{row} starts beside {others}, and one of them has the whole machine"
        if self.allowances.tables and row.seq not in self.allowances.decided_before:
            lacks = self.allowances.lacks(self._runs(row.seq), [self._runs(seq) for seq in running - {row.seq}])
            assert lacks is None, f"{row} starts, and {lacks}"

    def _runs(self, seq: int) -> Running:
        return Running(self.plan_of(seq), self.store.rows_by_seq[seq].manager == COMMAND_MANAGER)

    def _holds(self, seq: int) -> Plan:
        """Give what a petition that runs holds."""
        plan = self.plan_of(seq)
        return plan.standing_still() if self.has_given_its_place(seq) else plan

    def _hold_of_needs(self, row: Row, plan: Plan, running: list[int]) -> None:
        """Hold that there is what a petition starts with."""
        devices, rows = self.store.devices(running), self.store.rows_by_seq
        mine = [(self._holds(seq).needs, devices.get(seq, {}).get(rows[seq].attempt)) for seq in running]
        amounts, shares = held_by(mine)
        for name in plan.needs.keys() - {WHOLE}:
            there = self.stock.there[name]
            if isinstance(there, int):
                assert (name, None) not in self.stock.drained, f"{row} starts, and {name} is drained"
                assert amounts[name] <= there, f"{amounts[name]} of {name} is held"
                continue
            got = devices.get(row.seq, {}).get(row.attempt, {}).get(name, ())
            assert got, f"{row} starts without {name}"
            for device in got:
                assert not self.stock.is_closed(name, device), f"{row} starts on {name} {device}, which is drained"
                assert shares[name, device] <= 1, f"{row} starts on {name} {device}, which another petition has"


def _is_same_attempt(earlier: Row | None, now: Row) -> bool:
    return earlier is not None and (earlier.attempt, earlier.started) == (now.attempt, now.started)


class _Shown:
    """What became of a row, spelled where the story is printed."""

    def __init__(self, earlier: Row | None, now: Row) -> None:
        self._earlier, self._now = earlier, now

    def __str__(self) -> str:
        earlier, now = self._earlier, self._now
        was = "new" if earlier is None else earlier.state.name
        end = f" {now.outcome.name} {now.code} {now.reason or ''}" if now.outcome is not None else ""
        flags = f"{' slot held' if now.slot_held else ''}{' on_finish owed' if now.hook_pending else ''}"
        return f"{now.id} (#{now.seq}) {was} -> {now.state.name}, attempt {now.attempt}{end}{flags}"
