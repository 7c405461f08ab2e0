"""Values of one attempt on their way from one process: in order, each once, whatever the connection does."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from itertools import islice

from orcha.exceptions import AuthenticationError, OrchaConnectionError, OrchaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from orcha._client.connection import ServiceConnection
    from orcha._protocol.endpoint import Endpoint
    from orcha._protocol.messages import ClientMessage, Reply

    class Route(Protocol):
        """A way to the service."""

        def put(self, number: int, values: list[bytes]) -> bool:
            """Have values kept, the same number the same values; False where the attempt is over."""

        def finish(self, value: int | None) -> None:
            """Give the final value."""

        def leave(self) -> None:
            """Let go of what a fork copied from its parent."""

    class EnginePort(Protocol):
        """The service's engine, as a channel in the same process sees it."""

        def put(self, seq: int, attempt: int, values: list[bytes]) -> bool:
            """Return when the values are kept; False where the attempt is over."""

        def finish(self, seq: int, attempt: int, value: int | None) -> object:
            """Return when the final value is kept, or ignored where the attempt is over."""


MAX_VALUES = 1_000
"""Values that wait to be sent, and values of a Put."""
MAX_BYTES = 1024 * 1024
"""Bytes that wait to be sent, and bytes of a Put where one value alone is not more."""
UNREACHABLE_AFTER = 2.0
"""Seconds without the service after which a process of an attempt takes it as over."""


class _Batch:
    """Values sent together. Sent again it is the same to the service, which knows it by its number."""

    __slots__ = ("number", "values")

    def __init__(self, number: int, values: list[bytes]) -> None:
        self.number = number
        self.values = values


