"""Arrays: which elements are next, what is kept of their ends, what they are about, and how their commands differ."""

from __future__ import annotations

import zlib

import pytest

from orcha._core import transitions
from orcha._core.array_items import (
    ITEMS_PER_PART,
    MAX_COMMAND_BYTES,
    MAX_PART_BYTES,
    ArrayItem,
    filled,
    item_at,
    message_of,
    packed,
    read,
    spec_of,
    unpacked,
    variables,
)
from orcha._core.arrays import MAX_ELEMENTS, Array, Bounds, outcome_at, without
from orcha._core.changes import ELEMENTS_PER_PART, PART_BYTES, ArrayStop, NewArray
from orcha._core.moment import Moment
from orcha._core.petitions import Petitions
from orcha._core.record import Record
from orcha._core.situations import Situation, situation
from orcha._core.state import Outcome, State

NOW = Moment(10.0, 10.0)
SUCCEEDED, FAILED, CANCELLED = Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED


def array(total=5, ends=b"", **bounds):
    return Array(1, "train", total, Bounds(**bounds), ends)


# --- which are next -----------------------------------------------------------------------------------------------


def test_what_is_no_petition_yet_is_counted():
    array = Array(1, "a", 4, Bounds())
    array.take(2)
    array.note_end(0, Outcome.SUCCEEDED, 0)
    assert array.unmade == 2


def test_elements_are_taken_once_each_and_in_order():
    made = array()
    assert (made.take(2), made.take(9), made.take(9)) == ([0, 1], [2, 3, 4], [])
    assert not made.is_over


def test_no_more_are_live_than_may_be_at_once():
    made = array(at_most=2)
    assert (made.take(9), made.has_room) == ([0, 1], False)
    made.note_end(0, SUCCEEDED, 0)
    assert (made.take(9), made.take(9)) == ([2], [])


def test_an_element_that_became_no_petition_is_next_again():
    made = array()
    made.take(3)
    made.put_back(1)
    assert made.take(9) == [1, 3, 4]


def test_elements_that_ended_or_live_are_passed_over_after_a_restart():
    before = array()
    before.take(3)
    before.note_end(1, FAILED, 3)
    after = array(ends=before.part(0)[:4])
    after.live[0] = 7
    assert after.take(9) == [2, 3, 4]
    assert after.counts() == (5, 4, 0, 1, 0)


def test_elements_that_failed_may_wait_once_more():
    made = array(total=3, max_fails=9)
    made.take(3)
    for position, outcome in enumerate((SUCCEEDED, FAILED, CANCELLED)):
        made.note_end(position, outcome, position)
    assert (made.is_over, made.ended_otherwise()) == (True, [1, 2])
    assert (made.again([1, 2]), made.is_over, made.take(9)) == ({0}, False, [1, 2])
    assert made.counts() == (3, 2, 1, 0, 0)


# --- ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "outcome", "code", "reason"),
    [
        ([(SUCCEEDED, 0), (SUCCEEDED, None)], SUCCEEDED, 0, None),
        ([(CANCELLED, 130), (FAILED, 3)], FAILED, 3, "1 of 2 elements failed"),
        ([(Outcome.TIMED_OUT, 124), (SUCCEEDED, 0)], FAILED, 124, "1 of 2 elements failed"),
        ([(CANCELLED, 130), (SUCCEEDED, 0)], CANCELLED, 130, "elements were cancelled"),
        ([(FAILED, 300), (FAILED, 4)], FAILED, 255, "2 of 2 elements failed"),
        ([(Outcome.BROKEN, 0), (SUCCEEDED, 0)], FAILED, 1, "1 of 2 elements failed"),
    ],
)
def test_an_array_ends_as_the_first_element_that_failed(ends, outcome, code, reason):
    made = array(total=2)
    made.take(2)
    for position, end in enumerate(ends):
        assert not made.is_over
        made.note_end(position, *end)
    assert made.is_over
    assert made.ending() == (outcome, code, reason)


