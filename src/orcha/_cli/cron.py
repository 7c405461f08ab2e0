"""``orcha cron``: commands that are run again and again, at times that a line of cron tells."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from datetime import datetime

from orcha._cli import options, run_options
from orcha._cli.exit_codes import USAGE_ERROR_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import Any

_EPILOG = """\
examples:
  orcha cron add nightly '0 22 * * *' -- ./backup.sh
  orcha cron add sync '*/5 * * * mon-fri' --overlap queue -- make sync
  orcha cron ls
  orcha cron set nightly --expression '0 23 * * *'
  orcha cron now nightly
"""
_ADD_EPILOG = """\
NAME is the schedule's, and its petitions are NAME@TIME. EXPRESSION says when, in five fields: minute, hour, day of the
month, month and day of the week. A field is *, a number, a list as 1,2, a range as 1-5, or has steps as */5; months and
days have names too, as jan and mon. @hourly, @daily, @weekly, @monthly and @yearly stand for the usual ones.

examples:
  orcha cron add nightly '0 22 * * *' --tz Europe/Berlin -- ./backup.sh
  orcha cron add report @daily --missed last --group rig -- ./report.sh --all
"""
_SET_EPILOG = """\
examples:
  orcha cron set nightly --expression '30 6 * * mon-fri' --tz Europe/Berlin
  orcha cron set nightly --overlap queue --timeout 2h --need gpu=1
  orcha cron set nightly -- ./backup.sh --all
