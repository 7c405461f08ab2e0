"""``orcha ps``: which petitions there are, since when, and why they wait."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

    Row = dict[str, Any]

_PAGE = 1_000
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
    parser.add_argument("-g", "--group", metavar="G", help="show those of this group only")
    parser.add_argument(
        "-w",
        "--watch",
        nargs="?",
        type=options.duration,
        const=2.0,
        metavar="T",
        help="show it again every T (default: 2s)",
    )
    parser.add_argument("--limit", type=options.count, default=100, metavar="N", help="show at most N (default: 100)")
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
    rows = fetch(ask, names, namespace.limit + 1, namespace.group)
    shown, more = rows[: namespace.limit], len(rows) > namespace.limit
    shown.sort(
        key=lambda row: (_RANK.get(row["state"], 9), row["priority"] if row["state"] == "queued" else 0, row["seq"])
    )
    if namespace.json:
        (render.json if namespace.watch is None else render.json_line)([as_json(row) for row in shown])
        return
    if namespace.watch is not None:
        render.afresh()
    if shown:
        now, grouped = render.now(), any(row.get("group") for row in shown)
        titles = (*_COLUMNS[:3], "GROUP", *_COLUMNS[3:]) if grouped else _COLUMNS
        render.table(titles, [columns(row, now, grouped=grouped) for row in shown])
    else:
        narrowed = namespace.all or namespace.state or namespace.group
        render.line("no petitions" if narrowed else "nothing waits or runs")
    if more:
        render.note(f"there are more than these {namespace.limit}: orcha ps --limit N")


def fetch(
    ask: Callable[..., list[Row]], names: tuple[str, ...] | list[str], limit: int, group: str | None = None
) -> list[Row]:
    """Give up to `limit` rows in these states, newest first, however many answers that takes."""
    more = {} if group is None else {"group": group}
    mask = sum(1 << number for name in set(names) for number in _STATES[name])
    rows: list[Row] = []
    before: int | None = None
    while len(rows) < limit:
        page = ask(mask, min(_PAGE, limit - len(rows)), before, **more)
        if not page:
            break
        rows += page
        before = page[-1]["seq"]
    return rows


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
