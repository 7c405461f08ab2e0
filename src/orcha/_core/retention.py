"""Which ended petitions are forgotten so that their output has room, and when old entries of the audit are deleted."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


AUDIT_INTERVAL_SECONDS = 600.0
"""Seconds between looks at what is kept of what clients did; when more comes, looks follow each other sooner."""
AUDIT_ENTRIES_PER_LOOK = 10_000
"""Entries that one look deletes at most. A look follows each 10,000 new entries, so their number stays bounded."""


class AuditLooks:
    """When a look at the entries of the audit is due: after a time, and after a number of new entries.

    >>> looks = AuditLooks()
    >>> looks.is_due(0, 1.0), looks.is_due(9_999, 2.0), looks.is_due(10_000, 3.0), looks.is_due(10_000, 4.0)
    (True, False, True, False)
    """

    def __init__(self) -> None:
        """Have a look due at once."""
        self._due = 0.0
        self._seen_number = 0

    def is_due(self, made_number: int, now: float) -> bool:
        """Tell whether a look is due, and take it as done.

        Args:
            made_number: entries that were made since the start, at most.
            now: seconds of a steady clock.

        """
        if now < self._due and not self.is_behind(made_number):
            return False
        self._due = now + AUDIT_INTERVAL_SECONDS
        self._seen_number = min(made_number, self._seen_number + AUDIT_ENTRIES_PER_LOOK)
        return True

    def is_behind(self, made_number: int) -> bool:
        """Tell whether there are more new entries than the looks so far have room for."""
        return made_number - self._seen_number >= AUDIT_ENTRIES_PER_LOOK


def beyond(sizes: Mapping[bytes, int], ended: Iterable[tuple[int, bytes]], most: int) -> list[int]:
    """Give the sequence numbers of petitions to forget until all output has `most` bytes.

    Args:
        sizes: bytes of the output of each channel, of living petitions too.
        ended: sequence number and channel of petitions that may be forgotten, in the order in which they ended.
        most: bytes.

    A petition without output stays: nothing is won without it.

    >>> beyond({b"a": 5, b"b": 5}, [(1, b"a"), (2, b"c"), (3, b"b")], 7)
    [1]
    """
    excess = sum(sizes.values()) - most
    forgotten: list[int] = []
    freed: set[bytes] = set()
    for seq, channel in ended:
        if excess <= 0:
            break
        size = sizes.get(channel, 0)
        if size:
            forgotten.append(seq)
            if channel not in freed:
                freed.add(channel)
                excess -= size
    return forgotten


__all__ = ["AUDIT_ENTRIES_PER_LOOK", "AUDIT_INTERVAL_SECONDS", "AuditLooks", "beyond"]