class Value:
    """An encoded value on its way."""

    __slots__ = ("batch", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.batch: _Batch | None = None


class Outlet:
    """A queue of values towards the service, emptied by whoever waits for it.

    A KeyboardInterrupt in `flush` leaves the batch as it is: it is sent again by the next call, under its number.
    """

    def __init__(self, route: Route, *, remote: bool) -> None:
        self.remote = remote
        """The service is another process."""
        self.gone = False
        """The attempt is over: nothing is sent any more."""
        self.queued = False
        """The process's sender knows that values wait."""
        self._route = route
        self._lock = threading.Lock()
        self._waiting: deque[Value] = deque()
        self._bytes = 0
        self._batch = self._done = _Batch(0, [])

    def add(self, payload: bytes) -> Value:
        """Queue a value; waits for the service while too many are queued."""
        while not self.gone and (len(self._waiting) >= MAX_VALUES or self._bytes >= MAX_BYTES):
            self.flush()
        value = Value(payload)
        self._bytes += len(payload)
        self._waiting.append(value)
        return value

    def flush(self, until: Value | None = None) -> None:
        """Return when the service has everything up to this value (by default all), or the attempt is over."""
        if until is None:
            try:
                until = self._waiting[-1]
            except IndexError:
                return
        with self._lock:
            self._send_until(until)

    def _send_until(self, until: Value) -> None:
        """Send up to this value; a function, since CPython 3.13 may leave a loop within `with` without releasing."""
        while not self.gone and (until.batch is None or until.batch.number > self._done.number):
            self._send()
        self._forget_done()

    def finish(self, value: int | None) -> None:
        """Give the final value, after everything queued."""
        self.flush()
        with self._lock:
            if not self.gone:
                self._route.finish(value)
                self._end()

    def leave(self) -> None:
        """In a fork's child: let go of what the parent has."""
        self._route.leave()

    def __bool__(self) -> bool:
        """Whether values wait."""
        return bool(self._waiting)

    def _send(self) -> None:
        """Send the batch that has no answer yet, else the next one; the caller has the lock."""
        if self._batch is self._done:
            self._forget_done()
            self._batch = self._next()
        if self._route.put(self._batch.number, self._batch.values):
            self._done = self._batch
        else:
            self._end()

    def _end(self) -> None:
        self.gone = True
        self._waiting.clear()

    def _next(self) -> _Batch:
        """Make the next batch of what waits."""
        batch = _Batch(self._done.number + 1, [])
        size = 0
        for value in list(islice(self._waiting, MAX_VALUES)):
            size += len(value.payload)
            if batch.values and size > MAX_BYTES:
                break
            batch.values.append(value.payload)
            value.batch = batch
        return batch

    def _forget_done(self) -> None:
        """Drop what the service has; may be interrupted and done again."""
        done, waiting = self._done, self._waiting
        while waiting and waiting[0].batch is done:
            waiting.popleft()
        self._bytes = sum(len(value.payload) for value in list(waiting)) if waiting else 0


class LocalRoute:
    """The way to the engine in the same process."""

    def __init__(self, port: EnginePort, seq: int, attempt: int) -> None:
        self._port = port
        self._seq = seq
        self._attempt = attempt

    def put(self, number: int, values: list[bytes]) -> bool:  # noqa: ARG002 - nothing is sent twice here
        """Have values kept."""
        return self._port.put(self._seq, self._attempt, values)

    def finish(self, value: int | None) -> None:
        """Give the final value."""
        self._port.finish(self._seq, self._attempt, value)

    def leave(self) -> None:
        """Nothing of it is open."""


class RemoteRoute:
    """The way from another process: a connection of its own, made when it is needed."""

    def __init__(self, endpoint: Endpoint, capability: bytes, channel: bytes, seq: int, attempt: int) -> None:
        self._endpoint = endpoint
        self._capability = capability
        self._channel = channel
        self._seq = seq
        self._attempt = attempt
        self._writer = os.urandom(8)
        self._request = 0
        self._link: ServiceConnection | None = None
        self._torn = False  # an exchange was interrupted: what it left on the connection would be taken for the next
        self._instance: object = None

    def put(self, number: int, values: list[bytes]) -> bool:
        """Have values kept."""
        from orcha._protocol.messages import Put

        return self._ask(
            lambda request: Put(request, self._channel, self._seq, self._attempt, self._writer, number, values)
        )

    def finish(self, value: int | None) -> None:
        """Give the final value."""
        from orcha._protocol.messages import Finish

        self._ask(lambda request: Finish(request, self._channel, self._seq, self._attempt, value))
        self._drop()

    def leave(self) -> None:
        """Close this process's copy of the parent's connection, and not the connection."""
        link, self._link = self._link, None
        if link is not None:
            link.abandon()

    def _ask(self, build: Callable[[int], ClientMessage]) -> bool:
        """Send a message until it is answered; False where the attempt is over or the service stays away."""
        from orcha._protocol.messages import Verdict

        self._request += 1
        message = build(self._request)
        since: float | None = None
        while True:
            try:
                reply = self._exchange(message, self._request)
            except AuthenticationError as error:
                return self._over(str(error))
            except (OSError, OrchaError) as error:
                self._drop()
                since = time.monotonic() if since is None else since
                if time.monotonic() - since >= UNREACHABLE_AFTER:
                    return self._over(str(error))
                time.sleep(0.01 + os.urandom(1)[0] / 2550)
            else:
                return reply.verdict == Verdict.OK or self._over(reply.reason or "the attempt is over")

    def _exchange(self, message: ClientMessage, request: int) -> Reply:
        """Send a message and wait for its answer; OSError where the connection ends before."""
        from orcha._protocol.frames import FrameError, decode_service_message, encode
        from orcha._protocol.messages import Error, Reply

        if self._torn:
            self._drop()
        link = self._link or self._dial()
        self._torn = True
        link.send(encode(message))
        try:
            while bodies := link.read_frames():
                for body in bodies:
                    answer = decode_service_message(body)
                    if isinstance(answer, Reply) and answer.request == request:
                        self._torn = False
                        return answer
                    if isinstance(answer, Error):
                        raise OrchaConnectionError(answer.reason)
        except FrameError as error:
            raise OrchaConnectionError(str(error)) from None
        raise OrchaConnectionError("the service closed the connection")

    def _dial(self) -> ServiceConnection:
        """Connect to the service that started the attempt; another start of it knows nothing of the attempt."""
        self._link = link = connect(self._endpoint, self._capability, self._seq, self._attempt)
        if self._instance is None:
            self._instance = link.instance
        elif self._instance != link.instance:
            raise AuthenticationError("the service was started anew, and the attempt is over")
        return link

    def _drop(self) -> None:
        link, self._link, self._torn = self._link, None, False
        if link is not None:
            link.close()

    def _over(self, reason: str) -> bool:
        """Leave a trace of why nothing is sent any more."""
        self._drop()
        note(f"values of petition {self._seq}, attempt {self._attempt}, are dropped: {reason}")
        return False

    def __del__(self) -> None:
        """Close what is open."""
        self._drop()


def connect(endpoint: Endpoint, capability: bytes, seq: int, attempt: int) -> ServiceConnection:
    """Connect as a process of an attempt: by the Unix socket, else with the attempt's key."""
    from orcha._client.dial import dial
    from orcha._protocol.keys import Key, capability_id

    key = Key(capability_id(seq, attempt), capability)
    return dial(endpoint, key, timeout=UNREACHABLE_AFTER, prove=False)  # a proof costs 5 ms, more than the fork


def note(line: str) -> None:
    """Leave a trace for who looks for it."""
    from orcha.utils.logging_utils import get_logger

    get_logger().debug("%s", line)
