"""Why petitions wait: what was found out when they were asked last."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._core.reasons import Reason
    from orcha._core.record import Record


def note_no(record: Record, why: Reason | None, asked: float | None, now: float | None = None) -> bool | None:
    """Note why a petition waits, at a wall-clock time; None where that is no news, else whether it had no reason."""
    record.asked = asked
    if why is None or record.why is why or record.why == why:
        return None
    is_first = record.why is None
    if type(record.why) is not type(why):
        record.since = now
    record.why = why
    return is_first


def note_asked(unchanged: Iterable[tuple[Record, float | None]]) -> None:
    """Note when petitions were asked that wait for the same reason as before."""
    for record, asked in unchanged:
        record.asked = asked
