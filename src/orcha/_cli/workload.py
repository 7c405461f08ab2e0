"""Workloads for a forecast, read from a file: what `orcha history --json` wrote, or people."""

from __future__ import annotations

import json
from typing import NamedTuple

from orcha._core.forecast.workload import Capacity, Job
from orcha._core.groups import GroupRules, rules_of
from orcha._core.quota_rules import read_accounts
from orcha._core.weights import read_weights
from orcha.interfaces.built_in import COMMAND_MANAGER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from orcha._core.devices import Device
    from orcha._core.inventory import Stock
    from orcha._core.quotas import Account

_MAX_SECONDS = 100 * 365 * 86_400.0


class WorkloadError(ValueError):
    """A file holds no workload; the message names the petition, the field and the cure."""


class Workload(NamedTuple):
    """The content of a file."""

    jobs: list[Job]
    """In the order of the file."""
    capacity: Capacity
    recorded: list[str]
    """The ids of petitions in the order in which they really started, where the file says when."""


def read(text: str) -> Workload:
    """Read a workload: a JSON object with `petitions` and `capacity`, an array of petitions, or one petition a line.

    >>> read('[{"id": "a", "seconds": 60, "needs": {"gpu": 1}}]').jobs[0].seconds
    60.0

    Raises:
        WorkloadError: the text is no workload.

    """
    found = _parsed(text)
    if isinstance(found, dict) and "id" in found:
        found = [found]  # one petition in a line
    entries = found.get("petitions") if isinstance(found, dict) else found
    if not isinstance(entries, list):
        raise WorkloadError('the file has no petitions: write a JSON array of them, or an object with "petitions"')
    known = found.get("capacity") or {} if isinstance(found, dict) else {}
    jobs: list[Job] = []
    begun: list[tuple[float, int, str]] = []
    for number, entry in enumerate(entries, 1):
        name = f"petition {number}"
        if not isinstance(entry, dict):
            raise WorkloadError(f'{name} is no JSON object: write it as {{"id": "a", "seconds": 60}}')
        job = _job(entry, name, number)
        started = _time(entry, "started", name)
        if started is None and entry.get("ended") is not None:
            continue  # it was cancelled while it waited, and took nothing
        jobs.append(job)
        if started is not None:
            begun.append((started, len(begun), job.id))
    if any(job.preemptible is not None for job in jobs):  # only commands give their place to commands
        jobs = [job._replace(manager=job.manager or COMMAND_MANAGER) for job in jobs]
    return Workload(jobs, _capacity(known, jobs), [each[2] for each in sorted(begun)])


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        whole = error
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        line = f"the file is no JSON, nor JSON in lines: {whole}: write it with orcha history --json"
        raise WorkloadError(line) from None


def _job(entry: dict[str, Any], name: str, number: int) -> Job:
    identity = entry.get("id", number)
    if not isinstance(identity, str | int):
        raise WorkloadError(f"{name}: id is {identity!r:.80}: give a text")
    name = f"{name} ({identity!s:.80})"
    started, ended = _time(entry, "started", name), _time(entry, "ended", name)
    seconds = _number(entry, "seconds", name)
    if seconds is None and started is not None and ended is not None:
        seconds = max(0.0, ended - started)
    expect, limit = _number(entry, "expect", name), _number(entry, "timeout", name)
    if seconds is None:
        seconds = expect
    if seconds is None and (started is not None or ended is None):
        raise WorkloadError(
            f'{name} does not say how long it takes: give "seconds", "expect", or "started" and "ended"'
        )
    return Job(
        str(identity),
        _time(entry, "submitted", name) or 0.0,
        seconds or 0.0,
        _priority(entry, name),
        _text(entry, "group", name),
        _needs(entry, name),
        dict(_after(entry, name)),
        _time(entry, "not_before", name),
        _text(entry, "manager", name) or "",
        _text(entry, "owner", name) or "",
        _text(entry, "outcome", name) in {None, "succeeded"},
        expect=limit if expect is None else expect,
        preemptible=_preemptible(entry, name),
    )


def _priority(entry: dict[str, Any], name: str) -> int | float:
    """Give a priority as a service keeps it."""
    from orcha._core.waiting_queue import checked_priority

    priority = entry.get("priority") or 0
    try:
        if not isinstance(priority, bool):
            return checked_priority(priority)
    except (TypeError, ValueError):
        pass
    raise WorkloadError(f"{name}: priority is {priority!r:.80}: give a number")


