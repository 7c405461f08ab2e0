"""The tree of a condition, and how its value comes from the values of the names in it.

The walk over a tree ends: a node has its own children only, nothing repeats, and each number stays within bounds.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from orcha._core.conditions.kinds import MAX_NUMBER, Unknown, ValueKind, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Protocol

    from orcha._core.conditions.kinds import Value
    from orcha._core.conditions.terms import Reading

    class Seen(Protocol):
        """The values of the names of a tree, as far as they could be looked up."""

        def get(self, reading: Reading, /) -> Value | Unknown | None:
            """Give the value of a name; None where nobody has looked yet."""
            ...


class NoAnswerError(Exception):
    """A part of a tree has no value now."""

    def __init__(self, node: Node, reason: str) -> None:
        """Take the part and the reason, for people."""
        super().__init__(reason)
        self.node = node
        self.reason = reason


class Node(ABC):
    """One part of a condition: where it stands, and of what kind its value is."""

    __slots__ = ("end", "kind", "start")

    def __init__(self, kind: ValueKind, start: int, end: int) -> None:
        """Stand in the text from `start` up to `end`."""
        self.kind = kind
        self.start = start
        self.end = end

    @abstractmethod
    def value(self, seen: Seen) -> Value:
        """Give its value; raise NoAnswerError where it has none."""

    def children(self) -> Sequence[Node]:
        """Give the parts of it."""
        return ()

    def names(self) -> Iterator[Name]:
        """Give each name in it."""
        for child in self.children():
            yield from child.names()


class Literal(Node):
    """A number, a text, a yes or a no that stands there."""

    __slots__ = ("_value",)

    def __init__(self, value: Value, kind: ValueKind, start: int, end: int) -> None:
        """Stand for that value."""
        super().__init__(kind, start, end)
        self._value = value

    def value(self, seen: Seen) -> Value:
        """Give it."""
        del seen
        return self._value

    @property
    def is_zero(self) -> bool:
        """Whether it is a zero without a unit, which every unit has."""
        return self.kind is ValueKind.NUMBER and self._value == 0


class Name(Node):
    """A name, or a function with its arguments."""

    __slots__ = ("reading",)

    def __init__(self, reading: Reading, kind: ValueKind, start: int, end: int) -> None:
        """Stand for what was looked up."""
        super().__init__(kind, start, end)
        self.reading = reading

    def value(self, seen: Seen) -> Value:
        """Give what was looked up."""
        value = seen.get(self.reading)
        if value is None:
            raise NoAnswerError(self, "it has not been looked at yet")
        if isinstance(value, Unknown):
            raise NoAnswerError(self, value.reason)
        return value

    def names(self) -> Iterator[Name]:
        """Give it."""
        yield self


class AllOf(Node):
    """Parts that all have to be true."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Node], start: int, end: int) -> None:
        """Join them."""
        super().__init__(ValueKind.TRUTH, start, end)
        self._parts = parts

    def children(self) -> Sequence[Node]:
        """Give the parts."""
        return self._parts

    def value(self, seen: Seen) -> bool:
        """Ask one after the other, until one is false."""
        for part in self._parts:  # noqa: SIM110 - a generator would cost more than the parts
            if not part.value(seen):
                return False
        return True


class Links(AllOf):
    """The comparisons of a chain, as in `1 < hour < 5`: people are told of all of it."""

    __slots__ = ()


