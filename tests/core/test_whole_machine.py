"""Who needs the whole machine is alone on it, and is not overtaken by who comes later."""

from __future__ import annotations

import pytest

from orcha._core import transitions
from orcha._core.admission import Admission
from orcha._core.asking_round import NO, YES, Said
from orcha._core.petitions import Petitions
from orcha._core.reasons import (
    BehindAnother,
    BehindExclusive,
    GroupFull,
    MachineTaken,
    NeedsShort,
    NeverEnough,
    NotAlone,
    PetitionPaused,
    StartsLater,
)
from orcha._core.record import Cancellation, Record
from orcha._core.selection import MAX_HEADS, Selection
from orcha._core.state import Outcome
from orcha._core.transitions.command import CommandEnd
from orcha.interfaces.built_in import ARRAY_MANAGER, COMMAND_MANAGER, LEASE_MANAGER, WATCHDOG_MANAGER
from orcha.interfaces.needs import WHOLE

ALONE = {WHOLE: 1}


class Machine:
    """Petitions that wait and run, where each condition says yes but those of `noes`."""

    def __init__(self, most_ready=10_000, slots=None):
        self.petitions = Petitions(most_ready=most_ready)
        self.admission = Admission(self.petitions, resources={"gpu": 2})
        self.admission.load([], {"rig": 1})
        self.selection = Selection(self.petitions, self.admission, are_all_own=True)
        self.slots = slots
        self.unloaded = {}

    def waits(self, name, manager=COMMAND_MANAGER, **declared):
        petitions, record = self.petitions, self.comes(name, manager, **declared)
        transitions.submit.accept(petitions, record, petitions.now, start=False, new_channel=False)
        petitions.note_change()  # as a new petition is asked with the others
        self.unloaded[record.seq] = record
        return record

    def comes(self, name, manager=COMMAND_MANAGER, **declared):
        """Give a petition that has been converted, and is neither accepted nor refused yet."""
        petitions = self.petitions
        seq = petitions.take_seq()
        record = Record(seq, seq.to_bytes(16, "big"), name, manager, "me", b"", b"", 0.0)
        record.petition = object()
        for field, value in declared.items():
            setattr(record, field, value)
        record.command = True
        transitions.submit.receive(petitions, record)
        return record

    def said(self, record):
        granted = self.petitions.granted
        is_full = self.slots is not None and len(granted.of_manager(record.manager)) >= self.slots
        return Said(NO, None, for_all=False) if is_full and record.manager == COMMAND_MANAGER else Said(YES)

    def visit(self):
        """Ask until nothing is news; give the ids that run."""
        petitions, selection = self.petitions, self.selection
        for _ in range(100):
            for key in selection.make_ready():
                petitions.load(self.unloaded[key[1]])
            asked = selection.next_round(0.0, converting=False)
            selection.handed_over()
            asking, answer = asked.ask(self.admission, petitions.granted, lambda: petitions.version), None
            while True:
                try:
                    answer = self.said(asking.send(answer))
                except StopIteration:
                    break
            selection.settle(asked.answers, asked.unchanged, petitions.now)
            selection.note(asked, 0.0)
            petitions.take()
            if not selection.are_news:
                break
        return list(petitions.granted)

    def ends(self, *records):
        for record in records:
            end = CommandEnd(Outcome.SUCCEEDED, 0)
            transitions.command.ended(self.petitions, record.seq, record.attempt, end, self.petitions.now)
            transitions.finish.hook_done(self.petitions, record.seq, self.petitions.now)

    def reasons(self, record):
        return self.admission.reasons(record)


def test_it_waits_for_all_that_runs_and_nothing_that_comes_later_starts_before_it():
    machine = Machine()
    runs = machine.waits("runs")
    assert machine.visit() == ["runs"]
    alone = machine.waits("alone", needs=ALONE)
    late = [machine.waits("late"), machine.waits("late gpu", needs={"gpu": 1}), machine.waits("late rig", group="rig")]
    other = machine.waits("other", needs=ALONE)
    assert machine.visit() == ["runs"]
    assert machine.reasons(alone) == [NotAlone(1)]
    assert machine.admission.held_by(alone.seq, None) == NotAlone(1)
    for record in late:
        assert machine.reasons(record)[0] == BehindExclusive("alone")
        assert machine.admission.held_by(record.seq, record.group) == BehindExclusive("alone")
    assert machine.reasons(other) == [BehindExclusive("alone")]
    urgent = machine.waits("urgent", priority=-1)
    assert machine.visit() == ["runs", "urgent"]
    machine.ends(runs)
    assert machine.visit() == ["urgent"]
    machine.ends(urgent)
    assert machine.visit() == ["alone"]
    assert machine.reasons(late[0]) == [MachineTaken()]
    assert machine.reasons(other) == [NotAlone(1)]
    machine.ends(alone)
    assert machine.visit() == ["late", "late gpu", "late rig"]
    machine.ends(*late)
    assert machine.visit() == ["other"]
    machine.ends(other)
    assert not machine.petitions.granted.whole
    machine.waits("last")
    assert machine.visit() == ["last"]
    assert not machine.admission.resources.whole_waits


def test_a_steady_load_of_small_ones_does_not_starve_it():
    machine = Machine()
    running = [machine.waits("first")]
    machine.visit()
    alone = machine.waits("alone", needs=ALONE)
    for number in range(20):
        running.append(machine.waits(f"small {number}"))
        machine.visit()
    assert [str(each) for each in machine.petitions.granted] == ["first"]
    machine.ends(running[0])
    assert machine.visit() == ["alone"]
    machine.ends(alone)
    assert len(machine.visit()) == 20


