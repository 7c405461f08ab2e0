"""Petitions that are named by their properties: a selector's options, and a verb for all petitions that meet it."""

from __future__ import annotations

import argparse

from orcha._cli import options
from orcha._cli.exit_codes import USAGE_ERROR_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from orcha._cli.session import Session
    from orcha._protocol.messages import Reply

ASKED_ABOVE_PETITIONS = 10
"""The most petitions for which the verb does not ask whether it should go on."""
_FAILED = ("failed", "timed_out", "interrupted", "rejected", "broken")
"""Outcomes of petitions that did not succeed, and that nobody cancelled."""
LIVE_STATES = ("queued", "held", "starting", "running", "cancelling")
_STATES = (*LIVE_STATES, "ended")
_OUTCOMES = ("succeeded", "cancelled", *_FAILED)
_FAILURE_CODE = 1
_MAX_NAMED_IDS = 5
"""Ids that a question names."""


def add_ids(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names petitions."""
    help_text = "an id; may hold wildcards: 'train-*'"
    parser.add_argument("ids", nargs="*", type=options.written, metavar="ID", help=help_text)


def add_options(
    parser: argparse.ArgumentParser, *, group: bool = True, changes: bool = True, prefixed: bool = False
) -> None:
    """Add the options of a selector.

    Args:
        parser: of the verb.
        group: whether the verb has no option `--group` of its own.
        changes: whether the verb changes petitions.
        prefixed: whether the verb's own `--group` and `--label` are what it gives to the petitions.

    """
    add = parser.add_argument_group("or which ones; all that are given have to be met").add_argument
    if prefixed:
        add("--in-group", dest="of_group", type=options.name, metavar="G", help="the petitions of a group")
        labelled = "those with this label; may hold wildcards"
        add("--with-label", dest="of_label", type=options.label, metavar="TEXT", help=labelled)
    elif group:
        add("-g", "--group", type=options.name, metavar="G", help="the petitions of a group")
    if not prefixed:
        add("--label", type=options.label, metavar="TEXT", help="those with this label; may hold wildcards")
    add("--array", type=options.written, metavar="ID", help="elements of an array, as 'train.*' does")
    add("--owner", dest="user", type=options.written, metavar="USER", help="the petitions of a user")
    add("--state", action="append", type=_state, default=[], metavar="STATE", help="queued, running, timed_out, ...")
    add("--failed", action="store_true", help="ended petitions that neither succeeded nor were cancelled")
    if changes:
        add("--dry-run", action="store_true", help="print the ids, and change nothing")
        add("-y", "--yes", action="store_true", help="do not ask, however many there are")


def _state(text: str) -> str:
    """Read a state or an outcome."""
    word = text.replace("-", "_").lower()
    if word not in {*_STATES, *_OUTCOMES}:
        error = f"{text[:40]!a} is no state: write one of {', '.join((*_STATES, *_OUTCOMES))}"
        raise argparse.ArgumentTypeError(error)
    return word


def selector_of(namespace: argparse.Namespace, *, group: bool = True, prefixed: bool = False) -> dict[str, Any] | None:
    """Give the selector of a command line; None where it names petitions by their ids alone."""
    chosen = {
        "group": namespace.of_group if prefixed else namespace.group if group else None,
        "label": namespace.of_label if prefixed else namespace.label,
        "array": namespace.array,
        "owner": None if namespace.user is None else _identity(namespace.user),
        "states": [*namespace.state, *(_FAILED if namespace.failed else ())],
    }
    if not any(chosen.values()) and not any(map(_has_wildcards, namespace.ids)):
        return None
    return chosen | {"ids": list(namespace.ids)}


def _has_wildcards(identity: str) -> bool:
    """Tell whether an id is a pattern.

    >>> [_has_wildcards(each) for each in ("train-*", "a?", "a[12]", "a[", "train")]
    [True, True, True, False, False]
    """
    return "*" in identity or "?" in identity or "]" in identity.partition("[")[2]


def _identity(user: str) -> str:
    """Give how the service knows a user of this machine; what is no user's name stays as it is."""
    import pwd

    try:
        return f"uid:{pwd.getpwnam(user).pw_uid}"
    except KeyError:
        return user


def names_none(namespace: argparse.Namespace, selector: dict[str, Any] | None, *, prefixed: bool = False) -> bool:
    """Tell whether a command line names no petition at all, and print the cure."""
    from orcha._cli import render

    if namespace.ids or selector is not None:
        return False
    options_of = "--in-group, --array, --with-label" if prefixed else "--group, --array, --label"
    render.note(f"which petitions? give ids, or {options_of}, --owner, --state or --failed")
    return True


def refuse_both(option: str) -> None:
    """Refuse an option that is about more than petitions beside a selector."""
    from orcha._cli import render

    render.note(f"{option} is not about single petitions: leave it out, or the options that choose petitions")


def found(service: Session, selector: dict[str, Any], *, no_such: str = "there is no such petition") -> list[str]:
    """Give the ids of all petitions that meet a selector, the oldest first, each once; where none does, say `no_such`.

    A selector with a typing error meets no petition, so silence would look like success.
    """
    from orcha._cli import render

    ids = [identity for answer in _answers(service, None, selector, {}, dry_run=True) for identity in answer["met"]]
    if not ids:
        render.note(no_such)
    return list(dict.fromkeys(reversed(ids)))


def apply(namespace: argparse.Namespace, verb: str, selector: dict[str, Any], arguments: dict[str, Any]) -> int:
    """Do a verb to all petitions that meet a selector; give 1 where one was refused, or the person said no."""
    from orcha._cli import render
    from orcha._cli.connection import connected

    code = 0
    with connected() as service:
        if namespace.dry_run or (not namespace.yes and _may_ask()):
            answers = list(_answers(service, verb, selector, arguments, dry_run=True))
            met = [identity for answer in answers for identity in answer["met"]]
            if namespace.dry_run:
                for identity in met:
                    render.line(identity)
                if not met:
                    render.note("there is no such petition")
                return 0
            if len(met) > ASKED_ABOVE_PETITIONS and not _agreed(verb, met):
                render.note("nothing was done")
                return _FAILURE_CODE
        number = 0
        for answer in _answers(service, verb, selector, arguments, dry_run=False):
            number += len(answer["met"])
            for _, reason in answer["refused"]:
                render.note(reason)
                code = _FAILURE_CODE
        if not number:
            render.note("there is no such petition: nothing was done")
    return code


def do_to_group_or_each(
    namespace: argparse.Namespace, verb: str, ask: Callable[[Session, str | None, str | None], Reply]
) -> int:
    """Do a verb to a group, to everything, to ids, or to all that meet a selector; give 1 where it failed for one.

    `ask` asks a service about an id and a group; with neither, about everything.
    """
    from orcha._cli import per_petition

    selector, group = selector_of(namespace, group=False), namespace.group
    if selector is not None and (group is not None or namespace.all):
        refuse_both("--all" if namespace.all else "--group")
        return USAGE_ERROR_CODE
    if not namespace.all and group is None and names_none(namespace, selector):
        return USAGE_ERROR_CODE
    if selector is not None:
        return apply(namespace, verb, selector, {})
    if namespace.ids:
        return per_petition.do_for_each(
            namespace.ids, lambda service, name: service.done(ask(service, name, None), name)
        )
    return per_petition.do_for_each([""], lambda service, _: service.done(ask(service, None, group)))


def _answers(
    service: Session, verb: str | None, selector: dict[str, Any], arguments: dict[str, Any], *, dry_run: bool
) -> Iterator[dict[str, Any]]:
    """Give the answers of the service, each about as many petitions as one transaction takes."""
    before: int | None = None
    while True:
        answer = service.select(verb, selector, arguments, dry_run=dry_run, before=before)
        yield answer
        before = answer["last"]
        if before is None:
            return


def _may_ask() -> bool:
    """Tell whether a person is there who can answer."""
    import sys

    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()


def _agreed(verb: str, met: list[str]) -> bool:
    """Ask the person whether that many petitions are meant."""
    import sys

    from orcha._cli import render

    shown = ", ".join(met[:_MAX_NAMED_IDS])
    sys.stderr.write(f"orcha: {verb} {len(met)} petitions ({render.plain(shown)}, ...)? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
