"""Groups, keys, other priorities and pauses: every store keeps them."""

from __future__ import annotations

import pytest

from orcha._core.changes import PART_BYTES, Altered, ArrayStop, Changes, NewAlteration, NewArray, NewDependency
from orcha._core.state import IfFails, Outcome, State
from orcha._store.contract import ArrayRow, Element, KeptDependency, Waiting
from orcha._store.declarations import WRITERS
from orcha._store.memory import MemoryStore
from support.changes import ANY_STATE, MANAGER, accept, end, petition, step, steps


def five(store):
    changes = accept(*(petition(seq) for seq in range(1, 6)))
    changes.groups = {2: "rig", 4: "rig", 5: "o'ther\0 \U0001f600"}
    changes.once = {1: "a key", 2: "a key"}
    store.commit(changes)


def test_groups_come_back_and_are_listed(store):
    five(store)
    assert store.groups([1, 2, 3, 4, 5, 6]) == {2: "rig", 4: "rig", 5: "o'ther\0 \U0001f600"}
    assert store.groups([]) == {}
    for which, found in (({}, [4, 2]), ({"before": 4}, [2]), ({"before": 2}, [])):
        assert [row.seq for row in store.page(states=ANY_STATE, limit=9, group="rig", **which)] == found
    assert [row.seq for row in store.page(states=ANY_STATE, limit=1, group="rig")] == [4]
    assert store.page(states=1 << State.ENDED, limit=9, group="rig") == []


def test_a_long_group_is_listed_whole(store):
    changes = accept(*(petition(seq) for seq in range(1, 131)))
    changes.groups = dict.fromkeys(range(1, 131), "rig")
    store.commit(changes)
    assert [row.seq for row in store.page(states=ANY_STATE, limit=120, group="rig")] == list(range(130, 10, -1))


def test_keys_of_what_has_not_ended_are_known(store):
    five(store)
    store.commit(steps(end(1)))
    assert store.once() == [(2, MANAGER, "uid:0", "a key")]


def test_keys_of_what_has_ended_and_holds_its_slot_are_known(store):
    five(store)
    store.commit(steps(end(1, slot_held=True), end(2)))
    assert store.once() == [(1, MANAGER, "uid:0", "a key")]


def test_another_priority_is_kept_of_what_waits(store):
    five(store)
    store.commit(Changes(priorities={3: -1.5, 4: float("-inf"), 99: 1}))
    assert [waiting[:2] for waiting in store.waiting(MANAGER)] == [
        (float("-inf"), 4),
        (-1.5, 3),
        (0, 1),
        (0, 2),
        (0, 5),
    ]
    assert next(store.waiting(MANAGER)) == Waiting(float("-inf"), 4, "job-4", "uid:0")
    changes = steps(step(3, State.STARTING, to_attempt=1))
    changes.priorities = {3: 7}
    store.commit(changes)
    assert store.rows([3])[0].priority == -1.5


def test_what_people_change_is_kept_in_place_of_what_was_and_remembered(open_store):
    both = open_store(), MemoryStore()
    for store in both:
        five(store)
        store.commit(Changes(needs={2: {"gpu": 1}}, expected={2: 9.5}))
        store.commit(Changes(dependencies={2: [NewDependency(1, "job-1", must_succeed=True, if_fails=1)]}))
        altered = Altered(
            b"\x81", -2, "new", {"rig": 2}, 7.5, [NewDependency(3, "job-3", must_succeed=False, if_fails=2)]
        )
        notes = [NewAlteration(2, 1.5 + number, "me", "{}") for number in range(30)]
        store.commit(Changes(altered={2: altered}, alterations=notes))
        store.commit(Changes(altered={4: Altered(b"\x80", 0, None, None, None)}))
        with pytest.raises(ValueError, match="no petition 9"):
            store.commit(Changes(altered={9: altered}))
    both[0].close()
    for store in (open_store(), both[1]):
        (row,) = store.rows([2])
        assert (row.extras, row.priority) == (b"\x81", -2)
        assert (store.groups([2, 4]), store.needs([2]), store.expected([2])) == ({2: "new"}, {2: {"rig": 2}}, {2: 7.5})
        assert [(kept.after, kept.must_succeed) for kept in store.dependencies([2])] == [(3, False)]
        assert [kept.at for kept in store.alterations(2)] == [1.5 + number for number in range(10, 30)]
        store.commit(steps(end(2)))
        store.commit(Changes(deleted=[2]))
        assert store.alterations(2) == []


def test_pauses_are_kept_until_they_are_taken_back(store):
    store.commit(Changes(pauses={"all": True, "group:rig": True}))
    store.commit(Changes(pauses={"all": False, "group:rig": True, "petition:7": False}))
    assert store.pauses() == {"group:rig"}


