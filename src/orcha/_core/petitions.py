"""The live petitions of one service, and what has gathered about them since the last transaction.

`Petitions` holds data, and the primitives that the functions in `transitions` are made of. A transition changes one
petition and leaves three things here: `changes`, which one transaction keeps; `effects`, which happen after that
transaction; and `finals`, the last records of what ended.
One file, since these primitives change the same data, and an order among them holds in each transition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.changes import AttemptStep, Changes, NewDependency, NewFiring, Schedule, Transition
from orcha._core.effects import Do, Effect, Final
from orcha._core.fairness import Fairness
from orcha._core.granted import GrantedSlots
from orcha._core.moment import Moment
from orcha._core.owners_queue import OwnersQueue
from orcha._core.preempted import PAUSE, Preempted
from orcha._core.record import Key, Phase, Record
from orcha._core.state import Outcome, State
from orcha._core.tuples import new_tuple
from orcha._core.waiting_queue import MAX_READY_PETITIONS, WaitingQueue
from orcha.interfaces.built_in import LEASE_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orcha._core.ageing import Ageing
    from orcha._core.past_use import PastUse
    from orcha._core.quotas import Quotas
    from orcha._core.weights import OwnerWeight


# Looked up once: an attribute of an enumeration costs ten times a global name.
_CANCELLED = Outcome.CANCELLED
_ENDED, _QUEUED, _RUNNING, _STARTING = State.ENDED, State.QUEUED, State.RUNNING, State.STARTING
_ANSWER, _END_PROCESSES, _ON_FINISH = Do.ANSWER, Do.END_PROCESSES, Do.ON_FINISH
_WAITING = Phase.WAITING

QUEUED = 1 << State.QUEUED
HELD = 1 << State.HELD
STARTING = 1 << State.STARTING
RUNNING = 1 << State.RUNNING
CANCELLING = 1 << State.CANCELLING

PREEMPTED = "preempted by"
"""Kind of what is kept of petitions that gave their place to others."""
STARTS = "starts of a group"
"""Kind of what is kept of the last starts of groups with a rate: a time by its place in the log, and the group."""


class Petitions:
    """The data of all live petitions. Transitions alone write a petition's fields."""

    def __init__(  # noqa: PLR0915 - one statement a field
        self,
        *,
        next_seq: int = 1,
        most_ready: int = MAX_READY_PETITIONS,
        granted: GrantedSlots | None = None,
    ) -> None:
        """Start empty.

        Args:
            next_seq: the sequence number of the first petition.
            most_ready: how many of the waiting petitions are kept ready to be asked.
            granted: the book of granted slots, empty.

        """
        self.now = Moment(0.0, 0.0)
        """When the batch that is handled began. The edges write this; who calls a transition hands it on as the
        argument `now`, and nothing in the core reads it."""
        self.next_seq = next_seq
        self.records: dict[int, Record] = {}
        """Petitions that are being converted, held, ready in the queue, or running, by sequence."""
        self._of_token: dict[bytes, Record] = {}
        """The same by token."""
        self.live: dict[str, Record | Key] = {}
        """str(id) of every live petition; a spilled one is only its key."""
        self.waiting = WaitingQueue(most_ready)
        """The waiting petitions; replaced by another object when there are petitions of a second owner."""
        self.may_have_waiting = False
        """Whether anything waits, as far as is known without a look into the queue."""
        self.owner: str | None = None
        """The owner of the first petition that was entered."""
        self.fairness: Fairness | None = None
        """What each owner has in use, from when there are petitions of a second owner. Where what was used before
        counts, that is from the first petition on."""
        self.quotas: Quotas | None = None
        """What the petitions of each user may have together; None where no quota is set."""
        self._past: PastUse | None = None
        self._weight_of: Callable[[str], OwnerWeight] | None = None
        """Gives by which weights the use of an owner is compared; None where no weights are set."""
        self.ageing: Ageing | None = None
        """Which petitions gain priority while they wait; None until a group ages."""
        self.slots = 1
        """How many petitions may run at once, as far as that is known; the edges write this before any petition."""
        self._most_ready = most_ready
        self.granted = GrantedSlots() if granted is None else granted
        """The petitions whose condition said yes and that have not ended."""
        self.eager: dict[int, str] = {}
        """Waiting leases, by sequence, with their str(id): each is asked in every round, however many wait before it.
        Nothing of theirs is used up by commands: the many commands that wait for a slot must not hide a lease."""
        self.version = 0
        """Rises whenever something ended or left the queue: then blocked conditions are worth asking again at once."""
        self.parkings = 0
        """Rises with `version` whenever a petition was parked, which frees nothing for any petition in a line."""
        self.starts = 0
        """Rises whenever something started: then blocked conditions are worth asking soon, since few wait for that."""
        self.ahead: dict[int, bool] = {}
        """Waiting commands whose row says STARTING, by sequence (`transitions.ahead`): whether that is kept."""
        self.prompt: list[Record] = []
        """Petitions that start, and that nothing keeps from beginning before the next transaction."""
        self.changes = Changes()
        self.effects: list[Effect] = []
        self.finals: list[Final] = []
        self.forgotten_number = 0
        """Ended petitions that were forgotten since the start."""
        self.dropped_events = 0
        """Events that named another attempt than the current one, and changed nothing."""
        self.leaving: dict[int, Record] = {}
        """Interrupted petitions that wait again as soon as their on_finish came back, by sequence."""
        self.owing: dict[int, Record | None] = {}
        """Waiting petitions whose last attempt is still owed its on_finish; None once such a petition went on."""
        self._unloading: dict[int, Key] = {}
        """The petitions of which only the keys are to be kept from the next `take` on, by sequence."""
        self.slots_of: Mapping[str, int | None] = {}
        """How many petitions of each manager may run at once, where that is known; the edges write this once."""
        self.preemptible: dict[int, Record] = {}
        """The petitions that run and may be preempted, by sequence."""
        self.preempted: dict[int, Preempted] = {}
        """The petitions that gave their place to others and have not got it back, by sequence."""
        self.lent: Mapping[int, Record] = {}
        """The preempted petitions that stand still and hold no slot, by sequence; replaced, never changed: the hook
        thread reads it."""

    # --- which petition an event is about -----------------------------------------------------------------------

    def current(self, seq: int, attempt: int) -> Record | None:
        """Give the petition whose current attempt this is; of any other attempt the event is dropped."""
        record = self.records.get(seq)
        if record is not None and record.attempt == attempt:
            return record
        self.dropped_events += 1
        return None

    def writable(self, seq: int, attempt: int) -> Record | None:
        """Give the petition whose current attempt this is, while that attempt may write and finish."""
        record = self.records.get(seq)
        if record is not None and record.attempt == attempt and record.state in (_STARTING, _RUNNING):
            return record
        self.dropped_events += 1
        return None

    def of_token(self, token: bytes) -> Record | None:
        """Give the petition that was asked for by a token, while its record is in memory."""
        return self._of_token.get(token)

    def is_live(self, record: Record) -> bool:
        """Tell whether a petition's id is its own still."""
        known = self.live.get(record.key)
        return known is record or known == record.place

    def is_before(self, one: Key, other: Key) -> bool:
        """Tell whether the petition at one place goes before the petition at another one, as things are."""
        return one < other if self.fairness is None else self.fairness.is_before(one, other)

    def waits(self, record: Record) -> bool:
        """Tell whether a petition waits to be started."""
        return record.state is _QUEUED and record.phase is _WAITING and self.is_live(record)

    def take_seq(self) -> int:
        """Give the next sequence number."""
        seq = self.next_seq
        self.next_seq += 1
        return seq

    # --- what is to be kept and done ----------------------------------------------------------------------------

    def step(  # noqa: PLR0913 - what a row takes
        self,
        record: Record,
        states: int,
        state: State,
        now: Moment,
        outcome: Outcome | None = None,
        code: int | None = None,
        reason: str | None = None,
        *,
        begins: bool = False,
        hook_pending: bool = False,
        slot_held: bool = False,
    ) -> None:
        """Gather a step from `states`; two steps of one transaction become one from where the first began.

        With `begins` the step leads to the next attempt.
        """
        seq, attempt, transitions = record.seq, record.attempt, self.changes.transitions
        earlier = transitions.get(seq)
        from_attempt, started = attempt, now.wall if begins else None
        if earlier is not None:
            from_attempt, states = earlier.from_attempt, earlier.from_states
            started = started or earlier.started
        if self.ahead and (is_kept := self.ahead.pop(seq, None)) is not None:
            if is_kept:
                from_attempt, states = attempt + 1, STARTING
            if not begins:
                self.keep_attempt(AttemptStep(seq, attempt))
        transitions[seq] = new_tuple(
            Transition,
            (
                seq,
                from_attempt,
                states,
                state,
                attempt + begins,
                now.wall,
                outcome,
                code,
                reason,
                hook_pending,
                slot_held,
                started,
            ),
        )

    def end(
        self,
        record: Record,
        outcome: Outcome,
        code: int | None,
        reason: str | None,
        states: int,
        now: Moment,
        *,
        hook_pending: bool = True,
        slot_held: bool = False,
    ) -> None:
        """Give a kept petition its outcome; with `hook_pending` its on_finish is owed from now on, if it has one."""
        self.set_outcome(record, outcome, code, reason)
        if record.command and not record.has_hooks:
            hook_pending = False
        self.step(record, states, _ENDED, now, outcome, code, reason, hook_pending=hook_pending, slot_held=slot_held)

    def set_outcome(self, record: Record, outcome: Outcome, code: int | None, reason: str | None) -> None:
        """Give a petition its outcome, without a step of its row."""
        record.state = _ENDED
        record.outcome = outcome
        record.code = code
        record.reason = reason
        silent = reason is None or outcome is _CANCELLED  # who cancelled, and why, is for those who ask
        self.finals.append(new_tuple(Final, (record, None if silent else f"{reason}\n", code)))
        if record.waiters:
            self.answer(record)

    def answer(self, record: Record) -> None:
        """Tell everybody who cancelled the petition how it ended."""
        waiters, record.waiters = record.waiters, []
        for waiter in waiters:
            self.effects.append(Effect(_ANSWER, record, waiter))

    def end_processes(self, record: Record) -> None:
        """Have the living processes of the attempt ended."""
        record.processes_gone = False
        self.effects.append(Effect(_END_PROCESSES, record))

    def keep_attempt(self, step: AttemptStep) -> None:
        """Keep what is known of a petition's attempts with the next transaction."""
        self.changes.attempts[step.seq] = step

    def keep_devices(self, record: Record) -> None:
        """Enter which devices an attempt has got, and keep that with the next transaction."""
        record.devices = self.granted.devices(record.key)
        if record.devices:
            self.changes.devices[record.seq, record.attempt] = record.devices

    def keep_tombstone(self, token: bytes, until: float) -> None:
        """Keep that the submit of a token is cancelled when it comes, `until` a wall-clock time."""
        self.changes.tombstones.append((token, until))

    def forget_ended(self, seqs: Iterable[int]) -> None:
        """Have ended petitions deleted with the next transaction, in place of any flags of theirs."""
        for seq in seqs:
            self.changes.flags.pop(seq, None)
            self.changes.deleted.append(seq)
            self.forgotten_number += 1

    def keep_pause(self, what: str, *, paused: bool) -> None:
        """Keep that `all`, `group:<name>` or `petition:<seq>` is paused, or goes on."""
        self.changes.pauses[what] = paused

    def keep_dependencies(self, seq: int, dependencies: list[NewDependency]) -> None:
        """Keep what a new petition waits for, with the transaction that accepts the petition."""
        self.changes.dependencies[seq] = dependencies

    def keep_held(self, seq: int) -> None:
        """Keep that a petition is paused since a dependency failed, and that no failure counts any more."""
        self.changes.held_for.append(seq)

    def keep_schedule(self, name: str, schedule: Schedule | None) -> None:
        """Keep a new or changed schedule; None forgets it, with its firings."""
        self.changes.schedules[name] = schedule

    def keep_firing(self, firing: NewFiring) -> None:
        """Keep what became of an instant of a schedule, with the petition where one is accepted for it."""
        self.changes.firings.append(firing)

    def keep_decided(self, kind: str, name: str, text: str | None) -> None:
        """Keep a decision of people by kind and name; None takes the decision back."""
        self.changes.decided[kind, name] = text

    def keep_start(self, group: str, seq: int, now: Moment) -> None:
        """Note a start in a group, and where the group has a rate, keep it with the next transaction."""
        log = self.granted.start_logs.get(group)
        if log is not None:
            self.keep_decided(STARTS, f"{log.note_start(seq, now)}:{group}", repr(now.wall))

    def drop_start(self, group: str, seq: int, changes: Changes) -> None:
        """Note that a start in a group is not kept with `changes`, so that the rate of the group does not count it."""
        log = self.granted.start_logs.get(group)
        place = None if log is None else log.drop_start(seq)
        if place is not None:
            changes.decided[STARTS, f"{place}:{group}"] = None

    def keep_preempted(self, record: Record, preempted: Preempted) -> None:
        """Keep by which petition another one was preempted, until it has its place again or has ended."""
        self.preempted[record.seq] = preempted
        self.keep_decided(PREEMPTED, str(record.seq), preempted.text())

    def forget_preempted(self, seq: int) -> None:
        """Note that a petition has its place again, or ended."""
        if self.preempted.pop(seq, None) is not None:
            self.keep_decided(PREEMPTED, str(seq), None)

    def keep_slots(self, slots: Mapping[str, int | None]) -> None:
        """Keep which groups there are, and how many of each may run at once."""
        self.changes.slots = slots

    def postpone(self, changes: Changes, *, steps: bool) -> None:
        """Move the flags of `changes` to the next transaction; with `steps`, what it knows of running commands too."""
        if steps:
            self.changes.transitions.update(changes.transitions)
            self.changes.attempts.update(changes.attempts)
            changes.transitions, changes.attempts = {}, {}
        self.changes.flags.update(changes.flags)
        changes.flags = {}

    def take_changes(self) -> Changes:
        """Hand out what has gathered for the next transaction, and leave the effects."""
        taken, self.changes = self.changes, Changes()
        return taken

    def take_prompt(self) -> list[Record]:
        """Hand out the petitions that begin now, since their starts are kept."""
        taken, self.prompt = self.prompt, []
        return taken

    def take(self) -> tuple[Changes, list[Effect], list[Final]]:
        """Hand out all that has gathered, to be kept or taken back at once, and start afresh."""
        self.unload_now()
        taken = self.changes, self.effects, self.finals
        self.changes = Changes()
        self.effects = []
        self.finals = []
        return taken

    # --- slots and ids ------------------------------------------------------------------------------------------

    def are_slots_taken(self, manager: str) -> bool:
        """Tell whether as many petitions of a manager run as may, where that is known."""
        slots = self.slots_of.get(manager)
        return slots is not None and len(self.granted.of_manager(manager)) >= slots

    def note_change(self) -> None:
        """Note that something ended, left the queue or was decided: blocked petitions are to be asked again."""
        self.version += 1

    def enter(self, record: Record) -> None:
        """Have a petition live, under its id."""
        if record.owner != self.owner or self._weight_of is not None:
            self.note_owner(record.seq, record.owner)
        if self.quotas is not None:
            self.quotas.enter(record.seq, record.owner, record.manager)
        self.records[record.seq] = record
        self._of_token.setdefault(record.token, record)  # another record of the token is about to be refused
        self.live[record.key] = record

    def note_owner(self, seq: int, owner: str) -> None:
        """Note the owner of a petition; from the second owner on, what each owner has in use is counted."""
        if self.owner is None:
            self.owner = owner
        if self.fairness is None:
            if self.owner == owner and self._past is None:
                return
            self._compare(self.owner)
        assert self.fairness is not None
        self.renew_weight(owner)
        self.fairness.enter(seq, owner)

    def _compare(self, first: str) -> None:
        """Count from now on what each owner has in use; all petitions were of one owner until now."""
        capacity, slots = self.granted.inventory.capacity, self.slots
        self.fairness = fairness = Fairness(first, capacity, slots=slots, starts=self.starts)
        self.granted.count_for(fairness)
        self.granted.weigh_past(self._past)
        self._use_weights(fairness)
        self.waiting = OwnersQueue(self.waiting, fairness, most_ready=self._most_ready)

    def weigh_past(self, past: PastUse | None) -> None:
        """Have what owners used before count beside what they have in use; None has it count nothing."""
        self._past = past
        if self.fairness is not None:
            self.granted.weigh_past(past)
            self._use_weights(self.fairness)
        elif past is not None and self.owner is not None:
            self._compare(self.owner)

    def use_weights(self, weight_of: Callable[[str], OwnerWeight] | None) -> None:
        """Have what owners have in use compared by the weights that this gives of an owner; None has all alike.

        It is asked again with each petition that comes, since its user may have entered or left a group.
        """
        self._weight_of = weight_of
        if self.fairness is not None:
            self._use_weights(self.fairness)

    def renew_weight(self, owner: str) -> None:
        """Have an owner compared by the weight of the groups that the user is in by now."""
        if self._weight_of is not None and self.fairness is not None:
            weight = self._weight_of(owner)
            if weight != self.fairness.weight_of(owner):
                self.granted.use_weights({owner: weight})
                self.note_change()

    def _use_weights(self, fairness: Fairness) -> None:
        weight_of = self._weight_of
        if weight_of is not None:
            self.granted.use_weights({owner: weight_of(owner) for owner in fairness.owners()})
        elif fairness.has_weights:
            self.granted.use_weights(None)

    def hold(self, record: Record) -> None:
        """Give a petition its slot, and take its id, where it has not got them yet."""
        if record.seq not in self.records:
            self.enter(record)
        if record.seq not in self.granted.key_of:
            self.granted.take(record)

    def ungrant(self, record: Record) -> None:
        """Take a petition's slot back, where it has one."""
        if record.seq in self.granted.key_of:
            self.version += 1  # before a condition can see that there is room
            self.granted.give_back(record)
            record.devices = None
            if self.preemptible:
                self.preemptible.pop(record.seq, None)
            if self.preempted:
                self._note_ungranted(record.seq)

    def _note_ungranted(self, seq: int) -> None:
        if seq in self.lent:
            self.lent = {each: lent for each, lent in self.lent.items() if each != seq}
        if seq in self.preempted and self.preempted[seq].how == PAUSE:
            self.forget_preempted(seq)

    def release(self, record: Record, *, hook: bool = True) -> None:
        """Free slot and id: nothing of the attempt lives any more. With `hook`, its on_finish is called."""
        if record.command and not record.has_hooks:
            hook = False
        self.ungrant(record)
        self.version += 1
        self.forget(record)
        step = self.changes.transitions.get(record.seq)
        if step is None:
            self.changes.flags[record.seq] = (hook, False)
        elif step.slot_held:
            self.changes.transitions[record.seq] = step.without_slot()
        if hook:
            self.effects.append(new_tuple(Effect, (_ON_FINISH, record, None)))

    def forget(self, record: Record) -> None:
        """Have a petition live no more."""
        known = self.live.get(record.key)
        if known is record or known == record.place:
            del self.live[record.key]
        self.records.pop(record.seq, None)
        self._forget_token(record)
        if self.preempted:
            self.forget_preempted(record.seq)
        if self.fairness is not None:
            self.fairness.forget(record.seq)
        if self.quotas is not None:
            self.quotas.forget(record.seq, record.owner)

    def use_quotas(self, quotas: Quotas | None) -> None:
        """Have these quotas hold from now on, over the petitions there are; the records of arrays are in memory."""
        if quotas is not None and self.owner is not None:
            for known in self.live.values():
                seq = known.seq if isinstance(known, Record) else known[1]
                lane = None if self.fairness is None else self.fairness.lane(seq)
                owner = known.owner if isinstance(known, Record) else lane or self.owner
                quotas.enter(seq, owner, known.manager if isinstance(known, Record) else "")
        self.granted.count_for_quotas(quotas)
        self.quotas = quotas

    def _forget_token(self, record: Record) -> None:
        if self._of_token.get(record.token) is record:
            del self._of_token[record.token]

    # --- the queue ----------------------------------------------------------------------------------------------

    def enqueue(self, record: Record) -> bool:
        """Have a petition wait in its place; tell whether it is among the first ones, which are asked."""
        if record.manager == LEASE_MANAGER:
            self.eager[record.seq] = record.key
        if self.ageing is not None:
            record.priority, record.unaged = self.ageing.enter(record)
        self.may_have_waiting = True
        is_ready = self.waiting.add(record.place)
        if not is_ready:
            self._unloading[record.seq] = record.place
        return is_ready

    def aged(self, record: Record, given: int | float) -> tuple[int | float, int | float | None]:  # noqa: PYI041 - as above
        """Give the priority of a waiting petition that is given this one, and the given one where that differs."""
        return (given, None) if self.ageing is None else self.ageing.gained(record, given)

    def dequeue(self, record: Record) -> None:
        """Have a petition wait no more."""
        self.waiting.remove(record.place)

    def look_for_waiting(self) -> bool:
        """Tell whether anything waits, parked petitions included; where nothing does, nobody looks again until then."""
        if self.may_have_waiting and self.waiting.is_empty:
            self.may_have_waiting = False
        return self.may_have_waiting

    def keep_loaded(self, record: Record) -> None:
        """Keep the full record of a petition, where only its key was about to be kept."""
        self._unloading.pop(record.seq, None)
        self.live[record.key] = record

    def move_unloaded(self, key: Key, moved: Key) -> None:
        """Have a petition that is only a key be at another place."""
        self._unloading.pop(key[1], None)
        self.live[key[2]] = moved

    def is_unloaded(self, seq: int, key: str) -> bool:
        """Tell whether a waiting petition is only a key."""
        known = self.live.get(key)
        return not isinstance(known, Record) and known is not None and known[1] == seq

    def unloaded_eager(self) -> list[Key]:
        """Give the keys of waiting leases that are only keys, and wait with the others."""
        known = [self.live.get(key) for seq, key in self.eager.items() if self.is_unloaded(seq, key)]
        return [key for key in known if isinstance(key, tuple) and not self.waiting.is_parked(key)]

    def unload(self, keys: Iterable[Key]) -> None:
        """Keep only the keys of petitions that moved away from the head, from the next `take` on."""
        self._unloading.update((key[1], key) for key in keys)

    def load(self, record: Record) -> None:
        """Take the full record of a petition that was only a key; where there is one already, that stays."""
        if record.seq not in self.records:
            record.phase = _WAITING
            known = self.live.get(record.key) if self.ageing is not None else None
            if isinstance(known, tuple) and known[0] != record.priority:
                record.priority, record.unaged = known[0], record.given_priority
            self.enter(record)

    def load_waiting(self, keys: list[Key]) -> None:
        """Take the waiting petitions, in order, from the store, as keys only; their owners were noted before."""
        self.waiting.load(keys)
        self.may_have_waiting = True
        for key in keys:
            self.live[key[2]] = key

    def unload_now(self) -> None:
        """Drop the records that are to be dropped by `take`, where some are."""
        if self._unloading:
            self._unload()

    def _unload(self) -> None:
        """Drop the records of petitions that are not ready: their rows are kept by then, or taken back."""
        for key in self._unloading.values():
            record = self.records.get(key[1])
            near = self.waiting.is_ready(key) and not self.waiting.is_parked(key)
            if record is not None and record.state is _QUEUED and not near and record.seq not in self.ahead:
                del self.records[key[1]]
                self._forget_token(record)
                self.live[key[2]] = key
        self._unloading = {}
