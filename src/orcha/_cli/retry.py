"""``orcha retry``: ask once more for a petition that has ended."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
example:
  orcha retry make-k3x9qz --attach
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Run an ended petition once more: the same message, under the same id."
    parser.epilog = _EPILOG
    parser.add_argument("id", type=options.written, metavar="ID", help="its id")
    parser.add_argument("-a", "--attach", action="store_true", help="follow it, and end with its exit code")
    parser.add_argument("-i", "--stdin", action="store_true", help="follow it, and pass standard input")


def run(namespace: argparse.Namespace) -> int:
    """Ask, and follow it where that is wanted."""
    from orcha._cli import attach, each

    code = each.of([namespace.id], lambda service, identity: service.done(service.retry(identity), identity))
    if code or not (namespace.attach or namespace.stdin):
        return code
    return attach.attach(namespace.id, stdin=namespace.stdin)
