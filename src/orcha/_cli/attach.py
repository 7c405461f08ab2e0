"""``orcha attach``: follow a petition from its first byte to its end, as if it had been started here."""

from __future__ import annotations

from orcha._cli import options
from orcha._cli.exit_codes import OWN_FAILURE_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from orcha._cli.session import Session
    from orcha._cli.streams import Streams

_EPILOG = """\
example:
  orcha attach make-k3x9qz

Ctrl+C cancels it, Ctrl+] d leaves it running.
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Follow a petition from its first byte on, and end with its exit code."
    parser.epilog = _EPILOG
    parser.add_argument("id", type=options.written, metavar="ID", help="its id")
    parser.add_argument("-i", "--stdin", action="store_true", help="pass standard input, where it takes any")
    options.add_on_disconnect(parser)
    options.add_raw(parser)


def run(namespace: argparse.Namespace) -> int:
    """Follow the petition; give the exit code."""
    return attach(namespace.id, stdin=namespace.stdin, on_disconnect=namespace.on_disconnect, raw=namespace.raw)


def attach(name: str, *, stdin: bool = False, on_disconnect: str | None = None, raw: bool = False) -> int:
    """Follow the petition of this id to its end; give its exit code, 125 where it cannot be followed."""
    from orcha._cli import render
    from orcha._cli.connection import connected
    from orcha._cli.streams import Streams, fill_standard_descriptors, input_waits
    from orcha.exceptions import OrchaError

    left = not stdin and input_waits()
    fill_standard_descriptors()
    streams = Streams()
    if left and streams.is_terminal:
        streams.tell("standard input is not passed on: orcha attach --stdin passes it, where the command takes any")
    try:
        with connected(streams.tell) as service:
            if streams.has_terminal and not raw and service.is_anothers(service.details(name)):
                streams.be_careful()
            return follow(service, streams, name, stdin=stdin, on_disconnect=on_disconnect)
    except (OrchaError, OSError, ValueError) as error:
        render.note(" ".join(str(error).split()))
        return OWN_FAILURE_CODE


def follow(
    service: Session, streams: Streams, name: str, *, stdin: bool = False, on_disconnect: str | None = None
) -> int:
    """Follow the petition of this id to its end; give its exit code.

    Raises:
        OrchaError: there is no such petition, it is another user's, or there is no service.

    """
    from orcha._cli.attached import Attached, Detached, Left
    from orcha._cli.terminal_input import Typing

    details = service.details(name)
    command = details.get("command") or {}
    tty = bool(command.get("tty")) and details["state"] != "ended"
    if command.get("stdin") and not (stdin or tty) and details["state"] != "ended" and streams.is_terminal:
        streams.tell(f"it takes standard input, which comes from here with --stdin: orcha attach --stdin {name}")
    typing = Typing(service, streams, name, forward=stdin or tty, tty=tty, detach=Detached)
    again = bool(command.get("retry") or details.get("retry")) or details["on_interrupt"] == "rerun"
    again = again or command.get("preemptible") == "requeue"
    attached = Attached(
        service, streams, name, command=bool(command), ours=False, again=again, on_disconnect=on_disconnect
    )
    try:
        with attached.signals():
            channel = service.output(details)
            if (last := details.get("last_element")) is None:
                return attached.follow(channel, typing)
            from orcha._cli.array_output import ArrayChannel

            shown = ArrayChannel(service, channel, f"{name}.{last}", is_careful=streams.is_careful)
            return attached.follow(shown)
    except Left as left:
        if left.line:
            streams.tell(left.line)
        return left.code
