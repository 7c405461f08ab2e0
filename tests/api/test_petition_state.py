"""API.md, orcha.interfaces: `PetitionState` and its sets."""

from __future__ import annotations

from enum import IntEnum

import pytest

from orcha.interfaces import BROKEN_STATES, RUNNING_STATES, STOPPED_STATES, PetitionState, petition

PENDING, ENQUEUED, RUNNING, FINISHED, CANCELLED, BROKEN = PetitionState


def test_is_an_int_enum_with_these_numbers():
    assert issubclass(PetitionState, IntEnum)
    assert {state.name: state.value for state in PetitionState} == {
        "PENDING": 0,
        "ENQUEUED": 1,
        "RUNNING": 2,
        "FINISHED": 3,
        "CANCELLED": 4,
        "BROKEN": 5,
    }


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("is_enqueued", {ENQUEUED}),
        ("is_running", {RUNNING}),
        ("has_finished", {FINISHED}),
        ("has_been_cancelled", {CANCELLED}),
        ("is_broken", {BROKEN}),
        ("is_stopped", {PENDING, FINISHED, BROKEN}),
        ("is_in_running_state", {RUNNING, ENQUEUED}),
        ("is_in_broken_state", {BROKEN}),
    ],
)
def test_property_holds_in_exactly_these_states(name, states):
    assert {state for state in PetitionState if getattr(state, name)} == states


def test_sets():
    assert {PENDING, FINISHED, BROKEN} == STOPPED_STATES
    assert {RUNNING, ENQUEUED} == RUNNING_STATES
    assert {BROKEN} == BROKEN_STATES


def test_lives_where_plugins_import_it_from():
    assert petition.PetitionState is PetitionState
    assert petition.STOPPED_STATES is STOPPED_STATES
