"""What each kind of event makes of a petition: functions of the petitions, one of them, the event, and the time."""

from __future__ import annotations

from orcha._core.transitions import (
    age,
    ahead,
    alter,
    array,
    cancel,
    command,
    finish,
    hold,
    lease,
    preempt,
    recover,
    retry,
    start,
    submit,
    wait,
)

__all__ = [
    "age",
    "ahead",
    "alter",
    "array",
    "cancel",
    "command",
    "finish",
    "hold",
    "lease",
    "preempt",
    "recover",
    "retry",
    "start",
    "submit",
    "wait",
]
