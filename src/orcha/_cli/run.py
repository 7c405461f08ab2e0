"""``orcha run``: run a command as if it were run here; the service queues it, limits it, and keeps its output."""

from __future__ import annotations

import argparse
import os

from orcha._cli import options, run_options
from orcha._cli.exit_codes import OWN_FAILURE_CODE, USAGE_ERROR_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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
  orcha run --array 1-100%4 --name train -- ./train.sh --fold {}
  orcha run --sweep lr=0.1,0.01 --sweep seed=1-5 -- ./train.sh {lr} {seed}
  orcha run --when 'load(1) < 4 and memory.available > 8G' -- ./train.sh
  orcha run --secret TOKEN=env:API_TOKEN -- ./deploy.sh
  orcha run - < job.sh

Ctrl+C cancels, a second one kills at once; Ctrl+] d leaves it running. The exit code is the command's, 128 + n after
signal n; 124 timed out, 125 Orcha could not, 126 not executable, 127 not found, 130 cancelled.
"""
_OPTION_NAMES = {
    "argv": "the command",
    "argv[0]": "the command",
    "retry.times": "--retry",
    "retry.codes": "--retry-on",
    "ok_codes": "--ok",
}
"""The option that sets a field of a command, where it does not have the field's name."""


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
    add("--upload", action="store_true", help="over ssh://: copy this folder there, and run the command in the copy")
    pattern = "upload nothing of this name or path, as '*.o'; may be given repeatedly"
    add("--exclude", metavar="PATTERN", action="append", default=[], type=options.written, help=pattern)
    run_options.add_place(parser)
    _add_array(parser)
    run_options.add_after(parser)
    run_options.add_time(parser)
    add("-i", "--stdin", action="store_true", help="pass standard input; with --detach who attaches does")
    add("-t", "--tty", action="store_true", help="give it a terminal, for interactive programs; implies --stdin")
    options.add_on_disconnect(parser)
    run_options.add_execution(parser)
    add("--expect-like", action="store_true", help="expect half as much again as the same command took at most of late")


