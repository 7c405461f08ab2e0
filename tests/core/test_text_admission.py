"""Petitions that are parked until a condition in text holds, and which of many leave the lot."""

from __future__ import annotations

import pytest

from orcha._core import admission as admission_module
from orcha._core import transitions
from orcha._core.admission import MIN_READY_PETITIONS_OF_A_TEXT, Admission, petition_name, text_name
from orcha._core.conditions.terms import Reading
from orcha._core.petitions import Petitions
from orcha._core.record import Record

LOAD = Reading("load", (1,))
LOW = "load(1) < 4"


class TextPetitions:
    """Petitions with conditions in text, and their admission."""

    def __init__(self):
        self.petitions = Petitions()
        self.admission = Admission(self.petitions, resources={"gpu": 2})
        self.admission.load([], {"rig": 2, "any": None})
        self.conditions = self.admission.conditions

    def waits(self, when, **declared):
        seq = self.petitions.take_seq()
        record = Record(seq, seq.to_bytes(16, "big"), f"p{seq}", "m", "me", b"", b"", 0.0)
        record.when = self.conditions.read(when)
        for name, value in declared.items():
            setattr(record, name, value)
        assert transitions.submit.receive(self.petitions, record) is None
        transitions.submit.accept(self.petitions, record, self.petitions.now, start=False, new_channel=False)
        return record

    def ask(self, record):
        """Ask, note and park as a round does; give the reason in words."""
        reason = self.admission.blocked_by(record)
        if reason is None:
            return None
        record.why = reason
        assert self.admission.park(record) == []
        return reason.text()

    def look(self, load):
        waiting = self.petitions.waiting
        self.conditions.look(lambda text: bool(waiting.parked_in(text_name(text))))
        self.conditions.take({LOAD: load})
        if self.conditions.are_true:
            self.petitions.note_change()
        return self.admission.unpark()

    def ready(self):
        return [key[1] for key in self.petitions.waiting.head(1_000)]


@pytest.fixture
def there():
    return TextPetitions()


def test_it_is_parked_and_leaves_when_its_condition_holds(there):
    record = there.waits(LOW)
    assert there.ask(record) == "load(1) is not known: it has not been looked at yet"
    assert there.petitions.waiting.lot_of(record.place) == text_name(LOW)
    assert there.look(5.5) == []
    assert there.admission.held_by(record.seq, None).text() == "load(1) < 4 is false: 5.5"
    assert [reason.text() for reason in there.admission.reasons(record)] == ["load(1) < 4 is false: 5.5"]
    assert there.admission.text_of(record.seq) == LOW
    assert there.admission.before(record, None) is None
    assert there.conditions.is_looked_at(LOW)
    assert not there.conditions.is_looked_at("running > 3")
    there.look(1)
    assert there.ready() == [record.seq]
    assert there.admission.blocked_by(record) is None
    assert there.admission.held_by(record.seq, None) is None
    assert there.admission.reasons(record) == []


def test_it_is_not_parked_where_its_condition_has_come_to_hold_since_it_was_asked(there):
    record = there.waits(LOW)
    record.why = there.admission.blocked_by(record)
    there.look(1)
    version = there.petitions.version
    assert there.admission.park(record) == []
    assert there.ready() == [record.seq]
    assert there.petitions.version > version, "it is to be asked again"


def test_of_many_with_one_condition_so_many_leave_as_a_round_asks(there):
    records = [there.waits(LOW) for _ in range(MIN_READY_PETITIONS_OF_A_TEXT * 2 + 9)]
    for record in records:
        there.ask(record)
    there.look(1)
    assert there.ready() == [record.seq for record in records[:MIN_READY_PETITIONS_OF_A_TEXT]]
    assert there.admission.held_by(records[-1].seq, None) is None
    for record in records[:50]:
        transitions.start.start(there.petitions, record, there.petitions.now)
    assert there.admission.unpark() == []
    assert there.ready() == [record.seq for record in records[50 : 50 + MIN_READY_PETITIONS_OF_A_TEXT]]


def test_those_that_are_left_wait_on_where_the_condition_is_false_again(there):
    records = [there.waits(LOW) for _ in range(MIN_READY_PETITIONS_OF_A_TEXT + 5)]
    for record in records:
        there.ask(record)
    there.look(1)
    there.look(7)
    for record in records[:MIN_READY_PETITIONS_OF_A_TEXT]:
        assert there.ask(record) == "load(1) < 4 is false: 7"
    there.admission.unpark()
    assert there.ready() == []
    there.look(2)
    assert there.ready() == [record.seq for record in records[:MIN_READY_PETITIONS_OF_A_TEXT]]


def test_what_left_the_lot_for_another_reason_is_not_looked_for(there):
    first, second = there.waits(LOW), there.waits(LOW, once="key")
    for record in (first, second):
        there.ask(record)
    there.petitions.dequeue(first)
    there.petitions.dequeue(second)
    assert there.look(1) == []
    assert there.ready() == []


def test_people_come_before_its_condition(there):
    record = there.waits(LOW)
    there.admission.pause(petition_name(record.seq))
    assert there.ask(record) == "it is paused"
    assert there.petitions.waiting.lot_of(record.place) == petition_name(record.seq)


def test_it_takes_no_place_in_the_line_for_what_it_needs(there):
    record = there.waits(LOW, needs={"gpu": 2}, group="rig")
    assert there.ask(record) == "load(1) is not known: it has not been looked at yet"
    other = there.waits("running >= 0", needs={"gpu": 2})
    assert there.admission.blocked_by(other) is None


def test_each_of_very_many_may_have_a_text_of_its_own(there, monkeypatch):
    monkeypatch.setattr(admission_module, "MAX_READY_PETITIONS", 2)
    records = [there.waits(f"load(1) < {number}") for number in range(4)]
    for record in records:
        there.ask(record)
    there.petitions.take()
    assert sorted(there.petitions.records) == [records[0].seq, records[1].seq]
    assert there.admission.text_of(records[3].seq) == "load(1) < 3"
    assert [key[1] for key in there.look(2.5)] == [records[3].seq]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("queued > 9", "queued > 9 is false: 1"),
        ("running > 0", "running > 0 is false: 0"),
        ('running_in("rig") > 0', 'running_in("rig") > 0 is false: 0'),
        ('running_in("rgi") > 0', 'running_in("rgi") is not known: there is no group rgi'),
        ('slots("rig").free > 2', 'slots("rig").free > 2 is false: 2'),
        ('slots("any").free > 2', 'slots("any").free is not known: the group any has any number of slots'),
        ('slots("rgi").free > 2', 'slots("rgi").free is not known: there is no group rgi'),
        ('resource("gpu").free > 2', 'resource("gpu").free > 2 is false: 2'),
        ('resource("tpu").free > 2', 'resource("tpu").free is not known: the service has no tpu'),
    ],
)
def test_what_the_service_knows_is_told(there, text, said):
    assert there.ask(there.waits(text)) == said


def test_what_the_service_knows_is_asked_again_when_more_wait(there):
    record = there.waits("queued > 1")
    there.ask(record)
    assert there.admission.unpark() == []
    assert there.ready() == []
    other = there.waits("running > 0")
    there.admission.unpark()
    assert there.ready() == [record.seq, other.seq]
