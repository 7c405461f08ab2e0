"""The files of a certificate of people's own; in a module of its own, since reading them takes heavy imports."""

from __future__ import annotations

from typing import NamedTuple


class TlsFiles(NamedTuple):
    """The files of a service with a certificate of people's own, in PEM."""

    certificate: str
    """The service's certificate, and behind it the certificates that lead to the authority."""
    key: str
    client_ca: str | None = None
    """The authority whose certificates clients have to show beside the key; None where they need none."""


__all__ = ["TlsFiles"]
