"""What each message of a client is about: the mark by which its client's role is looked up before the verb runs.

A message without a mark is refused. The table of deeds and roles is `orcha._core.permissions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from orcha._core.permissions import Deed
from orcha._protocol import messages

OF_THE_SERVICE = frozenset(("finish", "send"))
"""Functions of every manager that do to petitions what the service itself may do."""


class DeedMark(NamedTuple):
    """What a message is about."""

    deed: Deed | Callable[[Any], Deed | None]
    """The deed; or a function that gives the deed of a message, where that depends on the fields of the message."""
    is_about_own: bool = False
    """The message only has petitions run: it is about no other petition, and no row's state matters."""


UNMARKED = DeedMark(lambda _: None)
"""The mark of a message that has none: nobody may send it."""


def _pauses(message: messages.Pause | messages.Resume) -> Deed:
    return Deed.HOLD if message.id is None and message.seq is None else Deed.CHANGE


def _selects(message: messages.Select) -> Deed:
    return Deed.LOOK if message.verb is None else Deed.CHANGE


def _retries(message: messages.Retry) -> Deed:
    return Deed.CHANGE if message.secrets is None else Deed.ACT_AS


def _calls(message: messages.Call) -> Deed:
    return Deed.SERVE if message.name.rpartition(":")[2] in OF_THE_SERVICE else Deed.CALL


MARKS: dict[type, DeedMark] = {
    messages.Submit: DeedMark(Deed.SUBMIT, is_about_own=True),
    messages.Cancel: DeedMark(Deed.CHANGE),
    messages.Follow: DeedMark(Deed.READ, is_about_own=True),
    messages.Unfollow: DeedMark(Deed.READ, is_about_own=True),
    messages.Credit: DeedMark(Deed.READ, is_about_own=True),
    messages.CloseChannel: DeedMark(Deed.READ, is_about_own=True),
    messages.Put: DeedMark(Deed.REPORT, is_about_own=True),
    messages.Finish: DeedMark(Deed.REPORT, is_about_own=True),
    messages.List: DeedMark(Deed.LOOK),
    messages.Show: DeedMark(Deed.LOOK),
    messages.Call: DeedMark(_calls),
    messages.Ping: DeedMark(Deed.GREET, is_about_own=True),
    messages.Set: DeedMark(Deed.CHANGE),
    messages.Priority: DeedMark(Deed.CHANGE),
    messages.Pause: DeedMark(_pauses),
    messages.Resume: DeedMark(_pauses),
    messages.Remove: DeedMark(Deed.CHANGE),
    messages.Retry: DeedMark(_retries),
    messages.GiveSecrets: DeedMark(Deed.ACT_AS),
    messages.Signal: DeedMark(Deed.CHANGE),
    messages.Select: DeedMark(_selects),
    messages.ChangeLease: DeedMark(Deed.CHANGE),
    messages.Stdin: DeedMark(Deed.ACT_AS, is_about_own=True),
    messages.Resize: DeedMark(Deed.ACT_AS, is_about_own=True),
    messages.AddSchedule: DeedMark(Deed.SUBMIT),
    messages.ListSchedules: DeedMark(Deed.READ),
    messages.ChangeSchedule: DeedMark(Deed.CHANGE),
    messages.FireSchedule: DeedMark(Deed.CHANGE),
    messages.Stats: DeedMark(Deed.COUNT),
    messages.ListResources: DeedMark(Deed.LOOK),
    messages.Who: DeedMark(Deed.LOOK),
    messages.ListEvents: DeedMark(Deed.LOOK),
    messages.DrainResource: DeedMark(Deed.HOLD),
    messages.DrainService: DeedMark(Deed.HOLD),
    messages.SetResource: DeedMark(Deed.CONFIGURE),
    messages.SetGroup: DeedMark(Deed.CONFIGURE),
    messages.Unset: DeedMark(Deed.CONFIGURE),
    messages.Reload: DeedMark(Deed.CONFIGURE),
    messages.SetKey: DeedMark(Deed.CONFIGURE),
    messages.ListKeys: DeedMark(Deed.CONFIGURE),
    messages.Stop: DeedMark(Deed.CONFIGURE),
}
"""The mark of each message; `tests/house` finds a message that has none."""


def deed_of(message: Any) -> Deed | None:
    """Give what a message is about; None for a message without a mark.

    >>> deed_of(messages.Pause(1, group="gpu")).value, deed_of(messages.Pause(1, "a")).value
    ('hold', 'change')
    """
    mark = MARKS.get(type(message), UNMARKED)
    return mark.deed if isinstance(mark.deed, Deed) else mark.deed(message)


__all__ = ["MARKS", "OF_THE_SERVICE", "UNMARKED", "DeedMark", "deed_of"]
