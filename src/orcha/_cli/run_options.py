"""The options of a command, and the request that is made of them."""

from __future__ import annotations

import argparse
import os

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

LIMIT_OPTIONS = (
    ("timeout", options.duration, "T", "end an attempt after this long: 90, 90s, 5m, 2h"),
    ("expect", options.duration, "T", "how long it will probably take; limits nothing"),
    ("warn", options.warning, "SIGNAL@T", "a signal to send this long before the timeout: USR1@5m"),
    ("idle-timeout", options.duration, "T", "end it when it has written nothing for this long"),
    ("queue-timeout", options.duration, "T", "give up when it has waited this long"),
    ("cpu-timeout", options.duration, "T", "end it after this much processor time"),
    ("memory", options.size, "M", "memory all its processes may use: 512M, 2G (needs a writable cgroup)"),
    ("pids", options.count, "N", "how many processes it may have (needs a writable cgroup)"),
    ("cpu-share", options.count, "PERCENT", "percent of one processor it may use (needs a writable cgroup)"),
    ("stop-signal", options.signal_number, "SIGNAL", "the signal a cancel begins with (default: INT)"),
    ("grace", options.duration_from_zero, "T", "how long it has after each signal before the next: TERM, then KILL"),
    ("drain", options.duration_from_zero, "T", "how long what it leaves behind may go on writing (default: 10s)"),
    ("output-limit", options.size, "M", "how much of its output is kept (default: 1G)"),
)
OUTPUT_POLICIES, LEFTOVERS, PREEMPTIBLE = ("truncate", "kill", "rotate"), ("end", "keep"), ("pause", "requeue")
_REPEATABLE: dict[str, Any] = {"action": "append", "default": []}
"""The default of an option that may be given several times; argparse copies the list before it adds a value."""


def create_repeated_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that is run again and again: all but the arguments about a single petition."""
    parser.allow_abbrev = False
    add_place(parser)
    add_execution(parser, may_have_secrets=False)
    left_out: dict[str, Any] = {"at": None, "delay": None, "stdin": False, "tty": False}
    parser.set_defaults(after=[], after_ok=[], if_dependency_fails=None, **left_out)


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the arguments about a petition's place among others."""
    add = parser.add_argument
    add("--label", type=options.label, metavar="TEXT", help="a text shown with it, of at most 200 characters")
    add("-p", "--priority", metavar="N", type=options.number, help="the lower starts first (default: 0)")
    add(
        "-g",
        "--group",
        type=options.name,
        metavar="G",
        help="the group whose slots it takes (orcha serve --slots G=N)",
    )
    add(
        "--need",
        action="append",
        type=options.amount,
        metavar="NAME=N",
        help="hold this much of a resource while it runs: gpu=1, gpu=0.5, gpu=1@mem>=20G; may be given repeatedly",
    )
    add("--pin", action="store_true", help="bind it to processors of its own, as many as --need cpu=N says")
    add(
        "--preemptible",
        choices=PREEMPTIBLE,
        help="let a more urgent command take its place: it stands still meanwhile, or is ended and runs anew",
    )
    add(
        "--when",
        metavar="CONDITION",
        type=options.written,
        action=_When,
        help="start only while this holds, as in 'load(1) < 4'; 'help' says what it may hold",
    )


def add_execution(parser: argparse.ArgumentParser, *, may_have_secrets: bool = True) -> None:
    """Add the arguments about how a command is executed, and the command."""
    add = parser.add_argument
    add("-C", "--cwd", metavar="D", type=options.folder, help="folder to run in (default: this one)")
    variables = "set a variable; K alone: as it is here, which no other user of the machine can read, as they can K=V"
    add("-e", "--env", metavar="K=V", type=options.variable, help=variables, **_REPEATABLE)
    how = "give it a secret in the file $ORCHA_SECRET_TOKEN: TOKEN=file:PATH, TOKEN=env:VARIABLE; it is never stored"
    add_secret(parser, how if may_have_secrets else "")
    add("--all-env", action="store_true", help="pass all variables, not only the variables that are allowed")
    add(
        "--streams",
        choices=("together", "apart"),
        help="its standard output and error as one, in order, or apart (default: as they are here)",
    )
    for name, read, metavar, text in LIMIT_OPTIONS:
        add(f"--{name}", metavar=metavar, type=read, help=text)
    add("--output-policy", choices=OUTPUT_POLICIES, help="what happens beyond that")
    add("--leftovers", choices=LEFTOVERS, help="end what it leaves behind (default), or let it go")
    codes = "exit codes that count as success: 0,3 (default: 0)"
    add("--ok", dest="ok_codes", type=options.codes, metavar="CODES", help=codes)
    add("--on-interrupt", choices=("fail", "rerun", "ask"), help="what to do when a crash interrupted it")
    _add_retry(parser)
    add("--once", type=options.name, metavar="KEY", help="only one petition of this key waits or runs at a time")
    add("--if-exists", choices=("attach", "reject", "replace"), help="where there is one (default: reject)")
    add(
        "command",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="the command and its arguments; - for a script on standard input",
    )