def _preemptible(entry: dict[str, Any], name: str) -> str | None:
    from orcha._core.preempted import PAUSE, REQUEUE

    how = _text(entry, "preemptible", name)
    if how not in {None, PAUSE, REQUEUE}:
        raise WorkloadError(f'{name}: preemptible is {how!r:.80}: give "{PAUSE}" or "{REQUEUE}"')
    return how


def _capacity(known: object, jobs: list[Job]) -> Capacity:
    if not isinstance(known, dict):
        raise WorkloadError('"capacity" is no JSON object: give "slots", "groups" and "resources"')
    limits: dict[str, dict[str, Any]] = {}
    for what in ("slots", "groups", "resources"):
        found = known.get(what) or {}
        if not isinstance(found, dict) or not all(_is_count(number) for number in found.values()):
            raise WorkloadError(f'"{what}" of "capacity" is {found!r:.80}: give numbers by name, null for any number')
        limits[what] = found
    devices = read_devices(known)
    counts = {**{name: len(each) for name, each in devices.items()}, **limits["resources"]}
    resources = {name: stock(most or 0, name, jobs, devices.get(name, ())) for name, most in counts.items()}
    more = {"quotas": _quotas(known), "drained": _drained(known), **_fair(known)}
    return Capacity(limits["slots"], limits["groups"], resources, rules=_rules(known), **more)


