"""What holds of each question and each start, whatever code decides about them: an oracle of the simulated service.

It looks at what was planned and at what really runs, and knows nothing of lots and lines.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from orcha._core.admission import group_name, petition_name
from orcha._core.asking_round import MAX_REPEATS_PER_ROUND, in_order
from orcha._core.conditions.terms import Reading
from orcha._core.converted import Converted
from orcha._core.reasons import BehindAnother, NeedsShort
from orcha._core.record import Phase
from orcha._core.state import State

if TYPE_CHECKING:
    from orcha._core.asking_round import Round
    from orcha._core.converted import Candidate
    from orcha._core.record import Record
    from support.invariants import Seen
    from support.simulated import World
    from support.simulated_hooks import HookSide, Plan


def record_behind(candidate: Candidate) -> Record:
    """Give the record of a petition that may be asked."""
    return candidate.record if isinstance(candidate, Converted) else candidate


def may_be_asked(world: HookSide, candidate: Candidate) -> None:
    """Hold that a petition is asked only where nobody and nothing holds it back."""
    record = record_behind(candidate)
    assert not is_paused(world, candidate), f"{record} is paused, and asked"
    assert not is_group_full(world, candidate), f"{record} is asked, and its group has no slot"
    assert fits(world, candidate), f"{record} is asked, and what it needs is not there"
    assert text_holds(world, candidate), f"{record} is asked, and its condition in text is false"
    due = world.resting.get(record.seq)
    was_called = world.on_starts[record.seq, record.attempt]  # else nothing failed, and it waits again at once
    assert due is None or due <= world.clock or not was_called, f"{record} is asked, and rests until {due}"


def passed_by(world: HookSide, asked: Round, starts: Candidate) -> list[Candidate]:
    """Give the petitions before this one that could start too, at the moment when this one says yes.

    A petition that came back into the queue after the round began, since its pause or its rest ended, is asked in the
    next round: it is in this round neither asked nor parked.
    """
    if asked.repeats >= MAX_REPEATS_PER_ROUND:
        return []
    waiting = [asked.again.get(record.seq, record) for record in asked.waiting]
    considered = in_order([candidate for candidate in waiting if candidate.petition is not None], asked.new)
    others = list(considered[: asked.look_ahead])
    if starts.group is not None:  # of its group also those that wait for a slot
        lot, queue = group_name(starts.group), world.petitions.waiting
        others += [candidate for candidate in world.candidates() if queue.lot_of(candidate.place) == lot]
    before = [candidate for candidate in others if candidate.place < starts.place and could_start(world, candidate)]
    return before + [candidate for candidate in world.candidates() if _is_starved(world, candidate, starts)]


def could_start(world: HookSide, candidate: Candidate) -> bool:
    """Tell whether a petition would start if it were asked now."""
    is_cancelled = record_behind(candidate).cancellation is not None
    if not waits(world, candidate) or is_cancelled or candidate.petition is None:
        return False
    if world.plans[record_behind(candidate).token].condition_breaks or not world.says_yes(candidate):
        return False
    if _is_held(world, candidate) or not text_holds(world, candidate):
        return False
    return fits(world, candidate) and not _stands_behind(world, candidate)


def text_holds(world: HookSide, candidate: Candidate) -> bool:
    """Tell whether a petition's condition in text holds, as Python says, with what was looked at."""
    text = world.plan_of[candidate.seq].when
    if text is None:
        return True
    waiting, plans = world.petitions.waiting, _granted_plans(world)
    names = {
        "load": lambda minutes: world.admission.conditions.get(Reading("load", (minutes,))),
        "running": len(plans),
        "running_in": lambda group: sum(plan.group == group for plan in plans),
        "queued": len(waiting) + waiting.parked,
    }
    try:
        return bool(eval(text, {"__builtins__": {}}, names))
    except TypeError:  # nobody has looked yet
        return False


def waits(world: HookSide, candidate: Candidate) -> bool:
    """Tell whether a petition waits, or has just come, and has no slot."""
    record = record_behind(candidate)
    state = record.state is State.QUEUED and record.phase in (Phase.WAITING, Phase.CONVERTING)
    return state and world.petitions.live.get(record.key) is record and not _is_granted(world, record)


