"""When a waiting petition will probably start, or a paused one go on, by the service's decisions in virtual time."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

from orcha._cli import foretold
from orcha._cli.foretold import MAX_RECKONED_PETITIONS, Estimate
from orcha._cli.workload import read_devices, stock
from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.forecast.workload import Capacity, Job
from orcha._core.groups import rules_of
from orcha._core.quota_rules import read_accounts
from orcha._core.weights import read_weights
from orcha.interfaces.built_in import COMMAND_MANAGER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from orcha._cli.session import Session

    Row = dict[str, Any]

MAX_RECKONED_AGEING_PETITIONS = 500
"""The same where a group ages: each waiting petition may change its place whenever another petition ends."""
MAX_REMEMBERED_PETITIONS = 500
"""Ended petitions that durations are learnt from, the newest."""
_FORECASTS = {"short": 0.1, "likely": 0.5, "long": 0.9}
"""The three forecasts, by the field of `Durations` that each takes for all petitions.

Each says which of the known durations that is, from the shortest (0) to the longest (1).
"""
_UNDER_WAY = frozenset(("starting", "running", "cancelling"))
_MANAGER, _OTHERS = "manager", "others"
_OVERDUE_SHARE = 0.1
"""A petition that has run longer than any of its like goes on for this share of the time it has run."""


class Durations(NamedTuple):
    """How long a petition may take, in seconds."""

    short: float
    likely: float
    long: float
    source: str
    """What the durations were learnt from: `expect`, `timeout`, or petitions of the same `command`, `program` or
    `manager`. Petitions of the manager that ran other programs are `others`: what they took is a guess."""


class History:
    """How long the ended petitions took.

    >>> history = History([{"manager": "m", "command": "make", "started": 0.0, "ended": 60.0, "outcome": "succeeded"}])
    >>> history.durations({"manager": "m", "command": "make", "expect": None})
    Durations(short=60.0, likely=60.0, long=60.0, source='command')
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        """Learn from rows of ended petitions; cancelled petitions teach nothing."""
        self._known: dict[tuple[str, ...], list[float]] = {}
        for row in rows:
            if row["started"] is None or row["outcome"] not in {"succeeded", "failed"}:
                continue
            for likeness in _likenesses(row):
                self._known.setdefault(likeness, []).append(max(0.0, row["ended"] - row["started"]))

    def durations(self, row: Row) -> Durations | None:
        """Give how long a petition may take; None where nothing like it is known, and it has no limit."""
        known, limit = self._learnt(row), row.get("timeout")
        if limit is None:
            return known
        if known is None or known.source == _OTHERS:  # how long others took says less than its own limit
            return Durations(0.0 if known is None else min(known.short, limit), limit, limit, "timeout")
        short, likely, long = (min(seconds, limit) for seconds in known[:3])
        return Durations(short, likely, long, known.source)

    def _learnt(self, row: Row) -> Durations | None:
        if row.get("expect") is not None:
            return Durations(row["expect"], row["expect"], row["expect"], "expect")
        for likeness in _likenesses(row):
            if known := sorted(self._known.get(likeness, ())):
                short, likely, long = (known[round(share * (len(known) - 1))] for share in _FORECASTS.values())
                are_others = likeness[0] == _MANAGER and row.get("command")
                return Durations(short, likely, long, _OTHERS if are_others else likeness[0])
        return None


def _likenesses(row: Row) -> list[tuple[str, ...]]:
    """Give what a petition has in common with its like, the closest first."""
    manager, command = COMMAND_MANAGER if "elements" in row else row["manager"], row.get("command")
    if not command:
        return [(_MANAGER, manager)]
    return [("command", manager, command), ("program", manager, command.split(maxsplit=1)[0]), (_MANAGER, manager)]


