"""What is kept beside petitions and channels: groups, needs, other priorities, pauses, slots, retries."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from orcha._store.contract import RetryRow
from orcha._store.queries import decode_list, decode_retries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orcha._core.changes import Changes

T = TypeVar("T")
Ask = Callable[..., Any]
"""Runs a named query with its parameters."""


def any_in(changes: Changes) -> bool:
    """Tell whether a transaction holds any of it."""
    aside = changes.groups or changes.needs or changes.once or changes.priorities or changes.pauses
    return bool(aside or changes.retries or changes.slots is not None)


def write(changes: Changes, ask: Ask) -> None:
    """Keep it, within a transaction that holds the new petitions and the steps already."""
    if changes.groups:
        ask("insert_groups", json.dumps(list(changes.groups.items())))
    if changes.needs:
        needs = [(seq, *need) for seq, needs in changes.needs.items() for need in needs.items()]
        ask("insert_needs", json.dumps(needs))
    if changes.once:
        ask("insert_once", json.dumps(list(changes.once.items())))
    for seq, priority in changes.priorities.items():
        ask("set_priority", seq, priority)
    for name, paused in changes.pauses.items():
        ask("pause" if paused else "unpause", name)
    if changes.slots is not None:
        ask("forget_slots")
        ask("insert_slots", json.dumps(list(changes.slots.items())))
    for retry in changes.retries.values():
        ask("keep_retry", *retry)


class Asides(ABC):
    """What a store is asked of it."""

    @abstractmethod
    def _aside(self, what: Callable[[Ask], T]) -> T:
        """Let something be asked."""

    def groups(self, seqs: Sequence[int]) -> dict[int, str]:
        """Give the groups of those petitions that are in one."""
        return self._aside(lambda ask: dict(decode_list(ask("groups", json.dumps(list(seqs))))))

    def needs(self, seqs: Sequence[int]) -> dict[int, dict[str, int]]:
        """Give what is needed by those petitions that need a resource."""
        found: dict[int, dict[str, int]] = {}
        for seq, name, amount in self._aside(lambda ask: decode_list(ask("needs", json.dumps(list(seqs))))):
            found.setdefault(seq, {})[name] = amount
        return found

    def once(self) -> list[tuple[int, str, str, str]]:
        """Give seq, manager, owner and key of those that have a key and have not ended, the oldest first."""
        return self._aside(lambda ask: [tuple(known) for known in decode_list(ask("once"))])

    def pauses(self) -> set[str]:
        """Give what is paused."""
        return self._aside(lambda ask: set(decode_list(ask("pauses"))))

    def slots(self) -> dict[str, int | None]:
        """Give the groups there are, with how many of each may run at once."""
        return self._aside(lambda ask: dict(decode_list(ask("slots"))))

    def retries(self, seqs: Sequence[int]) -> dict[int, RetryRow]:
        """Give what is kept of the retries of those petitions that were tried again, by seq."""
        found = self._aside(lambda ask: decode_retries(ask("retries", json.dumps(list(seqs)))))
        return {row.seq: row for row in found}

    def retrying(self) -> list[RetryRow]:
        """Give those that wait for a time, the earliest first."""
        found = self._aside(lambda ask: decode_retries(ask("retrying")))
        return sorted(found, key=lambda row: (row.due or 0.0, row.seq))

    def ended(self) -> int:
        """Count the petitions that have ended."""
        return self._aside(lambda ask: int(ask("ended")))
