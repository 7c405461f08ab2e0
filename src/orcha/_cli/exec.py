"""``orcha exec``: run a command beside a running command, in its folder, environment and cgroups."""

from __future__ import annotations

import argparse

from orcha._cli import options
from orcha._cli.exit_codes import OWN_FAILURE_CODE, USAGE_ERROR_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EPILOG = """\
examples:
  orcha exec train -- nvidia-smi
  orcha exec -t train -- bash

It needs no slot, and ends with the command beside which it runs. Ctrl+C cancels. The exit code is its own; 125 where
there is no such command, 130 where it was cancelled, also by the end of the other one.
"""
MAX_LABEL_CHARACTERS = 200


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Run a command beside a command that runs: in its folder, environment and cgroups."
    parser.usage = "orcha exec [options] ID [--] COMMAND [ARGUMENT ...]"
    parser.epilog = _EPILOG
    parser.allow_abbrev = False
    add = parser.add_argument
    add("-i", "--stdin", action="store_true", help="pass standard input")
    add("-t", "--tty", action="store_true", help="give it a terminal, for interactive programs; implies --stdin")
    add("-C", "--cwd", metavar="D", type=options.folder, help="another folder, as the command finds it")
    many: dict[str, Any] = {"action": "append", "default": []}
    add("-e", "--env", metavar="K=V", type=options.variable, help="set a variable; K alone: as it is here", **many)
    add("id", metavar="ID", type=options.written, help="the petition of the command that runs")
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its arguments")


def run(namespace: argparse.Namespace) -> int:
    """Start the command, and follow it to its end."""
    from orcha._cli import render, run_options
    from orcha.exceptions import OrchaError

    try:
        command = run_options.words_of(namespace, "orcha exec ID -- COMMAND")
        return _run(namespace, _message(namespace, command))
    except options.WrongOptionError as error:
        render.note(str(error))
        return USAGE_ERROR_CODE
    except BrokenPipeError:
        raise
    except (OrchaError, OSError, ValueError) as error:
        render.note(" ".join(str(error).split()))
        return OWN_FAILURE_CODE


def _message(namespace: argparse.Namespace, command: list[str]) -> dict[str, Any]:
    """Give the request."""
    from orcha._cli import run as running
    from orcha._cli.streams import are_one

    here = options.inherited()
    words = [*(["TERM"] if namespace.tty else []), *namespace.env]
    variables = [word if "=" in word else f"{word}={here[word]}" for word in words if "=" in word or word in here]
    made: dict[str, Any] = {
        "argv": [options.sent(word) for word in command],
        "beside": namespace.id,
        "label": f"beside {namespace.id}"[:MAX_LABEL_CHARACTERS],
        "env": options.environment({}, variables),
        "merge": are_one(),
    }
    if namespace.cwd is not None:
        made["cwd"] = options.sent(namespace.cwd)
    running.add_input(namespace, made)
    return made


def _run(namespace: argparse.Namespace, message: dict[str, Any]) -> int:
    from orcha._cli import run as running
    from orcha._cli.attached import Attached, Left
    from orcha._cli.connection import connected
    from orcha._cli.streams import Streams, fill_standard_descriptors
    from orcha._protocol.identities import new_identity

    fill_standard_descriptors()
    name, token, streams = running.made_up(message["argv"][0]), new_identity(), Streams()
    with connected(streams.tell) as service:
        attached = Attached(service, streams, name, token=token, on_disconnect="cancel")
        try:
            with attached.signals():
                return running.attach_to(namespace, attached, service, streams, (name, token, message))
        except Left as left:
            if left.line:
                streams.tell(left.line)
            return left.code
