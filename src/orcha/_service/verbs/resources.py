"""What there is of resources, who has what of it, and what people decide about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._configuration.resource_texts import read_resources
from orcha._core.inventory import Drain
from orcha._core.record import Record
from orcha._protocol.messages import ListResources, Reply, SetResource, Verdict
from orcha._service.reports.lease_text import until
from orcha._service.verbs import answer_size as fitting
from orcha._service.verbs import lease_rows
from orcha._service.verbs.petition_lookup import refuse
from orcha._service.verbs.sights import Sights
from orcha.interfaces.needs import shown_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orcha._core.devices import Device
    from orcha._core.inventory import Stock
    from orcha._protocol.messages import DrainResource
    from orcha._server.server import Peer
    from orcha._service.engine import Engine

FORGET = "forget"
"""What is said in place of an amount to have nothing of a resource any more."""


def list_resources(engine: Engine, peer: Peer, message: ListResources) -> None:
    """Answer with maps, as `docs/wire.md` says; petitions are named as far as the client may know of them."""
    sights = Sights(engine, peer)
    known = [_described(engine, use._asdict(), sights.sees) for use in _uses(engine)]
    engine.reply(peer, Reply(message.request, Verdict.OK, fitting.answer({"resources": known})))


def _uses(engine: Engine) -> Iterable[Any]:
    return engine.admission.resources.in_use()


def _described(engine: Engine, known: dict[str, Any], may_see: Callable[[str], bool]) -> dict[str, Any]:
    resource = known["resource"]
    inventory = engine.admission.resources.inventory
    drains, devices = inventory.drains.get(resource, {}), inventory.devices(resource)
    holders = [_holder(engine, key, resource, may_see) for key in engine.granted.holders(resource=resource)]
    known |= {
        "origin": engine.stocktaking.origin_of(resource),
        "drained": _drain(drains.get(None)),
        "holders": [each for each in holders if each["amount"]],
    }
    foreign = inventory.foreign(resource, engine.granted.used(resource))
    told = [_device(each, holders, drains) | {"foreign": foreign.get(each.name)} for each in devices or ()]
    return known | {"devices": None if devices is None else told}


def _holder(engine: Engine, key: str, resource: str, may_see: Callable[[str], bool]) -> dict[str, Any]:
    """Give who holds something of a resource; the id is null where that is not the client's to know, but for leases."""
    record = engine.petitions.live.get(key)
    if not isinstance(record, Record):
        return {"id": None, "amount": 0, "devices": [], "until": None, "lease": None}
    lease = lease_rows.told(record)
    return {
        "id": key if lease is not None or may_see(record.owner) else None,
        "amount": (record.needs or {}).get(resource, 0),
        "devices": list((record.devices or {}).get(resource, ())),
        "until": until(record),
        "lease": lease,
    }


def _device(device: Device, holders: list[dict[str, Any]], drains: Any) -> dict[str, Any]:
    return {
        "name": device.name,
        "properties": {name: shown_value(each) for name, each in device.properties.items()},
        "holders": [each for each in holders if device.name in each["devices"]],
        "drained": _drain(drains.get(device.name)),
    }


def _drain(drain: Drain | None) -> dict[str, Any] | None:
    return None if drain is None else drain._asdict()


def set_resource(engine: Engine, peer: Peer, message: SetResource) -> None:
    """Set amounts or devices of resources, over restarts too; running petitions keep what they hold."""
    try:
        stocks = _read(message.resources)
    except ValueError as error:
        refuse(engine, peer, message.request, Verdict.REFUSED, str(error))
        return
    for name, stock in stocks.items():
        engine.stocktaking.set(name, stock)
    engine.reply(peer, Reply(message.request, Verdict.OK))


def _read(text: str) -> dict[str, Stock | None]:
    name, sign, what = text.rpartition("=")
    if sign and what == FORGET and name:
        return {name: None}
    found: dict[str, Stock | None] = dict(read_resources(text))
    if not found:
        message = f"no resource is named in {text!a:.80}: write it as gpu=2, or gpu=0,1 for devices"
        raise ValueError(message)
    return found


def drain_resource(engine: Engine, peer: Peer, message: DrainResource) -> None:
    """Have nothing placed on a device, or on anything of a resource; or have things placed there again."""
    inventory = engine.admission.resources.inventory
    found = _find(engine, message.name)
    if found is None:
        known = ", ".join(sorted(inventory.names())) or "nothing"
        text = f"there is no {message.name!a:.80}: give a resource, or a device as NAME:DEVICE (there is {known})"
        refuse(engine, peer, message.request, Verdict.UNKNOWN, text)
        return
    resource, device = found
    if not message.drained and device not in inventory.drains.get(resource, {}):
        text = f"{message.name} is not drained: orcha resource ls shows what is"
        refuse(engine, peer, message.request, Verdict.REFUSED, text)
        return
    now = engine.petitions.now
    drain = Drain(message.why, peer.identity, now.wall) if message.drained else None
    engine.stocktaking.drain(resource, device, drain)
    engine.reply(peer, Reply(message.request, Verdict.OK))


def _find(engine: Engine, name: str) -> tuple[str, str | None] | None:
    """Give the resource, and the device of it, that a name means."""
    inventory = engine.admission.resources.inventory
    if name in {*inventory.names(), *inventory.drains}:
        return name, None
    parts = name.split(":")
    for cut in range(1, len(parts)):
        resource, device = ":".join(parts[:cut]), ":".join(parts[cut:])
        there = {each.name for each in inventory.devices(resource) or ()}
        if device in there or device in inventory.drains.get(resource, {}):
            return resource, device
    return None


__all__ = ["drain_resource", "list_resources", "set_resource"]
