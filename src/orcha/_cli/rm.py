"""``orcha rm``: forget petitions that have ended."""

from __future__ import annotations

from orcha._cli import selecting
from orcha._cli.exit_codes import USAGE_ERROR_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  orcha rm make-k3x9qz
  orcha rm --group nightly --state succeeded
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Forget petitions that have ended, and their output."
    parser.epilog = _EPILOG
    selecting.add_ids(parser)
    selecting.add_options(parser)


def run(namespace: argparse.Namespace) -> int:
    """Forget each petition; give 1 where a petition could not be forgotten."""
    from orcha._cli import per_petition

    selector = selecting.selector_of(namespace)
    if selecting.names_none(namespace, selector):
        return USAGE_ERROR_CODE
    if selector is not None:
        return selecting.apply(namespace, "rm", selector, {})
    return per_petition.do_for_each(namespace.ids, lambda service, name: service.done(service.remove(name), name))