def test_one_that_was_cancelled_ends_as_cancelled_whatever_its_elements_did():
    made = array(total=600)
    made.take(2)
    made.put_back(0)
    assert made.take(1) == [0]
    made.note_end(0, FAILED, 3)
    made.stop = ArrayStop(CANCELLED, 130, "cancelled by uid:0")
    assert (made.cancel_rest(), made.take(9)) == ({0, 1, 2}, [])
    assert (made.is_over, made.has_ended(1), made.has_ended(2)) == (False, False, True)
    made.note_end(1, SUCCEEDED, 0)
    assert (made.is_over, made.ending()) == (True, made.stop)
    assert made.counts() == (600, 0, 1, 1, 598)


def test_no_more_start_when_as_many_failed_as_may():
    made = array(max_fails=2)
    made.take(3)
    made.note_end(0, FAILED, 3)
    made.note_end(1, CANCELLED, 130)
    assert not made.has_failed_too_often
    made.note_end(2, Outcome.TIMED_OUT, 124)
    assert made.has_failed_too_often
    made.stop = ArrayStop(FAILED, 1, "too many")
    assert not made.has_failed_too_often
    made.cancel_rest()
    assert made.ending() == (FAILED, 3, "too many")


def test_what_lives_or_ended_is_not_cancelled_with_the_rest():
    made = array(ends=bytes((0, 0, SUCCEEDED, 0)))
    made.live[0] = 7
    assert (made.cancel_rest(), made.counts()) == ({0}, (5, 1, 1, 0, 3))


def test_whole_parts_of_the_rest_are_cancelled_beside_parts_in_which_elements_live_or_ended():
    ended = ELEMENTS_PER_PART + 1
    total = 3 * ELEMENTS_PER_PART + 1
    made = array(total=total, ends=bytes(2 * ended) + bytes((FAILED, 3)))
    made.take(2)
    assert (made.cancel_rest(), made.take(1), made.unmade) == ({0, 1, 2, 3}, [], 0)
    assert made.counts() == (total, 2, 0, 1, total - 3)
    assert [made.has_ended(position) for position in (0, 1, 2, ended)] == [False, False, True, True]
    assert made.part(1)[2:4] == bytes((FAILED, 3))
    assert made.part(2) == bytes((CANCELLED, 130)) * ELEMENTS_PER_PART
    assert made.cancel_rest() == set()


def test_ends_are_kept_in_parts_of_two_bytes_an_element():
    made = array(total=ELEMENTS_PER_PART + 1)
    made.take(ELEMENTS_PER_PART + 1)
    assert made.note_end(ELEMENTS_PER_PART, FAILED, 7) == 1
    assert (len(made.part(0)), made.part(1)) == (PART_BYTES, bytes((FAILED, 7)))
    assert made.counts().waiting == 0


# --- items --------------------------------------------------------------------------------------------------------


