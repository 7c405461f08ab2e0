"""What a client notices of 2,000 sockets that send the first bytes of a handshake slowly.

python bench/slow_sockets.py

A process of its own keeps so many connections, half over TCP and half over the Unix socket. Each sends a byte twice a
second, and is made anew half a second after the service has closed it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING

from noop import connect, run_one
from orcha._protocol.endpoint import with_short_path
from support import MeasuredService, machine, milliseconds, row, scaled, service

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from orcha.lib import ClientManager

SOCKETS = scaled(2_000)
PETITIONS = scaled(1_000)
PAUSE_SECONDS = 0.5
BYTES = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)
"""The beginning of a hello of TLS; over the Unix socket the beginning of a frame that is too long."""


class Crowd:
    """The sockets."""

    def __init__(self, port: int, path: str) -> None:
        """Have none yet."""
        self._tcp, self._path = ("127.0.0.1", port), path
        self._poll = selectors.DefaultSelector()
        self._sent: dict[socket.socket, int] = {}
        self._lost: list[bool] = []

    def join(self, *, over_tcp: bool) -> None:
        """Make one; raises OSError where the service accepts none now."""
        made = socket.socket(socket.AF_INET if over_tcp else socket.AF_UNIX)
        made.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            if over_tcp:
                made.connect(self._tcp)
            else:
                with_short_path(self._path, made.connect)
        self._poll.register(made, selectors.EVENT_READ, over_tcp)
        self._sent[made] = 0

    def wait(self, until: float) -> None:
        """Note which sockets the service closes."""
        while (left := until - time.monotonic()) > 0:
            for key, _ in self._poll.select(left):
                closed: socket.socket = key.fileobj  # type: ignore[assignment]  # these are what is registered
                self._poll.unregister(closed)
                closed.close()
                del self._sent[closed]
                self._lost.append(key.data)

    def step(self) -> None:
        """Make the closed ones anew, and send a byte on each."""
        left, self._lost = self._lost, []
        for over_tcp in left:
            try:
                self.join(over_tcp=over_tcp)
            except OSError:
                self._lost.append(over_tcp)
        for each, place in list(self._sent.items()):
            with contextlib.suppress(OSError):
                each.send(BYTES[place % len(BYTES) :][:1])
                self._sent[each] = place + 1


def keep_crowd(port: int, path: str, all_there: Event) -> None:
    """Keep the sockets until this process is ended."""
    crowd = Crowd(port, path)
    for number in range(SOCKETS):
        while True:  # the service accepts a few hundred at once
            try:
                crowd.join(over_tcp=number % 2 == 0)
                break
            except OSError:
                time.sleep(0.001)
    all_there.set()
    while True:
        crowd.step()
        crowd.wait(time.monotonic() + PAUSE_SECONDS)


def petitions(manager: ClientManager, name: str) -> list[float]:
    """Give the seconds from `send` to the final value, one petition at a time."""
    return [run_one(manager, f"{name}-{number}") for number in range(PETITIONS)]


def main() -> None:
    """Measure, print a table."""
    with service("64") as running:
        row(f"no-op petition, one at a time ({machine()})", "submit → done: p50 / p99", "processor", "wanted")
        row("---", "---", "---", "---")
        manager = connect(running)
        used, begun = running.cpu(), time.monotonic()
        row("alone", milliseconds(petitions(manager, "alone")), _share(running, used, begun), "—")
        context = get_context("spawn")
        all_there = context.Event()
        path = next(running.home.rglob("orcha.sock"))
        process = context.Process(target=keep_crowd, args=(running.port, os.fspath(path), all_there), daemon=True)
        process.start()
        if not all_there.wait(60):
            raise RuntimeError("the sockets are not there")
        used, begun = running.cpu(), time.monotonic()
        times = petitions(manager, "beside")
        share = _share(running, used, begun)
        row(f"beside {SOCKETS:,} slow sockets", milliseconds(times), share, "p99 ≤ 100 ms")
        process.kill()
        process.join()
        manager.shutdown()


def _share(running: MeasuredService, used: float, begun: float) -> str:
    return f"{(running.cpu() - used) / (time.monotonic() - begun):.0%}"


if __name__ == "__main__":
    main()
