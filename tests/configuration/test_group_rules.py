"""Which values the rules of a group may have."""

from __future__ import annotations

import pytest

from orcha._configuration.group_rules import check_rules


def test_rules_that_a_group_can_have_are_taken():
    check_rules({"per_user": 0, "rate": (1_000, 0.5), "age": 60, "longest": 3.5, "when": "load(1) < 4"})
    check_rules({"default_timeout": None})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"colour": None}, "the rules of a group are per_user, default_timeout"),
        ({"per_user": -1}, "per_user is a whole number from 0 to"),
        ({"per_user": True}, "per_user is a whole number from 0 to"),
        ({"longest": 0}, "longest is a number of seconds above 0"),
        ({"default_timeout": float("nan")}, "default_timeout is a number of seconds above 0"),
        ({"age": 59.9}, "age is 60 seconds at least"),
        ({"rate": 5}, "rate is a number of starts, and the seconds"),
        ({"rate": [1]}, "rate is a number of starts, and the seconds"),
        ({"rate": [10**9, 60]}, "rate is 1 to 1000 starts within some seconds"),
        ({"rate": [1, 0]}, "rate is a number of seconds above 0"),
        ({"when": 1}, "when is a condition in text"),
    ],
)
def test_a_value_that_no_rule_can_have_is_refused_with_those_that_it_can_have(given, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        check_rules(given)
