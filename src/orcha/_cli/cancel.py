"""``orcha cancel``: end petitions, whether they wait or run."""

from __future__ import annotations

from orcha._cli import selecting
from orcha._cli.exit_codes import USAGE_ERROR_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  orcha cancel make-k3x9qz nightly
  orcha cancel --group nightly --state queued
  orcha cancel 'train-*' --dry-run
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "End petitions; returns when nothing of them runs any more."
    parser.epilog = _EPILOG
    selecting.add_ids(parser)
    parser.add_argument("--now", action="store_true", help="kill at once, without asking it to end first")
    parser.add_argument("--why", default="", metavar="TEXT", help="a reason, kept with it")
    selecting.add_options(parser)


def run(namespace: argparse.Namespace) -> int:
    """Cancel each petition; give 1 where a petition could not be cancelled."""
    from orcha._cli import per_petition, render

    selector = selecting.selector_of(namespace)
    if selecting.names_none(namespace, selector):
        return USAGE_ERROR_CODE
    if selector is not None:
        arguments = {"why": namespace.why, "at_once": namespace.now}
        return selecting.apply(namespace, "cancel", selector, arguments)

    def cancel(service: per_petition.Session, identity: str) -> None:
        outcome = service.done(service.cancel(id=identity, why=namespace.why, at_once=namespace.now), identity)
        if outcome not in {None, "cancelled"}:
            render.note(f"{render.plain(identity)} had ended: {outcome}")

    return per_petition.do_for_each(namespace.ids, cancel)
