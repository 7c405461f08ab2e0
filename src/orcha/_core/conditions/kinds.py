"""The kinds of values in conditions, and how people are told a value."""

from __future__ import annotations

from enum import Enum
from math import isfinite

Value = bool | int | float | str

MAX_NUMBER = 2**63
"""Numbers of conditions lie between this and its negative."""
MAX_TEXT_CHARACTERS = 1_000
"""Characters of a text in a condition, and of a condition."""


class ValueKind(Enum):
    """What a value is; its value here is the word for people."""

    TRUTH = "a yes or no"
    NUMBER = "a number"
    SIZE = "a size"
    DURATION = "a duration"
    TEXT = "a text"


SIZES = {"B": 1} | {letter + end: 1024**power for power, letter in enumerate("KMGTP", 1) for end in ("", "B", "IB")}
"""Bytes of a unit, in capitals."""
DURATIONS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
"""Seconds of a unit."""


def unit(written: str) -> tuple[ValueKind, int | float] | None:
    """Give what stands behind a number: the kind, and by how much the number counts.

    >>> unit("m"), unit("M"), unit("x")
    ((<ValueKind.DURATION: 'a duration'>, 60), (<ValueKind.SIZE: 'a size'>, 1048576), None)
    """
    if written in DURATIONS:
        return ValueKind.DURATION, DURATIONS[written]
    size = SIZES.get(written.upper())
    return None if size is None else (ValueKind.SIZE, size)


def told(kind: ValueKind, value: Value) -> str:
    """Say a value to people.

    >>> [told(ValueKind.SIZE, size) for size in (3_328_599_654, 1_073_000_000, 12)]
    ['3.1G', '1023M', '12B']
    >>> [told(ValueKind.DURATION, seconds) for seconds in (7_500, 0.5, -90, 0)]
    ['2h5m', '0.5s', '-1m30s', '0s']
    >>> told(ValueKind.NUMBER, 5.25), told(ValueKind.TRUTH, True), told(ValueKind.TEXT, "mon")
    ('5.25', 'true', '"mon"')
    """
    if isinstance(value, str):
        return f'"{value}"'
    if kind is ValueKind.TRUTH:
        return "true" if value else "false"
    if kind is ValueKind.SIZE:
        return _told_size(value)
    return _told_duration(value) if kind is ValueKind.DURATION else _told_number(value)


def _told_size(size: float) -> str:
    for letter, power in zip("PTGMK", (5, 4, 3, 2, 1), strict=True):
        if abs(size) >= 1024**power:
            shown = size / 1024**power
            return f"{shown:.3g}{letter}" if abs(shown) < 999.5 else f"{shown:.0f}{letter}"
    return f"{size:.0f}B"


def _told_duration(seconds: float) -> str:
    sign, left = ("-" if seconds < 0 else ""), abs(seconds)
    if left < 60:
        return f"{sign}{left:.3g}s"
    whole, parts = round(left), []
    for letter, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, whole = divmod(whole, length)
        if count:
            parts.append(f"{count}{letter}")
    return sign + "".join(parts[:2])


def _told_number(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.6g}"


class Unknown:
    """Stands for a value that could not be looked up."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        """Take the reason, for people."""
        self.reason = reason

    def __eq__(self, other: object) -> bool:
        """Equal another value with the same reason."""
        return isinstance(other, Unknown) and other.reason == self.reason

    def __hash__(self) -> int:
        """Hash by the reason."""
        return hash(self.reason)

    def __repr__(self) -> str:
        """Show the reason."""
        return f"Unknown({self.reason!r})"


def checked(kind: ValueKind, value: object) -> Value | Unknown:
    """Give a value that was looked up, where it is of the kind that it should be.

    >>> checked(ValueKind.NUMBER, 3), checked(ValueKind.TRUTH, 1), checked(ValueKind.TEXT, "on")
    (3, True, 'on')
    >>> checked(ValueKind.SIZE, "8G"), checked(ValueKind.NUMBER, float("nan"))
    (Unknown("what was found is no size but 'str'"), Unknown('what was found is a number out of bounds'))
    """
    if kind is ValueKind.TRUTH and isinstance(value, bool | int):
        return bool(value)
    if kind is ValueKind.TEXT and isinstance(value, str):
        return value if len(value) <= MAX_TEXT_CHARACTERS else Unknown("what was found is a text that is too long")
    if kind in {ValueKind.NUMBER, ValueKind.SIZE, ValueKind.DURATION} and isinstance(value, int | float):
        is_bounded = isfinite(value) and -MAX_NUMBER <= value <= MAX_NUMBER
        return value if is_bounded else Unknown("what was found is a number out of bounds")
    return Unknown(f"what was found is no {kind.value.removeprefix('a ')} but {type(value).__name__!r}")


__all__ = [
    "DURATIONS",
    "MAX_NUMBER",
    "MAX_TEXT_CHARACTERS",
    "SIZES",
    "Unknown",
    "Value",
    "ValueKind",
    "checked",
    "told",
    "unit",
]
