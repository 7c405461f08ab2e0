"""``orcha group``: how many petitions of each group run and may run, and how to change that."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

_EPILOG = """\
examples:
  orcha group ls
  orcha group set nightly --slots 2
  orcha group set nightly --slots none
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Show the groups of petitions, or set how many of a group run at once."
    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add = verbs.add_parser("ls", help="show groups, and how many of each run and wait").add_argument
    add("--json", action="store_true", help="print a JSON array")
    add = verbs.add_parser("set", help="have so many of a group run at once, over restarts too").add_argument
    add("name", type=options.name, metavar="NAME", help="a group, which need not be there yet")
    add("--slots", required=True, type=_slots, metavar="N", help="how many run at once: a number, or none for any")


def _slots(text: str) -> int | None:
    return None if text == "none" else options.not_negative(text)


def run(namespace: argparse.Namespace) -> int:
    """Ask and print, or have it done."""
    from orcha._cli import per_petition

    if namespace.verb == "set":
        return per_petition.do_for_each(
            [namespace.name], lambda service, name: service.done(service.set_group(name, namespace.slots), name)
        )
    return _show(as_json=namespace.json)


def _show(*, as_json: bool) -> int:
    from orcha._cli import render
    from orcha._cli.connection import connected
    from orcha._cli.layout import Column

    with connected() as service:
        found: list[dict[str, Any]] = service.done(service.stats())["groups"]
    if as_json:
        render.json(found)
    elif not found:
        render.line("there are no groups: orcha group set NAME --slots N makes one")
    else:
        titles = ("GROUP", "SLOTS", "RUNNING", "WAITING", "STATE")
        rows = [[_cell(each, title) for title in titles] for each in found]
        render.table([Column(title) for title in titles], rows)
    return 0


def _cell(group: dict[str, Any], title: str) -> str:
    if title == "STATE":
        return "paused" if group["paused"] else ""
    value = group[title.lower()]
    return "none" if value is None else str(value)