def _add_array(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that ask for many petitions at once."""
    many = parser.add_mutually_exclusive_group()
    add = many.add_argument
    for_number = "run it for each number, {} in its words: 1-100, 1-100%%4"
    add("--array", metavar="A-B[:STEP][%N]", type=_array, help=for_number)
    add("--each-line", metavar="FILE", help="run it for each line of a file ('-': standard input), {} in its words")
    for_value = "run it for each value of a JSON array, or of JSON lines; {key} in its words"
    add("--each-json", metavar="FILE", help=for_value)
    for_combination = "run it for each combination of values, {lr} in its words: lr=0.1,0.01, seed=1-5"
    repeatable: dict[str, Any] = {"action": "append", "default": []}
    add("--sweep", metavar="NAME=V,V", type=_swept, help=f"{for_combination}; may be given repeatedly", **repeatable)
    parser.add_argument("--at-most", metavar="N", type=options.count, help="run at most N of these many at once")
    stop = "start no more of them after N have failed"
    parser.add_argument("--max-fails", metavar="N", type=options.count, help=stop)


def _array(text: str) -> dict[str, Any]:
    from orcha._cli import arrays  # which few clients need

    return arrays.range_of(text)


def _swept(text: str) -> tuple[str, list[str]]:
    from orcha._cli import arrays

    return arrays.swept(text)


def _asks_for_many(namespace: argparse.Namespace) -> bool:
    """Tell whether an option asks for many petitions."""
    names = ("array", "each_line", "each_json", "at_most", "max_fails")
    return bool(namespace.sweep) or any(getattr(namespace, name) is not None for name in names)


def run(namespace: argparse.Namespace) -> int:
    """Submit the command, and follow it to its end."""
    from orcha._cli import render
    from orcha.exceptions import OrchaError

    try:
        command = run_options.command_of(namespace, "orcha run -- COMMAND", create_parser)
        _check_upload(namespace)
        message = run_options.extras(namespace, command)
        secrets = run_options.secrets_of(namespace)
        if _asks_for_many(namespace):
            from orcha._cli import arrays

            message["array"] = arrays.of(namespace, command)
        return _run(namespace, message, secrets)
    except options.WrongOptionError as error:
        run_options.say_pointed(render.note, str(error))
        return USAGE_ERROR_CODE
    except BrokenPipeError:
        raise  # nobody reads the id that --detach prints
    except (OrchaError, OSError, ValueError) as error:
        render.note(" ".join(str(error).split()))
        return OWN_FAILURE_CODE


def _check_upload(namespace: argparse.Namespace) -> None:
    """Raise WrongOptionError where an option is about an upload that is not asked for."""
    if namespace.exclude and not namespace.upload:
        raise options.WrongOptionError("--exclude says what --upload leaves out: give that too")


def _run(namespace: argparse.Namespace, message: dict[str, Any], secrets: dict[str, bytes] | None) -> int:
    """Send the request, and follow the petition unless it is to run detached."""
    from orcha._cli.connection import connected
    from orcha._cli.streams import Streams, are_one, fill_standard_descriptors, input_waits
    from orcha._protocol.identities import new_identity

    if namespace.streams == "together" or (namespace.streams is None and not namespace.detach and are_one()):
        message["merge"] = True
    add_input(namespace, message)
    left = "stdin" not in message and input_waits()
    fill_standard_descriptors()
    name, token, streams = namespace.name or made_up(message["argv"][0]), new_identity(), Streams()
    if left and streams.is_terminal:
        streams.tell("standard input is not passed on: orcha run --stdin passes it")
    with connected(streams.tell, runs=True) as service:
        settle(namespace, message, service, streams.tell)
        if secrets is not None:
            service.keep_secrets(token, secrets, streams.tell)
        if namespace.detach:
            return _detached(service, name, token, message)
        from orcha._cli.attached import Attached, Left

        again = "retry" in message or namespace.on_interrupt == "rerun" or namespace.preemptible == "requeue"
        attached = Attached(service, streams, name, token=token, again=again, on_disconnect=namespace.on_disconnect)
        try:
            with attached.signals():
                return attach_to(namespace, attached, service, streams, (name, token, message))
        except Left as left:
            if left.line:
                streams.tell(left.line)
            return left.code


def settle(
    namespace: argparse.Namespace, message: dict[str, Any], service: Session, tell: Callable[[str], None]
) -> None:
    """Have a command for a login elsewhere run as there; say where the program of any other one looks wrong.

    Raises:
        WrongOptionError: options do not go together.

    """
    if namespace.expect_like:
        if namespace.expect is not None or _asks_for_many(namespace):
            raise options.WrongOptionError(
                "--expect-like is for one command without --expect: leave out --expect-like or the other option"
            )
        from orcha._cli import like

        seconds, source = like.ask(service, message["argv"])
        if seconds is None:
            tell(f"nothing is expected: {source}")
        else:
            message |= {"expect": seconds, "expect_source": source}
            tell(like.line(seconds, source))
    if namespace.upload and service.far is None:
        raise options.WrongOptionError("--upload brings this folder to another machine: give --service ssh://HOST")
    if service.far is not None:
        from orcha._cli.far_command import adapt

        if namespace.upload:
            from orcha._cli.upload import upload

            assert service.endpoint.ssh is not None
            namespace.uploaded = upload(service.endpoint.ssh, os.getcwd(), namespace.exclude, tell)  # noqa: PTH109
        adapt(message, namespace, service.far, tell)
    elif (line := misquoted(message)) is not None:
        tell(line)


def misquoted(message: Mapping[str, Any]) -> str | None:
    """Give a hint where the program looks like a whole line for a shell, and there is no such program."""
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


def add_input(namespace: argparse.Namespace, message: dict[str, Any]) -> None:
    """Ask for standard input, and for a terminal of this terminal's size; a client that attaches later uses them."""
    if namespace.stdin or namespace.tty:
        message["stdin"] = True
    if namespace.tty:
        from orcha._cli.terminal import Terminal

        message["tty"] = list(Terminal(0, raw=True).size())


def _detached(service: Session, name: str, token: bytes, message: dict[str, Any]) -> int:
    """Submit the command, print its id, and do not follow it."""
    from orcha._cli import render
    from orcha._protocol import values
    from orcha._protocol.messages import Item

    result = service.one(Item(token, name, values.encode(message), None))
    if not _taken(result):
        line, code = _refused(result, name, message)
        run_options.say_pointed(render.note, line)
        return code
    render.line(result.reason or name)
    return 0


def attach_to(
    namespace: argparse.Namespace,
    attached: Attached,
    service: Session,
    streams: Streams,
    sent: tuple[str, bytes, dict[str, Any]],
) -> int:
    """Submit the command, and follow it."""
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
        run_options.say_pointed(streams.tell, line)
        return code
    if result.channel is not None and result.channel != channel.__orcha_channel__:
        from orcha._cli.attach import follow

        streams.tell(f"attached to {result.reason}")
        return follow(service, streams, result.reason or "")
    if "array" not in message:
        return attached.follow(channel, typing)
    from orcha._cli.array_output import ArrayChannel
    from orcha._cli.arrays import widest_id

    return attached.follow(ArrayChannel(service, channel, widest_id(name, message["array"])))


def _taken(result: Result) -> bool:
    """Tell whether the service has the petition."""
    from orcha._protocol.messages import Verdict

    return result.verdict in {Verdict.ACCEPTED, Verdict.KNOWN}


def _refused(result: Result, name: str, message: dict[str, Any]) -> tuple[str, int]:
    """Say why the service refuses the petition, and give the exit code: 2 where an option was wrong."""
    from orcha._protocol.shown_reasons import UNREADABLE
    from orcha.interfaces.message import Message
    from orcha.lib.commands import petition_of

    try:
        petition_of(
            Message(name, {key: value for key, value in message.items() if key not in {"queue", "array"}}), None
        )
    except (ValueError, TypeError) as error:
        field, _, rest = str(error).partition(" ")
        option = _OPTION_NAMES.get(field) or "--" + field.replace(".", "-").replace("_", "-")
        return f"{option} {rest}", USAGE_ERROR_CODE
    reason = result.reason or "the service refuses it, and does not say why"
    if "when" in message and reason.startswith(UNREADABLE):
        return f"--when cannot be read{reason.removeprefix(UNREADABLE)}", USAGE_ERROR_CODE
    return reason.replace("\n", "\\n"), OWN_FAILURE_CODE


def made_up(program: str | bytes) -> str:
    """Make an id: the program's name, without what looks like a secret, and six random characters."""
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
