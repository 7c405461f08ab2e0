"""A login: a client was let in, or was refused when its user was known, or it had begun to prove a key."""

from __future__ import annotations

from typing import NamedTuple

CERTIFICATE = "certificate"
"""The door of clients who prove no key, and show a certificate."""
STRANGER = "unknown"
"""Stands for the user of a refused client where no kernel names the user."""


class ClientLogin(NamedTuple):
    """Who tried to come in, how, and what came of it.

    >>> ClientLogin("uid:7", "", "socket", "").reason
    ''
    """

    who: str
    """The identity of the client; of a refused client the user whom the kernel names, else STRANGER."""
    key: str
    """The name of a named key, which a refused client may only have said; empty for any other key and for none."""
    door: str
    """Where the client came in: "socket", "key" or CERTIFICATE."""
    host: str
    """The address of the client's machine; empty for this one."""
    reason: str = ""
    """Why it was refused, with what this client has shown in brackets at the end; empty where it was let in."""

    def without_place(self) -> ClientLogin:
        """Give what all logins of one user by this door, with this end, have in common.

        >>> ClientLogin("unknown", "ci", "certificate", "192.0.2.7", "no key is of it (cn:ci)").without_place().reason
        'no key is of it'
        """
        return self._replace(key="", host="", reason=self.reason.partition(" (")[0])


__all__ = ["CERTIFICATE", "STRANGER", "ClientLogin"]
