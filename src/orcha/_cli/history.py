"""``orcha history``: which petitions have ended, as a workload that ``orcha simulate`` reads."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from orcha._cli.session import Session

    Row = dict[str, Any]

_DEFAULT_LIMIT_ROWS = 100
_KEPT = (
    *("id", "manager", "owner", "priority", "group", "attempt", "submitted", "started", "ended", "outcome", "code"),
    *("expect", "command", "label"),
)
_EPILOG = """\
examples:
  orcha history
  orcha history --json
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Show which petitions have ended, in the order in which they started, as long as they are kept."
    )
    parser.epilog = _EPILOG
    parser.add_argument(
        "--limit",
        type=options.count,
        metavar="N",
        help=f"show the newest N (default: {_DEFAULT_LIMIT_ROWS}; with --json all that are kept)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a workload as a JSON object: what there was to use, and the petitions",
    )


def run(namespace: argparse.Namespace) -> int:
    """Ask the service, and print the workload."""
    from orcha._cli import render
    from orcha._cli.connection import connected

    limit = namespace.limit or (None if namespace.json else _DEFAULT_LIMIT_ROWS)
    with connected() as service:
        rows = ended(service, limit)
        known = capacity(service, resources(service)) if namespace.json else {}
        if "fair" in known:  # what is used by now was used by these petitions, too
            known["fair"] = {name: value for name, value in known["fair"].items() if name != "used"}
    if namespace.json:
        render.json({"capacity": known, "petitions": [as_workload(row, names(rows)) for row in rows]})
    elif rows:
        _table(rows)
    else:
        render.line("no petition has ended")
    return 0


def ended(service: Session, limit: int | None) -> list[Row]:
    """Give the newest petitions that have ended, in the order of their starts; without a start they come last."""
    from itertools import islice

    from orcha._cli.ps import pages

    rows = list(islice(pages(lambda *which, **more: service.page(*which, **more).rows, ("ended",)), limit))
    return sorted(rows, key=lambda row: (row["started"] is None, row["started"] or 0.0, row["seq"]))


def resources(service: Session) -> list[Row]:
    """Give what a service tells of each resource: devices, who holds them, and what is drained."""
    found: list[Row] = service.done(service.resources())["resources"]
    return found


def capacity(service: Session, named: Sequence[Row]) -> Row:
    """Give what petitions of a service may use: slots of managers, groups with their rules, and `named` resources."""
    known = service.done(service.stats())
    devices = {use["resource"]: use["devices"] for use in named if use["devices"] is not None}
    drained = {use["resource"]: _drained(use) for use in named if _drained(use)}
    return {
        "slots": known.get("slots") or {},
        "groups": {use["group"]: use["slots"] for use in known["groups"]},
        "rules": {use["group"]: rules for use in known["groups"] if (rules := _rules(use))},
        "begun": {use["group"]: use["begun"] for use in known["groups"] if use.get("begun")},
        "resources": {use["resource"]: use["capacity"] for use in known["resources"]},
        **({"devices": {name: [_device(each) for each in some] for name, some in devices.items()}} if devices else {}),
        **({"drained": drained} if drained else {}),
        **({"quotas": known["quotas"]} if known.get("quotas") else {}),
        **({"fair": fair} if any((fair := known.get("fair") or {}).values()) else {}),
    }


def in_use(named: Sequence[Row]) -> Row:
    """Give which petitions have `held` devices of resources, and which devices are `occupied` by other processes."""
    held: dict[str, dict[str, tuple[str, ...]]] = {}
    occupied: dict[str, dict[str, str]] = {}
    for use in named:
        for holder in use["holders"]:
            if holder["id"] is not None and holder["devices"]:
                held.setdefault(holder["id"], {})[use["resource"]] = tuple(holder["devices"])
        seen = {each["name"]: each["foreign"] for each in use["devices"] or () if each.get("foreign")}
        if seen:
            occupied[use["resource"]] = seen
    return {"held": held, "occupied": occupied}


def _device(known: Row) -> Row:
    return {"name": known["name"], **({"properties": known["properties"]} if known["properties"] else {})}


def _drained(use: Row) -> list[str | None]:
    """Name the drained devices of a resource; null stands for all of it."""
    devices = [each["name"] for each in use["devices"] or () if each["drained"] is not None]
    return [*devices, *([None] if use["drained"] is not None else [])]


def _rules(use: Row) -> Row:
    """Give the rules of a group other than its slots."""
    from orcha._core.groups import GroupRules

    return {name: use[name] for name in GroupRules._fields if use.get(name) is not None}


def names(rows: Iterable[Row]) -> dict[int, str]:
    """Give the ids of petitions by their sequence numbers."""
    return {row["seq"]: row["id"] for row in rows}


def as_workload(row: Row, ids: dict[int, str]) -> Row:
    """Give a row as the workload has it; `ids` name the petitions that it came after."""
    from orcha._cli import render
    from orcha._cli.ps import needs_of

    after = [ids[int(seq)] for seq in (row.get("after") or "").split() if int(seq) in ids]
    found = {name: row.get(name) for name in _KEPT}
    found |= {name: render.iso(row[name]) for name in ("submitted", "started", "ended")}
    found |= {"priority": render.number(row["priority"]), "needs": needs_of(row)}
    return found | {"after": after}


def _table(rows: list[Row]) -> None:
    from orcha._cli import render
    from orcha._cli.layout import Column

    columns = [
        Column("ID", 36, middle=True, at_last=8),
        Column("STARTED"),
        Column("WAITED", given_up=1),
        Column("RAN"),
        Column("STATE"),
        Column("COMMAND", 12, middle=True, given_up=0),
    ]
    render.table(columns, list(_cells(rows)))


def _cells(rows: Iterable[Row]) -> Iterator[tuple[str, ...]]:
    from orcha._cli import ps, render

    for row in rows:
        started, ends = row["started"], row["ended"]
        waited = render.elapsed(max(0.0, (ends if started is None else started) - row["submitted"]))
        ran = "-" if started is None else render.elapsed(max(0.0, ends - started))
        begun = "-" if started is None else render.clock(started)
        yield render.plain(row["id"]), begun, waited, ran, ps.state(row), render.plain(row["command"] or "-")


__all__ = ["as_workload", "capacity", "create_parser", "ended", "in_use", "names", "resources", "run"]
