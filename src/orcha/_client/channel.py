"""How a record reaches its reader: the client's end of a channel, values in order and each once.

The thread that reads the connection calls `deliver`; the reader calls `get`. How much the service may send ahead is the
channel's window: what `get` has handed out is reported to the service as credit.

A KeyboardInterrupt loses nothing. CPython runs signal handlers where a function begins, where a loop jumps back and
after the call of a C function, never between two plain loads and stores. So `get` takes a value from the buffer by
plain loads and stores alone. An interruption after that puts the value back by one call, which is complete before the
next interruption is seen.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque

from orcha._protocol.codes import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from orcha._client.read_turn import ReadTurn
    from orcha._client.sender import ClientSender
    from orcha._protocol.messages import ChannelRecord


WINDOW_BYTES = 256 * 1024
"""How far the service may send ahead of what was handed out."""
_CREDIT_BYTES = WINDOW_BYTES // 4
"""How much is handed out before the service is told: each report costs a message."""
ENCODED_NONE = b"\xc0"
"""None as a value's bytes: the final value of most petitions."""

UNREACHABLE_CODE = 69
"""Final value where the service cannot be reached (sysexits.h EX_UNAVAILABLE)."""
FORGOTTEN_CODE = 75
"""Final value where the service does not know the channel any more (sysexits.h EX_TEMPFAIL)."""


class Entry:
    """A record in the client's memory, with the channel's state once that record was handed out."""

    __slots__ = ("end", "final", "finals", "index", "local", "over", "value")

    def __init__(self, before: Entry | None, index: int, value: Any, *, size: int = 0, local: bool = False) -> None:
        self.index = index
        """Place in the service's log; an entry made here has the place of the entry before it."""
        self.value = value
        """The encoded value for a VALUE or NOTICE of the service, else the value that `get` gives."""
        self.local = local
        """This client made the entry, and not the service."""
        self.end: int = size if before is None else before.end + size
        """Bytes received up to the end of this record."""
        self.finals: int = 0 if before is None else before.finals
        """How many finals of the service have come up to this record."""
        self.over: bool = False if before is None else before.over
        """A final has come, from the service or made here."""
        self.final: int | None = None if before is None else before.final
        """The last final."""


