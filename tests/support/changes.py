"""Petitions, steps and channels for tests of stores."""

from __future__ import annotations

from typing import Any

from orcha._core.changes import Append, Changes, NewChannel, NewPetition, Transition
from orcha._core.state import OnInterrupt, Outcome, State

ANY_STATE = 0b1111110
"""Bit mask of all states."""
MANAGER = "tests:Manager"


def name(number: int) -> bytes:
    """Give a token or channel id that grows with `number`."""
    return number.to_bytes(6, "big") + bytes(10)


def petition(seq: int, **fields: Any) -> NewPetition:
    """Give a queued petition."""
    given: dict[str, Any] = {
        "token": name(seq),
        "id": f"job-{seq}",
        "id_is_int": False,
        "manager": MANAGER,
        "owner": "uid:0",
        "channel": name(seq),
        "state": State.QUEUED,
        "attempt": 0,
        "priority": 0,
        "extras": b"\x80",
        "on_interrupt": OnInterrupt.FAIL,
        "submitted": 1_700_000_000.25,
    }
    return NewPetition(seq, **(given | fields))


def accept(*petitions: NewPetition) -> Changes:
    """Give the change that accepts petitions, each with a channel of its own."""
    channels = [NewChannel(new.channel, new.owner, own=True) for new in petitions]
    return Changes(petitions=list(petitions), channels=channels)


def step(seq: int, state: State, *, attempt: int = 0, to_attempt: int | None = None, **fields: Any) -> Transition:
    """Give a step from any state of `attempt`."""
    given: dict[str, Any] = {"from_states": ANY_STATE, "at": 1_700_000_100.5} | fields
    return Transition(
        seq, from_attempt=attempt, state=state, attempt=attempt if to_attempt is None else to_attempt, **given
    )


def steps(*transitions: Transition) -> Changes:
    """Give the change that makes steps."""
    return Changes(transitions={transition.seq: transition for transition in transitions})


def end(seq: int, **fields: Any) -> Transition:
    """Give the step that ends a petition with success."""
    return step(seq, State.ENDED, **({"outcome": Outcome.SUCCEEDED, "code": 0} | fields))


def append(channel: bytes, first: int, data: bytes, count: int = 1) -> Changes:
    """Give the change that appends one block of records."""
    return Changes(appends=[Append(channel, first, count, data)])
