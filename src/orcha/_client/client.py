"""A client of one service: what callers ask, and the parts that send and read for them.

How it works, by file: `dial.py` connects, `sender.py` sends a request, `reader.py` and `read_turn.py` read,
`incoming.py` handles each message, `pending.py` wakes the thread that asked, `channel.py` hands out records.
One file, since it is the list of all that a client may be asked.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from functools import partial

from orcha._client.channel import UNREACHABLE_CODE, ClientChannel
from orcha._client.incoming import Incoming
from orcha._client.pending import PendingSubmit, Request, Withdrawal
from orcha._client.reader import DIAL_TIMEOUT_SECONDS, ClientReader, reconnect_seconds, tell_on_stderr
from orcha._client.sender import ClientSender
from orcha._protocol.identities import new_identity
from orcha.exceptions import OrchaConnectionError
from orcha.utils.threads import NoThreadError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from orcha._client.connection import ServiceConnection
    from orcha._client.pending import Ticket
    from orcha._protocol.endpoint import Endpoint
    from orcha._protocol.keys import Key
    from orcha._protocol.messages import ClientMessage, Item, Reply, Result, Rows

_WITHDRAW_SECONDS = 2.0
"""How long an interrupted submit waits for the answers to its cancels."""
_CLOSE_SECONDS = 2.0
"""How long `close` waits for each thread."""
_MAX_EXTRAS_BYTES = 8 * 1024 * 1024 - 4096


class Client:
    """Talks to one service for any number of threads.

    When the connection is lost the client makes a new one. Requests without an answer are sent again (a submit by its
    tokens, so that no petition runs twice), and every channel goes on where it was. After `reconnect` seconds without a
    service waiting threads are told: calls raise :class:`OrchaConnectionError`, channels give a line and 69.

    Requests give the service's Reply, whose `verdict` says whether the request was done. A petition is named by its id,
    or by its sequence number where `seq` is given. Verdicts about a petition: OK; UNKNOWN, there is no such petition;
    DENIED, the petition is somebody else's; REFUSED, its state does not allow the request, as the reason says. Each
    request raises OrchaConnectionError where the client is not connected or the service stays away.

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
        dial: Callable[..., ServiceConnection] | None = None,
    ) -> None:
        """Know the service; nothing is opened or started.

        Args:
            endpoint: where the service listens.
            key: what the service is to accept.
            reconnect: seconds to wait for a service that is away; None for the environment's ORCHA_RECONNECT, else 30.
            notify: takes a line for people when the service went away or is back; None for stderr.
            dial: makes connections; None for `orcha._client.dial.dial`.

        Raises:
            ConfigurationError: ORCHA_RECONNECT is not a number of seconds.

        """
        self.endpoint = endpoint
        """Where the service was found, once it was."""
        self._key = key
        self._reconnect = reconnect_seconds(reconnect)
        self._notify = notify or tell_on_stderr
        self._dial_with = dial
        self._channels: weakref.WeakValueDictionary[bytes, ClientChannel] = weakref.WeakValueDictionary()
        self._connected = False
        self._closed = False
        self._owner_known_of: ServiceConnection | None = None
        self._owner_told = False
        self._make_parts()
        _clients.add(self)

    def _make_parts(self) -> None:
        """Make the parts that read and send, without a connection."""
        incoming = Incoming(self._channels, self._notify)
        self._reader = reader = ClientReader(self._dial, incoming, reconnect=self._reconnect, notify=self._notify)
        reader.by_login = self.endpoint.ssh is not None
        self._sender = incoming.sender = reader.sender = ClientSender(
            self._channels,
            need=reader.need,
            nudge=reader.turn.nudge,
            is_open=self._connected and not self._closed,
        )
        reader.turn.patience = 0.0 if self._closed else None if self._connected else self._reconnect

    # --- connection ----------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect; does nothing on a client that is connected.

        Raises:
            OrchaConnectionError: nobody answers, or the client was closed.
            AuthenticationError: the service does not accept the key.
            NoThreadError: the system has no room for a thread.

        """
        if self._closed:
            raise OrchaConnectionError("this client was closed")
        if self._reader.connection is None:
            connection = self._dial(DIAL_TIMEOUT_SECONDS, start_timeout=self._reconnect)
            try:
                self._sender.start()
                self._connected = self._sender.is_open = True
                self._reader.turn.patience = None
                self._reader.begin(connection)
            except NoThreadError:
                connection.close()
                raise

    @property
    def is_connected(self) -> bool:
        """Whether the service can be reached at this moment."""
        return self._reader.connection is not None

    def on_return(self, call: Callable[[], None]) -> None:
        """Have a call made, which asks for something without waiting, each time that a service is reached again."""
        self._reader.on_return = call

    def close(self) -> None:
        """Send everything that was asked for, then close; waiting threads are told. Does nothing on a closed client."""
        if self._closed:
            return
        self._closed = True
        self._sender.is_open = False
        self._reader.turn.patience = 0.0
        error = OrchaConnectionError("this client was closed")
        if not self._connected:
            self._sender.surrender(error, UNREACHABLE_CODE)
            return
        self._sender.post(self._sender.surrender, error, UNREACHABLE_CODE)
        ended = self._sender.stop(_CLOSE_SECONDS)
        self._reader.stop(_CLOSE_SECONDS)
        if not ended:
            self._sender.stop(_CLOSE_SECONDS)

    def _dial(self, timeout: float, *, start_timeout: float = 0.0) -> ServiceConnection:
        """Make a connection; the reader tries again and again by itself where systemd starts the service."""
        if self._dial_with is None:
            from orcha._client.dial import dial

            self._dial_with = dial
        connection = self._dial_with(self.endpoint, self._key, timeout=timeout, start_timeout=start_timeout)
        self.endpoint = connection.endpoint
        return connection

    def after_fork(self) -> None:
        """In the child of a fork: leave the parent's connection, have one of its own when one is needed."""
        connection = self._reader.connection
        self._reader.turn.abandon()
        self._make_parts()
        for channel in list(self._channels.values()):
            channel.after_fork(self._sender, self._reader.turn)
        if connection is not None:
            connection.abandon()

    # --- channels ------------------------------------------------------------------------------------------------

    def channel(self, identity: bytes | None = None, *, own: bool = False, index: int | None = None) -> ClientChannel:
        """Give a channel to read.

        Args:
            identity: of a channel that exists; None for a new channel, which costs no message.
            own: the service made the channel for a petition (`Result.channel`), so the first final ends the channel.
            index: the first record to hand out, of a channel that exists; None for the first of all. Where this client
                reads that channel already, its one reader goes on; where it has read to the end, it reads again from
                here.

        """
        known = None if identity is None else self._channels.get(identity)
        if known is not None and (index is None or known.is_open()):
            return known
        chosen = identity or new_identity()
        made = ClientChannel(
            chosen,
            self._sender,
            self._reader.turn,
            self.decode,
            index=index or 0,
            ends=identity is None or own,
            expected=int(own),
        )
        self._channels[chosen] = made
        return made

    def follow(self, channel: ClientChannel) -> None:
        """Have the service send a channel's records, before anybody reads them."""
        self._sender.want(channel)

    def decode(self, payload: bytes) -> Any:
        """Decode a value; a channel in the value is one of this client's."""
        from orcha._protocol import values

        return values.decode(payload, self.channel)

    # --- submits -------------------------------------------------------------------------------------------------

    def submit(
        self,
        items: Sequence[Item],
        manager: str | None = None,
        secrets: dict[str, bytes] | None = None,
        answered: Callable[[list[Result]], None] | None = None,
    ) -> list[Result]:
        """Ask for petitions; give what became of each, in their order, when all are answered.

        The channels of this client that the items name are followed. Interrupted (Ctrl+C), the client cancels these
        petitions, waits a moment for the answer and lets the interruption go on. An item that comes alone may have
        `secrets`, which its extras name. `answered` is called with the results; an interruption in it cancels the
        petitions as well, an error does not.

        Raises:
            OrchaConnectionError: not connected, or the service stayed away; some may have been accepted.
            AuthenticationError: the service does not accept the key any more.
            ValueError: an item is too large.

        """
        if not items:
            return []
        for item in items:
            if len(item.extras) > _MAX_EXTRAS_BYTES:
                raise ValueError(
                    f"the extras of {item.id!r} have {len(item.extras)} bytes, {_MAX_EXTRAS_BYTES} at most"
                )
        self._must_be_connected()
        if self._reader.connection is not self._owner_known_of:
            self._tell_owner()
        submission = PendingSubmit(items, manager, secrets)
        try:
            self._sender.ask(submission)
            self._wait(submission)
            if submission.error is not None:
                submission.raise_error()
            results = [result for result in submission.results if result is not None]
            if answered is not None:
                answered(results)
            return results  # noqa: TRY300 - behind the try, an interruption would leave the petitions
        except BaseException as error:
            if not submission.finished or not isinstance(error, Exception):
                withdrawal = Withdrawal(submission)
                self._sender.post(self._sender.withdraw, withdrawal)
                self._wait(withdrawal, _WITHDRAW_SECONDS)
            raise

    def _tell_owner(self) -> None:
        """Say once whose user runs the petitions, where that is another user, or another machine's."""
        connection = self._reader.connection
        if self._owner_told or connection is None:
            return
        self._owner_known_of = connection
        if not connection.is_anothers:
            return
        self._owner_told = True
        reply = self.ping()
        user = self.decode(reply.value) if reply.value else {}
        name = user.get("user") if isinstance(user, dict) else None
        self._notify(
            f"orcha: what is asked for here runs as {name or 'the user of its service'}, who started the service"
        )

    # --- requests ------------------------------------------------------------------------------------------------

    def cancel(
        self,
        *,
        token: bytes | None = None,
        id: str | None = None,  # noqa: A002
        why: str = "",
        at_once: bool = False,
    ) -> Reply:
        """Cancel a petition by its token, also before its submit came, or by its id; the reply's value is its outcome.

        With `at_once` its processes are killed without being asked to end first.
        """
        from orcha._protocol.messages import Cancel

        return self._ask(partial(Cancel, token=token, id=id, why=why, at_once=at_once))

    def call(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        manager: str | None = None,
    ) -> Reply:
        """Call a function that the service's manager registered; the reply's value is its encoded result.

        Where several managers are served, `manager` names the plugin whose function is called. The call is sent once:
        where the connection is lost before the answer, nobody knows whether the function was called.

        Raises:
            OrchaConnectionError: not connected, or the service went away.
            TypeError: an argument cannot be sent.

        """
        from orcha._protocol import values
        from orcha._protocol.messages import Call

        positional = values.encode(list(args), "args")
        named = values.encode(dict(kwargs or {}), "kwargs")
        return self._ask(partial(Call, name=name, args=positional, kwargs=named, manager=manager), repeatable=False)

    def rows(
        self, states: int, limit: int, before: int | None = None
    ) -> list[dict[str, str | int | float | bool | None]]:
        """Give petitions in the states of the bit mask (``1 << state``), newest first, below the number `before`."""
        return self.page(states, limit, before).rows

    def page(
        self,
        states: int,
        limit: int,
        before: int | None = None,
        id: str | None = None,  # noqa: A002
        group: str | None = None,
        array: str | None = None,
    ) -> Rows:
        """Give petitions in the states of the bit mask, and pauses, as `orcha._protocol.messages.Rows` says.

        The newest petitions come first: those below the sequence number `before`, with this `id`, of this `group`,
        or the elements of this `array`.
        """
        from orcha._protocol.messages import List, Rows

        asked = partial(List, states=states, limit=limit, before=before, id=id, group=group, array=array)
        answer = self._answer(Request(asked))
        if isinstance(answer, Rows):
            return answer
        raise OrchaConnectionError(answer.reason or "the service gives no list")

    def ping(self) -> Reply:
        """Ask the service whether it is there."""
        from orcha._protocol.messages import Ping

        return self._ask(Ping)

    def show(self, id: str | None = None, *, seq: int | None = None) -> Reply:  # noqa: A002
        """Ask for everything about a petition: `client.decode(reply.value)` is a dict, its keys are in docs/wire.md."""
        from orcha._protocol.messages import Show

        return self._ask(partial(Show, id=id, seq=seq))

    def set(self, id: str | None = None, *, seq: int | None = None, **changes: Any) -> Reply:  # noqa: A002
        """Change a waiting or, where that can be, a running command, by the fields of Set (docs/wire.md)."""
        from orcha._protocol.messages import Set
        from orcha._protocol.values import encode

        return self._ask(partial(Set, id=id, seq=seq, arguments=encode(changes)))

    def set_priority(self, priority: float, id: str | None = None, *, seq: int | None = None) -> Reply:  # noqa: A002
        """Give a waiting petition another priority; REFUSED for a petition that does not wait."""
        from orcha._protocol.messages import Priority

        return self._ask(partial(Priority, id=id, seq=seq, priority=priority))

    def pause(self, id: str | None = None, *, seq: int | None = None, group: str | None = None) -> Reply:  # noqa: A002
        """Stop a running petition's processes (SIGSTOP) or hold back a waiting petition.

        With a group start no more of the group; with nothing named start nothing at all.
        """
        from orcha._protocol.messages import Pause

        return self._ask(partial(Pause, id=id, seq=seq, group=group))

    def resume(self, id: str | None = None, *, seq: int | None = None, group: str | None = None) -> Reply:  # noqa: A002
        """Undo the `pause` with the same arguments."""
        from orcha._protocol.messages import Resume

        return self._ask(partial(Resume, id=id, seq=seq, group=group))

    def remove(self, id: str | None = None, *, seq: int | None = None) -> Reply:  # noqa: A002
        """Forget an ended petition and its output now; REFUSED for a petition that has not ended."""
        from orcha._protocol.messages import Remove

        return self._ask(partial(Remove, id=id, seq=seq))

    def retry(
        self,
        id: str | None = None,  # noqa: A002
        *,
        seq: int | None = None,
        token: bytes | None = None,
        failed: bool = False,
        secrets: dict[str, bytes] | None = None,
    ) -> Reply:
        """Ask for an ended petition once more, as a new one; `client.decode(reply.value)` has its seq, id and channel.

        The same token is the same new petition; None for a new token. With `failed` only the elements of an array are
        run again that ended without success. `secrets` are the secrets that the petition names.
        """
        from orcha._protocol.messages import Retry

        chosen = token or new_identity()
        return self._ask(partial(Retry, token=chosen, id=id, seq=seq, failed=failed, secrets=secrets))

    def give_secrets(self, secrets: dict[str, bytes], id: str | None = None, *, seq: int | None = None) -> Reply:  # noqa: A002
        """Give a petition that has not ended its secrets again; REFUSED where it names no such secret."""
        from orcha._protocol.messages import GiveSecrets

        return self._ask(partial(GiveSecrets, id=id, seq=seq, secrets=secrets))

    def send_signal(self, signal: int, id: str | None = None, *, seq: int | None = None) -> Reply:  # noqa: A002
        """Send a signal to the processes of a running command; REFUSED for any other petition."""
        from orcha._protocol.messages import Signal

        return self._ask(partial(Signal, id=id, seq=seq, signal=signal))

    def stats(self) -> Reply:
        """Ask for counts, rates and waiting times: `client.decode(reply.value)` is a dict, as docs/wire.md says."""
        from orcha._protocol.messages import Stats

        return self._ask(Stats)

    def stop(self, *, keep_commands: bool = False, now: bool = False, end_commands: bool = False) -> Reply:
        """Have the service stop in good order; the answer comes when the service has begun to."""
        from orcha._protocol.messages import Stop

        return self._ask(partial(Stop, keep_commands=keep_commands, now=now, end_commands=end_commands))

    def stdin(self, seq: int, attempt: int, offset: int, data: bytes, *, end: bool = False) -> Reply:
        """Bring bytes for a running command's standard input; returns when there is room for more.

        Args:
            seq: the petition.
            attempt: its attempt; GONE where that is over.
            offset: how many bytes came before.
            data: the bytes, 1 MiB at most.
            end: nothing comes after these.

        Returns:
            The reply; its decoded value is how many bytes the command got so far: go on from there.

        """
        from orcha._protocol.messages import Stdin

        return self._ask(partial(Stdin, seq=seq, attempt=attempt, offset=offset, data=data, end=end))

    def resize(self, seq: int, attempt: int, rows: int, columns: int) -> Reply:
        """Tell a running command's terminal its size; GONE where the attempt is over or has no terminal."""
        from orcha._protocol.messages import Resize

        return self._ask(partial(Resize, seq=seq, attempt=attempt, rows=rows, columns=columns))

    # --- asking and waiting --------------------------------------------------------------------------------------

    def post(self, request: Request) -> None:
        """Have a request sent whose answer its caller does not wait for; a signal handler may call this."""
        self._sender.post(self._sender.request, request)

    def _ask(self, build: Callable[[int], ClientMessage], *, repeatable: bool = True) -> Reply:
        """Send a request and give its reply."""
        from orcha._protocol.messages import Reply

        answer = self._answer(Request(build, repeatable=repeatable))
        assert isinstance(answer, Reply)
        return answer

    def _answer(self, request: Request) -> Reply | Rows:
        """Send a request and wait for its answer."""
        self._must_be_connected()
        try:
            self.post(request)
            self._wait(request)
        except BaseException:
            request.abandoned = True
            raise
        if request.error is not None:
            request.raise_error()
        assert request.answer is not None
        return request.answer

    def _wait(self, ticket: Ticket, timeout: float = -1) -> None:
        """Wait for an outcome, `timeout` seconds at most unless negative."""
        if not ticket.finished:
            self._reader.turn.wait(ticket.gate, timeout, is_answer=True)

    def _must_be_connected(self) -> None:
        if self._closed or not self._connected:
            raise OrchaConnectionError(
                "this client was closed" if self._closed else "this client is not connected: connect it first"
            )
        if self._sender.thread is None:  # in the child of a fork
            self._sender.start()


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _after_fork() -> None:
    """Call each client's `after_fork`, also where another client's raises: a client without that waits for ever."""
    with contextlib.ExitStack() as calls:
        for client in list(_clients):
            calls.callback(client.after_fork)


os.register_at_fork(after_in_child=_after_fork)
