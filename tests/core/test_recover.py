"""What a start of the service decides about each stored petition."""

from __future__ import annotations

import pytest

from orcha._core.state import OnInterrupt, Outcome, State
from orcha._core.transitions.recover import Recovered, on_interrupt_state, recover

FAIL, RERUN, ASK = OnInterrupt
INTERRUPTED = Recovered(State.ENDED, Outcome.INTERRUPTED, 75, "interrupted: the service ended while it ran")


@pytest.mark.parametrize("state", [State.QUEUED, State.HELD, State.ENDED])
@pytest.mark.parametrize("policy", OnInterrupt)
def test_what_did_not_run_stays_as_it_is(state, policy):
    assert recover(state, policy, None, None, None) is None


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
@pytest.mark.parametrize(
    ("policy", "expected"), [(FAIL, INTERRUPTED), (RERUN, Recovered(State.QUEUED)), (ASK, Recovered(State.HELD))]
)
def test_what_may_have_run_goes_by_its_policy(state, policy, expected):
    assert recover(state, policy, None, None, None) == expected


@pytest.mark.parametrize("policy", OnInterrupt)
@pytest.mark.parametrize(("outcome", "code"), [(Outcome.CANCELLED, 130), (Outcome.TIMED_OUT, 124)])
def test_what_was_being_cancelled_ends_as_was_decided(policy, outcome, code):
    assert recover(State.CANCELLING, policy, outcome, code, "why") == Recovered(State.ENDED, outcome, code, "why")


def test_what_was_being_cancelled_without_a_kept_outcome_ends_cancelled():
    assert recover(State.CANCELLING, RERUN, None, None, None) == Recovered(State.ENDED, Outcome.CANCELLED, 130)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (FAIL, Recovered(State.ENDED, Outcome.INTERRUPTED, 75, "stopped")),
        (RERUN, Recovered(State.QUEUED)),
        (ASK, Recovered(State.HELD)),
    ],
)
def test_what_a_stop_of_the_service_interrupted_goes_by_its_policy(policy, expected):
    assert recover(State.CANCELLING, policy, Outcome.INTERRUPTED, 75, "stopped") == expected


@pytest.mark.parametrize(("policy", "state"), [(FAIL, None), (RERUN, State.QUEUED), (ASK, State.HELD)])
def test_the_policy_says_where_an_interrupted_petition_goes(policy, state):
    assert on_interrupt_state(policy) is state
