"""A condition's text as Python can read it: numbers lose their units, and no sign stands there that has no meaning."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from orcha._core.conditions.errors import ConditionTextError
from orcha._core.conditions.kinds import DURATIONS, MAX_NUMBER, MAX_TEXT_CHARACTERS, ValueKind, unit

MAX_BRACKETS_DEPTH = 20
MAX_TOKENS = 400
"""Words, numbers, texts and signs of one condition."""
_MAX_DIGITS = 20

_TOKEN = re.compile(
    r"""
      (?P<blank>\s+)
    | (?P<text>"(?:[^"\\]|\\[\\"'])*" | '(?:[^'\\]|\\[\\"'])*')
    | (?P<number>(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)
      (?P<unit>[A-Za-z_][A-Za-z_0-9]*)?
    | (?P<name>[A-Za-z_][A-Za-z_0-9]*)
    | (?P<sign>//|\*\*|<=|>=|==|!=|[()\[\]{},.+\-*/%<>])
    """,
    re.VERBOSE,
)
_CURES = {
    "**": "there are no powers here",
    "&&": "write and",
    "||": "write or",
    "&": "write and",
    "|": "write or",
    "!": "write not",
    "=": "write == to compare",
    ":=": "nothing can be named here",
    "=>": "write >=",
    "=<": "write <=",
    "#": "a condition holds no remark",
    ";": "a condition is one expression: write and, or or",
    "\\": "in a text, write it twice",
    "°": "write the number alone",
}
_CLOSES = {")": "(", "]": "[", "}": "{"}
_QUOTES = {"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'"}


class Quantity(NamedTuple):
    """A number of a condition."""

    kind: ValueKind
    value: int | float


class Scanned(NamedTuple):
    """A text as Python can read it."""

    text: str
    """As it was written."""
    python: str
    """The same with each number written out."""
    numbers: dict[int, Quantity]
    """The numbers, by the column in `python`."""
    columns: list[int]
    """Columns of `python` from which on the distance to the columns of `text` is another one."""
    distances: list[int]

    def column(self, python_column: int) -> int:
        """Give the column of `text` for a column of `python`."""
        return python_column + self.distances[bisect_right(self.columns, python_column) - 1]


def scan(text: str) -> Scanned:
    """Read the words, numbers, texts and signs of a condition.

    >>> scan("memory.free > 1.5K").python
    'memory.free > 1536'

    Raises:
        ConditionTextError: something stands there that no condition holds.

    """
    if len(text) > MAX_TEXT_CHARACTERS:
        what = f"a condition has at most {MAX_TEXT_CHARACTERS} characters, and this one has {len(text)}"
        raise ConditionTextError(text, MAX_TEXT_CHARACTERS, MAX_TEXT_CHARACTERS + 1, what)
    if not text.strip():
        raise ConditionTextError(text, 0, 1, "nothing is written: write a condition, as in load(1) < 4")
    return _Scanner(text).scan()


class _Scanner:
    """Goes through one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._python: list[str] = []
        self._length = 0
        self._open: list[tuple[str, int]] = []
        self._found = Scanned(text, "", {}, [0], [0])

    def scan(self) -> Scanned:
        text, tokens = self._text, 0
        at = len(text) - len(text.lstrip())
        self._found.distances[0] = at
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.group() == "**":
                raise self._unreadable(at)
            tokens += match.lastgroup != "blank"
            if tokens > MAX_TOKENS:
                raise self._wrong(at, match.end(), f"a condition has at most {MAX_TOKENS} words and signs")
            self._take(match)
            at = match.end()
        if self._open:
            sign, place = self._open[-1]
            raise self._wrong(place, place + 1, f"this {sign} is never closed")
        return self._found._replace(python="".join(self._python))

    def _take(self, match: re.Match[str]) -> None:
        written = match.group()
        if match["blank"] is not None:
            self._add(" " * len(written))
        elif match["number"] is not None:
            self._number(match)
        else:
            if match["text"] is not None:
                self._check_text(match)
            elif match["sign"] is not None:
                self._bracket(written, match.start())
            self._add(written)

    def _add(self, python: str) -> None:
        self._python.append(python)
        self._length += len(python)

    def _number(self, match: re.Match[str]) -> None:
        digits, end = match["number"], match.end()
        self._check_apart(match.start(), end)
        if len(digits) > _MAX_DIGITS:
            raise self._wrong(match.start(), end, f"a number has at most {_MAX_DIGITS} digits")
        number = self._value(match, digits)
        counted = (ValueKind.NUMBER, 1) if match["unit"] is None else unit(match["unit"])
        if counted is None:
            units = f"B, K, M, G, T and P for sizes, and {', '.join(DURATIONS)} for durations"
            raise self._wrong(match.start("unit"), end, f"there is no unit {match['unit']}: there are {units}")
        kind, factor = counted
        value = number * factor
        if kind is ValueKind.SIZE:
            value = round(value) if value <= MAX_NUMBER else value
        if value > MAX_NUMBER:
            raise self._wrong(match.start(), end, "this number is too large")
        self._found.numbers[self._length] = Quantity(kind, value)
        self._add(repr(value))
        self._found.columns.append(self._length)
        self._found.distances.append(end - self._length)

    def _check_apart(self, start: int, end: int) -> None:
        """Refuse a number beside what would be a part of it once it is written out: ..2K, hour.5e1, 2K.5."""
        before = self._text[start - 1] if start else " "
        if before.isalnum() or before in "_.":
            raise self._wrong(start, end, "a number stands by itself: write a blank before it, or leave out the dot")
        if self._text[end : end + 1] == ".":
            raise self._wrong(end, end + 1, "a number stands by itself: leave out the dot behind it")

    def _value(self, match: re.Match[str], digits: str) -> int | float:
        try:
            number = float(digits) if {".", "e", "E"} & set(digits) else int(digits)
        except ValueError:  # of underscores only
            raise self._wrong(
                match.start(), match.end("number"), "this is no number: write it as 5000 or 5_000"
            ) from None
        return number

    def _check_text(self, match: re.Match[str]) -> None:
        before = self._text[match.start() - 1] if match.start() else " "
        if before.isalnum() or before == "_":
            raise self._wrong(match.start(), match.start() + 1, "a text begins with its quote: write a blank before it")
        for offset, character in enumerate(match.group()):
            if not character.isprintable():
                at = match.start() + offset
                raise self._wrong(at, at + 1, f"a text holds no {character!a}")
        if self._text[match.end() :].lstrip()[:1] in {'"', "'"}:
            raise self._wrong(match.end(), match.end() + 1, "two texts stand side by side: divide them by a comma")

    def _bracket(self, sign: str, at: int) -> None:
        if sign in _CLOSES.values():
            self._open.append((sign, at))
            if len(self._open) > MAX_BRACKETS_DEPTH:
                raise self._wrong(at, at + 1, f"brackets stand in each other at most {MAX_BRACKETS_DEPTH} deep")
        elif sign in _CLOSES:
            if not self._open or self._open[-1][0] != _CLOSES[sign]:
                raise self._wrong(at, at + 1, f"no {_CLOSES[sign]} is open that this closes")
            self._open.pop()

    def _unreadable(self, at: int) -> ConditionTextError:
        two, one = self._text[at : at + 2], self._text[at]
        for written in (two, one):
            if written in _CURES:
                return self._wrong(at, at + len(written), f"{written} has no meaning here: {_CURES[written]}")
        if one in {'"', "'"}:
            return self._wrong(at, at + 1, self._broken_text(at))
        if one in _QUOTES:
            return self._wrong(at, at + 1, f"{one} begins no text: write {_QUOTES[one]}")
        shown = one if one.isprintable() else ascii(one)
        return self._wrong(at, at + 1, f"{shown} has no meaning here: a text stands between quotes")

    def _broken_text(self, at: int) -> str:
        quote, rest = self._text[at], self._text[at + 1 :]
        if quote in rest.replace("\\" + quote, "") and "\\" in rest:
            return r"in this text, \ stands before a sign that needs none: write it twice"
        return "this text has no end: close it with the same quote"

    def _wrong(self, start: int, end: int, what: str) -> ConditionTextError:
        return ConditionTextError(self._text, start, end, what)


__all__ = ["MAX_BRACKETS_DEPTH", "MAX_TOKENS", "Quantity", "Scanned", "scan"]
