"""Managers that know the watchdog petition: a sign of life that goes through the whole service."""

from __future__ import annotations

from orcha.interfaces.built_in import WATCHDOG, WATCHDOG_MANAGER
from orcha.lib.client import ClientManager
from orcha.lib.manager import Manager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orcha.interfaces.message import Message
    from orcha.interfaces.petition import Petition


class _SendsWatchdog(Manager):
    """Adds `send_watchdog`."""

    def send_watchdog(self, queue: Any = None) -> None:
        """Send a watchdog petition; its answer comes on `queue`: 0, or errno.EPERM when systemd is not told.

        Raises:
            as :meth:`Manager.send`.

        """
        from orcha.interfaces.message import Message

        self._way().send(Message(WATCHDOG, {"queue": queue}))


class WatchdogManager(_SendsWatchdog):
    """A service's manager that answers watchdog petitions.

    Override `convert_to_petition` as ``return super().convert_to_petition(m) or MyPetition(...)``.
    """

    _stored_as = WATCHDOG_MANAGER

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Give the watchdog petition for a watchdog message, None for any other."""
        if m.id != WATCHDOG:
            return None
        from orcha.interfaces.petition import WatchdogPetition

        return WatchdogPetition(self.notify_watchdog, m.extras.get("queue"))

    def on_start(self, petition: Petition) -> bool | None:
        """Do nothing more."""
        return super().on_start(petition)

    def on_finish(self, petition: Petition) -> bool | None:
        """Do nothing more."""
        return super().on_finish(petition)


class WatchdogClientManager(_SendsWatchdog, ClientManager):
    """A client that can send a watchdog petition."""


__all__ = ["WatchdogClientManager", "WatchdogManager"]
