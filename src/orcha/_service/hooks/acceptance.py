"""How a petition that has just been converted is accepted: started, queued, put off to its time, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.asking_round import BROKEN, YES
from orcha._core.record import Phase
from orcha._core.state import State
from orcha._protocol.messages import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.asking_round import Answered
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._core.selection import Selection
    from orcha._service.channels.channel_book import ChannelBook
    from orcha._service.hooks.admitting import Admitting
    from orcha._service.hooks.appointments import Appointments
    from orcha._service.hooks.exclusive_keys import Once
    from orcha._service.hooks.schedules import Schedules

# Looked up once: an attribute of an enumeration costs ten times a global name.
_QUEUED, _REFUSED, _RESTING = State.QUEUED, Verdict.REFUSED, Phase.RESTING


class Acceptance:
    """Accepts petitions, or refuses them by what they say of themselves; the engine thread's."""

    def __init__(
        self,
        petitions: Petitions,
        selection: Selection,
        channels: ChannelBook,
        once: Once,
        may_depend: Callable[[Record], bool],
        schedules: Schedules,
        admitting: Admitting,
        appointments: Appointments,
    ) -> None:
        """Prepare.

        Args:
            petitions: the petitions.
            selection: tells whether a yes counts.
            channels: have the channel of each petition.
            once: decides where another petition has the same key.
            may_depend: finds the petitions that a new one waits for; refuses the new one where it cannot.
            schedules: keep what they fired with its petition.
            admitting: parks petitions that may not start.
            appointments: keep petitions until their time, and end petitions that wait for their turn too long.

        """
        self._petitions = petitions
        self._selection = selection
        self._channels = channels
        self._once = once
        self._may_depend = may_depend
        self._schedules = schedules
        self._admitting = admitting
        self._appointments = appointments

    def take(self, record: Record, answered: Answered | None, *, may_start: bool) -> bool | None:
        """Accept a petition with what its condition said, where it was asked.

        None where it waits for no other reason than before, else whether it had no reason before.
        """
        petitions = self._petitions
        answer = why = asked = None
        if answered is not None:
            _, answer, why, error, asked = answered
            if answer is BROKEN:
                transitions.submit.refuse(petitions, record, _REFUSED, error or "its condition broke")
                return None
        if not record.is_plain and not self._admits(record):
            return None
        if self._schedules.firings:
            self._schedules.note_accepted(record)
        start, is_first = False, None
        if answer is YES:
            is_sure = may_start and record.is_plain and record.cancellation is None
            start = is_sure or self._selection.counts(record, are_stopped=not may_start)
        elif answer is not None:
            is_first = transitions.wait.note_no(record, why, asked, petitions.now.wall)
        channel = self._channels.known(record.channel)
        if channel is None:
            channel = self._channels.create(record.channel, record.owner, own=record.channel == record.token)
        transitions.submit.accept(petitions, record, petitions.now, start=start, new_channel=not channel.kept)
        channel.kept = True
        if not start:
            self._let_wait(record, was_asked=answered is not None)
        return is_first

    def _admits(self, record: Record) -> bool:
        """Look at what a petition declares; False where that has it refused, or attached to another petition."""
        if record.once is not None and not self._once.admits(record):
            return False
        if record.after and not self._may_depend(record):
            return False
        if record.group is not None:
            self._admitting.appear(record.group, record)
        return True

    def _let_wait(self, record: Record, *, was_asked: bool) -> None:
        if record.phase is _RESTING:
            self._appointments.wait(record)
            return
        if record.state is _QUEUED and record.queue_timeout is not None:
            self._appointments.limit_wait(record)
        if was_asked:
            self._admitting.park(record)


__all__ = ["Acceptance"]
