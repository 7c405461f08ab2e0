"""Groups: how many petitions of each may run at once, what else people set for each, and which petitions wait for that.

A petition that waits for its group is parked in the group's lot. Where the petitions of one owner that run at once in
the group are limited, each owner has a lot: so the petitions of an owner who runs as many as may hide nobody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.ageing import Ageing
from orcha._core.group_limits import limit_at
from orcha._core.groups import NO_RULES, GroupRules
from orcha._core.reasons import (
    GroupFull,
    GroupTextIsFalse,
    GroupUnknown,
    InOrder,
    LongerThanAllowed,
    RateReached,
    UserFull,
)
from orcha._core.record import Key, Phase
from orcha._core.start_log import StartLog
from orcha._core.transitions import hold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orcha._core.conditions.book import ConditionBook
    from orcha._core.conditions.condition import Condition
    from orcha._core.converted import Candidate
    from orcha._core.group_limits import LimitChanges
    from orcha._core.groups import Slots
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.resource_lines import Waiter
    from orcha._core.start_log import StartRate

_GROUP = "group:"
_OWNER = "\0"
"""Parts a group from an owner in the name of a lot: no name of a group holds it."""
_NO_LOTS: Mapping[str | None, str] = MappingProxyType({})
MAX_GROUPS = 10_000
"""Groups with which no petition makes another one."""
MAX_UNPARKED_PETITIONS = 100
"""Petitions of a group with rules that leave its lots in one batch, at most: a million may wait there."""


def group_name(group: str) -> str:
    """Give the name under which the pause of a group is kept, and of its lot."""
    return f"{_GROUP}{group}"


def group_of(name: str) -> str | None:
    r"""Give the group of a pause or a lot; None for a pause or a lot of something else.

    >>> group_of(group_name("rig")), group_of("group:rig\0uid:7"), group_of("petition:7")
    ('rig', 'rig', None)
    """
    return name.removeprefix(_GROUP).partition(_OWNER)[0] if name.startswith(_GROUP) else None


def is_group_lot(lot: str) -> bool:
    """Tell whether a lot is a group's, or that of an owner in a group."""
    return lot.startswith(_GROUP)


def _owners_lot(group: str, owner: str) -> str:
    """Give the name of the lot of one owner in a group."""
    return f"{_GROUP}{group}{_OWNER}{owner}"


class Known(NamedTuple):
    """What is known of a petition whose record need not be in memory: as much as decides whether it may start."""

    seq: int
    owner: str
    group: str | None
    when: Condition | None
    once: str | None = ""
    """It may have a key."""
    after: Mapping[str, bool] | None = None
    phase: Phase = Phase.WAITING
    needs: Mapping[str, int | str] | None = None
    """What it needs, where that is known."""
    manager: str = ""


class GroupUse(NamedTuple):
    """What people are told of one group."""

    group: str
    slots: int | None
    running: int
    waiting: int
    paused: bool
    rules: GroupRules = NO_RULES


