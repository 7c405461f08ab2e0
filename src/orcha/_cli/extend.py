"""``orcha extend``: hold a lease longer."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  orcha extend lock-k3x9qz 1h
  orcha extend rig=a 30m
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Hold a lease longer than it was asked for. Those who wait for it see the new time."
    parser.epilog = _EPILOG
    add = parser.add_argument
    what = "its id, or what it has: rig=a, gpu:2, gpu"
    add("name", type=options.written, metavar="ID|NAME[=DEVICE]", help=what)
    add("seconds", type=options.duration, metavar="T", help="how much longer: 90, 30m, 1h")


def run(namespace: argparse.Namespace) -> int:
    """Extend the lease; give 1 where that cannot be."""
    from orcha._cli import per_petition, render

    def extend(service: per_petition.Session, name: str) -> None:
        known = service.done(service.change_lease(name, namespace.seconds), name)
        until = "" if known["until"] is None else f" until {render.clock(known['until'])}"
        behind = known["behind"]
        waiting = f"; {behind} wait{'s' if behind == 1 else ''} for what it has" if behind else ""
        render.line(f"{known['id']} lasts{until or ' longer'}{waiting}")

    return per_petition.do_for_each([namespace.name], extend)
