"""``orcha priority``: let a petition that waits start sooner or later."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
example:
  orcha priority nightly -5
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Give a waiting petition another priority: the lower starts first."
    parser.epilog = _EPILOG
    parser.add_argument("id", type=options.written, metavar="ID", help="its id")
    parser.add_argument("priority", metavar="N", type=options.number, help="a number; 0 where nothing else was said")


def run(namespace: argparse.Namespace) -> int:
    """Change it."""
    from orcha._cli import per_petition

    return per_petition.do_for_each(
        [namespace.id],
        lambda service, identity: service.done(service.set_priority(namespace.priority, identity), identity),
    )
