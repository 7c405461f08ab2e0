"""The connections that are without authentication, and which of them yields to a new connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orcha._server.connection import ClientConnection


class UnauthenticatedConnections:
    """Connections before authentication, by the user of the client as the kernel names the user.

    Where there are too many the user with the most yields: one user's connections keep nobody else out. All clients of
    a TCP port, whose user no kernel names, are one user here.
    """

    def __init__(self) -> None:
        self._of_users: dict[int | None, dict[ClientConnection, None]] = {}
        """The connections of each user, oldest first."""
        self._number = 0

    def __len__(self) -> int:
        """Give how many connections there are."""
        return self._number

    def add(self, connection: ClientConnection) -> None:
        """Take in a new connection."""
        self._of_users.setdefault(_user(connection), {})[connection] = None
        self._number += 1

    def discard(self, connection: ClientConnection) -> None:
        """Forget a connection, which need not be there any more."""
        user = _user(connection)
        theirs = self._of_users.get(user, {})
        if connection not in theirs:
            return
        del theirs[connection]
        self._number -= 1
        if not theirs:
            del self._of_users[user]

    def first_to_yield(self) -> ClientConnection | None:
        """Give the oldest connection of the user who has the most; None where there is none."""
        most = max(self._of_users.values(), key=len, default=None)
        return None if most is None else next(iter(most))


def _user(connection: ClientConnection) -> int | None:
    return None if connection.credentials is None else connection.credentials.uid


__all__ = ["UnauthenticatedConnections"]
