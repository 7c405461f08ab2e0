"""Which values the rules of a group may have, whether people set them while a service runs, or a workload has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._configuration.kinds import MAX_SLOTS, MAX_STARTS_PER_RATE, MIN_AGE_SECONDS
from orcha._core.start_log import StartRate
from orcha.interfaces.policy import MAX_DURATION_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_rules(given: object) -> None:
    """Look at the values that rules of a group are to have; None stands for no rule.

    Raises:
        ValueError: the rules are no dict, a name is no rule's, or a value is none that the rule can have; the message
            tells which it can have.

    >>> check_rules({"per_user": 2, "rate": [10, 60.0], "age": None})

    """
    if not isinstance(given, dict) or not given.keys() <= _CHECKS.keys():
        error = f"the rules of a group are {', '.join(_CHECKS)}"
        raise ValueError(error)
    for name, value in given.items():
        if value is not None:
            _CHECKS[name](name, value)


def _check_count(name: str, value: Any) -> None:
    if type(value) is not int or not 0 <= value <= MAX_SLOTS:
        error = f"{name} is a whole number from 0 to {MAX_SLOTS}, not {value!r:.80}"
        raise ValueError(error)


def _check_seconds(name: str, value: Any) -> None:
    if type(value) not in {int, float} or not 0 < value <= MAX_DURATION_SECONDS:
        error = f"{name} is a number of seconds above 0 and at most {MAX_DURATION_SECONDS}, not {value!r:.80}"
        raise ValueError(error)


def _check_age(name: str, value: Any) -> None:
    _check_seconds(name, value)
    if value < MIN_AGE_SECONDS:
        error = f"{name} is {MIN_AGE_SECONDS} seconds at least, not {value!r:.80}: less changes the order too often"
        raise ValueError(error)


def _check_rate(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or len(value) != len(StartRate._fields):
        error = f"{name} is a number of starts, and the seconds within which they are counted, not {value!r:.80}"
        raise ValueError(error)
    count, seconds = value
    if type(count) is not int or not 1 <= count <= MAX_STARTS_PER_RATE:
        error = (
            f"{name} is 1 to {MAX_STARTS_PER_RATE} starts within some seconds, not {count!r:.80}: count a shorter time"
        )
        raise ValueError(error)
    _check_seconds(name, seconds)


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        error = f"{name} is a condition in text, not {value!r:.80}"
        raise ValueError(error)  # noqa: TRY004 - it is answered as each other value that is refused


_CHECKS: Mapping[str, Any] = {
    "per_user": _check_count,
    "default_timeout": _check_seconds,
    "longest": _check_seconds,
    "rate": _check_rate,
    "when": _check_text,
    "age": _check_age,
}

__all__ = ["check_rules"]
