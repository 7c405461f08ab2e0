"""Whose turn it is to read a client's connection.

The client has a thread that reads, but a value that it takes has yet to wake the thread that waits for it, which costs
as much as reading. So who waits reads by itself, as long as it waits: what is for others it delivers on the way, and
what is out of the ordinary it leaves to the client's thread. That one rests meanwhile, and takes over where nobody has
read for a moment. Where answers come at once, and that pays, who waits for one looks for a moment before it sleeps.

How a KeyboardInterrupt loses nothing: CPython runs signal handlers where a function begins, where a loop jumps back and
after the call of a C function, never between two plain loads and stores. So a turn is taken and given back by stores
alone. What has been read lies in `unread` until it is taken altogether, since taking a message a second time changes
nothing. Where the interruption falls between the socket and that list, the connection is torn: the client's thread
makes another one, on which what is missing comes again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue

from orcha._client.promptness import AT_ONCE, Promptness
from orcha._protocol.frames import FrameError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._client.link import Link
    from orcha._protocol.frames import Body

PAUSE = 0.02
"""Seconds without a reader after which the client's thread takes over."""
_NOBODY = 0
_FOREVER = -1.0
_LONGEST = 86_400.0
"""Seconds of one poll(2), which counts milliseconds in an int."""


class Turns:
    """Has one thread at a time read: one of those that wait, or the client's own.

    Example::

        gate = threading.Lock()
        gate.acquire()
        ...                        # ask for something whose answer releases the gate
        turns.wait(gate, 5.0)
    """

    def __init__(self, take: Callable[[Body], bool]) -> None:
        """Read nothing yet; `take` takes a message if any thread may, and tells whether it did."""
        self._take = take
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._poll = select.poll()
        self._bell: SimpleQueue[None] = SimpleQueue()
        """Wakes the client's thread where it rests."""
        self._nudge = -1
        """Wakes who reads."""
        self._thread = _NOBODY
        """The client's own."""
        self._holder = _NOBODY
        """The thread whose turn it is."""
        self._others: dict[int, threading.Lock] = {}
        """What threads wait for, by thread."""
        self._wanted = False
        """Whether one of them found that it was not its turn."""
        self._answers = Promptness()
        """To what was asked, and the first words of petitions that have a channel of their own."""
        self._used = 0
        """Turns that were given back."""
        self._rests_long = False
        """Whether the client's thread has to be woken."""
        self.unread: deque[Body] = deque()
        """Messages that are not taken altogether."""
        self.is_torn = False
        """Whether something was lost between the socket and that list."""
        self.problem = ""
        """What came that was no message."""

    # --- any thread ----------------------------------------------------------------------------------------------

    def wait(self, gate: threading.Lock, timeout: float = _FOREVER, *, is_answer: bool = False) -> bool:
        """Wait until another thread, or what this one reads, releases the gate; False where the seconds have passed.

        What `is_answer` may come at once: it waits for nothing but what was asked for just now.
        """
        if gate.acquire(blocking=False):
            return True
        if not is_answer:
            return self._wait(gate, timeout)
        begun, looks = time.monotonic(), self._answers.are_worth_a_look
        done = self._wait(gate, timeout, begun + AT_ONCE if looks else 0.0)
        self._answers.note(time.monotonic() - begun, looked=looks)
        return done

    def _wait(self, gate: threading.Lock, timeout: float, awake: float = 0.0) -> bool:
        me = threading.get_ident()
        until = time.monotonic() + timeout if timeout >= 0 else None
        below = self._others.get(me)  # of what a signal handler has interrupted
        self._others[me] = gate  # before the look whose turn it is: who gives it back looks in the opposite order
        lends = self._holder == me  # a signal handler that waits while the code under it reads
        try:
            if lends:
                self._holder = _NOBODY
                self._bell.put(None)
            elif self._read_in_turn(gate, until, awake, me):
                return True
            self._wanted = True
            return gate.acquire(timeout=_left(until))
        finally:
            if below is None:
                del self._others[me]
            else:
                self._others[me] = below
                self._bell.put(None)  # the client's thread may have seen that the handler waits no more, and that only
            if lends:
                self._interrupt()  # what the handler has interrupted may be in there still

    def _read_in_turn(self, gate: threading.Lock, until: float | None, awake: float, me: int) -> bool:
        """Read if it may be this thread's turn, until the gate is released; False where it is not."""
        mine = done = False
        try:
            with self._lock:
                if self._holder == _NOBODY and self._link is not None and not self.unread and not self.is_torn:
                    self._holder = me
                    mine = True
            if mine:
                done = self._read(gate, until, awake, me)
        finally:  # no call before the turn is given back, and the client's thread woken that waits for that alone
            if mine:
                if self._holder == me:
                    self._holder = _NOBODY
                self._used += 1
                if not done or self._rests_long or len(self._others) > 1:
                    self._bell.put(None)
        return done

    def nudge(self) -> None:
        """Have who reads look at its gate, or its connection, after another thread has changed that."""
        if self._holder in {_NOBODY, self._thread, threading.get_ident()}:
            return
        self._interrupt()

    def _interrupt(self) -> None:
        """End the poll(2) of who reads, or the next."""
        with self._lock:
            if self._nudge >= 0:
                os.eventfd_write(self._nudge, 1)

    def _read(self, gate: threading.Lock, until: float | None, awake: float, me: int) -> bool:
        """Read until the gate is released; False where that is left to the client's thread, or time is over.

        Until the time `awake` it looks for what comes instead of sleeping.
        """
        link, poll, nudge = self._link, self._poll, self._nudge
        assert link is not None
        while not gate.acquire(blocking=False):
            come = self._look(poll, awake if until is None else min(awake, until))
            left = _left(until)
            if left == 0 and not come:
                return False
            for descriptor, _ in come or poll.poll(min(left, _LONGEST) * 1000 if left > 0 else None):
                if self._holder != me:
                    return False
                if descriptor != nudge:
                    if not self._receive(link, me):
                        return False
                    continue
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(nudge)
                if link.fileno() < 0:
                    return False
        return True

    def _look(self, poll: select.poll, until: float) -> list[tuple[int, int]]:
        """Give what has come, or comes until then; whoever else has something to do on this processor may do it."""
        while time.monotonic() < until:
            if come := poll.poll(0):
                return come
            os.sched_yield()
        return []

    def _receive(self, link: Link, me: int) -> bool:
        """Take what has come; False where the client's thread has to."""
        self.is_torn = True
        try:
            bodies = link.read_some()
        except OSError:
            self.is_torn = False  # it is as true for the client's thread
            return False
        except FrameError as error:
            self.problem = str(error)
            return False
        if self._holder != me:  # lent meanwhile, when it was torn
            return False
        if bodies is None:
            self.is_torn = False
            return False
        unread = self.unread
        unread.extend(bodies)
        self.is_torn = False
        while unread:
            if not self._take(unread[0]) or self._holder != me:
                return False
            unread.popleft()
        return True

    def wake(self) -> None:
        """Have the client's thread look at its connection, and who reads."""
        self._bell.put(None)
        self.nudge()

    # --- the client's thread -------------------------------------------------------------------------------------

    def open(self, link: Link) -> None:
        """Begin with a connection; it is this thread's turn. Raises OSError where it was closed meanwhile."""
        descriptor = link.fileno()
        if descriptor < 0:
            raise OSError(errno.EBADF, "it was closed")
        with self._lock:
            self._nudge = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._poll = select.poll()
            self._poll.register(self._nudge, select.POLLIN)
            self._poll.register(descriptor, select.POLLIN)
            self._thread = self._holder = threading.get_ident()
            self.unread.clear()
            self.is_torn, self.problem = False, ""
            self._link = link

    def rest(self) -> None:
        """Let those read that wait, if one found that it was not its turn, until nobody does."""
        if not self._wanted or self._is_waited_for():
            return
        self._wanted = False
        self._holder = _NOBODY
        rang = self._is_waited_for()
        while True:
            used = self._used
            rang = rang or self._hear(_FOREVER if self._rests_long else PAUSE)
            with self._lock:
                self._rests_long = False
                if self._holder == _NOBODY and (rang or used == self._used):
                    self._holder = self._thread
                    return
            if self._holder != _NOBODY and used == self._used:
                self._rests_long = True
            rang = self._holder == _NOBODY and self._rests_long  # who gives the turn back looks in the opposite order

    def _hear(self, seconds: float) -> bool:
        """Wait for the bell; False where the seconds have passed."""
        try:
            self._bell.get(timeout=None if seconds < 0 else seconds)
        except Empty:
            return False
        return True

    def _is_waited_for(self) -> bool:
        """Tell whether another thread waits for what this one reads."""
        return any(gate.locked() for gate in list(self._others.values()))

    def close(self) -> None:
        """End with the connection: nobody reads."""
        with self._lock:
            self._link = None
            self._holder = _NOBODY
            self.abandon()

    def abandon(self) -> None:
        """Close what wakes who reads: in a forked child too, whose parent goes on using its own."""
        nudge, self._nudge = self._nudge, -1
        if nudge >= 0:
            os.close(nudge)


def _left(until: float | None) -> float:
    """Give the seconds until then, as a lock's `acquire` takes them."""
    return _FOREVER if until is None else min(max(until - time.monotonic(), 0.0), threading.TIMEOUT_MAX)