def estimate(service: Session, details: Row, now: float, most: int = MAX_RECKONED_PETITIONS) -> Estimate | None:
    """Ask a service for what a forecast needs, and give when a petition starts, or goes on that stands still.

    None where that cannot be foretold: it waits for people or for a condition, more than `most` petitions wait and run,
    or nobody may see what others do.
    """
    kinds = foretold.kinds_of(details)
    if not foretold.foreseeable(details["state"], kinds):
        return None
    found = estimates(service, (details["seq"],), now, most).get(details["seq"])
    return found if found is None else found._replace(if_true=foretold.is_conditional(kinds))


def estimates(
    service: Session, wanted: Collection[int], now: float, most: int = MAX_RECKONED_PETITIONS
) -> dict[int, Estimate]:
    """Ask a service for what a forecast needs, and give when these petitions start, as far as that can be foretold.

    All are found by one reckoning. Where more than `most` petitions wait and run, or nobody may see what others do,
    there are none.
    """
    known = _known(service, most)
    return {} if known is None else reckon_all(wanted, *known, now)


def estimates_of_elements(
    service: Session, array: int, elements: Sequence[int], now: float, most: int = MAX_RECKONED_PETITIONS
) -> dict[int, Estimate]:
    """Give the same of elements of an array that wait, in their order: a forecast knows how many there are alone."""
    known = _known(service, most)
    return {} if known is None else reckon_elements(array, elements, *known, now)


def _known(service: Session, most: int) -> tuple[list[Row], Row, History] | None:
    """Ask for what a forecast is made of; None where that is too much, or not for everybody."""
    from itertools import islice

    from orcha._cli import history, ps
    from orcha.exceptions import OrchaError

    def ask(*which: Any, **more: Any) -> list[Row]:
        return service.page(*which, **more).rows

    live = list(islice(ps.pages(ask, ps.LIVE_STATE_NAMES, most=most + 1), most + 1))
    if len(live) + sum(map(_elements, live)) > most:
        return None
    try:
        named = history.resources(service)
        there_is = history.capacity(service, named) | history.in_use(named)
    except OrchaError:
        return None
    ended = History(islice(ps.pages(ask, ("ended",), most=MAX_REMEMBERED_PETITIONS), MAX_REMEMBERED_PETITIONS))
    if len(live) > MAX_RECKONED_AGEING_PETITIONS and any("age" in rules for rules in there_is["rules"].values()):
        return None
    return live, there_is, ended


def reckon(seq: int, live: Sequence[Row], capacity: Row, history: History, now: float) -> Estimate | None:
    """Give when a petition starts, by its sequence number; None where it does not. As `reckon_all` gives it."""
    return reckon_all((seq,), live, capacity, history, now).get(seq)


def reckon_all(
    wanted: Collection[int], live: Sequence[Row], capacity: Row, history: History, now: float
) -> dict[int, Estimate]:
    """Give when petitions start, or go on that stand still, by their sequence numbers; nothing of all others.

    Args:
        wanted: the petitions.
        live: rows of all petitions that have not ended.
        capacity: what there is to use: `slots` by manager, `groups` with their `rules`, `resources`, their `devices`,
            which of these are `drained`, and `occupied` by other processes, and which petitions have `held` them.
        history: how long others took.
        now: seconds since 1970.

    """
    still = {row["seq"] for row in live if row.get("stands_still")}

    def starts_of(schedule: VirtualSchedule, until: float) -> dict[int, float]:
        return _starts(schedule, set(wanted), still, until)

    return _estimates(wanted, starts_of, live, capacity, history, now)


def reckon_elements(
    array: int, elements: Sequence[int], live: Sequence[Row], capacity: Row, history: History, now: float
) -> dict[int, Estimate]:
    """Give when elements of an array start that wait, by their sequence numbers; the elements are given in order.

    The rest is as `reckon_all` takes it.

    >>> counts = {"elements": 3, "elements_waiting": 2, "elements_running": 1}
    >>> row = {"seq": 1, "manager": "arrays", "state": "queued", "started": None, "expect": 60.0, "command": "make"}
    >>> row |= {"priority": 0, "group": None, "needs": None, "owner": "ada", "paused": False} | counts
    >>> there_is = {"slots": {COMMAND_MANAGER: 1}, "groups": {}, "resources": {}}
    >>> found = reckon_elements(1, [7, 8], [row], there_is, History([]), 1000.0)
    >>> {seq: each.likely - 1000.0 for seq, each in found.items()}
    {7: 60.0, 8: 120.0}
    """
    running = next((int(row.get("elements_running") or 0) for row in live if row["seq"] == array), 0)
    names = {f"{array}.{number}" for number in range(running, running + len(elements))}

    def starts_of(schedule: VirtualSchedule, until: float) -> dict[int, float]:
        begun = [each.started for each in schedule.run() if each.started is not None and each.job.id in names]
        return dict(zip(elements, (time for time in sorted(begun) if time <= until), strict=False))

    return _estimates(elements, starts_of, live, capacity, history, now)


