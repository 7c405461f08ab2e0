"""Clients on machines that are gone, as by a power cut, while bytes are on the way to them.

The kernel itself asks a machine only while nothing goes either way, and tries for some 15 minutes to have bytes
acknowledged. TCP_USER_TIMEOUT would give up sooner (tcp(7)), but also for a client that reads nothing for a while, as a
stopped process does: so the service asks the kernel what the other kernel has acknowledged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._protocol.socket_ends import GONE_SECONDS

if TYPE_CHECKING:
    from orcha._server.connection_table import ConnectionTable

_LOOKS = 3
"""Within the seconds after which a machine counts as gone."""


class GoneClients:
    """Cuts off clients whose machines acknowledge nothing; the loop's."""

    def __init__(self, table: ConnectionTable, seconds: float = GONE_SECONDS) -> None:
        """Know the connections; a machine that acknowledges nothing for `seconds` is gone."""
        self._table = table
        self._seconds = seconds

    def look(self) -> None:
        """Look at all connections now, and again and again."""
        for connection in list(self._table.connections):
            if connection.is_gone(self._seconds):
                connection.abort()
        self._table.loop.call_later(self._seconds / _LOOKS, self.look)


__all__ = ["GoneClients"]
