"""``orcha pause``: let petitions rest."""

from __future__ import annotations

from orcha._cli import options, selecting

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  orcha pause make-k3x9qz
  orcha pause --group nightly
  orcha pause --owner alice --state running
  orcha pause --all
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Stop the processes of a running petition and hold back a waiting one, "
        "or start nothing more of a group, or of anything."
    )
    parser.epilog = _EPILOG
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "ids", nargs="*", default=[], type=options.written, metavar="ID", help="an id; may hold wildcards: 'train-*'"
    )
    what.add_argument("-g", "--group", type=options.name, metavar="G", help="a group")
    what.add_argument("-a", "--all", action="store_true", help="everything")
    selecting.add_options(parser, group=False)


def run(namespace: argparse.Namespace) -> int:
    """Pause the petitions, the group or everything; give 1 where a petition could not be paused."""
    return selecting.do_to_group_or_each(
        namespace, "pause", lambda service, name, group: service.pause(name, group=group)
    )
