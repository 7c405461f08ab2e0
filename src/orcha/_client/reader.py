"""The reading half of a client: takes what comes, and connects again when the connection is lost."""

from __future__ import annotations

import math
import os
import threading
import time
from functools import partial
from typing import NamedTuple

from orcha._client.channel import NONE, UNREACHABLE
from orcha._client.turns import Turns
from orcha.exceptions import AuthenticationError, OrchaConnectionError
from orcha.utils import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orcha._client.link import Channels, Link
    from orcha._client.sender import Sender
    from orcha._protocol.frames import Body
    from orcha._protocol.messages import Data, ServiceMessage, Submitted

DIAL_TIMEOUT = 5.0
"""Seconds for a connection and its handshake."""
NOT_ACCEPTED = 77
"""Final value where the service does not accept the key (sysexits.h EX_NOPERM)."""
_DELAYS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
_BEFORE_INDEX = 20  # bytes of a Data's body: the array's head, the tag, the channel


def delay(attempt: int) -> float:
    """Give the seconds before this attempt (from 0) to connect again: 10 to 50 ms at first, 0.45 s at most.

    A service that is ended again and again may be there for moments only, and somebody has to look in one of them.
    """
    chance = os.urandom(1)[0] / 255
    return 0.01 + 0.04 * chance if attempt < 3 else _DELAYS[min(attempt, len(_DELAYS) - 1)] * (0.5 + chance)


class _Codec(NamedTuple):
    """What a client imports when it is connected, for those that read."""

    decode: Callable[[Body], ServiceMessage]
    error: type[Exception]
    data: type[Data]
    submitted: type[Submitted]
    kept: frozenset[int]
    """Verdicts of what the service has."""


