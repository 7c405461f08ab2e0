"""Selectors: each part that is given has to be met."""

from __future__ import annotations

import pytest

from orcha._core.selector import Described, Selector

PETITION = Described("train-7", "gpu", "night run", "uid:7", "ended", "timed_out")


@pytest.mark.parametrize(
    "given",
    [
        {"ids": ("train-7",)},
        {"ids": ("x", "train-*")},
        {"ids": ("train-[67]",)},
        {"ids": ("TRAIN-7".lower(),)},
        {"group": "gpu"},
        {"label": "night *"},
        {"owner": "uid:7"},
        {"states": ("ended",)},
        {"states": ("queued", "timed_out")},
        {"ids": ("train-?",), "group": "gpu", "label": "night run", "owner": "uid:7", "states": ("ended",)},
        {},
    ],
)
def test_what_is_described_is_met(given):
    assert Selector(**given).meets(PETITION)
    assert Selector(**given).is_empty is (given == {})


@pytest.mark.parametrize(
    "given",
    [
        {"ids": ("train",)},
        {"ids": ("TRAIN-7",)},
        {"group": "cpu"},
        {"label": "night"},
        {"owner": "uid:8"},
        {"states": ("queued",)},
        {"ids": ("train-?",), "group": "gpu", "label": "night run", "owner": "uid:7", "states": ("failed",)},
    ],
)
def test_one_part_that_is_not_met_is_enough(given):
    assert not Selector(**given).meets(PETITION)


def test_a_petition_without_group_and_label_meets_no_group_and_no_label():
    plain = Described("a", None, None, "uid:7", "queued", None)
    assert [Selector(**each).meets(plain) for each in ({"group": "g"}, {"label": "x*"}, {"states": ("queued",)})] == [
        False,
        False,
        True,
    ]
