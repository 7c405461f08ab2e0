"""``orcha stats``: print how much the service has done, and how fast."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any


_COUNTS = ("managers", "states", "outcomes", "rates")
_EPILOG = """\
examples:
  orcha stats
  orcha stats --json
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Show counts, rates and waiting times of the service."
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="print a JSON object; times are ISO 8601, in UTC")


def run(namespace: argparse.Namespace) -> int:
    """Ask the service, and print its figures."""
    from orcha._cli import descriptions, render
    from orcha._cli.connection import connected

    with connected() as service:
        found: dict[str, Any] = service.done(service.stats())
    if namespace.json:
        times: dict[str, Any] = {"started": render.iso(found["started"])}
        if known := found.get("configuration"):
            times["configuration"] = known | {"read": render.iso(known["read"])}
        render.json(descriptions.as_json(found | times, times=()))
        return 0
    for name, value in lines(found):
        render.named(name, value)
    return 0


def lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give names and values as people read them."""
    from orcha._cli import descriptions, render

    for name, value in found.items():
        if descriptions.is_nothing(value):
            continue
        if name in _COUNTS:
            served = name == "managers"  # also where nothing of one runs; its name is that of a module
            text = ", ".join(
                f"{render.plain(key if served else key.replace('_', ' '))} {each:.4g}"
                for key, each in value.items()
                if each or served
            )
        elif name == "configuration":  # bytes are read elsewhere
            text = descriptions.value(name, value | {"read": descriptions.value("started", value["read"])})
        else:
            text = descriptions.value(name, value)
        yield name.replace("_", " "), text or "none"
