"""The store that keeps nothing beyond the process: for tests, and for `ORCHA_STORE=memory`.

One file, since it is one class, as the store on the disk is.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from orcha._core.changes import (
    PART_BYTES,
    Append,
    ArrayStop,
    AttemptStep,
    AuditEntry,
    Changes,
    NewArray,
    NewDependency,
    NewPetition,
    Schedule,
    Transition,
)
from orcha._core.state import IfFails, Outcome, State
from orcha._store.contract import (
    MAX_ALTERATIONS,
    ArrayRow,
    AttemptRow,
    Element,
    EventFilter,
    Incarnation,
    KeptAlteration,
    KeptDependency,
    KeptFiring,
    Row,
    StoredChannel,
    Waiting,
)
from orcha.exceptions.store import ChannelKnown, FencedError, TokenKnown

_ACTIVE_STATES = frozenset({State.HELD, State.STARTING, State.RUNNING, State.CANCELLING})
_INTEGER_BOUND_NUMBER = 1 << 63
MAX_FIRINGS = 100
"""Firings of one schedule that are kept, beside the earlier ones whose petitions have not ended."""
_REPLACED = frozenset(AttemptStep._fields[:8])
"""Fields of a step that replace what is kept also where they are None."""


class _Channel:
    """A channel with its records."""

    __slots__ = ("own", "owner", "records")

    def __init__(self, owner: str, *, own: bool) -> None:
        self.owner = owner
        self.own = own
        self.records: dict[int, Append] = {}


def submit_of(row: Row) -> AuditEntry:
    """Give what is known of the submit of a petition by its row."""
    return AuditEntry(
        row.submitted, row.owner, "", "", "", "submit", (row.id,), 1, (row.owner,), "", "done", "", row.seq
    )


def _is_wanted(entry: AuditEntry, wanted: EventFilter) -> bool:
    return (
        wanted.since <= entry.at < wanted.before
        and wanted.who in {None, entry.who, entry.key}
        and wanted.verb in {None, entry.verb}
        and wanted.without != entry.verb
        and (wanted.id is None or wanted.id in entry.ids)
        and wanted.seen_by in {None, entry.who, *entry.owners}
    )


class MemoryStore:
    """What `contract.Store` says, in dictionaries."""

    durable = False
    has_reserve = True

    def __init__(self) -> None:
        """Start empty."""
        self._lock = threading.Lock()
        self._rows: dict[int, Row] = {}
        self._tokens: dict[bytes, int] = {}
        self._channels: dict[bytes, _Channel] = {}
        self._naming: dict[bytes, set[int]] = {}
        self._attempts: dict[int, AttemptRow] = {}
        self._tombstones: dict[bytes, float] = {}
        self._incarnations: dict[int, Incarnation] = {}
        self._groups: dict[int, str] = {}
        self._needs: dict[int, dict[str, int | str]] = {}
        self._devices: dict[int, dict[int, dict[str, tuple[str, ...]]]] = {}
        self._decided: dict[tuple[str, str], str] = {}
        self._once: dict[int, str] = {}
        self._expected: dict[int, float] = {}
        self._dependencies: dict[int, list[NewDependency]] = {}
        self._outcomes_of_forgotten: dict[int, Outcome | None] = {}
        self._arrays: dict[int, NewArray] = {}
        self._array_ends: dict[int, dict[int, bytes]] = {}
        self._array_stops: dict[int, ArrayStop] = {}
        self._elements: dict[int, Element] = {}
        self._alterations: dict[int, list[KeptAlteration]] = {}
        self._audit: list[AuditEntry] = []
        self._audited: set[int] = set()
        """The petitions whose submits are among these."""
        self._pauses: set[str] = set()
        self._slots: dict[str, int | None] = {}
        self._schedules: dict[str, Schedule] = {}
        self._firings: dict[str, dict[float, KeptFiring]] = {}
        self._epoch = 0
        self._next_seq = 1

    # --- starts of the service ----------------------------------------------------------------------------------

    def begin(
        self, *, nonce: int, boot_id: str, uid: int, now: float, pid: int = 0, tasks: int = 0
    ) -> tuple[Incarnation, Sequence[Incarnation]]:
        """Record a new start of the service; give it and all earlier ones still recorded."""
        earlier = list(self._incarnations.values())
        self._epoch += 1
        incarnation = Incarnation(self._epoch, nonce, boot_id, uid, now, pid, tasks)
        self._incarnations[self._epoch] = incarnation
        return incarnation, earlier

    def forget_incarnations(self, epochs: Iterable[int]) -> None:
        """Drop the records of earlier starts whose leftovers have been swept; the last start stays."""
        for epoch in epochs:
            if epoch != self._epoch:
                self._incarnations.pop(epoch, None)

    def next_seq(self) -> int:
        """Give the lowest sequence number never used so far, also by rows deleted since."""
        return self._next_seq

    # --- keeping ------------------------------------------------------------------------------------------------

    def commit(self, changes: Changes, *, durable: bool = True) -> list[bytes]:  # noqa: ARG002 - the contract's
        """Keep all of `changes` or none; give the ids of the channels that went with the deleted petitions.

        Raises:
            FencedError: a step is not allowed from where its petition is.
            TokenKnown: a new petition's token is another's.
            ValueError: the changes contradict each other or what is kept, or hold what no store can keep.
        """
        self._check_new(changes)
        self._check_steps(changes)
        self._check_records(changes)
        for firing in changes.firings:
            if firing.instant in self._firings.get(firing.schedule, {}):
                raise ValueError(f"there is a firing of {firing.schedule} at {firing.instant} already")
        if unknown := changes.altered.keys() - self._rows.keys() - {new.seq for new in changes.petitions}:
            raise ValueError(f"there is no petition {min(unknown)} to change")
        with self._lock:
            return self._apply(changes)

    def _check_new(self, changes: Changes) -> None:
        seqs: set[int] = set()
        tokens: set[bytes] = set()
        known: dict[bytes, None] = {}
        for petition in changes.petitions:
            if petition.token in self._tokens or petition.token in tokens:
                known[petition.token] = None
            if petition.seq in self._rows or petition.seq in seqs:
                raise ValueError(f"petition {petition.seq} is there already")
            _check_numbers(petition.seq, petition.attempt, petition.priority, petition.code or 0)
            seqs.add(petition.seq)
            tokens.add(petition.token)
        if known:
            raise TokenKnown(known)
        channels = Counter(channel.id for channel in changes.channels)
        there = [channel for channel, times in channels.items() if times > 1 or channel in self._channels]
        if there:
            raise ChannelKnown(there)
        for petition in changes.petitions:
            if petition.channel not in channels and petition.channel not in self._channels:
                raise ValueError(f"there is no channel {petition.channel.hex()}")

    def _check_steps(self, changes: Changes) -> None:
        new = {petition.seq: (petition.attempt, petition.state) for petition in changes.petitions}
        fenced: list[int] = []
        states: dict[int, State] = {}
        for seq, step in changes.transitions.items():
            row = self._rows.get(seq)
            attempt, state = new.get(seq) or ((row.attempt, row.state) if row else (None, State.QUEUED))
            if attempt != step.from_attempt or not step.from_states >> state & 1:
                fenced.append(seq)
            _check_numbers(step.attempt, step.code or 0)
            states[seq] = step.state
        fenced += [seq for seq in changes.flags if (states.get(seq) or self._state(seq, new)) != State.ENDED]
        fenced += [seq for seq, attempt in changes.attempts.items() if self._attempt(changes, seq) != attempt.attempt]
        if fenced:
            raise FencedError(sorted(set(fenced)))
        left = [seq for seq in changes.deleted if (states.get(seq) or self._state(seq, new) or 6) != State.ENDED]
        if left:
            raise FencedError(sorted(set(left)))

    def _attempt(self, changes: Changes, seq: int) -> int | None:
        """Give the attempt that a petition is in once the changes are made."""
        if seq in changes.transitions:
            return changes.transitions[seq].attempt
        row = self._rows.get(seq) or next((new for new in changes.petitions if new.seq == seq), None)
        return row.attempt if row is not None else None

    def _state(self, seq: int, new: dict[int, tuple[int, State]]) -> State | None:
        if seq in new:
            return new[seq][1]
        row = self._rows.get(seq)
        return row.state if row else None

    def _check_records(self, changes: Changes) -> None:
        places = {(append.channel, append.first) for append in changes.appends}
        if len(places) != len(changes.appends):
            raise ValueError("records have the same place")
        new = {channel.id for channel in changes.channels}
        for channel, first in places:
            known = self._channels.get(channel)
            if known is None and channel not in new:
                raise ValueError(f"there is no channel {channel.hex()}")
            if known and first in known.records:
                raise ValueError(f"channel {channel.hex()} has records at {first} already")

    def _apply(self, changes: Changes) -> list[bytes]:
        for channel in changes.channels:
            self._channels[channel.id] = _Channel(channel.owner, own=channel.own)
        for petition in changes.petitions:
            self._accept(petition)
        for step in changes.transitions.values():
            self._step(step)
        self._keep_declarations(changes)
        for attempt in changes.attempts.values():
            self._attempts[attempt.seq] = _replaced(attempt, self._attempts.get(attempt.seq))
        for append in changes.appends:
            self._channels[append.channel].records[append.first] = append
        for seq, (hook_pending, slot_held) in changes.flags.items():
            self._rows[seq] = self._rows[seq]._replace(hook_pending=hook_pending, slot_held=slot_held)
        for token, until in changes.tombstones:
            self._tombstones[token] = max(until, self._tombstones.get(token, until))
        return self._delete(changes.deleted)

    def _keep_declarations(self, changes: Changes) -> None:
        self._groups.update(changes.groups)
        self._expected.update(changes.expected)
        self._needs.update({seq: dict(needs) for seq, needs in changes.needs.items()})
        for (seq, attempt), devices in changes.devices.items():
            self._devices.setdefault(seq, {})[attempt] = dict(devices)
        self._once.update(changes.once)
        self._dependencies.update({seq: list(named) for seq, named in changes.dependencies.items()})
        self._arrays.update(changes.arrays)
        self._array_stops.update(changes.array_stops)
        self._elements.update({seq: Element(seq, *element) for seq, element in changes.elements.items()})
        for (seq, part), ends in changes.array_ends.items():
            self._array_ends.setdefault(seq, {})[part] = ends
        for seq in changes.held_for:
            held = [each._replace(if_fails=IfFails.HELD) for each in self._dependencies.get(seq, ())]
            self._dependencies[seq] = held
        for seq, priority in changes.priorities.items():
            row = self._rows.get(seq)
            if row is not None and row.state == State.QUEUED:
                self._rows[seq] = row._replace(priority=priority)
        self._alter(changes)
        for name, paused in changes.pauses.items():
            (self._pauses.add if paused else self._pauses.discard)(name)
        self._keep_schedules(changes)
        for decided, text in changes.decided.items():
            self._decided.pop(decided, None)
            if text is not None:
                self._decided[decided] = text
        if changes.slots is not None:
            self._slots = dict(changes.slots)

    def _alter(self, changes: Changes) -> None:
        for seq, new in changes.altered.items():
            self._rows[seq] = self._rows[seq]._replace(extras=new.extras, priority=new.priority)
            for known in (self._groups, self._needs, self._expected):
                known.pop(seq, None)
            if new.group is not None:
                self._groups[seq] = new.group
            if new.needs:
                self._needs[seq] = dict(new.needs)
            if new.expect is not None:
                self._expected[seq] = new.expect
            if new.dependencies is not None:
                self._dependencies[seq] = list(new.dependencies)
        self._audit += changes.audit
        self._audited.update(entry.petition for entry in changes.audit if entry.petition is not None)
        if changes.audit_left is not None:
            since, count = changes.audit_left
            submits = [entry for entry in self._audit if entry.at >= since and entry.petition is not None]
            deeds = [entry for entry in self._audit if entry.at >= since and entry.petition is None]
            self._audit = (submits[-count:] if count else []) + _newest_of_each(deeds, count)
        for seq, at, who, what in changes.alterations:
            kept = [*self._alterations.get(seq, ()), KeptAlteration(at, who, what)]
            self._alterations[seq] = kept[-MAX_ALTERATIONS:]

    def _keep_schedules(self, changes: Changes) -> None:
        for name, schedule in changes.schedules.items():
            if schedule is None:
                self._schedules.pop(name, None)
                self._firings.pop(name, None)
            else:
                self._schedules[name] = schedule
        for new in changes.firings:
            known = self._schedules.get(new.schedule)
            if known is None:
                continue
            firings = self._firings.setdefault(new.schedule, {})
            kept = (new.instant, new.decided, new.petition, new.id, new.note, None, None, None, None)
            firings[new.instant] = KeptFiring(*kept)
            for instant in sorted(firings)[:-MAX_FIRINGS]:
                if not self._is_live(firings[instant]):
                    del firings[instant]
            if new.fired_until is not None:
                self._schedules[new.schedule] = known._replace(fired_until=new.fired_until)

    def _accept(self, petition: NewPetition) -> None:
        seq = petition.seq
        self._rows[seq] = Row(
            **petition._asdict(),
            epoch=self._epoch,
            started=petition.submitted if petition.state == State.STARTING else None,
            ended=petition.submitted if petition.state == State.ENDED else None,
            hook_pending=False,
            slot_held=False,
        )
        self._tokens[petition.token] = seq
        self._next_seq = max(self._next_seq, seq + 1)
        self._naming.setdefault(petition.channel, set()).add(seq)

    def _step(self, step: Transition) -> None:
        row = self._rows[step.seq]
        self._rows[step.seq] = row._replace(
            state=step.state,
            attempt=step.attempt,
            epoch=self._epoch,
            started=_started(step, row),
            ended=step.at if step.state == State.ENDED else row.ended,
            outcome=step.outcome,
            code=step.code,
            reason=step.reason,
            hook_pending=step.hook_pending,
            slot_held=step.slot_held,
        )

    def _delete(self, seqs: Iterable[int]) -> list[bytes]:
        dropped = []
        for seq in seqs:
            row = self._rows.pop(seq, None)
            if row is None:
                continue
            if seq not in self._elements and seq not in self._audited:
                self._audit.append(submit_of(row))
            del self._tokens[row.token]
            self._groups.pop(seq, None)
            self._expected.pop(seq, None)
            self._needs.pop(seq, None)
            self._devices.pop(seq, None)
            self._once.pop(seq, None)
            self._dependencies.pop(seq, None)
            self._alterations.pop(seq, None)
            self._outcomes_of_forgotten[seq] = row.outcome
            for firings in self._firings.values():
                for instant, firing in firings.items():
                    if firing.petition == seq:
                        known = {"outcome": row.outcome, "code": row.code, "ended": row.ended}
                        firings[instant] = firing._replace(**known)  # type: ignore[arg-type]  # as they are called
            for kept in (self._arrays, self._array_ends, self._array_stops, self._elements):
                kept.pop(seq, None)
            self._pauses.discard(f"petition:{seq}")
            self._attempts.pop(seq, None)
            naming = self._naming[row.channel]
            naming.discard(seq)
            if not naming:
                del self._naming[row.channel]
                if self._channels.pop(row.channel, None) is not None:
                    dropped.append(row.channel)
        return dropped

    def space(self) -> bool:
        """Tell whether there is room for new petitions: there is."""
        return True

    # --- asking -------------------------------------------------------------------------------------------------

    def tokens(self, tokens: Sequence[bytes]) -> dict[bytes, Row]:
        """Give the rows of the known tokens among these."""
        return {token: self._rows[self._tokens[token]] for token in tokens if token in self._tokens}

    def tombstones(self, tokens: Sequence[bytes], now: float) -> set[bytes]:
        """Give the tokens among these that were cancelled before their submit came."""
        self._forget_tombstones(now)
        return self._tombstones.keys() & set(tokens)

    def rows(self, seqs: Sequence[int]) -> list[Row]:
        """Give these rows, in the order asked, without the missing rows."""
        return [self._rows[seq] for seq in seqs if seq in self._rows]

    def all_tombstones(self, now: float) -> dict[bytes, float]:
        """Give all tombstones still in force, with the time until which each is kept."""
        self._forget_tombstones(now)
        return dict(self._tombstones)

    def _forget_tombstones(self, now: float) -> None:
        if self._tombstones:
            self._tombstones = {token: until for token, until in self._tombstones.items() if until > now}

    def waiting(self, manager: str) -> Iterator[Waiting]:
        """Give this manager's QUEUED petitions as they are when the first is asked for, smallest first."""
        queued = [row for row in self._rows.values() if row.state == State.QUEUED and row.manager == manager]
        yield from sorted(Waiting(row.priority, row.seq, row.id, row.owner) for row in queued)

    def unfinished(self, manager: str) -> list[Row]:
        """Give the rows that this manager is busy with: see the contract."""
        mine = [row for row in self._rows.values() if row.manager == manager]
        return sorted(row for row in mine if row.state in _ACTIVE_STATES or row.hook_pending or row.slot_held)

    def attempts(self, seqs: Sequence[int]) -> dict[int, AttemptRow]:
        """Give what is kept of these petitions' attempts, by seq."""
        return {seq: self._attempts[seq] for seq in seqs if seq in self._attempts}

    def resting(self) -> list[AttemptRow]:
        """Give what is kept of petitions that wait for the time of their next attempt, the earliest first."""
        rows = [row for row in self._attempts.values() if row.due is not None]
        return sorted(rows, key=lambda row: (row.due or 0.0, row.seq))

    def channel(self, channel: bytes) -> StoredChannel | None:
        """Give a channel, None for an unknown one."""
        known = self._channels.get(channel)
        if known is None:
            return None
        following = 0
        if known.records:
            last = known.records[max(known.records)]
            following = last.first + last.count
        size = sum(len(append.data) for append in known.records.values())
        return StoredChannel(channel, known.owner, known.own, following, size)

    def events(self, wanted: EventFilter) -> list[tuple[AuditEntry, int]]:
        """Give what clients did and tried, the newest first, each with a number of its own; from any thread."""
        with self._lock:
            found = [(entry, number) for number, entry in enumerate(self._audit, 1)]
            found += [
                (submit_of(row), -row.seq)
                for row in self._rows.values()
                if row.seq not in self._audited and row.seq not in self._elements
            ]
        met = [each for each in found if _is_wanted(each[0], wanted)]
        return sorted(met, key=lambda each: each[0].at, reverse=True)[: wanted.limit]

    def channel_owners(self, channels: Sequence[bytes]) -> dict[bytes, str]:
        """Give the owners of the known channels among these."""
        return {channel: self._channels[channel].owner for channel in channels if channel in self._channels}

    def records(self, channel: bytes, index: int, limit: int) -> list[tuple[int, int, bytes]]:
        """Give (first, count, data) of the appends holding `index` and later ones, about `limit` bytes."""
        known = self._channels.get(channel)
        found: list[tuple[int, int, bytes]] = []
        size = 0
        for append in sorted(known.records.values(), key=lambda append: append.first) if known else ():
            if append.first + append.count > index and size < max(limit, 1):
                found.append(append[1:])
                size += len(append.data)
        return found

    def page(
        self,
        *,
        states: int,
        limit: int,
        before: int | None = None,
        id: str | None = None,  # noqa: A002 - the contract's name
        group: str | None = None,
        owner: str | None = None,
        array: int | None = None,
        apart: bool = False,  # noqa: ARG002 - nobody waits here
    ) -> list[Row]:
        """Give up to `limit` rows in the states of the bit mask, highest seq first, below `before`; from any thread."""
        with self._lock:
            rows = sorted(self._rows.values(), reverse=True)
        fitting = (
            row
            for row in rows
            if states >> row.state & 1
            and (before is None or row.seq < before)
            and (id is None or row.id == id)
            and (id is not None or self._is_listed(row.seq, group, array))
            and (owner is None or row.owner == owner)
        )
        return [row for row, _ in zip(fitting, range(limit), strict=False)]

    def _is_listed(self, seq: int, group: str | None, array: int | None) -> bool:
        """Tell whether a page that names no id shows a petition, whatever its state."""
        element = self._elements.get(seq)
        if array is not None or element is not None:
            return element is not None and element.array == array
        return group is None or self._groups.get(seq) == group

    def live_arrays(self) -> list[ArrayRow]:
        """Give the arrays that have not ended, the oldest first."""
        return [row for seq, row in self.arrays(sorted(self._arrays)).items() if self._rows[seq].state != State.ENDED]

    def arrays(self, seqs: Sequence[int]) -> dict[int, ArrayRow]:
        """Give what these petitions consist of, for each petition that is an array."""
        known = {seq: self._arrays[seq] for seq in seqs if seq in self._arrays}
        return {seq: ArrayRow(seq, new.total, new.spec, self._array_stops.get(seq)) for seq, new in known.items()}

    def array_ends(self, seq: int) -> bytes:
        """Give how the elements of an array ended, two bytes an element."""
        parts = self._array_ends.get(seq, {})
        return b"".join(parts.get(part, bytes(PART_BYTES)) for part in range(max(parts, default=-1) + 1))

    def array_items(self, seq: int, part: int) -> bytes | None:
        """Give a packed part of an array's items."""
        items = self._arrays[seq].items if seq in self._arrays else []
        return items[part] if part < len(items) else None

    def live_elements(self) -> list[Element]:
        """Give the elements of arrays that are petitions and have not ended, the oldest first."""
        return [each for seq, each in sorted(self._elements.items()) if self._rows[seq].state != State.ENDED]

    def elements(self, seqs: Sequence[int]) -> dict[int, Element]:
        """Give the array of each of these petitions that is an element."""
        return {seq: self._elements[seq] for seq in seqs if seq in self._elements}

    def expected(self, seqs: Sequence[int]) -> dict[int, float]:
        """Give how many seconds an attempt of each of these petitions will probably take, where that was said."""
        return {seq: self._expected[seq] for seq in seqs if seq in self._expected}

    def groups(self, seqs: Sequence[int]) -> dict[int, str]:
        """Give the groups of these petitions, for each petition that is in a group."""
        return {seq: self._groups[seq] for seq in seqs if seq in self._groups}

    def needs(self, seqs: Sequence[int]) -> dict[int, dict[str, int | str]]:
        """Give the needs of these petitions (an amount of each resource), for each petition that has any."""
        return {seq: dict(self._needs[seq]) for seq in seqs if seq in self._needs}

    def devices(self, seqs: Sequence[int]) -> dict[int, dict[int, dict[str, tuple[str, ...]]]]:
        """Give the devices of attempts that got any."""
        return {seq: {at: dict(got) for at, got in self._devices[seq].items()} for seq in seqs if seq in self._devices}

    def once(self) -> list[tuple[int, str, str, str]]:
        """Give seq, manager, owner and key of petitions with a key that live or hold their slot, the oldest first."""
        rows = ((self._rows[seq], key) for seq, key in sorted(self._once.items()))
        live = ((row, key) for row, key in rows if row.state != State.ENDED or row.slot_held)
        return [(row.seq, row.manager, row.owner, key) for row, key in live]

    def dependencies_of_live(self) -> list[KeptDependency]:
        """Give the dependencies of petitions that are QUEUED or HELD, in the order of these."""
        waiting = (State.QUEUED, State.HELD)
        return self.dependencies([seq for seq in sorted(self._dependencies) if self._rows[seq].state in waiting])

    def dependencies(self, seqs: Sequence[int]) -> list[KeptDependency]:
        """Give the dependencies of these petitions."""
        return [self._kept(seq, each) for seq in seqs for each in self._dependencies.get(seq, ())]

    def dependents(self, seq: int, limit: int) -> list[KeptDependency]:
        """Give up to `limit` dependencies of petitions, the oldest first, that name this petition."""
        found = [kept for kept in self.dependencies(sorted(self._dependencies)) if kept.after == seq]
        return found[:limit]

    def _kept(self, seq: int, dependency: NewDependency) -> KeptDependency:
        row = self._rows.get(dependency.after)
        outcome = self._outcomes_of_forgotten.get(dependency.after) if row is None else row.outcome
        return KeptDependency(
            seq,
            dependency.after,
            dependency.id,
            dependency.must_succeed,
            IfFails(dependency.if_fails),
            outcome,
            row is None or row.state is State.ENDED,
        )

    def alterations(self, seq: int) -> list[KeptAlteration]:
        """Give what people changed of a petition, the oldest change first."""
        return list(self._alterations.get(seq, ()))

    def schedules(self) -> list[Schedule]:
        """Give all schedules, by name."""
        return [schedule for _, schedule in sorted(self._schedules.items())]

    def firings(self, schedule: str, limit: int) -> list[KeptFiring]:
        """Give the last firings of a schedule, the latest instant first."""
        kept = sorted(self._firings.get(schedule, {}).values(), reverse=True)[:limit]
        return [self._firing(firing) for firing in kept]

    def live_firings(self, schedule: str) -> list[KeptFiring]:
        """Give the firings of a schedule whose petitions have not ended, the latest instant first."""
        return [
            self._firing(each)
            for each in sorted(self._firings.get(schedule, {}).values(), reverse=True)
            if self._is_live(each)
        ]

    def _is_live(self, firing: KeptFiring) -> bool:
        row = self._rows.get(firing.petition or 0)
        return row is not None and row.state is not State.ENDED

    def _firing(self, firing: KeptFiring) -> KeptFiring:
        row = self._rows.get(firing.petition or 0)
        if row is None:
            return firing
        return firing._replace(state=row.state, outcome=row.outcome, code=row.code, ended=row.ended)

    def has_firing(self, schedule: str, instant: float) -> bool:
        """Tell whether it is known what became of an instant of a schedule."""
        return instant in self._firings.get(schedule, {})

    def pauses(self) -> set[str]:
        """Give what is paused."""
        return set(self._pauses)

    def decided(self, kind: str) -> dict[str, str]:
        """Give what people decided of things of one kind, by their names."""
        return {name: text for (each, name), text in self._decided.items() if each == kind}

    def slots(self) -> dict[str, int | None]:
        """Give the groups there are, with how many of each may run at once."""
        return dict(self._slots)

    def ended(self) -> int:
        """Count the petitions that have ended."""
        return sum(row.state == State.ENDED for row in self._rows.values())

    def prunable(self, *, older_than: float, keep: int, younger_than: float, limit: int) -> list[tuple[int, bytes]]:
        """Give (seq, channel) of ended rows to forget, oldest end first: see the contract."""
        self._forget_tombstones(younger_than)
        ended = sorted((row.ended or 0.0, row.seq) for row in self._rows.values() if row.state == State.ENDED)
        surplus = len(ended) - keep
        found = []
        for place, (at, seq) in enumerate(ended):
            row = self._rows[seq]
            forgettable = not row.hook_pending and not row.slot_held and max(at, row.submitted) <= younger_than
            if (at < older_than or place < surplus) and forgettable:
                found.append((seq, row.channel))
        return found[:limit]

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def forget_in_child(self) -> None:
        """Do nothing: memory is the child's own."""