class AnyOf(Node):
    """Parts; at least one of them has to be true."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Node], start: int, end: int) -> None:
        """Join them."""
        super().__init__(ValueKind.TRUTH, start, end)
        self._parts = parts

    def children(self) -> Sequence[Node]:
        """Give the parts."""
        return self._parts

    def value(self, seen: Seen) -> bool:
        """Ask one after the other, until one is true."""
        for part in self._parts:  # noqa: SIM110 - a generator would cost more than the parts
            if part.value(seen):
                return True
        return False


class Not(Node):
    """The contrary of a part."""

    __slots__ = ("_part",)

    def __init__(self, part: Node, start: int, end: int) -> None:
        """Turn it round."""
        super().__init__(ValueKind.TRUTH, start, end)
        self._part = part

    def children(self) -> Sequence[Node]:
        """Give the part."""
        return (self._part,)

    def value(self, seen: Seen) -> bool:
        """Give the contrary."""
        return not self._part.value(seen)


class Comparison(Node):
    """Two parts that are compared."""

    __slots__ = ("_compare", "_left", "_right")

    def __init__(self, left: Node, compare: Callable[[Value, Value], bool], right: Node, start: int, end: int) -> None:
        """Compare two parts of one kind."""
        super().__init__(ValueKind.TRUTH, start, end)
        self._left = left
        self._compare = compare
        self._right = right

    def children(self) -> Sequence[Node]:
        """Give both."""
        return (self._left, self._right)

    def value(self, seen: Seen) -> bool:
        """Compare their values."""
        return self._compare(self._left.value(seen), self._right.value(seen))


class Membership(Node):
    """A part that is looked for among others."""

    __slots__ = ("_is_among", "_items", "_part")

    def __init__(self, part: Node, items: Sequence[Node], start: int, end: int, *, is_among: bool) -> None:
        """Look for `part` among the `items`; with `is_among` false it has to be none of them."""
        super().__init__(ValueKind.TRUTH, start, end)
        self._part = part
        self._items = items
        self._is_among = is_among

    def children(self) -> Sequence[Node]:
        """Give the part, and the others."""
        return (self._part, *self._items)

    def value(self, seen: Seen) -> bool:
        """Compare it with all of them."""
        value = self._part.value(seen)
        return (value in [item.value(seen) for item in self._items]) is self._is_among


class Sign(Node):
    """A number with a sign before it."""

    __slots__ = ("_is_minus", "_part")

    def __init__(self, part: Node, start: int, end: int, *, is_minus: bool) -> None:
        """Stand for `part`, or with `is_minus` for its negative."""
        super().__init__(part.kind, start, end)
        self._part = part
        self._is_minus = is_minus

    def children(self) -> Sequence[Node]:
        """Give the number."""
        return (self._part,)

    def value(self, seen: Seen) -> Value:
        """Give it with its sign."""
        value = self._part.value(seen)
        assert not isinstance(value, str)
        return -value if self._is_minus else value


class Reckoning(Node):
    """Two numbers, and what is reckoned of them."""

    __slots__ = ("_left", "_reckon", "_right")

    def __init__(
        self,
        left: Node,
        reckon: Callable[[int | float, int | float], int | float],
        right: Node,
        kind: ValueKind,
        start: int,
        end: int,
    ) -> None:
        """Reckon with two parts."""
        super().__init__(kind, start, end)
        self._left = left
        self._reckon = reckon
        self._right = right

    def children(self) -> Sequence[Node]:
        """Give both."""
        return (self._left, self._right)

    def value(self, seen: Seen) -> int | float:
        """Reckon with their values."""
        left, right = self._left.value(seen), self._right.value(seen)
        assert not isinstance(left, str)
        assert not isinstance(right, str)
        try:
            value = self._reckon(left, right)
        except ZeroDivisionError:
            raise NoAnswerError(self, "it divides by zero") from None
        if not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise NoAnswerError(self, "its value is too large")
        return value


def false_parts(root: Node, text: str, seen: Seen) -> tuple[str, ...]:
    """Say for each part that has to be true, and is not, what its names stand for.

    Empty where all of the condition is true.
    """
    if type(root) is AllOf:
        parts = [said for part in root.children() for said in false_parts(part, text, seen)]
        return tuple(dict.fromkeys(parts))
    try:
        if root.value(seen):
            return ()
    except NoAnswerError as error:
        return (f"{text[error.node.start : error.node.end]} is not known: {error.reason}",)
    return (f"{text[root.start : root.end]} is false{_values(root, text, seen)}",)


def _values(root: Node, text: str, seen: Seen) -> str:
    """Say what the names of a part stand for, each once, as far as that says more than the part."""
    names = {name.reading: name for name in root.names()}
    values = {name: seen.get(reading) for reading, name in names.items()}
    known = [(name, told(name.kind, value)) for name, value in values.items() if not isinstance(value, Unknown | None)]
    if isinstance(root, Name) or not known:
        return ""
    if len(names) == 1 and known[0][0].kind is not ValueKind.TRUTH:
        return f": {known[0][1]}"
    return ": " + ", ".join(f"{text[name.start : name.end]} is {value}" for name, value in known)


COMPARISONS: Mapping[str, Callable[[Value, Value], bool]] = {
    "Eq": operator.eq,
    "NotEq": operator.ne,
    "Lt": operator.lt,
    "LtE": operator.le,
    "Gt": operator.gt,
    "GtE": operator.ge,
}
"""By the names that `ast` gives them."""

RECKONINGS: Mapping[str, Callable[..., int | float]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mult": operator.mul,
    "Div": operator.truediv,
    "FloorDiv": operator.floordiv,
    "Mod": operator.mod,
}
"""By the names that `ast` gives them."""

__all__ = [
    "COMPARISONS",
    "RECKONINGS",
    "AllOf",
    "AnyOf",
    "Comparison",
    "Links",
    "Literal",
    "Membership",
    "Name",
    "NoAnswerError",
    "Node",
    "Not",
    "Reckoning",
    "Sign",
    "false_parts",
]
