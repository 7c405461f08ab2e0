"""What every store does."""

from __future__ import annotations

import math
import threading

import pytest

from orcha._core.changes import Append, AuditBounds, AuditEntry, Changes, NewChannel
from orcha._core.state import OnInterrupt, Outcome, State
from orcha._store.contract import EventFilter, StoredChannel, Waiting
from orcha.exceptions.store import FencedError, TokenKnown
from support.changes import ANY_STATE, MANAGER, accept, append, end, name, petition, step, steps


def test_a_row_comes_back_as_it_was_given(store):
    given = petition(
        7, id="nul\0 ü \U0001f600 'quoted\"\n", id_is_int=True, priority=-3, extras=bytes(range(256)), attempt=2,
        on_interrupt=OnInterrupt.ASK, submitted=1_700_000_000.1234567,
    )  # fmt: skip
    store.commit(accept(given))
    (row,) = store.rows([7])
    assert row._asdict() | given._asdict() == row._asdict()
    assert type(row.state) is State
    assert type(row.on_interrupt) is OnInterrupt
    assert row.id_is_int is True
    assert (row.started, row.ended, row.hook_pending, row.slot_held, row.epoch) == (None, None, False, False, 0)


@pytest.mark.parametrize("rows", [1, 2, 9, 100, 385, 1000])
def test_a_commit_of_any_size_keeps_everything(store, rows):
    store.commit(accept(*(petition(seq, priority=-seq) for seq in range(1, rows + 1))))
    changes = steps(*(end(seq, hook_pending=bool(seq % 2), slot_held=bool(seq % 3)) for seq in range(1, rows + 1)))
    changes.appends = [Append(name(seq), 0, 2, b"final %d" % seq) for seq in range(1, rows + 1)]
    store.commit(changes)
    kept = store.rows(range(1, rows + 1))
    assert [row.seq for row in kept] == list(range(1, rows + 1))
    assert [row.priority for row in kept] == [-seq for seq in range(1, rows + 1)]
    assert {row.state for row in kept} == {State.ENDED}
    assert [(row.hook_pending, row.slot_held) for row in kept] == [
        (bool(s % 2), bool(s % 3)) for s in range(1, rows + 1)
    ]
    assert store.records(name(rows), 0, 100) == [(0, 2, b"final %d" % rows)]


def test_steps_set_the_times_they_stand_for(store):
    store.commit(accept(petition(1)))
    store.commit(steps(step(1, State.STARTING, to_attempt=1, at=10.5)))
    store.commit(steps(step(1, State.RUNNING, attempt=1, at=11.5)))
    store.commit(steps(end(1, attempt=1, at=12.5, outcome=Outcome.FAILED, code=3, reason="no")))
    (row,) = store.rows([1])
    assert (row.started, row.ended, row.attempt) == (10.5, 12.5, 1)
    assert (row.outcome, row.code, row.reason) == (Outcome.FAILED, 3, "no")
    assert type(row.outcome) is Outcome


@pytest.mark.parametrize(("state", "times"), [(State.STARTING, (5.0, None)), (State.ENDED, (None, 5.0))])
def test_a_petition_accepted_in_a_later_state_has_that_states_time(store, state, times):
    store.commit(accept(petition(1, state=state, submitted=5.0)))
    assert store.rows([1])[0][14:16] == times


@pytest.mark.parametrize(
    "wrong",
    [
        step(1, State.ENDED, attempt=1),
        step(1, State.ENDED, from_states=1 << State.RUNNING),
        step(3, State.ENDED),
    ],
)
def test_a_step_from_elsewhere_is_fenced_and_nothing_is_kept(store, wrong):
    store.commit(accept(petition(1), petition(2)))
    changes = steps(end(2), wrong)
    changes.petitions = [petition(9)]
    changes.channels = [NewChannel(name(9), "uid:0", own=True)]
    changes.appends = [Append(name(2), 0, 1, b"x")]
    with pytest.raises(FencedError) as caught:
        store.commit(changes)
    assert caught.value.seqs == (wrong.seq,)
    assert [row.state for row in store.rows([1, 2, 9])] == [State.QUEUED, State.QUEUED]
    assert store.channel(name(9)) is None
    assert store.records(name(2), 0, 10) == []


