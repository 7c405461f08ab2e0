"""An authenticated client, as the service sees it."""

from __future__ import annotations

import itertools
import time

from orcha._server.client_login import CERTIFICATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._protocol.handshake import AdmittedClient
    from orcha._server.connection import ClientConnection

_ids = itertools.count(1)
_DOORS = {"unix": "socket", "tls": "key"}


class Peer:
    """An authenticated client's connection."""

    __slots__ = (
        "attempt",
        "connection",
        "door",
        "host",
        "id",
        "identity",
        "is_lost",
        "is_other",
        "key",
        "proved",
        "role",
        "since",
        "transport",
        "until",
    )

    def __init__(self, connection: ClientConnection, admission: AdmittedClient, transport: str) -> None:
        self.id = next(_ids)
        """A number that no other peer of this process has."""
        self.identity = admission.identity
        """`uid:<n>`, `key:<id>` or `key:<id>.<n>` where no kernel knows the user, or `attempt`."""
        self.role = admission.role
        """What the client may do: one of `orcha.interfaces.roles`; `attempt` may send for its `attempt` only."""
        self.attempt = admission.attempt
        """(sequence number, attempt number) of an "attempt", else None."""
        self.key = admission.key
        """The name of the named key that the client has proved; empty for every other client."""
        self.proved = admission.proved
        """By what the proof of that key was checked."""
        self.is_other = admission.is_other
        """The client is another user's than the service's own and root's, and came in by the key."""
        self.transport = transport
        """"unix" or "tls"."""
        self.until = admission.until
        """Until when the certificate is valid by which the client came in, on the wall clock; None for others."""
        self.door = _door_of(admission, transport)
        """The way by which the client came in: "socket", "key", "certificate" or "attempt"."""
        self.since = time.time()
        """When the client connected, in seconds since 1970."""
        self.host = connection.host
        """The address of the client's machine; empty for this one."""
        self.is_lost = False
        """The client is being cut off, as it let much lie or may come in no more: nothing more is done for it."""
        self.connection = connection
        """For this package only."""

    @property
    def backlog(self) -> int:
        """Bytes that were sent to the client and that it has not taken yet; from any thread, and a moment old."""
        return self.connection.backlog

    def __repr__(self) -> str:
        """Name the client."""
        return f"<Peer {self.id} {self.identity} over {self.transport}>"


def _door_of(admission: AdmittedClient, transport: str) -> str:
    if admission.attempt is not None:
        return "attempt"
    if admission.until is not None:
        return CERTIFICATE
    return _DOORS[transport]
