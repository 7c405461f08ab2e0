"""``orcha group``: how many petitions of each group run and may run, and how to change that."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import Any

NONE = "none"
"""The word that removes a rule."""
_UNSET: Any = object()
_EPILOG = """\
examples:
  orcha group ls
  orcha group set nightly --slots 2 --per-user 1
  orcha group set nightly --default-timeout 4h --longest 24h
  orcha group set nightly --slots none --longest none
  orcha group unset nightly
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Show the groups of petitions, or set what holds for the petitions of a group."
    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add = verbs.add_parser("ls", help="show groups, and how many of each run and wait").add_argument
    add("--json", action="store_true", help="print a JSON array")
    setter = verbs.add_parser(
        "set",
        help="have something hold for the petitions of a group, over restarts too",
        description="Have something hold for the petitions of a group from now on, over restarts too. What is not"
        " named stays as it is; `none` takes it away.",
    )
    setter.set_defaults(refuse=setter.error)
    setter.add_argument("name", type=options.name, metavar="NAME", help="a group, which need not be there yet")
    unset = verbs.add_parser(
        "unset",
        help="have the configuration hold again for groups that were set",
        description="Forget what `orcha group set` set: the configuration file and the options of the service hold"
        " again for these groups, and a group that none of them names is as if a petition had named it first.",
    )
    unset.add_argument("names", nargs="+", type=options.name, metavar="NAME", help="a group that was set")
    _add_rule(setter, "--slots", "N", options.not_negative, "how many run at once; none for any number")
    _add_rule(setter, "--per-user", "N", options.not_negative, "how many of one owner run at once")
    _add_rule(setter, "--default-timeout", "T", options.duration, "how long a petition runs that has no --timeout")
    _add_rule(setter, "--longest", "T", options.duration, "how long any may run; a longer --timeout is refused")
    _add_rule(setter, "--rate", "N/T", options.rate, "how many start within a time, as 10/m or 3/90s")
    _add_rule(setter, "--age", "T", options.duration, "in how long a waiting petition gains one priority, as 1h")
    _add_rule(setter, "--when", "CONDITION", options.written, "what has to hold when one starts: orcha run --when help")


def _add_rule(
    parser: argparse.ArgumentParser, option: str, metavar: str, read: Callable[[str], Any], about: str
) -> None:
    def read_or_none(text: str) -> Any:
        return None if text == NONE else read(text)

    parser.add_argument(option, type=read_or_none, default=_UNSET, metavar=metavar, help=about)


def run(namespace: argparse.Namespace) -> int:
    """Print the groups, or change a group."""
    if namespace.verb == "ls":
        return _show(as_json=namespace.json)
    from orcha._cli import per_petition

    if namespace.verb == "unset":
        return per_petition.do_for_each(
            namespace.names, lambda service, name: service.done(service.unset("group", name), name)
        )
    given = {name: getattr(namespace, name) for name in ("slots", *_RULES)}
    rules = {name: value for name, value in given.items() if value is not _UNSET}
    if not rules:
        namespace.refuse("say what is to hold for the group: one of the options, as --slots 2")
    keeps_slots, slots = "slots" not in rules, rules.pop("slots", None)
    return per_petition.do_for_each(
        [namespace.name],
        lambda service, name: service.done(service.set_group(name, slots, keeps_slots=keeps_slots, rules=rules), name),
    )


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
        titles = ("GROUP", "SLOTS", "RUNNING", "WAITING", "STATE", "ORIGIN", "RULES")
        rows = [[_cell(each, title) for title in titles] for each in found]
        render.table([Column(title) for title in titles], rows)
    return 0


def _cell(group: dict[str, Any], title: str) -> str:
    if title == "STATE":
        return "paused" if group["paused"] else ""
    if title == "RULES":
        return ", ".join(rules_of(group))
    value = group.get("origin", "") if title == "ORIGIN" else group[title.lower()]
    return NONE if value is None else str(value)


def rules_of(group: dict[str, Any]) -> Iterator[str]:
    """Give the rules of a group as options name them.

    >>> list(rules_of({"group": "a", "per_user": 1, "longest": 5400.0, "default_timeout": None}))
    ['per-user 1', 'longest 1h30m']
    """
    for name, shown in _RULES.items():
        if group.get(name) is not None:
            yield f"{name.replace('_', '-')} {shown(group[name])}"


_RULES: dict[str, Callable[[Any], str]] = {
    "per_user": str,
    "default_timeout": options.spelled_duration,
    "longest": options.spelled_duration,
    "rate": options.spelled_rate,
    "when": str,
    "age": options.spelled_duration,
}
"""How each rule is written."""
