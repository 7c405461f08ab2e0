"""The book of granted slots beside plain counting."""

from __future__ import annotations

import threading
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orcha._core.granted import GrantedSlots
from orcha._core.record import Record


def petition(seq, key="a", *, manager="m", group=None, needs=None):
    record = Record(seq, b"", key, manager, "me", b"", None, 0.0)
    record.group, record.needs = group, needs
    return record


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from("mn"),
            st.sampled_from([None, "rig", "oven"]),
            st.dictionaries(st.sampled_from(["gpu", "ram"]), st.integers(1, 3)),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_whatever_is_taken_and_given_back_is_counted(steps):
    slots, granted = GrantedSlots(threading.Lock()), {}
    for seq, (key, manager, group, needs, gives) in enumerate(steps):
        if gives and key in granted:
            assert slots.give_back(granted.pop(key))
        granted[key] = petition(seq, key, manager=manager, group=group, needs=needs)
        slots.take(granted[key])
        held = Counter()
        for record in granted.values():
            held.update(record.needs)
        assert (set(slots), len(slots), sorted(slots.seqs())) == (
            set(granted), len(granted), sorted(record.seq for record in granted.values()),
        )  # fmt: skip
        assert Counter({name: slots.held(name) for name in slots.resources()}) == held
        in_group = Counter(record.group for record in granted.values() if record.group is not None)
        assert Counter({name: slots.in_group(name) for name in slots.groups()}) == in_group
        for name in "mn":
            assert set(slots.of_manager(name)) == {key for key, record in granted.items() if record.manager == name}


def test_what_another_petition_of_the_same_id_holds_is_not_given_back():
    slots, older, newer = GrantedSlots(), petition(1), petition(2)
    slots.take(older)
    assert not slots.give_back(newer)
    assert (slots.has(1), slots.has(2)) == (True, False)
    assert slots.give_back(older)
    assert not slots.give_back(older)


def test_what_is_given_back_is_what_was_taken_though_the_petition_says_something_else_by_now():
    slots, record = GrantedSlots(), petition(1, group="rig", needs={"gpu": 2})
    slots.take(record)
    record.group, record.needs = "oven", None
    assert slots.give_back(record)
    assert (slots.in_group("rig"), slots.held("gpu"), slots.groups(), slots.resources()) == (0, 0, [], [])