def test_what_is_forgotten_leaves_nothing(store):
    five(store)
    store.commit(Changes(pauses={"petition:2": True}))
    store.commit(steps(end(2), end(4)))
    assert store.ended() == 2
    store.commit(Changes(deleted=[2, 4]))
    assert (store.groups([2, 4]), store.pauses(), store.ended()) == ({}, set(), 0)
    assert store.once() == [(1, MANAGER, "uid:0", "a key")]
    assert store.page(states=ANY_STATE, limit=9, group="rig") == []


def test_all_of_it_is_there_when_the_store_is_opened_again(open_store):
    store = open_store()
    five(store)
    store.commit(Changes(pauses={"all": True}, priorities={1: 3}))
    store.close()
    store = open_store()
    assert (store.groups([2]), store.pauses(), store.rows([1])[0].priority) == ({2: "rig"}, {"all"}, 3)
    assert [known[0] for known in store.once()] == [1, 2]


def test_needs_come_back_and_go_with_their_petitions(open_store):
    store = open_store()
    changes = accept(*(petition(seq) for seq in range(1, 4)))
    changes.needs = {1: {"gpu": 1, "o'ther \U0001f600": 2**53}, 3: {"gpu": 2}}
    store.commit(changes)
    store.close()
    store = open_store()
    assert store.needs([1, 2, 3, 4]) == {1: {"gpu": 1, "o'ther \U0001f600": 2**53}, 3: {"gpu": 2}}
    assert store.needs([]) == {}
    store.commit(steps(end(3)))
    store.commit(Changes(deleted=[3]))
    assert store.needs([1, 3]) == {1: {"gpu": 1, "o'ther \U0001f600": 2**53}}


def test_how_long_petitions_will_probably_take_is_kept_as_long_as_they_are(open_store):
    store = open_store()
    changes = accept(*(petition(seq) for seq in range(1, 4)))
    changes.expected = {1: 1800.0, 3: 0.25}
    store.commit(changes)
    store.close()
    store = open_store()
    assert (store.expected([1, 2, 3]), store.expected([])) == ({1: 1800.0, 3: 0.25}, {})
    store.commit(steps(end(3)))
    store.commit(Changes(deleted=[3]))
    assert store.expected([1, 3]) == {1: 1800.0}


def test_parts_and_devices_come_back_and_go_with_their_petitions(open_store):
    store = open_store()
    changes = accept(*(petition(seq) for seq in range(1, 4)))
    changes.needs = {1: {"gpu": "0.5", "rig": "1@mem>=20G"}, 2: {"gpu": 1}}
    changes.devices = {(1, 1): {"gpu": ("0",), "rig": ("a", "b")}, (2, 1): {"gpu": ("1",)}}
    store.commit(changes)
    store.commit(Changes(devices={(1, 2): {"gpu": ("10", "9")}}))
    store.close()
    store = open_store()
    assert store.needs([1, 2]) == {1: {"gpu": "0.5", "rig": "1@mem>=20G"}, 2: {"gpu": 1}}
    assert store.devices([1, 2, 3, 4]) == {
        1: {1: {"gpu": ("0",), "rig": ("a", "b")}, 2: {"gpu": ("10", "9")}},
        2: {1: {"gpu": ("1",)}},
    }
    store.commit(steps(end(1)))
    store.commit(Changes(deleted=[1]))
    assert store.devices([1, 2]) == {2: {1: {"gpu": ("1",)}}}


def test_what_people_decided_is_kept_until_they_decide_otherwise(open_store):
    store = open_store()
    store.commit(Changes(decided={("drained", "gpu:0"): "fan", ("resource", "gpu"): "2"}))
    store.commit(Changes(decided={("resource", "gpu"): "3", ("drained", "gpu:1"): None}))
    store.close()
    store = open_store()
    assert (store.decided("drained"), store.decided("resource")) == ({"gpu:0": "fan"}, {"gpu": "3"})
    store.commit(Changes(decided={("drained", "gpu:0"): None}))
    assert store.decided("drained") == {}


def test_slots_are_kept_until_others_are(store):
    assert store.slots() == {}
    store.commit(Changes(slots={"rig": 1, "nightly": None}))
    store.commit(Changes(pauses={"all": True}))
    assert store.slots() == {"rig": 1, "nightly": None}
    store.commit(Changes(slots={"rig": 2}))
    assert store.slots() == {"rig": 2}
    store.commit(Changes(slots={}))
    assert store.slots() == {}


def waiting_for(store, *, if_fails=IfFails.CANCEL):
    changes = accept(*(petition(seq) for seq in range(1, 5)))
    changes.dependencies = {
        3: [NewDependency(1, "job-1", must_succeed=False, if_fails=if_fails)],
        4: [
            NewDependency(1, "job-1", must_succeed=True, if_fails=if_fails),
            NewDependency(3, "o'ther \U0001f600", must_succeed=True, if_fails=if_fails),
        ],
    }
    store.commit(changes)


