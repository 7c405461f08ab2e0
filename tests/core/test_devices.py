"""Devices: which a petition gets, and that nobody gets what another one has."""

from __future__ import annotations

import threading
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._core import devices, resources, transitions
from orcha._core.admission import Admission
from orcha._core.devices import Device
from orcha._core.inventory import Drain, Inventory
from orcha._core.petitions import Petitions
from orcha._core.reasons import BehindAnother, Drained, NeedsShort, NeverEnough, NoSuchShare, ShareShort
from orcha._core.record import Record
from orcha._core.state import OnInterrupt, State
from orcha.interfaces.needs import read, shown, spelled

GPUS = (Device("0", {"mem": 24 << 30}), Device("1", {"mem": 80 << 30, "model": "a100"}), Device("2"))


class Machine:
    """Petitions that wait and run, and their admission over some devices."""

    def __init__(self, **resources):
        self.petitions = Petitions()
        self.admission = Admission(self.petitions, resources=resources, lock=threading.Lock())
        self.admission.load([], {})
        self.now = self.petitions.now

    def waits(self, **needs):
        seq = self.petitions.take_seq()
        record = Record(seq, seq.to_bytes(16, "big"), f"p{seq}", "m", "me", b"", b"", 0.0)
        record.needs = needs
        assert transitions.submit.receive(self.petitions, record) is None
        transitions.submit.accept(self.petitions, record, self.now, start=False, new_channel=False)
        return record

    def starts(self, record):
        assert self.admission.blocked_by(record) is None
        self.petitions.granted.take(record)
        assert transitions.start.start(self.petitions, record, self.now)
        return record.devices

    def runs(self, **needs):
        record = self.waits(**needs)
        self.starts(record)
        return record

    def ends(self, record):
        transitions.finish.action_going(self.petitions, record.seq, record.attempt)
        transitions.finish.returned(self.petitions, record.seq, record.attempt, None, self.now, processes=False)

    def cancels(self, record):
        transitions.cancel.cancel(self.petitions, record, transitions.cancel.cancelled(), self.now)

    def waits_in_line(self, record):
        assert self.admission.blocked_by(record) is not None
        self.admission.park(record)

    def forward(self):
        """Give the sequences of the petitions that leave the lots now."""
        waiting = self.petitions.waiting
        parked = [record for record in self.petitions.records.values() if waiting.is_parked(record.place)]
        self.admission.unpark()
        return [record.seq for record in parked if not waiting.is_parked(record.place)]

    def blocked(self, **needs):
        """Give why a petition with these needs would wait; it waits no more afterwards."""
        record = self.waits(**needs)
        reason = self.admission.blocked_by(record)
        assert self.admission.reasons(record) == [reason]
        self.cancels(record)
        return reason


def test_each_gets_devices_of_its_own_which_are_kept_with_the_attempt():
    machine = Machine(gpu=GPUS, ram=8)
    first, second = machine.runs(gpu=2, ram=4), machine.runs(gpu=1)
    assert (first.devices, second.devices) == ({"gpu": ("0", "1")}, {"gpu": ("2",)})
    assert machine.petitions.changes.devices == {(1, 1): first.devices, (2, 1): second.devices}
    assert machine.blocked(gpu=1) == NeedsShort("gpu", 1, 0, 3)
    machine.ends(first)
    assert first.devices is None
    assert machine.runs(gpu=1).devices == {"gpu": ("0",)}


def test_what_is_a_count_gives_no_names():
    machine = Machine(gpu=2)
    assert machine.runs(gpu=1).devices is None
    assert not machine.petitions.changes.devices
    assert machine.blocked(gpu="1@mem>1") == NeverEnough("gpu", 1, 0, "mem>1")


def test_parts_share_one_device_and_leave_the_others_whole():
    machine = Machine(gpu=GPUS)
    assert [machine.runs(gpu="0.5").devices["gpu"] for _ in range(2)] == [("0",), ("0",)]
    assert machine.runs(gpu="0.3").devices == {"gpu": ("1",)}
    assert machine.runs(gpu=1).devices == {"gpu": ("2",)}
    assert machine.blocked(gpu="0.75") == ShareShort("gpu", 0.75, 0.7)
    assert machine.admission.blocked_by(machine.waits(gpu=1)) == NeedsShort("gpu", 1, 0, 3)
    assert machine.admission.blocked_by(machine.waits(gpu="0.7")) == BehindAnother("gpu", 0.7, 0.7, 3)


