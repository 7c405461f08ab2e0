"""Groups of a simulated service, by its own account: slots and rules as people set them, and when petitions started."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.groups import NO_RULES, GroupRules
from support.simulation.virtual_time import ROUNDING

if TYPE_CHECKING:
    from support.simulation.plans import Plan
    from support.simulation.virtual_time import VirtualTime

Slots = dict[str, int | None]


class Start(NamedTuple):
    """A start in a group with a rate."""

    steady: float
    """When it was, on the clock that nobody sets."""
    wall: float
    """The same on the clock on the wall, by which it is kept."""
    is_sure: bool
    """Whether the petition got its slot while the rate held: else the rate may count it, or not."""
    latest: float
    """When it was by the clock on the wall at a restart, which somebody may have set back since."""


class GroupBook:
    """Slots and rules of groups: as a service is started with them, as they are now, and as they are kept."""

    def __init__(self, given: Mapping[str, int | None], time: VirtualTime) -> None:
        """Have a service that was never started."""
        self.given: Slots = dict(given)
        """The slots that the next service is started with."""
        self.slots: Slots = {}
        self.rules: dict[str, GroupRules] = {}
        self.decided_before: set[int] = set()
        """Petitions that had their slot when a group was set last, by sequence."""
        self._time = time
        self._rated_before: dict[str, set[int]] = {}
        """The same for the last change of each group's rate."""
        self._starts: dict[str, list[Start]] = {}
        """The starts that a rate counts, by group."""
        self._if_not_kept: dict[str, list[Start]] = {}
        """The same of groups whose rate was changed, where a crash forgets that change: a change forgets starts."""
        self._kept: tuple[Slots, dict[str, GroupRules]] = {}, {}
        self._kept_given: Slots = {}

    def starts(self) -> None:
        """Begin with what was kept; slots that a start says otherwise than the start before count more.

        Earlier starts are known by the clock on the wall, which may have been set since.
        """
        slots, self.rules = dict(self._kept[0]), dict(self._kept[1])
        given, before = self.given, self._kept_given
        self.slots = slots | {
            name: each for name, each in given.items() if name not in slots or before.get(name) != each
        }
        self.decided_before, self._rated_before = set(), {}
        self._starts |= self._if_not_kept
        self._if_not_kept = {}
        now = self._time
        for starts in self._starts.values():
            for at, start in enumerate(starts):
                told = now.steady - max(0.0, now.wall - start.wall)
                starts[at] = start._replace(steady=min(start.steady, told), latest=max(start.latest, told))

    def is_kept(self) -> None:
        """Note that what is so now is kept."""
        self._kept = dict(self.slots), dict(self.rules)
        self._kept_given = dict(self.given)
        self._if_not_kept = {}

    def set(self, group: str, slots: int | None, rules: GroupRules, granted: Collection[int]) -> None:
        """Have other slots and rules; a new rate counts the last starts that the rate before counted."""
        had = self.rules.get(group, NO_RULES)
        self.slots[group], self.rules[group] = slots, rules
        self.decided_before = set(granted)
        if rules.rate != had.rate:
            self._rated_before[group] = set(granted)
            self._if_not_kept.setdefault(group, list(self._starts.get(group, ())))
            counted = [] if had.rate is None else self._may_be_within(group, had.rate.seconds)
            most = min(rate.starts for rate in (had.rate, rules.rate) if rate is not None)
            self._starts[group] = counted[-most:]

    def timeouts(self) -> dict[str, float | None]:
        """Give how long an attempt may run of a petition that comes now and names no limit, by its group."""
        return {
            group: rules.longest if rules.default_timeout is None else rules.default_timeout
            for group, rules in self.rules.items()
        }

    # --- rates --------------------------------------------------------------------------------------------------

    def note_start(self, group: str, seq: int, wall: float) -> None:
        """Note that a petition of a group started when the clock on the wall showed this."""
        if self.rules.get(group, NO_RULES).rate is not None:
            is_sure = seq not in self._rated_before.get(group, ())
            steady = self._time.steady_when(wall)
            start = Start(steady, wall, is_sure, steady)
            self._starts.setdefault(group, []).append(start)
            if group in self._if_not_kept:
                self._if_not_kept[group].append(start)

    def has_too_many_starts(self, group: str) -> str | None:
        """Tell of the last start of a group whether too many came in the time before it."""
        rate, starts = self.rules.get(group, NO_RULES).rate, self._starts.get(group)
        if rate is None or not starts:
            return None
        found = sum(start.is_sure for start in self._within(group, starts[-1].steady, rate.seconds))
        return f"{found} of group {group} started within {rate.seconds} s" if found > rate.starts else None

    def may_start_by_rate(self, group: str, ahead: int | None, at: float | None = None) -> bool:
        """Tell whether one more may start after so many that are about to; None where only sure starts count.

        That is told of now, or of another time of the steady clock. With a number of starts that are about to come, an
        earlier start counts as long as the service may count it.
        """
        rate = self.rules.get(group, NO_RULES).rate
        if rate is None:
            return True
        if ahead is not None:
            return len(self._may_be_within(group, rate.seconds, at)) + ahead < rate.starts
        now = self._time.steady if at is None else at
        return sum(start.is_sure for start in self._within(group, now, rate.seconds)) < rate.starts

    def _within(self, group: str, now: float, seconds: float) -> list[Start]:
        return [start for start in self._starts.get(group, ()) if now - seconds < start.steady - ROUNDING < now]

    def _may_be_within(self, group: str, seconds: float, at: float | None = None) -> list[Start]:
        """Give the starts that the service may count, by its sums, which differ a little, and by its clock."""
        begin = (self._time.steady if at is None else at) - seconds
        return [start for start in self._starts.get(group, ()) if begin < start.latest + ROUNDING]

    # --- slots --------------------------------------------------------------------------------------------------

    def is_full(self, plan: Plan, others: Iterable[Plan]) -> str | None:
        """Say why a petition may not start beside others that run, by the slots of its group and those of its owner."""
        slots, rules = self.slots.get(plan.group or ""), self.rules.get(plan.group or "", NO_RULES)
        mine = [each for each in others if each.group == plan.group]
        if slots is not None and len(mine) >= slots:
            return f"{len(mine)} run of group {plan.group}"
        of_owner = sum(each.owner == plan.owner for each in mine)
        if rules.per_user is not None and of_owner >= rules.per_user:
            return f"{of_owner} of {plan.owner} run in group {plan.group}"
        return None
