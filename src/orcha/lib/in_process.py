"""A manager's way to the service it is itself: without a connection, and in a hook without waiting."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from orcha._service.lifecycle.compose import Service
    from orcha._service.lifecycle.shared_service import Share
    from orcha.interfaces.message import Message
    from orcha.lib.remote import Remote


class InProcessClient:
    """What `send` and `finish` of a manager that serves go through."""

    def __init__(self, service: Service | Share, remote: Callable[[], Remote]) -> None:
        """Ask this service; `remote` gives the way around for a channel that is read in the service itself."""
        self._service = service
        self._remote = remote

    def send(self, message: Message, secrets: Mapping[str, bytes] | None = None) -> None:
        """Submit one message."""
        if secrets:
            raise ValueError("the service's own code has secrets from no client: give the CommandPetition their values")
        self.send_many([message])

    def send_many(self, messages: Sequence[Message]) -> None:
        """Submit messages; in a hook return at once, and leave a refusal to the log."""
        from orcha._client.channel import ClientChannel
        from orcha.lib.remote import items_of, report

        channels = [_channel_of(message) for message in messages]
        if any(isinstance(channel, ClientChannel) for channel in channels):
            self._around().send_many(messages)
            return
        results = self._service.submit(items_of(messages, channels))
        if results is not None:
            report(messages, [None] * len(messages), results)

    def finish(self, message: Message | int | str) -> bool:
        """Decide that a petition ends."""
        from orcha.lib.remote import id_of

        return self._service.cancel(str(id_of(message)))

    def _around(self) -> Remote:
        """Connect to itself: what waits here for an answer must not be what the answer waits for."""
        if self._service.is_in_hook():
            raise RuntimeError("a hook cannot send a message with a channel of its own service: nobody could read it")
        remote = self._remote()
        remote.connect()
        return remote


def _channel_of(message: Message) -> Any:
    """Give the first channel in a message, whichever client reads it."""
    for value in message.extras.values():
        if hasattr(value, "__orcha_channel__"):
            return value
    return None


__all__ = ["InProcessClient"]
