"""A manager's way to a service: one client, and the messages sent through it."""

from __future__ import annotations

import os

from orcha._protocol.codes import Verdict
from orcha.lib.tokens import Tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from orcha._client.channel import ClientChannel
    from orcha._client.client import Client
    from orcha._protocol.endpoint import Endpoint
    from orcha._protocol.messages import Item, Result
    from orcha.exceptions import AuthenticationError
    from orcha.interfaces.message import Message

REFUSED_CODE = 1
TRY_LATER_CODE = 75
_RAISED = {
    kind.__name__: kind
    for kind in (
        ArithmeticError, AssertionError, AttributeError, FileExistsError, FileNotFoundError, IndexError, KeyError,
        LookupError, NotImplementedError, OSError, OverflowError, PermissionError, RuntimeError, TimeoutError,
        TypeError, ValueError, ZeroDivisionError,
    )
}  # fmt: skip
"""What a registered function may have raised and is raised at the caller as it was; everything else: RuntimeError."""


class Remote:
    """What a manager's `send`, `finish` and ``manager.Queue()`` go through."""

    def __init__(self, endpoint: Endpoint, key: bytes | str | None, plugin: str | None = None) -> None:
        """Be ready for a service; nothing is opened. Where it serves several managers, messages are for `plugin`'s."""
        self._plugin = plugin
        self._endpoint = endpoint
        self._key = os.fsdecode(key) if isinstance(key, bytes) else key
        self._client: Client | None = None
        self._tokens = Tokens()
        self._turned_away: AuthenticationError | None = None

    @property
    def client(self) -> Client:
        """The client, not necessarily connected."""
        if self._client is None:
            from orcha._client.client import Client

            self._client = Client(self._endpoint, self._key)
        return self._client

    def Queue(self, maxsize: int = 0) -> ClientChannel:  # noqa: N802 - the name plugins know
        """Make a channel; `maxsize` is accepted and means nothing, since a channel never blocks who writes."""
        del maxsize
        return self.client.channel()

    def connect(self) -> bool:
        """Connect; False for a wrong key."""
        from orcha.exceptions import AuthenticationError

        try:
            self.client.connect()
        except AuthenticationError as error:
            self._turned_away = error
            return False
        self._turned_away = None
        return True

    def _usable(self) -> Client:
        """Give the client, unless the service has turned it away."""
        if self._turned_away is not None:
            raise self._turned_away
        return self.client

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()

    def send(self, message: Message, secrets: Mapping[str, bytes] | None = None) -> None:
        """Submit one message, with its secrets."""
        if secrets:
            from orcha.utils.secret_values import check

            self._send([message], dict(check(secrets)))
        else:
            self._send([message])

    def send_many(self, messages: Sequence[Message]) -> None:
        """Submit messages."""
        self._send(messages)

    def _send(self, messages: Sequence[Message], secrets: dict[str, bytes] | None = None) -> None:
        """Submit messages, and bring each refusal to where it belongs."""
        from orcha._client.channel import ClientChannel

        channels = [_channel_of(message, ClientChannel) for message in messages]
        items = items_of(messages, channels)
        client = self._usable()
        self._tokens.ask([(str(item.id), item.token) for item in items])

        def answered(results: Sequence[Result]) -> None:
            self._note(items, results)
            report(messages, channels, results)

        try:
            client.submit(items, self._plugin, secrets, answered)
        except ValueError:  # one is too large, and nothing was sent
            self._tokens.refuse((str(item.id), item.token) for item in items)
            raise

    def _note(self, items: Sequence[Item], results: Sequence[Result]) -> None:
        """Note which tokens stand for a petition of their own."""
        accepted, known = Verdict.ACCEPTED, Verdict.KNOWN
        taken: list[tuple[str, bytes]] = []
        refused: list[tuple[str, bytes]] = []
        for item, result in zip(items, results, strict=True):
            verdict = result.verdict
            is_ours = verdict == accepted or (verdict == known and result.reason is None)  # else one of the same key
            (taken if is_ours else refused).append((str(item.id), item.token))
        self._tokens.accept(taken)
        if refused:
            self._tokens.refuse(refused)

    def finish(self, message: Message | int | str) -> bool:
        """Cancel by message or id."""
        key = str(id_of(message))
        client = self._usable()
        tokens = self._tokens.of(key)
        replies = [client.cancel(token=token) for token in tokens] or [client.cancel(id=key)]
        return any(reply.verdict == Verdict.OK for reply in replies)

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a registered function; give what it returned, or raise what it raised."""
        client = self._usable()
        reply = client.call(name, args, kwargs, self._plugin)
        if reply.verdict != Verdict.OK:
            raise _raised(reply.reason or f"the service did not call {name!r}")
        return None if reply.value is None else client.decode(reply.value)


def _channel_of(message: Message, kind: type[ClientChannel]) -> ClientChannel | None:
    for value in message.extras.values():
        if isinstance(value, kind):
            return value
    return None


def items_of(messages: Sequence[Message], channels: Sequence[Any]) -> list[Item]:
    """Make what is sent of messages; each holds its channel, or None."""
    from orcha._protocol.identities import new_identity
    from orcha._protocol.messages import Item
    from orcha._protocol.values import encode

    return [
        Item(
            new_identity(),
            message.id,
            encode(message.extras),
            None if channel is None else channel.__orcha_channel__,
        )
        for message, channel in zip(messages, channels, strict=True)
    ]


def id_of(message: Message | int | str) -> int | str:
    """Give the id of what `finish` was given; TypeError for anything but a message or an id."""
    from orcha.interfaces.message import Message

    identity = message.id if isinstance(message, Message) else message
    if isinstance(identity, bool) or not isinstance(identity, (int, str)):
        error = f"finish() takes a Message or an id, not {type(message).__name__}"
        raise TypeError(error)
    return identity


def _raised(reason: str) -> Exception:
    """Give the exception that ``<Type>: <text>`` tells of; RuntimeError where it is not one of a closed few."""
    name, _, text = reason.partition(": ")
    kind = _RAISED.get(name)
    return RuntimeError(reason) if kind is None else kind(text)


def report(messages: Sequence[Message], channels: Sequence[ClientChannel | None], results: Sequence[Result]) -> None:
    """Bring refusals to their channels; raise what is left of them."""
    accepted = []
    rejected = []
    for message, channel, result in zip(messages, channels, results, strict=True):
        if channel is not None and result.channel not in {None, channel.__orcha_channel__}:
            channel.fail(f"{message.id}: there is one of the same key already, and this one is not run\n", REFUSED_CODE)
        if result.verdict in (Verdict.ACCEPTED, Verdict.KNOWN):
            accepted.append(message)
            continue
        reason = result.reason or "refused"
        if result.verdict == Verdict.STOPPING:
            from orcha.exceptions import ManagerShutdownError

            raise ManagerShutdownError(reason)
        if channel is not None:
            channel.fail(reason + "\n", TRY_LATER_CODE if result.verdict == Verdict.BUSY else REFUSED_CODE)
        else:
            rejected.append((message, reason))
    if rejected:
        from orcha.exceptions import RejectedError

        raise RejectedError(accepted, rejected)
