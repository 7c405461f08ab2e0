"""How an action puts values: the channel that a petition has as `queue`, in the service and in its other processes."""

from __future__ import annotations

from orcha._client.attempt_route import LocalRoute, RemoteRoute, note
from orcha._client.outlet import Outlet, send_later
from orcha.utils import this_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn, Self

    from orcha._client.attempt_route import EnginePort
    from orcha._protocol.endpoint import Endpoint

    Binding = tuple[int, int, Endpoint, bytes, int | None]

MAX_VALUE_BYTES = 4 * 1024 * 1024
"""Of one value, encoded."""
MIN_FINAL, MAX_FINAL = -(1 << 63), (1 << 63) - 1
"""Bounds of a final value: a store keeps 64 bits."""
TAG_LIMIT_NUMBER = 10
"""RLIMIT_LOCKS bears the attempt's tag: Linux ignores it since 2.4.25 (getrlimit(2)), and children inherit it."""

on_unpickled: list[Callable[[int, int], None]] = []
"""Called with sequence and attempt number when a bound channel is unpickled outside the service's process."""


class AttemptChannel:
    r"""A channel into which one attempt of a petition puts values and its final value.

    Each attempt binds the channel; before that the channel is an id alone, and drops values. A fork or a pickle takes
    the channel to other processes, where it opens a connection of its own. Values put by one process keep their order;
    a `put` that has returned precedes every later `put` of any process. Where the attempt or the channel is over, every
    method returns without an error.

    Example::

        channel = AttemptChannel(identity, port)
        channel.bind(seq, attempt)
        channel.put("a line\n")
        channel.finish(0)

    """

    def __init__(self, identity: bytes, port: EnginePort | None = None) -> None:
        """Know the channel.

        Args:
            identity: 16 bytes.
            port: the engine, in the service; None elsewhere.

        """
        self._identity = identity
        self._port = port
        self._home = this_process.pid if port is not None else None
        self._attempt: tuple[int, int] | None = None
        """The attempt that it writes for: the petition's sequence number, and the attempt's number."""
        self._binding: Binding | None = None
        """What another process needs; None before it is asked for."""
        self._outlets: dict[int, Outlet] = {}

    @property
    def __orcha_channel__(self) -> bytes:
        """The channel's identity, 16 bytes."""
        return self._identity

    def bind(self, seq: int, attempt: int) -> None:
        """Let the channel write for this attempt of a petition from now on, by its numbers."""
        global _service  # noqa: PLW0603 - one process is one service
        if _service is None:
            preload()
        _service = this_process.pid
        self._attempt = seq, attempt
        self._binding = None
        self._outlets = {}

    def keep_access(self) -> None:
        """Keep what another process needs, before the engine forgets how to give it: a fork of the service does."""
        if self._binding is None and self._attempt is not None and self._port is not None:
            self._binding = (*self._attempt, *self._port.access(*self._attempt))

    # --- writing -------------------------------------------------------------------------------------------------

    def put(self, value: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002
        """Put a value; returns when the service has the value, after all values before.

        The call waits for the service's disk, never for a reader; `block` and `timeout` change nothing.

        Raises:
            TypeError: such a value cannot be sent.
            ValueError: it is longer than 4 MiB, encoded.

        """
        payload = _encode(value)
        outlet = self._outlet()
        if outlet is not None and not outlet.gone:
            outlet.flush(outlet.add(payload))

    def put_nowait(self, value: Any) -> None:
        """Do as :meth:`put`: there is always room."""
        self.put(value)

    def put_nw(self, value: Any) -> None:
        """Put a value without waiting for the service, unless 1,000 values or 1 MiB wait already.

        The value is sent soon, in order with the values of `put`, before the final value and the process's end.

        Raises:
            TypeError: such a value cannot be sent.
            ValueError: it is longer than 4 MiB, encoded.

        """
        payload = _encode(value)
        outlet = self._outlet()
        if outlet is not None and not outlet.gone:
            outlet.add(payload)
            send_later(outlet)

    def flush(self) -> None:
        """Return when the service has all values that this process put."""
        if not self._outlets:
            return
        outlet = self._outlet()
        if outlet is not None:
            outlet.flush()

    def finish(self, value: int | None = None) -> None:
        """Give the attempt's final value, after all values that this process put; later final values are ignored.

        An int beyond 64 bits counts as the nearest within.

        Raises:
            TypeError: it is neither None nor an int.

        """
        if value is not None and not isinstance(value, int):
            raise TypeError(f"a final value is an int, or None for success, not {type(value).__name__}")
        final = None if value is None else max(MIN_FINAL, min(int(value), MAX_FINAL))
        if (
            not self._outlets
            and self._port is not None
            and self._attempt is not None
            and self._home == this_process.pid
        ):
            self._port.finish(*self._attempt, final)  # nothing was put: nothing can be overtaken
            return
        outlet = self._outlet()
        if outlet is not None:
            outlet.finish(final)

    # --- not reading ---------------------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> NoReturn:
        """Refuse: values go to the client.

        Raises:
            NotImplementedError: always.

        """
        raise NotImplementedError("a petition puts values; the client reads them, at its end of the channel")

    def get_nowait(self) -> NoReturn:
        """Refuse: values go to the client.

        Raises:
            NotImplementedError: always.

        """
        self.get()

    def empty(self) -> NoReturn:
        """Refuse: values go to the client.

        Raises:
            NotImplementedError: always.

        """
        self.get()

    def qsize(self) -> NoReturn:
        """Refuse: values go to the client.

        Raises:
            NotImplementedError: always.

        """
        self.get()

    # --- other processes -----------------------------------------------------------------------------------------

    def __reduce__(self) -> tuple[Callable[..., AttemptChannel], tuple[bytes, Binding | None]]:
        """Give what another process needs: no key but the attempt's own."""
        self.keep_access()
        return _wake_up, (self._identity, self._binding)

    def __copy__(self) -> Self:
        """Give itself: a copy would be a second writer."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Give itself: a copy would be a second writer."""
        return self

    def _outlet(self) -> Outlet | None:
        """Give this process's outlet; None where there is no attempt to write for."""
        pid = this_process.pid
        outlet = self._outlets.get(pid)
        if outlet is None and self._attempt is not None:
            outlet = self._open(*self._attempt, pid)
        if outlet is None:
            note("a value was dropped: its channel belongs to no attempt yet")
        return outlet

    def _open(self, seq: int, attempt: int, pid: int) -> Outlet:
        """Make this process's outlet; of two threads one wins. Leave the outlets that a fork copied from the parent."""
        if self._port is not None and self._home == pid:
            made = Outlet(LocalRoute(self._port, seq, attempt), remote=False)
        else:
            self.keep_access()
            assert self._binding is not None
            _, _, endpoint, capability, _ = self._binding
            made = Outlet(RemoteRoute(endpoint, capability, self._identity, seq, attempt), remote=True)
        outlet = self._outlets.setdefault(pid, made)
        for other in [number for number in self._outlets if number != pid]:
            stale = self._outlets.pop(other, None)
            if stale is not None:
                stale.leave()
        return outlet


_service: int | None = None
"""Pid of the service, in it and in its forks."""


def preload() -> None:
    """Import everything that a `put` from another process needs.

    The service does so before its first attempt: a fork's child would wait for ever for a module that another thread
    was importing at the moment of the fork. The first line of an attempt comes sooner, too.
    """
    from multiprocessing import util  # noqa: F401

    from orcha._client import dial  # noqa: F401
    from orcha._protocol import frames, keys, messages, scram, values  # noqa: F401
    from orcha.utils import logging_utils  # noqa: F401

    values.decode(values.encode(None))
    frames.encode(messages.Ping(0))


def _encode(value: Any) -> bytes:
    from orcha._protocol import values

    payload = values.encode(value, "value")
    if len(payload) > MAX_VALUE_BYTES:
        raise ValueError(f"a value of {len(payload)} bytes, where {MAX_VALUE_BYTES} are allowed: put it in parts")
    return payload


def _wake_up(identity: bytes, binding: Binding | None) -> AttemptChannel:
    """Make a channel from a pickle; a process other than the service belongs to the attempt from then on."""
    channel = AttemptChannel(identity)
    channel._binding = binding  # noqa: SLF001 - it is made here
    channel._attempt = None if binding is None else binding[:2]  # noqa: SLF001 - as above
    if binding is not None and _service != this_process.pid:
        seq, attempt, _, _, tag = binding
        if tag is not None:
            _tag(tag)
        _interrupt_quietly()
        for hook in on_unpickled:
            hook(seq, attempt)
    return channel


def _interrupt_quietly() -> None:
    """Have a cancel leave no traceback in a child that multiprocessing spawned; others are the plugin's own."""
    import sys

    if "multiprocessing.spawn" in sys.modules:  # what such a child begins with
        from orcha.utils.interrupts import interrupt_quietly

        interrupt_quietly()


def _tag(tag: int) -> None:
    """Mark this process, and the processes that it starts, as the attempt's."""
    import resource

    try:
        resource.setrlimit(TAG_LIMIT_NUMBER, (tag, resource.getrlimit(TAG_LIMIT_NUMBER)[1]))
    except (OSError, ValueError) as error:
        note(f"this process cannot be marked as its attempt's: {error}")