def test_ten_tenths_are_one():
    machine = Machine(gpu=(Device("0"),))
    tenths = [machine.runs(gpu="0.1") for _ in range(10)]
    assert machine.blocked(gpu="0.000001") == ShareShort("gpu", 0.000001, 0)
    for record in tenths:
        machine.ends(record)
    assert not machine.petitions.granted.used("gpu")
    assert machine.petitions.granted.held("gpu") == 0


def test_only_devices_that_are_as_wanted_are_given():
    machine = Machine(gpu=GPUS)
    assert machine.runs(gpu="1@mem>=40G").devices == {"gpu": ("1",)}
    assert machine.blocked(gpu="1@model=a100") == NeedsShort("gpu", 1, 0, 1, "model=a100")
    assert machine.admission.refusal(None, {"gpu": "2@mem>=40G"}) == NeverEnough("gpu", 2, 1, "mem>=40G")
    assert machine.admission.refusal(None, {"gpu": "0.5@mem>=1T"}) == NeverEnough("gpu", 0.5, 0, "mem>=1T")
    assert machine.admission.refusal(None, {"gpu": "1.5"}) == NoSuchShare("gpu", 1.5)
    assert machine.admission.refusal(None, {"gpu": 4}) == NeverEnough("gpu", 4, 3)
    assert machine.admission.refusal(None, {"gup": "1@name=9"}) == NeverEnough("gup", 1, 0)


@pytest.mark.parametrize("sign", [">=", ">", "=", "!=", "<=", "<"])
def test_a_property_is_compared_as_it_says(sign):
    need = read(f"1@mem{sign}24")
    met = [Device("a", {"mem": value}).meets(need) for value in (23, 24, 25, "24 or so")]
    numbers = {
        ">=": [False, True, True],
        ">": [False, False, True],
        "=": [False, True, False],
        "!=": [True, False, True],
        "<=": [True, True, False],
        "<": [True, False, False],
    }
    assert met == [*numbers[sign], sign == "!="]
    assert not Device("a").meets(need)


def test_what_an_attempt_has_stays_its_own_after_a_restart():
    machine = Machine(gpu=GPUS)
    record = Record(7, b"", "old", "m", "me", b"", None, 0.0)
    record.needs, record.devices = {"gpu": 1}, {"gpu": ("1",)}
    machine.petitions.hold(record)
    assert machine.runs(gpu=2).devices == {"gpu": ("0", "2")}


@pytest.mark.parametrize("state", [State.STARTING, State.HELD])
def test_after_a_restart_an_attempt_that_did_not_live_on_has_nothing_and_the_next_one_gets_what_is_free(state):
    machine = Machine(gpu=GPUS)
    record = Record(7, b"", "old", "m", "me", b"", None, 0.0)
    record.state, record.attempt, record.on_interrupt = state, 1, OnInterrupt.ASK
    record.needs, record.devices = {"gpu": 1}, {"gpu": ("1",)}
    transitions.recover.recovered(machine.petitions, record, machine.now, hook_pending=False, slot_held=False)
    machine.petitions.load(record)
    assert machine.runs(gpu="1@name=1").devices == {"gpu": ("1",)}
    machine.petitions.granted.take(record)
    assert machine.petitions.granted.devices(record.key) == {"gpu": ("0",)}


def test_what_gets_another_priority_while_it_is_asked_is_asked_again_at_its_new_place_and_then_waits_in_line():
    machine = Machine(gpu=2)
    runs, waits = machine.runs(gpu=1), machine.waits(gpu=2)
    assert machine.admission.blocked_by(waits) == NeedsShort("gpu", 2, 1, 2)
    version = machine.petitions.version
    transitions.hold.reprioritize(machine.petitions, machine.admission.resources, waits, -3)
    machine.admission.park(waits)
    assert not machine.petitions.waiting.is_parked(waits.place)
    assert machine.petitions.version > version
    machine.waits_in_line(waits)
    assert machine.petitions.waiting.is_parked(waits.place)
    machine.ends(runs)
    assert machine.forward() == [waits.seq]