def test_a_petition_can_be_accepted_and_moved_in_one_commit(store):
    changes = accept(petition(1), petition(2), petition(3))
    changes.transitions = {1: step(1, State.STARTING, to_attempt=1), 3: end(3)}
    changes.flags = {3: (True, False)}
    store.commit(changes)
    one, two, three = store.rows([1, 2, 3])
    assert (one.state, one.attempt, two.state, three.state) == (State.STARTING, 1, State.QUEUED, State.ENDED)
    assert (three.hook_pending, three.slot_held) == (True, False)


def test_a_fenced_step_of_a_petition_of_the_same_commit_is_named(store):
    changes = accept(petition(1))
    changes.transitions = {1: step(1, State.STARTING, attempt=4)}
    with pytest.raises(FencedError) as caught:
        store.commit(changes)
    assert caught.value.seqs == (1,)
    assert store.rows([1]) == []


def test_flags_are_for_ended_petitions_only(store):
    store.commit(accept(petition(1), petition(2)))
    store.commit(steps(end(1, hook_pending=True, slot_held=True)))
    store.commit(Changes(flags={1: (False, True)}))
    assert store.rows([1])[0][-2:] == (False, True)
    for seq in (2, 3):
        with pytest.raises(FencedError) as caught:
            store.commit(Changes(flags={1: (False, False), seq: (False, False)}))
        assert caught.value.seqs == (seq,)
    assert store.rows([1])[0][-2:] == (False, True)


def test_a_known_token_is_told_and_nothing_is_kept(store):
    store.commit(accept(petition(1)))
    with pytest.raises(TokenKnown) as caught:
        store.commit(accept(petition(2), petition(3, token=name(1))))
    assert caught.value.tokens == (name(1),)
    with pytest.raises(TokenKnown) as caught:
        store.commit(accept(petition(4), petition(5, token=name(4))))
    assert caught.value.tokens == (name(4),)
    assert [row.seq for row in store.page(states=ANY_STATE, limit=9)] == [1]


@pytest.mark.parametrize(
    "wrong",
    [
        accept(petition(1, token=name(8), channel=name(8))),
        accept(petition(8, channel=name(1))),
        accept(petition(8, priority=math.nan)),
        accept(petition(8, priority=1 << 63)),
        append(name(1), 0, b"again"),
        append(name(9), 0, b"no such channel"),
    ],
    ids=["seq", "channel", "nan", "65 bits", "record", "no channel"],
)
def test_changes_that_contradict_what_is_kept_are_refused_whole(store, wrong):
    store.commit(accept(petition(1)))
    store.commit(append(name(1), 0, b"first"))
    wrong.petitions.insert(0, petition(20))
    wrong.channels.insert(0, NewChannel(name(20), "uid:0", own=True))
    with pytest.raises(ValueError):
        store.commit(wrong)
    assert store.rows([8, 20]) == []
    assert store.records(name(1), 0, 10) == [(0, 1, b"first")]
    store.commit(accept(petition(20)))


def test_order_is_exact_across_ints_floats_and_infinities(store):
    priorities = [2**53 + 1, float(2**53), 0.5, 0, -0.5, math.inf, -math.inf, 2**63 - 1, -(2**63), 2**53 + 3, 7, 7.0]
    store.commit(accept(*(petition(seq, priority=priority) for seq, priority in enumerate(priorities, 1))))
    expected = sorted((priority, seq) for seq, priority in enumerate(priorities, 1))
    given = list(store.waiting(MANAGER))
    assert [(entry.priority, entry.seq) for entry in given] == expected
    assert [type(entry.priority) for entry in given] == [type(priority) for priority, _ in expected]
    kept = store.rows(range(1, len(priorities) + 1))
    assert [(type(row.priority), row.priority) for row in kept] == [(type(p), p) for p in priorities]


def test_waiting_is_what_it_was_when_it_began(store):
    store.commit(accept(petition(1), petition(2), petition(3), petition(4, manager="other")))
    waiting = store.waiting(MANAGER)
    assert next(waiting) == Waiting(0, 1, "job-1", "uid:0")
    store.commit(steps(end(2)))
    assert [entry.seq for entry in waiting] == [2, 3]
    assert [entry.seq for entry in store.waiting(MANAGER)] == [1, 3]