class ClientChannel:
    """A channel whose values this client reads: what ``manager.manager.Queue()`` gives.

    It has the reading methods of a :class:`queue.Queue`. Values come in the order in which they were put; reason lines
    of the service come as str, a final value as None or int. Where several petitions share a channel the final of each
    comes. After the last final `get` gives that final again, so that no reader waits for ever. Troubles of the service
    and the network never raise here: they come as a line and a code other than 0.

    Several threads may call `get`; each value goes to one thread. A signal handler may interrupt `get` by raising
    (Ctrl+C): no value is lost or doubled, and `get` may be called again. That holds for a call from Python code as it
    stands in ``value = channel.get()``; through ``iter(channel.get, None)`` or ``functools.partial`` the interruption
    can fall between the call and its caller.

    Example::

        channel = client.channel()
        value = channel.get()
        while isinstance(value, str):
            print(value, end="")
            value = channel.get()

    """

    wanted = False
    """A reader wants the channel followed; only the sender changes this."""
    known = False
    """The service has the channel; set by the sender, or by the reader where the submit followed the channel."""
    followed_on = 0
    """Number of the connection on which the channel is followed, 0 for none; only the sender changes this."""
    _closed = False

    def __init__(
        self,
        identity: bytes,
        sender: ClientSender,
        turn: ReadTurn,
        decode: Callable[[bytes], Any],
        *,
        index: int = 0,
        ends: bool = True,
        expected: int = 0,
    ) -> None:
        """Know the channel; nothing is sent before the first submit that names the channel, or the first `get`.

        Args:
            identity: 16 bytes.
            sender: follows the channel, and reports credit.
            turn: lets a reader wait.
            decode: gives a value of its bytes.
            index: of the first record to hand out.
            ends: False where only the service's word ends the channel, since others submit to it.
            expected: petitions that were submitted to the channel already; the final value of each is still to come.

        """
        self.__orcha_channel__ = identity
        """The channel's identity, 16 bytes: what goes into a message's extras."""
        self._sender = sender
        self._turn = turn
        self._decode = decode
        self._lock = threading.Lock()
        self._buffer: deque[Entry] = deque()
        self._returned: deque[Entry] = deque()
        self._waiters: set[threading.Lock] = set()
        self._last = Entry(None, index - 1, None)
        self._expected = expected
        self._ends = ends
        self._skipped = 0  # bytes that came and are not handed out: twice, or beside the payloads
        self._credited = 0  # bytes handed out or skipped that the service knows of; only the sender changes this

    # --- reading, any thread --------------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Give the next value; after the end give the last final value again, at once.

        Args:
            block: False to not wait.
            timeout: seconds to wait at most; None for no limit.

        Raises:
            queue.Empty: there is none (within `timeout` seconds).
            ValueError: `timeout` is negative.

        """
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        deadline = None if timeout is None or not block else time.monotonic() + timeout
        entry: Entry | None = None
        try:
            while True:
                with self._lock:
                    if self._returned:
                        entry = self._returned[0]
                        del self._returned[0]
                    elif self._buffer:
                        entry = self._buffer[0]
                        self._last = entry
                        del self._buffer[0]
                    elif self._is_over(self._last):
                        return self._last.final
                if entry is not None:
                    break
                self._wait(deadline, block)
            value = self._decoded(entry.value) if isinstance(entry.value, bytes) else entry.value
            if entry.end + self._skipped - self._credited >= _CREDIT_BYTES:
                self._sender.report_credit(self)
            return value  # noqa: TRY300 - after this line nothing can interrupt, and up to it the entry goes back
        except BaseException:
            if entry is not None:
                self._returned.append(entry)
                self._wake()
            raise

    def get_nowait(self) -> Any:
        """Give the next value without waiting.

        Raises:
            queue.Empty: there is none.

        """
        return self.get(block=False)

    def empty(self) -> bool:
        """Tell whether every value that has arrived was handed out; true also after the end."""
        return self.qsize() == 0

    def qsize(self) -> int:
        """Count the values that have arrived and were not handed out."""
        return len(self._returned) + len(self._buffer)

    @property
    def ended_here(self) -> bool:
        """Whether this client made the last value: the service is away, or does not know the channel any more."""
        return self._last.local

    @property
    def position(self) -> int:
        """Index of the record handed out last; -1 before the first."""
        return self._last.index

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> NoReturn:
        """Refuse: values come from petitions.

        Raises:
            NotImplementedError: always.

        """
        raise NotImplementedError("values are put by the petition, on the service's side; a client reads them")

    def put_nowait(self, item: Any) -> NoReturn:
        """Refuse: values come from petitions.

        Raises:
            NotImplementedError: always.

        """
        self.put(item)

    def fail(self, line: str, code: int) -> None:
        """End this client's waiting by a reason and a code, after what has arrived: the service refused its message.

        Args:
            line: for people; handed out as it is, where it is not empty.
            code: handed out as final value.

        """
        with self._lock:
            self._end_locally(line, code)
        self._wake()

    def __reduce__(self) -> NoReturn:
        """Refuse to leave the process: of two readers each would miss what the other got."""
        raise TypeError("a client's channel is read where it was made; send on what it gives")

    def __del__(self) -> None:
        """Tell the service that the channel has no reader any more."""
        if self.wanted and not self._closed:
            self._sender.discard(self.__orcha_channel__)

    # --- from the service: the thread that reads ---------------------------------------------------------------------

    def deliver(self, index: int, records: Sequence[ChannelRecord], overhead: int = 0) -> bool:
        """Take consecutive records, the first with this index; False where records before them are missing.

        `overhead` is how many bytes of the window the records cost beside their payloads.
        """
        with self._lock:
            tail = self._tail()
            self._skipped += overhead
            for at, record in enumerate(records, index):
                size = len(record.payload)
                if at <= tail.index or self._closed:
                    self._skipped += size
                elif at > tail.index + 1:
                    return False
                elif record.kind == Kind.CLOSED:
                    self._closed = True
                else:
                    tail = self._entry(tail, at, record)
                    self._buffer.append(tail)
            overdue = self._skipped > self._credited + _CREDIT_BYTES
        self._wake()
        if overdue:
            self._sender.report_credit(self)
        return True

    def unknown(self) -> bool:
        """Note that the service does not know the channel; tell whether that ends it: before a first submit, no."""
        with self._lock:
            virgin = self._ends and not self._expected and self._tail().index < 0 and not self._tail().over
        if virgin:
            self.followed_on, self.known = 0, False
        return not virgin

    def jump(self, first: int) -> None:
        """Go on at `first`: the records before it are not kept any more."""
        with self._lock:
            tail = self._tail()
            if first > tail.index + 1 and not self._closed:
                line = f"orcha: {first - tail.index - 1} values of this channel are no longer kept\n"
                self._buffer.append(Entry(tail, first - 1, line, local=True))
        self._wake()

    def shorten(self, end: int) -> None:
        """Go on at `end`: the service lost the records from there on."""
        with self._lock:
            if self._last.index >= end:
                self._last = Entry(self._last, end - 1, None)
            self._forget_unread()

    def end(self, line: str, code: int) -> None:
        """End the channel by a line and a code unless its last final has come: the service sends nothing more."""
        with self._lock:
            if self._closed or self._is_over(self._tail()):
                return
            self._end_locally(line, code)
            self._closed = True
        self._wake()

    # --- the sender -------------------------------------------------------------------------------------------------

    def expect(self, petitions: int) -> None:
        """Expect `count` more finals (less, where negative)."""
        with self._lock:
            self._expected += petitions
        self._wake()

    def rewind(self) -> int:
        """Give the index after the last value handed out, and forget the values after it: they will come again."""
        with self._lock:
            self._forget_unread()
            self._skipped, self._credited = 0, self._last.end
            return self._last.index + 1

    def onward(self) -> int:
        """Give the index of the next record to come, with a fresh window."""
        with self._lock:
            self._skipped, self._credited = 0, self._last.end
            return self._tail().index + 1

    def take_credit(self) -> int:
        """Give how many bytes were handed out since the service was last told, 0 for too few to tell."""
        with self._lock:
            size = self._last.end + self._skipped - self._credited
            if size < _CREDIT_BYTES:
                return 0
            self._credited += size
            return size

    def is_open(self) -> bool:
        """Tell whether something may still come from the service."""
        with self._lock:
            return not self._closed and not self._is_over(self._tail())

    def after_fork(self, sender: ClientSender, turn: ReadTurn) -> None:
        """In the child of a fork: be a reader of the child's own, from where the parent was."""
        self._lock = threading.Lock()
        self._waiters = set()
        self._sender, self._turn = sender, turn
        self.wanted, self.followed_on = False, 0

    # --- inside --------------------------------------------------------------------------------------------------

    def _tail(self) -> Entry:
        """Give the last entry that has arrived."""
        return self._buffer[-1] if self._buffer else self._last

    def _is_over(self, entry: Entry) -> bool:
        """Tell whether nothing comes after this entry."""
        return self._closed or (self._ends and entry.over and entry.finals >= self._expected)

    def _entry(self, tail: Entry, index: int, record: ChannelRecord) -> Entry:
        """Make an entry of a record of the service."""
        if record.kind != Kind.FINAL:
            return Entry(tail, index, record.payload, size=len(record.payload))
        value = None if record.payload == ENCODED_NONE else self._decoded(record.payload)
        entry = Entry(tail, index, value, size=len(record.payload))
        entry.over, entry.finals = True, tail.finals + 1
        entry.final = value if isinstance(value, int) else None
        return entry

    def _end_locally(self, line: str, code: int) -> None:
        """Add a line and a final of our own, both or none."""
        tail = self._tail()
        entries = [Entry(tail, tail.index, line, local=True)] if line else []
        final = Entry(tail, tail.index, code, local=True)
        final.over, final.final = True, code
        entries.append(final)
        self._buffer.extend(entries)

    def _forget_unread(self) -> None:
        """Drop the service's records that arrived and were not handed out, and keep the entries made here."""
        kept: list[Entry] = []
        for old in self._buffer:
            if old.local:
                before = kept[-1] if kept else self._last
                entry = Entry(before, before.index, old.value, local=True)
                entry.over, entry.final = old.over, old.final
                kept.append(entry)
        self._buffer.clear()
        self._buffer.extend(kept)

    def _decoded(self, payload: bytes) -> Any:
        """Decode a value; where its bytes cannot be read, give a line that says so."""
        try:
            return self._decode(payload)
        except Exception as error:  # noqa: BLE001 - `get` never raises for what came over the wire
            return f"orcha: a value cannot be read: {error}\n"

    def _wait(self, deadline: float | None, block: bool) -> None:
        """Wait until something may have come."""
        if not self.wanted:
            self._sender.want(self)
        if not block:
            raise queue.Empty
        waiter = threading.Lock()
        waiter.acquire()
        with self._lock:
            if self._returned or self._buffer or self._is_over(self._last):
                return
            self._waiters.add(waiter)
        left = -1.0 if deadline is None else min(max(deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX)
        patience = self._turn.patience
        if patience is not None:
            left = patience if left < 0 else min(left, patience)
        if self._turn.wait(waiter, left, is_answer=self._last.index < 0 and self._expected == 1):
            return
        self._waiters.discard(waiter)
        if deadline is not None and time.monotonic() >= deadline:
            raise queue.Empty
        if self._turn.patience is not None:
            self.end("orcha: not connected to a service\n", UNREACHABLE_CODE)

    def _wake(self) -> None:
        """Let every waiting `get` look again."""
        if not self._waiters:
            return
        for waiter in list(self._waiters):
            with contextlib.suppress(RuntimeError):  # another thread woke it
                waiter.release()
            self._waiters.discard(waiter)
        self._turn.nudge()
