"""``orcha signal``: send a signal to what a petition runs."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  orcha signal train USR1
  orcha signal web api HUP
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Send a signal to every process of running commands. To end one, use orcha cancel."
    parser.epilog = _EPILOG
    parser.add_argument("ids", nargs="+", type=options.written, metavar="ID", help="ids of commands that run")
    parser.add_argument("signal", type=options.signal_number, metavar="SIGNAL", help="a name or number: USR1, HUP")


def run(namespace: argparse.Namespace) -> int:
    """Send it."""
    from orcha._cli import per_petition

    return per_petition.do_for_each(
        namespace.ids,
        lambda service, identity: service.done(service.send_signal(namespace.signal, identity), identity),
    )
