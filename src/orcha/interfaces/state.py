"""Where a petition is, as a plugin's own code sees it."""

from __future__ import annotations

from enum import IntEnum


class PetitionState(IntEnum):
    """The states of ``petition.state``."""

    PENDING = 0
    """Made, not yet accepted."""
    ENQUEUED = 1
    """Accepted and waiting."""
    RUNNING = 2
    """Its action is going."""
    FINISHED = 3
    """It has its final value."""
    CANCELLED = 4
    """It was asked to end."""
    BROKEN = 5
    """A hook or the action failed."""

    @property
    def is_enqueued(self) -> bool:
        """Whether it waits."""
        return self is PetitionState.ENQUEUED

    @property
    def is_running(self) -> bool:
        """Whether its action is going."""
        return self is PetitionState.RUNNING

    @property
    def has_finished(self) -> bool:
        """Whether it has its final value."""
        return self is PetitionState.FINISHED

    @property
    def has_been_cancelled(self) -> bool:
        """Whether it was asked to end."""
        return self is PetitionState.CANCELLED

    @property
    def is_broken(self) -> bool:
        """Whether a hook or the action failed."""
        return self is PetitionState.BROKEN

    @property
    def is_stopped(self) -> bool:
        """Whether it is in `STOPPED_STATES`: there is nothing to end."""
        return self in STOPPED_STATES

    @property
    def is_in_running_state(self) -> bool:
        """Whether it is in `RUNNING_STATES`: it waits or runs."""
        return self in RUNNING_STATES

    @property
    def is_in_broken_state(self) -> bool:
        """Whether it is in `BROKEN_STATES`."""
        return self in BROKEN_STATES


STOPPED_STATES = frozenset({PetitionState.PENDING, PetitionState.FINISHED, PetitionState.BROKEN})
"""Nothing of the petition runs or waits."""
RUNNING_STATES = frozenset({PetitionState.RUNNING, PetitionState.ENQUEUED})
"""The petition waits or runs."""
BROKEN_STATES = frozenset({PetitionState.BROKEN})
"""The petition failed before or in its action."""

__all__ = ["BROKEN_STATES", "RUNNING_STATES", "STOPPED_STATES", "PetitionState"]
