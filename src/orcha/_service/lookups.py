"""Questions to the directory of users (passwd, sssd, LDAP), each on a thread of its own and with a deadline.

A directory server that hangs costs a thread, and keeps nobody waiting but the client whose question it is.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha.utils.threads import NoThreadError, guarded, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._service.timers import Timers
    from orcha.utils.threads import OnDeath

LOOKUP_SECONDS = 5.0
"""Seconds after which an answer is not waited for any more."""
MAX_LOOKUP_THREADS = 16
"""Threads that may be in lookups at once; further lookups wait for one of them."""
MAX_WAITING_LOOKUPS = 1_000
"""Lookups that may wait for a thread; a further one is refused."""


class TooManyLookupsError(Exception):
    """Too many lookups wait already: no further lookup is made."""


class _Lookup(NamedTuple):
    number: int
    look: Callable[[], Any]
    late: Callable[[Any], None]


class Lookups:
    """Makes lookups; the engine's, but for `begin` and what its threads do."""

    def __init__(
        self, post: Callable[..., None], timers: Timers, on_death: OnDeath, seconds: float = LOOKUP_SECONDS
    ) -> None:
        """Start no thread; `post` has the engine make a call, and `on_death` is told where a thread dies."""
        self._post = post
        self._timers = timers
        self._on_death = on_death
        self._seconds = seconds
        self._numbers = count()
        self._threads: set[int] = set()
        """The lookups whose thread has not come back."""
        self._waiting: deque[_Lookup] = deque()
        """The lookups that wait for a thread."""
        self._takers: dict[int, Callable[[Any], None]] = {}
        """Who takes what is found, for each lookup that is still waited for."""

    def begin(
        self, look: Callable[[], Any], take: Callable[[Any], None], late: Callable[[Any], None] = lambda _: None
    ) -> None:
        """Have `look` called on a thread, from any thread.

        On the engine's thread `take` gets once what `look` gives or raises, a TimeoutError at the deadline, or a
        TooManyLookupsError. What comes after the deadline goes to `late`.
        """
        self._post(self._begin, look, take, late)

    def _begin(self, look: Callable[[], Any], take: Callable[[Any], None], late: Callable[[Any], None]) -> None:
        if len(self._waiting) >= MAX_WAITING_LOOKUPS:
            take(TooManyLookupsError(f"{len(self._waiting)} other questions to the directory of users wait"))
            return
        number = next(self._numbers)
        self._takers[number] = take
        self._timers.at(time.monotonic() + self._seconds, partial(self._give_up, number))
        self._waiting.append(_Lookup(number, look, late))
        self._next()

    def _next(self) -> None:
        while self._waiting and len(self._threads) < MAX_LOOKUP_THREADS:
            lookup = self._waiting.popleft()
            work = partial(self._work, lookup)
            try:
                start(guarded("orcha-lookup", work, self._on_death))
            except NoThreadError as error:
                self._deliver(lookup, error)
            else:
                self._threads.add(lookup.number)

    def _work(self, lookup: _Lookup) -> None:
        self._post(self._over, lookup, _found(lookup.look))

    def _over(self, lookup: _Lookup, found: Any) -> None:
        self._threads.discard(lookup.number)
        self._deliver(lookup, found)
        self._next()

    def _deliver(self, lookup: _Lookup, found: Any) -> None:
        take = self._takers.pop(lookup.number, None)
        (lookup.late if take is None else take)(found)

    def _give_up(self, number: int) -> None:
        take = self._takers.pop(number, None)
        if take is not None:
            take(TimeoutError(f"the directory of users has not answered within {self._seconds:g} s"))


def _found(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - who asked is told
        return error


__all__ = ["LOOKUP_SECONDS", "MAX_LOOKUP_THREADS", "Lookups", "TooManyLookupsError"]