def _estimates(
    wanted: Collection[int],
    starts_of: Callable[[VirtualSchedule, float], dict[int, float]],
    live: Sequence[Row],
    capacity: Row,
    history: History,
    now: float,
) -> dict[int, Estimate]:
    """Give when petitions start by three forecasts, and which of these starts hang on lengths that nobody knows.

    `starts_of` gives the starts of the wanted petitions in a forecast, up to a time.
    """
    known = {row["seq"]: history.durations(row) for row in live}
    there_is = _given(capacity)

    def forecast(lengths: Mapping[int, float], until: float, *, is_best: bool = False) -> dict[int, float]:
        return starts_of(_forecast(live, lengths, there_is, now, is_best=is_best), until)

    lengths = {name: _lengths(known, name) for name in _FORECASTS}
    short, likely, long = (forecast(lengths[name], math.inf, is_best=name == "short") for name in _FORECASTS)
    unknown = {row["seq"] for row in live if known[row["seq"]] is None}
    hanging: set[int] = set()
    if unknown:
        # Let these petitions go on beyond the last of the starts: a start that comes as before waits for none of them.
        last = max(likely.values(), default=now)
        longer = {row["seq"]: _ran(row, now) + last - now + 1.0 for row in live if row["seq"] in unknown}
        then = forecast(lengths["likely"] | longer, last)
        hanging = {seq for seq, time in likely.items() if then.get(seq) != time}
    reckoned, guessed = _counted(live, known)
    found: dict[int, Estimate] = {}
    for seq in wanted:
        if seq in short and seq in likely and seq in long:
            times = short[seq], likely[seq], long[seq]
            others = len(unknown - {seq}) if seq in hanging else 0
            found[seq] = Estimate(min(times), likely[seq], max(times), reckoned, guessed, unknown=others)
    return found


def _counted(live: Sequence[Row], known: Mapping[int, Durations | None]) -> tuple[int, int]:
    """Count the petitions of a forecast, and of how many of them the length is a guess."""
    counts = {row["seq"]: _elements(row) if "elements" in row else 1 for row in live}
    guessed = (counts[seq] for seq, each in known.items() if each is not None and each.source == _OTHERS)
    return sum(counts.values()), sum(guessed)


def _lengths(known: Mapping[int, Durations | None], name: str) -> dict[int, float]:
    """Give how long petitions take in one of the forecasts, in seconds; no time where nobody knows."""
    return {seq: 0.0 if each is None else getattr(each, name) for seq, each in known.items()}


def _given(capacity: Row) -> Row:
    """Read what there is to use, once for all forecasts."""
    fair = capacity.get("fair", {})
    read = {
        "rules": {name: rules_of(json.dumps(each)) for name, each in capacity.get("rules", {}).items()},
        "begun": capacity.get("begun", {}),
        "half_life": fair.get("half_life"),
        "used": fair.get("used", {}),
        "weights": read_weights(fair.get("weights", {})),
        "quotas": {owner: read_accounts(each) for owner, each in capacity.get("quotas", {}).items()},
        "drained": capacity.get("drained", {}),
    }
    return capacity | {"read": read, "devices": read_devices(capacity)}


