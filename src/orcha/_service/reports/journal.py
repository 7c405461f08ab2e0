"""The log lines of a service without a terminal about its petitions: each beginning, its user, and each end.

The engine only hands over the facts: the log's thread makes the words.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orcha._core.state import State
from orcha._service.reports.command_text import in_words, shortened
from orcha._service.reports.user_names import user

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orcha._core.changes import Changes
    from orcha._core.effects import Final
    from orcha._core.record import Record

_WAITS = {State.QUEUED: "is queued", State.HELD: "is held"}
"""What a petition does that is accepted and does not begin at once."""
MAX_LOGGED_COMMAND_CHARACTERS = 120
"""Characters of a command in a line."""


class Journal:
    """Writes the lines, where they are wanted."""

    def __init__(self, report: Callable[..., None], *, writes: bool) -> None:
        """Write by `report`, or nothing at all."""
        self._report = report
        self.writes = writes
        """Whether the lines are wanted."""

    def kept(self, changes: Changes, records: Mapping[int, Record]) -> None:
        """Tell of petitions that were accepted and do not begin at once, where lines are wanted."""
        for new in changes.petitions:
            record = records.get(new.seq)
            if record is not None and new.state in _WAITS:
                self._report(logging.INFO, "%s %s", _What(record), _Event(_WAITS[new.state]))

    def began(self, record: Record) -> None:
        """Tell that an attempt begins, where lines are wanted."""
        again = f", attempt {record.attempt}" if record.attempt > 1 else ""
        event = _Event("begins", attempt=record.attempt)
        self._report(logging.INFO, "%s %s%s", _What(record), event, again)

    def found(self, record: Record) -> None:
        """Tell that a command of an earlier start of the service goes on."""
        if self.writes:
            self._report(logging.INFO, "%s %s", _What(record), _Event("goes on", attempt=record.attempt))

    def stops(self, reason: str) -> None:
        """Tell that the service stops, and why."""
        if self.writes:
            self._report(logging.INFO, "%s", reason)

    def ended(self, finals: Sequence[Final], now: float) -> None:
        """Tell that petitions have ended."""
        if not self.writes:
            return
        for record, _, _ in finals:
            self._report(logging.INFO, "%s %s", _What(record), _End(record, now))


class _What:
    """A petition, its user and what it runs, once that is written."""

    __slots__ = ("_key", "_manager", "_owner", "_seq", "_words")

    def __init__(self, record: Record) -> None:
        self._key = record.key
        self._seq = record.seq
        self._owner = record.owner
        self._manager = record.manager
        self._words: object = getattr(record.petition, "argv", None) if record.command else None

    def __str__(self) -> str:
        what = self._manager.rpartition(":")[2]
        if isinstance(self._words, list | tuple):
            what = shortened(in_words(self._words), MAX_LOGGED_COMMAND_CHARACTERS)
        return f"petition {_plain(self._key)} of {_plain(user(self._owner))} ({_plain(what)})"

    def event_fields(self) -> dict[str, object]:
        """Give what programs want to know."""
        return {"id": self._key, "user": user(self._owner), "manager": self._manager, "seq": self._seq}


class _Event:
    """What happened, in words, with what is known of it."""

    __slots__ = ("_known", "_words")

    def __init__(self, words: str, **known: object) -> None:
        self._words = words
        self._known = known

    def __str__(self) -> str:
        return self._words

    def event_fields(self) -> dict[str, object]:
        """Give what programs want to know."""
        return {"event": self._words} | self._known


class _End:
    """How a petition has ended, once that is written."""

    __slots__ = ("_code", "_outcome", "_reason", "_seconds")

    def __init__(self, record: Record, now: float) -> None:
        self._outcome = record.outcome
        self._code = record.code
        self._reason = record.reason
        self._seconds = None if record.started is None else max(0.0, now - record.started)

    def __str__(self) -> str:
        outcome = "ended" if self._outcome is None else self._outcome.name.lower().replace("_", " ")
        parts = [f"ends: {outcome} ({self._code or 0})"]
        if self._seconds is not None:
            parts.append(f"{self._seconds:.3g} s after its start")
        if self._reason:
            parts.append(_plain(self._reason))
        return ", ".join(parts)

    def event_fields(self) -> dict[str, object]:
        """Give what programs want to know."""
        outcome = None if self._outcome is None else self._outcome.name.lower()
        known = {"outcome": outcome, "code": self._code or 0, "seconds": self._seconds, "reason": self._reason}
        return {"event": "ends"} | {name: value for name, value in known.items() if value is not None and value != ""}


def _plain(text: str) -> str:
    """Give text that stays on its line."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
