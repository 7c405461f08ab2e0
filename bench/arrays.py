"""Arrays: how soon a large one is accepted, what it costs in memory, and how much it delays the submits of others.

python bench/arrays.py [ELEMENTS]
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from command_client import connect
from orcha._cli.session import MANAGER, Session
from orcha._core.array_items import packed
from orcha._protocol import values
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Item, Verdict
from peer_work import expect
from support import SCALE, machine, milliseconds, row, scaled, service

if TYPE_CHECKING:
    from collections.abc import Callable

ELEMENTS = scaled(100_000)
WARM = 100
PAUSE = 0.002
"""Seconds between two submits of somebody else."""
REMAINING_SECONDS = 1 / SCALE
"""Seconds for which the others' submits go on after an array was accepted."""


def message(argv: list[str], **extras: Any) -> Item:
    """Make what a submit of a command asks for that is not followed."""
    identity = new_identity()
    content = {"argv": argv, "cwd": "/", "env": {"PATH": "/usr/bin:/bin"}, **extras}
    return Item(identity, identity.hex(), values.encode(content), None)


def accept(session: Session, array: dict[str, Any]) -> str:
    """Ask for an array, and give its id when it is kept."""
    item = message(["/bin/sleep", "1000", "{}"], array=array)
    expect(session.submit([item], MANAGER)[0].verdict, Verdict.ACCEPTED)
    return str(item.id)


class Others:
    """Somebody else who submits one command after the other, each to start in a year."""

    def __init__(self, port: int) -> None:
        """Begin."""
        self._session = connect(port)
        self._over = threading.Event()
        self.times: list[float] = []
        self._thread = threading.Thread(target=self._submit)
        self._thread.start()

    def _submit(self) -> None:
        while not self._over.is_set():
            item = message(["/bin/true"], delay=365 * 86_400.0)
            begun = time.perf_counter()
            self._session.submit([item], MANAGER)
            self.times.append(time.perf_counter() - begun)
            time.sleep(PAUSE)

    def stop(self) -> list[float]:
        """End; give how long each submit took."""
        self._over.set()
        self._thread.join()
        self._session.close()
        return self.times


def measured(what: str, make: Callable[[], dict[str, Any]]) -> None:
    """Measure one kind of array over a service of its own."""
    with service("1", script="command_service.py") as running:
        session = connect(running.port)
        array = make()
        _cancelled(session, accept(session, {"range": [1, 2 * WARM, 1]}))  # what is only done once is done
        before = running.memory()
        name, taken = _accepted(session, array)
        time.sleep(REMAINING_SECONDS)
        grown = running.memory() - before
        begun = time.perf_counter()
        _cancelled(session, name)
        cancelled = time.perf_counter() - begun
        others = Others(running.port)
        time.sleep(REMAINING_SECONDS)
        name = accept(session, array)
        time.sleep(REMAINING_SECONDS)
        times = others.stop()
        _cancelled(session, name)
        row(f"{what}: accepted, durable", f"{taken:.3f} s", "≤ 2 s")
        row(f"{what}: memory an element", f"{grown / ELEMENTS:.0f} B", "≤ 200 B")
        row(
            f"{what}: others' submits meanwhile", f"{milliseconds(times)}, longest {max(times) * 1e3:.1f} ms", "≤ 50 ms"
        )
        row(f"{what}: cancelled", f"{cancelled:.3f} s", "none")
        session.close()


def _accepted(session: Session, array: dict[str, Any]) -> tuple[str, float]:
    begun = time.perf_counter()
    name = accept(session, array)
    return name, time.perf_counter() - begun


def _cancelled(session: Session, name: str) -> None:
    expect(session.cancel(id=name, at_once=True).verdict, Verdict.OK)


def lines() -> dict[str, Any]:
    """Give an array of paths."""
    items = (f"/data/recordings/session-{number // 97:05}/channel-{number:06}.wav" for number in range(ELEMENTS))
    return {"packed": list(packed(items)), "total": ELEMENTS}


def main() -> None:
    """Measure, and print rows of a table."""
    print(machine())
    row("measurement", "result", "goal")
    row("---", "---", "---")
    measured(f"{ELEMENTS:,} numbers", lambda: {"range": [1, ELEMENTS, 1]})
    measured(f"{ELEMENTS:,} lines", lines)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        ELEMENTS = int(sys.argv[1])
    main()
