"""How a request is sent: the sending half of a client.

Everything here is a job of `send_turn.SendTurn`, done one at a time, mostly by a thread of its own. What has no answer
when a connection is lost is sent again on the next connection.
"""

from __future__ import annotations

import threading
from collections import deque

from orcha._client.channel import FORGOTTEN_CODE, WINDOW_BYTES
from orcha._client.pending import Pending, Request, SubmitFrame, WithdrawOne
from orcha._client.send_turn import SendTurn
from orcha.utils import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from weakref import WeakValueDictionary

    from orcha._client.channel import ClientChannel
    from orcha._client.connection import ServiceConnection
    from orcha._client.pending import PendingSubmit, Withdrawal
    from orcha._protocol.messages import ClientMessage, Item

MAX_ITEMS_BY_CALLER = 8
"""A submit of more items is left to the sending thread."""
MAX_DISCARDED_CHANNELS = 64
"""Channels without a reader that are kept at most before the service is told."""
CANCELLED_CODE = 130
"""Final value of a petition that was cancelled."""
_MAX_FRAME_ITEMS = 512
"""Of a Submit."""
_MAX_SUBMIT_BYTES = 1024 * 1024
"""Of a Submit, unless one item alone is larger."""
_ITEM_OVERHEAD_BYTES = 64


