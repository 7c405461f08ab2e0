"""The sending half of a client: what is to be sent belongs to whoever does its jobs, mostly a thread of its own."""

from __future__ import annotations

import threading
from collections import deque

from orcha._client.channel import FORGOTTEN, WINDOW
from orcha._client.jobs import Jobs
from orcha._client.pending import CancelOne, Part, Pending, Request, split
from orcha.utils import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from orcha._client.channel import ClientChannel
    from orcha._client.link import Channels, Link
    from orcha._client.pending import Submission, Withdrawal
    from orcha._protocol.messages import ClientMessage, Item

FEW_ITEMS = 8
"""A submission of more is left to the thread."""
DISCARDS_HELD = 64
"""Channels that nobody reads any more, at most, of which the service has not been told."""
CANCELLED = 130
"""Final value of a petition that was cancelled."""


class Sender:
    """Sends what callers ask for, and again on the next connection what had no answer on the last."""

    def __init__(self, channels: Channels, need: Callable[[], None], nudge: Callable[[], None]) -> None:
        """Send nothing yet.

        Args:
            channels: the client's channels.
            need: called where a message waits for a connection.
            nudge: called where something has changed for who reads.

        """
        self.pending = Pending()
        self._channels = channels
        self._need = need
        self._nudge = nudge
        self._jobs = Jobs(self._torn, nudge)
        self._discarded: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._link: Link | None = None
        self._links = 0
        self._has_sent = False

    # --- any thread ----------------------------------------------------------------------------------------------

    def post(self, job: Callable[..., None], *args: Any) -> None:
        """Have a job done by the sending thread."""
        self._jobs.post(job, *args)

    def ask(self, submission: Submission) -> None:
        """Have a submission sent: by the caller where that can be done at once.

        Ctrl+C in the midst of it ends the connection, and all that has no answer is sent again on the next one. The
        first message is left to the thread, since it costs an import: one that is interrupted stays locked.
        """
        if self._has_sent and self._link is not None and len(submission.items) <= FEW_ITEMS:
            self._jobs.do(self.submit, submission)
        else:
            self._jobs.post(self.submit, submission)

    def _torn(self) -> None:
        """Drop a connection on which half a message may have been sent; the reading thread makes another one."""
        link = self._link
        if link is not None:
            link.close()

    def discard(self, identity: bytes) -> None:
        """Be done with a channel; the service hears of many at once, since nobody waits for that."""
        self._discarded.append(identity)

    def start(self) -> None:
        """Start the thread unless it runs; raises NoThreadError."""
        if self._thread is None:
            threads.start(threading.Thread(target=self._run, name="orcha-client-send", daemon=True))

    def stop(self, timeout: float) -> bool:
        """End the thread after what was posted; tell whether it has ended within so many seconds."""
        self._jobs.end()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
            return not thread.is_alive()
        return True

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Do jobs until told to stop."""
        with self._lock:
            if self._thread is not None:
                return  # an interrupted start() was made again
            self._thread = threading.current_thread()
        self._jobs.run()
        if self._link is not None:
            self._link.close()

    def _send(self, message: ClientMessage) -> None:
        """Send a message if there is a connection; what has an answer is sent again on the next one."""
        link = self._link
        if link is None:
            self._need()
            return
        from orcha._protocol.frames import FrameError, encode

        try:
            data = encode(message)
            if len(self._discarded) >= DISCARDS_HELD:
                data += self._discards()
            link.send(data)
            self._has_sent = True
        except FrameError as error:
            self.pending.fail(getattr(message, "request", -1), error)
        except OSError:
            self._link = None
            link.close()  # the reading thread sees that, and connects again
            self._nudge()

    def _discards(self) -> bytes:
        """Give what tells the service of the channels that nobody reads any more."""
        from orcha._protocol.frames import encode
        from orcha._protocol.messages import CloseChannel

        data = b""
        while self._discarded:
            identity = self._discarded.popleft()
            if self._channels.find(identity) is None:  # else it is read again
                data += encode(CloseChannel(identity))
        return data

    def submit(self, submission: Submission) -> None:
        """Send a submission."""
        submission.taken = True
        for item in submission.items:
            if (channel := self._channels.find(item.channel)) is not None:
                channel.asked = True
                channel.expect(1)
        self._submit(submission, range(len(submission.items)), fresh=True)

    def _submit(self, submission: Submission, positions: Sequence[int], *, fresh: bool) -> None:
        """Send items of a submission, followed where that is the first word about a channel of ours.

        What may have been sent before is not followed by the submit: its channel may hold what was handed out already.
        """
        from orcha._protocol.messages import Submit

        def follow(item: Item) -> bool:
            channel = self._channels.find(item.channel) if fresh and self._link is not None else None
            return channel is not None and not channel.link

        for part, followed in split(submission.items, positions, follow):
            items = [submission.items[position] for position in part]
            for item in items if followed else ():
                if (channel := self._channels.find(item.channel)) is not None:
                    channel.link = self._links
            number = self.pending.add(Part(submission, part, follows=followed))
            self._send(Submit(number, submission.manager, WINDOW if followed else 0, items))

    def withdraw(self, withdrawal: Withdrawal) -> None:
        """Cancel all of a submission that was not refused."""
        from orcha._protocol.messages import Verdict

        submission = withdrawal.submission
        if not submission.taken:  # nothing of it was sent, and nothing will be
            for item in submission.items:
                if (channel := self._channels.find(item.channel)) is not None:
                    channel.fail("", CANCELLED)
            withdrawal.finish()
            return
        requests = []
        for item, result in zip(submission.items, submission.results, strict=True):
            if result is None or result.verdict in {Verdict.ACCEPTED, Verdict.KNOWN}:
                requests.append(CancelOne(item.token, withdrawal))
        if not requests:
            withdrawal.finish()
        for request in requests:
            self.request(request)

    def request(self, request: Request) -> None:
        """Send a request."""
        number = self.pending.add(request)
        request.sent = self._link is not None
        self._send(request.build(number))

    def follow(self, channel: ClientChannel) -> None:
        """Follow a channel from where it was read to, unless it is followed."""
        channel.asked = channel.known = True
        if self._link is None:
            self._need()
        elif not channel.link:
            self._follow(channel, channel.rewind())

    def follow_on(self, channel: ClientChannel) -> None:
        """Follow a channel from what has arrived, followed or not."""
        channel.asked = channel.known = True
        if self._link is not None:
            self._follow(channel, channel.onward())

    def accepted(self, channel: ClientChannel) -> None:
        """Follow a channel that the service has now."""
        channel.known = True
        if self._link is not None and not channel.link and channel.asked:
            self._follow(channel, channel.rewind())

    def refused(self, channel: ClientChannel) -> None:
        """Note that a submit that was to follow a channel does not; who else submitted to it relied on that."""
        channel.link = 0
        if channel.known and channel.asked and channel.is_open():
            self.follow_on(channel)

    def _follow(self, channel: ClientChannel, index: int) -> None:
        from orcha._protocol.messages import Follow

        channel.link = self._links
        self._send(Follow(channel.__orcha_channel__, index, WINDOW))

    def credit(self, channel: ClientChannel) -> None:
        """Tell the service what was handed out."""
        from orcha._protocol.messages import Credit

        if self._link is not None and channel.link and (size := channel.take_credit()):
            self._send(Credit(channel.__orcha_channel__, size))

    def forgotten(self, channel: ClientChannel, reason: str) -> None:
        """Note that the service knows a channel no more, or not yet."""
        if channel.unknown():
            channel.end(f"orcha: {reason}\n", FORGOTTEN)

    def unfollow(self, identity: bytes) -> None:
        """Stop records that nobody reads."""
        from orcha._protocol.messages import Unfollow

        if self._link is not None and self._channels.find(identity) is None:
            self._send(Unfollow(identity))

    def resume(self, link: Link, *, proven: bool) -> None:
        """Go on over a new connection: submits first, so that what is followed is there.

        Where it is not `proven` that the service does more than accept connections, it is asked.
        """
        from orcha._protocol.messages import Ping

        self._link = link
        self._links += 1
        self._discarded.clear()  # this connection never heard of them
        for channel in self._channels.everyone():
            channel.link = 0
        entries = self.pending.take_all()
        submissions = {id(part.submission): part.submission for part in entries if isinstance(part, Part)}
        for submission in submissions.values():
            self._submit(submission, submission.unanswered(), fresh=False)
        for request in entries:
            if isinstance(request, Request) and not request.abandoned:
                self.request(request)
        for channel in self._channels.everyone():
            if channel.asked and channel.known and not channel.link and channel.is_open():
                self._follow(channel, channel.rewind())
        if not proven:
            self.request(Request(Ping))

    def lost(self, link: Link, error: Exception) -> None:
        """Note that a connection is gone: what must not be done twice fails."""
        if self._link is link:
            self._link = None
        self.pending.fail_unrepeatable(error)
        self.look_again()

    def look_again(self) -> None:
        """Ask for a connection where there is none and somebody waits."""
        if self._link is None and self.needed():
            self._need()

    def needed(self) -> bool:
        """Tell whether somebody waits for something."""
        return bool(self.pending) or any(channel.asked and channel.is_open() for channel in self._channels.everyone())

    def surrender(self, error: Exception, code: int) -> None:
        """Give up: everybody who waits is told."""
        self.pending.fail_all(error)
        for channel in self._channels.everyone():
            if channel.asked:
                channel.end(f"orcha: {error}\n", code)
