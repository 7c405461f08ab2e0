"""Commands, as the engine has them executed: their starts, their cancels, signals to them, and the service's stop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orcha._core.preempted import REQUEUE
from orcha._core.record import Phase
from orcha._core.state import Outcome
from orcha._service.execution import command_attempt as attempts
from orcha._service.reports.explanations import explain, outlived
from orcha._supervisor.contract import CommandNotStarted
from orcha.interfaces.built_in import LEASE_MANAGER
from orcha.utils.core_files import write_none

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.execution.command_reports import CommandReports
    from orcha._service.execution.running_commands import RunningCommands
    from orcha._service.execution.shims import Shims
    from orcha._service.lifecycle.settings import Settings
    from orcha._service.mailbox import Mailbox

CANCELLED, SHUTDOWN, PREEMPTED, HURRIED = "cancelled", "shutdown", "preempted", "cancelled at once"
"""Why a command is ended from here."""
NOT_HANDED_OVER_CODE = 125
"""Code of a command that could not be handed over."""


class CommandRunner:
    """Tells shims what the engine wants; everything but `go` is called on the engine's thread."""

    def __init__(
        self,
        shims: Shims,
        petitions: Petitions,
        running: RunningCommands,
        reports: CommandReports,
        mailbox: Mailbox,
        settings: Settings,
        report: Callable[..., None],
        sent_secrets: Callable[[bytes], Mapping[str, bytes]],
    ) -> None:
        """Start nothing before the first command.

        Args:
            shims: execute the commands.
            petitions: the petitions that the commands belong to.
            running: knows the attempts.
            reports: takes that a command could not be handed over, or that an attempt is lost.
            mailbox: takes what is found out on the hook thread.
            settings: whether commands outlive the service, and go on when it stops.
            report: writes to the log.
            sent_secrets: gives the secrets that came with a petition, by its token.

        """
        self._sent_secrets = sent_secrets
        self._shims = shims
        self._petitions = petitions
        self._running = running
        self._reports = reports
        self._mailbox = mailbox
        self._outlives = settings.durable
        self._report = report
        self.keep = settings.keep_commands
        """Whether commands go on when the service stops."""

    def go(self, record: Record) -> None:
        """Have a command executed, whose start is durable and whose on_start agreed; on the hook thread."""
        try:
            spec = attempts.spec_of(record, outlives=self._outlives)
            if record.petition.secrets:  # type: ignore[union-attr]  # a command's petition is a CommandPetition
                write_none()
                spec = spec._replace(secrets=attempts.secrets_of(record, self._sent_secrets(record.token)))
            self._shims.reach().start(spec)
        except Exception as error:  # noqa: BLE001 - whatever it is: the petition ends with it, and nobody waits for ever
            why = f"its start failed: {explain(error)}"
            self._mailbox.post(
                self._reports.take, CommandNotStarted(record.seq, record.attempt, NOT_HANDED_OVER_CODE, why)
            )

    def end(self, record: Record) -> None:
        """Send the signals of a cancel; the end is told as any other."""
        lost = self._running.take_loss(record.seq, record.attempt)
        if lost is not None:
            self._mailbox.post(self._reports.take, lost)
            return
        if (executor := self._shims.executor) is not None:  # else no command was handed over
            executor.cancel(record.seq, record.attempt, self._why(record))

    def _why(self, record: Record) -> str:
        """Tell why a command is ended."""
        cancellation = record.cancellation
        if cancellation is None or cancellation.outcome is not Outcome.INTERRUPTED:
            return CANCELLED
        mark = self._petitions.preempted.get(record.seq)
        return PREEMPTED if mark is not None and mark.how == REQUEUE else SHUTDOWN

    def hurry(self, record: Record) -> None:
        """Kill a command that is being cancelled, without waiting for its graces."""
        self._shims.reach().kill(record.seq, record.attempt, HURRIED)

    def signal(self, record: Record, number: int) -> None:
        """Send a signal to every process of a running command, as SIGSTOP and SIGCONT to pause and resume it."""
        self._shims.reach().signal(record.seq, record.attempt, number)

    def limit(self, record: Record) -> None:
        """Give a running command the limits that its petition has now."""
        self._shims.reach().limit(record.seq, record.attempt, attempts.limits_now(record))

    def resize(self, record: Record, rows: int, columns: int) -> None:
        """Give its terminal another size."""
        self._shims.reach().resize(record.seq, record.attempt, rows, columns)

    def goes_on(self, seq: int) -> bool:
        """Tell whether that petition is a command that goes on when the service stops, or a lease."""
        record = self._petitions.records.get(seq)
        if record is None or not record.command or record.phase is not Phase.ACTION:
            return False
        return self.keep or record.manager == LEASE_MANAGER

    def close(self, *, failed: bool) -> None:
        """Let go of all; the engine has stopped. Where it `failed`, commands go on as after a crash."""
        commands = self._shims.let_go()
        for record in list(self._petitions.records.values()):
            if record.survivors:
                text = "petition %s: it stays behind when the service stops: %s"
                self._report(logging.ERROR, text, record.key, outlived(record.survivors))
        if commands is not None:
            commands.close(keep=self.keep or failed)


__all__ = ["CommandRunner"]
