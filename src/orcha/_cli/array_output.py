"""What the elements of an array write, shown line by line after their ids, as one channel that ends with the array."""

from __future__ import annotations

import queue
from threading import BoundedSemaphore, Lock, Thread  # noqa: TID251 - each element has a channel of its own to wait for

from orcha._cli import output
from orcha._cli.printing import Prefixing
from orcha.exceptions import OrchaError
from orcha.utils.threads import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orcha._cli.session import Session
    from orcha._client.channel import ClientChannel

MAX_FOLLOWED_ELEMENTS = 64
"""Elements that are followed at once; the output of the others is kept, and shown later."""
_MAX_WAITING_PIECES = 256


class ArrayChannel:
    """The channel of an array: `get` shows what the elements write, and gives the values of the array itself."""

    def __init__(self, service: Session, channel: ClientChannel, widest: str, *, is_careful: bool = False) -> None:
        """Follow a channel of an array; `widest` is the longest id of an element.

        Where `is_careful`, the array is another user's: a terminal gets escapes in the place of control characters.
        """
        self._is_careful = is_careful
        self.__orcha_channel__ = channel.__orcha_channel__
        self._service = service
        self._channel = channel
        self._shown = Prefixing(None, [widest])
        self._arrived: queue.Queue[tuple[str | None, Any]] = queue.Queue(_MAX_WAITING_PIECES)
        self._room = BoundedSemaphore(MAX_FOLLOWED_ELEMENTS)
        self._lock = Lock()
        self._left = 1
        """Elements that are followed, and the array's own channel."""
        self._final: Any = None
        self._seen: set[int] = set()
        start(Thread(target=self._read, name="orcha-array", daemon=True))

    @property
    def ended_here(self) -> bool:
        """Whether the channel ended since the service stayed away."""
        return self._channel.ended_here

    def get(self, timeout: float | None = None) -> Any:
        """Show what elements write, and give the next value of the array itself.

        Raises:
            queue.Empty: nothing arrived in the time.
            OSError: the output of an element cannot be shown.

        """
        while True:
            identity, piece = self._arrived.get(timeout=timeout)
            if identity is None:
                return piece
            if piece is None:
                self._shown.end(identity)
            else:
                if self._is_careful:
                    self._shown.be_careful(identity)
                self._shown.show(identity, piece)

    # --- on other threads ---------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Follow each element that the channel names; the array's final value comes after all their output."""
        while True:
            value = self._channel.get()
            if isinstance(value, dict) and "index" in value:
                self._follow(value)
            elif value is None or (isinstance(value, int) and not isinstance(value, bool)):
                self._final = value
                self._one_less()
                return
            else:
                self._arrived.put((None, value))

    def _follow(self, element: dict[str, Any]) -> None:
        if "refused" in element:
            self._arrived.put((None, f"element {element['index']} was refused: {element['refused']}\n"))
        elif element["seq"] not in self._seen:
            self._seen.add(element["seq"])
            self._room.acquire()
            with self._lock:
                self._left += 1
            start(Thread(target=self._follow_one, args=(element["id"],), name="orcha-element", daemon=True))

    def _follow_one(self, identity: str) -> None:
        try:
            for piece in output.of_channel(self._service.output(self._service.details(identity))):
                self._arrived.put((identity, piece))
        except OrchaError:
            pass  # it was forgotten meanwhile, or the service stays away, which the array's own channel tells
        self._arrived.put((identity, None))
        self._room.release()
        self._one_less()

    def _one_less(self) -> None:
        """Pass on the final value once it has come and no element is followed any more."""
        with self._lock:
            self._left -= 1
            is_over = not self._left
        if is_over:
            self._arrived.put((None, self._final))