def add_secret(parser: Any, what: str = "") -> None:
    """Add the option that gives a command secrets, to a parser or a group of its arguments."""
    parser.add_argument("--secret", metavar="NAME=SOURCE", type=_secret, help=what or argparse.SUPPRESS, **_REPEATABLE)


def secrets_of(namespace: argparse.Namespace, *, are_named: bool = True) -> dict[str, bytes] | None:
    """Give the secrets that are sent beside a message; None for none.

    Raises:
        WrongOptionError: one cannot be read, there can be none like it, or no petitions are named to give it to.

    """
    if not namespace.secret:
        return None
    if not are_named:
        raise options.WrongOptionError("--secret is about petitions that are named: give their ids alone")
    from orcha._cli import secrets

    return secrets.read(namespace.secret)


def _secret(text: str) -> tuple[str, str, str]:
    from orcha._cli import secrets  # which few clients need

    return secrets.source(text)


class _When(argparse.Action):
    """Takes a condition, or prints what conditions may say."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Keep the condition; for `help` print the help, and end."""
        del option
        if values == "help":
            from orcha._core.conditions.terms import help_text

            print(help_text(), end="")
            parser.exit(0)
        namespace.when = values


def add_after(parser: argparse.ArgumentParser) -> None:
    """Add the arguments about petitions that come first."""
    add = parser.add_argument
    many = "may be given repeatedly"
    add(
        "--after",
        metavar="ID",
        type=options.written,
        help=f"start after this petition has ended; {many}",
        **_REPEATABLE,
    )
    add("--after-ok", metavar="ID", type=options.written, help=f"start after it has succeeded; {many}", **_REPEATABLE)
    choices = ("cancel", "hold", "run")
    fails = "what to do when one of --after-ok does not succeed (default: cancel)"
    add("--if-dependency-fails", choices=choices, help=fails)


def add_time(parser: argparse.ArgumentParser) -> None:
    """Add the arguments about the time before which nothing starts."""
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--at", metavar="TIME", type=_moment, help="start then at the earliest: 22:00, mon 8:00, a date")
    when.add_argument("--in", metavar="T", type=options.duration, dest="delay", help="start after this long: 90, 2h")


def _moment(text: str) -> float:
    from orcha._cli import moments  # which few clients need

    return moments.moment(text)


def _add_retry(parser: argparse.ArgumentParser) -> None:
    """Add the arguments about trying again."""
    add = parser.add_argument
    add("--retry", metavar="N", type=options.retries, help="try again up to N times when it failed")
    causes = "try again only after this exit code, signal (SIGKILL), or 'timeout'; may be given repeatedly"
    add("--retry-on", metavar="WHAT", type=options.after, help=causes, **_REPEATABLE)
    add(
        "--retry-output",
        type=options.written,
        metavar="REGEX",
        help="try again only where this is found at the end of its output",
    )
    add("--retry-delay", metavar="T", type=options.duration, help="wait this long before the first retry (default: 1s)")
    add("--retry-factor", metavar="X", type=options.factor, help="how much longer each further pause is (default: 2)")
    add("--retry-longest", metavar="T", type=options.duration, help="no pause is longer than this (default: 1h)")


def words_of(namespace: argparse.Namespace, usage: str) -> list[str]:
    """Give the words of a command that stand behind the options, and perhaps behind ``--``.

    Raises:
        WrongOptionError: there is no word.

    """
    words: list[str] = namespace.command[1:] if namespace.command[:1] == ["--"] else namespace.command
    if not words or not words[0]:
        raise options.WrongOptionError(f"there is no command to run: {usage}")
    return words


def command_of(
    namespace: argparse.Namespace, usage: str, create_parser: Callable[[argparse.ArgumentParser], None]
) -> list[str]:
    """Give the command's words; where its program is a script, with the script's own options in `namespace`.

    Raises:
        WrongOptionError: there are none, an option of the script is wrong, or the condition cannot be read.

    """
    command = words_of(namespace, usage)
    if "/" in command[0] or command[0] == "-":
        from orcha._cli import script

        command = script.prepare(namespace, command, create_parser, folder)
    if namespace.when is not None and (wrong := _wrong_condition(namespace.when)) is not None:
        raise options.WrongOptionError(f"--when cannot be read, {wrong}")
    return command


