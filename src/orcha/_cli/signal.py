"""``orcha signal``: send a signal to the processes of petitions."""

from __future__ import annotations

from orcha._cli import options, selecting
from orcha._cli.exit_codes import USAGE_ERROR_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  orcha signal train USR1
  orcha signal --group web HUP
  orcha signal web api HUP
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Send a signal to every process of running commands. To end one, use orcha cancel."
    parser.epilog = _EPILOG
    selecting.add_ids(parser)
    parser.add_argument("signal", type=options.signal_number, metavar="SIGNAL", help="a name or number: USR1, HUP")
    selecting.add_options(parser)


def run(namespace: argparse.Namespace) -> int:
    """Send the signal; give 1 where it could not be sent to a petition."""
    from orcha._cli import per_petition

    selector = selecting.selector_of(namespace)
    if selecting.names_none(namespace, selector):
        return USAGE_ERROR_CODE
    if selector is not None:
        return selecting.apply(namespace, "signal", selector, {"signal": namespace.signal})
    return per_petition.do_for_each(
        namespace.ids,
        lambda service, identity: service.done(service.send_signal(namespace.signal, identity), identity),
    )