class ClientSender:
    """Sends the requests of callers, and follows channels."""

    def __init__(
        self,
        channels: WeakValueDictionary[bytes, ClientChannel],
        *,
        need: Callable[[], None],
        nudge: Callable[[], None],
        is_open: bool,
    ) -> None:
        """Send nothing yet.

        Args:
            channels: the client's channels that still have a reader.
            need: called where a message waits for a connection.
            nudge: called where something has changed for the thread that reads.
            is_open: the client has connected and was not closed.

        """
        self.pending = Pending()
        self.is_open = is_open
        """Channels may be followed: the client has connected and was not closed."""
        self._channels = channels
        self._need = need
        self._nudge = nudge
        self._turn = SendTurn(self._torn, nudge)
        self.post = self._turn.post
        """Has the sending thread do a job; a signal handler may call it."""
        self._discarded: deque[bytes] = deque()
        self._lock = threading.Lock()
        self.thread: threading.Thread | None = None
        """The sending thread, once it runs."""
        self._connection: ServiceConnection | None = None
        self._connections = 0
        self._has_sent = False

    # --- any thread ----------------------------------------------------------------------------------------------

    def ask(self, submission: PendingSubmit) -> None:
        """Have a submit sent: by the caller where that can be done at once.

        Ctrl+C in the midst of it ends the connection, and all that has no answer is sent again on the next one. The
        first message is left to the sending thread, since it costs an import: an interrupted import stays locked.
        """
        if self._has_sent and self._connection is not None and len(submission.items) <= MAX_ITEMS_BY_CALLER:
            self._turn.do(self.submit, submission)
        else:
            self.post(self.submit, submission)

    def want(self, channel: ClientChannel) -> None:
        """Have a channel followed, once there is a service."""
        if self.is_open:
            self.start()
            self.post(self.follow, channel)

    def report_credit(self, channel: ClientChannel) -> None:
        """Have the service told how much of a channel was handed out."""
        if self.is_open:
            self.start()
            self.post(self._credit, channel)

    def discard(self, identity: bytes) -> None:
        """Be done with a channel; the service hears of many at once, since nobody waits for that."""
        self._discarded.append(identity)

    def start(self) -> None:
        """Start the sending thread unless it runs; raises NoThreadError where the system has no room for a thread."""
        if self.thread is None:
            threads.start(threading.Thread(target=self._run, name="orcha-client-send", daemon=True))

    def stop(self, timeout: float) -> bool:
        """End the sending thread after the posted jobs; tell whether it has ended within `timeout` seconds."""
        self._turn.end()
        thread = self.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
            return not thread.is_alive()
        return True

    # --- the sending thread, or a caller in its turn ----------------------------------------------------------------

    def _run(self) -> None:
        """Do jobs until told to stop."""
        with self._lock:
            if self.thread is not None:
                return  # an interrupted start() was made again
            self.thread = threading.current_thread()
        self._turn.run()
        if self._connection is not None:
            self._connection.close()

    def _torn(self) -> None:
        """Drop a connection on which half a message may have been sent; the reading thread makes a new connection."""
        if self._connection is not None:
            self._connection.close()

    def _send(self, message: ClientMessage) -> None:
        """Send a message if there is a connection; a message with an answer is sent again on the next connection."""
        connection = self._connection
        if connection is None:
            self._need()
            return
        from orcha._protocol.frames import FrameError, encode

        try:
            data = encode(message)
            if len(self._discarded) >= MAX_DISCARDED_CHANNELS:
                data += self._discards()
            connection.send(data)
            self._has_sent = True
        except FrameError as error:
            self.pending.fail(getattr(message, "request", -1), error)
        except OSError:
            self._connection = None
            connection.close()  # the reading thread sees that, and connects again
            self._nudge()

    def _discards(self) -> bytes:
        """Give the messages that tell the service of channels without a reader."""
        from orcha._protocol.frames import encode
        from orcha._protocol.messages import CloseChannel

        data = b""
        while self._discarded:
            identity = self._discarded.popleft()
            if identity not in self._channels:  # else the channel is read again
                data += encode(CloseChannel(identity))
        return data

    def request(self, request: Request) -> None:
        """Send a request."""
        number = self.pending.add(request)
        request.sent = self._connection is not None
        self._send(request.build(number))

    # --- submits ----------------------------------------------------------------------------------------------------

    def submit(self, submission: PendingSubmit) -> None:
        """Send a submit."""
        submission.taken = True
        for item in submission.items:
            if (channel := self._channel_of(item)) is not None:
                channel.wanted = True
                channel.expect(1)
        self._submit(submission, range(len(submission.items)), fresh=True)

    def _submit(self, submission: PendingSubmit, positions: Sequence[int], *, fresh: bool) -> None:
        """Send items of a submit, followed where that is the first message about one of this client's channels.

        An item that may have been sent before is not followed by the submit: `get` may have handed out values of its
        channel already.
        """
        from orcha._protocol.messages import Submit

        for part, followed in self._split(submission.items, positions, fresh=fresh):
            items = [submission.items[position] for position in part]
            for item in items if followed else ():
                if (channel := self._channel_of(item)) is not None:
                    channel.followed_on = self._connections
            number = self.pending.add(SubmitFrame(submission, part, follows=followed))
            credit = WINDOW_BYTES if followed else 0
            self._send(Submit(number, submission.manager, credit, items, submission.secrets))

    def _split(
        self, items: Sequence[Item], positions: Sequence[int], *, fresh: bool
    ) -> Iterator[tuple[list[int], bool]]:
        """Cut positions, in order, into what fits a frame; all channels of a frame are followed, or none."""
        part: list[int] = []
        size, followed = 0, False
        for position in positions:
            item = items[position]
            cost = len(item.extras) + len(str(item.id)) + _ITEM_OVERHEAD_BYTES
            channel = self._channel_of(item) if fresh and self._connection is not None else None
            follow = channel is not None and not channel.followed_on
            is_full = len(part) >= _MAX_FRAME_ITEMS or size + cost > _MAX_SUBMIT_BYTES
            if part and (is_full or follow != followed):
                yield part, followed
                part, size = [], 0
            part.append(position)
            size += cost
            followed = follow
        if part:
            yield part, followed

    def withdraw(self, withdrawal: Withdrawal) -> None:
        """Cancel all petitions of a submit that were not refused."""
        from orcha._protocol.messages import Verdict

        submission = withdrawal.submission
        if not submission.taken:  # nothing of it was sent, and nothing will be
            for item in submission.items:
                if (channel := self._channel_of(item)) is not None:
                    channel.fail("", CANCELLED_CODE)
            withdrawal.finish()
            return
        requests = []
        for item, result in zip(submission.items, submission.results, strict=True):
            if result is None or result.verdict in {Verdict.ACCEPTED, Verdict.KNOWN}:
                requests.append(WithdrawOne(item.token, withdrawal))
        if not requests:
            withdrawal.finish()
        for request in requests:
            self.request(request)

    def _channel_of(self, item: Item) -> ClientChannel | None:
        """Give the channel that an item names, where it has a reader here."""
        return self._channels.get(item.channel) if item.channel is not None else None

    # --- channels ---------------------------------------------------------------------------------------------------

    def follow(self, channel: ClientChannel) -> None:
        """Follow a channel from the last value that was handed out, unless it is followed."""
        channel.wanted = channel.known = True
        if self._connection is None:
            self._need()
        elif not channel.followed_on:
            self._follow(channel, channel.rewind())

    def follow_on(self, channel: ClientChannel) -> None:
        """Follow a channel from the last record that has arrived, followed or not."""
        channel.wanted = channel.known = True
        if self._connection is not None:
            self._follow(channel, channel.onward())

    def accepted(self, channel: ClientChannel) -> None:
        """Follow a channel that the service has now."""
        channel.known = True
        if self._connection is not None and not channel.followed_on and channel.wanted:
            self._follow(channel, channel.rewind())

    def refused(self, channel: ClientChannel) -> None:
        """Note that a submit did not follow its channel; other submits to the channel relied on that."""
        channel.followed_on = 0
        if channel.known and channel.wanted and channel.is_open():
            self.follow_on(channel)

    def _follow(self, channel: ClientChannel, index: int) -> None:
        from orcha._protocol.messages import Follow

        channel.followed_on = self._connections
        self._send(Follow(channel.__orcha_channel__, index, WINDOW_BYTES))

    def _credit(self, channel: ClientChannel) -> None:
        from orcha._protocol.messages import Credit

        if self._connection is not None and channel.followed_on and (size := channel.take_credit()):
            self._send(Credit(channel.__orcha_channel__, size))

    def forgotten(self, channel: ClientChannel, reason: str) -> None:
        """Note that the service does not know a channel any more, or not yet."""
        if channel.unknown():
            channel.end(f"orcha: {reason}\n", FORGOTTEN_CODE)

    def unfollow(self, identity: bytes) -> None:
        """Stop the records of a channel without a reader."""
        from orcha._protocol.messages import Unfollow

        if self._connection is not None and identity not in self._channels:
            self._send(Unfollow(identity))

    # --- connections ------------------------------------------------------------------------------------------------

    def resume(self, connection: ServiceConnection, *, proven: bool) -> None:
        """Go on over a new connection: submits first, so that the service has the channels that are followed then.

        Where it is not `proven` that the service does more than accept connections, a Ping asks the service.
        """
        from orcha._protocol.messages import Ping

        self._connection = connection
        self._connections += 1
        self._discarded.clear()  # the service never heard of them on this connection
        for channel in list(self._channels.values()):
            channel.followed_on = 0
        entries = self.pending.take_all()
        submissions = {id(entry.submission): entry.submission for entry in entries if isinstance(entry, SubmitFrame)}
        for submission in submissions.values():
            self._submit(submission, submission.unanswered(), fresh=False)
        for request in entries:
            if isinstance(request, Request) and not request.abandoned:
                self.request(request)
        for channel in list(self._channels.values()):
            if channel.wanted and channel.known and not channel.followed_on and channel.is_open():
                self._follow(channel, channel.rewind())
        if not proven:
            self.request(Request(Ping))

    def lost(self, connection: ServiceConnection, error: Exception) -> None:
        """Note that a connection is gone: requests that must not be sent twice fail."""
        if self._connection is connection:
            self._connection = None
        self.pending.fail_unrepeatable(error)
        self.look_again()

    def look_again(self) -> None:
        """Ask for a connection where there is none and somebody waits."""
        if self._connection is None and self.needed():
            self._need()

    def needed(self) -> bool:
        """Tell whether somebody waits for something."""
        if self.pending:
            return True
        return any(channel.wanted and channel.is_open() for channel in list(self._channels.values()))

    def surrender(self, error: Exception, code: int) -> None:
        """Give up: everybody who waits is told."""
        self.pending.fail_all(error)
        for channel in list(self._channels.values()):
            if channel.wanted:
                channel.end(f"orcha: {error}\n", code)
