"""What a client is told by a service that stops."""

from __future__ import annotations

from orcha.exceptions.base import OrchaError


class ManagerShutdownError(OrchaError):
    """The service is stopping and takes nothing new: send it again when the service is back."""

    exit_code = 75


__all__ = ["ManagerShutdownError"]