def items(given):
    spec, parts = read(given)
    assert (spec_of(spec.text()), read(spec.sent(parts))) == (spec, (spec, parts))
    return [
        item_at(spec, each, unpacked(parts[each // ITEMS_PER_PART]) if parts else None) for each in range(spec.total)
    ]


def test_a_range_has_its_numbers():
    assert [(item.number, item.text) for item in items({"range": [5, 10, 2]})] == [(5, "5"), (7, "7"), (9, "9")]
    spec, _ = read({"range": [5, 10, 2]})
    assert [spec.position_of(number) for number in (5, 6, 9, 11, 3)] == [0, None, 2, None, None]


def test_a_sweep_has_all_combinations_the_last_name_changing_fastest():
    found = items({"sweep": {"lr": [0.1, "a b"], "seed": [1, 2]}})
    assert [tuple(item.names.values()) for item in found] == [("0.1", "1"), ("0.1", "2"), ("a b", "1"), ("a b", "2")]
    assert (found[0].number, found[3].text) == (1, '{"lr": "a b", "seed": 2}')


def test_listed_items_are_lines_or_values_of_json():
    lines = [f"line {number}" for number in range(ITEMS_PER_PART + 1)]
    assert [item.text for item in items({"items": lines})] == lines
    assert [item.text for item in items({"packed": list(packed(lines)), "total": len(lines)})] == lines
    one, two = items({"items": [{"a": None, "b": "x"}, [1]]})
    assert (one.names, two.names, two.text) == ({"a": "null", "b": "x"}, {}, "[1]")
    assert list(packed(lines[:ITEMS_PER_PART])) == list(packed(lines))[:1]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("1-3", "array is a dict of its fields"),
        ({1: 2}, "array is a dict of its fields"),
        ({"colour": 1, "range": [1, 2, 1]}, "array has no 'colour'"),
        ({"at_most": 2}, "array has one of range, sweep, items, packed, not none"),
        ({"range": [1, 2, 1], "items": []}, "not range and items"),
        ({"range": [1, 2, 1], "at_most": 0}, "array.at_most is a whole number of at least 1, not 0"),
        ({"range": [1, 2, 1], "max_fails": True}, "array.max_fails is a whole number of at least 1, not True"),
        ({"range": [1, 2]}, "array.range is first, last and step"),
        ({"range": 3}, "array.range is first, last and step"),
        ({"range": [-1, 2, 1]}, "array.range is first, last and step"),
        ({"range": [3, 2, 1]}, "goes upwards"),
        ({"range": [1, 2, 0]}, "goes upwards"),
        ({"range": [1, MAX_ELEMENTS + 1, 1]}, f"from 1 to {MAX_ELEMENTS} elements"),
        ({"items": []}, "from 1 to"),
        ({"items": "abc"}, "array.items is a list"),
        ({"items": [b"x"]}, "array: Object of type bytes"),
        ({"packed": b"x", "total": 1}, "array.packed is a list of bytes"),
        ({"packed": [], "total": 1}, "array.packed has 0 parts"),
        ({"sweep": {}}, "array.sweep is a dict of lists"),
        ({"sweep": {"a b": [1]}}, "'a b' is no name"),
        ({"sweep": {"index": [1]}}, "'index' is no name"),
        ({"sweep": {"a": []}}, "a has no list of values"),
        ({"sweep": {"a": [b"x"]}}, "array: Object of type bytes"),
        (
            {"items": ["x" * MAX_PART_BYTES]},
            "array: 256 items in a row have 8 MiB at most: write long items into files",
        ),
    ],
)
def test_what_is_no_array_is_named(given, why):
    with pytest.raises(ValueError, match=r".") as caught:
        read(given)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "part", [b"", b"x", zlib.compress(b"{}"), zlib.compress(b"[" * 99_999), zlib.compress(b"null")]
)
def test_a_part_that_is_damaged_is_named(part):
    with pytest.raises(ValueError, match="no items"):
        unpacked(part)


def test_a_part_that_would_unpack_to_more_than_a_part_holds_is_refused_and_not_unpacked():
    with pytest.raises(ValueError, match=r"array\.packed holds too long items: 256 have 8 MiB at most"):
        unpacked(zlib.compress(b"[" + b"[]," * MAX_PART_BYTES + b"1]"))


@pytest.mark.parametrize("word", ["{}" * 1024, b"{lr}" * 1024])
def test_a_command_that_would_become_too_long_is_refused_before_it_is_made(word):
    longest = MAX_COMMAND_BYTES // 1024
    template = {"argv": ["echo", word, 1], "env": {}}
    with pytest.raises(ValueError, match="argv: with item 3 the command has more than 8 MiB"):
        message_of(template, ArrayItem(3, "x" * longest, {"lr": ""}))
    assert len(message_of(template, ArrayItem(3, "x", {"lr": "y"}))["argv"][1]) == 1024


def test_an_item_that_is_no_text_is_named():
    with pytest.raises(ValueError, match=r"an item holds a lone surrogate, .*: '\\ud800'"):
        message_of({"argv": ["{}"], "env": {}}, ArrayItem(1, "\ud800", {}))


