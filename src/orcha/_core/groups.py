"""Which groups there are, and what holds for the petitions of each beside its slots."""

from __future__ import annotations

import json
from difflib import get_close_matches
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.start_log import StartRate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Slots = Mapping[str, int | None]
    """How many petitions of each group may run at once; None for any number."""


class GroupRules(NamedTuple):
    """What people set for a group beside its slots; None where they set nothing."""

    per_user: int | None = None
    """How many petitions of one owner may run in the group at once."""
    default_timeout: float | None = None
    """Seconds that an attempt may run of a petition which names no limit itself."""
    longest: float | None = None
    """Seconds that an attempt may run at most, whatever its petition names."""
    rate: StartRate | None = None
    """How many petitions may start within how many seconds."""
    when: str | None = None
    """The condition in text that has to hold when a petition starts."""
    age: float | None = None
    """Seconds in which a petition that waits gains one priority."""

    @property
    def of_starts(self) -> tuple[object, ...]:
        """What decides when a petition of the group may start."""
        return self.per_user, self.rate, self.when

    @property
    def given_timeout(self) -> float | None:
        """The seconds that an attempt may run of a petition which names no limit itself; None for any number.

        >>> GroupRules(default_timeout=60.0, longest=90.0).given_timeout, GroupRules(longest=90.0).given_timeout
        (60.0, 90.0)
        """
        return self.longest if self.default_timeout is None else self.default_timeout

    def is_too_long(self, asked: float | None) -> bool:
        """Tell whether a petition asks for more seconds than the group gives.

        >>> GroupRules(longest=60.0).is_too_long(61.0), GroupRules(longest=60.0).is_too_long(None)
        (True, False)
        """
        return asked is not None and self.longest is not None and asked > self.longest

    def text(self) -> str | None:
        """Give the rules as they are kept; None where nothing is set.

        >>> GroupRules(per_user=1).text(), GroupRules().text()
        ('{"per_user": 1}', None)
        """
        known = {name: value for name, value in self._asdict().items() if value is not None}
        return json.dumps(known) if known else None


NO_RULES = GroupRules()


def rules_of(text: str) -> GroupRules:
    """Give rules as `GroupRules.text` wrote them; what another build added is passed over.

    >>> rules_of('{"per_user": 2, "colour": "red"}')
    GroupRules(per_user=2, default_timeout=None, longest=None, rate=None, when=None, age=None)
    >>> rules_of('{"rate": [10, 60.0]}').rate
    StartRate(starts=10, seconds=60.0)
    """
    known = {name: value for name, value in json.loads(text).items() if name in GroupRules._fields}
    return GroupRules(**known | ({"rate": StartRate(*known["rate"])} if known.get("rate") else {}))


def declared(kept: Slots, given: Slots, forgotten: Collection[str]) -> dict[str, int | None]:
    """Give the groups that exist: the groups that were set before, each with what is set now where the two differ.

    >>> declared({"rig": 1, "nightly": 2}, {"rig": 3}, ["nightly"])
    {'rig': 3}
    """
    return {name: count for name, count in {**kept, **given}.items() if name not in forgotten}


def told_of_new(group: str, slots: int | None, known: Collection[str]) -> str:
    """Tell who named a group that there is none of yet that it is made, and which one may be meant.

    >>> told_of_new("trian", None, ["train"])
    'group trian is new, and runs any number of petitions at once: did you mean train?'
    >>> told_of_new("a", 1, [])
    'group a is new, and runs 1 at once: orcha group set a --slots N changes that'
    """
    near = next(iter(get_close_matches(group, known, 1)), None)
    at_once = "any number of petitions" if slots is None else slots
    cure = f"orcha group set {quote(group)} --slots N changes that" if near is None else f"did you mean {near}?"
    return f"group {group} is new, and runs {at_once} at once: {cure}"


def spelled(slots: Slots) -> str:
    """Give groups as they are declared.

    >>> spelled({"rig": 1, "nightly": None})
    'nightly=none, rig=1'
    """
    return ", ".join(f"{name}={'none' if count is None else count}" for name, count in sorted(slots.items()))


__all__ = ["NO_RULES", "GroupRules", "declared", "rules_of", "spelled", "told_of_new"]