def _is_held(world: HookSide, candidate: Candidate) -> bool:
    replaces = world.admission.keys.replaces(candidate.seq)
    return replaces or is_paused(world, candidate) or is_group_full(world, candidate)


def is_paused(world: HookSide, candidate: Candidate) -> bool:
    """Tell whether people hold back a petition, or its group."""
    names = {petition_name(candidate.seq)}
    if candidate.group is not None:
        names.add(group_name(candidate.group))
    return not names.isdisjoint(world.paused)


def is_group_full(world: HookSide, candidate: Candidate) -> bool:
    """Tell whether as many of its group run as may."""
    slots = world.admission.groups[candidate.group] if candidate.group is not None else None
    return slots is not None and sum(plan.group == candidate.group for plan in _granted_plans(world)) >= slots


def fits(world: HookSide, candidate: Candidate) -> bool:
    """Tell whether what a petition needs is free."""
    from support.simulated_hooks import RESOURCES

    held: Counter[str] = Counter()
    for plan in _granted_plans(world):
        held.update(plan.needs)
    return all(int(amount) + held[name] <= RESOURCES[name] for name, amount in (candidate.needs or {}).items())


def _granted_plans(world: HookSide) -> list[Plan]:
    return [world.plan_of[seq] for seq in world.petitions.granted.seqs()]


def _is_granted(world: HookSide, candidate: Candidate) -> bool:
    return world.petitions.granted.has(candidate.seq)


def _stands_behind(world: HookSide, candidate: Candidate) -> bool:
    """Tell whether an earlier petition may stand in a line for something that this one needs."""
    return any(
        other.place < candidate.place and waits(world, other) and set(other.needs or {}) & set(candidate.needs or {})
        for other in world.candidates()
    )


def _is_starved(world: HookSide, candidate: Candidate, starts: Candidate) -> bool:
    """Tell whether a later petition takes what an earlier one stands in line for."""
    why = candidate.why
    if not isinstance(why, NeedsShort | BehindAnother) or why.resource not in (starts.needs or {}):
        return False
    is_cancelled = record_behind(candidate).cancellation is not None
    if candidate.place > starts.place or not waits(world, candidate) or is_cancelled:
        return False
    if world.visit is None or candidate.seq in world.visit.asked:
        return False  # its own condition said no
    was_paused = bool(world.were_paused & {petition_name(candidate.seq), group_name(candidate.group or "")})
    return not _is_held(world, candidate) and not was_paused and text_holds(world, candidate)


def no_more_lives_than_groups_and_resources_allow(world: World, _: Seen) -> None:
    from support.simulated_hooks import GROUPS, RESOURCES

    living = [world.plan_of[seq] for seq in _living(world)]
    in_group = Counter(plan.group for plan in living)
    assert all(slots is None or in_group[group] <= slots for group, slots in GROUPS.items()), in_group
    held: Counter[str] = Counter()
    for plan in living:
        held.update(plan.needs)
    assert all(held[name] <= capacity for name, capacity in RESOURCES.items()), held


def one_of_a_key_lives_at_a_time(world: World, _: Seen) -> None:
    managers = {row.seq: row.manager for row in world.store.all_rows()}
    keys = Counter(
        (managers[seq], plan.once) for seq in _living(world) if (plan := world.plan_of[seq]).once is not None
    )
    assert max(keys.values(), default=0) <= 1, keys


def the_book_says_what_was_granted(world: World, _: Seen) -> None:
    book, plans = world.petitions.granted, _granted_plans(world)
    in_group = Counter(plan.group for plan in plans if plan.group is not None)
    held: Counter[str] = Counter()
    for plan in plans:
        held.update(plan.needs)
    assert {group: book.in_group(group) for group in book.groups()} == in_group
    assert {name: book.held(name) for name in book.resources()} == +held


def _living(world: World) -> set[int]:
    """Give the petitions of which something really lives."""
    actions = {seq for (seq, _), action in world.actions.items() if action.alive or action.processes}
    return actions | {seq for (seq, _), command in world.commands.items() if command.lives and command.executed}
