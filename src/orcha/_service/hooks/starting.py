"""How a petition starts beside its on_start: its object is prepared and marked, then a thread or a shim gets it.

The object is a plugin's, and may take nothing of what the service sets on it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orcha._client.attempt_channel import AttemptChannel
from orcha._core import transitions
from orcha._core.state import Outcome, State
from orcha._service.execution.action_threads import ActionRun
from orcha._service.execution.retries import tries_of
from orcha._service.reports.explanations import describe
from orcha.interfaces.built_in import COMMAND_MANAGER, LEASE_MANAGER
from orcha.interfaces.petition import HANDLE
from orcha.interfaces.state import PetitionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.record import Record
    from orcha._service.execution.action_threads import ActionPool
    from orcha._service.execution.attempt_ending import Ending
    from orcha._service.execution.attempt_port import AttemptPort
    from orcha._service.execution.command_runner import CommandRunner
    from orcha._service.execution.leases import Leases
    from orcha._service.reports.journal import Journal
    from orcha._store.contract import Store
    from orcha.interfaces.petition import Petition

# Looked up once: an attribute of an enumeration costs ten times a global name.
_ENDED, _FINISHED = State.ENDED, PetitionState.FINISHED

_STATES = {
    State.QUEUED: PetitionState.ENQUEUED,
    State.HELD: PetitionState.ENQUEUED,
    State.STARTING: PetitionState.RUNNING,
    State.RUNNING: PetitionState.RUNNING,
    State.CANCELLING: PetitionState.CANCELLED,
}
_END_STATES: dict[Outcome | None, PetitionState] = {
    Outcome.CANCELLED: PetitionState.CANCELLED,
    Outcome.TIMED_OUT: PetitionState.CANCELLED,
    Outcome.BROKEN: PetitionState.BROKEN,
}


class Starter:
    """Prepares starts and hands over what runs, on the hook thread: it has time while the engine waits for the disk."""

    def __init__(
        self,
        port: AttemptPort,
        ending: Ending,
        actions: ActionPool,
        commands: CommandRunner,
        leases: Leases,
        store: Store,
        journal: Journal,
        report: Callable[..., None],
    ) -> None:
        """Have actions run by `actions`, which reach the engine by `port`; commands and leases by their own."""
        self._store = store
        self._port = port
        self._ending = ending
        self._actions = actions
        self._commands = commands
        self._leases = leases
        self._journal = journal
        self._report = report

    def begin(self, record: Record) -> None:
        """Note that a start is kept, and limit how long the attempt runs; on the engine's thread."""
        has_none = record.command and not record.has_hooks
        run = None if has_none else ActionRun(self._port, record)  # no code of a plugin has the petition then
        transitions.start.started(record, None if record.retry is None else tries_of(self._store, record), run)
        if record.timeout is not None and not record.command:
            self._ending.limit_run(record)

    def prepare(self, record: Record) -> None:
        """Make the petition ready to run."""
        run: ActionRun = record.run
        petition = record.petition
        queue = getattr(petition, "queue", None)
        if isinstance(queue, AttemptChannel) and record.manager != COMMAND_MANAGER:  # which puts nothing there
            queue.bind(run.seq, run.attempt)
            run.queue = queue
        try:  # by this its own finish() reaches the engine
            object.__setattr__(petition, HANDLE, run)
        except (AttributeError, TypeError):
            self._report(logging.DEBUG, "petition %s has no room for the service's handle", run.key)

    def mark(self, record: Record, petition: Petition) -> None:
        """Show the petition's own code where the petition is; an object that cannot take that goes without."""
        state = record.state
        shown = _END_STATES.get(record.outcome, _FINISHED) if state is _ENDED else _STATES[state]
        try:
            petition.state = shown
        except BaseException as error:  # noqa: BLE001 - plugin code: a property, slots or a frozen dataclass
            self._report(logging.DEBUG, "petition %s takes no state: %s", record.key, describe(error))

    def go(self, record: Record) -> None:
        """Hand a petition to an action thread, or a command to the executor of commands."""
        assert record.petition is not None
        self.mark(record, record.petition)
        if self._journal.writes:
            self._journal.began(record)
        if record.command:
            (self._leases if record.manager == LEASE_MANAGER else self._commands).go(record)
        else:
            self._actions.go(record.run, record.petition)


def mark_started(petition: object) -> None:
    """Let a petition that was made again be known as started: its on_finish may ask."""
    fields = getattr(petition, "__dict__", None)
    if fields is not None:
        fields.setdefault(HANDLE, None)


def is_marked(petition: object) -> bool:
    """Tell whether an attempt of this petition has been started."""
    return HANDLE in getattr(petition, "__dict__", ())
