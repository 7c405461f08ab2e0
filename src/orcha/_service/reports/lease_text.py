"""Leases in words: what is lent, to whom, and until when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orcha._service.reports.user_names import user
from orcha.interfaces.needs import WHOLE, in_units, read, spelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orcha._core.record import Record


def until(record: Record) -> float | None:
    """Give when the attempt of a petition ends at the latest: seconds since 1970; None where that is not known."""
    return None if record.timeout is None or record.started is None else record.started + record.timeout


def what(record: Record) -> str:
    """Name the devices and amounts that a petition has."""
    return ", ".join(_named(record))


def _named(record: Record) -> Iterator[str]:
    devices = record.devices or {}
    for resource, wanted in (record.needs or {}).items():
        need = read(wanted)
        names = " and ".join(f"{resource}:{name}" for name in devices.get(resource, ()))
        if resource == WHOLE:
            yield "the whole machine"
        elif names:
            yield f"{spelled(need.amount)} of {names}" if need.is_share else names
        else:
            yield f"{in_units(need.amount)} {resource}"


def taken(resource: str, need: float | str) -> str:
    """Give what a lease takes, as ``orcha lock`` does.

    >>> taken("rig", "1@name=a"), taken("gpu", 2), taken("*", 1)
    ('rig:a', 'gpu=2', '--exclusive')
    """
    if resource == WHOLE:
        return "--exclusive"
    device = str(need).removeprefix("1@name=")
    return f"{resource}={need}" if device == str(need) or "@" in device else f"{resource}:{device}"


def lent(record: Record) -> str:
    """Tell what a lease has, and until when."""
    return f"lent: {what(record)}{_clock(until(record))}"


def lent_to(record: Record) -> str:
    """Tell who has what, until when and what for, to people who wait for the same."""
    why = getattr(record.petition, "why", "")
    return f"{record.key} of {user(record.owner)} has {what(record)}{_clock(until(record))}{f' ({why})' if why else ''}"


def ends_soon(record: Record) -> str:
    """Warn of the end of a lease."""
    return f"the lease of {what(record)} ends{_clock(until(record), 'at')}: orcha extend {record.key} 1h"


def _clock(seconds: float | None, word: str = "until") -> str:
    if seconds is None:
        return ""
    try:
        return f" {word} {datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return ""
