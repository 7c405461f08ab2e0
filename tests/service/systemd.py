"""What systemd is to a service: a socket on which the service tells its states, and time that the watchdog gives."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from support.waiting import DEADLINE

KEEP_ALIVE = "WATCHDOG=1"


class Systemd:
    """Listens where a service finds `NOTIFY_SOCKET`."""

    def __init__(self, folder: Path) -> None:
        """Listen in this folder."""
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(DEADLINE)

    def environment(self, watchdog_microseconds: int | None = None) -> dict[str, str]:
        """Give what a service finds in its environment."""
        found = {"NOTIFY_SOCKET": self.path}
        return found if watchdog_microseconds is None else found | {"WATCHDOG_USEC": str(watchdog_microseconds)}

    def next(self) -> str:
        """Wait for the next message."""
        return self._socket.recv(4096).decode()

    def wait_for(self, wanted: str | Callable[[str], bool]) -> list[str]:
        """Wait for a message, or for the first that `wanted` takes; give all until then."""
        found = [self.next()]
        while not (found[-1] == wanted if isinstance(wanted, str) else wanted(found[-1])):
            found.append(self.next())
        return found

    def drain(self) -> None:
        """Take what has been told by now."""
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(4096)
        except BlockingIOError:
            self._socket.settimeout(DEADLINE)

    def restarts(self, watchdog_microseconds: int, *, most: int = 100) -> bool:
        """Tell whether the watchdog's time passes without being fed, as it does once a thread stands still.

        False where the watchdog is fed `most` times before. A slow machine can only make this True.
        """
        self._socket.settimeout(watchdog_microseconds / 1_000_000)
        try:
            for _ in range(most):
                while self._socket.recv(4096).decode() != KEEP_ALIVE:
                    pass
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(DEADLINE)
        return False

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()
