"""Which rows a selector may mean, as they are kept: looked for on a thread of its own, and checked again afterwards."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.selector import Described, Selector
from orcha._service.reports.command_text import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orcha._service.arrays.array_book import LiveArray
    from orcha._store.contract import Row

_PAGE_ROWS = 500
_WILDCARDS = frozenset("*?[")


class Search(NamedTuple):
    """What is looked for."""

    selector: Selector
    states: int
    owner: str | None
    before: int | None
    most: int
    """Rows that are given at most."""
    only_newest: bool
    """Whether of each id only the newest row is meant."""
    arrays: tuple[int, ...]
    """Arrays whose elements are looked through."""
    is_about_arrays: bool
    """Whether nothing but these elements is."""

    def run(self, page: Callable[..., list[Row]]) -> tuple[list[Row], int | None]:
        """Give the rows that may be meant, newest first, and below which one to go on; None where there are no more.

        States are looked at by the caller: what is kept may be older than what is so.
        """
        found: list[Row] = []
        are_more = False
        for array in (*(() if self.is_about_arrays else (None,)), *self.arrays):
            rows = self._of(page, array)
            are_more = are_more or len(rows) > self.most
            found += rows
        found = sorted({row.seq: row for row in found}.values(), key=lambda row: row.seq, reverse=True)
        are_more = are_more or len(found) > self.most
        found = found[: self.most]
        return found, found[-1].seq if are_more and found else None

    def _of(self, page: Callable[..., list[Row]], array: int | None) -> list[Row]:
        """Give one row more than are given at most, where there are that many."""
        found: list[Row] = []
        ids: set[str] = set()
        before = self.before
        group = self.selector.group if array is None else None
        while len(found) <= self.most:
            which = {"states": self.states, "limit": _PAGE_ROWS, "before": before}
            rows = page(**which, group=group, owner=self.owner, array=array, apart=True)
            if not rows:
                break
            before = rows[-1].seq
            for row in rows:
                if self.only_newest and row.id in ids:
                    continue
                ids.add(row.id)
                if self._may_mean(row):
                    found.append(row)
        return found[: self.most + 1]

    def _may_mean(self, row: Row) -> bool:
        selector = self.selector._replace(states=(), group=None)
        if selector.label is None:
            return selector.meets(Described(row.id, None, None, row.owner, "", None))
        return selector.meets(Described(row.id, None, listed(row, None).label, row.owner, "", None))


def heads_of(ids: Iterable[str]) -> tuple[list[str], list[str]]:
    """Give the ids of arrays whose elements are named by patterns, and patterns of such ids.

    >>> heads_of(["train.*", "build", "tune-?.[12]", "a.b.7"])
    (['train', 'a.b'], ['tune-?'])
    """
    heads = [head for head, _, number in (each.rpartition(".") for each in ids) if head and number]
    literal = [head for head in heads if _WILDCARDS.isdisjoint(head)]
    return literal, [head for head in heads if not _WILDCARDS.isdisjoint(head)]


def live_arrays_named(patterns: Iterable[str], entries: Iterable[LiveArray]) -> list[int]:
    """Give the arrays that have not ended and whose ids fit one of the patterns, by seq."""
    wanted = list(patterns)
    return [entry.array.seq for entry in entries if any(fnmatchcase(entry.array.key, pattern) for pattern in wanted)]


__all__ = ["Search", "heads_of", "live_arrays_named"]
