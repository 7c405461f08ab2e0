"""Holds back what a client sends until its user was looked up, so that the engine finds the answer as data.

Other clients' messages go past. What one user's clients send stays in its order.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._service.user_directory import UserDirectory

MAX_HELD_EVENTS = 1_000
"""Events of one user that are held back; with one more the engine goes on with what is known of the user."""


class HeldMessages:
    """Has the events of clients whose users are being looked up; the loop thread brings them, the engine frees them."""

    def __init__(self, directory: UserDirectory, post: Callable[..., None]) -> None:
        """Hold nothing; `post` has the engine make a call."""
        self._directory = directory
        self._post = post
        self._lock = threading.Lock()
        self._held: dict[str, list[tuple[Any, ...]]] = {}
        """A handler and its arguments for each event, by user."""

    def hold(self, user: str, handler: Callable[..., None], *arguments: object) -> bool:
        """Hold an event of a user's client back; False where nothing is waited for: the event is the caller's then."""
        if user not in self._held and not self._directory.is_due(user):
            return False
        with self._lock:
            held = self._held.get(user)
            if held is None:
                if not self._directory.is_due(user):  # it has been looked up meanwhile
                    return False
                held = self._held[user] = []
                self._post(self._directory.ask, user, partial(self._free, user))
            held.append((handler, *arguments))
            if len(held) > MAX_HELD_EVENTS:
                self._post_all(user)
        return True

    def _free(self, user: str) -> None:
        with self._lock:
            self._post_all(user)

    def _post_all(self, user: str) -> None:
        """Hand over what is held, and hold nothing any more only then: an event that comes meanwhile comes after."""
        for event in self._held.get(user, ()):
            self._post(*event)
        self._held.pop(user, None)


__all__ = ["MAX_HELD_EVENTS", "HeldMessages"]