def test_what_was_granted_without_names_counts_all_the_same():
    machine = Machine(gpu=GPUS)
    record = Record(7, b"", "old", "m", "me", b"", None, 0.0)
    record.needs, record.devices = {"gpu": 1}, {"gpu": ("none of these",)}
    machine.petitions.hold(record)
    assert machine.blocked(gpu=3) == NeedsShort("gpu", 3, 2, 3)


def test_a_condition_sees_what_is_wholly_free():
    machine = Machine(gpu=GPUS)
    machine.runs(gpu="0.5")
    assert machine.admission.resources.free("gpu") == 2
    assert machine.admission.resources.in_use()[0][:3] == ("gpu", 3, 0.5)


def fan(why="fan"):
    return Drain(why, "uid:0", 1.0)


def test_nothing_is_placed_on_what_is_drained_and_what_it_cannot_do_without_holds_nobody_back():
    machine = Machine(gpu=GPUS, ram=8)
    inventory, resources = machine.admission.resources.inventory, machine.admission.resources
    inventory.drain("gpu", "0", fan())
    assert machine.runs(gpu=1).devices == {"gpu": ("1",)}
    assert machine.blocked(gpu=3) == Drained("gpu", 3, 2, (("gpu:0", "fan"),))
    assert machine.blocked(ram=8, gpu=3) == Drained("gpu", 3, 2, (("gpu:0", "fan"),))
    assert inventory.choose({"gpu": 3, "ram": 8}, {"gpu": {"1": 1, "2": 1}}) is None
    large = machine.waits(gpu=3)
    assert machine.admission.blocked_by(large) == machine.admission.held_by(large.seq, None) == machine.blocked(gpu=3)
    machine.admission.park(large)
    assert machine.admission.before(large, None) is None
    assert resources.before(large.seq) is None
    assert machine.runs(gpu=1).devices == {"gpu": ("2",)}
    inventory.drain("gpu", "0", None)
    resources.rearrange()
    assert machine.admission.blocked_by(machine.waits(gpu=1)) == BehindAnother("gpu", 1, 1, 3)
    inventory.drain("gpu", None, fan("")), inventory.drain("ram", None, fan())
    resources.rearrange()
    assert machine.blocked(gpu="0.5") == Drained("gpu", 0.5, 0, (("gpu", ""),))
    assert machine.blocked(ram=1) == Drained("ram", 1, 0, (("ram", "fan"),))
    assert inventory.room("ram", read(1), 0, {}) == 0


def test_what_waits_for_what_is_drained_goes_when_that_is_over_in_its_order():
    machine = Machine(gpu=GPUS[:1])
    first = machine.runs(gpu=1)
    waiting = [machine.waits(gpu=1) for _ in range(3)]
    for record in waiting:
        assert machine.admission.blocked_by(record) is not None
        machine.admission.park(record)
    inventory = machine.admission.resources.inventory
    inventory.drain("gpu", "0", fan())
    machine.admission.resources.rearrange()
    machine.ends(first)
    machine.admission.unpark()
    assert machine.petitions.waiting.head(9) == []
    inventory.drain("gpu", "0", None)
    machine.admission.resources.rearrange()
    machine.admission.unpark()
    assert machine.petitions.waiting.head(9) == [waiting[0].place]


def test_what_can_be_placed_stays_in_line_whatever_else_is_drained():
    machine = Machine(gpu=GPUS, ram=8)
    machine.runs(ram=8)
    first = machine.waits(ram=1)
    assert machine.admission.blocked_by(first) == NeedsShort("ram", 1, 0, 8)
    machine.admission.resources.inventory.drain("gpu", "0", fan())
    machine.admission.resources.rearrange()
    assert machine.admission.blocked_by(machine.waits(ram=1)) == NeedsShort("ram", 1, 0, 8)
    assert machine.admission.blocked_by(first) == NeedsShort("ram", 1, 0, 8)


def test_a_device_that_is_drained_between_the_yes_and_the_grant_is_still_given():
    machine = Machine(gpu=GPUS[:1])
    record = machine.waits(gpu=1)
    assert machine.admission.blocked_by(record) is None
    machine.admission.resources.inventory.drain("gpu", "0", fan())
    machine.petitions.granted.take(record)
    assert machine.petitions.granted.devices(record.key) == {"gpu": ("0",)}


