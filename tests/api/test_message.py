"""API.md, orcha.interfaces: `Message` and its ids."""

from __future__ import annotations

import dataclasses

import pytest

from orcha.interfaces import Message
from orcha.interfaces.message import MAX_ID_BYTES, check_id


def test_takes_id_and_extras_by_place_and_by_name():
    assert Message("m", {"a": 1}) == Message(id="m", extras={"a": 1})


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Message("m", {}).id = "n"


def test_has_the_two_fields_of_a_dataclass():
    assert [field.name for field in dataclasses.fields(Message)] == ["id", "extras"]
    assert dataclasses.replace(Message("m", {"a": 1}), id="n").extras == {"a": 1}


def test_is_equal_and_hashed_by_the_text_of_its_id():
    assert Message(1, {"a": 1}) == Message("1", {"b": 2})
    assert hash(Message(1, {})) == hash(Message("1", {}))
    assert Message("1", {}) != Message("2", {})
    assert Message("1", {}) != "1"


def test_keeps_the_type_of_its_id():
    assert type(Message(1, {}).id) is int
    assert type(Message("1", {}).id) is str


@pytest.mark.parametrize("given", ["", "/", "a\nb", "ü" * 512, 0, -5, 10**300, "x" * MAX_ID_BYTES])
def test_an_id_is_any_int_or_text_up_to_one_kibibyte(given):
    assert check_id(given) is given


@pytest.mark.parametrize("given", [True, None, 1.5, b"x", ("a",)])
def test_an_id_of_another_type_is_a_type_error(given):
    with pytest.raises(TypeError, match="int or a str"):
        check_id(given)


@pytest.mark.parametrize(
    ("given", "what"), [("\ud800", "surrogate"), ("x" * (MAX_ID_BYTES + 1), "1025"), ("ü" * 513, "1026")]
)
def test_an_id_that_cannot_be_kept_is_a_value_error(given, what):
    with pytest.raises(ValueError, match=what):
        check_id(given)
