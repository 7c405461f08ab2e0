"""``orcha rm``: forget petitions that have ended."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
example:
  orcha rm make-k3x9qz
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Forget petitions that have ended, and their output."
    parser.epilog = _EPILOG
    parser.add_argument("ids", nargs="+", type=options.written, metavar="ID", help="an id")


def run(namespace: argparse.Namespace) -> int:
    """Forget each; 1 where one could not be."""
    from orcha._cli import per_petition

    return per_petition.do_for_each(namespace.ids, lambda service, name: service.done(service.remove(name), name))