def test_there_is_as_much_as_was_set_and_what_runs_keeps_what_it_has():
    machine = Machine(gpu=2)
    machine.runs(gpu=2)
    inventory = machine.admission.resources.inventory
    inventory.set("gpu", GPUS)
    machine.admission.resources.rearrange()
    assert machine.runs(gpu=1).devices == {"gpu": ("0",)}
    assert machine.blocked(gpu=1) == NeedsShort("gpu", 1, 0, 3)
    inventory.set("gpu", None)
    assert machine.blocked(gpu=1) == NeverEnough("gpu", 1, 0)
    inventory.set("gpu", 4)
    assert machine.runs(gpu=1).devices is None


def test_what_processes_of_no_petition_use_is_not_free_until_they_end():
    machine = Machine(gpu=GPUS)
    resources = machine.admission.resources
    ours = machine.runs(gpu=1)
    resources.see({"gpu": {"0": "train (pid 5)", "1": "python (pid 7)"}})
    assert machine.runs(gpu=1).devices == {"gpu": ("2",)}
    waits = machine.waits(gpu=1)
    reason = NeedsShort("gpu", 1, 0, 3, foreign=(("gpu:1", "python (pid 7)"),))
    assert machine.admission.blocked_by(waits) == machine.admission.held_by(waits.seq, None) == reason
    machine.ends(ours)
    reason = NeedsShort("gpu", 1, 0, 3, foreign=(("gpu:0", "train (pid 5)"), ("gpu:1", "python (pid 7)")))
    assert machine.admission.blocked_by(waits) == reason
    machine.admission.park(waits)
    resources.see({})
    assert machine.admission.unpark() == []
    assert machine.petitions.waiting.head(9) == [waits.place]
    assert machine.starts(waits) == {"gpu": ("0",)}


def test_what_a_petition_waits_for_is_told_of_the_devices_alone_that_it_could_get():
    machine = Machine(gpu=GPUS, ram=1)
    machine.runs(gpu="1@mem>=80G", ram=1)
    machine.runs(gpu="0.5@name=2")
    machine.admission.resources.see({"gpu": {"0": "train (pid 5)"}})
    assert machine.blocked(gpu="1@name=2") == NeedsShort("gpu", 1, 0, 1, "name=2")
    assert machine.blocked(gpu="1@name=0") == NeedsShort("gpu", 1, 0, 1, "name=0", (("gpu:0", "train (pid 5)"),))
    holders = machine.petitions.granted.holders
    assert holders(resource="gpu") == holders(resource="gpu", need=1) == ["p1", "p2"]
    assert holders(resource="gpu", need="1@name=2") == ["p2"]
    assert holders(resource="gpu", need="1@mem>=24G") == ["p1"]
    assert holders(resource="ram", need=1) == ["p1"]


def test_what_is_short_beside_what_is_drained_is_told_as_well():
    machine = Machine(gpu=GPUS, tape=(Device("0"),), ram=1)
    machine.runs(ram=1)
    inventory = machine.admission.resources.inventory
    for name in ("gpu", "tape"):
        inventory.drain(name, None, Drain("a fan", "me", 0.0))
    waits = machine.waits(tape=1, ram=1, gpu=1)
    drained = [Drained(name, 1, 0, ((name, "a fan"),)) for name in ("tape", "gpu")]
    assert machine.admission.reasons(waits) == [*drained, NeedsShort("ram", 1, 0, 1)]
    assert machine.admission.blocked_by(waits) == drained[0]


NEEDS = st.sampled_from([1, 2, 3, "0.1", "0.5", "0.7", "1@mem>=20G", "0.5@model=a100"])


@given(st.lists(st.one_of(NEEDS, st.integers(0, 20)), max_size=40))
def test_no_device_is_ever_given_beyond_what_it_is(steps):
    machine, running = Machine(gpu=GPUS), []
    for step in steps:
        if isinstance(step, int) and step > 3:
            if running:
                machine.ends(running.pop(step % len(running)))
            continue
        need = step or 1
        record = machine.waits(gpu=need)
        if machine.admission.blocked_by(record) is not None:
            machine.cancels(record)
            continue
        machine.starts(record)
        running.append(record)
        used = {device.name: Fraction(0) for device in GPUS}
        for each in running:
            wanted = read(each.needs["gpu"])
            names = each.devices["gpu"]
            assert len(set(names)) == (1 if wanted.is_share else wanted.amount)
            for name in names:
                used[name] += min(1, wanted.amount)
                assert next(device for device in GPUS if device.name == name).meets(wanted)
        assert max(used.values()) <= 1
        assert {name: share for name, share in used.items() if share} == machine.petitions.granted.used("gpu")


