"""``orcha run``: run a command as if it were run here, while it is queued, limited, kept and survives."""

from __future__ import annotations

import argparse
import os

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from orcha._cli.attached import Attached
    from orcha._cli.session import Session
    from orcha._cli.streams import Streams
    from orcha._protocol.messages import Result

_EPILOG = """\
examples:
  orcha run -- make -j4
  orcha run --detach --name nightly --timeout 2h --memory 4G -- ./build.sh --all
  orcha run --retry 3 --retry-on 75 -- rsync -a src/ host:dst/
  orcha run --after-ok build --name test -- make check
  orcha run --at 'tomorrow 6:30' -- ./report.sh
  orcha run --when 'load(1) < 4 and memory.available > 8G' -- ./train.sh
  orcha run - < job.sh

Ctrl+C cancels, a second one kills at once; Ctrl+] d leaves it running. The exit code is the command's, 128 + n after
signal n; 124 timed out, 125 Orcha could not, 126 not executable, 127 not found, 130 cancelled.
"""
_LIMIT_OPTIONS = (
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
_REPEATABLE: dict[str, Any] = {"action": "append", "default": []}
"""Of an option that may be given several times; argparse copies the list before it adds to it."""
_OWN_FAILURE_CODE = 125
_USAGE_ERROR_CODE = 2
_OPTION_NAMES = {
    "argv": "the command",
    "argv[0]": "the command",
    "retry.times": "--retry",
    "retry.codes": "--retry-on",
    "ok_codes": "--ok",
}
"""What a field of a command is called on the command line, where it is not the option of its name."""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Run a command: queued, limited and kept by the service, attached to this terminal."
    parser.usage = "orcha run [options] [--] COMMAND [ARGUMENT ...]"
    parser.epilog = _EPILOG
    parser.allow_abbrev = False
    add = parser.add_argument
    add("-d", "--detach", action="store_true", help="print the id and leave it running")
    add(
        "--name",
        type=options.identity,
        metavar="ID",
        help="its id; only one petition of an id may wait or run at a time (default: made up)",
    )
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
    _add_after(parser)
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--at", metavar="TIME", type=_moment, help="start then at the earliest: 22:00, mon 8:00, a date")
    when.add_argument("--in", metavar="T", type=options.duration, dest="delay", help="start after this long: 90, 2h")
    add(
        "--when",
        metavar="CONDITION",
        type=options.written,
        action=_When,
        help="start only while this holds, as in 'load(1) < 4'; 'help' says what it may hold",
    )
    add("-C", "--cwd", metavar="D", type=options.folder, help="folder to run in (default: this one)")
    variables = "set a variable; K alone: as it is here, which no other user of the machine can read, as they can K=V"
    add("-e", "--env", metavar="K=V", type=options.variable, help=variables, **_REPEATABLE)
    add("--all-env", action="store_true", help="pass all variables, not only the variables that are allowed")
    add("-i", "--stdin", action="store_true", help="pass standard input; with --detach who attaches does")
    add(
        "--streams",
        choices=("together", "apart"),
        help="its standard output and error as one, in order, or apart (default: as they are here)",
    )
    options.add_on_disconnect(parser)
    add("-t", "--tty", action="store_true", help="give it a terminal, for interactive programs; implies --stdin")
    for name, read, metavar, text in _LIMIT_OPTIONS:
        add(f"--{name}", metavar=metavar, type=read, help=text)
    add("--output-policy", choices=("truncate", "kill", "rotate"), help="what happens beyond that")
    add("--leftovers", choices=("end", "keep"), help="end what it leaves behind (default), or let it go")
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


def _moment(text: str) -> float:
    from orcha._cli import moments  # which few clients need

    return moments.moment(text)


class _When(argparse.Action):
    """Takes a condition, or says what conditions are."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Keep it; print and leave where help is asked for."""
        del option
        if values == "help":
            from orcha._core.conditions.terms import help_text

            print(help_text(), end="")
            parser.exit(0)
        namespace.when = values


def _add_after(parser: argparse.ArgumentParser) -> None:
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


def run(namespace: argparse.Namespace) -> int:
    """Submit it, and follow it to its end."""
    from orcha._cli import render
    from orcha.exceptions import OrchaError

    command = namespace.command[1:] if namespace.command[:1] == ["--"] else namespace.command
    if not command or not command[0]:
        render.note("there is no command to run: orcha run -- COMMAND")
        return _USAGE_ERROR_CODE
    try:
        if "/" in command[0] or command[0] == "-":
            from orcha._cli import script

            command = script.prepare(namespace, command, create_parser, folder)
        if namespace.when is not None and (wrong := _wrong_condition(namespace.when)) is not None:
            _say_pointed(render.note, f"--when cannot be read, {wrong}")
            return _USAGE_ERROR_CODE
        message = extras(namespace, command)
        return _run(namespace, message)
    except options.WrongOptionError as error:
        render.note(str(error))
        return _USAGE_ERROR_CODE
    except BrokenPipeError:
        raise  # nobody reads the id that --detach prints
    except (OrchaError, OSError, ValueError) as error:
        render.note(" ".join(str(error).split()))
        return _OWN_FAILURE_CODE


def _wrong_condition(text: str) -> str | None:
    """Give what is wrong with a condition, as far as that is known here: a name may be that of a plugin."""
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


def _say_pointed(tell: Callable[[str], None], text: str) -> None:
    """Say what is wrong, and show below it where."""
    from orcha._cli import render

    line, *shown = text.split("\n")
    tell(line)
    for each in shown:
        render.quote(each)


def extras(namespace: argparse.Namespace, command: list[str]) -> dict[str, Any]:
    """Give what is sent of a command line.

    Raises:
        WrongOptionError: options do not go together.
        ValueError: the working folder is gone.

    """
    made: dict[str, Any] = {
        "argv": [options.sent(word) for word in command],
        "cwd": options.sent(folder(namespace.cwd)),
        "env": options.environment(options.inherited(), namespace.env, everything=namespace.all_env),
        "umask": _umask(),
        "priority": namespace.priority,
        "retry": _retry(namespace),
    }
    names = [name.replace("-", "_") for name, *_ in _LIMIT_OPTIONS]
    names += ["at", "delay", "label", "group", "output_policy", "leftovers", "ok_codes", "on_interrupt", "once", "when"]
    made |= {name: getattr(namespace, name) for name in names}
    if namespace.warn is not None and namespace.timeout is None and namespace.group is None:
        raise options.WrongOptionError("--warn comes before the time limit of --timeout: give --timeout T too")
    made["needs"] = _needs(namespace.need or ())
    made |= _others_first(namespace)
    if namespace.once is not None:
        made["if_exists"] = namespace.if_exists or "reject"
    elif namespace.if_exists:
        raise options.WrongOptionError(
            "--if-exists says what happens where there is one of the same --once KEY: give that too"
        )
    return {name: value for name, value in made.items() if value is not None}


def _others_first(namespace: argparse.Namespace) -> dict[str, Any]:
    """Give which petitions come first.

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
        WrongOptionError: one is named twice.

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


def _umask() -> int:
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


def _run(namespace: argparse.Namespace, message: dict[str, Any]) -> int:
    """Send it, and follow it unless it is to be left."""
    from orcha._cli.connection import connected
    from orcha._cli.streams import Streams, are_one, fill_standard_descriptors, input_waits
    from orcha._client.channel import new_identity

    if namespace.streams == "together" or (namespace.streams is None and not namespace.detach and are_one()):
        message["merge"] = True
    _add_input(namespace, message)
    left = "stdin" not in message and input_waits()
    fill_standard_descriptors()
    name, token, streams = namespace.name or made_up(message["argv"][0]), new_identity(), Streams()
    if left and streams.is_terminal:
        streams.tell("standard input is not passed on: orcha run --stdin passes it")
    if (line := misquoted(message)) is not None:
        streams.tell(line)
    with connected(streams.tell) as service:
        if namespace.detach:
            return _detached(service, name, token, message)
        from orcha._cli.attached import Attached, Left

        again = "retry" in message or namespace.on_interrupt == "rerun"
        attached = Attached(service, streams, name, token=token, again=again, on_disconnect=namespace.on_disconnect)
        try:
            with attached.signals():
                return _attached(namespace, attached, service, streams, (name, token, message))
        except Left as left:
            if left.line:
                streams.tell(left.line)
            return left.code


def misquoted(message: Mapping[str, Any]) -> str | None:
    """Give a line where the program looks like a whole line for a shell, and no such program is here."""
    import shlex
    import shutil

    program = os.fsdecode(message["argv"][0])
    if not any(each in program for each in " \t\n|&;<>"):
        return None
    path = message["env"].get("PATH", os.defpath)
    here = os.path.join(os.fsdecode(message["cwd"]), program)  # noqa: PTH118 - the bytes stay
    if os.path.exists(here) if "/" in program else shutil.which(program, path=os.fsdecode(path)):  # noqa: PTH110
        return None
    rest = [os.fsdecode(word) for word in message["argv"][1:]]
    line = shlex.join(["sh", "-c", " ".join([program, *map(shlex.quote, rest)])])
    return f"there is no program {program!r}: for a line with several words, orcha run -- {line}"


def _add_input(namespace: argparse.Namespace, message: dict[str, Any]) -> None:
    """Say that it has standard input, and a terminal as large as this one; where it is detached, for who attaches."""
    if namespace.stdin or namespace.tty:
        message["stdin"] = True
    if namespace.tty:
        from orcha._cli.terminal import Terminal

        message["tty"] = list(Terminal(0, raw=True).size())


def _detached(service: Session, name: str, token: bytes, message: dict[str, Any]) -> int:
    """Have it run by itself; say its id."""
    from orcha._cli import render
    from orcha._protocol import values
    from orcha._protocol.messages import Item

    result = service.one(Item(token, name, values.encode(message), None))
    if not _taken(result):
        line, code = _refused(result, name, message)
        _say_pointed(render.note, line)
        return code
    render.line(result.reason or name)
    return 0


def _attached(
    namespace: argparse.Namespace,
    attached: Attached,
    service: Session,
    streams: Streams,
    sent: tuple[str, bytes, dict[str, Any]],
) -> int:
    """Have it run, and follow it."""
    from orcha._cli.attached import Detached
    from orcha._cli.terminal_input import Typing
    from orcha._protocol import values
    from orcha._protocol.messages import Item

    name, token, message = sent
    forward = namespace.stdin or namespace.tty
    typing = Typing(service, streams, name, forward=forward, tty=namespace.tty, detach=Detached)
    channel = service.channel()
    message["queue"] = channel
    result = service.one(Item(token, name, values.encode(message), channel.__orcha_channel__))
    if not _taken(result):
        line, code = _refused(result, name, message)
        _say_pointed(streams.tell, line)
        return code
    if result.channel is not None and result.channel != channel.__orcha_channel__:
        from orcha._cli.attach import follow

        streams.tell(f"attached to {result.reason}")
        return follow(service, streams, result.reason or "")
    return attached.follow(channel, typing)


def _taken(result: Result) -> bool:
    """Tell whether the service has it."""
    from orcha._protocol.messages import Verdict

    return result.verdict in {Verdict.ACCEPTED, Verdict.KNOWN}


def _refused(result: Result, name: str, message: dict[str, Any]) -> tuple[str, int]:
    """Say why the service does not take it, and give the code: another one where an option was wrong."""
    from orcha._protocol.shown_reasons import UNREADABLE
    from orcha.interfaces.message import Message
    from orcha.lib.commands import petition_of

    try:
        petition_of(Message(name, {key: value for key, value in message.items() if key != "queue"}), None)
    except (ValueError, TypeError) as error:
        field, _, rest = str(error).partition(" ")
        option = _OPTION_NAMES.get(field) or "--" + field.replace(".", "-").replace("_", "-")
        return f"{option} {rest}", _USAGE_ERROR_CODE
    reason = result.reason or "the service refuses it, and does not say why"
    if "when" in message and reason.startswith(UNREADABLE):
        return f"--when cannot be read{reason.removeprefix(UNREADABLE)}", _USAGE_ERROR_CODE
    return reason.replace("\n", "\\n"), _OWN_FAILURE_CODE


def made_up(program: str | bytes) -> str:
    """Make an id: the program's name, without what looks like a secret, and six characters of chance."""
    word = os.fsdecode(program)
    if "=" in word or ":" in word:  # nothing else needs what takes 5 ms to be ready
        from orcha.utils.redact import HIDDEN, words

        word = words([word])[0].replace(HIDDEN, "")
    word = word.rpartition("/")[2]
    kept = "".join(each for each in word if each.isascii() and (each.isalnum() or each in "._-"))[:24]
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    chance = int.from_bytes(os.urandom(8), "big")
    letters = []
    for _ in range(6):
        chance, place = divmod(chance, len(alphabet))
        letters.append(alphabet[place])
    return f"{kept or 'command'}-{''.join(letters)}"
