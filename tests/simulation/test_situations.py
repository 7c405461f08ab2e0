"""The table of situations says what every event makes of a petition in each of them, and nothing else."""

from __future__ import annotations

import pytest

from orcha._core.moves import MOVES, Event
from orcha._core.situations import Situation, situation
from orcha._core.state import OnInterrupt, State
from support.situation_walk import RETRY, Kind, Walker, walk


@pytest.mark.slow
def test_every_event_leads_where_the_table_says_and_to_each_place_that_it_names():
    seen: dict[tuple[Situation, Event], set[Situation]] = {}
    for move in walk():
        seen.setdefault((move.before, move.event), set()).add(move.after)
    leads_on = {where: after for where, after in seen.items() if after != {where[0]}}
    assert leads_on == {(before, event): set(ends) for before, row in MOVES.items() for event, ends in row.items()}


def test_every_event_leads_somewhere_or_is_known_to_change_no_situation():
    leading = {event for row in MOVES.values() for event in row}
    assert set(Event) - leading == {Event.REPRIORITIZED, Event.PARKED, Event.UNPARKED}


def test_a_combination_of_fields_that_is_no_situation_is_told():
    walker = Walker(Kind(command=False, retry=None, on_interrupt=OnInterrupt.FAIL))
    walker.record.state = State.RUNNING
    with pytest.raises(AssertionError, match="no legal situation"):
        situation(walker.petitions, walker.record)


@pytest.mark.parametrize("retry", [None, RETRY], ids=["never_again", "retry"])
def test_the_time_of_a_first_attempt_is_kept_until_that_begins(retry):
    walker = Walker(Kind(command=False, retry=retry, on_interrupt=OnInterrupt.FAIL))
    for event in (Event.ACCEPTED, Event.TIME_CAME, Event.YES):
        assert walker.situation is not Situation.STARTING
        happens = [each for come, each in walker.choices() if come is event][-1]
        happens()
        walker.keep()
    assert walker.situation is Situation.STARTING
    assert not walker.store.resting()