def _forecast(
    live: Sequence[Row], lengths: Mapping[int, float], there_is: Row, now: float, *, is_best: bool
) -> VirtualSchedule:
    """Make a forecast with these lengths; at best processes of others end at once."""
    devices, held = there_is["devices"], there_is.get("held", {})
    jobs = [job for row in sorted(live, key=_place) for job in _jobs(row, lengths[row["seq"]], now, held)]
    resources = there_is["resources"].items()
    stocks = {name: stock(most, name, jobs, devices.get(name, ())) for name, most in resources}
    occupied = {} if is_best else there_is.get("occupied", {})
    return VirtualSchedule(
        jobs, Capacity(there_is["slots"], there_is["groups"], stocks, occupied=occupied, **there_is["read"])
    )


def _starts(schedule: VirtualSchedule, left: set[int], still: Collection[int], until: float) -> dict[int, float]:
    """Give when petitions start up to a time; the forecast ends at the last of these starts. An array has many starts.

    Of petitions that stand `still` now, give when they go on.
    """
    found: dict[int, float] = {}
    for each in schedule.run():
        seq = int(each.job.id.partition(".")[0])
        if each.started is not None and seq in left and seq not in still:
            found[seq] = each.started
        for seq in left.intersection(still):
            if (back := schedule.came_back.get(str(seq))) is not None:
                found[seq] = back
        left.difference_update(found)
        if not left or (each.started is not None and each.started > until):
            break
    return {seq: time for seq, time in found.items() if time <= until}


def _place(row: Row) -> int:
    return int(row["seq"])


def _elements(row: Row) -> int:
    """Count the elements of an array that have not ended; 0 for any other petition."""
    return int(row.get("elements_waiting") or 0) + int(row.get("elements_running") or 0)


def _jobs(row: Row, seconds: float, now: float, held: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Iterator[Job]:
    """Give a petition, or the elements of an array and the array itself, which ends after them.

    `held` gives the devices of petitions that run, by id and resource.
    """
    job = _job(row, seconds, now)
    if "elements" not in row:
        yield job if job.started is None else job._replace(devices=held.get(row["id"]))
        return
    of_elements = (devices for name, devices in held.items() if name.startswith(f"{row['id']}."))
    element = job._replace(manager=COMMAND_MANAGER, waits_since=None)  # since when is not told
    names = [f"{job.id}.{number}" for number in range(_elements(row))]
    for number, name in enumerate(names):
        begun = now if number < (row.get("elements_running") or 0) else None  # when is not told
        devices = None if begun is None else next(of_elements, None)
        yield element._replace(id=name, started=begun, devices=devices)
    yield Job(job.id, now, 0.0, after=dict.fromkeys(names, False))


def _ran(row: Row, now: float) -> float:
    """Give for how many seconds a petition has run."""
    return max(0.0, now - row["started"]) if row["state"] in _UNDER_WAY else 0.0


def _job(row: Row, seconds: float, now: float) -> Job:
    """Give a row as a forecast takes it; its id there is its sequence number, since that is what others name it by."""
    from orcha._cli.ps import needs_of

    started = row["started"] if row["state"] in _UNDER_WAY else None
    if started is not None:
        ran = _ran(row, now)
        if seconds <= ran:
            share = _OVERDUE_SHARE if seconds else 0.0  # a length that nobody knows may be over now
            overdue, limit = ran * (1 + share), row.get("timeout")
            seconds = overdue if limit is None else min(overdue, max(ran, limit))
    return Job(
        str(row["seq"]),
        now,
        seconds,
        row["priority"],
        row["group"],
        needs_of(row),
        dict.fromkeys((row.get("after") or "").split(), False),
        row.get("due"),
        row["manager"],
        row["owner"],
        started=started,
        waits_since=row.get("submitted"),
        paused=started is None and (row["state"] == "held" or bool(row["paused"])),
        expect=row.get("timeout") if row.get("expect") is None else row["expect"],
        preemptible=row.get("preemptible"),
        stands_still=bool(row.get("stands_still")),
    )


__all__ = [
    "Durations",
    "History",
    "estimate",
    "estimates",
    "estimates_of_elements",
    "reckon",
    "reckon_all",
    "reckon_elements",
]
