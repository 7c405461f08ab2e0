"""Which conditions in text petitions wait for, what is to be looked at for them, and which of them hold now.

A text is asked once for all petitions that wait for it, and only when a value that it names has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.conditions.condition import Condition, UnreadableCondition
from orcha._core.conditions.errors import ConditionTextError
from orcha._core.conditions.terms import BUILT_IN, LOOKED_AT, Origin
from orcha._core.conditions.times import seconds_until_change, value_at
from orcha._core.reasons import TextIsFalse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.conditions.kinds import Unknown, Value
    from orcha._core.conditions.terms import Reading, Vocabulary
    from orcha._core.conditions.times import LocalTime

    ServiceValues = Mapping[str, Callable[..., Value | Unknown]]
    """Gives the values of the names that the service itself knows."""

IDLE_LOOKS = 3
"""Looks after which a condition that nobody waits for, and nobody asked meanwhile, is forgotten."""


class ConditionBook:
    """The conditions of the petitions that wait.

    The hook thread asks `read` and `blocked_by`; all else is the engine's. What the two share is replaced, or changed
    in one step.
    """

    def __init__(self, service: ServiceValues, vocabulary: Vocabulary = BUILT_IN) -> None:
        """Know no condition."""
        self.vocabulary = vocabulary
        self._service = service
        self._values: dict[Reading, Value | Unknown] = {}
        self._wanted: frozenset[Reading] = frozenset()
        self._conditions: dict[str, Condition] = {}
        self._idle: dict[str, int] = {}
        """Looks since a condition was asked that no petition is parked for."""
        self._naming: dict[Reading, set[str]] = {}
        """The texts that petitions are parked for, by what they name."""
        self._due: set[str] = set()
        """Texts that are to be asked."""
        self._true: set[str] = set()
        """Texts that held when they were asked."""
        self._serviced: dict[Reading, Value | Unknown | None] = {}
        """What the service's own values were when the texts that name them were asked last."""
        self.is_news = False
        """Whether something is to be looked at that was not looked at before."""

    # --- for the hook thread ------------------------------------------------------------------------------------

    def read(self, text: str) -> Condition:
        """Give the condition of a text.

        Raises:
            ConditionTextError: the text is no condition; it says where, and what helps.

        """
        known = self._conditions.get(text)
        if known is None:
            read = Condition(text, self.vocabulary)
            known = self._conditions.setdefault(read.text, read)
            self.is_news = True
        return known

    def read_again(self, text: str) -> Condition:
        """Give the condition of a text that could be read when its petition came."""
        try:
            return self.read(text)
        except ConditionTextError as error:
            return UnreadableCondition(text, error.what)

    def blocked_by(self, condition: Condition) -> TextIsFalse | None:
        """Give why a petition with this condition may not start now."""
        condition.was_asked = True
        return None if condition.holds(self) else self.reason(condition)

    def reason(self, condition: Condition) -> TextIsFalse:
        """Give what is false in a condition now."""
        return TextIsFalse(condition.text, condition.false_parts(self))

    def get(self, reading: Reading, /) -> Value | Unknown | None:
        """Give the value of a name; None where nobody has looked yet."""
        value = self._values.get(reading)
        if value is None and (of_service := self._service.get(reading.name)) is not None:
            return of_service(*reading.arguments)
        return value

    # --- petitions that wait ------------------------------------------------------------------------------------

    def waits(self, condition: Condition) -> None:
        """Note that petitions are parked until a condition holds."""
        if not condition.readings:
            return
        text = condition.text
        if text not in self._conditions:
            self._conditions[text] = condition
            self.is_news = True
        self._due.add(text)
        for reading in condition.readings:
            self._naming.setdefault(reading, set()).add(text)
            if reading.name in self._service:
                self._serviced.setdefault(reading, None)

    @property
    def are_true(self) -> bool:
        """Whether a text for which petitions are parked has come to hold."""
        return bool(self._true)

    def take_true(self) -> set[str]:
        """Give the texts that have come to hold and for which petitions are parked; then none waits for them."""
        self._look_at_service()
        self._ask_due()
        true, self._true = self._true, set()
        return true

    def _ask_due(self) -> None:
        due, self._due = self._due, set()
        known = self._conditions
        for text in due:
            if text in known and known[text].holds(self):
                self._true.add(text)
                self._left(text)

    def _left(self, text: str) -> None:
        """Note that no petition is parked for a text any more."""
        self._due.discard(text)
        for reading in self._conditions[text].readings:
            texts = self._naming.get(reading, set())
            texts.discard(text)
            if not texts:
                self._naming.pop(reading, None)
                self._serviced.pop(reading, None)

    # --- values -------------------------------------------------------------------------------------------------

    def look(self, parked_for: Callable[[str], bool]) -> bool:
        """Forget what nobody waits for, before what is left is looked at; tell whether anything is left.

        `parked_for` tells whether petitions are parked for a text.
        """
        self.is_news = False
        for text, condition in list(self._conditions.items()):
            if parked_for(text):
                self._idle[text] = 0
                continue
            self._left(text)
            self._idle[text] = 0 if condition.was_asked else self._idle.get(text, 0) + 1
            condition.was_asked = False
            if self._idle[text] > IDLE_LOOKS:
                del self._conditions[text], self._idle[text]
        conditions = list(self._conditions.values())
        self._wanted = frozenset().union(*[condition.readings for condition in conditions])
        self._values = {reading: value for reading, value in self._values.items() if reading in self._wanted}
        return bool(conditions)

    def to_look_at(self) -> list[Reading]:
        """Give what has to be looked at, since nobody tells when it changes."""
        return [reading for reading in self._wanted if self.vocabulary[reading.name].origin in LOOKED_AT]

    def is_looked_at(self, text: str) -> bool:
        """Tell whether a text names what has to be looked at."""
        condition = self._conditions.get(text)
        readings = condition.readings if condition is not None else ()
        return any(self.vocabulary[reading.name].origin in LOOKED_AT for reading in readings)

    def take_time(self, now: LocalTime) -> float | None:
        """Take the time of day; give the seconds after which that changes a value, None where nothing names it."""
        clocks = [reading for reading in self._wanted if self.vocabulary[reading.name].origin is Origin.CLOCK]
        self.take({reading: value_at(reading, now) for reading in clocks})
        return seconds_until_change(clocks, now)

    def take(self, values: Mapping[Reading, Value | Unknown]) -> None:
        """Take what was looked up, and is wanted still, and ask the texts that it changes something for."""
        before = self._values
        news = {
            reading: value
            for reading, value in values.items()
            if reading in self._wanted and before.get(reading) != value
        }
        if news:
            self._values = {**before, **news}
        for reading in news:
            self._due |= self._naming.get(reading, set())
        if self._due:
            self._look_at_service()  # else nobody would notice that a value of the service is the earlier one again
            self._ask_due()

    def _look_at_service(self) -> None:
        """Have the texts asked that name a value of the service that is another one than before."""
        for reading, before in self._serviced.items():
            value = self._service[reading.name](*reading.arguments)
            if value != before:
                self._serviced[reading] = value
                self._due |= self._naming[reading]


__all__ = ["IDLE_LOOKS", "ConditionBook"]