def test_who_is_cancelled_or_paused_while_it_waits_for_the_machine_holds_nobody_back():
    for leave in ("cancel", "pause"):
        machine = Machine()
        machine.waits("runs")
        machine.visit()
        alone = machine.waits("alone", needs=ALONE)
        machine.waits("late")
        assert machine.visit() == ["runs"]
        if leave == "cancel":
            cancellation = Cancellation(Outcome.CANCELLED, 130, None)
            transitions.cancel.cancel(machine.petitions, alone, cancellation, machine.petitions.now)
        else:
            machine.admission.pause(f"petition:{alone.seq}")
        assert machine.visit() == ["runs", "late"]


@pytest.mark.parametrize("needs", [ALONE, {"gpu": 2}])
@pytest.mark.parametrize("is_refused", [False, True])
def test_a_new_petition_that_is_cancelled_or_refused_when_it_was_asked_holds_nobody_back(needs, is_refused):
    machine = Machine()
    petitions = machine.petitions
    machine.waits("runs", needs={"gpu": 1})
    machine.waits("waits", needs={"gpu": 2}, priority=1)
    machine.visit()
    new = machine.comes("new", needs=needs)
    assert machine.admission.blocked_by(new) is not None
    late = machine.waits("late", needs={"gpu": 1})
    assert machine.visit() == ["runs"]
    assert late.why in {BehindExclusive("new"), BehindAnother("gpu", 1, 1, 2)}
    if is_refused:
        transitions.submit.refuse(petitions, new, 1, "another petition has the same key")
    else:
        transitions.cancel.cancel(petitions, new, Cancellation(Outcome.CANCELLED, 130, None), petitions.now)
        transitions.submit.accept(petitions, new, petitions.now, start=False, new_channel=False)
    assert machine.selection.are_news
    assert machine.visit() == ["runs", "late"]


def test_what_people_or_time_hold_back_waits_for_that_and_not_in_line():
    machine = Machine()
    machine.waits("runs")
    machine.visit()
    paused = machine.waits("paused", needs=ALONE)
    machine.admission.pause(f"petition:{paused.seq}")
    later = machine.waits("later", needs=ALONE, at=1e9)
    machine.waits("free")
    assert machine.visit() == ["runs", "free"]
    assert isinstance(machine.reasons(paused)[0], PetitionPaused)
    assert isinstance(later.why, StartsLater)


def test_signs_of_life_run_beside_who_has_the_machine_and_do_not_keep_others_from_it():
    machine = Machine()
    life = machine.waits("watchdog", manager=WATCHDOG_MANAGER, priority=float("-inf"))
    alone = machine.waits("alone", needs=ALONE)
    assert machine.visit() == ["watchdog", "alone"]
    machine.ends(life)
    machine.waits("again", manager=WATCHDOG_MANAGER, priority=float("-inf"))
    assert machine.visit() == ["alone", "again"]
    machine.ends(alone)


def test_no_priority_lets_a_petition_run_beside_who_has_the_machine():
    machine = Machine()
    alone = machine.waits("alone", needs=ALONE)
    assert machine.visit() == ["alone"]
    urgent = machine.waits("urgent", priority=float("-inf"))
    assert machine.visit() == ["alone"]
    assert machine.reasons(urgent) == [MachineTaken()]
    machine.ends(alone)
    assert machine.visit() == ["urgent"]


def test_an_array_waits_for_nobody_who_has_the_machine_since_its_elements_do():
    """Nobody would have more of its elements become petitions when that one ends."""
    machine = Machine()
    machine.waits("alone", needs=ALONE)
    assert machine.visit() == ["alone"]
    array, element = machine.waits("array", manager=ARRAY_MANAGER), machine.waits("array.1")
    assert machine.admission.held_by(array.seq, None) is None
    assert machine.admission.held_by(element.seq, None) == MachineTaken()


def test_who_needs_more_than_the_machine_alone_waits_for_that_too():
    machine = Machine()
    holder = machine.waits("holder", needs={"gpu": 2})
    machine.visit()
    both = machine.waits("both", needs={"gpu": 1, WHOLE: 1}, group="rig")
    assert machine.visit() == ["holder"]
    assert machine.reasons(both) == [NeedsShort("gpu", 1, 0, 2), NotAlone(1)]
    machine.ends(holder)
    assert machine.visit() == ["both"]
    waits = machine.waits("grouped", group="rig")
    machine.visit()
    assert machine.reasons(waits) == [MachineTaken(), GroupFull("rig", 1)]


def test_there_is_one_machine_which_is_no_resource_like_others():
    machine = Machine()
    assert machine.admission.refusal(None, {WHOLE: 2}) == NeverEnough(WHOLE, 2, 1)
    assert machine.admission.refusal(None, ALONE) is None
    assert machine.admission.resources.inventory.names() == ["gpu"]


@pytest.mark.parametrize("most_ready", [10_000, 8])
def test_a_lease_is_asked_though_many_commands_before_it_wait_for_a_slot(most_ready):
    machine = Machine(most_ready=most_ready, slots=1)
    held = machine.waits("held", manager=LEASE_MANAGER, needs={"gpu": 2})
    runs = machine.waits("runs")
    machine.visit()
    for number in range(2 * MAX_HEADS):
        machine.waits(f"command {number}")
    machine.waits("lease", manager=LEASE_MANAGER, needs={"gpu": 1})
    gone = machine.waits("gone", manager=LEASE_MANAGER, needs={"gpu": 1})
    assert machine.visit() == ["held", "runs"]
    cancellation = Cancellation(Outcome.CANCELLED, 130, None)
    transitions.cancel.cancel(machine.petitions, gone, cancellation, machine.petitions.now)
    machine.ends(held)
    assert machine.visit() == ["runs", "lease"]
    machine.ends(runs)
    assert machine.visit() == ["lease", "command 0"]
    assert not machine.petitions.eager
