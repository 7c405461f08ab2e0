"""The engine thread: the only owner of petition state.

It drains its inbox in one batch: events change the machine, one transaction keeps what changed, then the effects
happen: replies, starts, cancels. While it waits for the disk the next batch gathers; that is the group commit. It wakes
on events and when something is due, and never polls.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from orcha._core.admission import Admission
from orcha._core.granted import GrantedSlots
from orcha._core.machine import Machine
from orcha._core.record import Record
from orcha._core.state import State
from orcha._protocol.frames import encode
from orcha._protocol.messages import Error, Kind, Stopping, Submit, Verdict
from orcha._service import faults
from orcha._service.batch import FULL, Keeping
from orcha._service.channels.channel_book import ChannelBook
from orcha._service.effects import append_final, perform
from orcha._service.execution.action_threads import ActionPool, Run
from orcha._service.execution.attempt_ending import Ending
from orcha._service.execution.command_runner import CommandRunner
from orcha._service.execution.standard_input import StandardInput
from orcha._service.hooks.admitting import Admitting
from orcha._service.hooks.exclusive_keys import Once
from orcha._service.hooks.managers import Managers, Served
from orcha._service.hooks.visits import Visits
from orcha._service.lifecycle.retention import Retention
from orcha._service.lifecycle.stored_records import record_of
from orcha._service.reports.explanations import explain
from orcha._service.reports.journal import Journal
from orcha._service.reports.log_thread import Reporter
from orcha._service.reports.statistics import Statistics
from orcha._service.timers import Timers
from orcha._service.turns import Turns
from orcha._service.verbs import HANDLERS
from orcha._service.verbs.replies import encoded, obey
from orcha._service.verbs.submit import Submission
from orcha.exceptions import StaleCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.changes import Changes
    from orcha._output.log import MemoryLog, OutputLog
    from orcha._protocol.messages import ClientMessage
    from orcha._server.server import Peer
    from orcha._service.hooks.visit import Visit
    from orcha._service.lifecycle.settings import Settings
    from orcha._store.contract import Incarnation, Store
    from orcha.utils.threads import DeadThreadError

# Looked up once: an attribute of an enumeration costs ten times a global name.
_VALUE = Kind.VALUE
_BUSY, _STOPPING = Verdict.BUSY, Verdict.STOPPING

FEW_ITEMS = 8
"""A submit of more is left to the engine's thread."""


