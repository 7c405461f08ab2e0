"""Which logins are told among the deeds of clients: each kind of login once in an hour, with how many there were.

Else each `orcha ps` would be an entry, and a flood of refused logins would push out what clients did.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._server.client_login import ClientLogin

WINDOW_SECONDS = 3_600.0
"""A login like another one within this time is counted, and told with the next one."""
MAX_KINDS_OF_ONE_USER = 100
"""Kinds of logins of one user, and of all strangers together, that are told apart within that time."""


class LoginBook:
    """Counts logins; the loop thread's.

    >>> from orcha._server.client_login import ClientLogin
    >>> told, clock = [], iter([0.0, 1.0, 2.0, 4000.0])
    >>> book = LoginBook(lambda login, count: told.append((login.who, count)), now=clock.__next__)
    >>> for _ in range(4):
    ...     book.note(ClientLogin("uid:7", "", "socket", ""))
    >>> told
    [('uid:7', 1), ('uid:7', 3)]
    """

    def __init__(self, tell: Callable[[ClientLogin, int], None], *, now: Callable[[], float] = time.monotonic) -> None:
        """Tell of no login yet.

        Args:
            tell: takes a login, and for how many like it the login stands.
            now: gives seconds of a clock that never goes back.

        """
        self._tell = tell
        self._now = now
        self._since: dict[ClientLogin, float] = {}
        """When a login of each kind was told last."""
        self._untold: dict[ClientLogin, int] = {}
        """How many were not told since."""
        self._kinds: dict[str, int] = {}
        """Of each user how many kinds are told apart."""
        self._looked_at = 0.0

    def note(self, login: ClientLogin) -> None:
        """Count a login, and tell of it where that is due."""
        now = self._now()
        self._note(login, now)
        if now - self._looked_at >= WINDOW_SECONDS:
            self._looked_at = now
            self._forget_old(now)

    def _note(self, login: ClientLogin, now: float) -> None:
        if login not in self._since and self._kinds.get(login.who, 0) >= MAX_KINDS_OF_ONE_USER:
            login = login.without_place()  # all further logins are one kind
        since = self._since.get(login)
        if since is not None and now - since < WINDOW_SECONDS:
            self._untold[login] = self._untold.get(login, 0) + 1
            return
        if since is None:
            self._kinds[login.who] = self._kinds.get(login.who, 0) + 1
        self._since[login] = now
        self._tell(login, self._untold.pop(login, 0) + 1)

    def _forget_old(self, now: float) -> None:
        """Tell what was counted of kinds that came no more, and forget these kinds."""
        for login in [each for each, since in self._since.items() if now - since >= WINDOW_SECONDS]:
            if count := self._untold.pop(login, 0):
                self._since[login] = now
                self._tell(login, count)
            else:
                del self._since[login]
                self._kinds[login.who] -= 1
                if not self._kinds[login.who]:
                    del self._kinds[login.who]


__all__ = ["MAX_KINDS_OF_ONE_USER", "WINDOW_SECONDS", "LoginBook"]
