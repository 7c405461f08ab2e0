"""``orcha watchdog``: whether the service lives, all the way through."""

from __future__ import annotations

import errno
import os
import sys

from orcha import properties
from orcha.plugins.base import BasePlugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


_MAX_DURATION_SECONDS = 100 * 365 * 86_400


class WatchdogPlugin(BasePlugin):
    """Send the service a petition that comes before every other, and wait for its answer."""

    name = "watchdog"
    aliases = ("wd",)
    help = "ask the service for a sign of life"

    def create_parser(self, parser: argparse.ArgumentParser) -> None:
        """Take the time to wait."""
        parser.description = (
            "Send the service a petition that comes before every other, and wait for its answer. Exit code 0: it lives "
            f"and has told systemd so. {errno.EPERM}: it lives, but does not notify systemd. {errno.ETIMEDOUT}: no "
            "answer in time. 69: no service."
        )
        parser.epilog = "example:\n  orcha watchdog --timeout 5\n"
        parser.add_argument(
            "--timeout", type=_seconds, default=None, metavar="SECONDS", help="give up after this time (default: never)"
        )

    def handle(self, namespace: argparse.Namespace) -> int:
        """Ask, and say what came."""
        from queue import Empty

        from orcha.exceptions import AuthenticationError
        from orcha.lib import WatchdogClientManager

        manager = WatchdogClientManager()
        _tell("STATUS=Connecting to the service")
        if not manager.connect():
            raise AuthenticationError
        _tell("READY=1")
        queue = manager.manager.Queue()
        manager.send_watchdog(queue)
        _tell("STATUS=Waiting for the service's answer")
        try:
            answer = queue.get(timeout=namespace.timeout)
            while isinstance(answer, str):
                _say(answer)
                answer = queue.get(timeout=namespace.timeout)
        except Empty:
            _say(f"no answer from the service within {namespace.timeout} s")
            _tell(f"STATUS=No answer within {namespace.timeout} s\nERRNO={errno.ETIMEDOUT}")
            return errno.ETIMEDOUT
        code = answer if isinstance(answer, int) else 0
        if code == errno.EPERM:
            _say("the service lives, but does not notify systemd")
        _tell(f"STATUS=The service answered {code}")
        return code

    @staticmethod
    def version() -> str:
        """Give its line in the list; it is released with Orcha."""
        from orcha.utils.packages import own_version

        return f"watchdog* - {own_version()}"


def _seconds(text: str) -> float:
    """Read a time to wait."""
    import argparse

    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _MAX_DURATION_SECONDS:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} cannot be: give seconds, from 0 to {_MAX_DURATION_SECONDS}")
    return value


def _say(line: str) -> None:
    """Write a line to stderr."""
    if sys.stderr is not None:
        sys.stderr.write(f"orcha: {line.rstrip()}\n")


def _tell(state: str) -> None:
    """Tell systemd, with ``orcha --systemd``."""
    if properties.systemd and "NOTIFY_SOCKET" in os.environ:
        from orcha.utils.systemd import notify

        notify(state)


__all__ = ["WatchdogPlugin"]
