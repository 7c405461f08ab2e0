"""Resources as people write them: ``gpu=2,ram_gb=64``, ``gpu=0,1``, ``gpu=0@mem=24G,1@mem=80G``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.device_variables import TAKEN, variable
from orcha._core.devices import Device
from orcha.interfaces.needs import WHOLE, read_amount, read_value, spelled
from orcha.interfaces.policy import MAX_NAME_CHARACTERS, MAX_NEED_COUNT

if TYPE_CHECKING:
    from orcha._core.inventory import Stock

MAX_COUNT = 1_000_000_000
"""Most of a resource that is written without a unit."""
MAX_DEVICES = 10_000
"""Devices of a resource at most."""
FORM = "a resource is NAME=N, or NAME=DEVICE,DEVICE (of one device NAME=DEVICE,)"


def read_resources(text: str) -> dict[str, Stock]:
    """Read how much there is of each resource, or which devices; of one named twice the last counts.

    >>> read_resources("gpu=0,1@mem=80,ram_gb=64")["ram_gb"]
    64

    Raises:
        ValueError: a part of it cannot be read.

    """
    given: dict[str, list[str]] = {}
    name = None
    for part in text.split(","):
        named, is_new = part.partition("@")[0].rpartition("=")[:2]
        first = part[len(named) + 1 :] if is_new else part
        if is_new:
            name = named
            given[name] = []
        if name is not None:
            given[name].append(first)
        elif part:
            raise _unfit(part)
    return {name: _stock(name, parts) for name, parts in given.items()}


def _stock(name: str, parts: list[str]) -> Stock:
    """Give a resource as it was written: one number is an amount, several names or one with properties are devices."""
    whole = f"{name}={','.join(parts)}"
    if name == WHOLE or not name.isprintable() or not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise _unfit(whole)
    if len(parts) == 1 and "@" not in parts[0]:
        return _count(whole, parts[0])
    devices = tuple(_device(name, part) for part in parts if part)
    if variable(name) in TAKEN:
        message = f"devices called {name} cannot be: {variable(name)} means something else; give another name"
        raise ValueError(message)
    if not devices or len(devices) > MAX_DEVICES or len({device.name for device in devices}) < len(devices):
        raise _unfit(whole)
    return devices


def _count(whole: str, text: str) -> int:
    amount = read_amount(text) if text.isascii() and text[:1].isdecimal() else None
    most = MAX_COUNT if text.isdecimal() else MAX_NEED_COUNT
    if not isinstance(amount, int) or amount > most:
        raise _unfit(whole)
    return amount


def _device(resource: str, text: str) -> Device:
    """Read a device: ``NAME``, or ``NAME@PROPERTY=VALUE``; several properties stand behind each other."""
    name, *properties = (each.strip() for each in text.split("@"))
    found = {}
    for each in properties:
        key, sign, value = each.partition("=")
        if not (sign and key.strip().isidentifier() and key.strip() != "name" and value.strip()):
            raise _unfit(f"{resource}={text}")
        found[key.strip()] = read_value(value)
    if not name.isprintable() or not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise _unfit(f"{resource}={text}")
    return Device(name, found)


def written(stock: Stock) -> str:
    """Write what there is of a resource as it is read.

    >>> written(2), written(read_resources("gpu=0@mem=1K@model=a")["gpu"])
    ('2', '0@mem=1024@model=a,')
    """
    if isinstance(stock, int):
        return str(stock)
    return "".join(f"{device.name}{_properties(device)}," for device in stock)


def read_written(name: str, text: str) -> Stock:
    """Read what `written` has written of a resource: a number without its unit is not too large here.

    >>> read_written("memory", written(64 << 30)) == 64 << 30
    True
    """
    return int(text) if text.isdecimal() else read_resources(f"{name}={text}")[name]


def _properties(device: Device) -> str:
    values = ((key, each if isinstance(each, str) else spelled(each)) for key, each in device.properties.items())
    return "".join(f"@{key}={value}" for key, value in values)


def _unfit(part: str) -> ValueError:
    return ValueError(f"{FORM}, not {part!a:.80}")


__all__ = ["read_resources", "read_written", "written"]
