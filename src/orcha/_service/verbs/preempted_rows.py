"""What people are told of petitions that gave their place to more urgent ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._core.preempted import PAUSE
from orcha._core.reasons import PreemptedBy
from orcha._core.room import in_words
from orcha._core.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._service.engine import Engine
    from orcha._store.contract import Row


def of(engine: Engine, row: Row, named: Callable[[str], str]) -> dict[str, Any] | None:
    """Give by which petition a live one was preempted, how and when, by the names of `docs/wire.md`."""
    mark = engine.petitions.preempted.get(row.seq)
    return None if mark is None or row.state is State.ENDED else mark._asdict() | {"by": named(mark.by)}


def why(engine: Engine, row: Row) -> PreemptedBy | None:
    """Give why a command stands still, or is about to; None for any other petition."""
    mark, record = engine.petitions.preempted.get(row.seq), engine.petitions.records.get(row.seq)
    if mark is None or mark.how != PAUSE or record is None or record.state is not State.RUNNING:
        return None
    lacked = engine.admission.room.lacks(record) if row.seq in engine.petitions.lent else frozenset[str]()
    return PreemptedBy(mark.by, in_words(record, lacked))


def and_why(engine: Engine, row: Row, text: str | None, named: Callable[[str], str]) -> str | None:
    """Give why a petition waits, or is being ended, with the petition that took its place."""
    mark = engine.petitions.preempted.get(row.seq)
    if mark is None or row.state is State.ENDED or mark.how == PAUSE:
        return text
    told = f"preempted by {named(mark.by)}"
    return told if text is None else f"{told}; {text}"


__all__ = ["and_why", "of", "why"]
