"""The engine: the only owner of petition state, put together of its parts.

Events change the petitions, one transaction keeps what changed, then the effects happen: replies, starts, cancels.
While a transaction waits for the disk the next batch gathers; that is the group commit. `mailbox` says which thread
acts when, `batch` what a batch does. One file, since here alone each part is seen beside all others.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orcha._core.admission import Admission
from orcha._core.conditions.terms import BUILT_IN, Origin
from orcha._core.effects import Do
from orcha._core.granted import GrantedSlots
from orcha._core.moment import Moment
from orcha._core.permissions import ALLOWED, Deed
from orcha._core.petitions import Petitions
from orcha._core.record import Record
from orcha._core.selection import Selection
from orcha._protocol.messages import Stopping, Submit, Verdict
from orcha._service import faults
from orcha._service.arrays.array_book import ArrayBook
from orcha._service.arrays.new_arrays import NewArrays
from orcha._service.audit_book import AuditBook
from orcha._service.batch import Batch, Listeners
from orcha._service.beside import Beside
from orcha._service.channels.channel_book import ChannelBook
from orcha._service.conditions.looker import Looker
from orcha._service.conditions.machine import FUNCTIONS, look
from orcha._service.conditions.sampling import Sampling
from orcha._service.execution.action_threads import ActionPool
from orcha._service.execution.attempt_ending import Ending
from orcha._service.execution.attempt_port import AttemptPort
from orcha._service.execution.command_adoption import CommandAdoption
from orcha._service.execution.command_ends import CommandEnds
from orcha._service.execution.command_interruptions import CommandInterruptions
from orcha._service.execution.command_losses import CommandLosses
from orcha._service.execution.command_output import CommandsOutput
from orcha._service.execution.command_reports import CommandReports
from orcha._service.execution.command_runner import CommandRunner
from orcha._service.execution.leases import Leases
from orcha._service.execution.left_by_actions import LeftByActions
from orcha._service.execution.retries import Resting
from orcha._service.execution.running_commands import RunningCommands
from orcha._service.execution.shims import Shims
from orcha._service.execution.standard_input import StandardInput
from orcha._service.execution.starts_ahead import StartsAhead
from orcha._service.gpus import GpuWatch
from orcha._service.held_messages import HeldMessages
from orcha._service.hooks.acceptance import Acceptance
from orcha._service.hooks.admitting import Admitting
from orcha._service.hooks.ageing_steps import AgeingSteps
from orcha._service.hooks.appointments import Appointments
from orcha._service.hooks.deadlines import Deadline
from orcha._service.hooks.dependents import Dependents
from orcha._service.hooks.draining import Draining
from orcha._service.hooks.exclusive_keys import Once
from orcha._service.hooks.hook_thread import Hooks, HookThreadState
from orcha._service.hooks.managers import Managers, Served
from orcha._service.hooks.outcomes import Adoptions, Outcomes
from orcha._service.hooks.past_checkpoints import PastCheckpoints
from orcha._service.hooks.preempting import Preempting
from orcha._service.hooks.schedules import Schedules
from orcha._service.hooks.starting import Starter
from orcha._service.hooks.stocktaking import Stocktaking
from orcha._service.hooks.user_quotas import UserQuotas
from orcha._service.hooks.user_weights import UserWeights
from orcha._service.hooks.visits import Visits
from orcha._service.key_book import KeyBook
from orcha._service.lifecycle.retention import Retention
from orcha._service.lifecycle.stored_records import StoredPetitions
from orcha._service.lookups import Lookups
from orcha._service.mailbox import Mailbox
from orcha._service.outbox import Outbox, failed, send_nothing
from orcha._service.reports.explanations import describe
from orcha._service.reports.journal import Journal
from orcha._service.reports.log_thread import Reporter
from orcha._service.reports.statistics import Statistics
from orcha._service.searches import Searches
from orcha._service.submissions import Submissions
from orcha._service.timers import Timers
from orcha._service.transaction import FULL, Transaction
from orcha._service.user_directory import UserDirectory
from orcha._service.verbs import HANDLERS
from orcha._service.verbs.authorizing import ask_first
from orcha._service.verbs.deed_names import named
from orcha._service.verbs.marks import MARKS, UNMARKED, deed_of
from orcha._service.verbs.petition_lookup import refuse_deed
from orcha._service.verbs.submit import enter
from orcha.exceptions.store import StoreError
from orcha.interfaces.built_in import BUILT_IN_MANAGERS, COMMAND_MANAGER, LEASE_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orcha._core.changes import Changes
    from orcha._core.conditions.terms import Vocabulary
    from orcha._core.effects import Final
    from orcha._output.log import MemoryLog, OutputLog
    from orcha._protocol.messages import ClientMessage
    from orcha._server.server import Peer
    from orcha._service.batch import Effects
    from orcha._service.lifecycle.reloading import Reloading
    from orcha._service.lifecycle.settings import Settings
    from orcha._service.outbox import Send
    from orcha._store.contract import Incarnation, Store

# Looked up once: an attribute of an enumeration costs ten times a global name.
_BUSY, _STOPPING = Verdict.BUSY, Verdict.STOPPING

FEW_EVENTS_COUNT = 8
"""A submit of more is left to the engine's thread."""


