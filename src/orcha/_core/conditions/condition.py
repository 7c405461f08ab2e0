"""One condition in text, ready to be answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orcha._core.conditions.errors import ConditionTextError
from orcha._core.conditions.nodes import NoAnswerError, false_parts
from orcha._core.conditions.parsing import parse

if TYPE_CHECKING:
    from orcha._core.conditions.nodes import Seen
    from orcha._core.conditions.terms import Vocabulary


class Condition:
    """A text that was read, and what is to be looked up for it.

    >>> from orcha._core.conditions.terms import BUILT_IN, Reading
    >>> condition = Condition("memory.free > 8G and hour in (22, 23)", BUILT_IN)
    >>> seen = {Reading("memory.free"): 3 << 30, Reading("hour"): 23}
    >>> condition.holds(seen), condition.false_parts(seen)
    (False, ('memory.free > 8G is false: 3G',))
    """

    __slots__ = ("_root", "readings", "text", "was_asked")

    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        """Read the text.

        Raises:
            ConditionTextError: the text is no condition; it says where, and what helps.

        """
        self._root = parse(text, vocabulary)
        self.text = re.sub(r"\s", " ", text)
        """The text, on one line."""
        self.readings = frozenset(name.reading for name in self._root.names())
        """The readings that are to be looked up."""
        self.was_asked = True
        """Whether the condition was asked since its readings were looked up last."""
        if not self.readings:
            what = "nothing in this ever changes: name something that does, as in load(1) < 4"
            raise ConditionTextError(text, 0, len(text), what)

    def holds(self, seen: Seen) -> bool:
        """Tell whether it is true; where a value that is wanted is not known, it is not."""
        try:
            return bool(self._root.value(seen))
        except NoAnswerError:
            return False

    def false_parts(self, seen: Seen) -> tuple[str, ...]:
        """Say which parts of it are false, with the values that they saw; none where it holds."""
        return false_parts(self._root, self.text, seen)


class UnreadableCondition(Condition):
    """A text that was a condition once, and names something that there is no more: it is never true.

    >>> UnreadableCondition("rig.heat < 60", "there is no rig.heat").false_parts({})
    ('there is no rig.heat',)
    """

    __slots__ = ("_reason",)

    def __init__(self, text: str, reason: str) -> None:
        """Take the text, and why it cannot be read."""
        self.text = text
        self.readings = frozenset()
        self.was_asked = True
        self._reason = reason

    def holds(self, seen: Seen) -> bool:
        """Say no."""
        del seen
        return False

    def false_parts(self, seen: Seen) -> tuple[str, ...]:
        """Say why it cannot be read."""
        del seen
        return (self._reason,)


__all__ = ["Condition", "UnreadableCondition"]