class GroupAdmission:
    """The groups there are, and the lots of their petitions.

    The hook thread asks the reasons, and `in_line`; all else is the engine's. What the two share is replaced,
    or changed in one step.
    """

    def __init__(
        self,
        petitions: Petitions,
        is_paused: Callable[[str], bool],
        conditions: ConditionBook,
        now: Callable[[], Moment],
    ) -> None:
        """Know no group.

        Args:
            petitions: what waits and runs.
            is_paused: tells that of the name of a group's pause.
            conditions: the conditions in text.
            now: gives the time, by which rates are counted.

        """
        self._petitions = petitions
        self._now = now
        self._is_paused = is_paused
        self._conditions = conditions
        self.slots: Slots = {}
        """How many petitions of each group may run at once; None for any number."""
        self.rules: Mapping[str, GroupRules] = {}
        """What else people set, for each group for which they set anything."""
        self.limits: Mapping[str, LimitChanges] = {}
        """The limits of time that groups gave, and give, to petitions that name none themselves."""
        self.new_slots: int | None = None
        """How many petitions may run at once of a group that its first petition makes."""
        self.takes_new = True
        """Whether a petition makes the group that it names, where there is none."""
        self.due: float | None = None
        """When the rate of a group lets one start for which petitions are parked, on the steady clock."""
        self.are_more = False
        """Whether more petitions may leave the lots at once than have left them."""
        self._lots: dict[str, dict[str | None, str]] = {}
        """The lots in which petitions of each group may be parked, by owner; None stands for all owners."""

    def load_starts(self, kept: Mapping[str, Mapping[int, float]], now: Moment) -> None:
        """Have the rates of groups hold, over the starts that are kept: wall-clock times by group and place."""
        logs = {group: StartLog(rules.rate) for group, rules in self.rules.items() if rules.rate is not None}
        for group, log in logs.items():
            log.load(kept.get(group, {}), now)
        self._petitions.granted.start_logs = logs

    def change_rate(self, group: str, rate: StartRate | None, begun: Sequence[float], now: Moment) -> None:
        """Have another rate of a group hold, over its last starts, wall-clock times of which each counts."""
        granted = self._petitions.granted
        logs = {name: log for name, log in granted.start_logs.items() if name != group}
        if rate is not None:
            logs[group] = StartLog(rate)
            logs[group].load(dict(enumerate(begun)), now)
        granted.start_logs = logs

    def note_ages(self) -> None:
        """Have the petitions of each group gain priority as its rules say."""
        ages = {group: rules.age for group, rules in self.rules.items() if rules.age is not None}
        ageing = self._petitions.ageing
        if ageing is not None:
            ageing.change(ages)
        elif ages:
            self._petitions.ageing = Ageing(ages, self._petitions.live)

    # --- may it start? ------------------------------------------------------------------------------------------

    def unknown(self, group: str) -> GroupUnknown | None:
        """Give why nothing of a group can start, where there is no such group."""
        known = group in self.slots or self._is_paused(group_name(group))
        return None if known else GroupUnknown.among(group, self.slots)

    def refusal(self, group: str) -> GroupUnknown | None:
        """Give why a new petition cannot name a group, if that is so."""
        may_be_made = self.takes_new and len(self.slots) < MAX_GROUPS
        return None if may_be_made else self.unknown(group)

    def timeout_of(self, group: str | None, seq: int, asked: float | None) -> float | None:
        """Give the seconds that an attempt of a petition may run: what it asks for, else what its group gives it.

        Sequence number 0 stands for a message that is no petition yet, which gets what the group gives now.
        """
        if asked is not None or group is None or group not in self.limits:
            return asked
        changes = self.limits[group]
        return limit_at(changes, seq or changes[-1][0])

    def too_long(self, group: str, timeout: float | None) -> LongerThanAllowed | None:
        """Give why a petition of a group that may run for `timeout` seconds can never start, if that is so."""
        rules = self.rules.get(group, NO_RULES)
        if not rules.is_too_long(timeout):
            return None
        assert timeout is not None
        assert rules.longest is not None
        return LongerThanAllowed(group, timeout, rules.longest)

    def full(self, petition: Candidate | Known) -> GroupFull | GroupUnknown | None:
        """Give why a petition may not start, as far as its group has no slot."""
        group = petition.group
        if group is None:
            return None
        if group not in self.slots:
            if petition.phase is not Phase.CONVERTING or not self.takes_new:
                return self.unknown(group)
            slots = self.new_slots  # it is made when the petition is accepted
        else:
            slots = self.slots[group]
        if slots is not None and self._petitions.granted.in_group(group) >= slots:
            return GroupFull(group, slots)
        return None

    def user_full(self, petition: Candidate | Known) -> UserFull | None:
        """Give why a petition may not start, as far as its owner runs as many petitions in its group as may."""
        group = petition.group
        if not self.rules or group is None or (rules := self.rules.get(group)) is None or rules.per_user is None:
            return None
        if self._petitions.granted.in_group_of(group, petition.owner) >= rules.per_user:
            return UserFull(group, petition.owner, rules.per_user)
        return None

    def too_soon(self, petition: Candidate | Known) -> RateReached | None:
        """Give why a petition may not start, as far as as many of its group started as may."""
        logs = self._petitions.granted.start_logs
        log = logs.get(petition.group) if logs and petition.group is not None else None
        if log is None:
            return None
        now = self._now()
        due = log.due(now.steady)
        if due is None or petition.group is None:
            return None
        return RateReached(petition.group, *log.rate, now.wall + (due - now.steady))

    def text_blocks(self, petition: Candidate | Known) -> GroupTextIsFalse | None:
        """Give why a petition may not start, as far as the condition of its group is false."""
        condition = self._condition(petition.group) if self.rules and petition.group is not None else None
        false = None if condition is None else self._conditions.blocked_by(condition)
        if false is None or petition.group is None:
            return None
        return GroupTextIsFalse(petition.group, false.condition, false.parts)

    def _condition(self, group: str) -> Condition | None:
        text = self.rules.get(group, NO_RULES).when
        return None if text is None else self._conditions.read_again(text)

    @property
    def are_due(self) -> bool:
        """Whether the time has come at which the rate of a group lets one start."""
        return self.due is not None and self.due <= self._now().steady

    def is_waited_for(self, text: str) -> bool:
        """Tell whether petitions are parked until a condition holds that is a group's."""
        return any(rules.when == text and self.parked_in(group) for group, rules in self.rules.items())

    def in_line(self, petition: Candidate | Waiter) -> InOrder | None:
        """Tell whether a petition would take a slot that became free for an earlier petition since the round began.

        The earlier petition is asked in the next round.
        """
        group = petition.group
        if group is None or not self._petitions.waiting.parked:
            return None
        if self.rules and group in self.rules:
            first = next(iter(self._first_of(group, 1)), None)
        else:
            is_limited = self.slots.get(group) is not None
            first = self._petitions.waiting.first_parked(group_name(group)) if is_limited else None
        is_first = first is None or not self._petitions.is_before(first, petition.place)
        return None if is_first else InOrder(1)

    def may_hold_back(self, group: str | None) -> bool:
        """Tell whether a group may keep its petitions waiting: it is unknown, has slots, or has a rule about starts."""
        known = group or ""
        return self.slots.get(known, 0) is not None or any(self.rules.get(known, NO_RULES).of_starts)

    def holds_back(self, waiter: Waiter) -> bool:
        """Tell whether its group keeps a petition from starting that stands in line for a resource."""
        known = Known(waiter.place[1], waiter.owner, waiter.group, None)
        terms = (self.text_blocks, self.user_full, self.full, self.too_soon)
        return any(term(known) is not None for term in terms) or self.in_line(waiter) is not None

    # --- lots ---------------------------------------------------------------------------------------------------

    def lot(self, group: str, owner: str) -> str:
        """Give the lot in which a petition waits for its group."""
        is_owners = self.rules and self.rules.get(group, NO_RULES).per_user is not None
        whose, lots = owner if is_owners else None, self._lots.setdefault(group, {})
        lot = lots.get(whose)
        if lot is None:
            lot = lots[whose] = _owners_lot(group, owner) if is_owners else group_name(group)
        return lot

    def lots(self, group: str) -> list[str]:
        """Give the lots in which petitions may be parked for a group."""
        return list(self._lots.get(group, _NO_LOTS).values())

    @property
    def are_any_parked(self) -> bool:
        """Whether petitions may be parked for any group."""
        return bool(self._lots)

    def unpark(self) -> list[Key]:
        """Let as many wait with the others again as may start; give the keys whose records are to be loaded."""
        petitions, unloaded = self._petitions, []
        waiting, granted, rules = petitions.waiting, petitions.granted, self.rules
        self.are_more, self.due = False, None
        for group in list(self._lots):
            if not self._forget_empty(group) or group not in self.slots:
                continue
            if rules and group in rules:
                unloaded += self.unpark_some(group, MAX_UNPARKED_PETITIONS)
                continue
            name, slots = group_name(group), self.slots[group]
            parked = waiting.parked_in(name)
            if not parked or self._is_paused(name):
                continue
            free = parked if slots is None else slots - granted.in_group(group)
            if free > 0:
                unloaded += hold.unpark(petitions, name, free)
        return unloaded

    def unpark_one(self, group: str) -> list[Key]:
        """Let another petition of a group wait with the others, where the condition of one says no that could go."""
        if self.rules and group in self.rules:
            return self.unpark_some(group, 1)
        is_any = self._petitions.waiting.parked_in(group_name(group))
        return hold.unpark(self._petitions, group_name(group), 1) if is_any else []

    def unpark_some(self, group: str, most: int) -> list[Key]:
        """Let up to `most` petitions of a group wait with the others again, as far as they may start."""
        petitions = self._petitions
        if not any(map(petitions.waiting.are_parked_in, self.lots(group))) or self._is_paused(group_name(group)):
            return []
        condition = self._condition(group)
        if condition is not None and not condition.holds(self._conditions):
            self._conditions.waits(condition)
            return []
        slots = self.slots.get(group, 0)
        free = most if slots is None else min(most, slots - petitions.granted.in_group(group))
        free = self._within_rate(group, free)
        if free <= 0:
            return []
        keys = self._first_of(group, free)
        self.are_more |= len(keys) == MAX_UNPARKED_PETITIONS
        return hold.unpark_these(petitions, keys)

    def _within_rate(self, group: str, free: int) -> int:
        """Give how many of `free` petitions may start now by the rate of a group, and note when the next one may."""
        log = self._petitions.granted.start_logs.get(group)
        if log is None or free <= 0:
            return free
        free = min(free, log.free(self._now().steady))
        if self.parked_in(group) > free:
            self._note_due(group, free)
        return free

    def note_parked(self, group: str) -> None:
        """Have the petitions that are parked for a group looked at when its rules may let one start."""
        if self.rules and group in self.rules:
            self._note_due(group, 0)
            condition = self._condition(group)
            if condition is not None:
                self._conditions.waits(condition)

    def _note_due(self, group: str, ahead: int) -> None:
        """Note when the rate of a group lets one more start, after `ahead` others."""
        log = self._petitions.granted.start_logs.get(group)
        due = None if log is None else log.due(self._now().steady, ahead)
        if due is not None:
            self.due = due if self.due is None else min(self.due, due)

    def parked_in(self, group: str) -> int:
        """Count the petitions that are parked for a group."""
        return sum(map(self._petitions.waiting.parked_in, self.lots(group)))

    def _first_of(self, group: str, most: int) -> list[Key]:
        """Give the first petitions that are parked for a group, and whose owners may run them."""
        waiting, granted = self._petitions.waiting, self._petitions.granted
        per_user = self.rules[group].per_user
        rooms = {}
        for owner, lot in list(self._lots.get(group, _NO_LOTS).items()):
            room = most if owner is None or per_user is None else per_user - granted.in_group_of(group, owner)
            if room > 0:
                rooms[lot] = min(room, most)
        return waiting.first_parked_of(rooms, most)

    def _forget_empty(self, group: str) -> bool:
        """Forget the lots of a group in which no petition is parked; tell whether any is left."""
        waiting, lots = self._petitions.waiting, self._lots[group]
        left = {whose: lot for whose, lot in lots.items() if waiting.are_parked_in(lot)}
        if not left:
            del self._lots[group]
        elif len(left) < len(lots):
            self._lots[group] = left
        return bool(left)

    # --- for people ---------------------------------------------------------------------------------------------

    def in_use(self, paused: frozenset[str]) -> list[GroupUse]:
        """Give each group that has slots, is paused, or has petitions that run or are held back."""
        granted, waiting = self._petitions.granted, self._petitions.waiting
        named = {group for name in (*paused, *waiting.lots()) if (group := group_of(name)) is not None}
        return [
            GroupUse(
                group,
                self.slots.get(group),
                granted.in_group(group),
                self.parked_in(group),
                group_name(group) in paused,
                self.rules.get(group, NO_RULES),
            )
            for group in sorted({*self.slots, *named, *granted.groups()})
        ]


__all__ = ["GroupAdmission", "GroupUse", "Known", "group_name", "group_of", "is_group_lot"]