def read_devices(known: dict[str, Any]) -> dict[str, tuple[Device, ...]]:
    """Give the devices of each resource that has names for them, where `known` is what there is to use.

    Raises:
        WorkloadError: they are not as `orcha history --json` writes them.

    """
    from orcha._core.devices import Device
    from orcha.interfaces.needs import read_value

    devices = known.get("devices") or {}
    try:
        found = {
            resource: tuple(
                Device(
                    each["name"], {name: read_value(str(value)) for name, value in each.get("properties", {}).items()}
                )
                for each in some
            )
            for resource, some in devices.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        found = None
    if found is None or not all(_are_distinct(some) for some in found.values()):
        form = '{"gpu": [{"name": "0", "properties": {"mem": "24G"}}]}'
        raise WorkloadError(f'"devices" of "capacity" is {devices!r:.80}: give devices by resource, as {form}')
    return found


def _are_distinct(devices: Sequence[Device]) -> bool:
    """Tell whether each device has a name of its own."""
    names = [device.name for device in devices]
    return all(isinstance(name, str) for name in names) and len({*names}) == len(names)


def _drained(known: dict[str, Any]) -> dict[str, list[str | None]]:
    """Give the devices of each resource on which nothing is placed."""
    drained = known.get("drained") or {}
    is_map = isinstance(drained, dict) and all(isinstance(each, list) for each in drained.values())
    if is_map and all(name is None or isinstance(name, str) for each in drained.values() for name in each):
        return drained
    form = '{"gpu": ["2"]}, and null for all of a resource'
    raise WorkloadError(f'"drained" of "capacity" is {drained!r:.80}: give names of devices by resource, as {form}')


def _quotas(known: dict[str, Any]) -> dict[str, tuple[Account, ...]]:
    """Give the accounts of each owner who has a quota."""
    quotas = known.get("quotas") or {}
    try:
        return {owner: read_accounts(each) for owner, each in quotas.items()}
    except (AttributeError, TypeError, ValueError, OverflowError):
        form = '{"ann": [{"name": "ann", "limits": {"running": 2}, "resources": {"gpu": 1}}]}'
        raise WorkloadError(f'"quotas" of "capacity" is {quotas!r:.80}: give accounts by owner, as {form}') from None


def _fair(known: dict[str, Any]) -> dict[str, Any]:
    """Give what of the past counts in whose turn it is, and the weights of owners."""
    fair = known.get("fair") or {}
    half_life, used = (fair.get("half_life"), fair.get("used") or {}) if isinstance(fair, dict) else (0, {})
    is_map = isinstance(used, dict) and all(isinstance(each, dict) for each in used.values())
    amounts = [half_life, *(amount for each in used.values() for amount in each.values())] if is_map else [-1]
    weights = _weights(fair.get("weights") or {}) if isinstance(fair, dict) else {}
    if half_life is None and not used:
        return weights
    if half_life and all(_is_amount(amount) for amount in amounts):
        return {"half_life": float(half_life), "used": used, **weights}
    line = f'"fair" of "capacity" is {fair!r:.80}: give the half-life in seconds, as {{"half_life": 86400}}'
    raise WorkloadError(line)


def _weights(known: Any) -> dict[str, Any]:
    try:
        return {"weights": read_weights(known)} if known else {}
    except (AttributeError, TypeError, ValueError):
        form = '{"ann": {"group": "@bio", "weight": 2, "within": 1}}'
        raise WorkloadError(f'"weights" of "fair" is {known!r:.80}: give them by owner, as {form}') from None


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _rules(known: dict[str, Any]) -> dict[str, GroupRules]:
    """Give the rules of each group; what another build added is passed over."""
    from orcha._configuration.group_rules import check_rules

    rules = known.get("rules") or {}
    if not isinstance(rules, dict) or not all(isinstance(each, dict) for each in rules.values()):
        line = f'"rules" of "capacity" is {rules!r:.80}: give rules by group, as {{"rig": {{"per_user": 1}}}}'
        raise WorkloadError(line)
    found: dict[str, GroupRules] = {}
    for group, each in rules.items():
        try:
            check_rules({name: value for name, value in each.items() if name in GroupRules._fields})
        except ValueError as error:
            raise WorkloadError(f'"rules" of "capacity" for the group {group!r:.80}: {error}') from None
        found[group] = rules_of(json.dumps(each))
    return found


def stock(count: int, resource: str, jobs: Iterable[Job], devices: Sequence[Device] = ()) -> Stock:
    """Give an amount of a resource, or as many devices.

    The first ones are the `devices` that are known, and more are as the last one of these. Where none is known, there
    are devices if a petition needs a part of one.

    Raises:
        WorkloadError: there would be more devices than a service can have.

    >>> from orcha._core.devices import Device
    >>> stock(2, "gpu", [], [Device("0", {"mem": 24})])
    (Device(name='0', properties={'mem': 24}), Device(name='1', properties={'mem': 24}))
    >>> stock(2, "gpu", [])
    2
    """
    from orcha._configuration.resource_texts import MAX_DEVICES
    from orcha._core.devices import Device
    from orcha.interfaces.needs import read

    if not devices and not any(read(job.needs[resource]).is_share for job in jobs if resource in job.needs):
        return count
    if count > MAX_DEVICES:
        line = f"of the resource {resource} there are {count} devices: give {MAX_DEVICES} at most, or an amount"
        raise WorkloadError(f"{line} of which no petition needs a part")
    taken, properties = {device.name for device in devices}, devices[-1].properties if devices else {}
    more = (str(number) for number in range(count + len(devices)) if str(number) not in taken)
    return tuple([*devices, *(Device(name, properties) for name in more)][:count])


def _is_count(number: object) -> bool:
    return number is None or (isinstance(number, int) and not isinstance(number, bool) and number >= 0)


def _number(entry: dict[str, Any], field: str, name: str) -> float | None:
    value = entry.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_SECONDS:
        raise WorkloadError(f"{name}: {field} is {value!r:.80}: give seconds from 0 on")
    return float(value)


def _time(entry: dict[str, Any], field: str, name: str) -> float | None:
    value = entry.get(field)
    if not isinstance(value, str):
        return _number(entry, field, name)
    from datetime import datetime

    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        line = f"{name}: {field} is {value!r:.80}: give seconds, or a time as 2030-01-31T12:00:00Z"
        raise WorkloadError(line) from None


def _text(entry: dict[str, Any], field: str, name: str) -> str | None:
    value = entry.get(field)
    if value is not None and not isinstance(value, str):
        raise WorkloadError(f"{name}: {field} is {value!r:.80}: give a text")
    return value


def _needs(entry: dict[str, Any], name: str) -> dict[str, int | str]:
    from orcha.interfaces.needs import kept

    needs = entry.get("needs") or {}
    if isinstance(needs, dict) and all(isinstance(each, str) or _is_amount(each) for each in needs.values()):
        try:
            return {resource: kept(amount) for resource, amount in needs.items() if amount}
        except ValueError:
            pass
    raise WorkloadError(f'{name}: needs is {needs!r:.80}: give amounts by resource, as {{"gpu": 1}}')


def _after(entry: dict[str, Any], name: str) -> Iterator[tuple[str, bool]]:
    for field in ("after", "after_ok"):
        others = entry.get(field) or []
        if not isinstance(others, list) or not all(isinstance(other, str | int) for other in others):
            raise WorkloadError(f"{name}: {field} is {others!r:.80}: give an array of ids")
        yield from ((str(other), field == "after_ok") for other in others)


__all__ = ["Workload", "WorkloadError", "read", "read_devices", "stock"]
