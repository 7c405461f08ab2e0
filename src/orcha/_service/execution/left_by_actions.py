"""Processes of actions that an earlier start of the service left, and that nothing can kill.

An unprivileged service cannot kill a set-user-ID program of its own user. Until such processes have ended, the petition
whose action started them keeps its id, its slot and its resources, and no other attempt of the petition begins. What
that petition becomes is decided in `_core/transitions/command.py`, as for commands.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, NamedTuple

from orcha._core import transitions
from orcha._core.transitions.recover import INTERRUPTED
from orcha._processes.sweep import outlast
from orcha._processes.tag import exactly, ordinal_of_attempt, tag_of
from orcha.utils.threads import guarded, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.mailbox import Mailbox
    from orcha._store.contract import Row


class LeftProcesses(NamedTuple):
    """Processes of one attempt."""

    nonce: int
    """The tag of the start of the service that began the attempt."""
    pids: tuple[int, ...]


class LeftByActions:
    """Knows these processes, and tells when they have ended; the engine thread's."""

    def __init__(
        self, petitions: Petitions, mailbox: Mailbox, report: Callable[..., None], wake: Callable[[], None]
    ) -> None:
        """Know none.

        Args:
            petitions: the petitions that keep what they hold.
            mailbox: takes that the processes of an attempt have ended.
            report: writes to the log.
            wake: has petitions that wait asked again.

        """
        self._petitions = petitions
        self._mailbox = mailbox
        self._report = report
        self._wake = wake
        self._left: dict[int, LeftProcesses] = {}
        """By the ordinals of the attempts."""
        self._closed = threading.Event()

    def found(self, nonce: int, pids: Mapping[int, tuple[int, ...]]) -> None:
        """Take what one earlier start of the service left, by the ordinals of the attempts."""
        self._left.update({ordinal: LeftProcesses(nonce, left) for ordinal, left in pids.items()})

    def adopt(self, record: Record, row: Row) -> bool:
        """Have a stored petition keep what it holds, where processes of its last attempt live; tell whether they do."""
        ordinal = ordinal_of_attempt(row.seq, row.attempt)
        left = self._left.get(ordinal)
        if left is None or not row.attempt:
            return False
        petitions = self._petitions
        transitions.command.adopt_left(
            petitions, record, left.pids, INTERRUPTED, petitions.now, hook_owed=row.hook_pending
        )
        text = "petition %s: nothing can kill these of its processes, it keeps its place until they have ended: %s"
        self._report(logging.ERROR, text, record.key, list(left.pids))

        def wait() -> None:
            if outlast(exactly(tag_of(left.nonce, ordinal)), self._closed):
                self._mailbox.post(self._gone, row.seq, row.attempt)

        start(guarded("orcha-left-by-action", wait, self._mailbox.end_with))
        return True

    def end(self, record: Record) -> None:
        """Note that a petition is to be ended whose processes nothing can kill."""
        self._mailbox.post(self._give_up, record.seq, record.attempt, record.survivors)

    def _give_up(self, seq: int, attempt: int, survivors: tuple[int, ...]) -> None:
        petitions = self._petitions
        record = petitions.records.get(seq)
        if record is not None and record.survivors:
            transitions.command.outlived(petitions, seq, attempt, survivors, INTERRUPTED, petitions.now)

    def _gone(self, seq: int, attempt: int) -> None:
        """Let go of what an attempt held."""
        petitions = self._petitions
        if not transitions.command.gone(petitions, seq, attempt):
            transitions.command.lost(petitions, seq, attempt, petitions.now, executed=True, reason=INTERRUPTED)
        self._wake()

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._closed.set()


__all__ = ["LeftByActions"]