class Reader:
    """Keeps a connection to the service as long as somebody waits for something."""

    def __init__(
        self,
        dial: Callable[[float], Link],
        channels: Channels,
        *,
        reconnect: float,
        notify: Callable[[str], None],
    ) -> None:
        """Read nothing yet.

        Args:
            dial: gives a new connection within so many seconds.
            channels: the client's channels.
            reconnect: seconds without the service after which who waits is told. A service that was started anew is
                there, however soon it is gone again: from then on it is waited for anew.
            notify: told when the service went away and when it is back.

        """
        self._dial = dial
        self._channels = channels
        self._reconnect = reconnect
        self._notify = notify
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._awake = threading.Lock()  # released by stop()
        self._awake.acquire()
        self._stopped = False
        self._lost_at: float | None = None
        self._began = -math.inf
        """When the last attempt to connect began."""
        self._instance: object = None
        """Which start of the service was reached last."""
        self._told = False
        self._cause = ""
        self._stopping = ""
        self.turns = Turns(self._take_plain)
        self.link: Link | None = None
        self.sender: Sender
        self._codec: _Codec

    # --- any thread ----------------------------------------------------------------------------------------------

    def begin(self, link: Link) -> None:
        """Read from a new connection; closes it where there is one already.

        Raises:
            NoThreadError: there can be no thread that reads.

        """
        with self._lock:
            if self._thread is None and not self._stopped:
                self.link, self._instance = link, link.instance
                self.sender.post(partial(self.sender.resume, link, proven=True))  # before whatever the caller asks next
                try:
                    self._start(link)
                except threads.NoThreadError as error:
                    link.close()
                    self.sender.post(self.sender.lost, link, error)
                    raise
                return
        link.close()

    def need(self) -> None:
        """Make a connection, where nobody is about it."""
        with self._lock:
            if self._thread is None and not self._stopped:
                self._lost_at = None
                try:
                    self._start(None)
                except threads.NoThreadError as error:  # on the sender's thread: who waits is told
                    self.sender.surrender(error, UNREACHABLE)

    def _start(self, link: Link | None) -> None:
        """Start the thread; the caller has the lock."""
        self._thread = threading.Thread(target=self._run, args=(link,), name="orcha-client-read", daemon=True)
        try:
            threads.start(self._thread)
        except threads.NoThreadError:
            self._thread = self.link = None
            raise

    def stop(self, timeout: float) -> None:
        """End the thread, with its connection."""
        self._stopped = True
        if self._awake.locked():
            self._awake.release()
        link, thread = self.link, self._thread
        if link is not None:
            link.close()
        self.turns.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self, link: Link | None) -> None:
        """Read, connect again, read; end where nobody needs a connection or the service stays away."""
        try:
            while link is not None or (link := self._dial_again()) is not None:
                self.link = link
                if not self._stopped:  # stop() looks at the link after it has said so
                    self._read(link)
                self.link = None
                link.close()
                error = OrchaConnectionError("the service went away before it answered; it may have done it")
                self.sender.post(self.sender.lost, link, error)
                link = None
                if self._lost_at is None:
                    self._lost_at = time.monotonic()
                if self._stopped or not self.sender.needed():
                    return
        finally:
            with self._lock:
                self._thread = None
            if not self._stopped:
                self.sender.post(self.sender.look_again)  # what was asked since `needed` was read

    def _dial_again(self) -> Link | None:
        """Give a new connection; None where it is given up, or nobody needs one any more."""
        if self._lost_at is None:
            self._lost_at = time.monotonic()
        if self._stopping:
            self._tell_gone(f"{self._stopping}: waiting {self._reconnect:g} s for the service to come back")
        until = self._lost_at + self._reconnect
        if self._began >= until:  # what was reached after that has not said a word
            self._give_up()
            return None
        attempt = 0
        while not self._stopped and self.sender.needed():
            left = max(0.0, until - time.monotonic())
            if self._awake.acquire(timeout=min(delay(attempt), left)):
                self._awake.release()
                return None
            self._began = time.monotonic()
            try:
                link = self._dial(DIAL_TIMEOUT)
            except AuthenticationError as error:
                self._told = False
                self.sender.post(self.sender.surrender, error, NOT_ACCEPTED)
                return None
            except Exception as error:  # noqa: BLE001 - whatever a service says that ends: it may be back the next time
                self._cause = self._cause or str(error)
                self._tell_gone(f"the service is away, trying again for {self._reconnect:g} s")
                if (
                    self._began >= until
                ):  # an attempt of its own, since this process itself may have stood still until then
                    self._give_up()
                    return None
            else:
                self._reached(link)
                return link
            attempt += 1
        return None

    def _reached(self, link: Link) -> None:
        """Go on over a new connection."""
        if link.instance != self._instance:
            self._instance, self._lost_at = link.instance, time.monotonic()
        self._tell_back()
        self.sender.post(partial(self.sender.resume, link, proven=False))

    def _give_up(self) -> None:
        """Tell everybody that there is no service."""
        cause = f" ({self._cause})" if self._cause else ""
        advice = "orcha ps tells more when it is back"
        error = OrchaConnectionError(f"no service for {self._reconnect:g} s{cause}: {advice}")
        self._told = False
        self.sender.post(self.sender.surrender, error, UNREACHABLE)

    def _tell_gone(self, what: str) -> None:
        """Say once that the service is away."""
        if not self._told:
            self._told = True
            self._notify(f"orcha: {what}")

    def _tell_back(self) -> None:
        """Say that it is back, where it was said that it is away."""
        if self._told:
            self._told = False
            self._notify("orcha: the service is back")

    def _read(self, link: Link) -> None:
        """Take what comes until the connection ends."""
        from orcha._protocol import messages, values
        from orcha._protocol.frames import FrameError, decode_service_message

        kept = frozenset((messages.Verdict.ACCEPTED, messages.Verdict.KNOWN))
        self._codec = _Codec(decode_service_message, FrameError, messages.Data, messages.Submitted, kept)
        values.decode(NONE)  # an import that Ctrl+C interrupts in `get` would stay locked for this thread
        self._stopping = ""
        turns = self.turns
        try:
            turns.open(link)
            while not turns.is_torn:
                if not turns.unread:
                    turns.unread.extend(link.read_frames())
                if not turns.unread:
                    return
                while turns.unread:
                    body = turns.unread[0]
                    if not self._take(decode_service_message(body), body):
                        return
                    turns.unread.popleft()
                turns.rest()
            self._cause = turns.problem
        except (OSError, FrameError) as error:
            if link.fileno() >= 0 or not self._cause:  # else it was closed here, and that is no cause
                self._cause = str(error)
        finally:
            turns.close()

    def _take_plain(self, body: Body) -> bool:
        """Take what any thread may, interrupted or not: values, and that petitions were accepted."""
        codec = self._codec
        try:
            message = codec.decode(body)
        except codec.error:
            return False
        if isinstance(message, codec.data):
            self._prove()
            return self._data(message, body)
        if isinstance(message, codec.submitted) and all(result.verdict in codec.kept for result in message.results):
            self._prove()
            self._submitted(message)
            return True
        return False

    def _take(self, message: ServiceMessage, body: Body) -> bool:
        """Take one message; False where the connection is of no use any more."""
        from orcha._protocol import messages

        if isinstance(message, messages.Error):
            self._cause = message.reason
            return False
        if isinstance(message, messages.Stopping):
            self._stopping = message.reason  # told when the connection ends: what runs may come to its end before
            return True
        self._prove()
        if isinstance(message, messages.Data):
            return self._data(message, body)
        if isinstance(message, messages.Submitted):
            self._submitted(message)
        elif isinstance(message, messages.Reply | messages.Rows):
            self.sender.pending.answer(message.request, message)
        elif (channel := self._channels.find(message.channel)) is not None:
            self._elsewhere(channel, message)
        return True

    def _prove(self) -> None:
        """Note that the service does more than accept connections."""
        self._lost_at, self._cause = None, ""

    def _submitted(self, message: Any) -> None:
        """Bring a submission its answers."""
        for item, result, follows in self.sender.pending.news(message.request, message.results):
            channel = self._channels.find(item.channel)
            if channel is None:
                continue
            if result.verdict not in self._codec.kept or result.channel not in {None, item.channel}:
                channel.expect(-1)
                if follows:
                    self.sender.post(self.sender.refused, channel)
            elif channel.link and (follows or channel.known):  # a connection that is lost is heard of after this
                channel.known = True
            else:
                self.sender.post(self.sender.accepted, channel)
        self.sender.pending.note(message.request, message.results)  # before that nobody is told

    def _elsewhere(self, channel: Any, message: Any) -> None:
        """Go on where the service says."""
        from orcha._protocol import messages

        if isinstance(message, messages.Gone):
            self.sender.post(self.sender.forgotten, channel, message.reason)
            return
        if isinstance(message, messages.Gap):
            channel.jump(message.first)
        else:
            channel.shorten(message.end)
        self.sender.post(self.sender.follow_on, channel)

    def _data(self, message: Data, body: Body) -> bool:
        """Give records to their channel."""
        channel = self._channels.find(message.channel)
        if channel is None:
            self.sender.post(self.sender.unfollow, message.channel)
            return True
        if channel.deliver(message.index, message.records, _overhead(message, body)):
            return True
        self._cause = f"records are missing before {message.index}"
        return False


def _overhead(message: Data, body: Body) -> int:
    """Give the bytes that the encoded records have beside their payloads: the service counts them as window."""
    index = message.index
    head = _BEFORE_INDEX + (1 if index < 1 << 7 else 2 if index < 1 << 8 else 3 if index < 1 << 16 else 5)
    if index >= 1 << 32:
        head += 4
    return max(0, len(body) - head - sum(len(record.payload) for record in message.records))