def test_an_item_that_is_missing_is_named():
    spec, _ = read({"packed": [b""], "total": 3})
    for part in (None, ["a"]):
        with pytest.raises(ValueError, match="item 3 is missing"):
            item_at(spec, 2, part)


# --- commands -----------------------------------------------------------------------------------------------------

ITEM = ArrayItem(7, "a b", {"lr": "0.1"})


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("{}", "a b"),
        ("x{item}-{index}", "xa b-7"),
        ("--lr={lr}", "--lr=0.1"),
        ("{{}} {{lr}}", "{} {lr}"),
        ("{print $1}", "{print $1}"),
        ("{ }", "{ }"),
        ("}{", "}{"),
    ],
)
def test_what_stands_for_an_item_is_replaced(word, becomes):
    assert filled(word, ITEM) == becomes


def test_a_name_without_a_value_is_named_with_the_cure():
    with pytest.raises(ValueError, match=r"item 7 has no \{HOME\}: it has \{\}, \{index\}, \{lr\}; \{\{HOME\}\} is"):
        filled("${HOME}", ITEM)


def test_an_element_gets_its_own_message():
    template = {"argv": ["x", "{}", b"\xff{index}", 3], "env": {"A": "b"}, "array": {}, "after": ["c"], "group": "g"}
    made = message_of(template, ITEM._replace(text="\udcff"))
    assert made["argv"] == ["x", b"\xff", b"\xff7", 3]
    assert made["env"] == {"A": "b", "ORCHA_INDEX": "7", "ORCHA_ITEM": b"\xff", "ORCHA_ITEM_LR": "0.1"}
    assert made.keys() == {"argv", "env", "group"}
    assert variables(ITEM._replace(names={"l.r-2": "x"}))["ORCHA_ITEM_L_R_2"] == "x"


def test_an_environment_has_to_be_given_and_a_command_is_not_looked_at_here():
    with pytest.raises(ValueError, match="env is missing"):
        message_of({"argv": ["x"]}, ITEM)
    assert message_of({"argv": None, "env": {}}, ITEM)["argv"] is None


# --- the array as a petition --------------------------------------------------------------------------------------


@pytest.mark.parametrize("new_channel", [True, False])
def test_it_rests_until_its_last_element_has_ended(new_channel):
    petitions = Petitions()
    record = Record(petitions.take_seq(), b"t" * 16, "train", "orcha.arrays", "me", b"t" * 16, b"", 1.0)
    petitions.enter(record)
    transitions.array.accept(petitions, record, NewArray(2, "{}", []), new_channel=new_channel)
    assert situation(petitions, record) is Situation.RESTING
    changes, effects, _ = petitions.take()
    assert (changes.arrays, len(changes.channels), len(effects)) == ({1: NewArray(2, "{}", [])}, int(new_channel), 1)
    transitions.array.stop(petitions, record, ArrayStop(FAILED, 3, "why"))
    transitions.array.end(petitions, record, ArrayStop(FAILED, 3, "why"), NOW)
    changes, _, finals = petitions.take()
    assert (changes.array_stops, finals[0].value) == ({1: ArrayStop(FAILED, 3, "why")}, 3)
    assert (record.state, situation(petitions, record)) == (State.ENDED, Situation.ENDED)


def test_a_stored_one_rests_again():
    petitions = Petitions()
    record = Record(1, b"t" * 16, "train", "orcha.arrays", "me", b"t" * 16, b"", 1.0)
    transitions.array.load(petitions, record)
    assert situation(petitions, record) is Situation.RESTING


def test_elements_that_are_no_petitions_are_cancelled_alone():
    array = Array(7, "train", 600, Bounds())
    assert array.cancel_these([3, 599]) == {0, 2}
    assert [outcome_at(array.ends, position) for position in (2, 3, 599)] == [None, *[Outcome.CANCELLED] * 2]
    assert array.take(4) == [0, 1, 2, 4]
    assert without(array.ends, [3]) != array.ends
    assert outcome_at(without(array.ends, [3]), 3) is None
