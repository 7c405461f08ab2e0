"""``orcha retry``: ask once more for a petition that has ended."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from orcha._cli.session import Session

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
    from orcha._cli import attach, per_petition

    follows = namespace.attach or namespace.stdin
    code = per_petition.do_for_each([namespace.id], _again if follows else _again_alone)
    return attach.attach(namespace.id, stdin=namespace.stdin) if follows and not code else code


def _again(service: Session, identity: str) -> None:
    service.done(service.retry(identity), identity)


def _again_alone(service: Session, identity: str) -> None:
    """Ask, and say so where the new petition waits for standard input: that of the ended one is not kept."""
    from orcha._cli import render

    _again(service, identity)
    if (service.details(identity)["command"] or {}).get("stdin"):
        name = render.plain(identity)
        render.note(f"it waits for standard input, which is not kept: bring it with orcha attach --stdin {name}")
