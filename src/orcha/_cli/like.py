"""How long a command is expected to take, by how long the same command took before: ``orcha run --expect-like``."""

from __future__ import annotations

import os

from orcha._cli import render
from orcha.interfaces.built_in import COMMAND_MANAGER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from orcha._cli.session import Session

    Row = dict[str, Any]

MAX_LOOKED_AT_PETITIONS = 500
"""Ended petitions among which the same command is looked for, the newest."""
MIN_LIKE_PETITIONS = 5
"""Fewer petitions of the same command say nothing about the next one."""
SAFETY_FACTOR = 1.5
"""Others are let go before, or held back, by what is expected: so the longest time counts, and half as much again."""


def expected(words: Iterable[bytes | str], rows: Iterable[Row]) -> tuple[float | None, str]:
    """Give how many seconds a command is expected to take, by rows of ended petitions, and where that comes from.

    None where too few petitions ran the same command to their own ends: to success or to failure.

    >>> row = {"manager": COMMAND_MANAGER, "command": "make all", "started": 0.0, "outcome": "succeeded"}
    >>> expected(["make", "all"], [row | {"ended": seconds} for seconds in (20.0, 40.0, 10.0, 20.0, 30.0)])
    (60.0, 'the longest of 5 petitions that ran the same command took 40 s')
    >>> expected(["make"], [row | {"ended": 1.0}])
    (None, 'the same command was run 0 times of late, and 5 times are wanted')
    """
    import shlex

    from orcha.utils import redact

    text = shlex.join(redact.words([os.fsdecode(word) for word in words]))
    known = [row["ended"] - row["started"] for row in rows if _is_like(row, text)]
    if len(known) < MIN_LIKE_PETITIONS:
        return None, f"the same command was run {len(known)} times of late, and {MIN_LIKE_PETITIONS} times are wanted"
    seconds = max(1.0, max(known) * SAFETY_FACTOR)
    return seconds, f"the longest of {len(known)} petitions that ran the same command took {render.elapsed(max(known))}"


def line(seconds: float, source: str) -> str:
    """Tell people what is expected, and why."""
    return f"it is expected to take {render.elapsed(seconds)}: {source}"


def _is_like(row: Row, text: str) -> bool:
    has_run = row["started"] is not None and row["outcome"] in {"succeeded", "failed"}
    return has_run and row["manager"] == COMMAND_MANAGER and row["command"] == text


def ask(service: Session, words: Iterable[bytes | str]) -> tuple[float | None, str]:
    """Look for the same command among what has ended; the rest is as `expected` gives it."""
    from itertools import islice

    from orcha._cli import ps

    def page(*which: Any, **more: Any) -> list[Row]:
        return service.page(*which, **more).rows

    ended = islice(ps.pages(page, ("ended",), most=MAX_LOOKED_AT_PETITIONS), MAX_LOOKED_AT_PETITIONS)
    return expected(words, ended)


__all__ = ["MIN_LIKE_PETITIONS", "SAFETY_FACTOR", "ask", "expected", "line"]
