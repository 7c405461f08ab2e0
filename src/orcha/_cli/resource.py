"""``orcha resource``: list resources and their holders; change, drain and undrain resources and devices."""

from __future__ import annotations

from orcha._cli import options
from orcha.interfaces.needs import WHOLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

_EPILOG = """\
examples:
  orcha resource ls
  orcha resource drain gpu:2 --why "the fan is loud"
  orcha resource undrain gpu:2
  orcha resource set gpu=0,1,2,3
  orcha resource unset gpu
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Show what the service has for petitions that need it, and who has what; or change that."
    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add = verbs.add_parser("ls", help="show resources, devices, and who has what").add_argument
    add("--json", action="store_true", help="print a JSON array; times are ISO 8601, in UTC")
    add = verbs.add_parser("set", help="have this amount from now on, over restarts too").add_argument
    add(
        "resources",
        nargs="+",
        type=options.written,
        metavar="NAME=N",
        help="as for orcha serve --resource; forget for N to have nothing of it any more",
    )
    add = verbs.add_parser("unset", help="have the configuration hold again for what was set").add_argument
    add("names", nargs="+", type=options.written, metavar="NAME", help="a resource that was set")
    add = verbs.add_parser("drain", help="place nothing more there; what runs goes on").add_argument
    add("names", nargs="+", type=options.written, metavar="NAME[:DEVICE]", help="a resource, or a device of it")
    add("--why", default="", type=options.label, metavar="TEXT", help="shown to who waits for it")
    add = verbs.add_parser("undrain", help="place things there again").add_argument
    add("names", nargs="+", type=options.written, metavar="NAME[:DEVICE]", help="what is drained")


def run(namespace: argparse.Namespace) -> int:
    """Print the resources, or change a resource."""
    from orcha._cli import per_petition

    if namespace.verb == "ls":
        return _show(as_json=namespace.json)
    if namespace.verb == "set":
        return per_petition.do_for_each(
            namespace.resources, lambda service, text: service.done(service.set_resource(text), text)
        )
    if namespace.verb == "unset":
        return per_petition.do_for_each(
            namespace.names, lambda service, name: service.done(service.unset("resource", name), name)
        )
    why = namespace.why if namespace.verb == "drain" else None
    return per_petition.do_for_each(
        namespace.names, lambda service, name: service.done(service.drain_resource(name, why), name)
    )


def _show(*, as_json: bool) -> int:
    from orcha._cli import render
    from orcha._cli.connection import connected
    from orcha._cli.layout import Column

    with connected() as service:
        found = service.done(service.resources())["resources"]
    if as_json:
        render.json([_as_json(each) for each in found])
        return 0
    if not found:
        render.line("the service has no resources: serve with --resource gpu=2, or orcha resource set gpu=2")
        return 0
    titles = ("RESOURCE", "IN USE", "HELD BY", "STATE")
    render.table([Column(title) for title in titles], [row for each in found for row in rows(each)])
    return 0


def rows(known: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Give the lines of a resource: one, and one for each device.

    >>> gpu = {"name": "0", "properties": {"mem": 24}, "drained": {"why": "fan", "who": "uid:0"}, "holders": []}
    >>> for row in rows(dict(resource="gpu", capacity=1, held=0, waiting=2, drained=None, holders=[], devices=[gpu])):
    ...     print(row)
    ('gpu', '0 of 1', '', '2 wait')
    ('gpu:0 (mem=24)', '', '', 'drained: fan')
    """
    from orcha.interfaces.needs import in_units

    name, devices = known["resource"], known["devices"]
    name = "the whole machine" if name == WHOLE else name
    waiting = f"{known['waiting']} wait{'s' if known['waiting'] == 1 else ''}" if known["waiting"] else ""
    holders = "" if devices is not None else _holders(known["holders"])
    state = ", ".join(filter(None, (_drained(known["drained"]), waiting)))
    yield name, f"{in_units(known['held'])} of {in_units(known['capacity'])}", holders, state
    for device in devices or ():
        properties = ", ".join(
            f"{key}={value if isinstance(value, str) else in_units(value)}"
            for key, value in device["properties"].items()
        )
        yield (
            f"{name}:{device['name']}{f' ({properties})' if properties else ''}",
            "",
            _holders(device["holders"]),
            _drained(device["drained"]),
        )


def _holders(holders: list[dict[str, Any]]) -> str:
    from orcha._cli import descriptions

    named = ((each, f"{each['id'] or 'another user'}{_amount(each)}") for each in holders)
    return ", ".join(
        f"{name}{_until(each)}"
        if each.get("lease") is None
        else f"{name}, {descriptions.lent(each['lease'], each['until'])}"
        for each, name in named
    )


def _amount(holder: dict[str, Any]) -> str:
    from orcha.interfaces.needs import in_units

    amount = holder["amount"]
    return "" if amount == 1 else f" ({amount if isinstance(amount, str) else in_units(amount)})"


def _until(holder: dict[str, Any]) -> str:
    from orcha._cli import render

    return "" if holder["until"] is None else f" until {render.clock(holder['until'])} at the latest"


def _drained(drain: dict[str, Any] | None) -> str:
    if drain is None:
        return ""
    return f"drained: {drain['why']}" if drain["why"] else "drained"


def _as_json(known: dict[str, Any]) -> dict[str, Any]:
    from orcha._cli import render

    def told(drain: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if drain is None else drain | {"since": render.iso(drain["since"])}

    def held(holders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each | {"until": render.iso(each["until"])} for each in holders]

    devices = known["devices"]
    if devices is not None:
        devices = [each | {"drained": told(each["drained"]), "holders": held(each["holders"])} for each in devices]
    return known | {"drained": told(known["drained"]), "holders": held(known["holders"]), "devices": devices}
