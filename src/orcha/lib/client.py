"""The client's side, with nothing to override."""

from __future__ import annotations

from orcha.lib.manager import Manager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from orcha.interfaces.message import Message
    from orcha.interfaces.petition import Petition


class ClientManager(Manager):
    """Connects to a service, sends it messages and cancels petitions.

    Example::

        manager = ClientManager()
        manager.connect()
        queue = manager.manager.Queue()
        manager.send(Message("1", {"queue": queue}))
        print(queue.get())

    """

    def __init__(
        self,
        listen_address: str | None = None,
        port: int | None = None,
        auth_key: bytes | str | None = None,
    ) -> None:
        """Take where the service is; as :class:`Manager` resolves it where it is not given."""
        super().__init__(listen_address, port, auth_key, create_processor=False, is_client=True)

    def convert_to_petition(self, m: Message) -> NoReturn:
        """Be of no use on a client: raises NotImplementedError."""
        raise NotImplementedError("messages become petitions in the service")

    def on_start(self, petition: Petition) -> NoReturn:
        """Be of no use on a client: raises NotImplementedError."""
        raise NotImplementedError("petitions start in the service")

    def on_finish(self, petition: Petition) -> NoReturn:
        """Be of no use on a client: raises NotImplementedError."""
        raise NotImplementedError("petitions end in the service")


__all__ = ["ClientManager"]
