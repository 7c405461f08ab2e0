"""What the service sets on a petition's own object, which is a plugin's and may not take it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orcha._core.state import Outcome, State
from orcha._service.reports.explanations import describe
from orcha.interfaces.petition import HANDLE
from orcha.interfaces.state import PetitionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.record import Record
    from orcha._service.execution.action_threads import Run

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


def set_state(record: Record, report: Callable[..., None]) -> None:
    """Show the petition's own code where it is; a petition that cannot take it goes without."""
    state = record.state
    shown = _END_STATES.get(record.outcome, _FINISHED) if state is _ENDED else _STATES[state]
    try:
        record.petition.state = shown  # type: ignore[union-attr]
    except BaseException as error:  # noqa: BLE001 - plugin code: a property, slots or a frozen dataclass
        report(logging.DEBUG, "petition %s takes no state: %s", record.key, describe(error))


def attach(petition: object, run: Run, report: Callable[..., None]) -> None:
    """Give the petition the way by which its own finish() reaches the engine."""
    try:
        object.__setattr__(petition, HANDLE, run)
    except (AttributeError, TypeError):
        report(logging.DEBUG, "petition %s has no room for the service's handle", run.record.key)


def mark_started(petition: object) -> None:
    """Let a petition that was made again be known as one that had started: its on_finish may ask."""
    fields = getattr(petition, "__dict__", None)
    if fields is not None:
        fields.setdefault(HANDLE, None)


def is_marked(petition: object) -> bool:
    """Tell whether an attempt of this petition has been started."""
    return HANDLE in getattr(petition, "__dict__", ())
