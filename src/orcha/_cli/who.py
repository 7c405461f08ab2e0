"""``orcha who``: what each user has of the service, and may have."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    Row = dict[str, Any]

_EPILOG = """\
examples:
  orcha who
  orcha who --json
"""
_WHOLE = "*"


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Show what each user has of the service: what waits and runs, resources and devices, output that is kept; and"
        " the quota beside each, where there is one."
    )
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="print a JSON object of users and groups")


def run(namespace: argparse.Namespace) -> int:
    """Print a line for each user, and one for each group of users with a quota."""
    from orcha._cli import render
    from orcha._cli.connection import connected
    from orcha._cli.layout import Column

    with connected() as service:
        found = service.done(service.who())
    if namespace.json:
        render.json(found | {"users": [each | {"since": render.iso(each["since"])} for each in found["users"]]})
        return 0
    titles = ("USER", "ROLE", "QUEUED", "RUNNING", "SLOTS", "HOLDS", "OUTPUT", "CONNECTED")
    columns = [Column(title) for title in titles]
    columns[1] = columns[1]._replace(given_up=0)
    columns[5] = columns[5]._replace(least=12)
    columns[7] = columns[7]._replace(given_up=1)
    render.table(columns, [cells(each) for each in (*found["users"], *found["groups"])])
    return 0


def cells(known: Row) -> tuple[str, ...]:
    """Give the line of a user, or of a group of users.

    >>> ann = {"user": "ann", "role": None, "queued": 3, "running": 1, "slots": 1, "held": {"gpu": 2, "ram": 1}}
    >>> ann |= {"devices": {"gpu": ["0", "1"]}, "output": 2048, "connections": 0, "since": None}
    >>> cells(ann | {"quota": {"queued": 9, "output": 4096, "resources": {"gpu": 2, "rig": 1}}})
    ('ann', '-', '3 of 9', '1', '1', 'gpu:0 gpu:1 (2 of 2), 1 ram, 0 of 1 rig', '2 KiB of 4 KiB', '-')
    """
    from orcha._cli import render

    quota: Row = known["quota"] or {}
    output = "-" if known["output"] is None else render.size(known["output"])
    since = "-" if known.get("since") is None else f"since {render.clock(known['since'])}"
    count = known.get("connections") or 0
    return (
        render.plain(known.get("user") or known["group"]),
        known.get("role") or "-",
        *(_of(known[what], quota.get(what)) for what in ("queued", "running", "slots")),
        ", ".join(_holds(known, quota.get("resources") or {})) or "-",
        output if quota.get("output") is None else f"{output} of {render.size(quota['output'])}",
        f"{count} {since}" if count else "-",
    )


def _of(used: float, most: float | None) -> str:
    return str(used) if most is None else f"{used} of {most}"


def _holds(known: Row, limits: Row) -> list[str]:
    """Give what is held of each resource, and what is held of none that is limited."""
    from orcha._cli import render

    held, devices = known["held"], known.get("devices") or {}
    found = []
    for name in (*held, *(name for name in limits if name not in held)):
        named = "the whole machine" if name == _WHOLE else render.plain(name)
        if name in devices:
            each = " ".join(f"{named}:{render.plain(device)}" for device in devices[name])
            found.append(each + (f" ({_of(held[name], limits[name])})" if name in limits else ""))
        else:
            found.append(named if name == _WHOLE else f"{_of(held.get(name, 0), limits.get(name))} {named}")
    return found


__all__ = ["cells", "create_parser", "run"]
