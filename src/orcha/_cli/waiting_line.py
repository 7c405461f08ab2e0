"""The line that an attached client shows while its petition waits: its place, why, and when it will probably start."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orcha._cli.foretold import Estimate
    from orcha._cli.session import Session

    Row = dict[str, Any]


class WaitingLine:
    """The line of one petition; its start is reckoned when a reason is told first, and anew for another reason.

    >>> line = WaitingLine("make")
    >>> row = {"state": "queued", "place": 0, "why": "everything is paused"}
    >>> line.text(row), line.is_news(row)
    ('make waits: next; everything is paused', True)
    """

    def __init__(self, name: str) -> None:
        """Take the petition's id."""
        self._name = name
        self._reason: str | None = None
        self._estimate: Estimate | None = None

    def is_news(self, row: Row) -> bool:
        """Tell whether the reason is another one than when the start was reckoned; other numbers are no news."""
        return _without_numbers(row) != self._reason

    def reckon(self, service: Session, row: Row) -> None:
        """Reckon when the petition will probably start."""
        from orcha._cli import foretold
        from orcha.exceptions import OrchaError

        self._reason = _without_numbers(row)
        self._estimate = None
        try:
            self._estimate = foretold.estimated(service, row, is_asked_for=False)
        except OrchaError:
            return  # the service is away: the channel tells

    def text(self, row: Row) -> str:
        """Give the line; no start is told any more when its time has gone by, or the reason is another one."""
        return f"{self._name} waits: {waiting(row, self._starts(row))}"

    def _starts(self, row: Row) -> str:
        estimate = self._estimate
        if estimate is None or self.is_news(row):
            return ""
        from orcha._cli import foretold, render

        now = render.now()
        told = foretold.brief(estimate, now) if now < estimate.latest else ""
        return f"starts {told}" if told else ""


def waiting(row: Row, starts: str = "") -> str:
    """Give the place of a waiting petition, when it starts, and why it waits, which is the longest and may be cut.

    >>> waiting({"place": 2, "why": "4 of 4 slots of the machine are in use"})
    '2 before it; 4 of 4 slots of the machine are in use'
    >>> waiting({"place": 0, "why": "1 waits before it"}), waiting({"place": None, "why": "everything is paused"})
    ('next', 'everything is paused')
    >>> waiting({"place": 0, "why": "rig 3 is taken", "asked_ago": 1.4})
    'next; rig 3 is taken (asked 1 s ago)'
    >>> waiting({"place": 0, "why": "its group rig is full"}, "starts in ~2 min")
    'next, starts in ~2 min; its group rig is full'
    """
    from orcha._cli import descriptions

    place, why = row.get("place"), descriptions.why(row)
    if place is None:
        return "; ".join(filter(None, (starts, why))) or "nothing is known of why"
    where = ", ".join(filter(None, (f"{place} before it" if place else "next", starts)))
    is_that = why is None or why.endswith((" wait before it", " waits before it"))  # a moment earlier
    return where if is_that else f"{where}; {why}"


def _without_numbers(row: Row) -> str:
    return "".join(letter for letter in f"{row['state']} {row['why']}" if not letter.isdecimal())


__all__ = ["WaitingLine", "waiting"]
