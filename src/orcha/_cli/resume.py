"""``orcha resume``: continue paused petitions, groups, or everything."""

from __future__ import annotations

from orcha._cli import options, selecting

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  orcha resume make-k3x9qz
  orcha resume --group nightly
  orcha resume --owner alice --state running
  orcha resume --all
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Undo orcha pause with the same arguments; a petition that an interruption held runs again."
    parser.epilog = _EPILOG
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "ids", nargs="*", default=[], type=options.written, metavar="ID", help="an id; may hold wildcards: 'train-*'"
    )
    what.add_argument("-g", "--group", type=options.name, metavar="G", help="a group")
    what.add_argument("-a", "--all", action="store_true", help="everything")
    selecting.add_options(parser, group=False)


def run(namespace: argparse.Namespace) -> int:
    """Resume the petitions, the group or everything; give 1 where a petition could not be resumed."""
    return selecting.do_to_group_or_each(
        namespace, "resume", lambda service, name, group: service.resume(name, group=group)
    )
