"""``orcha priority``: let a petition that waits start sooner or later."""

from __future__ import annotations

from orcha._cli import options, selecting
from orcha._cli.exit_codes import USAGE_ERROR_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  orcha priority nightly -5
  orcha priority --owner alice --group gpu 10
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Give a waiting petition another priority: the lower starts first."
    parser.epilog = _EPILOG
    selecting.add_ids(parser)
    parser.add_argument("priority", metavar="N", type=options.number, help="a number; 0 where nothing else was said")
    selecting.add_options(parser)


def run(namespace: argparse.Namespace) -> int:
    """Change the priorities; give 1 where a priority could not be changed."""
    from orcha._cli import per_petition

    selector = selecting.selector_of(namespace)
    if selecting.names_none(namespace, selector):
        return USAGE_ERROR_CODE
    if selector is not None:
        return selecting.apply(namespace, "priority", selector, {"priority": namespace.priority})
    return per_petition.do_for_each(
        namespace.ids,
        lambda service, identity: service.done(service.set_priority(namespace.priority, identity), identity),
    )
