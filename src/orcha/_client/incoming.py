"""What each message of the service does to a client: answers end the waiting, records go to their channels."""

from __future__ import annotations

from typing import NamedTuple

from orcha._client.channel import ENCODED_NONE
from orcha._protocol.codes import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any
    from weakref import WeakValueDictionary

    from orcha._client.channel import ClientChannel
    from orcha._client.sender import ClientSender
    from orcha._protocol.frames import Body
    from orcha._protocol.messages import Data, ServiceMessage, Submitted

_KEPT = frozenset((Verdict.ACCEPTED, Verdict.KNOWN))
"""Verdicts about a petition that the service has."""
_HEAD_BYTES = 20
"""Of a Data before its index: the array's head, the tag, the channel."""


class _Loaded(NamedTuple):
    """What a client imports once it is connected: messages need msgspec."""

    decode: Callable[[Body], ServiceMessage]
    error: type[Exception]
    messages: ModuleType


class Incoming:
    """Handles the messages of one client's connections, for whichever thread reads."""

    def __init__(self, channels: WeakValueDictionary[bytes, ClientChannel], notify: Callable[[str], None]) -> None:
        """Have handled nothing yet.

        Args:
            channels: the client's that still have a reader.
            notify: tells people what the service says to them.

        """
        self._notify = notify
        self.sender: ClientSender
        self._channels = channels
        self._loaded: _Loaded
        self.proven = False
        """The service said something since this was set to False: it does more than accept connections."""
        self.problem = ""
        """Why the last connection was of no use any more."""
        self.stopping = ""
        """Why the service is stopping; empty where it is not."""

    def load(self) -> None:
        """Import what messages and values need.

        The reading thread does so before it reads: where Ctrl+C interrupts an import in `get`, that import stays locked
        for the interrupted thread.
        """
        from orcha._protocol import messages, values
        from orcha._protocol.frames import FrameError, decode_service_message

        self._loaded = _Loaded(decode_service_message, FrameError, messages)
        values.decode(ENCODED_NONE)

    def take(self, body: Body) -> bool:
        """Handle any message, for the reading thread; False where the connection is of no use any more.

        Raises FrameError for bytes that are no message.
        """
        loaded = self._loaded
        message: Any = loaded.decode(body)
        messages = loaded.messages
        if isinstance(message, messages.Error):
            self.problem = message.reason
            return False
        if isinstance(message, messages.Stopping):
            self.stopping = message.reason  # told when the connection ends: petitions may come to their ends before
            return True
        self._prove()
        if isinstance(message, messages.Data):
            return self._data(message, body)
        if isinstance(message, messages.Submitted):
            self._submitted(message)
        elif isinstance(message, messages.Reply | messages.Rows):
            self.sender.pending.answer(message.request, message)
        else:
            self._elsewhere(message)
        return True

    def take_plain(self, body: Body) -> bool:
        """Handle a message that any thread may handle, interrupted or not: records, and that petitions were accepted.

        False for every other message; nothing of it was handled.
        """
        loaded = self._loaded
        try:
            message: Any = loaded.decode(body)
        except loaded.error:
            return False
        if isinstance(message, loaded.messages.Data):
            self._prove()
            return self._data(message, body)
        if isinstance(message, loaded.messages.Submitted) and all(
            result.verdict in _KEPT for result in message.results
        ):
            self._prove()
            self._submitted(message)
            return True
        return False

    def _prove(self) -> None:
        self.proven, self.problem = True, ""

    def _submitted(self, message: Submitted) -> None:
        """Bring a submit its results, and follow the channels of the petitions that the service has."""
        sender = self.sender
        for item, result, follows in sender.pending.news(message.request, message.results):
            channel = self._channels.get(item.channel) if item.channel is not None else None
            if channel is None:
                continue
            if result.verdict not in _KEPT or result.channel not in {None, item.channel}:
                channel.expect(-1)
                if follows:
                    sender.post(sender.refused, channel)
            elif channel.followed_on and (follows or channel.known):
                channel.known = True  # where the connection is lost, the sender hears of that after this
            else:
                sender.post(sender.accepted, channel)
        for note in message.notes:
            self._notify(f"orcha: {note}")
        sender.pending.note(message.request, message.results)  # last, since this wakes the thread that waits

    def _elsewhere(self, message: Any) -> None:
        """Go on with a channel where the service says."""
        channel, sender = self._channels.get(message.channel), self.sender
        if channel is None:
            return
        messages = self._loaded.messages
        if isinstance(message, messages.Gone):
            sender.post(sender.forgotten, channel, message.reason)
            return
        if isinstance(message, messages.Gap):
            channel.jump(message.first)
        else:
            channel.shorten(message.end)
        sender.post(sender.follow_on, channel)

    def _data(self, message: Data, body: Body) -> bool:
        """Give records to their channel."""
        channel = self._channels.get(message.channel)
        if channel is None:
            self.sender.post(self.sender.unfollow, message.channel)
            return True
        if channel.deliver(message.index, message.records, _overhead(message, body)):
            return True
        self.problem = f"records are missing before {message.index}"
        return False


def _overhead(message: Data, body: Body) -> int:
    """Give the bytes that the encoded records have beside their payloads: the service counts them as window."""
    index = message.index
    head = _HEAD_BYTES + (1 if index < 1 << 7 else 2 if index < 1 << 8 else 3 if index < 1 << 16 else 5)
    if index >= 1 << 32:
        head += 4
    return max(0, len(body) - head - sum(len(record.payload) for record in message.records))
