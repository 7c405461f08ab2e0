"""Keys that allow one petition each to wait or run at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orcha._core.granted import GrantedSlots
    from orcha._core.record import Record

    OnceKey = tuple[str, str, str]
    """Manager, owner, and the key they chose: nobody meets another's keys."""

MAX_KEYS = 10_000
"""With more keys than this, the keys of ended petitions are dropped."""


class OnceKeys:
    """Which petition has which key, and which petitions wait for the end of the petition that they replace.

    The hook thread asks `replaces`; all else is the engine's.
    """

    def __init__(self, granted: GrantedSlots) -> None:
        """Know no key; `granted` tells what still runs."""
        self._granted = granted
        self._holders: dict[OnceKey, int] = {}
        self._replaced: dict[int, set[int]] = {}
        """The petitions that a petition replaces, by its own sequence."""
        self._prune_at = MAX_KEYS

    def load(self, kept: Iterable[tuple[int, str, str, str]]) -> None:
        """Take over the keys of petitions that are kept and have not ended: sequence, manager, owner, key.

        Of several with one key the last one replaces the others, which are about to end.
        """
        for seq, manager, owner, key in sorted(kept):
            earlier = self._holders.get((manager, owner, key))
            if earlier is not None:
                self._replace(seq, earlier)
            self._holders[manager, owner, key] = seq

    def holder(self, key: OnceKey) -> int | None:
        """Give the sequence of the petition that took this key last; it may have ended."""
        return self._holders.get(key)

    def take(self, record: Record, holder: Record | None, is_live: Callable[[OnceKey], bool]) -> None:
        """Give a petition its key, instead of a live `holder`, for whose end it waits then."""
        assert record.once is not None
        if holder is not None:
            self._replace(record.seq, holder.seq)
        self._holders[record.manager, record.owner, record.once] = record.seq
        if len(self._holders) > self._prune_at:
            self._holders = {key: seq for key, seq in self._holders.items() if is_live(key)}
            self._prune_at = max(MAX_KEYS, 2 * len(self._holders))

    def replaces(self, seq: int) -> bool:
        """Tell whether something of what a petition replaces is still there."""
        replaced = self._replaced.get(seq)
        if replaced is None:
            return False
        if any(map(self._granted.has, replaced)):
            return True
        self._replaced.pop(seq, None)
        return False

    def _replace(self, seq: int, holder: int) -> None:
        """Have a petition wait for the holder of its key, and for what that one waits for."""
        self._replaced[seq] = {holder} | self._replaced.get(holder, set())


__all__ = ["MAX_KEYS", "OnceKeys"]
