"""``orcha drain``: let running petitions come to their ends, and start no other petition."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  orcha drain --why "a new disk at noon"
  orcha drain --for 2h
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Let what runs come to its end, and start nothing more, over restarts of the service too. Commands are taken"
        " still, and wait. orcha undrain has them started."
    )
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("--for", dest="seconds", type=options.duration, metavar="T", help="until that time is over: 90s, 30m, 2h")
    add("--why", default="", type=options.label, metavar="TEXT", help="shown to who waits")


def run(namespace: argparse.Namespace) -> int:
    """Ask the service to drain, and print what still runs."""
    from orcha._cli import render
    from orcha._cli.connection import connected

    with connected() as service:
        service.done(service.drain(why=namespace.why, seconds=namespace.seconds))
        found = service.done(service.stats())
    left = sum(found["states"].get(name, 0) for name in ("starting", "running", "cancelling"))
    still = "1 petition runs still" if left == 1 else f"{left} petitions run still" if left else "nothing runs"
    until = (found["drained"] or {}).get("until")
    end = "" if until is None else f"{render.clock(until)}, or "
    render.note(f"{still}, and nothing starts until {end}orcha undrain")
    return 0