def test_unfinished_are_those_somebody_is_busy_with(store):
    states = [State.QUEUED, State.HELD, State.STARTING, State.RUNNING, State.CANCELLING, State.ENDED]
    store.commit(accept(*(petition(seq, state=state) for seq, state in enumerate(states, 1))))
    store.commit(accept(petition(7), petition(8), petition(9, manager="other", state=State.RUNNING)))
    store.commit(steps(end(7, hook_pending=True), end(8, slot_held=True)))
    assert [row.seq for row in store.unfinished(MANAGER)] == [2, 3, 4, 5, 7, 8]
    assert [row.seq for row in store.unfinished("other")] == [9]
    assert store.unfinished("nobody") == []


def test_tokens_and_tombstones_are_found(store):
    store.commit(accept(petition(1), petition(2)))
    assert {token: row.seq for token, row in store.tokens([name(2), name(5), name(1)]).items()} == {
        name(1): 1,
        name(2): 2,
    }
    assert store.tokens([]) == {}
    assert store.tombstones([name(5)], 50.0) == set()
    store.commit(Changes(tombstones=[(name(5), 100.0), (name(6), 60.0)]))
    store.commit(Changes(tombstones=[(name(6), 40.0)]))
    assert store.tombstones([name(5), name(6), name(7)], 50.0) == {name(5), name(6)}
    assert store.all_tombstones(50.0) == {name(5): 100.0, name(6): 60.0}
    assert store.tombstones([name(5), name(6)], 60.0) == {name(5)}
    assert store.all_tombstones(60.0) == {name(5): 100.0}
    assert store.tombstones([name(5)], 100.0) == set()


def test_records_come_from_the_block_that_holds_the_index(store):
    store.commit(accept(petition(1)))
    assert store.channel(name(1)) == StoredChannel(name(1), "uid:0", own=True, next=0, size=0)
    assert store.channel_owners([name(1), name(9)]) == {name(1): "uid:0"}
    blocks = [(0, 2, b"\xff\0" * 5), (2, 3, b"b" * 10), (5, 1, b""), (6, 1, b"d" * 10)]
    for first, count, data in blocks:
        store.commit(append(name(1), first, data, count), durable=False)
    assert store.records(name(1), 0, 1000) == blocks
    assert store.records(name(1), 0, 1) == blocks[:1]
    assert store.records(name(1), 1, 11) == blocks[:2]
    assert store.records(name(1), 4, 10) == [blocks[1]]
    assert store.records(name(1), 6, 0) == [blocks[3]]
    assert store.records(name(1), 7, 10) == []
    assert store.records(name(2), 0, 10) == []
    assert store.channel(name(1)) == StoredChannel(name(1), "uid:0", own=True, next=7, size=30)


def test_records_may_have_a_gap_whose_content_lies_elsewhere(store):
    store.commit(accept(petition(1)))
    store.commit(append(name(1), 0, b"a"))
    store.commit(append(name(1), 500, b"final"))
    assert store.records(name(1), 1, 10) == [(500, 1, b"final")]
    assert store.channel(name(1)).next == 501


def test_pages_go_downwards(store):
    store.commit(accept(*(petition(seq, id="even" if seq % 2 == 0 else "odd") for seq in range(1, 131))))
    store.commit(steps(*(step(seq, State.STARTING, to_attempt=1) for seq in range(10, 131, 10))))

    def seqs(**asked):
        return [row.seq for row in store.page(**asked)]

    assert seqs(states=ANY_STATE, limit=3) == [130, 129, 128]
    assert seqs(states=ANY_STATE, limit=200) == list(range(130, 0, -1))
    assert seqs(states=ANY_STATE, limit=3, before=128) == [127, 126, 125]
    assert seqs(states=1 << State.STARTING, limit=3, before=100) == [90, 80, 70]
    assert seqs(states=1 << State.STARTING, limit=100) == list(range(130, 0, -10))
    assert seqs(states=1 << State.QUEUED, limit=2, id="even") == [128, 126]
    assert seqs(states=1 << State.STARTING, limit=9, id="odd") == []
    assert seqs(states=ANY_STATE, limit=0) == []
    assert seqs(states=1 << State.ENDED, limit=5) == []


