"""``orcha stop``: stop the service in good order, and return when it has stopped."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from typing import Any

    from orcha._cli.session import Session

_EPILOG = """\
examples:
  orcha stop
  orcha stop --end-commands
  orcha stop --now

What waits stays, and goes on at the next start. Commands go on running, and the
next start finds them. Actions in Python have 10 s to come to their end; then
they are ended as interrupted. SIGTERM to the service does the same.
"""
_MAX_STOP_SECONDS = 120.0
"""Seconds a service may take to stop: longer than all its own deadlines together."""
_RUNNING_STATES = 0b111000
"""The states of running petitions, as a bit mask: starting, running, cancelling."""
_WAITING_STATES = 0b000110
_MAX_NAMED_PETITIONS = 3
"""How many petitions are named in a line."""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    from argparse import RawDescriptionHelpFormatter

    parser.description = "Stop the service in good order, and return when it has stopped."
    parser.epilog = _EPILOG
    parser.formatter_class = RawDescriptionHelpFormatter
    commands = parser.add_mutually_exclusive_group()
    commands.add_argument("--end-commands", action="store_true", help="end running commands too, as interrupted")
    commands.add_argument(
        "--keep-commands", action="store_true", help="leave them running, also where ORCHA_KEEP_COMMANDS is 0"
    )
    parser.add_argument("--now", action="store_true", help="end all that runs, and give it no time")


def run(namespace: argparse.Namespace) -> int:
    """Ask the service to stop, and wait until its endpoint is free."""
    import sys

    from orcha._cli import render
    from orcha._cli.background import PIDFILE
    from orcha._cli.connection import connected
    from orcha._protocol.messages import Verdict

    keep, end, now = namespace.keep_commands, namespace.end_commands, namespace.now
    counter = Counter("", 0.0)
    with connected(lambda _: None) as client:
        if sys.stderr is not None:
            counter = say_what_runs(client, keep=keep, end=end, now=now, all_of_it=sys.stderr.isatty())
        process = _process_of_another(client)
        reply = client.stop(keep_commands=keep, now=now, end_commands=end)
        endpoint = client.endpoint
    if reply.verdict != Verdict.OK:
        render.note(reply.reason or "the service does not stop")
        return 77 if reply.verdict == Verdict.DENIED else 1
    if endpoint.ssh is not None:
        from orcha._client.dial_ssh import wait_until_stopped

        wait_until_stopped(endpoint.ssh)
        return 0
    try:
        if process is not None:
            is_gone = _has_ended(process)
        else:
            is_gone = wait_until_gone(endpoint.lock_path, f"{endpoint.folder}/{PIDFILE}", counter)
    except PermissionError:
        render.note("the service is stopping; its lock is closed to this user, so its end cannot be seen from here")
        return 75
    if is_gone:
        return 0
    render.note(still_runs_text())
    return 75


def _process_of_another(client: Session) -> int | None:
    """Give a descriptor of the service's process where its lock is closed to this user; else None.

    So it is for an admin of the machine's service who is not root. pidfd_open(2) asks for no rights. From another pid
    namespace, as in a container, the process cannot be had, nor over TCP, where the kernel names no process.
    """
    import contextlib
    import os

    from orcha._protocol.socket_ends import service_pid

    if client.endpoint.ssh is not None:
        return None
    try:
        is_held(client.endpoint.lock_path)
    except PermissionError:
        found: dict[str, Any] = client.done(client.stats())
        if client.connection is not None and client.connection.transport == "unix":
            with contextlib.suppress(OSError):
                pid = service_pid(client.connection.sock, found["pid"])
                return None if pid is None else os.pidfd_open(pid)
    return None


def _has_ended(process: int) -> bool:
    """Wait until a process has ended; False where that takes too long."""
    import os
    import select

    poll = select.poll()
    poll.register(process, select.POLLIN)
    ended = poll.poll(_MAX_STOP_SECONDS * 1000)
    os.close(process)
    return bool(ended)


def still_runs_text() -> str:
    """Say that the service takes too long to stop."""
    return f"the service has not stopped after {_MAX_STOP_SECONDS:g} s"


class Counter:
    """A line on a terminal that counts down the seconds of a grace."""

    def __init__(self, what: str, seconds: float) -> None:
        """Take the text of the line; nothing is shown where it is empty."""
        self._what = what
        self._seconds = seconds
        self._shown: int | None = None

    def show(self, passed: float) -> None:
        """Show the seconds that are left, where they differ from the seconds shown."""
        left = max(0, -int(passed - self._seconds))
        if self._what and left != self._shown:
            self._shown = left
            _write(f"\rorcha: {self._what}: {left:>3} s ")

    def end(self) -> None:
        """End the line."""
        if self._shown is not None:
            _write("\n")


def _write(text: str) -> None:
    import sys

    sys.stderr.write(text)
    sys.stderr.flush()


def say_what_runs(client: Session, *, keep: bool, end: bool, now: bool, all_of_it: bool) -> Counter:
    """Say on stderr what stays behind since nothing can kill it; with `all_of_it` say what becomes of everything.

    Returns what counts the time that actions have.
    """
    from orcha._cli import render
    from orcha._protocol.messages import Verdict

    reply = client.stats()
    if reply.verdict != Verdict.OK or reply.value is None:  # it is told by the answer to the stop
        return Counter("", 0.0)
    known = client.decode(reply.value)
    rows = client.rows(_RUNNING_STATES, 1_000)
    for row in rows:
        if is_outlived(row):
            render.note(f"{row['id']} stays behind: {row['why']}")
    rows = [row for row in rows if not is_outlived(row)]
    if not all_of_it:
        return Counter("", 0.0)
    kept = keep or (not end and not now and known["stop"]["keeps_commands"])
    grace = 0.0 if now else known["stop"]["grace"]
    for line in lines(rows, known["states"]["queued"] + known["states"]["held"], kept=kept, grace=grace):
        render.note(line)
    actions = [row for row in rows if row.get("command") is None]
    counts = actions and grace and render.takes_escapes()
    return Counter(f"{_some(len(actions), 'action')} in Python may come to an end" if counts else "", grace)


def is_outlived(row: dict[str, Any]) -> bool:
    """Tell whether processes of this petition live on that nothing can kill."""
    from orcha._protocol.shown_reasons import OUTLIVED

    return str(row.get("why")).startswith(OUTLIVED.partition("{")[0])


def lines(rows: Sequence[dict[str, Any]], waiting: int, *, kept: bool, grace: float) -> Iterator[str]:
    """Give the lines about running petitions, and about how many wait.

    >>> list(lines([{"id": "m1", "command": "make"}], 2, kept=True, grace=10.0))[0]
    '1 command goes on running, and the next start finds it: m1'
    """
    commands = [str(row["id"]) for row in rows if row.get("command") is not None]
    actions = [str(row["id"]) for row in rows if row.get("command") is None]
    one = len(commands) == 1
    if commands and kept:
        goes = "goes on running, and the next start finds it" if one else "go on running, and the next start finds them"
        yield f"{_some(len(commands), 'command')} {goes}: {_names(commands)}"
    elif commands:
        yield f"{_some(len(commands), 'command')} {'is' if one else 'are'} ended as interrupted: {_names(commands)}"
    if actions:
        are = "is" if len(actions) == 1 else "are"
        time = f"{'has' if are == 'is' else 'have'} {grace:g} s to end, then {are}" if grace else are
        yield f"{_some(len(actions), 'action')} in Python {time} interrupted: {_names(actions)}"
    if waiting:
        yield f"{waiting} {'waits' if waiting == 1 else 'wait'} until the next start"


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _names(identities: Sequence[str]) -> str:
    from orcha._cli import render

    shown = ", ".join(render.plain(identity) for identity in identities[:_MAX_NAMED_PETITIONS])
    return (
        shown
        if len(identities) <= _MAX_NAMED_PETITIONS
        else f"{shown} and {len(identities) - _MAX_NAMED_PETITIONS} more"
    )


def wait_until_gone(lock: str, pidfile: str, counter: Counter | None = None) -> bool:
    """Wait until a service has let go of its endpoint, and its daemon of the pidfile, which it does last."""
    return all(wait_until_free(path, _MAX_STOP_SECONDS, counter) for path in (lock, pidfile))


def wait_until_free(lock: str, seconds: float, counter: Counter | None = None) -> bool:
    """Wait until nobody holds the lock of a file; False where that takes longer."""
    import time  # noqa: TID251 - it waits for another process

    begun = time.monotonic()
    try:
        while is_held(lock):
            passed = time.monotonic() - begun
            if passed > seconds:
                return False
            if counter is not None:
                counter.show(passed)
            time.sleep(0.02)
    finally:
        if counter is not None:
            counter.end()
    return True


def is_held(lock: str) -> bool:
    """Tell whether a process holds the lock of a file: fcntl(2), F_GETLK, which takes nothing."""
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