"""
_FAILURE_CODE = 1
_SHOWN_FIRINGS_NUMBER = 10
_TIMES = ("instant", "decided", "ended", "added")


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Run commands again and again, at times that a line of cron tells: schedules."
    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    add = verbs.add_parser("add", help="add a schedule", formatter_class=parser.formatter_class)
    _create_add(add)
    change = verbs.add_parser("set", help="change a schedule", formatter_class=parser.formatter_class)
    _create_set(change)
    ls = verbs.add_parser("ls", help="list schedules", formatter_class=parser.formatter_class)
    ls.description = "List your schedules; as the service's user, the schedules of everybody."
    ls.add_argument("--json", action="store_true", help="print a JSON array")
    ls.set_defaults(do=_list)
    show = verbs.add_parser("show", help="show a schedule and its last firings", formatter_class=parser.formatter_class)
    show.description = "Show a schedule, its next times and its last firings. Of the environment only names are shown."
    show.add_argument("name", type=options.written, metavar="NAME", help="its name")
    show.add_argument("--json", action="store_true", help="print a JSON object; times are ISO 8601")
    show.set_defaults(do=_show)
    for verb, text in (
        ("pause", "let schedules rest"),
        ("resume", "let paused schedules go on; nothing is made up for of the pause"),
        ("rm", "remove schedules; their petitions stay"),
        ("now", "fire schedules now"),
    ):
        one = verbs.add_parser(verb, help=text, formatter_class=parser.formatter_class)
        one.description = f"{text[0].upper()}{text[1:]}."
        one.add_argument("names", nargs="+", type=options.written, metavar="NAME", help="a schedule's name")
        one.set_defaults(do=_change, change={"rm": "remove"}.get(verb, verb))


def _create_add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run a command again and again. It runs in this folder, with these variables and this umask, as with orcha run:"
        " they are taken now."
    )
    parser.usage = "orcha cron add NAME EXPRESSION [options] [--] COMMAND [ARGUMENT ...]"
    parser.epilog = _ADD_EPILOG
    add = parser.add_argument
    add("--tz", metavar="ZONE", type=options.written, help="the zone of the times, as Europe/Berlin (default: yours)")
    overlaps = "while an earlier one has not ended: skip this one (default), queue it, or have it replace that"
    add("--overlap", choices=("skip", "queue", "replace"), default="skip", help=overlaps)
    missed = "what to make up for of times when the service was away: none (skip, the default), the last one, or all"
    add("--missed", choices=("skip", "last", "all"), default="skip", help=missed)
    run_options.create_repeated_parser(parser)
    parser.set_defaults(do=_add)
    _let_options_follow(parser)


def _create_set(parser: argparse.ArgumentParser) -> None:
    from orcha._cli.set import add_changes

    what = "Change a schedule: its times, and what its command asks for."
    parser.description = f"{what} What it has fired stays known, and a pause goes on."
    parser.usage = "orcha cron set NAME [options] [-- COMMAND [ARGUMENT ...]]"
    parser.epilog = _SET_EPILOG
    parser.allow_abbrev = False
    add = parser.add_argument
    add("--expression", metavar="EXPRESSION", type=options.written, help="when, as in cron add")
    add("--tz", metavar="ZONE", type=options.written, help="the zone of the times")
    add("--overlap", choices=("skip", "queue", "replace"), help="while an earlier one has not ended")
    add("--missed", choices=("skip", "last", "all"), help="what to make up for")
    add("-C", "--cwd", metavar="D", type=options.folder, help="folder to run in")
    add_changes(add, of_one=False)
    add("name", type=options.written, metavar="NAME", help="its name")
    parser.set_defaults(do=_set, command=[])
    options.leave_command_apart(parser)


def _let_options_follow(parser: argparse.ArgumentParser) -> None:
    """Have a parser, which takes all from the first word on for the command, read NAME, EXPRESSION and more options."""
    parse = parser.parse_known_args

    def parse_all(args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, unknown = parse(args, namespace)
        if len(found.command) < len(("NAME", "EXPRESSION")):
            parser.error("the following arguments are required: NAME, EXPRESSION, COMMAND")
        name, expression, *rest = found.command
        try:
            found.name, found.expression = options.name(name), options.written(expression)
        except ArgumentTypeError as error:
            parser.error(str(error))
        found, more = parse(rest, found)
        if unknown or more:
            parser.error(f"unrecognized arguments: {' '.join(unknown + more)}")
        return found, []

    parser.parse_known_args = parse_all  # type: ignore[method-assign]  # what a subparser is asked by


def run(namespace: argparse.Namespace) -> int:
    """Do what the word after `cron` says."""
    do: Callable[[argparse.Namespace], int] = namespace.do
    return do(namespace)


# --- add ----------------------------------------------------------------------------------------------------------


def _add(namespace: argparse.Namespace) -> int:
    from orcha._cli import render
    from orcha._cli.connection import connected
    from orcha._cli.session import VerbRefusedError
    from orcha._protocol import values

    usage = "orcha cron add NAME EXPRESSION -- COMMAND"
    if namespace.secret:
        render.note("--secret: a schedule would have to store it: have the command read a file that only you can read")
        return USAGE_ERROR_CODE
    try:
        _in_words(namespace.expression)
        command = run_options.command_of(namespace, usage, run_options.create_repeated_parser)
        message = run_options.extras(namespace, command)
    except options.WrongOptionError as error:
        run_options.say_pointed(render.note, str(error))
        return USAGE_ERROR_CODE
    except ValueError as error:
        render.note(str(error))
        return _FAILURE_CODE
    if namespace.streams == "together":
        message["merge"] = True
    how = {"zone": namespace.tz or _own_zone(), "overlap": namespace.overlap, "missed": namespace.missed}
    with connected(runs=True) as service:
        if service.far is not None:
            from orcha._cli.far_command import adapt

            adapt(message, namespace, service.far, render.note)
        sent = values.encode(message)
        try:
            known = service.add_schedule(namespace.name, namespace.expression, sent, manager="commands", **how)
        except VerbRefusedError as error:
            run_options.say_pointed(render.note, str(error))
            return _FAILURE_CODE
    _say(known)
    return 0


def _say(known: dict[str, Any]) -> None:
    """Say when a schedule fires, and its next times."""
    from orcha._cli import render

    render.line(f"{render.plain(known['name'])}: {_in_words(known['expression'])} ({_zone(known)})")
    for place, instant in enumerate(known["next"]):
        render.line(f"{'next:' if not place else '':<6}{_instant(instant)}")


def _set(namespace: argparse.Namespace) -> int:
    from orcha._cli import render
    from orcha._cli.connection import connected
    from orcha._cli.session import NoSuchPetitionError, VerbRefusedError
    from orcha._cli.set import changes_of

    changes = changes_of(namespace)
    for field, name in (("expression", "expression"), ("zone", "tz"), ("overlap", "overlap"), ("missed", "missed")):
        if getattr(namespace, name) is not None:
            changes[field] = getattr(namespace, name)
    if namespace.cwd is not None:
        changes["cwd"] = options.sent(run_options.folder(namespace.cwd))
    if namespace.command:
        changes["argv"] = [options.sent(word) for word in namespace.command]
    if not changes:
        render.note("what is to be changed? give --expression, --overlap, --timeout or another option, or a command")
        return USAGE_ERROR_CODE
    with connected() as service:
        try:
            known = service.set_schedule(namespace.name, changes)
        except (NoSuchPetitionError, VerbRefusedError) as error:
            run_options.say_pointed(render.note, str(error))
            return _FAILURE_CODE
    _say(known)
    return 0


def _own_zone() -> str | None:
    """Give the name of the time zone that the caller has set; None for the zone of the machine."""
    named = os.environ.get("TZ", "").removeprefix(":")
    return named if named and not named.startswith("/") else None


def _in_words(expression: str) -> str:
    """Say an expression in words.

    >>> _in_words("30 6 * * mon-fri")
    'at 06:30 on Monday through Friday'

    Raises:
        WrongOptionError: it is none.

    """
    from cronsim import CronSim

    from orcha._core.schedules import ExpressionError, checked_expression

    try:
        fields = checked_expression(expression)
    except ExpressionError as error:
        raise options.WrongOptionError(str(error)) from None
    words = CronSim(fields, datetime(2000, 1, 1)).explain()  # noqa: DTZ001 - only its words are wanted
    return words[:1].lower() + words[1:]


def _zone(schedule: dict[str, Any]) -> str:
    return str(schedule["zone"] or "the machine's zone")


def _instant(text: str) -> str:
    """Give an instant as people read it.

    >>> _instant("2026-11-29T22:00:00+01:00")
    'Sun 2026-11-29 22:00 +01:00'
    """
    moment = datetime.fromisoformat(text)
    return f"{moment:%a %Y-%m-%d %H:%M} {text[19:]}"


# --- look ---------------------------------------------------------------------------------------------------------


def _list(namespace: argparse.Namespace) -> int:
    from orcha._cli import descriptions, render
    from orcha._cli.connection import connected
    from orcha._cli.layout import Column
    from orcha._cli.show import without_secrets

    with connected() as service:
        found = [without_secrets(schedule) for schedule in service.schedules()]
    if namespace.json:
        render.json([descriptions.as_json(_with_words(each), times=_TIMES) for each in found])
        return 0
    columns = (
        Column("NAME", 8, middle=True),
        Column("WHEN", 12),
        Column("ZONE", 8, given_up=0),
        Column("NEXT"),
        Column("LAST", 8, given_up=1),
        Column("COMMAND", 10),
    )
    render.table(columns, [[render.plain(cell) for cell in _row(each)] for each in found])
    return 0


def _row(schedule: dict[str, Any]) -> list[str]:
    import shlex

    upcoming = _instant(schedule["next"][0]) if schedule["next"] else "paused" if schedule["paused"] else "-"
    last = schedule["last"]
    command = schedule["command"] or {}
    return [
        schedule["name"],
        schedule["expression"],
        schedule["zone"] or "-",
        "it fires nothing" if schedule["problem"] else upcoming,
        "-" if last is None else _how_it_went(last),
        shlex.join(command.get("argv") or ()),
    ]


def _how_it_went(firing: dict[str, Any]) -> str:
    """Give what became of a firing, in few words."""
    from orcha._cli import ps

    if firing["id"] is None:
        return str(firing["note"]).partition(":")[0]
    if firing["outcome"] is not None:
        return ps.state({**firing, "state": "ended"})
    return str(firing["state"])


def _show(namespace: argparse.Namespace) -> int:
    from orcha._cli import descriptions, per_petition, render
    from orcha._cli.connection import connected
    from orcha._cli.show import without_secrets

    schedule: dict[str, Any] = {}
    with connected() as service, per_petition.errors_said() as failed:
        schedule = without_secrets(service.schedule(namespace.name))
    if failed:
        return _FAILURE_CODE
    if namespace.json:
        render.json(descriptions.as_json(_with_words(schedule), times=_TIMES))
        return 0
    for name, value in _lines(schedule):
        render.named(name, value)
    return 0


def _lines(schedule: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give names and values as people read them."""
    import shlex

    from orcha._cli import descriptions, owners, render

    user = owners.user(schedule)
    command = schedule["command"] or {}
    yield "name", schedule["name"]
    if command:
        yield "command", shlex.join(command["argv"])
    yield "when", f"{schedule['expression']} ({_said(schedule)})"
    yield "zone", _zone(schedule)
    if schedule["problem"]:
        yield "problem", schedule["problem"]
    yield "next", "it is paused" if schedule["paused"] else ", ".join(map(_instant, schedule["next"]))
    yield "overlap", schedule["overlap"]
    yield "missed", schedule["missed"]
    yield "owner", schedule["owner"] if user is None else f"{user} ({schedule['owner']})"
    yield "added", descriptions.value("submitted", schedule["added"])
    known = {**(schedule.get("policy") or {}), **command}
    known["priority"] = known.get("priority") or None
    known["needs"] = [f"{name}={amount}" for name, amount in (known.get("needs") or {}).items()]
    for name, value in known.items():
        if name != "argv" and not descriptions.is_nothing(value):
            yield name.replace("_", " "), descriptions.value(name, value)
    firings = schedule["firings"]
    for firing in firings[:_SHOWN_FIRINGS_NUMBER]:
        yield render.clock(firing["instant"]), _told(firing)
    if len(firings) > _SHOWN_FIRINGS_NUMBER:
        yield "and", f"{len(firings) - _SHOWN_FIRINGS_NUMBER} earlier ones: --json has them"


def _said(schedule: dict[str, Any]) -> str:
    try:
        return _in_words(schedule["expression"])
    except options.WrongOptionError:  # of a service that reads more than this client
        return "?"


def _told(firing: dict[str, Any]) -> str:
    """Give what became of a firing."""
    return str(firing["note"]) if firing["id"] is None else f"{firing['id']} {_how_it_went(firing)}"


def _with_words(schedule: dict[str, Any]) -> dict[str, Any]:
    """Give a schedule with its expression in words."""
    return schedule | {"words": _said(schedule)}


# --- change -------------------------------------------------------------------------------------------------------


def _change(namespace: argparse.Namespace) -> int:
    from orcha._cli import per_petition, render

    def change(service: per_petition.Session, name: str) -> None:
        if namespace.change == "now":
            render.line(service.fire_schedule(name)["id"])
        else:
            service.change_schedule(name, namespace.change)

    return per_petition.do_for_each(namespace.names, change)
