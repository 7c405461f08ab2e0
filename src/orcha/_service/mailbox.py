"""The engine's mailbox, and which thread acts when.

Petitions are changed by one thread at a time: the thread that has the *turn*. All others put events into the mailbox,
by one of four verbs:

`post`
    The engine's own thread handles the event.
`post_without_waking`
    The same, where the caller knows of something that has the engine's thread look in a moment.
`run_or_post`
    The calling thread takes the turn and handles the event by itself, where nobody else has the turn, little lies in
    the mailbox and the next step would wake no hook thread. Otherwise this is `post`. It is `post` also before the
    engine's thread is started: the thread that starts the service loads what is stored until then, without the turn.
`run_or_wake`
    The same without an event: each batch looks by itself whether the visit of the hook thread is over.

===============================  ==================================================================================
who brings an event              how
===============================  ==================================================================================
the loop thread, a small submit  `run_or_post`; it never waits for the disk: the engine's thread keeps what changed
the loop thread, anything else   `post`
the hook thread, a visit's end   `run_or_wake`
an action thread, its return     `run_or_post`, as an end
an action's final value          `post_without_waking` where the hook thread looks in a moment, else `post`
the reader of shims              `run_or_post`, as an end, with what shims say meanwhile; it waits for the turn
every other thread               `post`
the clock                        the engine's thread alone calls what is due
===============================  ==================================================================================

The thread that has the turn makes one batch: events are handled, the manager's code is asked, one transaction keeps
what changed, then the effects happen and the replies leave. `batch.py` tells these steps one after the other. The
engine's thread sleeps between batches, until an event or a due time wakes it.

`run_or_post` and `run_or_wake` are an optimization. Waking a sleeping thread costs 20 to 60 microseconds; a petition
passed six threads without them and passes three with them, which takes 0.1 to 0.2 ms of 1.3 ms off the way from `send`
to the final value. Under load they change nothing, since the engine's thread does the work wherever anything waits.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from orcha.utils.threads import guarded, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._service.timers import Timers
    from orcha.utils.threads import DeadThreadError

    Event = tuple[Callable[..., object], tuple[Any, ...]]
    """A handler and its arguments."""

MAX_EVENTS_OF_A_BATCH = 2_000
MAX_EVENTS_OF_ANOTHER_THREAD = 3
"""Where more than these wait, the engine's thread handles them in one transaction, and others go on working."""


class Work(Protocol):
    """What is made of events; only the thread that has the turn calls `make`."""

    def wakes_a_hook_thread(self, *, ends: bool) -> bool:
        """Tell, as any thread, whether a batch would hand calls to a hook thread; `ends` where an attempt ends."""

    def make(self, *, own: bool = True, may_keep: bool = True, more: Callable[[], bool] | None = None) -> None:
        """Make a batch; `own` on the engine's thread. `may_keep` and `more` are as `Mailbox.run_or_post` says."""

    def fail(self, error: BaseException) -> None:
        """Tell all parts that the engine has failed and nothing goes on."""


