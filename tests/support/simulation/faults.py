"""Known faults of services like this one, each put into the real code by a switch of a test alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orcha._core import group_admission, transitions
from orcha._core.admission import Admission
from orcha._core.arrays import Array
from orcha._core.asking_round import Round
from orcha._core.conditions.book import ConditionBook
from orcha._core.dependencies import Dependencies
from orcha._core.fairness import NO_USE, Fairness
from orcha._core.granted import GrantedSlots
from orcha._core.group_admission import GroupAdmission, is_group_lot
from orcha._core.inventory import Inventory
from orcha._core.once_keys import OnceKeys
from orcha._core.overtaking import Overtaking
from orcha._core.petitions import Petitions
from orcha._core.preemption import Preemption
from orcha._core.quotas import Quotas
from orcha._core.resource_lines import Lines
from orcha._core.resources import Resources
from orcha._core.schedules import due
from orcha._core.start_log import StartLog
from orcha._core.state import Missed, Outcome, State
from orcha._service import transaction
from orcha._service.execution.attempt_ending import Ending
from orcha._service.execution.leases import Leases
from orcha._service.hooks import schedules
from orcha._service.hooks.admitting import Admitting
from orcha._service.hooks.appointments import Appointments
from orcha._service.hooks.dependents import Dependents
from orcha._service.hooks.preempting import Preempting
from orcha._service.hooks.schedules import Schedules
from orcha._service.hooks.stocktaking import Stocktaking
from orcha._service.hooks.visit import Visit
from orcha._service.lifecycle import recovery
from orcha._service.mailbox import Mailbox
from support.simulation.story import Broken, play

Fault = Callable[[pytest.MonkeyPatch], object]
"""Puts a fault into the code."""


def _leak_a_slot(patch: pytest.MonkeyPatch) -> None:
    give_back = GrantedSlots.give_back

    def forgets_the_group(book: GrantedSlots, record: Any) -> bool:
        if record.group is not None and book.has(record.seq):
            book._in_group[record.group] += 1
        return give_back(book, record)

    patch.setattr(GrantedSlots, "give_back", forgets_the_group)


def _start_twice(patch: pytest.MonkeyPatch) -> None:
    start_all = transitions.start.start_all

    def starts_them_again(petitions: Petitions, records: list[Any], now: Any) -> None:
        start_all(petitions, records, now)
        for record in records:
            transitions.start._start_dequeued(petitions, record, now)

    patch.setattr(transitions.start, "start_all", starts_them_again)


def _end_a_rest_early(patch: pytest.MonkeyPatch) -> None:
    rise = transitions.retry.rise

    def rises_at_once(petitions: Petitions, record: Any, now: Any) -> None:
        record.rests_until = None
        rise(petitions, record, now)

    patch.setattr(transitions.retry, "rise", rises_at_once)


def _open_no_lot_of_a_group(patch: pytest.MonkeyPatch) -> None:
    unpark = transitions.hold.unpark

    def leaves_groups(petitions: Petitions, name: str, count: int) -> Any:
        return [] if is_group_lot(name) else unpark(petitions, name, count)

    patch.setattr(transitions.hold, "unpark", leaves_groups)


def _fail_no_dependent(patch: pytest.MonkeyPatch) -> None:
    ended = Dependencies.ended

    def forgives(dependencies: Dependencies, seq: int, _: object) -> Any:
        return ended(dependencies, seq, Outcome.SUCCEEDED)

    patch.setattr(Dependencies, "ended", forgives)


def _adopt_without_a_slot(patch: pytest.MonkeyPatch) -> None:
    adopt = transitions.command.adopt

    def adopts(petitions: Petitions, record: Any) -> None:
        adopt(petitions, record)
        petitions.granted.give_back(record)

    patch.setattr(transitions.command, "adopt", adopts)


def _choose_what_is_in_use(inventory: Inventory, needs: Any, _: object) -> dict[str, tuple[str, ...]] | None:
    return {name: (devices[0].name,) for name in needs if (devices := inventory.devices(name))} or None


def _take_all_of_an_array(patch: pytest.MonkeyPatch) -> None:
    take = Array.take

    def takes_all(array: Array, room: int) -> list[int]:
        array.bounds = array.bounds._replace(at_most=None)
        return take(array, room)

    patch.setattr(Array, "take", takes_all)


def _nothing(*_: object, **__: object) -> None:
    """Do not do what is to be done."""


OF_SCHEDULERS: dict[str, Fault] = {
    "an overtake": lambda patch: patch.setattr(Round, "_something_ended", lambda *_: False),
    "a lost wake-up": _open_no_lot_of_a_group,
    "a leaked slot": _leak_a_slot,
    "a starved large need": lambda patch: patch.setattr(Lines, "first", _nothing),
    "an owner with much in use who is first": lambda patch: patch.setattr(Fairness, "standing", lambda *_: NO_USE),
    "a gap that is none": lambda patch: patch.setattr(Overtaking, "fits", lambda _, small: bool(small.seconds)),
    "a double start": _start_twice,
    "a paused one started": lambda patch: patch.setattr(Admission, "_petition_paused", _nothing),
    "a key let in twice": lambda patch: patch.setattr(OnceKeys, "replaces", lambda *_: False),
    "a rest that ends early": _end_a_rest_early,
    "a condition that nobody looks at": lambda patch: patch.setattr(ConditionBook, "take_true", lambda _: set()),
    "a false condition that lets start": lambda patch: patch.setattr(ConditionBook, "blocked_by", _nothing),
}
OF_SERVICES: dict[str, Fault] = {
    "dependencies that a restart forgets": lambda patch: patch.setattr(Dependents, "load", _nothing),
    "a failed dependency that counts": _fail_no_dependent,
    "a start that is not on the disk": lambda patch: patch.setattr(transaction, "_only_running", lambda _: True),
    "an interrupted petition that runs again": lambda patch: patch.setattr(
        transitions.recover, "on_interrupt_state", lambda _: State.QUEUED
    ),
    "a petition that is tried again too often": lambda patch: patch.setattr(
        transitions.retry, "next_due", lambda record, _, now: now.wall if record.tries is not None else None
    ),
    "a cancel that nobody answers": lambda patch: patch.setattr(Petitions, "answer", _nothing),
    "an appointment that is missed": lambda patch: patch.setattr(Appointments, "_look", _nothing),
    "calls that are lost with a call that hangs": lambda patch: patch.setattr(Visit, "left", lambda _: []),
    "an event that wakes nobody": lambda patch: patch.setattr(Mailbox, "post", Mailbox.post_without_waking),
    "a petition that stays parked when it goes on": lambda patch: patch.setattr(Admitting, "go_on", _nothing),
    "a command that goes on without its slot": _adopt_without_a_slot,
    "a queue that a restart forgets": lambda patch: patch.setattr(Petitions, "load_waiting", _nothing),
    "a shim that nobody asks whether its survivors are gone": lambda patch: patch.setattr(
        recovery, "_resume", _nothing
    ),
}


OF_PLANS: dict[str, Fault] = {
    "more of an array at once than may": _take_all_of_an_array,
    "an array that goes on though too many failed": lambda patch: patch.setattr(Array, "has_failed_too_often", False),
    "an array that ends before its elements": lambda patch: patch.setattr(
        Array, "is_over", property(lambda array: array._left <= len(array.live))
    ),
    "a firing beside the last one": lambda patch: patch.setattr(Schedules, "_live", lambda *_: {}),
    "an instant that is passed over": lambda patch: patch.setattr(
        schedules, "due", lambda table, _, until, now: due(table, Missed.LAST, until, now)
    ),
    "a device that two petitions have": lambda patch: patch.setattr(Inventory, "choose", _choose_what_is_in_use),
    "a drained device that is given away": lambda patch: patch.setattr(Inventory, "_closed", lambda *_: ()),
    "a drain that a restart forgets": lambda patch: patch.setattr(Stocktaking, "load", _nothing),
}
"""Faults of arrays, of schedules, and of what people decide about resources."""


def _give_a_place_and_run_on(preempting: Preempting, record: Any, _: object = None) -> None:
    transitions.preempt.stands_still(preempting._petitions, record)


def _give_a_place_too_soon(preempting: Preempting, record: Any, _: object = None) -> None:
    preempting._shims.reach().stop(record.seq, record.attempt)
    transitions.preempt.stands_still(preempting._petitions, record)


OF_PLACES: dict[str, Fault] = {
    "a place that is given before its holder has stopped": lambda patch: patch.setattr(
        Preempting, "stand_still", _give_a_place_too_soon
    ),
    "a paused command that never comes back": lambda patch: patch.setattr(Preemption, "coming_back", lambda _: []),
    "a place that is given while its holder runs on": lambda patch: patch.setattr(
        Preempting, "stand_still", _give_a_place_and_run_on
    ),
    "a requeued command that a restart ends": lambda patch: patch.setattr(transitions.preempt, "found", _nothing),
    "a command that comes back and stands still": lambda patch: patch.setattr(Preempting, "go_on", _nothing),
    "a place that a restart gives back": lambda patch: patch.setattr(Preempting, "load", _nothing),
}
"""Faults of commands that give their place to more urgent ones."""


def _count_for_the_user_alone(patch: pytest.MonkeyPatch) -> None:
    count = Quotas._count

    def counts_one(quotas: Quotas, granted: Any, sign: int) -> None:
        count(quotas, granted._replace(accounts=granted.accounts[:1]), sign)

    patch.setattr(Quotas, "_count", counts_one)


def _count_no_resource(patch: pytest.MonkeyPatch) -> None:
    wanted = Quotas._wanted

    def wants_slots(quotas: Quotas, account: Any, use: Any, manager: str, _: Any) -> Any:
        return wanted(quotas, account, use, manager, {})

    patch.setattr(Quotas, "_wanted", wants_slots)


OF_SHARES: dict[str, Fault] = {
    "more of one owner in a group than may": lambda patch: patch.setattr(GroupAdmission, "user_full", _nothing),
    "more starts than a rate allows": lambda patch: patch.setattr(StartLog, "due", _nothing),
    "a rate that a restart forgets": lambda patch: patch.setattr(Admitting, "_kept_starts", lambda _: {}),
    "a rate that nobody is woken for": lambda patch: patch.setattr(GroupAdmission, "_note_due", _nothing),
    "a group's condition that is not asked": lambda patch: patch.setattr(GroupAdmission, "text_blocks", _nothing),
    "a limit of time that its group does not give": lambda patch: patch.setattr(
        GroupAdmission, "timeout_of", lambda _, group, seq, asked: asked
    ),
    "a limit of time that came after its petition": lambda patch: patch.setattr(
        group_admission, "limit_at", lambda changes, _: changes[-1][1]
    ),
    "a limit of time that ends nothing": lambda patch: patch.setattr(Ending, "limit_run", _nothing),
    "a petition that does not age": lambda patch: patch.setattr(transitions.age, "_move", _nothing),
    "a quota that holds nobody back": lambda patch: patch.setattr(Quotas, "_short", _nothing),
    "a quota of a group that each member has alone": _count_for_the_user_alone,
    "a resource that no quota counts": _count_no_resource,
    "a quota that nobody is woken for": lambda patch: patch.setattr(Quotas, "unpark", lambda _: []),
    "more petitions that wait than a quota allows": lambda patch: patch.setattr(Quotas, "refusal", _nothing),
    "a lease that goes on": lambda patch: patch.setattr(Leases, "_look", _nothing),
    "an extension that a restart forgets": lambda patch: patch.setattr(Leases, "load", _nothing),
    "a machine that is not had alone": lambda patch: patch.setattr(Resources, "_others", lambda _: 0),
    "a start beside who has the machine": lambda patch: patch.setattr(Resources, "whole_blocks", _nothing),
}
"""Faults of what people who share a machine decide: rules of groups, quotas, and leases."""


ALL: dict[str, Fault] = {**OF_SCHEDULERS, **OF_SERVICES, **OF_PLANS, **OF_PLACES, **OF_SHARES}


def first_seed(fault: Fault, seeds: range) -> int | None:
    """Give the first seed whose story finds a fault; None where none of these does."""
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        return next((seed for seed in seeds if _finds(seed)), None)


def _finds(seed: int) -> bool:
    try:
        play(seed)
    except Broken:
        return True
    return False
