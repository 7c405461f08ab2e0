"""Executes commands by shims: hands attempts to shims, and delivers the shims' events to the service.

One file, since one lock guards the shims, the supervisor and the waiting attempts, and one event may change them all.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import threading
import time
from collections import deque
from functools import partial
from signal import SIGSTOP

from orcha._supervisor import adoption
from orcha._supervisor.contract import (
    LOST,
    CommandEnded,
    CommandLost,
    CommandNotStarted,
    CommandStopped,
    Silent,
    SurvivorsGone,
)
from orcha._supervisor.dead_shims import DeadShim, DeadShimCleaner, forget
from orcha._supervisor.foreign_shims import ForeignShims
from orcha._supervisor.handover_log import HandoverLog, HandoverNotes
from orcha._supervisor.link import ProtocolError
from orcha._supervisor.protocol import fits, pack_secrets, pack_spec, readable
from orcha._supervisor.shim_connection import ShimConnection, connect, event_of, exited
from orcha._supervisor.shim_heartbeats import KILLED, MAX_WAIT_SECONDS, NO_END, SILENCE_SECONDS, ShimHeartbeats
from orcha._supervisor.shim_registry import SPARE_SHIMS, ShimRegistry
from orcha._supervisor.supervisor_process import SupervisorProcess
from orcha.utils.private import make_folder
from orcha.utils.threads import guarded, ignore_death, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from orcha._supervisor.contract import AttemptLimitValues, CommandSpec, Event, FoundAttempt
    from orcha._supervisor.handover_log import Key
    from orcha._supervisor.link import Frame
    from orcha.utils.threads import OnDeath

MAX_FAILED_SUPERVISORS = 3
"""When this many supervisors in a row have ended without having forked, the waiting attempts are lost."""
MAX_END_SECONDS = 10.0
"""How long :meth:`ShimExecutor.close` waits at most for the ends of commands that are not kept."""


class ShimExecutor:
    """See :class:`orcha._supervisor.command_executor.CommandExecutor`.

    One thread reads the messages of all shims. The calling thread sends messages to a shim; where the socket has no
    room, the reader thread sends the rest later. Example::

        commands = ShimExecutor(folder, epoch=epoch, on_events=inbox.put, report=logger.log)
        for found in commands.adopt():
            ...
        commands.start(spec)
    """

    def __init__(
        self,
        folder: Path,
        *,
        epoch: int,
        on_events: Callable[[list[Event]], None],
        report: Callable[[int, str], None],
        on_death: OnDeath = ignore_death,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        """Make the folders and start nothing.

        `epoch` counts the service's starts, `report` takes level and line, `on_death` is told where a thread dies. A
        shim has `silence` seconds to answer.
        """
        self._folder = folder
        self._epoch = epoch
        self._on_events = on_events
        self._report = report
        self._on_death = on_death
        os.close(make_folder(f"{folder}/output"))
        self._shims_folder = make_folder(f"{folder}/shims")
        self._lock = threading.RLock()
        self._registry = ShimRegistry()
        self._epoll = self._registry.epoll
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._handover = HandoverLog(folder / "shims", epoch)
        self._took: dict[str, Key] = {}
        self._dead_unassigned: list[str] = []
        self._waiting: deque[CommandSpec] = deque()
        self._dead_by_key: dict[tuple[int, int], str] = {}
        self._posted: deque[Event] = deque()
        self._supervisor: SupervisorProcess | None = None
        self._thread: threading.Thread | None = None
        self._cleaner = DeadShimCleaner(folder, report, on_death)
        self._heartbeats = ShimHeartbeats(folder, report, silence)
        self._closing, self._failures = False, 0
        self._sleeps = False
        """Whether the reader thread waits without an end, since no command runs."""
        self._quiet = threading.Condition(self._lock)
        self._foreign = ForeignShims(folder, self._dead_by_key, self._post, self._outlast, report, on_death)

    # --- verbs ------------------------------------------------------------------------------------------------------

    def adopt(self) -> list[FoundAttempt]:
        """See the contract. A shim that does not answer within 5 s is described by its black box."""
        with self._lock:
            adopted = adoption.adopt(self._folder, self._shims_folder, self._epoch, self._report)
            self._took, self._dead_unassigned = adopted.took, adopted.dead
            for dead in adopted.outlived:
                self._outlast(dead)
            for shim in adopted.living:
                self._registry.add(shim)
                if shim.key is None:
                    self._registry.rest(shim, time.monotonic())
            found = self._foreign.add(adopted.found)
            self._dead_by_key |= {(one.seq, one.attempt): one.shim for one in found if one.phase == LOST}
        return found

    def may_have_run(self, seq: int, attempt: int, *, epoch: int) -> bool:
        """See the contract."""
        with self._lock:
            return self._handover.earlier.may_have_run((seq, attempt), epoch, self._took)

    def recovered(self) -> None:
        """See the contract."""
        with self._lock:
            self._begin_notes()
            for shim in self._dead_unassigned:
                forget(self._folder, shim)
            self._took, self._dead_unassigned = {}, []
            self._handover.earlier = HandoverNotes(None)
            if self._registry or self._foreign.shims or self._cleaner.are_under_way:
                self._run()

    def resume(self, seq: int, attempt: int, *, after_chunk: int) -> None:
        """See the contract."""
        self._run()
        self._tell(seq, attempt, {"t": "resume", "n": after_chunk})

    def discard(self, seq: int, attempt: int) -> None:
        """See the contract."""
        with self._lock:
            self._run()
            shim = self._registry.by_key.get((seq, attempt))
            if shim is not None:
                shim.discarded = True
                self._tell(seq, attempt, {"t": "kill", "why": "discarded"})
                self._tell(seq, attempt, {"t": "resume", "n": 1 << 62})
            self._foreign.kill(seq, attempt, told=False)
            self._forget_box(seq, attempt)

    def start(self, spec: CommandSpec) -> None:
        """See the contract."""
        with self._lock:
            if self._closing:
                return
            if not fits(spec):
                why = f"cannot execute {readable(spec.argv[0])}: {os.strerror(errno.E2BIG)}"
                self._run()
                self._post(CommandNotStarted(spec.seq, spec.attempt, 126, why))
                return
            if self._registry.idle:
                self._hand(self._registry.idle.pop(), spec)
            else:
                self._waiting.append(spec)
                self._ask()
                self._rouse_reader()

    def prepare(self) -> None:
        """See the contract."""
        with self._lock:
            self._run()
            if not (self._closing or self._registry):
                self._ask(ahead=1)

    def cancel(self, seq: int, attempt: int, why: str) -> None:
        """See the contract."""
        self._end(seq, attempt, "cancel", why)

    def kill(self, seq: int, attempt: int, why: str) -> None:
        """See the contract."""
        self._end(seq, attempt, "kill", why)

    def signal(self, seq: int, attempt: int, signal: int) -> None:
        """See the contract."""
        self._tell(seq, attempt, {"t": "signal", "n": int(signal)})

    def stop(self, seq: int, attempt: int) -> None:
        """See the contract."""
        with self._lock:
            shim = self._registry.by_key.get((seq, attempt))
            self._tell(seq, attempt, {"t": "signal", "n": int(SIGSTOP), "tell": True})
            if shim is not None and not shim.stops:
                self._post(CommandStopped(seq, attempt))

    def limit(self, seq: int, attempt: int, limits: AttemptLimitValues) -> None:
        """See the contract."""
        with self._lock:
            if not self._tell(seq, attempt, {"t": "limit", **limits._asdict()}):
                self._waiting = deque(
                    spec._replace(**limits._asdict()) if (spec.seq, spec.attempt) == (seq, attempt) else spec
                    for spec in self._waiting
                )

    def write(self, seq: int, attempt: int, offset: int, data: bytes) -> None:
        """See the contract."""
        self._tell(seq, attempt, {"t": "write", "n": offset}, data)

    def close_stdin(self, seq: int, attempt: int, offset: int) -> None:
        """See the contract."""
        self._tell(seq, attempt, {"t": "close", "n": offset})

    def resize(self, seq: int, attempt: int, rows: int, columns: int) -> None:
        """See the contract."""
        self._tell(seq, attempt, {"t": "resize", "rows": rows, "columns": columns})

    def took(self, seq: int, attempt: int, chunk: int) -> None:
        """See the contract."""
        self._tell(seq, attempt, {"t": "took", "n": chunk})

    def read(self, seq: int, attempt: int, *, anybody: bool) -> None:
        """See the contract."""
        self._tell(seq, attempt, {"t": "read", "by": anybody})

    def forget(self, seq: int, attempt: int) -> None:
        """See the contract."""
        with self._lock:
            if (shim := self._registry.by_key.get((seq, attempt))) is not None and shim.is_over:
                if shim.survivors:
                    shim.link.send({"t": "forget", "s": seq, "a": attempt})
                else:
                    self._free(shim)
            self._forget_box(seq, attempt)

    def settle(self) -> None:
        """See the contract."""
        if self._registry.unsettled:
            with self._lock:
                self._registry.settle()

    def descriptors(self) -> list[int]:
        """See the contract: with a copy of such a descriptor in a child, a shim would wait for that child's end too."""
        supervisor = self._supervisor
        links = [shim.link for shim in self._registry] + ([] if supervisor is None else [supervisor.link])
        return [self._epoll.fileno(), self._wake, self._shims_folder, *(link.descriptor for link in links)]

    def close(self, *, keep: bool) -> None:
        """See the contract. Without `keep` this waits for the ends of all commands, 10 s at most."""
        with self._lock:
            self._waiting.clear()
            self._closing = True
            if not keep:
                self._end_all()
        self._foreign.close(keep=keep)
        self._cleaner.join()
        with self._lock:
            supervisor, self._supervisor = self._supervisor, None
            left = bool(self._registry.by_key)
            for shim in self._registry:
                if shim.key is None:
                    shim.link.send({"t": "leave"})
                self._registry.remove(shim)
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join()
        if supervisor is not None:
            supervisor.close(wait=not left)
        self._handover.close()
        self._epoll.close()
        os.close(self._wake)
        os.close(self._shims_folder)

    # --- shims ------------------------------------------------------------------------------------------------------

    def _tell(self, seq: int, attempt: int, head: dict[str, Any], raw: bytes = b"") -> bool:
        with self._lock:
            if (shim := self._registry.by_key.get((seq, attempt))) is not None:
                shim.link.send({**head, "s": seq, "a": attempt}, raw)
            return shim is not None

    def _end(self, seq: int, attempt: int, verb: str, why: str) -> None:
        with self._lock:
            if (shim := self._registry.by_key.get((seq, attempt))) is not None:
                shim.link.hold({"t": verb, "why": why, "s": seq, "a": attempt})
                self._heartbeats.hasten(shim)  # where that asks the shim for an answer, both leave together
                if shim.link.holds:
                    shim.link.release()
                os.eventfd_write(self._wake, 1)  # the reader may wait for longer than the shim has to answer
                return
            for spec in self._waiting:
                if (spec.seq, spec.attempt) == (seq, attempt):
                    self._waiting.remove(spec)
                    self._post(exited(seq, attempt, why))
                    return
            self._foreign.kill(seq, attempt)

    def _hand(self, shim: ShimConnection, spec: CommandSpec) -> None:
        shim.key = (spec.seq, spec.attempt)
        shim.handed = time.monotonic()
        self._registry.by_key[shim.key] = shim
        self._handover.note(shim.key, shim.name)
        if self._handover.is_large:
            self._begin_notes()
        self._run()
        self._rouse_reader()
        shim.link.send({"t": "start", "spec": pack_spec(spec)}, pack_secrets(spec))

    def _rouse_reader(self) -> None:
        """Wake the reader thread where it waits without an end: it would take no look at shims and supervisor."""
        if self._sleeps:
            self._sleeps = False
            os.eventfd_write(self._wake, 1)

    def _free(self, shim: ShimConnection) -> None:
        """Have a shim forget its attempt, and give it the next one."""
        self._registry.free(shim)
        if shim.is_spent:
            shim.link.release()
            self._registry.remove(shim)
        elif self._waiting:
            self._hand(shim, self._waiting.popleft())
        else:
            self._registry.rest(shim, time.monotonic())
            self._rouse_reader()

    def _dismiss_surplus(self) -> None:
        """Let idle shims end that are more than are kept."""
        with self._lock:
            for shim in self._registry.surplus(time.monotonic()):
                shim.link.send({"t": "leave"})
                self._registry.remove(shim)

    def _begin_notes(self) -> None:
        """Begin a new handover log with the attempts that were handed over and whose end is not kept yet."""
        living = {key: shim.name for key, shim in self._registry.by_key.items()}
        self._handover.begin((living | self._dead_by_key | self._foreign.shims).items())

    def _forget_box(self, seq: int, attempt: int) -> None:
        shim = self._dead_by_key.pop((seq, attempt), None)
        if shim is not None:
            forget(self._folder, shim)

    # --- the supervisor ---------------------------------------------------------------------------------------------

    def _ask(self, ahead: int = 0) -> None:
        """Ask the supervisor for as many shims as attempts wait, and for some spare ones."""
        self._run()
        supervisor = self._supervisor
        if supervisor is None:
            try:
                supervisor = self._supervisor = SupervisorProcess(self._folder)
            except OSError as error:
                self._no_supervisor(f"no supervisor can be started: {error}")
                return
            self._epoll.register(supervisor.link.descriptor, select.EPOLLIN)
        if (missing := len(self._waiting) + ahead - supervisor.asked) > 0:
            supervisor.ask(missing + SPARE_SHIMS)

    def _hear_supervisor(self, supervisor: SupervisorProcess) -> None:
        for frame in supervisor.link.receive():
            shims = frame.head["shims"]
            supervisor.answered(len(shims) + frame.head["left"])
            self._failures = 0
            for name in shims:
                self._meet(name)
            if frame.head["left"]:
                self._no_supervisor(f"no shim can be forked: {frame.head['why']}")
        if not supervisor.link.is_open:
            self._epoll.unregister(supervisor.link.descriptor)
            self._supervisor = None
            supervisor.close(wait=True)
            self._failures += 1
            if self._waiting and not self._closing:
                if self._failures >= MAX_FAILED_SUPERVISORS:
                    self._no_supervisor("the supervisor of commands ends as soon as it is started")
                else:
                    self._ask()

    def _meet(self, name: str) -> None:
        try:
            shim = ShimConnection(name, connect(self._shims_folder, name), self._epoch)
        except OSError as error:
            self._report(logging.WARNING, f"shim {name} cannot be reached: {error}")
            self._ask()
            return
        self._registry.add(shim)
        if self._waiting:
            self._hand(shim, self._waiting.popleft())
        else:
            self._registry.rest(shim, time.monotonic())

    def _no_supervisor(self, why: str) -> None:
        """Report the waiting attempts as lost."""
        self._report(logging.ERROR, why)
        self._failures = 0
        while self._waiting:
            spec = self._waiting.popleft()
            self._post(CommandLost(spec.seq, spec.attempt, executed=False))

    # --- the reader thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        if self._thread is None:
            thread = guarded("orcha-commands", self._read, self._on_death)
            start(thread)
            self._thread = thread

    def _post(self, event: Event) -> None:
        with self._lock:
            self._posted.append(event)
            os.eventfd_write(self._wake, 1)

    def _read(self) -> None:
        was_quiet = False
        while not self._closing or self._registry or self._supervisor is not None:
            with self._lock:
                looks = bool(self._registry.by_key or self._waiting or self._cleaner.without_thread)
                looks = looks or self._registry.has_surplus
                looks = looks or (bool(self._foreign.shims) and self._foreign.lacks_thread)
                self._sleeps = not looks and was_quiet
            left = min(self._heartbeats.due - time.monotonic(), MAX_WAIT_SECONDS)
            events = self._listen(None if self._sleeps else max(0.0, left))
            was_quiet = not (looks or events)
            if not events:
                self._go_on_with_threads()
            if self._registry.has_surplus:
                self._dismiss_surplus()
            if time.monotonic() >= self._heartbeats.due:
                self._look_at_shims(events)
            if events:
                self._on_events(events)

    def _look_at_shims(self, events: list[Event]) -> None:
        """Tell of shims that have not answered for a while, and give up shims that never answer."""
        with self._lock:
            looked = self._heartbeats.look(self._registry.by_key.values(), self._supervisor)
            events += [Silent(*shim.key, True) for shim in looked.silent if shim.key is not None]
            for shim in looked.lost:
                self._give_up(shim)

    def _go_on_with_threads(self) -> None:
        """Start threads that could not be started before."""
        if self._cleaner.without_thread:
            self._cleaner.go_on()
        if self._foreign.shims:
            self._foreign.go_on()

    def more(self, timeout: float = 0.0, age: float = 0.0) -> list[Event]:
        """See the contract."""
        return self._listen(timeout if timeout and self._is_younger_under_way(age) else 0.0)

    def _is_younger_under_way(self, age: float) -> bool:
        """Return whether an attempt that was handed to its shim less than `age` seconds ago has not ended."""
        oldest = time.monotonic() - age
        with self._lock:
            for shim in reversed(self._registry.by_key.values()):  # in the order in which they were handed over
                if shim.handed < oldest:
                    return False
                if not shim.is_over:
                    return True
        return False

    def _listen(self, timeout: float | None) -> list[Event]:
        ready = self._epoll.poll(timeout)
        events: list[Event] = []
        with self._lock:
            for descriptor, what in ready:
                self._ready(descriptor, what, events)
        return events

    def _ready(self, descriptor: int, what: int, events: list[Event]) -> None:
        supervisor = self._supervisor
        shim = self._registry.by_descriptor.get(descriptor)
        if shim is not None:
            self._hear(shim, what, events)
        elif supervisor is not None and descriptor == supervisor.link.descriptor:
            if what & select.EPOLLOUT:
                supervisor.link.flush()
            self._hear_supervisor(supervisor)
        elif descriptor == self._wake:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            events.extend(self._posted)
            self._posted.clear()

    def _hear(self, shim: ShimConnection, what: int, events: list[Event]) -> None:
        if what & select.EPOLLOUT:
            shim.link.flush()
        try:
            for frame in shim.link.receive():
                self._take(shim, frame, events)
        except (ProtocolError, KeyError, TypeError, ValueError) as error:
            self._report(logging.ERROR, f"shim {shim.name} does not speak as it should: {error!r}")
            shim.link.is_open = False
        if shim.asked is not None and shim.link.is_open and shim.answered() and shim.key is not None:
            events.append(Silent(*shim.key, False))
        if not shim.link.is_open and shim in self._registry:
            self._lose(shim)

    def _lose(self, shim: ShimConnection) -> None:
        """Remove a shim whose connection has ended, and have the processes that it left ended."""
        self._registry.remove(shim)
        self._quiet.notify_all()
        if not shim.refused:
            self._cleaner.begin(shim.name, partial(self._cleaned_up, shim), partial(self._gone_with, shim.key))

    def _give_up(self, shim: ShimConnection) -> None:
        """Kill a shim that does not answer, with its command, and remove it."""
        self._heartbeats.kill(shim.name)
        shim.link.is_open = False
        self._lose(shim)

    def _take(self, shim: ShimConnection, frame: Frame, events: list[Event]) -> None:
        head = frame.head
        kind = head["t"]
        if kind == "refused":
            shim.refused = True
            self._foreign.add(adoption.apart(self._folder, shim.name, head["why"], self._report))
            return
        if kind == "failed":
            shim.failure = str(head["why"])
            return
        event = event_of(frame, shim.name)
        if event is None:
            shim.said(head)
            return
        if (event.seq, event.attempt) != shim.key:
            return
        if kind in {"ended", "not-started"}:
            shim.is_over = True
            shim.survivors = isinstance(event, CommandEnded) and bool(event.survivors)
            has_left = isinstance(event, CommandEnded) and (event.kept or shim.survivors)
            shim.is_spent = has_left or bool(head.get("spent"))
            if shim.discarded and not shim.survivors:
                self._free(shim)
                self._registry.settle()
                return
        if not shim.discarded:
            events.append(event)
        if kind == "gone":
            shim.survivors, shim.is_spent = False, True
            self._free(shim)
            self._registry.settle()

    def _cleaned_up(self, shim: ShimConnection, dead: DeadShim) -> None:
        """Report the attempt of a dead shim, whose processes have been ended, as lost."""
        with self._lock:
            if shim.key is None or shim.discarded:
                forget(self._folder, shim.name)
            else:
                self._dead_by_key[shim.key] = shim.name
                self._post(_loss(shim.key, dead, shim.failure))
            self._quiet.notify_all()

    def _outlast(self, dead: DeadShim) -> None:
        if dead.survivors:
            self._cleaner.outlast(dead, partial(self._gone_with, dead.took))

    def _gone_with(self, key: Key | None) -> None:
        """Report that the last processes of a dead shim's attempt have ended."""
        if key is not None:
            self._post(SurvivorsGone(*key))

    def _end_all(self) -> None:
        """Kill every command, and wait for the end of the last; called with the lock held.

        The shims end with their commands. Their black boxes stay, since the ends of these commands may not be kept.
        """
        for key, shim in list(self._registry.by_key.items()):
            self._tell(*key, {"t": "kill", "why": "shutdown"})
            self._heartbeats.hasten(shim)
            shim.link.send({"t": "leave"})
        os.eventfd_write(self._wake, 1)  # as in _end
        until = time.monotonic() + MAX_END_SECONDS
        while self._registry.by_key and (left := until - time.monotonic()) > 0:
            self._quiet.wait(left)
        for shim in list(self._registry.by_key.values()):
            if shim.asked is not None:
                shim.failure = KILLED.format(NO_END)
                self._give_up(shim)


def _loss(key: Key, dead: DeadShim, failure: str) -> CommandLost:
    """Describe the attempt that a dead shim was handed last. If its box names another one, it was not executed."""
    found = dead.found
    if found is not None and dead.took == key:
        return CommandLost(*key, found.executed, found.ended, found.failure or failure, dead.survivors)
    return CommandLost(*key, executed=dead.took in {None, key}, failure=failure, survivors=dead.survivors)
