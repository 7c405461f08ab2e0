"""Pages of rows for any thread: short transactions on a connection of their own, cut at a deadline."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import apsw

from orcha._core.changes import AuditEntry
from orcha._core.state import State
from orcha._store.contract import EventFilter, Row, Waiting
from orcha._store.queries import decode_list, decode_rows, queries

PAGE_SECONDS = 5.0
"""Longest time that a page may take."""
_ACTIVE_STATES = sum(1 << state for state in (State.HELD, State.STARTING, State.RUNNING, State.CANCELLING))
_FIRST_SPAN_ROWS = 1_000
_MAX_SPAN_ROWS = 50_000
_MAX_ROWS_PER_QUERY = 50
_PAGE_BYTES = 16 << 20  # as in queries.sql
"""Bytes of messages and reasons from which on a page has no further row."""
_MAX_SEQ_NUMBER = (1 << 63) - 1

_Which = tuple[int, int, int | None]
"""States, limit and before."""


class PageReader:
    """Pages of rows, for any thread."""

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        """Read through a connection that is opened when it is first needed."""
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._closed = False

    def page(
        self,
        *,
        states: int,
        limit: int,
        before: int | None = None,
        id: str | None = None,  # noqa: A002 - the contract's name
        group: str | None = None,
        owner: str | None = None,
        array: int | None = None,
    ) -> list[Row]:
        """Give up to `limit` rows, highest seq first, fewer where they are large: see the contract.

        Raises:
            TimeoutError: it took too long, by itself or because of other readers.
        """
        deadline = time.monotonic() + PAGE_SECONDS
        with self._reading() as connection:
            if connection is None:
                return []
            if id is None and array is not None:
                return self._by_index(connection, "page_of_array", (states, limit, before), (array, owner))
            if id is None and group is not None:
                return self._by_index(connection, "page_of_group", (states, limit, before), (group, owner))
            return self._read(connection, deadline, (states, limit, before), (id, owner))

    def events(self, wanted: EventFilter) -> list[tuple[AuditEntry, int]]:
        """Give what clients did and tried, the newest first.

        Raises:
            TimeoutError: others were reading for too long.
        """
        with self._reading() as connection:
            if connection is None:
                return []
            found = decode_list(connection.execute(queries()["events"], tuple(wanted)).get)
        return sorted(map(_event, found), key=lambda each: each[0].at, reverse=True)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[apsw.Connection | None]:
        """Give the connection to one thread at a time, opened when it is first needed; None once it is closed."""
        if not self._lock.acquire(timeout=PAGE_SECONDS):
            raise TimeoutError("others are reading")
        try:
            if self._connection is None and not self._closed:
                self._connection = self._connect()
            yield self._connection
        finally:
            self._lock.release()

    @staticmethod
    def _by_index(
        connection: apsw.Connection, query: str, which: _Which, of: tuple[str | int, str | None]
    ) -> list[Row]:
        """Read by the index of groups or arrays, a few rows at a time: their extras have to fit into one text."""
        states, limit, before = which
        upper = _MAX_SEQ_NUMBER if before is None else before
        found: list[Row] = []
        while len(found) < limit:
            step = min(limit - len(found), _MAX_ROWS_PER_QUERY)
            parameters = (0, upper, states, step, *of)
            rows = decode_rows(connection.execute(queries()[query], parameters).get)
            found += sorted(rows, key=_seq, reverse=True)
            if not rows or _are_large(found):
                break
            upper = found[-1].seq
        return found

    @staticmethod
    def _read(
        connection: apsw.Connection, deadline: float, which: _Which, of: tuple[str | None, str | None]
    ) -> list[Row]:
        named = queries()
        states, limit, before = which
        lowest, highest = next(connection.execute(named["bounds"]))
        upper = highest + 1 if before is None else min(before, highest + 1)
        active = not states & ~_ACTIVE_STATES
        query = named["page_of_active" if active else "page" if of[0] is None else "page_of_id"]
        span = upper if active else _FIRST_SPAN_ROWS
        found: list[Row] = []
        while len(found) < limit and upper > lowest and not _are_large(found):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not done after {PAGE_SECONDS:g} s")
            step = min(limit - len(found), _MAX_ROWS_PER_QUERY)
            lower = max(upper - span, 0)
            parameters = (lower, upper, states, step, *of)
            rows = sorted(decode_rows(connection.execute(query, parameters).get), key=_seq, reverse=True)
            found += rows
            upper = rows[-1].seq if rows else lower
            span = span if active else min(span * 4, _MAX_SPAN_ROWS)
        return found

    def close(self) -> None:
        """Close; a page being read is waited for."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def take(self) -> apsw.Connection | None:
        """Give up the connection without closing it, in a forked child."""
        connection, self._connection, self._closed = self._connection, None, True
        self._lock = threading.Lock()
        return connection


def waiting(connection: apsw.Connection, manager: str) -> Iterator[Waiting]:
    """Give what waits for a manager, as it is now, smallest (priority, seq) first; closes the connection."""
    try:
        for row in connection.execute(queries()["waiting"], (manager,)):
            yield Waiting(*row)
    finally:
        connection.close()


def _event(row: list[Any]) -> tuple[AuditEntry, int]:
    at, who, key, door, host, verb, ids, total, owners, why, outcome, reason, number = row
    named, whose = tuple(json.loads(ids)), tuple(json.loads(owners))
    return AuditEntry(float(at), who, key, door, host, verb, named, total, whose, why, outcome, reason), number


def _are_large(rows: list[Row]) -> bool:
    """Tell whether the rows are large enough for one page, however few they are."""
    return sum(len(row.extras) + len(row.reason or "") for row in rows) > _PAGE_BYTES


def _seq(row: Row) -> int:
    return row.seq
