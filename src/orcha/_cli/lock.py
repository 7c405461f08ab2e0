"""``orcha lock``: take a device, an amount of a resource, or the whole machine for a while."""

from __future__ import annotations

import argparse

from orcha._cli import options, run_options
from orcha._cli.exit_codes import OWN_FAILURE_CODE, USAGE_ERROR_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orcha._cli.session import Session
    from orcha._cli.streams import Streams

_EPILOG = """\
examples:
  orcha lock rig=a --for 2h --why soldering
  orcha lock gpu=2 --detach
  orcha lock --exclusive --for 30m --why benchmark -- ./bench.sh
  orcha lock --no-wait rig -- ./flash.sh

It waits in the same line as petitions, and then holds what it got: until its time is over, Ctrl+C, or
orcha unlock. With a COMMAND, which runs here, it holds until that ends, and ends with its exit code.
"""
DEFAULT_SECONDS = 3600.0
"""How long a lease lasts where neither a duration nor a command is given."""
_REPEATABLE: dict[str, Any] = {"action": "append", "default": []}


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Take something for a while: wait until it is free, and hold it."
    parser.usage = "orcha lock [options] [NAME[=WHAT] ...] [-- COMMAND [ARGUMENT ...]]"
    parser.epilog = _EPILOG
    parser.allow_abbrev = False
    add = parser.add_argument
    what = "a resource: rig (one of it), rig=2, gpu=0.5, gpu=1@mem>=20G, or the device rig=a, gpu:2"
    add("what", nargs="*", type=options.written, metavar="NAME[=WHAT]", help=what)
    add("--exclusive", action="store_true", help="take the whole machine: nothing else runs meanwhile")
    add("--for", dest="seconds", type=options.duration, metavar="T", help="how long: 90, 2h (default: 1h)")
    add("--why", default="", type=options.label, metavar="TEXT", help="what for; shown to people who wait for it")
    add("--name", type=options.identity, metavar="ID", help="its id (default: made up)")
    add("-p", "--priority", metavar="N", type=options.number, help="the lower gets it first (default: 0)")
    run_options.add_time(parser)
    add("--queue-timeout", metavar="T", type=options.duration, help="give up when it has waited this long")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-n", "--no-wait", action="store_true", help="end with 1 where it cannot be had at once")
    how.add_argument("-d", "--detach", action="store_true", help="print the id, and let it wait and hold by itself")
    how.add_argument("--leave", action="store_true", help="wait until it is held, print the id, and leave it held")
    attached = "give it back where this client is gone for 30 seconds (default: only with a COMMAND)"
    add("--while-attached", action="store_true", help=attached)
    add("--shell", action="store_true", help="run a shell while it is held")
    options.leave_command_apart(parser)


def run(namespace: argparse.Namespace) -> int:
    """Ask for the lease, and hold it."""
    from orcha._cli import render
    from orcha.exceptions import OrchaError

    try:
        command = _command(namespace)
        message = extras(namespace, command)
        return _take(namespace, message, command)
    except options.WrongOptionError as error:
        render.note(str(error))
        return USAGE_ERROR_CODE
    except BrokenPipeError:
        raise  # nobody reads the id that is printed
    except (OrchaError, OSError, ValueError) as error:
        render.note(" ".join(str(error).split()))
        return OWN_FAILURE_CODE


def _command(namespace: argparse.Namespace) -> list[str]:
    """Give the command to run while the lease is held; empty for none."""
    import os

    command = list(namespace.command)
    if namespace.shell:
        if command:
            raise options.WrongOptionError("--shell is a command already: give one of the two")
        command = [os.environ.get("SHELL") or "/bin/sh"]
    if command and (namespace.detach or namespace.leave):
        which = "--detach" if namespace.detach else "--leave"
        raise options.WrongOptionError(f"a command runs here, while {which} leaves: orcha run --need runs it there")
    return command