def _check_numbers(*numbers: float) -> None:
    for number in numbers:
        if isinstance(number, int) and not -_INTEGER_BOUND_NUMBER <= number < _INTEGER_BOUND_NUMBER:
            raise ValueError(f"{number} does not fit into 64 bits")
        if math.isnan(number):
            raise ValueError("not a number")


def _started(step: Transition, row: Row) -> float | None:
    """Give when the attempt of a row began, after a step."""
    if not step.attempt:
        return None
    return step.started or (step.at if step.state == State.STARTING else row.started)


def _replaced(step: AttemptStep, before: AttemptRow | None) -> AttemptRow:
    """Give the row that a step makes of the row before."""
    row = before or AttemptRow(*step[:8], retries=0, losses=0, history=None, is_command=step.is_command)
    kept = {name: value for name, value in step._asdict().items() if value is not None or name in _REPLACED}
    return row._replace(**kept)


def _newest_of_each(deeds: list[AuditEntry], count: int) -> list[AuditEntry]:
    """Give `count` entries: of the user with the most the oldest entries are left out first."""
    places: Counter[str] = Counter()
    ranked = []
    for number, entry in reversed(list(enumerate(deeds))):
        places[entry.who] += 1
        ranked.append((places[entry.who], -number))
    return [deeds[-number] for _, number in sorted(sorted(ranked)[:count], key=lambda each: -each[1])]
