"""How a client knows a service that its user has named, and how the service knows the client."""

from __future__ import annotations

from typing import NamedTuple

SYSTEM_AUTHORITIES = "system"
"""In place of a file with authorities: the machine's own authorities."""


class ServiceTrust(NamedTuple):
    """What stands with the name of a service; a service over TLS without an authority is recognised by its pin."""

    name: str
    key: str | None = None
    """The file with the key that the client proves; None for the user's own."""
    ca: str | None = None
    """The file with the authority of the service's certificate, or SYSTEM_AUTHORITIES; None for a pin."""
    certificate: str | None = None
    """The file with a certificate that the client shows, in PEM; None for none."""
    certificate_key: str | None = None
    """The file with its key; None where the certificate's file has that, too."""


__all__ = ["SYSTEM_AUTHORITIES", "ServiceTrust"]
