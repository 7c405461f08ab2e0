"""``orcha stop``: stop the service in good order, and return when it has."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  orcha stop
  orcha stop --keep-commands   # to go on with them after an upgrade
  orcha stop --now

What waits stays, and goes on at the next start. What runs has 10 s to come to its end; then it is ended as interrupted.
"""
_PATIENCE = 120.0
"""Seconds a service may take to stop: longer than all its own deadlines together."""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Stop the service in good order, and return when it has stopped."
    parser.epilog = _EPILOG
    parser.add_argument("--keep-commands", action="store_true", help="leave commands running until the next start")
    parser.add_argument("--now", action="store_true", help="give what runs no time to come to its end")


def run(namespace: argparse.Namespace) -> int:
    """Ask, and wait until its place is free."""
    from orcha._cli import render
    from orcha._cli.connection import connected
    from orcha._wire.messages import Verdict

    with connected(lambda _: None) as client:
        reply = client.stop(keep_commands=namespace.keep_commands, now=namespace.now)
        lock = client.endpoint.lock_path
    if reply.verdict != Verdict.OK:
        render.note(reply.reason or "the service does not stop")
        return 77 if reply.verdict == Verdict.DENIED else 1
    if wait_until_free(lock, _PATIENCE):
        return 0
    render.note(f"the service has not stopped after {_PATIENCE:g} s")
    return 75


def wait_until_free(lock: str, seconds: float) -> bool:
    """Wait until nobody holds an endpoint's lock; False where that takes longer."""
    import time  # noqa: TID251 - it waits for another process

    until = time.monotonic() + seconds
    while is_held(lock):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def is_held(lock: str) -> bool:
    """Tell whether a process holds an endpoint's lock: fcntl(2), F_GETLK, which takes nothing."""
    import fcntl
    import os
    import struct

    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind: int = struct.unpack_from("h", fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[0]
    finally:
        os.close(descriptor)
    return kind != fcntl.F_UNLCK
