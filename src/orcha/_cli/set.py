"""``orcha set``: change petitions that wait, and what can be changed of petitions that run."""

from __future__ import annotations

import argparse

from orcha._cli import options, selecting
from orcha._cli.exit_codes import USAGE_ERROR_CODE
from orcha._cli.run_options import LEFTOVERS, LIMIT_OPTIONS, OUTPUT_POLICIES, PREEMPTIBLE, add_secret, secrets_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orcha._cli.session import Session

_LIMITS = tuple(each for each in LIMIT_OPTIONS if each[0] not in {"timeout", "expect"})
_CHOICES = (
    ("output-policy", OUTPUT_POLICIES, "what happens beyond the limit of its output"),
    ("leftovers", LEFTOVERS, "end what it leaves behind, or let it go"),
    ("preemptible", PREEMPTIBLE, "let a more urgent command take its place"),
)
_OK = "ok_codes"
_UNSETTABLE = (
    *("group", "need", "pin", "after", "at", "timeout", "expect", "retry", "label", "when", "ok"),
    *(name for name, *_ in (*_LIMITS, *_CHOICES)),
)
_EPILOG = """\
examples:
  orcha set train --timeout +2h
  orcha set nightly --group gpu --need gpu=2 --at 22:00
  orcha set train --secret TOKEN=env:API_TOKEN
  orcha set --in-group gpu --state queued --priority 5
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Change petitions that wait. Of what runs the time limits with their warning, the expectation, the number of"
        " retries, the priority, the label, the codes of success and whether it is preemptible can be changed. Of an"
        " array the elements that wait are changed, and all that come later."
    )
    parser.epilog = _EPILOG
    parser.allow_abbrev = False
    selecting.add_ids(parser)
    group = parser.add_argument_group("what is changed")
    add_changes(group.add_argument)
    add_secret(group, "give it a secret again, or another one: TOKEN=file:PATH, TOKEN=env:VARIABLE")
    selecting.add_options(parser, prefixed=True)


def add_changes(add: Any, *, of_one: bool = True) -> None:
    """Add the options that say what is changed; with `of_one` also the options that are about one petition."""
    many: dict[str, Any] = {"action": "append", "default": []}
    add("-p", "--priority", metavar="N", type=options.number, help="the lower starts first")
    add("-g", "--group", type=options.name, metavar="G", help="the group whose slots it takes")
    add("--need", type=options.amount, metavar="NAME=N", help="how much of a resource it needs", **many)
    add("--pin", action="store_true", default=None, help="bind it to the processors that it needs by cpu=N")
    if of_one:
        _add_start(add, many)
    add("--timeout", metavar="T", type=_limit, help="end an attempt after: 2h; +2h is that much more than before")
    add("--expect", metavar="T", type=options.duration, help="how long it will probably take")
    add("--retry", metavar="N", type=options.retries, help="try again up to N times when it failed")
    add("--label", type=options.label, metavar="TEXT", help="a text shown with it")
    add("--when", metavar="CONDITION", type=options.written, help="start only while this holds")
    for name, read, metavar, text in _LIMITS:
        add(f"--{name}", metavar=metavar, type=read, help=text)
    for name, choices, text in _CHOICES:
        add(f"--{name}", choices=choices, help=text)
    add("--ok", dest=_OK, type=options.codes, metavar="CODES", help="exit codes that count as success: 0,3")
    unsettable = _UNSETTABLE if of_one else tuple(name for name in _UNSETTABLE if name not in {"after", "at"})
    what = f"take back what was said: {', '.join(unsettable)}; may be given repeatedly"
    add("--unset", choices=unsettable, metavar="NAME", help=what, **many)


def _add_start(add: Any, many: dict[str, Any]) -> None:
    """Add the options about what one petition starts after."""
    from orcha._cli.moments import moment

    add("--after", metavar="ID", type=options.written, help="start after this petition, too, has ended", **many)
    add("--after-ok", metavar="ID", type=options.written, help="start after this one, too, has succeeded", **many)
    add("--if-dependency-fails", choices=("cancel", "hold", "run"), help="where one of --after-ok does not succeed")
    add("--at", metavar="TIME", type=moment, help="do not start before: 22:00, tomorrow 6:30")
    add("--in", dest="delay", metavar="T", type=options.duration, help="do not start before this long from now: 2h")


def _limit(text: str) -> tuple[str, float]:
    """Read a time limit, or with a sign by how much the limit grows or shrinks."""
    if text[:1] in {"+", "-"}:
        return "timeout_by", options.duration(text[1:]) * (-1 if text[0] == "-" else 1)
    return "timeout", options.duration(text)


def run(namespace: argparse.Namespace) -> int:
    """Change the petitions; give 1 where a petition could not be changed."""
    from orcha._cli import per_petition, render

    selector = selecting.selector_of(namespace, prefixed=True)
    if selecting.names_none(namespace, selector, prefixed=True):
        return USAGE_ERROR_CODE
    changes = changes_of(namespace)
    try:
        secrets = secrets_of(namespace, are_named=selector is None)
    except options.WrongOptionError as error:
        render.note(str(error))
        return USAGE_ERROR_CODE
    if not changes and secrets is None:
        render.note("what is to be changed? give --priority, --timeout, --need or another option: orcha set --help")
        return USAGE_ERROR_CODE
    if selector is not None:
        return selecting.apply(namespace, "set", selector, changes)

    def change(service: Session, identity: str) -> None:
        if changes:
            service.done(service.set(identity, **changes), identity)
        if secrets is not None:
            service.done(service.give_secrets(secrets, identity), identity)

    return per_petition.do_for_each(namespace.ids, change)


def changes_of(namespace: argparse.Namespace) -> dict[str, Any]:
    """Give the changes as they are sent."""
    names = ["priority", "group", "pin", "at", "delay", "expect", "retry", "label", "when", "if_dependency_fails"]
    names += [name.replace("-", "_") for name, *_ in (*_LIMITS, *_CHOICES)]
    given = vars(namespace)
    changes = {name: given[name] for name in names if given.get(name) is not None}
    changes |= {name: given[name] for name in ("after", "after_ok", _OK) if given.get(name)}
    if namespace.need:
        changes["needs"] = dict(namespace.need)
    if namespace.timeout is not None:
        changes |= dict([namespace.timeout])
    if namespace.unset:
        named = {"need": "needs", "ok": _OK}
        changes["unset"] = [named.get(name, name.replace("-", "_")) for name in namespace.unset]
    return changes