class Engine:
    """Owns all petitions of one endpoint. Other threads only put events into its inbox."""

    def __init__(
        self,
        manager: Any,
        manager_name: str,
        store: Store,
        log: OutputLog | MemoryLog,
        incarnation: Incarnation,
        settings: Settings,
        send: Callable[[list[tuple[Peer, bytes]]], None],
        managers: Managers | None = None,
    ) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            manager: whose hooks decide.
            manager_name: ``module:qualname``; petitions of other managers are left alone.
            store: what is kept.
            log: output beyond the store's share.
            incarnation: this start of the service.
            settings: deadlines, limits, retention.
            send: hands frames to the loop thread.
            managers: all that are served, where `manager` is not the only one.

        """
        self.manager = manager
        self.manager_name = manager_name
        self.store = store
        self.log = log
        self.incarnation = incarnation
        self.settings = settings
        self.managers = managers or Managers([Served(None, manager_name, manager)])
        self.granted = GrantedSlots(threading.Lock())
        self.machine = Machine(next_seq=store.next_seq(), granted=self.granted)
        self.timers = Timers()
        self.reporter = Reporter(self.end_with)
        self.report = self.reporter.report
        self.journal = Journal(self.report, writes=settings.log_runs)
        self.outgoing: list[tuple[Peer, bytes]] = []
        self.channels = ChannelBook(store, log, self.reply_frame, self.report, self._later)
        self.actions = ActionPool(self._action_ended, self.end_with)
        self.paused = False
        self.admission = Admission(self.machine, resources=settings.resources, lock=threading.Lock())
        self.admitting = Admitting(self)
        self.once = Once(self)
        self.statistics = Statistics(time.time(), time.monotonic())
        self.visits = Visits(self)
        self.commands = CommandRunner(self)
        self.standard_input = StandardInput(self)
        self.ending = Ending(self)
        self.retention = Retention(self)
        self.keeping = Keeping(self)
        self.tombstones: dict[bytes, float] = {}
        """Tokens of submits that are cancelled when they come, with the monotonic time until which that is known."""
        self.flying: dict[bytes, Record] = {}
        """Petitions that are neither kept nor refused yet, by token."""
        self.also_ask: dict[bytes, list[tuple[Submission, int, bytes | None]]] = {}
        """Who else asks for one of those."""
        self.peers: dict[int, Peer] = {}
        self.born = (time.time_ns() // 1_000_000).to_bytes(6, "big")
        """Tokens begin with the time they were made: one from before this start may be a petition that is kept."""
        self._send = send
        self._hold_still()

    def _hold_still(self) -> None:
        """Be a thread that has not been started."""
        self.draining: str | None = None
        self.on_stop: Callable[..., None] = lambda **_: None
        self.degraded: str | None = None
        self.on_degraded: Callable[[str], None] = lambda _: None
        self.turns = Turns(self)
        self._uncounted: Changes | None = None
        self._acks: list[Callable[[], None]] = []
        self._after: list[Callable[[Engine], None]] = []

    # --- from any thread ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads."""
        self.reporter.start()
        self.ending.start()
        self.visits.start()
        self.post(self.visits.wake)  # what waits from before must not wait for the first client too
        self.turns.start()

    def end_with(self, death: DeadThreadError) -> None:
        """Have the service end, as one of its threads died."""
        self.turns.end_with(death)

    def post(self, handler: Callable[..., None], *args: Any) -> None:
        """Have `handler` called on the engine thread."""
        self.turns.inbox.put((handler, *args))

    def receive(self, peer: Peer, message: ClientMessage) -> None:
        """Take a message from the wire."""
        if type(message) is Submit and len(message.items) <= FEW_ITEMS:
            self.turns.take(self._on_message, peer, message, may_commit=False)
        else:
            self.turns.inbox.put((self._on_message, peer, message))

    def visit_over(self, visit: Visit) -> None:
        """Take what came of a visit of the hook thread."""
        self.turns.take(self.visits.end, visit, may_commit=True)

    def peer_closed(self, peer: Peer) -> None:
        """Note that a connection is gone."""
        self.turns.inbox.put((self._on_peer_closed, peer))

    def put(self, seq: int, attempt: int, payloads: list[bytes]) -> bool:
        """Keep values of an attempt; blocks until they are kept. False where it may not write any more."""
        self.check_not_stale()
        gate = threading.Lock()
        gate.acquire()
        answer: list[bool] = []
        self.turns.inbox.put((self._on_put, seq, attempt, payloads, answer, gate))
        while not gate.acquire(timeout=1):
            if self.stopped.is_set():
                return False
        return answer[0]

    def finish(self, seq: int, attempt: int, value: int | None) -> None:
        """Take an attempt's final value."""
        self.check_not_stale()
        inbox = self.turns.inbox
        inbox.add((self.machine.finish, seq, attempt, value))
        if not self.visits.hooks.looks_again:
            inbox.ring()

    def look(self) -> None:
        """Be woken where something lies there."""
        if self.turns.inbox:
            self.turns.inbox.ring()

    def took_process(self, run: Run, pid: int) -> None:
        """Take a process that an action started: it is tagged, and ended at once where the attempt is over."""
        self.ending.adopt(run, pid)

    def _action_ended(self, run: Run, error: str | None) -> None:
        self.turns.take(self._on_returned, run, error, may_commit=True, ends=True)

    # --- as the engine ------------------------------------------------------------------------------------------

    def say_failed(self, error: BaseException) -> None:
        """Tell everyone that nothing goes on."""
        self.report(logging.CRITICAL, "the engine stops: what was accepted is kept", error=error)
        frame = encode(Error(f"the service stopped: {explain(error)}"))
        with contextlib.suppress(Exception):  # what would send it may be what failed
            self._send([(peer, frame) for peer in self.peers.values()])

    @property
    def has_a_queue(self) -> bool:
        """Whether petitions wait of which one may start, or calls, for the hook thread."""
        return not self.managers.are_ours and self.visits.are_urgent

    @property
    def has_news(self) -> bool:
        """Whether the hook thread is to be asked about petitions that wait, or has calls to make."""
        return not self.managers.are_ours and (self.visits.has_gathered or self.visits.candidates.are_news)

    def has_work(self) -> bool:
        """Tell whether anything is to be kept, done or answered, flags aside that wait for a transaction."""
        machine = self.machine
        return bool(
            machine.effects
            or machine.finals
            or self._acks
            or self._after
            or self.channels.is_dirty
            or (machine.changes and (self.turns.are_over or not self.keeping.flags_wait(machine.changes)))
        )

    def commit(self) -> None:
        """Keep what changed, in one transaction, then have the effects."""
        changes, effects, finals = self.machine.take()
        for final in finals:
            append_final(self, final)
        if self.channels.scarce or not self.store.has_reserve:
            self.channels.scarce = not self.keeping.has_room()
        self.channels.flush(changes)
        if (changes.flags or changes.commands) and not self.turns.are_over:
            self.keeping.postpone_flags(changes)
        if changes:
            effects = self.keeping.keep(changes, effects)
            self._uncounted = changes
        for do, record, detail in effects:
            perform(self, do, record, detail)
        if finals:
            self.journal.ended(finals, self.machine.now)
        acks, self._acks = self._acks, []
        for ack in acks:
            ack()
        after, self._after = self._after, []
        for call in after:
            call(self)
        self.channels.deliver()

    def count(self) -> None:
        """Count what was kept: nobody waits for that, so it is done last."""
        changes, self._uncounted = self._uncounted, None
        if changes is not None:
            self.statistics.note(changes, self.machine.records, self.machine.now, self.machine.steady)

    def flush(self) -> None:
        """Send the replies."""
        if self.outgoing:
            batch, self.outgoing = self.outgoing, []
            self._send(batch)
            self.channels.pace.batch_is_sent()
            if faults.CRASHES:
                faults.reach("reply.after-send")

    # --- events -------------------------------------------------------------------------------------------------

    def _on_message(self, peer: Peer, message: ClientMessage) -> None:
        if peer.is_lost:
            return
        self.peers[peer.id] = peer
        obey(self, HANDLERS[type(message)], peer, message)

    def _on_peer_closed(self, peer: Peer) -> None:
        self.peers.pop(peer.id, None)
        self.channels.peer_gone(peer)

    def _on_put(self, seq: int, attempt: int, payloads: list[bytes], answer: list[bool], gate: threading.Lock) -> None:
        answer.append(self.append_values(seq, attempt, payloads))
        self._acks.append(gate.release)

    def append_values(self, seq: int, attempt: int, payloads: list[bytes]) -> bool:
        """Add values to the transaction in the making; False where the attempt may not write any more."""
        record = self.machine.is_writable(seq, attempt)
        channel = self.channels.get(record.channel) if record is not None else None
        if channel is None:
            return False
        for payload in payloads:
            self.channels.append(channel, _VALUE, seq, payload)
        return True

    def _on_returned(self, run: Run, error: str | None) -> None:
        self.machine.returned(run.seq, run.attempt, error, processes=run.processes)

    def find(self, key: str) -> Record | None:
        """Give the live petition of this str(id), brought back from the store where only its key was kept."""
        known = self.machine.live.get(key)
        if known is None or isinstance(known, Record):
            return known
        record = record_of(self.store.rows([known[1]])[0])
        self.machine.load(record)
        return record

    def refuses(self) -> tuple[int, None, str] | None:
        """Tell why no message is taken now, if that is so."""
        if self.draining is not None:
            return _STOPPING, None, self.draining
        if self.visits.wedged is not None:
            return _BUSY, None, self.visits.wedged
        return None if self.keeping.has_room() else (_BUSY, None, FULL)

    def degrade(self, reason: str) -> None:
        """Start and accept nothing any more, let what runs come to its end, and stop the service."""
        self.drain(reason)
        self.degraded = reason
        self.on_degraded(reason)

    def commit_recovery(self) -> None:
        """Keep what recovery decided; nobody is connected yet."""
        faults.reach("recover.before-commit")
        self.commit()
        self.count()
        faults.reach("recover.after-commit")

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self.timers.at(time.monotonic() + seconds, call)

    def after_batch(self, call: Callable[[Engine], None]) -> None:
        """Have `call` made when this batch is kept, before replies are sent."""
        self._after.append(call)

    def reply(self, peer: Peer, message: Any) -> None:
        """Send a message once what it says is kept."""
        self.outgoing.append((peer, encoded(self, message)))

    def reply_frame(self, peer: Peer, frame: bytes) -> None:
        """Send an encoded message once what it says is kept."""
        self.outgoing.append((peer, frame))

    @property
    def failure(self) -> BaseException | None:
        """What ended the engine, where it did not end by itself."""
        return self.turns.failure

    @property
    def stopped(self) -> threading.Event:
        """Set when the engine is over."""
        return self.turns.stopped

    # --- stop ---------------------------------------------------------------------------------------------------

    def drain(self, reason: str) -> None:
        """Start nothing any more, and tell everyone."""
        if self.draining is None:
            self.draining = reason
            for peer in self.peers.values():
                self.reply(peer, Stopping(reason))

    def running(self) -> list[Record]:
        """Give the petitions that run, or whose action has not returned."""
        return [r for r in self.machine.records.values() if r.run is not None and not r.returned and not r.command]

    def is_quiet(self) -> bool:
        """Tell whether nothing runs, nothing is being converted, and no hook is owed."""
        holding = [seq for seq in self.granted.seqs() if self._is_waited_for(seq)]
        return not holding and not self.visits.is_busy and not self.running()

    def _is_waited_for(self, seq: int) -> bool:
        """Tell whether a stop waits for what this petition holds."""
        record = self.machine.records.get(seq)
        is_outlived = record is not None and record.state is State.ENDED and bool(record.survivors)
        return not is_outlived and not self.commands.goes_on(seq)

    def pause(self, paused: bool) -> None:
        """Start nothing while paused; what waits stays."""
        self.paused = paused
        self.visits.wake()

    def check_not_stale(self) -> None:
        """Raise StaleCall on a thread whose hook was given up."""
        if self.visits.hooks.stale and threading.get_ident() in self.visits.hooks.stale:
            raise StaleCall

    def halt(self) -> None:
        """End the engine thread after this batch."""
        self.turns.halt()
