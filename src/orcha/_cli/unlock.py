"""``orcha unlock``: give leases back."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  orcha unlock lock-k3x9qz
  orcha unlock rig=a
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Give leases back before their time is over, or give up leases that wait."
    parser.epilog = _EPILOG
    what = "its id, or what it has: rig=a, gpu:2, gpu"
    parser.add_argument("names", nargs="+", type=options.written, metavar="ID|NAME[=DEVICE]", help=what)


def run(namespace: argparse.Namespace) -> int:
    """Give each lease back; give 1 where a lease could not be given back."""
    from orcha._cli import per_petition

    return per_petition.do_for_each(
        namespace.names, lambda service, name: service.done(service.change_lease(name, None), name)
    )
