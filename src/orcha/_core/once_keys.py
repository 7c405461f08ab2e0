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
                self._replaced[seq] = {earlier} | self._replaced.get(earlier, set())
            self._holders[manager, owner, key] = seq

    def holder(self, key: OnceKey) -> int | None:
        """Give the sequence of the petition that took this key last; it may have ended."""
        return self._holders.get(key)

    def take(self, record: Record, is_live: Callable[[OnceKey], bool]) -> None:
        """Give a petition its key; it waits for what runs still of the petitions that had the key before.

        Such a petition may have its outcome already, or it was itself cancelled while it waited for another one.
        """
        assert record.once is not None
        key = record.manager, record.owner, record.once
        earlier = self._holders.get(key)
        if earlier is not None:
            left = set(filter(self._granted.has, {earlier, *self._replaced.get(earlier, ())}))
            if left:
                self._replaced[record.seq] = left
        self._holders[key] = record.seq
        if len(self._holders) > self._prune_at:
            holders, runs = self._holders.items(), self._granted.has
            self._holders = {key: seq for key, seq in holders if is_live(key) or runs(seq) or self.replaces(seq)}
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


__all__ = ["MAX_KEYS", "OnceKeys"]
