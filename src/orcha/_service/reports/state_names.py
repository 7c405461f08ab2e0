"""The word for each state of a petition, the same for people and programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.state import State

if TYPE_CHECKING:
    from orcha._core.record import Record

BEGUN_STATES = (State.STARTING, State.RUNNING)
"""The stored states of a petition that runs or is about to run."""


def state_of(record: Record) -> str:
    """Give the word for a live petition's state."""
    return word(record.state, record)


def word(state: State, record: Record | None) -> str:
    """Give the word for a state as it is kept, `record` being the petition where it lives.

    An action in Python stays STARTING on the disk, since nothing else is to be known of it after a crash. It runs, all
    the same, from the moment when its thread has it.
    """
    if state is State.STARTING and record is not None and record.state is State.STARTING and has_begun(record):
        state = State.RUNNING
    return state.name.lower()


def has_begun(record: Record) -> bool:
    """Tell whether the action of the current attempt has begun; of a command its state says that."""
    run = record.run
    return not record.command and run is not None and run.attempt == record.attempt and run.thread != 0


__all__ = ["BEGUN_STATES", "has_begun", "state_of", "word"]