def extras(namespace: argparse.Namespace, command: list[str]) -> dict[str, Any]:
    """Give what is sent.

    Raises:
        WrongOptionError: options do not go together.

    """
    from orcha.interfaces.needs import WHOLE

    needs: dict[str, int | str] = {WHOLE: 1} if namespace.exclusive else {}
    for text in namespace.what:
        resource, need = wanted(text)
        if resource in needs:
            raise options.WrongOptionError(f"{resource} is given twice: give it once, or ask for two leases")
        needs[resource] = need
    if not needs:
        raise options.WrongOptionError("nothing is named: orcha lock NAME, as in rig=a, or orcha lock --exclusive")
    if namespace.while_attached and (namespace.detach or namespace.leave):
        which = "--detach" if namespace.detach else "--leave"
        raise options.WrongOptionError(
            f"--while-attached holds it while this client is here, and with {which} the client leaves: give one of them"
        )
    seconds = namespace.seconds or (None if command else DEFAULT_SECONDS)
    made = {
        "needs": needs,
        "for": seconds,
        "why": namespace.why or None,
        "priority": namespace.priority,
        "queue_timeout": namespace.queue_timeout,
        "at": namespace.at,
        "delay": namespace.delay,
        "while_attached": (bool(command) or namespace.while_attached) or None,
    }
    return {name: value for name, value in made.items() if value is not None}


def wanted(text: str) -> tuple[str, int | str]:
    """Read what a lease takes: as for ``--need``; or the name of a device, or of a resource of which it takes one.

    >>> wanted("rig=a"), wanted("gpu:2"), wanted("gpu=2"), wanted("rig"), wanted("gpu=0.5@mem>=20G")
    (('rig', '1@name=a'), ('gpu', '1@name=2'), ('gpu', 2), ('rig', 1), ('gpu', '0.5@mem>=20G'))

    Raises:
        WrongOptionError: the text cannot be read.

    """
    from orcha.interfaces.needs import read_amount

    head = text.partition("@")[0]
    resource, sign, value = head.partition("=")
    if not sign:
        resource, sign, value = head.partition(":")
        if not sign and head == text:
            text = f"{text}=1"
        elif sign:
            text = f"{resource}=1@name={value}"
    elif head == text and read_amount(value) is None and value:
        text = f"{resource}=1@name={value}"
    try:
        return options.amount(text)
    except argparse.ArgumentTypeError as error:
        raise options.WrongOptionError(str(error)) from None


def _take(namespace: argparse.Namespace, message: dict[str, Any], command: list[str]) -> int:
    """Send the request, and hold the lease unless the client is to end at once."""
    from orcha._cli.connection import connected
    from orcha._cli.run import made_up
    from orcha._cli.streams import Streams, fill_standard_descriptors
    from orcha._protocol.identities import new_identity

    fill_standard_descriptors()
    name, token, streams = namespace.name or made_up("lock"), new_identity(), Streams()
    with connected(streams.tell) as service:
        if namespace.detach:
            from orcha._cli import render

            ask(service, token, name, message, None)
            render.line(name)
            return 0
        return _held(namespace, service, streams, (name, token, message), command)


def _held(
    namespace: argparse.Namespace,
    service: Session,
    streams: Streams,
    sent: tuple[str, bytes, dict[str, Any]],
    command: list[str],
) -> int:
    from orcha._cli.attached import Detached, Left
    from orcha._cli.lease import Lease
    from orcha._cli.terminal_input import Typing

    name, token, message = sent
    how = {"is_shell": namespace.shell, "leaves": namespace.leave}
    lease = Lease(service, streams, name, token=token, command=command, **how)
    typing = Typing(service, streams, name, forward=False, tty=False, detach=Detached)
    try:
        with lease.signals():
            channel = service.channel()
            message["queue"] = channel
            ask(service, token, name, message, channel.__orcha_channel__)
            if namespace.no_wait and not lease.is_had_at_once():
                return 1
            return lease.follow(channel, None if command else typing)
    except Left as left:
        if left.line:
            streams.tell(left.line)
        return left.code


def ask(service: Session, token: bytes, name: str, message: dict[str, Any], channel: bytes | None) -> None:
    """Ask for a lease.

    Raises:
        VerbRefusedError: the service does not accept the lease.

    """
    from orcha._cli.session import VerbRefusedError
    from orcha._protocol import values
    from orcha._protocol.messages import Item, Verdict
    from orcha.interfaces.built_in import LEASES

    result = service.submit([Item(token, name, values.encode(message), channel)], LEASES)[0]
    if result.verdict not in {Verdict.ACCEPTED, Verdict.KNOWN}:
        raise VerbRefusedError(result.reason or "the service refuses it, and does not say why")
