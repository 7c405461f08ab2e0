"""``orcha ps``: which petitions there are, since when, and why they wait."""

from __future__ import annotations

from typing import NamedTuple

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Row = dict[str, Any]

_PAGE = 1_000
_LIMIT = 100
_STATES = {"queued": (1,), "held": (2,), "running": (3, 4), "cancelling": (5,), "ended": (6,)}
"""What a person calls a state, and its numbers in `orcha._core.state.State`: starting shows as running."""
LIVE = ("queued", "held", "running", "cancelling")
_RANK = {"cancelling": 0, "starting": 1, "running": 1, "held": 2, "queued": 3, "ended": 4}
_COLUMNS = ("ID", "STATE", "PRIORITY", "SINCE", "WHY")


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Show the petitions of the service: what waits, and why, and what runs."
    parser.epilog = "example: orcha ps --all --limit 20 --json"
    parser.add_argument("-a", "--all", action="store_true", help="show ended ones too, as long as they are kept")
    parser.add_argument(
        "--state", action="append", choices=list(_STATES), help="show those in this state only; may be given repeatedly"
    )
    parser.add_argument("-g", "--group", type=options.written, metavar="G", help="show those of this group only")
    parser.add_argument(
        "-w",
        "--watch",
        nargs="?",
        type=options.duration,
        const=2.0,
        metavar="T",
        help="show it again every T (default: 2s)",
    )
    parser.add_argument(
        "--limit",
        type=options.count,
        metavar="N",
        help=f"show at most N (default: {_LIMIT}; with --json all that wait and run, and {_LIMIT} that have ended)",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array; times are ISO 8601, in UTC")


def run(namespace: argparse.Namespace) -> int:
    """Ask and print, once or again and again."""
    from orcha._cli.connection import connected

    with connected() as service:
        if namespace.watch is None:
            _show(namespace, service.rows)
            return 0
        from time import sleep  # noqa: TID251 - a person sets the pace

        try:
            while True:
                _show(namespace, service.rows)
                sleep(namespace.watch)
        except KeyboardInterrupt:
            return 0


def _show(namespace: argparse.Namespace, ask: Callable[..., list[Row]]) -> None:
    """Ask and print."""
    from orcha._cli import render

    names = namespace.state or (tuple(_STATES) if namespace.all else LIVE)
    limit = namespace.limit or (None if namespace.json else _LIMIT)
    found = listing(ask, names, limit, namespace.group)
    if namespace.json:
        (render.json if namespace.watch is None else render.json_line)([as_json(row) for row in found.rows])
    else:
        _for_people(namespace, found.rows)
    if found.left_out or found.older:
        left = f"at least {found.left_out + 1}" if found.older else str(found.left_out)
        render.note(f"{left} left out: orcha ps --limit N")


def _for_people(namespace: argparse.Namespace, rows: list[Row]) -> None:
    """Print a table."""
    from orcha._cli import render

    if namespace.watch is not None:
        render.afresh()
    if rows:
        now, grouped = render.now(), any(row.get("group") for row in rows)
        titles = (*_COLUMNS[:3], "GROUP", *_COLUMNS[3:]) if grouped else _COLUMNS
        render.table(titles, [columns(row, now, grouped=grouped) for row in rows])
    else:
        narrowed = namespace.all or namespace.state or namespace.group
        render.line("no petitions" if narrowed else "nothing waits or runs")


class Listing(NamedTuple):
    """What is shown, and how much is not."""

    rows: list[Row]
    left_out: int
    older: bool
    """Whether there are more that have ended; how many is not asked."""


def listing(
    ask: Callable[..., list[Row]], names: Iterable[str], limit: int | None, group: str | None = None
) -> Listing:
    """Give what is in these states: what runs, then what waits in its order, then the newest that have ended.

    The service gives the newest first, and what starts next is among the oldest: all that has not ended is looked at
    before anything is left out, in one go, so that what changes its state meanwhile is not missed.

    Args:
        ask: asks the service for a page.
        names: the states.
        limit: how many rows at most; None for all that have not ended.
        group: only those of this group.

    """
    names = set(names)
    live, left_out = _first(limit, pages(ask, names - {"ended"}, group))
    if "ended" not in names:
        return Listing(live, left_out, older=False)
    room = _LIMIT if limit is None else limit - len(live)
    ended = fetch(ask, {"ended"}, room + 1, group)
    over = {row["seq"] for row in ended}  # an end between the two questions
    rows = [row for row in live if row["seq"] not in over] + sorted(ended[:room], key=_order)
    return Listing(rows, left_out, older=len(ended) > room)


def _first(limit: int | None, rows: Iterable[Row]) -> tuple[list[Row], int]:
    """Give the first in the order that they are shown in, and how many are left out."""
    from heapq import nsmallest
    from itertools import count

    if limit is None:
        return sorted(rows, key=_order), 0
    numbers = count()
    kept = nsmallest(limit, (row for row, _ in zip(rows, numbers, strict=False)), key=_order)  # a few of a million
    return kept, next(numbers) - len(kept)


def _order(row: Row) -> tuple[float, ...]:
    """Give what rows are sorted by: of those that wait, the one that starts first is first."""
    return _RANK.get(row["state"], 9), row["priority"] if row["state"] == "queued" else 0, row["seq"]


def fetch(ask: Callable[..., list[Row]], names: Iterable[str], limit: int, group: str | None = None) -> list[Row]:
    """Give up to `limit` rows in these states, newest first, however many answers that takes."""
    rows: list[Row] = []
    for row in pages(ask, names, group, most=limit):
        rows.append(row)
        if len(rows) == limit:
            break
    return rows


def pages(
    ask: Callable[..., list[Row]], names: Iterable[str], group: str | None = None, most: int = _PAGE
) -> Iterator[Row]:
    """Give the rows in these states, newest first, `most` in an answer."""
    more = {} if group is None else {"group": group}
    mask = sum(1 << number for name in set(names) for number in _STATES[name])
    before: int | None = None
    while mask and (page := ask(mask, min(_PAGE, most), before, **more)):
        yield from page
        before = page[-1]["seq"]


def columns(row: Row, now: float, *, grouped: bool = False) -> tuple[str, ...]:
    """Give a row as people read it."""
    from orcha._cli import render

    since = row["ended"] or row["started"] or row["submitted"]
    why = row["why"] or row["reason"] or ""
    group = (render.plain(row.get("group") or "-"),) if grouped else ()
    return (
        *(render.plain(row["id"]), state(row), f"{row['priority']:g}"),
        *group,
        *(render.age(now - since), render.plain(why)),
    )


def state(row: Row) -> str:
    """Give where a petition is, or how it ended."""
    if row["outcome"] is None:
        name = "running" if row["state"] == "starting" else str(row["state"])
        return "paused" if row.get("paused") and name == "running" else name
    outcome = str(row["outcome"]).replace("_", " ")
    return f"{outcome} ({row['code']})" if outcome == "failed" and row["code"] is not None else outcome


def as_json(row: Row) -> Row:
    """Give a row with its times in ISO 8601, and numbers that JSON has."""
    from orcha._cli import render

    times = {name: render.iso(row[name]) for name in ("submitted", "started", "ended")}
    return row | times | {"priority": render.number(row["priority"])}
