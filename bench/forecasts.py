"""Forecasts of many petitions: what `orcha simulate` takes for workloads of several kinds.

python bench/forecasts.py [PETITIONS]
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from support import HOME_PARENT, machine, row, scaled

if TYPE_CHECKING:
    from collections.abc import Callable

    Fields = Callable[[random.Random, int, float], dict[str, Any]]

PETITIONS = scaled(100_000)
LOAD = 1.05
"""Seconds of work that come in a second of what can be done at once: the queue grows, and is never empty for long."""
AT_ONCE = 8
AGES = 106
"""Groups, each with an age of its own, from 10 minutes to almost 2 hours."""
MEAN_SECONDS = 60.0
RUNS = scaled(3)


class Kind(NamedTuple):
    """A workload: what there is, and what each petition says beside its id, its length and the time it comes."""

    name: str
    capacity: dict[str, Any]
    fields: Fields
    are_together: bool = False
    """Whether all petitions come at once."""


def _nothing(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    del chance, number, seconds
    return {}


def _aged(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    del number, seconds
    return {"priority": chance.choice((0, 0, 10)), "group": chance.choice(("low", "high"))}


def _in_one_group(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    del chance, number, seconds
    return {"group": "low"}


def _aged_devices(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    return _aged(chance, number, seconds) | {"needs": {"gpu": chance.choice((1, 1, 2))}}


def _many_ages(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    del number, seconds
    return {"priority": chance.choice((0, 0, 10)), "group": f"g{chance.randrange(AGES)}"}


def _many_ages_of_a_resource(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    return _many_ages(chance, number, seconds) | {"needs": {"gpu": chance.choice((1, 1, 2))}}


def _many_ages_of_owners(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    return _many_ages_of_a_resource(chance, number, seconds) | _owners(chance, number, seconds)


def _two_resources(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    del number, seconds
    return {"needs": {"gpu": chance.choice((1, 1, 2)), "memory": chance.choice(("4G", "8G", "16G"))}}


def _devices(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    del number, seconds
    return {"needs": {"gpu": chance.choice((0.5, 1, 1, 2))}}


def _owners(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    del number, seconds
    return {"owner": f"user{chance.randrange(20)}"}


def _owners_of_a_resource(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    return _owners(chance, number, seconds) | {"needs": {"gpu": chance.choice((1, 1, 2))}}


def _owners_in_one_group(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    return _owners(chance, number, seconds) | _in_one_group(chance, number, seconds)


def _with_lengths(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    del number
    return {"expect": seconds * 1.2, "needs": {"gpu": chance.choice((1, 1, 1, 4))}}


def _after_others(chance: random.Random, number: int, seconds: float) -> dict[str, Any]:
    del chance, seconds
    return {"after_ok": [str(number - 50)]} if number >= 50 else {}


SLOTS = {"slots": {"": AT_ONCE}}
AGE = {"rules": {"low": {"age": 3_600}}}
MANY_AGES = {"rules": {f"g{number}": {"age": 600 + 60 * number} for number in range(AGES)}}
PER_USER = {"rules": {"low": {"per_user": 2}}}
QUOTAS = {
    f"user{number}": [{"name": f"user{number}", "limits": {"running": 2}, "resources": {}}] for number in range(20)
}
KINDS = (
    Kind("slots alone", SLOTS, _nothing),
    Kind("slots alone, all asked for at once", SLOTS, _nothing, are_together=True),
    Kind("a group, all asked for at once", {"groups": {"low": AT_ONCE}}, _in_one_group, are_together=True),
    Kind("slots, a group that ages beside another", SLOTS | AGE, _aged),
    Kind("a resource, a group that ages beside another", {"resources": {"gpu": 11}} | AGE, _aged_devices),
    Kind("a group that ages, all asked for at once", SLOTS | AGE, _in_one_group, are_together=True),
    Kind("slots, 106 groups that age", SLOTS | MANY_AGES, _many_ages),
    Kind("a resource, 106 groups that age", {"resources": {"gpu": 11}} | MANY_AGES, _many_ages_of_a_resource),
    Kind(
        "slots and a resource, 106 groups that age, 20 owners",
        SLOTS | {"resources": {"gpu": 11}} | MANY_AGES,
        _many_ages_of_owners,
    ),
    Kind("two resources", {"resources": {"gpu": 11, "memory": 80 << 30}}, _two_resources),
    Kind("devices and parts of devices", {"resources": {"gpu": 9}}, _devices),
    Kind("slots, 20 owners", SLOTS, _owners),
    Kind("slots, 20 owners, and what they used before", SLOTS | {"fair": {"half_life": 86_400}}, _owners),
    Kind("slots, 20 owners with quotas", SLOTS | {"quotas": QUOTAS}, _owners),
    Kind("a resource, 20 owners", {"resources": {"gpu": 11}}, _owners_of_a_resource),
    Kind("a group, 20 owners with 2 at once each", {"groups": {"low": AT_ONCE}} | PER_USER, _owners_in_one_group),
    Kind("a resource, all lengths known: backfill", {"resources": {"gpu": 14}}, _with_lengths),
    Kind("slots, each comes after another", SLOTS, _after_others),
)


def workload(kind: Kind, count: int) -> dict[str, Any]:
    """Write a workload, always the same one of its kind."""
    chance, now, petitions = random.Random(1), 0.0, []
    for number in range(count):
        now += 0.0 if kind.are_together else chance.expovariate(LOAD * AT_ONCE / MEAN_SECONDS)
        seconds = 1 + round(chance.expovariate(1 / MEAN_SECONDS), 3)
        petition = {"id": str(number), "submitted": round(now, 3), "seconds": seconds}
        petitions.append(petition | kind.fields(chance, number, seconds))
    return {"petitions": petitions, "capacity": kind.capacity}


def processor_seconds(file: Path) -> float:
    """Run the command on a file; give the seconds of a processor that it took."""
    command = Path(sys.executable).with_name("orcha")
    process = subprocess.Popen([command, "simulate", str(file), "--limit", "1"], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"orcha simulate ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure all, print a table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else PETITIONS
    row(f"`orcha simulate`, {count:,} petitions ({machine()})", "measured", "wanted")
    row("---", "---", "---")
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=HOME_PARENT) as folder:
        for kind in KINDS:
            file = Path(folder) / "workload.json"
            file.write_text(json.dumps(workload(kind, count)))
            times = [processor_seconds(file) for _ in range(RUNS)]
            row(kind.name, f"{statistics.median(times):.1f} s", "≤ 30 s")


if __name__ == "__main__":
    main()