def test_a_page_of_an_owner_is_full(store):
    changes = accept(*(petition(seq, owner="other" if seq % 40 else "mine", id=str(seq % 3)) for seq in range(1, 301)))
    changes.groups = dict.fromkeys(range(1, 301, 3), "rig") | {40: "rig", 200: "rig"}
    store.commit(changes)

    def seqs(**asked):
        return [row.seq for row in store.page(owner="mine", **asked)]

    assert seqs(states=ANY_STATE, limit=3) == [280, 240, 200]
    assert seqs(states=ANY_STATE, limit=9, before=200) == [160, 120, 80, 40]
    assert seqs(states=ANY_STATE, limit=9, id="1") == [280, 160, 40]
    assert seqs(states=ANY_STATE, limit=2, group="rig") == [280, 200]
    store.commit(steps(*(step(seq, State.STARTING, to_attempt=1) for seq in (39, 40, 79, 80, 119))))
    assert seqs(states=1 << State.STARTING, limit=1) == [80]
    assert seqs(states=1 << State.STARTING, limit=9) == [80, 40]


def test_a_page_can_be_read_by_another_thread(store):
    store.commit(accept(petition(1)))
    found = []
    thread = threading.Thread(target=lambda: found.extend(store.page(states=ANY_STATE, limit=9)))
    thread.start()
    thread.join()
    assert [row.seq for row in found] == [1]


def deed(at, verb="cancel", **more):
    known = {"who": "uid:1", "key": "", "door": "socket", "host": "", "ids": ("a",), "total": 1, "owners": ("uid:2",)}
    return AuditEntry(**{"at": at, "verb": verb, "why": "", "outcome": "done", "reason": "", **known, **more})


def test_what_clients_did_is_told_and_a_submit_once_whether_its_petition_is_kept_or_forgotten(store):
    def told(**wanted):
        return [(entry.verb, *entry.ids, entry.at) for entry, _ in store.events(EventFilter(**wanted))]

    store.commit(accept(petition(1, id="p", submitted=1.0), petition(2, id="q", submitted=3.0)))
    by_key = deed(3.0, "submit", ids=("q",), owners=("uid:0",), key="ci", door="key", petition=2)
    store.commit(Changes(audit=[deed(2.0, why="late"), by_key]))
    everything = [("submit", "q", 3.0), ("cancel", "a", 2.0), ("submit", "p", 1.0)]
    assert told() == everything
    assert next(entry for entry, _ in store.events(EventFilter(verb="cancel"))) == deed(2.0, why="late")
    store.commit(steps(end(1), end(2)))
    store.commit(Changes(deleted=[1, 2]))
    assert told() == everything
    assert told(limit=1) == everything[:1]
    assert told(since=2.0, before=3.0) == told(verb="cancel") == told(id="a") == everything[1:2]
    assert told(who="ci") == everything[:1]
    assert told(seen_by="uid:2") == everything[1:2]
    assert told(without="cancel") == [everything[0], everything[2]]
    assert told(seen_by="uid:0") == [everything[0], everything[2]]
    numbers = [number for _, number in store.events(EventFilter())]
    assert len({*numbers}) == 3
    store.commit(Changes(audit=[deed(4.0), deed(5.0)], audit_left=AuditBounds(1.5, 1)))
    assert told() == [("cancel", "a", 5.0), ("submit", "q", 3.0)]


def test_of_too_many_deeds_the_user_with_the_most_loses_the_oldest(store):
    few = [deed(1.0, who="uid:2"), deed(2.0, who="uid:3")]
    store.commit(Changes(audit=few + [deed(3.0 + number, who="uid:9") for number in range(20)]))
    for most, kept in ((30, 20), (6, 4), (3, 1)):
        store.commit(Changes(audit_left=AuditBounds(0.0, most)))
        told = [(entry.who, entry.at) for entry, _ in store.events(EventFilter())]
        assert told == [*(("uid:9", 22.0 - number) for number in range(kept)), ("uid:3", 2.0), ("uid:2", 1.0)]


def test_a_channel_goes_with_the_last_row_that_names_it(store):
    store.commit(accept(petition(1)))
    shared = accept(petition(2, channel=name(100)))
    shared.channels = [NewChannel(name(100), "uid:0", own=False)]
    store.commit(shared)
    store.commit(Changes(petitions=[petition(3, channel=name(100))]))
    store.commit(append(name(1), 0, b"one"))
    store.commit(append(name(100), 0, b"shared"))
    store.commit(steps(end(1), end(2), end(3)))
    assert list(store.commit(Changes(deleted=[1, 2]))) == [name(1)]
    assert store.channel(name(1)) is None
    assert store.records(name(1), 0, 10) == []
    assert store.records(name(100), 0, 10) == [(0, 1, b"shared")]
    assert list(store.commit(Changes(deleted=[3, 99]))) == [name(100)]
    assert store.channel(name(100)) is None
    assert store.records(name(100), 0, 10) == []
    assert store.next_seq() == 4