def test_what_a_petition_waits_for_comes_back_with_how_that_ended(open_store):
    store = open_store()
    waiting_for(store)
    store.close()
    store = open_store()
    store.commit(steps(end(1, code=3, outcome=Outcome.FAILED)))
    cancel = IfFails.CANCEL
    third = KeptDependency(3, 1, "job-1", False, cancel, Outcome.FAILED, True)
    fourth = [
        KeptDependency(4, 1, "job-1", True, cancel, Outcome.FAILED, True),
        KeptDependency(4, 3, "o'ther \U0001f600", True, cancel, None, False),
    ]
    assert store.dependencies_of_live() == [third, *fourth]
    assert sorted(store.dependencies([4, 99, 1])) == fourth
    assert store.dependents(1, 9) == [third, fourth[0]]
    assert store.dependents(1, 1) == [third]
    store.commit(steps(end(3)))
    assert [kept.petition for kept in store.dependencies_of_live()] == [4, 4]


def test_how_a_petition_ended_is_known_when_it_is_forgotten(store):
    waiting_for(store)
    store.commit(steps(end(1, code=3, outcome=Outcome.FAILED)))
    store.commit(Changes(deleted=[1]))
    assert [(kept.outcome, kept.has_ended) for kept in store.dependencies([3])] == [(Outcome.FAILED, True)]
    store.commit(steps(end(3)))
    store.commit(Changes(deleted=[3]))
    assert store.dependencies([3]) == []


def test_a_petition_that_is_held_for_a_failure_stays_so(store):
    waiting_for(store)
    store.commit(Changes(held_for=[4]))
    assert {kept.petition: kept.if_fails for kept in store.dependencies_of_live()} == {
        3: IfFails.CANCEL,
        4: IfFails.HELD,
    }


def test_arrays_come_back_with_their_items_their_elements_and_how_these_ended(store):
    changes = accept(*(petition(seq) for seq in (1, 2, 3, 4)))
    changes.arrays = {1: NewArray(300, '{"a": 1}', [b"\0items", b"more"]), 2: NewArray(1, "x", [])}
    changes.elements = {3: (1, 0), 4: (1, 299)}
    store.commit(changes)
    assert store.live_arrays() == [ArrayRow(1, 300, '{"a": 1}', None), ArrayRow(2, 1, "x", None)]
    assert store.arrays([2, 3]) == {2: ArrayRow(2, 1, "x", None)}
    assert [store.array_items(1, part) for part in (0, 1, 2)] == [b"\0items", b"more", None]
    assert store.live_elements() == [Element(3, 1, 0), Element(4, 1, 299)]
    assert store.elements([1, 4]) == {4: Element(4, 1, 299)}
    assert store.array_ends(1) == b""
    ended = steps(end(4), end(2))
    ended.array_ends = {(1, 1): b"\1\0"}
    ended.array_stops = {1: ArrayStop(Outcome.CANCELLED, 130, "why")}
    store.commit(ended)
    store.commit(Changes(array_ends={(1, 1): b"\2\7"}))
    assert store.array_ends(1) == bytes(PART_BYTES) + b"\2\7"
    assert store.live_arrays() == [ArrayRow(1, 300, '{"a": 1}', ArrayStop(Outcome.CANCELLED, 130, "why"))]
    assert store.live_elements() == [Element(3, 1, 0)]
    store.commit(steps(end(1)))
    store.commit(Changes(deleted=[1, 4]))
    assert (store.arrays([1]), store.array_ends(1), store.array_items(1, 0)) == ({}, b"", None)
    assert store.elements([3, 4]) == {3: Element(3, 1, 0)}


def test_a_page_has_elements_where_they_are_asked_for(store):
    changes = accept(*(petition(seq) for seq in (1, 2, 3, 4)))
    changes.arrays, changes.elements, changes.groups = {1: NewArray(9, "x", [])}, {2: (1, 0), 4: (1, 1)}, {2: "rig"}
    changes.groups[3] = "rig"
    store.commit(changes)

    def seqs(**which):
        return [row.seq for row in store.page(**({"states": ANY_STATE, "limit": 9} | which))]

    assert (seqs(), seqs(array=1), seqs(group="rig"), seqs(id="job-4")) == ([3, 1], [4, 2], [3], [4])
    assert (seqs(array=1, before=4), seqs(array=1, owner="uid:1"), seqs(array=1, limit=1)) == ([2], [], [4])
    store.commit(steps(step(2, State.STARTING, to_attempt=1), step(3, State.STARTING, to_attempt=1)))
    started = 1 << State.STARTING
    assert (seqs(states=started), seqs(states=started, array=1), seqs(states=started, id="job-2")) == ([3], [2], [2])


def test_each_field_that_is_made_on_demand_has_its_writer():
    assert set(Changes.__annotations__) - set(Changes.__slots__) == set(WRITERS)
