"""``orcha cancel``: end petitions, whatever they are doing."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
example:
  orcha cancel make-k3x9qz nightly
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "End petitions; returns when nothing of them runs any more."
    parser.epilog = _EPILOG
    parser.add_argument("ids", nargs="+", type=options.written, metavar="ID", help="an id")
    parser.add_argument("--now", action="store_true", help="kill at once, without asking it to end first")
    parser.add_argument("--why", default="", metavar="TEXT", help="a reason, kept with it")


def run(namespace: argparse.Namespace) -> int:
    """Cancel each; 1 where one could not be."""
    from orcha._cli import per_petition, render

    def cancel(service: per_petition.Session, identity: str) -> None:
        outcome = service.done(service.cancel(id=identity, why=namespace.why, at_once=namespace.now), identity)
        if outcome not in {None, "cancelled"}:
            render.note(f"{render.plain(identity)} had ended: {outcome}")

    return per_petition.do_for_each(namespace.ids, cancel)
