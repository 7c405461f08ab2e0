"""Conditions for which petitions are parked: asked when something that they name changes, and then once for all."""

from __future__ import annotations

import pytest

from orcha._core.conditions.book import IDLE_LOOKS, ConditionBook
from orcha._core.conditions.condition import Condition, UnreadableCondition
from orcha._core.conditions.errors import ConditionTextError
from orcha._core.conditions.kinds import Unknown, ValueKind
from orcha._core.conditions.terms import BUILT_IN, Origin, Reading, Term
from orcha._core.conditions.times import LocalTime

LOAD, HOUR = Reading("load", (1,)), Reading("hour")
NOON = LocalTime(day=1, weekday=0, seconds=12 * 3600)


class Parked:
    """A book, and the texts that petitions are parked for."""

    def __init__(self):
        self.running = 0
        self.texts = set()
        self.book = ConditionBook({"running": lambda: self.running, "running_in": len})

    def park(self, text):
        condition = self.book.read(text)
        reason = self.book.blocked_by(condition)
        assert reason is not None
        self.texts.add(condition.text)
        self.book.waits(condition)
        return reason

    def look(self, times=1):
        return [self.book.look(self.texts.__contains__) for _ in range(times)][-1]

    def true(self):
        texts = sorted(self.book.take_true())
        self.texts -= set(texts)
        return texts


@pytest.fixture
def parked():
    return Parked()


def test_what_was_not_looked_at_yet_blocks(parked):
    reason = parked.park("load(1) < 4")
    assert reason.parts == ("load(1) is not known: it has not been looked at yet",)
    assert reason.condition == "load(1) < 4"
    assert parked.book.is_news


def test_it_holds_as_soon_as_a_look_says_so(parked):
    parked.park("load(1) < 4")
    assert parked.look()
    assert not parked.book.is_news
    assert parked.book.to_look_at() == [LOAD]
    parked.book.take({LOAD: 5.0})
    assert not parked.book.are_true
    assert parked.true() == []
    parked.book.take({LOAD: 3.0})
    assert parked.book.are_true
    assert parked.true() == ["load(1) < 4"]
    assert parked.book.blocked_by(parked.book.read("load(1) < 4")) is None


def test_texts_whose_values_did_not_change_are_not_asked(parked, monkeypatch):
    parked.park("load(1) < 4")
    parked.look()
    parked.book.take({LOAD: 5.0})
    asked = []
    monkeypatch.setattr(Condition, "holds", lambda condition, _: asked.append(condition.text))
    parked.book.take({LOAD: 5.0})
    parked.true()
    assert not asked
    parked.book.take({LOAD: 5.5})
    parked.true()
    assert asked == ["load(1) < 4"]


def test_one_reading_serves_all_that_name_it(parked):
    for most in range(1, 5):
        parked.park(f"load(1) < {most}")
    parked.look()
    assert parked.book.to_look_at() == [LOAD]
    parked.book.take({LOAD: 2.5})
    assert parked.true() == ["load(1) < 3", "load(1) < 4"]
    parked.book.take({LOAD: 0.5})
    assert parked.true() == ["load(1) < 1", "load(1) < 2"]


def test_what_the_service_knows_is_never_looked_at(parked):
    parked.running = 1
    parked.park("running < 1")
    parked.park("running_in('rig') < 3")
    assert parked.look()
    assert parked.book.to_look_at() == []
    assert parked.true() == []
    assert parked.true() == []
    parked.running = 0
    assert parked.true() == ["running < 1"]


def test_a_value_of_the_service_that_was_another_one_at_a_look_only_is_noticed(parked):
    """As where a petition that begins is taken back, since the disk is full: it ran for a moment."""
    parked.park("load(1) < 4 and running < 1")
    parked.look()
    assert parked.true() == []
    parked.running = 1
    parked.book.take({LOAD: 3.0})
    parked.running = 0
    assert parked.true() == ["load(1) < 4 and running < 1"]


def test_the_time_of_day_is_taken_when_it_changes(parked):
    parked.park("hour > 12 and load(1) < 9")
    parked.look()
    assert parked.book.to_look_at() == [LOAD]
    assert parked.book.take_time(NOON) == 3600
    parked.book.take({LOAD: 1.0})
    assert parked.true() == []
    parked.book.take_time(NOON._replace(seconds=13 * 3600))
    assert parked.true() == ["hour > 12 and load(1) < 9"]


def test_nothing_is_looked_at_when_nobody_waits(parked):
    parked.park("load(1) < 4")
    parked.look()
    parked.book.take({LOAD: 1.0})
    assert parked.true() == ["load(1) < 4"]
    assert parked.look(IDLE_LOOKS + 1)
    assert not parked.look()
    assert parked.book.to_look_at() == []
    assert parked.book.take_time(NOON) is None
    assert parked.book.blocked_by(parked.book.read("load(1) < 4")).parts == (
        "load(1) is not known: it has not been looked at yet",
    )


def test_what_is_asked_again_and_again_stays_known(parked):
    condition = parked.book.read("load(1) < 4")
    for _ in range(IDLE_LOOKS * 2):
        assert parked.look()
        parked.book.take({LOAD: 1.0})
        assert parked.book.blocked_by(condition) is None


def test_what_comes_late_for_what_is_not_wanted_any_more_is_not_taken(parked):
    parked.look()
    parked.book.take({LOAD: 1.0})
    assert parked.book.get(LOAD) is None


def test_a_petition_that_left_its_lot_leaves_nothing_behind(parked):
    parked.park("load(1) < 4 and running < 0")
    parked.park("load(1) < 3")
    parked.texts.discard("load(1) < 4 and running < 0")
    parked.look()
    parked.book.take({LOAD: 1.0})
    assert parked.true() == ["load(1) < 3"]


def test_a_condition_that_was_forgotten_can_be_waited_for(parked):
    condition = parked.book.read("load(1) < 4")
    assert not parked.look(IDLE_LOOKS + 3)
    parked.texts.add(condition.text)
    parked.book.waits(condition)
    assert parked.book.is_news
    assert parked.look()
    parked.book.take({LOAD: Unknown("broken")})
    assert parked.true() == []
    assert parked.book.reason(condition).parts == ("load(1) is not known: broken",)


def test_a_text_on_several_lines_is_known_by_its_one_line(parked):
    parked.park("load(1) < 4\nand load(1) > 0")
    parked.look()
    parked.book.take({LOAD: 1.0})
    assert parked.true() == ["load(1) < 4 and load(1) > 0"]


def test_a_name_that_is_gone_blocks_and_is_told():
    term = Term("heat", ValueKind.NUMBER, Origin.PLUGIN, "How warm it is.", "heat < 60")
    before = ConditionBook({}, BUILT_IN.extended([term]))
    assert not isinstance(before.read_again("heat < 60"), UnreadableCondition)
    book = ConditionBook({})
    condition = book.read_again("heat < 60")
    assert book.blocked_by(condition).text() == "there is no heat: --when help says what there is"
    book.waits(condition)
    assert book.take_true() == set()
    assert not book.look(lambda _: True)
    with pytest.raises(ConditionTextError):
        book.read("heat < 60")
