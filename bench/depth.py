"""A deep queue: latency, memory, restart, idle processor time, and what blocked petitions cost the others.

python bench/depth.py [QUEUED]
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from noop import connect
from orcha.interfaces import Message
from support import SCALE, MeasuredService, machine, milliseconds, percentile, row, scaled, service, start

if TYPE_CHECKING:
    from orcha.lib import ClientManager

HOT = scaled(10_000)
"""So many a service keeps whole; what is queued beyond them is lean."""
SMALL = scaled(100_000)
PROBES = scaled(500)
AT_ONCE = 10_000
IDLE_SECONDS = 10 / SCALE


def fill(manager: ClientManager, first: int, last: int) -> None:
    """Queue blocked petitions, numbered from `first` to `last`."""
    queue = manager.manager.Queue()
    for begin in range(first, last, AT_ONCE):
        numbers = range(begin, min(begin + AT_ONCE, last))
        manager.send_many([Message(f"deep-{number}", {"queue": queue, "blocked": True}) for number in numbers])


def texts(number: int) -> list[dict[str, Any]]:
    """Give policies of petitions that wait for what a machine never has, each in one of so many texts."""
    return [{"when": f"memory.free > {900_000 + at % number}G and hour >= 0"} for at in range(HOT)]


def declared() -> list[dict[str, Any]]:
    """Give policies of petitions of which each says what it waits for: a slot, another petition, or a time."""
    reasons: list[dict[str, Any]] = [{"group": "full"}, {"after": ("never",)}, {"delay": 365 * 86_400.0}]
    return [reasons[at % len(reasons)] for at in range(HOT)]


def idle_with(policies: list[dict[str, Any]]) -> float:
    """Give the share of a processor that a service uses while petitions with these policies wait."""
    os.environ["ORCHA_SLOTS"] = "full=0"
    with service("64") as running:
        manager = connect(running)
        queue = manager.manager.Queue()
        manager.send(Message("never", {"queue": queue, "blocked": True}))
        manager.send_many([Message(f"w{at}", {"queue": queue, "policy": each}) for at, each in enumerate(policies)])
        time.sleep(IDLE_SECONDS / 2)  # all of them have been asked, and parked
        share = idle(running)
        manager.shutdown()
    return share


def probe(manager: ClientManager, name: str, *, blocked: bool) -> float:
    """Submit one petition; give the seconds until it was accepted (blocked) or done."""
    queue = manager.manager.Queue()
    message = Message(name, {"queue": queue, "blocked": blocked})
    begun = time.perf_counter()
    manager.send(message)
    if not blocked and queue.get() is not None:
        raise RuntimeError("no success")
    return time.perf_counter() - begun


def interleaved(shallow: ClientManager, deep: ClientManager, *, blocked: bool) -> tuple[list[float], list[float]]:
    """Probe both services in turn."""
    word = "submit" if blocked else "run"
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(PROBES):
        for manager, kept in zip((shallow, deep), times, strict=True):
            kept.append(probe(manager, f"{word}-{number}", blocked=blocked))
    return times


def compare(what: str, times: tuple[list[float], list[float]], wanted: str) -> None:
    """Print shallow and deep beside each other."""
    shallow, deep = times
    p50 = percentile(deep, 0.5) / percentile(shallow, 0.5)
    p99 = percentile(deep, 0.99) / percentile(shallow, 0.99)
    measured = f"{milliseconds(deep)} against {milliseconds(shallow)}: {p50:.2f}x / {p99:.2f}x"
    row(what, measured, wanted)


def idle(running: MeasuredService) -> float:
    """Give the share of a processor that a service uses which has nothing to do."""
    cpu, begun = running.cpu(), time.perf_counter()
    time.sleep(IDLE_SECONDS)
    return (running.cpu() - cpu) / (time.perf_counter() - begun)


def restart(running: MeasuredService) -> float:
    """Kill the service, start it again; give the seconds until it is ready."""
    running.kill()
    again, seconds = start(running.home, running.port, "64")
    running.process = again.process
    return seconds


def main() -> None:
    """Measure all, print a table."""
    queued = int(sys.argv[1]) if len(sys.argv) > 1 else SMALL
    row(f"depth ({machine()})", "measured", "wanted")
    row("---", "---", "---")
    with service("64") as shallow_service, service("64", home=shallow_service.home) as deep_service:
        shallow, deep = connect(shallow_service), connect(deep_service)
        fill(deep, 0, HOT)
        compare(
            f"a no-op petition with {HOT:,} blocked by an opaque condition",
            interleaved(shallow, deep, blocked=False),
            "p50 ≤ 1.10x",
        )
        memory = deep_service.memory()
        fill(deep, HOT, SMALL)
        row(f"idle processor time, {SMALL:,} blocked", f"{idle(deep_service):.2%} of a core", "≤ 1 %")
        row(f"restart after kill -9 with {SMALL:,} queued", f"{restart(deep_service):.1f} s", "≤ 2 s")
        fill(deep, SMALL, queued)
        bytes_each = (deep_service.memory() - memory) / (queued - HOT)
        row(f"memory a queued petition, {queued:,} queued", f"{bytes_each:.0f} B", "≤ 512 B")
        compare(f"submit with {queued:,} queued", interleaved(shallow, deep, blocked=True), "p50 ≤ 1.20x, p99 ≤ 2x")
        if queued > SMALL:
            row(f"restart after kill -9 with {queued:,} queued", f"{restart(deep_service):.1f} s", "≤ 15 s")
        shallow.shutdown()
        deep.shutdown()
    for number in (1, HOT):
        what = f"idle processor time, {HOT:,} blocked by conditions in {number:,} text{'s' if number > 1 else ''}"
        row(what, f"{idle_with(texts(number)):.2%} of a core", "≤ 3 %")
    what = f"idle processor time, {HOT:,} that wait for a group, for another petition or for a time"
    row(what, f"{idle_with(declared()):.2%} of a core", "≤ 1 %")


if __name__ == "__main__":
    main()