def test_only_what_has_ended_can_be_deleted(store):
    store.commit(accept(petition(1), petition(2)))
    store.commit(steps(end(1)))
    with pytest.raises(FencedError) as caught:
        store.commit(Changes(deleted=[1, 2]))
    assert caught.value.seqs == (2,)
    assert [row.seq for row in store.rows([1, 2])] == [1, 2]


def test_sequence_numbers_are_never_used_again(store):
    assert store.next_seq() == 1
    store.commit(accept(petition(1), petition(41)))
    assert store.next_seq() == 42
    store.commit(steps(end(41)))
    store.commit(Changes(deleted=[41]))
    assert store.next_seq() == 42


def test_prunable_are_the_old_and_the_surplus(store):
    store.commit(accept(*(petition(seq, submitted=1.0) for seq in range(1, 9))))
    store.commit(steps(*(end(seq, at=100.0 - seq, hook_pending=seq == 7, slot_held=seq == 6) for seq in range(1, 8))))

    def seqs(**asked):
        asked = {"older_than": 0.0, "keep": 99, "younger_than": 1e9, "limit": 99} | asked
        return [seq for seq, _ in store.prunable(**asked)]

    assert seqs() == []
    assert seqs(older_than=96.0) == [5]
    assert seqs(older_than=98.0) == [5, 4, 3]
    assert seqs(older_than=98.0, limit=2) == [5, 4]
    assert seqs(keep=3) == [5, 4]
    assert seqs(keep=0) == [5, 4, 3, 2, 1]
    assert seqs(keep=0, younger_than=96.0) == [5, 4]
    assert seqs(keep=0, younger_than=0.5) == []
    assert store.prunable(older_than=96.0, keep=99, younger_than=1e9, limit=1) == [(5, name(5))]


def test_ended_at_the_same_time_the_older_petition_goes_first(store):
    store.commit(accept(*(petition(seq, submitted=1.0) for seq in range(1, 6))))
    store.commit(steps(*(end(seq, at=50.0) for seq in range(1, 6))))
    assert store.prunable(older_than=0.0, keep=2, younger_than=99.0, limit=9) == [(s, name(s)) for s in (1, 2, 3)]


def test_each_start_is_told_of_the_ones_before(store):
    first, none = store.begin(nonce=11, boot_id="a", uid=5, now=1.5)
    assert (first.epoch, first.nonce, first.boot_id, first.uid, first.started, list(none)) == (1, 11, "a", 5, 1.5, [])
    second, earlier = store.begin(nonce=12, boot_id="b", uid=5, now=2.5)
    assert list(earlier) == [first]
    store.forget_incarnations([first.epoch, 77])
    third, earlier = store.begin(nonce=13, boot_id="b", uid=5, now=3.5)
    assert list(earlier) == [second]
    store.forget_incarnations([second.epoch, third.epoch])
    fourth, earlier = store.begin(nonce=14, boot_id="b", uid=5, now=4.5)
    assert (fourth.epoch, list(earlier)) == (4, [third]), "the last start stays: the next one is compared with it"


def test_a_start_is_told_where_the_processes_of_the_one_before_begin(store):
    store.begin(nonce=11, boot_id="a", uid=5, now=1.5, pid=4711, tasks=1 << 40)
    _, (earlier,) = store.begin(nonce=12, boot_id="a", uid=5, now=2.5)
    assert (earlier.pid, earlier.tasks) == (4711, 1 << 40)


def test_rows_carry_the_start_that_touched_them_last(store):
    store.begin(nonce=1, boot_id="a", uid=0, now=1.0)
    store.commit(accept(petition(1), petition(2)))
    store.begin(nonce=2, boot_id="a", uid=0, now=2.0)
    store.commit(steps(end(2)))
    assert [row.epoch for row in store.rows([1, 2])] == [1, 2]


def test_a_commit_of_nothing_is_nothing(store):
    assert list(store.commit(Changes())) == []


def test_there_is_room(store):
    assert store.space() is True


def test_closing_twice_is_closing(store):
    store.close()
    store.close()
