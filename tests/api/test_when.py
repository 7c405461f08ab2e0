"""Conditions in text from Python: `When`, and the names that a manager adds."""

from __future__ import annotations

import pytest

import orcha
from orcha import Manager, When
from orcha.interfaces import Policy


class Rigs(Manager):
    def convert_to_petition(self, m):
        return None

    def on_start(self, petition):
        return True

    def on_finish(self, petition):
        return True

    def heat(self, rig: str, minutes: int) -> float:
        return len(rig) * float(minutes)


@pytest.fixture
def rigs():
    return Rigs(is_client=True)


def test_it_is_offered_at_the_top_level():
    assert orcha.When is When is orcha.interfaces.When
    assert Policy(when="hour > 3").when == When("hour > 3")


def test_a_manager_adds_a_name_with_the_arguments_of_its_function(rigs):
    rigs.register_value("rig.heat", rigs.heat, sentence="How warm.", example='rig("a", 5).heat < 60')
    term, function = rigs._named_values["rig.heat"]
    assert term.written == "rig(rig, minutes).heat"
    assert function("ab", 3) == 6


@pytest.mark.parametrize(
    ("name", "kind", "example", "error", "told"),
    [
        ("rig heat", "number", "hour > 3", ValueError, "can be no name in a condition"),
        ("rig.if", "number", "hour > 3", ValueError, "can be no name in a condition"),
        ("", "number", "hour > 3", ValueError, "can be no name in a condition"),
        ("hour", "number", "hour > 3", ValueError, "every condition knows hour already"),
        (
            "heat",
            "degrees",
            "heat > 3",
            ValueError,
            "kind is one of number, size, duration, text, truth, not 'degrees'",
        ),
        ("heat", "size", "heat > 3", ValueError, "3 is a number, and heat is a size"),
        ("heat", "number", "heats > 3", ValueError, "there is no heats: did you mean heat"),
    ],
)
def test_what_can_be_no_name_is_refused_where_it_is_added(rigs, name, kind, example, error, told):
    with pytest.raises(error, match=told):
        rigs.register_value(name, lambda: 3, kind=kind, sentence="How warm.", example=example)


def test_a_function_that_takes_what_no_condition_gives_is_refused(rigs):
    def all_of_them(*rigs: str) -> int:
        return len(rigs)

    def of_a_list(rigs: list) -> int:
        return len(rigs)

    for function in (all_of_them, of_a_list):
        with pytest.raises(TypeError, match="a condition gives it texts"):
            rigs.register_value("heat", function, sentence="How warm.", example="heat > 3")
