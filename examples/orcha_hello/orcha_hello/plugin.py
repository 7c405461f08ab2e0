"""The commands ``orcha hello serve`` and ``orcha hello send``, and the manager that ``orcha serve`` serves."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn
from uuid import uuid4

from orcha.interfaces import Message
from orcha.lib import ClientManager
from orcha.plugins import BasePlugin
from orcha.utils import version
from orcha_hello.manager import HelloManager


class HelloPlugin(BasePlugin):
    """Greets with a countdown."""

    name = "hello"
    aliases = ("hi",)
    help = "greet with a countdown"
    manager = HelloManager

    def create_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add the two commands."""
        commands = parser.add_subparsers(metavar="command", required=True)

        serve = commands.add_parser("serve", help="start the service in the foreground")
        serve.add_argument("--at-once", type=int, default=2, metavar="N", help="countdowns at the same time (2)")
        serve.set_defaults(run=start)

        send = commands.add_parser("send", help="ask for a greeting and print it as it comes")
        send.add_argument("name", help="who is greeted")
        send.add_argument("--id", default=None, help="the petition's id (random)")
        send.add_argument("--start", type=int, default=3, metavar="N", help="first number of the countdown (3)")
        send.add_argument("--pause", type=float, default=0.0, metavar="SECONDS", help="between two numbers (0)")
        send.set_defaults(run=greet)

    def handle(self, namespace: argparse.Namespace) -> int:
        """Run the command that was given."""
        code: int = namespace.run(namespace)
        return code

    @staticmethod
    def version() -> str:
        """Give the line for ``orcha ls``."""
        return f"orcha-hello - {version('orcha-hello')}"


def start(arguments: argparse.Namespace) -> NoReturn:
    """Serve until SIGTERM or Ctrl+C."""
    from orcha.interfaces import ServiceWrapper, start_service

    start_service(ServiceWrapper(HelloManager(at_once=arguments.at_once)))


def greet(arguments: argparse.Namespace) -> int:
    """Ask for a greeting, print it line by line, and exit with its code; Ctrl+C cancels it."""
    manager = ClientManager()
    if not manager.connect():
        sys.stderr.write("orcha hello: the service refused the key\n")
        return 77
    queue = manager.manager.Queue()
    message = Message(
        id=arguments.id or uuid4().hex,
        extras={"queue": queue, "name": arguments.name, "start": arguments.start, "pause": arguments.pause},
    )
    manager.send(message)
    while True:
        try:
            value = queue.get()
            if not isinstance(value, str):
                return value or 0
            print(value, end="", flush=True)
        except KeyboardInterrupt:  # wherever it comes: what follows is what the cancel leaves, 130 where it ended it
            manager.finish(message)
