"""``orcha undrain``: let petitions start again after ``orcha drain``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
example:
  orcha undrain
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Start petitions again, after orcha drain."
    parser.epilog = _EPILOG


def run(namespace: argparse.Namespace) -> int:
    """Ask the service to undrain."""
    from orcha._cli.connection import connected

    del namespace
    with connected() as service:
        service.done(service.undrain())
    return 0
