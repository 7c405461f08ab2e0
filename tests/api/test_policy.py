"""API.md, orcha.interfaces: `Policy`."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from orcha.interfaces import Policy, Retry


def test_every_field_has_a_default_and_is_given_by_name():
    assert Policy() == Policy(on_interrupt="fail", timeout=None, queue_timeout=None)
    with pytest.raises(TypeError):
        Policy("fail")


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Policy().timeout = 1


@pytest.mark.parametrize("word", ["fail", "rerun", "ask"])
def test_on_interrupt_is_one_of_three_words(word):
    assert Policy(on_interrupt=word).on_interrupt == word


@pytest.mark.parametrize("word", ["", "retry", None, 1])
def test_on_interrupt_is_nothing_else(word):
    with pytest.raises(ValueError, match="fail, rerun, ask"):
        Policy(on_interrupt=word)


@pytest.mark.parametrize("field", ["timeout", "queue_timeout", "expect"])
@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_limit_is_finite_and_above_zero(field, seconds):
    with pytest.raises(ValueError, match=field):
        Policy(**{field: seconds})


@pytest.mark.parametrize("field", ["timeout", "queue_timeout", "expect"])
@pytest.mark.parametrize("seconds", ["1", True, [1]])
def test_a_limit_is_a_number(field, seconds):
    with pytest.raises(TypeError, match=field):
        Policy(**{field: seconds})


@pytest.mark.parametrize("seconds", [1, 0.001, 1e9])
def test_a_limit_is_kept(seconds):
    assert Policy(timeout=seconds, queue_timeout=seconds).timeout == seconds


class OwnNumber(float):
    """A number as NumPy's are: a float, and more."""


@pytest.mark.parametrize("field", ["timeout", "queue_timeout", "expect", "delay"])
def test_a_number_of_another_kind_is_kept_as_a_plain_one(field):
    assert type(getattr(Policy(**{field: OwnNumber(2.5)}), field)) is float


def test_needs_are_copied_and_fixed():
    given = {"gpu": 1, "ram_gb": 16}
    policy = Policy(needs=given)
    given["gpu"] = 9
    assert dict(policy.needs) == {"gpu": 1, "ram_gb": 16}
    with pytest.raises(TypeError):
        policy.needs["gpu"] = 2
    assert (policy.needs["gpu"], len(policy.needs), repr(policy.needs)) == (1, 2, "{'gpu': 1, 'ram_gb': 16}")


def test_needs_leave_a_policy_comparable_hashable_and_picklable():
    policy = Policy(needs={"gpu": 1, "ram_gb": 16})
    same = Policy(needs={"ram_gb": 16, "gpu": 1})
    assert (policy, hash(policy)) == (same, hash(same))
    assert policy != Policy(needs={"gpu": 1})
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert dataclasses.replace(policy, timeout=1).needs == policy.needs


def test_no_needs_are_none_or_empty():
    assert Policy().needs is None
    assert not Policy(needs={}).needs


@pytest.mark.parametrize("needs", ["gpu", ["gpu"], 1, {1: 1}, {b"gpu": 1}, {"gpu": None}, {"gpu": 1j}, {"gpu": True}])
def test_needs_are_names_and_amounts(needs):
    with pytest.raises(TypeError, match="needs"):
        Policy(needs=needs)


@pytest.mark.parametrize("needs", [{"gpu": 0}, {"gpu": -1}, {"": 1}, {"x" * 201: 1}, {"gpu": 2**53 + 1}])
def test_needs_are_above_zero_and_have_names(needs):
    with pytest.raises(ValueError, match="needs"):
        Policy(needs=needs)


@pytest.mark.parametrize(
    ("needed", "kept"),
    [
        (0.5, "0.5"),
        (2.0, 2),
        ("2", 2),
        ("0.50", "0.5"),
        ("0.000001", "0.000001"),
        ("4G", 4 << 30),
        ("1.5GiB", 3 << 29),
        ("1@mem>=20G", "1@mem>=20G"),
        (" 0.5 @ model = a100 @ mem > 1K", "0.5@model = a100@mem > 1K"),
    ],
)
def test_needs_may_be_parts_sizes_and_say_what_the_devices_must_have(needed, kept):
    policy = Policy(needs={"gpu": needed})
    assert policy.needs["gpu"] == kept
    assert type(policy.needs["gpu"]) is type(kept)
    assert dataclasses.replace(policy, timeout=1).needs == policy.needs


@pytest.mark.parametrize(
    "needed",
    ["", "much", "-1", "0", "0.0", "1e3", "1/3", "1@", "1@mem", "1@mem>=", "1@20G", "1@mem=\x1b", "9" * 16, 1e-9],
)
def test_needs_that_cannot_be_read_are_refused_with_what_can_be(needed):
    with pytest.raises(ValueError, match="needs"):
        Policy(needs={"gpu": needed})


def test_a_need_is_no_endless_text():
    with pytest.raises(ValueError, match="is no need"):
        Policy(needs={"gpu": "1@model=" + "x" * 200})


def test_a_retry_is_a_retry():
    assert Policy(retry=Retry(times=3)).retry.times == 3
    assert Policy().retry is None


@pytest.mark.parametrize("retry", [3, {"times": 3}, "three", True])
def test_a_retry_is_nothing_else(retry):
    with pytest.raises(TypeError, match="retry is a Retry or None"):
        Policy(retry=retry)


@pytest.mark.parametrize("word", ["pause", "requeue", None])
def test_a_command_says_how_it_gives_its_place(word):
    assert Policy(preemptible=word).preemptible == word


def test_there_is_no_other_way_to_give_a_place():
    with pytest.raises(ValueError, match="preemptible is one of pause, requeue, not 'kill'"):
        Policy(preemptible="kill")
