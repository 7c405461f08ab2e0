"""What the engine is to handle, and whose turn it is."""

from __future__ import annotations

import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import Any

Event = tuple[Any, ...]
"""A handler and its arguments."""


class Inbox:
    """Events for the engine, put by any thread, in order.

    Whoever holds `turn` is the engine. The engine's own thread is woken by the bell.
    """

    def __init__(self) -> None:
        """Be empty."""
        self.turn = threading.Lock()
        self._events: deque[Event] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._rung = False

    def __len__(self) -> int:
        """Count what nobody has taken."""
        return len(self._events)

    def add(self, event: Event) -> None:
        """Put an event, and wake nobody: the caller takes the turn, or rings."""
        self._events.append(event)

    def put(self, event: Event) -> None:
        """Put an event, and have the engine's thread look at it."""
        self._events.append(event)
        self.ring()

    def ring(self) -> None:
        """Have the engine's thread look."""
        if not self._rung:
            self._rung = True
            self._bell.put(None)

    def wait(self, timeout: float | None) -> bool:
        """Wait for the bell, on the engine's thread; False where the seconds passed without it."""
        try:
            self._bell.get(timeout=timeout)
        except Empty:
            return False
        self._rung = False  # before the events are taken: one that comes after rings again
        return True

    def take(self, most: int) -> list[Event]:
        """Take the oldest events; with the turn."""
        events = self._events
        return [events.popleft() for _ in range(min(len(events), most))]
