"""API.md, orcha.interfaces: `Policy`."""

from __future__ import annotations

import dataclasses

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


@pytest.mark.parametrize("field", ["timeout", "queue_timeout"])
@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_limit_is_finite_and_above_zero(field, seconds):
    with pytest.raises(ValueError, match=field):
        Policy(**{field: seconds})


@pytest.mark.parametrize("field", ["timeout", "queue_timeout"])
@pytest.mark.parametrize("seconds", ["1", True, [1]])
def test_a_limit_is_a_number(field, seconds):
    with pytest.raises(TypeError, match=field):
        Policy(**{field: seconds})


@pytest.mark.parametrize("seconds", [1, 0.001, 1e9])
def test_a_limit_is_kept(seconds):
    assert Policy(timeout=seconds, queue_timeout=seconds).timeout == seconds


def test_a_retry_is_a_retry():
    assert Policy(retry=Retry(times=3)).retry.times == 3
    assert Policy().retry is None


@pytest.mark.parametrize("retry", [3, {"times": 3}, "three", True])
def test_a_retry_is_nothing_else(retry):
    with pytest.raises(TypeError, match="retry is a Retry or None"):
        Policy(retry=retry)
