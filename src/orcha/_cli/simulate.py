"""``orcha simulate``: who would run when, by the decisions that the service makes."""

from __future__ import annotations

import gc
import sys

from orcha._cli import options
from orcha._cli.exit_codes import USAGE_ERROR_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from typing import Any

    from orcha._cli.workload import Workload
    from orcha._core.forecast.workload import Capacity, Foretold

_DEFAULT_LIMIT_ROWS = 100
_MIN_TOLD_PETITIONS = 10_000
"""Petitions whose forecast takes about a second: with more of them a terminal is told how far the forecast is."""
_EPILOG = """\
examples:
  orcha simulate week.json
  orcha simulate week.json --resource gpu=3 --svg week.svg

A workload is what orcha history --json prints. A petition of a workload has id, submitted (a time, or seconds), seconds
(how long it runs; else expect, or started and ended), priority, group, needs, after, after_ok, not_before, manager,
owner, preemptible and outcome; all but the length may be left out.
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Tell which petitions of a recorded or written workload would start when, with other slots or resources too."
        " No service is asked, and nothing is run."
    )
    parser.epilog = _EPILOG
    add = parser.add_argument
    many: dict[str, Any] = {"action": "append", "default": []}
    add("file", metavar="FILE", help="a workload in JSON; - for standard input")
    add("--slots", type=options.slots, metavar="GROUP=N", help="slots of a group, or none for any number", **many)
    add("--resource", type=options.counts, metavar="NAME=N", help="how much there is of a resource", **many)
    fair = "whose turn it is among owners: now, or past[:HALF-LIFE], as of orcha serve --fair"
    add("--fair", type=options.fair, metavar="WHAT", help=fair)
    add("--at-once", type=options.count, metavar="N", help="how many petitions of each manager run at once, at most")
    add("--svg", metavar="PICTURE", help="draw a bar for each petition into this file")
    limit = f"show the first N in the table (default: {_DEFAULT_LIMIT_ROWS})"
    add("--limit", type=options.count, default=_DEFAULT_LIMIT_ROWS, metavar="N", help=limit)
    add("--json", action="store_true", help="print a JSON object: the petitions, and what is reckoned of them")


def run(namespace: argparse.Namespace) -> int:
    """Read a workload, forecast it, and print the result.

    Meanwhile the interpreter looks for no cycles of objects: a forecast makes next to none, and keeps each petition, so
    that each look meets all petitions and frees nothing.
    """
    are_collected = gc.isenabled()
    gc.disable()
    try:
        return _run(namespace)
    finally:
        if are_collected:  # the process may go on, as the process of the tests does
            gc.enable()


def _run(namespace: argparse.Namespace) -> int:
    from orcha._cli import render, workload

    try:
        found = workload.read(_text(namespace.file))
        capacity = _changed(found, namespace)
    except (OSError, UnicodeDecodeError) as error:
        render.note(f"{namespace.file} cannot be read: {getattr(error, 'strerror', None) or error}: name a workload")
        return USAGE_ERROR_CODE
    except workload.WorkloadError as error:
        render.note(f"{'standard input' if namespace.file == '-' else namespace.file}: {error}")
        return USAGE_ERROR_CODE
    planned = _planned(found, capacity)
    reckoned = dict(_reckoned(planned, found.recorded if capacity == found.capacity else []))
    if namespace.svg:
        try:
            _draw(namespace.svg, planned)
        except OSError as error:
            render.note(f"{namespace.svg} cannot be written: {error.strerror}: name another file")
            return 1
    if namespace.json:
        render.json({"petitions": [_as_json(each) for each in planned], **reckoned})
    else:
        _show(planned, reckoned, namespace.limit)
    return 0


def _text(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    with open(name, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs a client 5 ms
        return file.read()


def _changed(found: Workload, namespace: argparse.Namespace) -> Capacity:
    """Give slots and resources, as the options say, else as the file does."""
    from orcha._cli import workload

    known = found.capacity
    slots: dict[str, int | None] = dict(known.slots)
    if namespace.at_once is not None:
        slots |= {job.manager: namespace.at_once for job in found.jobs}
    groups: dict[str, int | None] = dict(known.groups)
    for name, number in _pairs(namespace.slots):
        groups[name] = int(number) if number.isdecimal() else None
    resources = dict(known.resources)
    for name, number in _pairs(namespace.resource):
        there_are = resources.get(name, ())
        devices = there_are if isinstance(there_are, tuple) else ()
        resources[name] = workload.stock(int(number), name, found.jobs, devices)
    half_life = known.half_life
    if namespace.fair is not None:
        from orcha._configuration.kinds import read_fair

        half_life = read_fair(namespace.fair)
    return known._replace(slots=slots, groups=groups, resources=resources, half_life=half_life)


def _pairs(given: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in given:
        for part in text.split(","):
            name, _, number = part.rpartition("=")
            yield name.strip(), number.strip()


def _planned(found: Workload, capacity: Capacity) -> list[Foretold]:
    """Forecast, and tell a terminal how far the forecast is, since it may take a while."""
    from orcha._cli import render
    from orcha._core.forecast.virtual_schedule import VirtualSchedule

    planned: list[Foretold] = []
    tells = len(found.jobs) > _MIN_TOLD_PETITIONS and sys.stderr.isatty()
    for each in VirtualSchedule(found.jobs, capacity).run():
        planned.append(each)
        if tells and len(planned) % _MIN_TOLD_PETITIONS == 0:
            render.note(f"{len(planned)} of {len(found.jobs)} petitions")
    gives_way = any(each.job.preemptible is not None for each in planned)
    return sorted(planned, key=_begin) if gives_way else planned


def _begin(each: Foretold) -> tuple[bool, float]:
    """Put a petition where it starts, and behind all others where it does not start."""
    return each.started is None, each.started or 0.0


def _reckoned(planned: Sequence[Foretold], recorded: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Give the figures of the whole workload; `recorded` is the order of the recorded starts, where there is one."""
    from orcha.interfaces.needs import read

    begun = [(each, each.started, each.ended or each.started) for each in planned if each.started is not None]
    yield "count", sum(each.gives_way_to is None for each in planned)
    yield "never", len(planned) - len(begun)
    if not begun:
        return
    waits = sorted(max(0.0, started - each.job.submitted) for each, started, _ in begun)
    length = max(ended for *_, ended in begun) - min(started for _, started, _ in begun)
    yield "length", length
    yield "mean_wait", sum(waits) / len(waits)
    yield "median_wait", waits[len(waits) // 2]
    yield "longest_wait", waits[-1]
    ran = [(each.job.needs, ended - started) for each, started, ended in begun]
    yield "mean_running", sum(seconds for _, seconds in ran) / length if length else float(len(ran))
    names = sorted({name for needs, _ in ran for name in needs})
    held = {name: sum(float(read(needs.get(name, 0)).amount) * seconds for needs, seconds in ran) for name in names}
    yield "mean_in_use", {name: amount / length if length else 0.0 for name, amount in held.items()}
    if recorded:
        yield "other_order", mismatches(recorded, [each.job.id for each, *_ in begun])


def mismatches(recorded: Sequence[str], foretold: Sequence[str]) -> int:
    """Count the places of the recorded order of starts where the forecast has another petition.

    >>> mismatches(["a", "b", "c"], ["a", "c", "b"]), mismatches(["a"], ["a"])
    (2, 0)
    """
    from itertools import zip_longest

    return sum(one != other for one, other in zip_longest(recorded, foretold))


def _draw(name: str, planned: Sequence[Foretold]) -> None:
    from orcha._cli import gantt

    with open(name, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs a client 5 ms
        file.write(gantt.svg(planned, "who runs when"))


def _as_json(each: Foretold) -> dict[str, Any]:
    return {
        "id": each.job.id,
        "submitted": each.job.submitted,
        "started": each.started,
        "ended": each.ended,
        "waited": None if each.started is None else max(0.0, each.started - each.job.submitted),
        "reason": each.reason,
        "gives_way_to": each.gives_way_to,
        "devices": None if each.devices is None else {name: [*names] for name, names in each.devices.items()},
    }


def _show(planned: Sequence[Foretold], reckoned: dict[str, Any], limit: int) -> None:
    """Print a table, and below it the figures of the whole workload."""
    from orcha._cli import render
    from orcha._cli.layout import Column

    titles = ("STARTS", "WAITS", "RUNS", "WHY")
    columns = [Column("ID", 36, middle=True, at_last=8), *map(Column, titles)]
    if planned:
        begin = min(each.job.submitted for each in planned)
        render.table(columns, [_cells(each, begin) for each in planned[:limit]])
    if len(planned) > limit:
        render.line(f"... and {len(planned) - limit} more: --limit N, --json")
    render.line(f"{reckoned['count']} petitions, {reckoned['never']} of them never start")
    if "length" not in reckoned:
        return
    render.line(
        f"all take {render.elapsed(reckoned['length'])}; they wait {render.elapsed(reckoned['mean_wait'])} on average, "
        f"{render.elapsed(reckoned['longest_wait'])} at most; {reckoned['mean_running']:.3g} run at a time on average"
    )
    for name, amount in reckoned["mean_in_use"].items():
        render.line(f"{amount:.3g} {render.plain(name)} in use on average")
    other = reckoned.get("other_order")
    if other is not None:
        same = "they start in the recorded order"
        render.line(f"{other} start in another order than the recorded one" if other else same)


def _cells(each: Foretold, begin: float) -> tuple[str, ...]:
    from orcha._cli import render

    gives = "" if each.gives_way_to is None else f"{each.gives_way_to} takes its place"
    name, why = render.plain(each.job.id), render.plain(each.reason or gives)
    if each.started is None or each.ended is None:
        return name, "never", "-", "-", why
    waits = render.elapsed(max(0.0, each.started - each.job.submitted))
    return name, f"+{render.elapsed(each.started - begin)}", waits, render.elapsed(each.ended - each.started), why


__all__ = ["create_parser", "mismatches", "run"]