@given(st.fractions(0, 1000, max_denominator=1000))
def test_an_amount_is_written_as_it_is_read(amount):
    exact = Fraction(round(amount * 1000), 1000)
    if exact:
        assert read(spelled(exact)).amount == exact
    assert shown(exact) == float(exact)


RIGS = (Device("a"), Device("b"))


def test_who_waits_for_one_device_does_not_keep_others_from_the_devices_beside_it():
    machine = Machine(rig=RIGS)
    leased = machine.runs(rig="1@name=a")
    first, second = machine.waits(rig="1@name=a"), machine.waits(rig="1@name=a")
    machine.waits_in_line(first)
    machine.waits_in_line(second)
    other = machine.runs(rig=1)
    assert other.devices == {"rig": ("b",)}
    third = machine.waits(rig="1@name=b")
    machine.waits_in_line(third)
    machine.ends(other)
    assert machine.forward() == [third.seq]
    assert machine.starts(third) == {"rig": ("b",)}
    machine.ends(leased)
    assert machine.forward() == [first.seq]
    assert machine.starts(first) == {"rig": ("a",)}
    assert machine.admission.resources.before(second.seq) == 0


def test_who_may_have_any_device_leaves_the_one_for_which_another_waits():
    machine = Machine(rig=RIGS, licence=1)
    holder = machine.runs(licence=1)
    named = machine.waits(rig="1@name=a", licence=1)
    leased = machine.runs(rig="1@name=a")
    machine.waits_in_line(named)
    machine.ends(leased)
    assert machine.blocked(rig=1) == BehindAnother("rig", 1, 2, 2)
    assert machine.runs(rig="0.5@name=b").devices == {"rig": ("b",)}
    assert machine.blocked(rig="0.5@name=a") == BehindAnother("rig", 0.5, 1, 1, "name=a")
    machine.ends(holder)
    assert machine.forward() == [named.seq]


def test_who_needs_all_devices_is_not_starved_by_who_needs_one_by_its_name():
    machine = Machine(rig=RIGS)
    machine.runs(rig="1@name=a")
    both = machine.waits(rig=2)
    machine.waits_in_line(both)
    assert machine.blocked(rig="1@name=b") == BehindAnother("rig", 1, 1, 1, "name=b")


def test_a_count_has_one_line_whatever_is_asked_of_its_devices():
    machine = Machine(rig=1)
    machine.runs(rig=1)
    machine.waits_in_line(machine.waits(rig=1))
    assert machine.blocked(rig="1@name=a") == NeverEnough("rig", 1, 0, "name=a")


def test_lines_in_which_nobody_stands_are_forgotten(monkeypatch):
    monkeypatch.setattr(resources, "MAX_LINES_OF_DEVICES", 2)
    machine = Machine(rig=tuple(Device(str(number)) for number in range(9)))
    machine.runs(rig=9)
    waits = [machine.waits(rig=f"1@name={number}") for number in range(9)]
    for record in waits:
        machine.waits_in_line(record)
        machine.cancels(record)
    assert len(machine.admission.resources._wheres["rig"]) <= 3


def test_what_needs_say_of_devices_is_compared_with_them_once_and_forgotten_where_that_is_much(monkeypatch):
    monkeypatch.setattr(devices, "MAX_KNOWN_REQUIREMENTS", 2)
    compared = []
    monkeypatch.setattr(devices, "fitting", lambda of, need: compared.append(need) or [each.name for each in of])
    pool = devices.Pool((Device("0"), Device("1")))
    a, b, c = (read(f"1@mem>={size}") for size in (1, 2, 3))
    assert [pool.fitting(each) for each in (a, b, a, c, a)] == [["0", "1"]] * 5
    assert compared == [a, b, c, a]
    assert pool.fitting(a, without={"0"}) == ["1"]
    assert Inventory({"ram": 1}).fitting("ram", a) == []
