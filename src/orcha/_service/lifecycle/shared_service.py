"""A service as one of its several managers sees it: the manager lists and cancels its own petitions alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from orcha._protocol.messages import Item, Result
    from orcha._service.hooks.managers import Served
    from orcha._service.lifecycle.compose import Service
    from orcha.interfaces.petition import Petition


class Share:
    """One manager's part of a service that serves several."""

    def __init__(self, service: Service, served: Served) -> None:
        """Belong to that manager."""
        self._service = service
        self._served = served
        self.port = service.port

    def granted(self) -> Collection[str]:
        """Give the running petitions of this manager, by str(id)."""
        return self._service.granted(self._served.name)

    def submit(self, items: Sequence[Item]) -> list[Result] | None:
        """Take messages for this manager; None in a hook, where nothing is waited for."""
        return self._service.submit(items, self._served.plugin)

    def cancel(self, key: str) -> bool:
        """Cancel one of this manager's petitions; False where none of this str(id) waits or runs."""
        return self._service.cancel(key, self._served.name)

    def is_in_hook(self) -> bool:
        """Tell whether the caller is a hook."""
        return self._service.is_in_hook()

    def wake(self) -> None:
        """Have blocked conditions asked again."""
        self._service.wake()

    def look_ahead(self, count: int | None) -> None:
        """Change nothing: what is considered is the same for all managers."""

    def has_started(self, petition: Petition) -> bool:
        """Tell whether a petition has been started by this service."""
        return self._service.has_started(petition)

    @property
    def is_starting(self) -> bool:
        """Whether petitions are started."""
        return self._service.is_starting

    @is_starting.setter
    def is_starting(self, value: bool) -> None:
        self._service.is_starting = value

    def start(self) -> None:
        """Do nothing: all are started together."""

    def stop(self, *, now: bool = False) -> None:
        """Stop the whole service."""
        self._service.stop(now=now)

    def join(self) -> None:
        """Wait until the whole service has stopped."""
        self._service.join()
