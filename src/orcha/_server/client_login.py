"""A login: a client that was let in, or that was refused after it had said who it is."""

from __future__ import annotations

from typing import NamedTuple

STRANGER = "unknown"
"""Who a client is that was refused, and of whom no kernel says which user it is."""


class ClientLogin(NamedTuple):
    """Who tried to come in, how, and what came of it.

    >>> ClientLogin("uid:7", "", "socket", "").reason
    ''
    """

    who: str
    """The identity of the client; of a refused client the user whom the kernel names, else STRANGER."""
    key: str
    """The name of the named key, which a refused client has only said; empty for every other key, and none."""
    door: str
    """Where the client came in: "socket" or "key"."""
    host: str
    """The address of the client's machine; empty for this one."""
    reason: str = ""
    """Why it was refused; empty where it was let in."""

    def without_place(self) -> ClientLogin:
        """Give what logins of one user have in common that differ in key and machine."""
        return self._replace(key="", host="")


__all__ = ["STRANGER", "ClientLogin"]
