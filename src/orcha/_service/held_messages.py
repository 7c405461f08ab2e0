"""Holds back what a client sends until its user was looked up, so that the engine finds the answer as data.

Other clients' messages go past. What one user's clients send stays in its order.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from orcha._protocol.frames import MAX_FRAME_BYTES, FrameError, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._protocol.messages import ClientMessage
    from orcha._server.server import Peer
    from orcha._service.user_directory import UserDirectory

MAX_HELD_EVENTS = 1_000
"""Events of one user that are held back; with one more the engine goes on with what is known of the user."""
MAX_HELD_BYTES = 32 << 20
"""Bytes of all that is held back; with more the engine goes on with what is known of the user who has most of them."""
_EVENT_BYTES = 500
"""Bytes that an event takes beside its message."""


class _HeldEvent(NamedTuple):
    handler: Callable[..., None]
    arguments: tuple[Peer, *tuple[ClientMessage, ...]]


class _HeldOfUser:
    """What is held back of one user."""

    def __init__(self) -> None:
        self.events: list[_HeldEvent] = []
        self.size = 0
        """Bytes."""


class HeldMessages:
    """Has the events of clients whose users are being looked up; the loop thread brings them, the engine frees them."""

    def __init__(self, directory: UserDirectory, post: Callable[..., None]) -> None:
        """Hold nothing; `post` has the engine make a call."""
        self._directory = directory
        self._post = post
        self._lock = threading.Lock()
        self.held: dict[str, _HeldOfUser] = {}
        """By user, until all that was held of the user has been posted. Any thread may look whether it is empty."""
        self._size = 0
        """Bytes of all that is held."""

    def hold(self, user: str, handler: Callable[..., None], peer: Peer, *message: ClientMessage) -> bool:
        """Hold an event of a user's client back; False where nothing is waited for: the event is the caller's then."""
        if user not in self.held and not self._directory.is_due(user):
            return False
        size = _EVENT_BYTES + sum(map(_size_of, message))
        with self._lock:
            held = self.held.get(user)
            if held is None:
                if not self._directory.is_due(user):  # it has been looked up meanwhile
                    return False
                held = self.held[user] = _HeldOfUser()
                self._post(self._directory.ask, user, partial(self._free, user))
            held.events.append(_HeldEvent(handler, (peer, *message)))
            held.size += size
            self._size += size
            if len(held.events) > MAX_HELD_EVENTS:
                self._post_all(user)
            while self._size > MAX_HELD_BYTES:
                self._post_all(max(self.held, key=lambda each: self.held[each].size))
        return True

    def _free(self, user: str) -> None:
        with self._lock:
            self._post_all(user)

    def _post_all(self, user: str) -> None:
        """Hand over what is held, and hold nothing any more only then: an event that comes meanwhile comes after."""
        held = self.held.get(user)
        if held is None:
            return
        for event in held.events:
            self._post(event.handler, *event.arguments)
        self._size -= held.size
        del self.held[user]


def _size_of(message: ClientMessage) -> int:
    try:
        return len(encode(message))
    except FrameError:  # it came without its last fields, and is longer with them
        return MAX_FRAME_BYTES


__all__ = ["MAX_HELD_BYTES", "MAX_HELD_EVENTS", "HeldMessages"]
