"""Whether a command is tried again, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._core.retry import Ended, depends_on_output, final_value, pause, retry_due, wants_retry
from orcha._core.state import Outcome
from orcha.interfaces import Retry

FAILED, TIMED_OUT = Outcome.FAILED, Outcome.TIMED_OUT


@pytest.mark.parametrize(
    ("retry", "ended", "wanted"),
    [
        ({}, Ended(FAILED, 1), True),
        ({}, Ended(FAILED, None, 9), True),
        ({}, Ended(TIMED_OUT, None, 15), True),
        ({}, Ended(Outcome.SUCCEEDED, 0), False),
        ({}, Ended(Outcome.CANCELLED, None, 2), False),
        ({}, Ended(Outcome.BROKEN, 127), False),
        ({}, Ended(Outcome.INTERRUPTED, None, 2), False),
        ({"codes": [75]}, Ended(FAILED, 75), True),
        ({"codes": [75]}, Ended(FAILED, 1), False),
        ({"codes": [75]}, Ended(FAILED, None, 9), False),
        ({"codes": [75]}, Ended(TIMED_OUT, 75), False),
        ({"signals": [9]}, Ended(FAILED, None, 9), True),
        ({"signals": [9]}, Ended(FAILED, 9), False),
        ({"timeout": True}, Ended(TIMED_OUT, None, 15), True),
        ({"timeout": True}, Ended(FAILED, 1), False),
        ({"output": "busy"}, Ended(FAILED, 1, None, found=True), True),
        ({"output": "busy"}, Ended(FAILED, 1, None, found=False), False),
        ({"output": "busy", "codes": [2]}, Ended(FAILED, 2, None, found=False), True),
        ({"output": "busy"}, Ended(TIMED_OUT, None, 15, found=True), False),
    ],
)
def test_which_ends_are_tried_again(retry, ended, wanted):
    assert wants_retry(Retry(times=1, **retry), ended) is wanted


@given(
    number=st.integers(1, 10_000),
    delay=st.floats(0, 1e6),
    factor=st.floats(1, 100),
    longest=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
    chance=st.floats(0, 1),
)
def test_a_pause_is_never_longer_than_its_limit_with_jitter(number, delay, factor, longest, jitter, chance):
    retry = Retry(times=1, delay=delay, factor=factor, longest=longest, jitter=jitter)
    seconds = pause(retry, number, chance)
    assert 0 <= seconds <= longest * (1 + jitter) * (1 + 1e-9)
    assert seconds <= pause(retry, number + 1, chance) * (1 + 1e-9), "pauses only grow"


def test_a_pause_beyond_all_numbers_is_the_longest_one_or_none():
    retries = [Retry(times=9, delay=delay, factor=100.0, longest=5, jitter=0) for delay in (1, 0)]
    assert [pause(retry, 1_000, 0.5) for retry in retries] == [5, 0]


def test_jitter_spreads_around_the_pause():
    retry = Retry(times=9, delay=10, jitter=0.5)
    assert [pause(retry, 1, chance) for chance in (0, 0.5, 1)] == [5, 10, 15]


def test_it_is_due_after_the_pause_and_only_so_often():
    retry = Retry(times=2, delay=10, factor=3, jitter=0)
    ended = Ended(FAILED, 1)
    assert [retry_due(retry, ended, retries=n, now=100, chance=0) for n in (0, 1, 2)] == [110, 130, None]
    assert retry_due(None, ended, retries=0, now=100, chance=0) is None
    assert retry_due(retry, Ended(Outcome.SUCCEEDED, 0), retries=0, now=100, chance=0) is None


@pytest.mark.parametrize(
    ("given", "ended", "depends"),
    [
        ({"output": "busy"}, Ended(FAILED, 1), True),
        ({"output": "busy", "codes": [1]}, Ended(FAILED, 1), False),
        ({"output": "busy", "codes": [2]}, Ended(FAILED, 1), True),
        ({"output": "busy"}, Ended(Outcome.SUCCEEDED, 0), False),
        ({"output": "busy"}, Ended(TIMED_OUT, None, 15), False),
        ({"codes": [1]}, Ended(FAILED, 1), False),
    ],
)
def test_the_output_is_looked_at_only_where_it_decides(given, ended, depends):
    assert depends_on_output(Retry(times=2, **given), ended, retries=1) is depends
    assert depends_on_output(Retry(times=2, **given), ended, retries=2) is False
    assert depends_on_output(None, ended, retries=0) is False


@pytest.mark.parametrize(
    ("history", "value"),
    [
        (None, None),
        ('[{"attempt": 1, "code": 3}]', None),
        ('[{"attempt": 1, "code": 3}, {"attempt": 2, "code": 4}]', 4),
        ('[{"attempt": 2, "code": null, "signal": 9, "why": null}]', 137),
        ('[{"attempt": 2, "code": 0, "why": "idle"}]', 124),
        ('[{"attempt": 2, "code": null, "signal": 9, "why": "memory"}]', 137),
        ('[{"attempt": 2, "code": null, "signal": 2, "why": "cancelled"}]', None),
        ('[{"attempt": 2, "why": "lost", "executed": true}]', None),
        ('[{"attempt": 2, "code": null}]', None),
    ],
)
def test_the_final_value_of_an_ended_attempt_is_known_from_the_history(history, value):
    assert final_value(history, 2) == value
