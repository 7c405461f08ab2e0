"""What is due later."""

from __future__ import annotations

import threading

import pytest

from orcha._service.timers import Timers


@pytest.mark.parametrize("due", [1e10, 1e300])
def test_a_thread_can_wait_for_what_is_due_in_a_thousand_years(due):
    timers = Timers()
    timers.at(due, lambda: None)
    assert 0 < timers.wait(0.0) <= threading.TIMEOUT_MAX
    assert timers.take(1e9) == []
    assert timers.head == due


def test_what_is_due_is_taken_in_order_and_what_is_not_waited_for():
    timers, made = Timers(), []
    assert timers.wait(0.0) is None
    for due in (3.0, 1.0, 2.0):
        timers.at(due, lambda due=due: made.append(due))
    assert timers.wait(0.5) == 0.5
    for call in timers.take(2.0):
        call()
    assert made == [1.0, 2.0]
    assert timers.wait(9.0) == 0.0
