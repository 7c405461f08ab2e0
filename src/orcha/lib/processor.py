"""A view of what a service runs, as plugins written for 0.2.6 know it."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from orcha.interfaces.message import Message
    from orcha.interfaces.petition import Petition
    from orcha.lib.manager import Manager


class Processor:
    """The service's running petitions, and the settings of choosing. ``Processor()`` gives the one of this process.

    Raises:
        ValueError: there is none yet, and no manager is given.

    """

    _instance: ClassVar[Processor | None] = None

    manager: Manager
    _stopped: threading.Event

    def __new__(cls, manager: Manager | None = None) -> Processor:  # noqa: PYI034 - it may be one made before
        """Give the one there is, or make it for a manager."""
        if manager is None:
            if cls._instance is None:
                message = "there is no processor yet: a service's manager makes it"
                raise ValueError(message)
            return cls._instance
        processor = super().__new__(cls)
        processor.manager = manager
        processor._stopped = threading.Event()
        cls._instance = processor
        return processor

    @property
    def running(self) -> bool:
        """Whether it starts petitions; set it to False to stop that, and to True to go on."""
        service = self.manager._service  # noqa: SLF001 - its other half
        return service is not None and service.is_starting

    @running.setter
    def running(self, value: bool) -> None:
        service = self.manager._service  # noqa: SLF001 - its other half
        if service is not None:
            service.is_starting = value

    @property
    def look_ahead(self) -> int | None:
        """How many of the first waiting petitions are asked whether they may start; None for all."""
        return self.manager.look_ahead

    @look_ahead.setter
    def look_ahead(self, value: int | None) -> None:
        service = self.manager._service  # noqa: SLF001 - its other half
        if service is not None:
            service.look_ahead(value)
        self.manager.look_ahead = value

    @property
    def notify_watchdog(self) -> bool:
        """Whether a watchdog petition tells systemd."""
        return self.manager.notify_watchdog

    def wait(self, n: float) -> bool:
        """Wait `n` seconds, or until `shutdown`; tell whether that was called."""
        return self._stopped.wait(n)

    def is_running(self, m: Message | Petition | int | str) -> bool:
        """Tell whether the petition is running."""
        return self.manager.is_running(m)

    exists = is_running

    def enqueue(self, m: Message) -> None:
        """Submit a message from within the service."""
        self.manager.send(m)

    def finish(self, m: Message | int | str) -> bool:
        """Cancel a petition from within the service."""
        return self.manager.finish(m)

    def shutdown(self) -> None:
        """Stop the service."""
        self._stopped.set()
        self.manager.shutdown()


__all__ = ["Processor"]
