"""The connection of a verb to the service that the options before the command name."""

from __future__ import annotations

from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from orcha._wire.client import Client


@contextmanager
def connected() -> Iterator[Client]:
    """Give a connected client, and close it.

    Raises:
        OrchaConnectionError: nobody listens there.
        AuthenticationError: the service does not accept the key.

    """
    from orcha.lib import ClientManager

    client = ClientManager().manager.client
    try:
        client.connect()
        yield client
    finally:
        client.close()
