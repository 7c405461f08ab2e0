"""Whose turn it is to be the engine.

The engine has a thread of its own, but waking it costs as much as a small transaction. Where nothing else goes on, the
thread that brings an event handles it by itself: it *is* the engine for as long as it has the turn.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from orcha._service.mailbox import Inbox
from orcha.utils.threads import guarded, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._service.engine import Engine
    from orcha.utils.threads import DeadThreadError

MOST_EVENTS = 2_000
"""Events of one batch."""
FEW_EVENTS = 3
"""More than these are left to the engine's thread: it has them in one transaction while others go on working."""
_GATHER = 0.0005
"""Seconds an outcome may wait for the conditions of those that wait: about as long as a transaction takes."""


class Turns:
    """Has one thread at a time be the engine."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine; its thread is not started."""
        self._engine = engine
        self._stop = False
        self.inbox = Inbox()
        self.stopped = threading.Event()
        self.failure: BaseException | None = None
        self._thread = guarded("orcha-engine", self._run, self._died)

    def start(self) -> None:
        """Start the engine's own thread."""
        start(self._thread)

    def end_with(self, death: DeadThreadError) -> None:
        """Have the service end, as another of its threads died; from any thread."""
        self.inbox.put((self._raise, death))

    def join(self) -> None:
        """Wait until its thread has ended, if there is one."""
        if self._thread.ident is not None:
            self.inbox.ring()
            self.stopped.wait()

    def halt(self) -> None:
        """End it after this batch."""
        self._stop = True

    @property
    def are_over(self) -> bool:
        """Whether this batch is the last one."""
        return self._stop

    def take(
        self,
        handler: Callable[..., None],
        *args: Any,
        may_commit: bool,
        ends: bool = False,
        more: Callable[[], bool] | None = None,
    ) -> None:
        """Have `handler` called, by this thread where nothing else goes on.

        Not from within a plugin's code, whose thread may be deep in its stack, nor with a lock that the engine wants.

        Args:
            handler: called as the engine.
            args: its arguments.
            may_commit: whether this thread may wait for the disk; else the engine's thread does that.
            ends: whether something ends: where others wait, what starts in its place is to be kept with it, and the
                engine's thread gathers both.
            more: called as the engine before it waits for the disk, until it gives False: handles what the caller has
                for it by then, and tells whether that was anything.

        """
        inbox = self.inbox
        inbox.add((handler, *args))
        engine = self._engine
        waits = engine.has_a_queue if ends else engine.has_news
        if len(inbox) > FEW_EVENTS or waits or not inbox.turn.acquire(blocking=False):
            inbox.ring()
            return
        try:
            if not self._stop:
                self._brief(may_commit, more)
        except BaseException as error:  # noqa: BLE001 - as in _run
            self._fail(error)
        finally:
            inbox.turn.release()

    def _brief(self, may_commit: bool, more: Callable[[], bool] | None) -> None:
        """Be the engine for one batch, timers aside."""
        engine = self._engine
        due = engine.timers.head
        engine.machine.now, engine.machine.steady = time.time(), time.monotonic()
        engine.visits.collect()
        self._handle(self.inbox.take(MOST_EVENTS))
        if engine.visits.are_urgent or not engine.has_work():  # else those that wait are asked when the answer has left
            engine.visits.dispatch()
        while more is not None and more():
            engine.visits.dispatch()
        if may_commit:
            self._keep()
        if may_commit or not engine.has_work():  # a reply says what is kept: with what is not, it waits for the disk
            engine.flush()
        if engine.timers.head != due:
            self.inbox.ring()
        self._go_on()

    def _run(self) -> None:
        """Be the engine whenever the bell rings or something is due."""
        while not self._stop:
            with self.inbox.turn:
                if self.are_over:  # it failed on another thread
                    break
                try:
                    self._cycle()
                except BaseException as error:  # noqa: BLE001 - whatever it is: nothing may be acknowledged after it
                    self._fail(error)
                wait = self._engine.timers.wait(time.monotonic())
            if not self._stop:
                self.inbox.wait(wait)
        with self.inbox.turn:  # another thread may be about the last batch
            self.stopped.set()

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        self._stop = True
        try:
            self._engine.say_failed(error)
        finally:
            self.inbox.ring()

    def _raise(self, death: DeadThreadError) -> None:
        raise death

    def _died(self, death: DeadThreadError) -> None:
        """End as the engine: no thread is left that would."""
        self._stop = True
        self.failure = self.failure or death
        self.stopped.set()

    def _cycle(self) -> None:
        engine = self._engine
        engine.machine.now, engine.machine.steady = time.time(), time.monotonic()
        engine.visits.collect()  # what was started may have finished: that event is among these
        self._handle(self.inbox.take(MOST_EVENTS))
        if self.inbox:
            self.inbox.ring()
        for call in engine.timers.take(time.monotonic()):
            call()
        engine.visits.dispatch()  # hooks run while the disk is waited for
        if engine.visits.chooses and engine.machine.changes.transitions:
            self._gather()
        self._keep()
        engine.flush()
        self._go_on()

    def _go_on(self) -> None:
        """Have another batch where this one left something to do."""
        self._engine.commands.settle()
        if self._stop or self._engine.visits.go_on or self._engine.has_work():
            self.inbox.ring()

    def _keep(self) -> None:
        """Keep what is to be kept, and have the effects."""
        engine = self._engine
        if engine.has_work():
            engine.commit()
            if engine.managers.are_ours:
                engine.visits.dispatch()  # a shim starts a program while the client is told
            engine.flush()  # before a hook thread is woken: the two would wait for each other's turn
            engine.visits.dispatch()
            engine.count()

    def _handle(self, events: list[tuple[Any, ...]]) -> None:
        for event in events:
            event[0](*event[1:])

    def _gather(self) -> None:
        """Wait a moment for what is started in place of what ended: one transaction then keeps both."""
        until = time.monotonic() + _GATHER
        while self._engine.visits.chooses and (left := until - time.monotonic()) > 0 and self.inbox.wait(left):
            self._handle(self.inbox.take(MOST_EVENTS))