def _wrong_condition(text: str) -> str | None:
    """Give what is wrong with a condition, as far as a client knows: an unknown name may be a plugin's."""
    from orcha._core.conditions.condition import Condition
    from orcha._core.conditions.errors import ConditionTextError, UnknownNameError
    from orcha._core.conditions.terms import BUILT_IN

    try:
        Condition(text, BUILT_IN)
    except UnknownNameError:
        return None
    except ConditionTextError as error:
        return str(error)
    return None


def say_pointed(tell: Callable[[str], None], text: str) -> None:
    """Say what is wrong with a condition, and show the place below the line."""
    from orcha._cli import render

    line, *shown = text.split("\n")
    tell(line)
    for each in shown:
        render.quote(each)


def extras(namespace: argparse.Namespace, command: list[str]) -> dict[str, Any]:
    """Give the request that a command line asks for.

    Raises:
        WrongOptionError: options do not go together.
        ValueError: the working folder is gone.

    """
    inherited = options.inherited()
    if namespace.secret:
        from orcha._cli import secrets

        for variable in secrets.variables(namespace.secret):
            inherited.pop(variable, None)
    made: dict[str, Any] = {
        "argv": [options.sent(word) for word in command],
        "cwd": options.sent(folder(namespace.cwd)),
        "env": options.environment(inherited, namespace.env, everything=namespace.all_env),
        "umask": own_umask(),
        "priority": namespace.priority,
        "retry": _retry(namespace),
    }
    names = [name.replace("-", "_") for name, *_ in LIMIT_OPTIONS]
    names += ["at", "delay", "label", "group", "output_policy", "leftovers", "ok_codes", "on_interrupt", "once", "when"]
    names.append("preemptible")
    made |= {name: getattr(namespace, name) for name in names}
    if namespace.warn is not None and namespace.timeout is None and namespace.group is None:
        raise options.WrongOptionError("--warn comes before the time limit of --timeout: give --timeout T too")
    made["needs"] = _needs(namespace.need or ())
    if namespace.pin:
        made["pin"] = True
    if namespace.secret:
        made["secrets"] = [name for name, *_ in namespace.secret]
    made |= _others_first(namespace)
    if namespace.once is not None:
        made["if_exists"] = namespace.if_exists or "reject"
    elif namespace.if_exists:
        raise options.WrongOptionError(
            "--if-exists says what happens where there is one of the same --once KEY: give that too"
        )
    return {name: value for name, value in made.items() if value is not None}


def _others_first(namespace: argparse.Namespace) -> dict[str, Any]:
    """Give the petitions that come first.

    Raises:
        WrongOptionError: options do not go together.

    """
    if namespace.if_dependency_fails and not namespace.after_ok:
        raise options.WrongOptionError(
            "--if-dependency-fails says what happens when a petition of --after-ok fails: give --after-ok ID too"
        )
    given = {"after": namespace.after, "after_ok": namespace.after_ok}
    return {name: ids for name, ids in given.items() if ids} | {"if_dependency_fails": namespace.if_dependency_fails}


def _needs(given: Iterable[tuple[str, int | str]]) -> dict[str, int | str] | None:
    """Give the units of each resource that are needed.

    Raises:
        WrongOptionError: a resource is named twice.

    """
    needs: dict[str, int | str] = {}
    for resource, amount in given:
        if resource in needs:
            raise options.WrongOptionError(f"--need {resource} is given twice: give it once, with the sum")
        needs[resource] = amount
    return needs or None


def folder(chosen: str | None) -> str:
    """Give the absolute path of the folder to run in, resolved as the system resolves the caller's.

    Raises:
        ValueError: the current folder is gone.

    """
    if chosen and chosen.startswith("/"):
        return chosen
    try:
        here = os.getcwd()  # noqa: PTH109 - pathlib costs a client 5 ms
    except OSError as error:
        raise ValueError(f"the current folder cannot be used: {error.strerror}") from error
    return f"{here}/{chosen}" if chosen else here


def own_umask() -> int:
    """Give the file mode creation mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _retry(namespace: argparse.Namespace) -> dict[str, Any] | None:
    """Give the policy of trying again, None for never."""
    given: dict[str, Any] = {
        "output": namespace.retry_output,
        "delay": namespace.retry_delay,
        "factor": namespace.retry_factor,
        "longest": namespace.retry_longest,
    }
    given = {name: value for name, value in given.items() if value is not None}
    for kind, number in namespace.retry_on:
        if kind == "timeout":
            given["timeout"] = True
        else:
            given.setdefault(kind, []).append(number)
    if namespace.retry is None:
        if given:
            raise options.WrongOptionError(
                "the options --retry-... say when and how it is tried again: give --retry N, how often at most, too"
            )
        return None
    return {"times": namespace.retry, **given}