class Mailbox:
    """Events for the engine, put by any thread, in order; and the turn, which has one thread at a time handle them."""

    def __init__(self, timers: Timers) -> None:
        """Be empty; no batch is made before `serve` and `start`: events wait until then.

        What `timers` have due is called in batches too.
        """
        self._timers = timers
        self._work: Work | None = None
        self.turn = threading.Lock()
        self.events: deque[Event] = deque()
        """The events that nobody has taken, in order."""
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._rung = False
        self.is_over = False
        """Whether the batch that is made now is the last one."""
        self.is_started = False
        """Whether other threads than the engine's own may take the turn: what is stored is loaded."""
        self.stopped = threading.Event()
        """Set when no batch is made any more."""
        self.failure: BaseException | None = None
        """What ended the engine, where it did not end by itself."""
        self._thread = guarded("orcha-engine", self._run, self._died)

    def serve(self, work: Work) -> None:
        """Have events handled in batches of `work`."""
        self._work = work

    def start(self) -> None:
        """Start the engine's own thread."""
        self.is_started = True
        start(self._thread)

    def join(self) -> None:
        """Wait until the engine's thread has ended, where it was started."""
        if self._thread.ident is not None:
            self.wake()
            self.stopped.wait()

    def halt(self) -> None:
        """Make this batch the last one; as the engine."""
        self.is_over = True

    def __len__(self) -> int:
        """Count the events that nobody has taken."""
        return len(self.events)

    # --- from any thread ----------------------------------------------------------------------------------------

    def post(self, handler: Callable[..., object], *args: Any) -> None:
        """Have the engine's thread call `handler`."""
        self.events.append((handler, args))
        if not self._rung:
            self.wake()

    def post_without_waking(self, handler: Callable[..., object], *args: Any) -> None:
        """Have `handler` called in the next batch; the caller knows that a batch comes in a moment."""
        self.events.append((handler, args))

    def run_or_post(
        self,
        handler: Callable[..., object],
        *args: Any,
        may_keep: bool,
        ends: bool = False,
        more: Callable[[], bool] | None = None,
    ) -> None:
        """Call `handler` as the engine where nothing else goes on; else leave it to the engine's thread.

        A plugin's code must not call this, since its thread may be deep in its stack; nor may a thread that holds a
        lock which the engine wants.

        Args:
            handler: called as the engine.
            args: its arguments.
            may_keep: whether the calling thread may wait for the disk; else the engine's thread does that.
            ends: whether an attempt ends: what starts in its place is to be kept with it, and the engine's thread
                gathers both.
            more: called as the engine before the disk is waited for, until it gives False: handles what the caller has
                got by then, and tells whether that was anything. A caller that gives it waits for the turn: one
                transaction then keeps all that has come meanwhile, and the engine's thread need not wake for a part.

        """
        self.events.append((handler, args))
        self.run_or_wake(may_keep=may_keep, ends=ends, more=more)

    def run_or_wake(self, *, may_keep: bool, ends: bool = False, more: Callable[[], bool] | None = None) -> None:
        """Make a batch as the engine where nothing else goes on; else have the engine's thread make one.

        The arguments are those of `run_or_post`.
        """
        work = self._work
        assert work is not None
        busy = len(self.events) > MAX_EVENTS_OF_ANOTHER_THREAD or not self.is_started
        if busy or work.wakes_a_hook_thread(ends=ends) or not self.turn.acquire(blocking=more is not None):
            self.wake()
            return
        try:
            if not self.is_over:
                due = self._timers.head
                work.make(own=False, may_keep=may_keep, more=more)
                if self._timers.head != due:
                    self.wake()
        except BaseException as error:  # noqa: BLE001 - as in _run
            self._fail(error)
        finally:
            self.turn.release()

    def wake(self) -> None:
        """Have the engine's thread make a batch."""
        if not self._rung:
            self._rung = True
            self._bell.put(None)

    def wake_for_events(self) -> None:
        """Have the engine's thread make a batch where an event lies there."""
        if self.events:
            self.wake()

    def end_with(self, death: DeadThreadError) -> None:
        """Have the engine fail, as a thread of the service died."""
        self.post(self._raise, death)

    # --- in a batch ---------------------------------------------------------------------------------------------

    def handle(self, *, due: bool = False) -> None:
        """Handle the events that came; with `due` also make the calls that are due, as the engine's own thread."""
        events = self.events
        for _ in range(min(len(events), MAX_EVENTS_OF_A_BATCH)):
            handler, args = events.popleft()
            handler(*args)
        if not due:
            return
        if events:
            self.wake()
        if self._timers.head is not None and self._timers.head <= (now := time.monotonic()):
            for call in self._timers.take(now):
                call()

    def listen(self, timeout: float | None) -> bool:
        """Wait for the bell; False where the seconds passed without it."""
        try:
            self._bell.get(timeout=timeout)
        except Empty:
            return False
        self._rung = False  # before the events are taken: a later event rings again
        return True

    # --- the engine's own thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        work = self._work
        assert work is not None
        while True:
            with self.turn:
                if self.is_over:  # on this thread, or it failed on another one
                    break
                try:
                    work.make()
                except BaseException as error:  # noqa: BLE001 - whatever it is: nothing may be acknowledged after it
                    self._fail(error)
                wait = None if self._timers.head is None else self._timers.wait(time.monotonic())
            if not self.is_over:
                self.listen(wait)
        with self.turn:  # another thread may be about the last batch
            self.stopped.set()

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        self.is_over = True
        try:
            if self._work is not None:
                self._work.fail(error)
        finally:
            self.wake()

    def _raise(self, death: DeadThreadError) -> object:
        raise death

    def _died(self, death: DeadThreadError) -> None:
        """End the engine on the calling thread: no other thread is left to end it."""
        self.is_over = True
        self.failure = self.failure or death
        self.stopped.set()


__all__ = ["Mailbox", "Work"]
