"""``orcha events``: what clients of the service did, and tried."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from orcha._cli.session import Session

    Row = dict[str, Any]

_EPILOG = """\
examples:
  orcha events --since 2h
  orcha events --who alice --verb cancel
  orcha events --id train --json
  orcha events --follow
"""
_DEFAULT_LIMIT_ROWS = 100
MAX_FOLLOWED_ROWS = 1_000
"""Rows of one look of `--follow`."""
_PAUSE_SECONDS = 1.0
"""Seconds between two looks of `--follow`."""
_OVERLAP_SECONDS = 60.0
"""How far back each look of `--follow` reaches: an entry may be kept later than an entry of a later time."""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Show what clients did and tried: who, by which door, when, what to, why, and what came of it. Admins see all,"
        " operators all but logins; others see what they did, and what was done to their petitions."
    )
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("--who", metavar="USER", type=options.written, help="deeds of this user, or of the key of this name")
    add("--id", metavar="ID", type=options.written, help="deeds about this petition, schedule or resource")
    add("--verb", metavar="VERB", type=options.written, help="deeds of this kind: submit, cancel, retry, 'group set'")
    add("--since", metavar="T", type=options.duration, help="not older than that: 90s, 2h, 7d")
    add("--limit", metavar="N", type=options.count, default=_DEFAULT_LIMIT_ROWS, help="the newest N (default: 100)")
    add("-f", "--follow", action="store_true", help="go on with what comes")
    add("--json", action="store_true", help="print a JSON array; with --follow an object in each line")


def run(namespace: argparse.Namespace) -> int:
    """Print them, the oldest first."""
    from orcha._cli import render
    from orcha._cli.connection import connected

    since = 0.0 if namespace.since is None else max(0.0, render.now() - namespace.since)
    with connected() as service:
        found = _ask(service, namespace, since, namespace.limit)
        if namespace.json and not namespace.follow:
            render.json([as_json(each) for each in found])
            return 0
        _show(found, as_json_lines=namespace.json, with_title=True)
        if namespace.follow:
            _follow(service, namespace, found)
    if not found:
        render.line("nothing of that is kept")
    return 0


def _ask(service: Session, namespace: argparse.Namespace, since: float, limit: int) -> list[Row]:
    """Give what is asked for, the oldest first."""
    found = service.done(service.events(limit, since=since, who=namespace.who, verb=namespace.verb, id=namespace.id))
    rows: list[Row] = found["events"]
    return rows[::-1]


def _follow(service: Session, namespace: argparse.Namespace, known: list[Row]) -> None:
    """Print what comes, until somebody interrupts."""
    from time import sleep  # noqa: TID251 - a person looks on

    from orcha._cli import render

    seen = {_key(each) for each in known}
    begun = since = max((each["at"] for each in known), default=render.now())
    while True:
        sleep(_PAUSE_SECONDS)
        found = _ask(service, namespace, max(begun, since - _OVERLAP_SECONDS), MAX_FOLLOWED_ROWS)
        new = [each for each in found if _key(each) not in seen]
        seen = {_key(each) for each in found}  # no later look reaches further back
        since = max([since, *(each["at"] for each in new)])
        _show(new, as_json_lines=namespace.json, with_title=False)


def _key(row: Row) -> tuple[Any, ...]:
    """Tell one event from another; the number of a submit changes when its petition is forgotten."""
    return row["at"], row["verb"], *row["ids"], row["who"], row["outcome"]


def _show(rows: list[Row], *, as_json_lines: bool, with_title: bool) -> None:
    from orcha._cli import render
    from orcha._cli.layout import Column

    if as_json_lines:
        for each in rows:
            render.json_line(as_json(each))
    elif rows and with_title:
        titles = ("WHEN", "WHO", "BY", "VERB", "WHAT", "OUTCOME", "WHY")
        columns = [Column(title) for title in titles]
        columns[2] = columns[2]._replace(given_up=0)
        columns[4] = columns[4]._replace(least=12)
        columns[6] = columns[6]._replace(least=12)
        render.table(columns, [cells(each) for each in rows])
    else:
        for each in rows:
            render.line("  ".join(filter(None, cells(each))))


def cells(row: Row) -> tuple[str, ...]:
    """Give a line of the table.

    >>> known = {"at": 0.0, "user": "ann", "who": "uid:7", "key": "ci", "door": "key", "host": "192.0.2.7"}
    >>> known |= {"verb": "cancel", "ids": ["a", "b"], "total": 3, "why": "late", "outcome": "refused", "reason": "no"}
    >>> cells(known)[1:]
    ('ann', 'key ci, 192.0.2.7', 'cancel', 'a and 2 more', 'refused', 'late; no')
    >>> cells(known | {"verb": "login", "ids": []})[3:5]
    ('login', '3 times')
    >>> cells(known | {"door": "certificate"})[2]
    'key ci, certificate, 192.0.2.7'
    """
    from orcha._cli import render

    key, door = row["key"], row["door"]
    ways = (f"key {key}" if key else "", "" if key and door == "key" else door, row["host"])
    by = ", ".join(filter(None, ways))
    first = next(iter(row["ids"]), "")
    more = f" and {row['total'] - 1} more" if row["total"] > 1 else ""
    if row["verb"] == "login":
        more = f"{row['total']} times" if row["total"] > 1 else ""
    why = "; ".join(filter(None, (row["why"], row["reason"])))
    shown = (render.clock(row["at"]), row["user"], by, row["verb"], f"{first}{more}", row["outcome"], why)
    return tuple(render.plain(each) for each in shown)


def as_json(row: Row) -> Row:
    """Give an event for programs: the time in ISO 8601, in UTC."""
    from orcha._cli import render

    return {name: value for name, value in row.items() if name != "number"} | {"at": render.iso(row["at"])}


__all__ = ["as_json", "cells", "create_parser", "run"]