class Engine:
    """Owns all petitions of one endpoint. Other threads only put events into its inbox."""

    draining_since = 0.0
    """Wall-clock time since which nothing is started any more, where that is so."""

    def __init__(
        self,
        manager: Any,
        manager_name: str,
        store: Store,
        log: OutputLog | MemoryLog,
        incarnation: Incarnation,
        settings: Settings,
        send: Send = send_nothing,
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
            send: hands frames to the loop thread; none before a server is there.
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
        self.petitions = Petitions(next_seq=store.next_seq(), granted=self.granted)
        self.petitions.slots = self.managers.slots
        self.petitions.slots_of = self.managers.slots_of
        self.stored = StoredPetitions(self.petitions, store)
        self.find = self.stored.find
        self.timers = Timers()
        self.mailbox = Mailbox(self.timers)
        self.post = self.mailbox.post
        self.end_with = self.mailbox.end_with
        self.reporter = Reporter(self.end_with)
        self.report = self.reporter.report
        self.journal = Journal(self.report, writes=settings.log_runs)
        self.outbox = Outbox(send, self.report)
        self.reply = self.outbox.reply
        self.after_batch = self.outbox.after
        self.channels = ChannelBook(store, log, self.outbox.reply_frame, self.report, self._later)
        self.paused = False
        self.drains = Draining(self.petitions, store, self.timers, self._note_held_back)
        self.keys = KeyBook(self.petitions, store, self.timers, self.outbox.after)
        self._make_admission()
        self.statistics = Statistics(time.time(), time.monotonic())
        self.shims = Shims()
        self.resting = Resting(self.petitions, store, self.timers)
        self.standard_input = StandardInput(self.petitions.records, self.shims, self.outbox, settings.keep_input)
        self._make_commands()
        self.ending = Ending(
            self.petitions, self.stored, self.mailbox, self.timers, settings, incarnation.nonce, self.report
        )
        self.left_by_actions = LeftByActions(self.petitions, self.mailbox, self.report, self._wake_visits)
        self.hook_state = HookThreadState(self.mailbox.wake_for_events)
        self.port = AttemptPort(self.mailbox, self.petitions, self.channels, self.outbox, self.hook_state, self.ending)
        self.actions = ActionPool(self.port.returned, self.end_with)
        self.appointments = Appointments(self.petitions, self.timers, self.ending.limit_wait)
        self.schedules = Schedules(
            self.petitions,
            self.stored,
            store,
            self.managers,
            self.mailbox,
            self.timers,
            partial(enter, self),
            self.refuses,
        )
        self._make_visits()
        self.retention = Retention(self)
        self.transaction = Transaction(self.petitions, store, self.channels, self.timers, self._forget_output)
        self.tombstones: dict[bytes, float] = {}
        """Tokens of submits that are cancelled when they come, with the monotonic time until which that is known."""
        self.submissions = Submissions(self.channels, self.outbox, store, self.once)
        self.admitting.tell = self.submissions.tell
        self._make_arrays()
        self.born = (time.time_ns() // 1_000_000).to_bytes(6, "big")
        """Tokens begin with the time they were made: a token from before this start may name a kept petition."""
        self.draining: str | None = None
        """Why nothing is started or accepted any more."""
        self.on_stop: Callable[..., None] = lambda **_: None
        self.degraded: str | None = None
        self.on_degraded: Callable[[str], None] = lambda _: None
        self.reloading: Reloading | None = None
        """Reads the configuration again; None before the service is put together."""
        self.batch = Batch(
            self.petitions,
            self.mailbox,
            self.visits,
            self.channels,
            self.transaction,
            self.outbox,
            self.shims,
            self._effects(),
            Listeners(
                self._free_dependents,
                self._note_ends,
                self.starts_ahead.begin,
                self._about_to_keep,
                self._count,
                self._say_failed,
            ),
        )
        self.mailbox.serve(self.batch)

    def _effects(self) -> Effects:
        """Give what happens for each kind of effect, once what it follows from is kept."""
        return {
            Do.ACCEPT: self.submissions.accepted,
            Do.REFUSE: lambda record, why: self._refused(record, *why),
            Do.ANSWER: lambda record, waiter: waiter(record),
            Do.ON_START: self.visits.on_start,
            Do.ON_FINISH: self.visits.on_finish,
            Do.END_PROCESSES: lambda record, _: self._ends_processes_of(record).end(record),
            Do.SWEEP: lambda record, _: self.ending.sweep(record),
            Do.STAND_STILL: self.preempting.stand_still,
            Do.GO_ON: self.preempting.go_on,
        }

    def _ends_processes_of(self, record: Record) -> CommandRunner | Ending | Leases | LeftByActions:
        if record.command:
            return self.leases if record.manager == LEASE_MANAGER else self.commands
        return self.left_by_actions if record.run is None else self.ending

    def _make_users(self) -> None:
        """Make what knows the users of this machine."""
        self.lookups = Lookups(self.post, self.timers, self.end_with)
        self.users = UserDirectory(self.lookups, self.timers)
        self.held_messages = HeldMessages(self.users, self.post)

    def _make_admission(self) -> None:
        """Make what blocks petitions whatever their own conditions say, and what keeps who decided what."""
        self._make_users()
        self.audit = AuditBook(self.petitions, self.outbox, self.post, self.report)
        self.audit.logs = self.settings.log_runs
        terms, functions = self.managers.named_values()
        vocabulary = BUILT_IN.extended(terms)
        self.admission = Admission(
            self.petitions,
            resources=self.settings.resources,
            lock=threading.Lock(),
            vocabulary=vocabulary,
            now=lambda: self.petitions.now,
            clock=lambda: Moment(time.time(), time.monotonic()),
        )
        self.sampling = self._sampling(vocabulary, functions)
        self.searches = Searches(self.post, self.end_with)
        self.admitting = Admitting(
            self.admission,
            self.petitions,
            self.stored,
            self.store,
            self.mailbox,
            self.settings,
            self.report,
            self.pause,
        )
        self.ageing_steps = AgeingSteps(
            self.petitions,
            self.admission.resources,
            self.stored,
            self.store,
            self.timers,
            self.mailbox,
            lambda seq: self.arrays.get(seq) is not None,
        )
        self.past = PastCheckpoints(self.petitions, self.store, self.timers)
        self.admitting.ages_changed = self.ageing_steps.note_ages
        self.user_quotas = UserQuotas(self.admission, self.petitions, self.admitting.go_on, self.users)
        self.user_weights = UserWeights(self.petitions, self.users)
        see = self.admission.resources.see
        self.gpu_watch = GpuWatch(lambda occupied: self.post(see, occupied), self.end_with)
        self.stocktaking = Stocktaking(self.admission, self.petitions, self.store, self.settings)
        self.once = Once(self.petitions, self.admission, self.stored, self.store)
        self.dependents = Dependents(
            self.petitions,
            self.admission,
            self.admitting,
            self.stored,
            self.store,
            self.mailbox,
            self.after_batch,
            self.report,
        )

    def _make_commands(self) -> None:
        """Make what has to do with commands."""
        petitions, shims, outbox, standard_input = self.petitions, self.shims, self.outbox, self.standard_input
        folder = Path(self.settings.endpoint.folder)
        self.commands_output = output = CommandsOutput(
            petitions, self.channels, shims, outbox, self.store, folder, self.report
        )
        self.running_commands = running = RunningCommands(
            petitions, self.store, shims, outbox, self.admission, output, standard_input
        )
        self.command_interruptions = interruptions = CommandInterruptions(output, petitions, standard_input, running)
        ends = CommandEnds(running, output, petitions, interruptions, self.resting, self.mailbox)
        self.command_losses = losses = CommandLosses(
            running, output, petitions, interruptions, ends, self.report, self._wake_visits
        )
        self.preempting = Preempting(petitions, self.admission, self.store, shims, output, standard_input)
        self.starts_ahead = StartsAhead(petitions, self.timers, self.statistics, self._may_start_ahead)
        reports = CommandReports(
            shims, self.mailbox, running, petitions, output, ends, losses, standard_input, self.starts_ahead
        )
        self.command_adoption = CommandAdoption(
            running, reports, output, losses, standard_input, shims, self.journal, self.report
        )
        self.command_adoption.goes_on = self.preempting.adopted
        self.preempting.is_silent = running.is_silent
        self.preempting.is_apart = running.is_apart
        reports.stopped = self.preempting.has_stopped
        self.leases = Leases(
            petitions, self.store, self.timers, self.mailbox, output.say, self.channels.is_followed, self.report
        )
        self.commands = CommandRunner(
            shims,
            petitions,
            running,
            reports,
            self.mailbox,
            self.settings,
            self.report,
            self.admission.secrets.of,
        )

    def _make_visits(self) -> None:
        """Make what has to do with the manager's code."""
        petitions, settings, report = self.petitions, self.settings, self.report
        self.starter = starter = Starter(
            self.port, self.ending, self.actions, self.commands, self.leases, self.store, self.journal, report
        )
        self.hooks = hooks = Hooks(
            self.managers.by_name, petitions, self.admission, starter, self.port, self.hook_state
        )
        hooks.on_death = self.end_with
        selection = Selection(
            petitions,
            self.admission,
            look_ahead=settings.look_ahead,
            own=BUILT_IN_MANAGERS,
            are_all_own=self.managers.are_ours,
        )
        acceptance = Acceptance(
            petitions,
            selection,
            self.channels,
            self.once,
            lambda record: self.dependents.admits(record, self.submissions.may_name(record)),
            self.schedules,
            self.admitting,
            self.appointments,
        )
        outcomes = Outcomes(
            petitions,
            selection,
            acceptance,
            self.stored,
            self.ending,
            Adoptions(self.command_adoption, self.leases),
            self.outbox,
            report,
        )
        self.deadline = Deadline(hooks, self.timers, settings.hook_deadline, report, self.degrade)
        self.visits = Visits(
            petitions=petitions,
            selection=selection,
            managers=self.managers,
            hooks=hooks,
            outcomes=outcomes,
            starter=starter,
            resting=self.resting,
            stored=self.stored,
            sampling=self.sampling,
            preempting=self.preempting,
            deadline=self.deadline,
            mailbox=self.mailbox,
            outbox=self.outbox,
            timers=self.timers,
            stops_on_timeout=settings.on_hook_timeout == "stop",
        )

        self.starts_ahead.begin_at_once = self.visits.begin_at_once

    def _may_start_ahead(self) -> bool:
        """Tell whether starts may be kept ahead: nobody decided that nothing starts, and the disk has room."""
        return self.visits.may_start and self.store.durable and not self.channels.scarce

    def _make_arrays(self) -> None:
        """Make what has to do with arrays."""
        self.arrays = ArrayBook(
            petitions=self.petitions,
            admission=self.admission,
            store=self.store,
            stored=self.stored,
            channels=self.channels,
            submissions=self.submissions,
            timers=self.timers,
            convert=self.visits.convert,
            takes_any=lambda: COMMAND_MANAGER in self.managers.names and self.refuses() is None,
        )
        self.user_quotas.unmade = self.arrays.unmade
        self.dependents.freed = self.admitting.resumed = self.arrays.fill_all
        self.new_arrays = NewArrays(
            petitions=self.petitions,
            admission=self.admission,
            admitting=self.admitting,
            channels=self.channels,
            submissions=self.submissions,
            book=self.arrays,
            manager_of=self.managers.of,
            port=self.port,
            may_depend=lambda record: self.dependents.admits(record, self.submissions.may_name(record)),
            after_batch=self.after_batch,
        )
        self.beside = Beside(
            petitions=self.petitions,
            channels=self.channels,
            submissions=self.submissions,
            running=self.running_commands,
            find=self.find,
            convert=self.new_arrays.convert,
        )

    def _wake_visits(self) -> None:
        self.visits.wake()

    def _sampling(self, vocabulary: Vocabulary, functions: Mapping[str, Callable[..., Any]]) -> Sampling:
        """Give what has looked up what conditions in text name; `functions` look up what plugins name."""
        petitions, known = self.petitions, {**FUNCTIONS, **functions}
        looker = Looker(
            lambda reading: look(reading, vocabulary, known),
            lambda reading: vocabulary[reading.name].origin is Origin.MACHINE,
            lambda values: self.post(self.sampling.take, values),
            self.end_with,
        )
        return Sampling(
            self.admission.conditions,
            looker,
            self.timers,
            self.admission.is_waited_for,
            petitions.note_change,
        )

    # --- from any thread ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads."""
        self.reporter.start()
        if self.settings.detect:
            self.gpu_watch.start()
        self.ending.start()
        self.visits.start()
        self.post(self.arrays.begin)
        self.post(self.visits.wake)  # what waits from before must not wait for the first client too
        self.mailbox.start()

    def receive(self, peer: Peer, message: ClientMessage) -> None:
        """Take a message from the wire."""
        users, held = self.users, self.held_messages
        if (users.renewed_for or held.held or peer.identity not in users.answered) and held.hold(
            peer.identity, self._on_message, peer, message
        ):
            return
        waits = self.petitions.ahead and len(self.mailbox)  # a message before it may have starts put back on the disk
        if type(message) is Submit and len(message.items) <= FEW_EVENTS_COUNT and not waits:
            self.mailbox.run_or_post(self._on_message, peer, message, may_keep=False)
        else:
            self.mailbox.post(self._on_message, peer, message)

    def peer_closed(self, peer: Peer) -> None:
        """Note that a connection is gone."""
        if self.held_messages.hold(peer.identity, self._on_peer_closed, peer):
            return
        self.mailbox.post(self._on_peer_closed, peer)

    # --- events -------------------------------------------------------------------------------------------------

    def _on_message(self, peer: Peer, message: ClientMessage) -> None:
        if peer.is_lost:
            return
        self.outbox.peers[peer.id] = peer
        mark = MARKS.get(type(message), UNMARKED)
        deed = mark.deed if type(mark.deed) is Deed else deed_of(message)
        if (deed, peer.role, peer.door) not in ALLOWED:
            reason = refuse_deed(self, peer, message, deed)
            self.audit.refused(peer, named(self, peer, message, deed), reason)
            return
        if mark.is_about_own:
            self.handle(HANDLERS[type(message)], peer, message)
        elif not (self.managers.asked and ask_first(self, peer, message, deed)):
            self.handle_noted(peer, message, deed)

    def handle_noted(self, peer: Peer, message: ClientMessage, deed: Deed | None) -> None:
        """Have a verb do what a message says, and note for the audit what the client does."""
        self._put_back()
        self.audit.begins(peer, message, named(self, peer, message, deed))
        self.handle(HANDLERS[type(message)], peer, message)
        self.audit.handled(peer, message)

    def handle_when_free(self, handler: Callable[[Any, Any, Any], None], peer: Peer, message: ClientMessage) -> None:
        """Handle a message that changes what petitions declare, once no hook thread reads that."""
        self.visits.when_free(partial(self.handle, handler, peer, message))

    def handle(self, handler: Callable[[Any, Any, Any], None], peer: Peer, message: ClientMessage) -> None:
        """Have a verb do what a message says; what fails for one client is told to that client."""
        try:
            handler(self, peer, message)
        except StoreError:  # it ends the engine: nothing may be acknowledged after it
            raise
        except Exception as error:  # noqa: BLE001 - what fails for one client must not end the service for all
            name = type(message).__name__
            self.report(logging.ERROR, "%s of client %s failed", name, peer.identity, error=error)
            reason = f"the service failed at this {name}: {describe(error)}; its log says where"
            self.outbox.reply(peer, failed(message, reason))

    def _put_back(self) -> None:
        """Have what is kept say what is so, before somebody looks at it or decides about it."""
        self.starts_ahead.note_look()
        if self.petitions.ahead:
            self.starts_ahead.put_back()
            self.batch.commit()
            self.batch.count()

    def _on_peer_closed(self, peer: Peer) -> None:
        self.audit.left(peer)
        self.outbox.peers.pop(peer.id, None)
        self.channels.peer_gone(peer)
        self.leases.peer_gone()

    def refuses(self) -> tuple[int, None, str] | None:
        """Tell why no message is taken now, if that is so."""
        if self.draining is not None:
            return _STOPPING, None, self.draining
        if (wedged := self.visits.wedged) is not None:
            return _BUSY, None, wedged
        return None if self.transaction.has_room() else (_BUSY, None, FULL)

    def degrade(self, reason: str) -> None:
        """Start and accept nothing any more, let what runs come to its end, and stop the service."""
        self.drain(reason)
        self.degraded = reason
        self.on_degraded(reason)

    def commit_recovery(self) -> None:
        """Keep what recovery decided; nobody is connected yet."""
        faults.reach("recover.before-commit")
        self.batch.commit()
        self.batch.count()
        faults.reach("recover.after-commit")

    def _about_to_keep(self) -> None:
        if self.arrays.entries or self.arrays.elements:
            self.arrays.about_to_keep()
        ahead = self.starts_ahead
        if ahead.ends or ahead.has_begun or self.petitions.prompt:
            ahead.about_to_keep()
        if self.submissions.has_noted and (accepted := self.petitions.changes.petitions):
            for peer, new in self.submissions.noted(accepted):
                self.audit.submitted(peer, new)

    def _refused(self, record: Record, verdict: int, reason: str) -> None:
        self.admission.secrets.drop(record.token, record.seq)
        self.dependents.refused(record)
        self.submissions.refused(record, verdict, reason)

    def _count(self, changes: Changes) -> None:
        if changes.petitions or changes.transitions:
            self.statistics.note(changes, self.petitions.records, self.petitions.now.wall, self.petitions.now.steady)
        if self.journal.writes and changes.petitions:
            self.journal.kept(changes, self.petitions.records)
        if self.arrays.due:
            self.arrays.fill_due()

    def _free_dependents(self, finals: Sequence[Final]) -> None:
        if self.admission.dependencies.are_used:
            self.dependents.ended(finals)

    def _note_ends(self, finals: Sequence[Final], wall: float) -> None:
        if self.journal.writes:
            self.journal.ended(finals, wall)
        self._free_dependents(finals)
        secrets = self.admission.secrets
        if secrets.kept or secrets.lacking:
            for final in finals:
                secrets.drop(final.record.token, final.record.seq)

    def _say_failed(self, error: BaseException) -> None:
        self.report(logging.CRITICAL, "the engine stops: what was accepted is kept", error=error)

    def _forget_output(self, channel: bytes) -> None:
        self.log.delete(channel)
        self.commands_output.forget(channel)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self.timers.at(time.monotonic() + seconds, call)

    @property
    def failure(self) -> BaseException | None:
        """What ended the engine, where it did not end by itself."""
        return self.mailbox.failure

    @property
    def stopped(self) -> threading.Event:
        """Set when the engine is over."""
        return self.mailbox.stopped

    def use(self, settings: Settings) -> None:
        """Have other settings hold, as far as they may change while the service runs."""
        self.settings = self.ending.settings = settings
        self.commands.keep = settings.keep_commands
        self.journal.writes = self.audit.logs = settings.log_runs
        self.standard_input.keep_most = settings.keep_input
        self.deadline.seconds = settings.hook_deadline
        self.past.weigh(settings.past_half_life)

    # --- stop ---------------------------------------------------------------------------------------------------

    def drain(self, reason: str) -> None:
        """Start nothing any more, and tell everyone."""
        if self.draining is None:
            self.draining, self.draining_since = reason, time.time()
            self.starts_ahead.put_back()
            self.visits.may_start = False
            for peer in self.outbox.peers.values():
                self.reply(peer, Stopping(reason))

    def running(self) -> list[Record]:
        """Give the petitions that run, or whose action has not returned."""
        return [r for r in self.petitions.records.values() if r.run is not None and not r.returned and not r.command]

    def is_quiet(self) -> bool:
        """Tell whether nothing runs, nothing is being converted, and no hook is owed.

        A hook of a petition that has ended in this batch is among the effects until the end is kept.
        """
        holding = [seq for seq in self.granted.seqs() if self._is_waited_for(seq)]
        return not (holding or self.petitions.effects or self.visits.is_busy or self.running())

    def _is_waited_for(self, seq: int) -> bool:
        """Tell whether a stop waits for what this petition holds."""
        record = self.petitions.records.get(seq)
        is_outlived = record is not None and record.is_outlived
        return not is_outlived and not self.commands.goes_on(seq)

    def pause(self, paused: bool) -> None:
        """Start nothing while paused; what waits stays."""
        self.paused = paused
        self._note_held_back()

    def _note_held_back(self) -> None:
        """Start petitions, or none, as people have decided by now."""
        self.visits.may_start = not self.paused and self.drains.drained is None and self.draining is None
        self.visits.wake()

    def halt(self) -> None:
        """End the engine thread after this batch."""
        self.past.checkpoint()
        self.mailbox.halt()
