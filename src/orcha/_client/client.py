"""A client's connection to a service, which outlives the service's absence."""

from __future__ import annotations

import os
import sys
import threading
import weakref

from orcha._client.channel import UNREACHABLE, ClientChannel, new_identity
from orcha._client.pending import Request, Submission, Withdrawal
from orcha._client.reader import DIAL_TIMEOUT, Reader
from orcha._client.sender import Sender
from orcha._client.verbs import Verbs
from orcha.exceptions import ConfigurationError, OrchaConnectionError
from orcha.utils.threads import NoThreadError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from orcha._client.link import Link
    from orcha._protocol.endpoint import Endpoint
    from orcha._protocol.keys import Key
    from orcha._protocol.messages import ClientMessage, Item, Reply, Result, Rows

RECONNECT = 30.0
"""Seconds to wait for a service that is away, where ORCHA_RECONNECT says nothing else."""
_LONGEST = 100 * 365 * 86_400
_CANCEL_WAIT = 2.0
_CLOSE_WAIT = 2.0
_LONGEST_EXTRAS = 8 * 1024 * 1024 - 4096


class Client(Verbs):
    """Talks to one service for any number of threads.

    When the connection is lost it is made again, what has no answer is asked again (a submit by its tokens, so that
    nothing is done twice), and every channel goes on where it was. After `reconnect` seconds without a service
    whoever waits is told: calls raise :class:`OrchaConnectionError`, channels give a line and 69.

    Example::

        client = Client(endpoint, key)
        client.connect()
        channel = client.channel()
        item = Item(new_identity(), "a", values.encode({"queue": channel}), channel.__orcha_channel__)
        results = client.submit([item])

    """

    def __init__(
        self,
        endpoint: Endpoint,
        key: Key | str | None,
        *,
        reconnect: float | None = None,
        notify: Callable[[str], None] | None = None,
        dial: Callable[..., Link] | None = None,
    ) -> None:
        """Know the service; nothing is opened or started.

        Args:
            endpoint: where the service listens.
            key: what it is to accept.
            reconnect: seconds to wait for a service that is away; None for the environment's ORCHA_RECONNECT, else 30.
            notify: takes a line for people when the service went away or is back; None for stderr.
            dial: makes connections; None for `orcha._client.dial.dial`.

        Raises:
            ConfigurationError: ORCHA_RECONNECT is not a number of seconds.

        """
        self.endpoint = endpoint
        """The service's: where it was found, once it was."""
        self._key = key
        self._reconnect = _seconds(reconnect)
        self._notify = notify or _to_stderr
        self._dial_with = dial
        self._channels: weakref.WeakValueDictionary[bytes, ClientChannel] = weakref.WeakValueDictionary()
        self._connected = False
        self._closed = False
        self._whose_told = False
        self._prepare()
        _clients.add(self)

    def _prepare(self) -> None:
        """Have both halves, neither started."""
        self._reader = Reader(self._dial, self, reconnect=self._reconnect, notify=self._notify)
        self._sender = self._reader.sender = Sender(self, self._reader.need, self.nudge)

    # --- connection ----------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect; does nothing on a client that is.

        Raises:
            OrchaConnectionError: nobody answers, or the client was closed.
            AuthenticationError: the service does not accept the key.
            NoThreadError: the system has no room for a thread.

        """
        if self._closed:
            raise OrchaConnectionError("this client was closed")
        if self._reader.link is None:
            link = self._dial(DIAL_TIMEOUT)
            try:
                self._sender.start()
                self._connected = True
                self._reader.begin(link)
            except NoThreadError:
                link.close()
                raise

    def close(self) -> None:
        """Send what was asked for, then close; who still waits is told. Does nothing on a closed client."""
        if self._closed:
            return
        self._closed = True
        error = OrchaConnectionError("this client was closed")
        if not self._connected:
            self._sender.surrender(error, UNREACHABLE)
            return
        self._sender.post(self._sender.surrender, error, UNREACHABLE)
        ended = self._sender.stop(_CLOSE_WAIT)
        self._reader.stop(_CLOSE_WAIT)
        if not ended:
            self._sender.stop(_CLOSE_WAIT)

    def _dial(self, timeout: float) -> Link:
        """Make a connection."""
        if self._dial_with is None:
            from orcha._client.dial import dial

            self._dial_with = dial
        link = self._dial_with(self.endpoint, self._key, timeout=timeout)
        self.endpoint = link.endpoint
        return link

    # --- asking --------------------------------------------------------------------------------------------------

    def channel(self, identity: bytes | None = None, *, own: bool = False, index: int | None = None) -> ClientChannel:
        """Give a channel to read.

        Args:
            identity: of one that exists; None for a new one, which costs no message.
            own: it is the one that the service made for a petition (`Result.channel`), so its first final ends it.
            index: the first record to hand out, of one that exists; None for the first of all. Where this client reads
                that channel already, its one reader goes on; where it has read to its end, it is read again from here.

        """
        known = self.find(identity)
        if known is not None and (index is None or known.is_open()):
            return known
        ends = identity is None or own
        made = ClientChannel(self, identity or new_identity(), index=index or 0, ends=ends, expected=int(own))
        self._channels[made.__orcha_channel__] = made
        return made

    def submit(self, items: Sequence[Item], manager: str | None = None) -> list[Result]:
        """Ask for petitions; give what became of each, in their order, when all are answered.

        The channels of this client that they name are followed. Interrupted (Ctrl+C), it cancels these petitions,
        waits a moment for the answer and lets the interruption go on.

        Raises:
            OrchaConnectionError: not connected, or the service stayed away; some may have been accepted.
            AuthenticationError: the service does not accept the key any more.
            ValueError: an item is too large.

        """
        if not items:
            return []
        for item in items:
            if len(item.extras) > _LONGEST_EXTRAS:
                raise ValueError(f"the extras of {item.id!r} have {len(item.extras)} bytes, {_LONGEST_EXTRAS} at most")
        self._must_be_connected()
        self._tell_whose()
        submission = Submission(items, manager)
        try:
            self._sender.ask(submission)
            submission.wait(turns=self._reader.turns)
        except BaseException:
            withdrawal = Withdrawal(submission)
            self._sender.post(self._sender.withdraw, withdrawal)
            withdrawal.wait(_CANCEL_WAIT, self._reader.turns)
            raise
        if submission.error is not None:
            raise _again(submission.error)
        return [result for result in submission.results if result is not None]

    def _tell_whose(self) -> None:
        """Say once whose user runs what is asked for, where that is another one, or another machine's."""
        link = self._reader.link
        if self._whose_told or link is None or not link.is_anothers:
            return
        self._whose_told = True
        reply = self.ping()
        user = self.decode(reply.value) if reply.value else {}
        name = user.get("user") if isinstance(user, dict) else None
        self._notify(
            f"orcha: what is asked for here runs as {name or 'the user of its service'}, who started the service"
        )

    def cancel(
        self,
        *,
        token: bytes | None = None,
        id: str | None = None,  # noqa: A002
        why: str = "",
        at_once: bool = False,
    ) -> Reply:
        """Cancel a petition by its token, also before its submit came, or by its id; the answer's value is its outcome.

        With `at_once` what runs is killed without being asked to end first.

        Raises:
            OrchaConnectionError: not connected, or the service stayed away.

        """
        from orcha._protocol.messages import Cancel

        return self._ask(lambda number: Cancel(number, token, id, why, at_once))

    def call(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        manager: str | None = None,
    ) -> Reply:
        """Call a function that the service's manager registered; the answer's value is its encoded result.

        Where several managers are served, it is the function of the plugin named by `manager`.

        It is asked once: where the connection is lost before the answer, nobody knows whether it was called.

        Raises:
            OrchaConnectionError: not connected, or the service went away.
            TypeError: an argument cannot be sent.

        """
        from orcha._protocol import values
        from orcha._protocol.messages import Call

        positional = values.encode(list(args), "args")
        named = values.encode(dict(kwargs or {}), "kwargs")
        return self._ask(lambda number: Call(number, name, positional, named, manager), repeatable=False)

    def rows(
        self,
        states: int,
        limit: int,
        before: int | None = None,
        id: str | None = None,  # noqa: A002
        group: str | None = None,
    ) -> list[dict[str, str | int | float | bool | None]]:
        """Give petitions in the states of the bit mask (``1 << state``), newest first, below the sequence `before`.

        With `id` or `group` only those.

        Raises:
            OrchaConnectionError: not connected, or the service stayed away.

        """
        return self.page(states, limit, before, id, group).rows

    def page(
        self,
        states: int,
        limit: int,
        before: int | None = None,
        id: str | None = None,  # noqa: A002
        group: str | None = None,
    ) -> Rows:
        """Give the same with what is paused, as `orcha._protocol.messages.Rows` says."""
        from orcha._protocol.messages import List, Rows

        answer = self._answer(Request(lambda number: List(number, states, limit, before, id, group)))
        if isinstance(answer, Rows):
            return answer
        raise OrchaConnectionError(answer.reason or "the service gives no list")

    def ping(self) -> Reply:
        """Ask the service whether it is there.

        Raises:
            OrchaConnectionError: not connected, or the service stayed away.

        """
        from orcha._protocol.messages import Ping

        return self._ask(Ping)

    def decode(self, payload: bytes) -> Any:
        """Decode a value; a channel in it is one of this client's."""
        from orcha._protocol import values

        return values.decode(payload, channel=self.channel)

    def _ask(self, build: Callable[[int], ClientMessage], *, repeatable: bool = True) -> Reply:
        """Send a request and give its answer."""
        from orcha._protocol.messages import Reply

        answer = self._answer(Request(build, repeatable=repeatable))
        assert isinstance(answer, Reply)
        return answer

    def _answer(self, request: Request) -> Reply | Rows:
        """Send a request and wait for whatever answers it."""
        self._must_be_connected()
        try:
            self._sender.post(self._sender.request, request)
            request.wait(turns=self._reader.turns)
        except BaseException:
            request.abandoned = True
            raise
        if request.error is not None:
            raise _again(request.error)
        assert request.answer is not None
        return request.answer

    def _must_be_connected(self) -> None:
        if self._closed or not self._connected:
            raise OrchaConnectionError(
                "this client was closed" if self._closed else "this client is not connected: connect it first"
            )
        self._sender.start()

    # --- what channels and both halves need ----------------------------------------------------------------------

    def find(self, identity: bytes | None) -> ClientChannel | None:
        """Give the channel where somebody can still read it."""
        return self._channels.get(identity) if identity is not None else None

    def everyone(self) -> list[ClientChannel]:
        """Give all channels."""
        return list(self._channels.values())

    def wish(self, channel: ClientChannel, what: str) -> None:
        """Have the thread that sends do something for a channel: "follow" or "credit"."""
        if self._connected and not self._closed:
            self._sender.start()
            self._sender.post(getattr(self._sender, what), channel)

    def discard(self, identity: bytes) -> None:
        """Tell the service that nobody reads a channel."""
        self._sender.discard(identity)

    def wait(self, gate: threading.Lock, timeout: float, *, is_answer: bool) -> bool:
        """Wait until the gate is released, `timeout` seconds at most unless negative; no longer than is any use."""
        patience = self.patience()
        if patience is not None:
            timeout = patience if timeout < 0 else min(timeout, patience)
        return self._reader.turns.wait(gate, timeout, is_answer=is_answer)

    def nudge(self) -> None:
        """Have who waits look at its gate."""
        self._reader.turns.nudge()

    def patience(self) -> float | None:
        """Give the seconds to wait where nothing is connected, None where the connection's end will be told."""
        if self._closed:
            return 0.0
        return None if self._connected else self._reconnect

    def after_fork(self) -> None:
        """In the child of a fork: leave the parent's connection, have one of its own when one is needed."""
        link = self._reader.link
        self._reader.turns.abandon()
        self._prepare()
        for channel in self.everyone():
            channel.after_fork()
        if link is not None:
            link.abandon()


def _seconds(reconnect: float | None) -> float:
    """Give the seconds to wait for a service that is away."""
    if reconnect is not None:
        return reconnect
    text = os.environ.get("ORCHA_RECONNECT")
    try:
        seconds = float(text) if text else RECONNECT
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST:
        raise ConfigurationError(
            f"ORCHA_RECONNECT is {text!r:.80}: set it to a number of seconds, 0 or larger, and at most {_LONGEST}"
        )
    return seconds


def _to_stderr(line: str) -> None:
    """Say something to people, where somebody listens."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # no stderr, or a closed one
        return


def _again(error: Exception) -> Exception:
    """Give an error for one more thread to raise: each gets its own traceback."""
    return type(error)(*error.args)


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client.after_fork()


os.register_at_fork(after_in_child=_after_fork)
