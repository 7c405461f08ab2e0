"""Searches of the store, on a thread of their own: the engine handles other events meanwhile."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from orcha.utils.threads import NoThreadError, guarded, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha.utils.threads import OnDeath


class Searches:
    """Makes searches one after the other; the engine's, but for what its threads do."""

    def __init__(self, post: Callable[..., None], on_death: OnDeath) -> None:
        """Start no thread; `post` has the engine make a call, and `on_death` is told where a thread dies."""
        self._post = post
        self._on_death = on_death
        self._waiting: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()
        self._is_busy = False

    def begin(self, look: Callable[[], Any], take: Callable[[Any], None]) -> None:
        """Have `look` called on another thread, and what it gives or raises taken on the engine's thread."""
        self._waiting.append((look, take))
        self._next()

    def _next(self) -> None:
        if self._is_busy or not self._waiting:
            return
        look, take = self._waiting.popleft()
        thread = guarded("orcha-search", lambda: self._post(self._over, take, _found(look)), self._on_death)
        self._is_busy = True
        try:
            start(thread)
        except NoThreadError as error:
            self._over(take, error)

    def _over(self, take: Callable[[Any], None], found: Any) -> None:
        self._is_busy = False
        self._next()
        take(found)


def _found(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - who asked is told
        return error


__all__ = ["Searches"]
