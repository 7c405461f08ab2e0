"""How a table fits a terminal: columns are made narrower, then given up one by one; what is cut has a sign of it."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_GAP_COLUMNS = 2
_WIDE = frozenset("WF")
_NO_WIDTH = frozenset(("Mn", "Me", "Cf"))


class Column(NamedTuple):
    """A column of a table."""

    title: str
    least: int | None = None
    """How narrow the column may be made; None where its texts may not be cut."""
    middle: bool = False
    """Whether a cut text loses its middle, and not its end."""
    given_up: int | None = None
    """The turn in which the column is given up, from 0; None where it always stays."""
    at_last: int | None = None
    """How narrow the column may be made once the others have been given up; None for no narrower than before."""


def fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Give the lines of a table that is no wider than this, as far as the columns that stay allow.

    The columns are made narrower first, the widest at each time. Where that is not enough, one is given up, and the
    others are as wide as they can be then.

    >>> fit((Column("ID", 4, middle=True), Column("WHY", 5, given_up=0)), [("a", "1 waits before it")], 12)
    ['ID  WHY', 'a   1 waits…']
    >>> fit((Column("ID", middle=True, at_last=4), Column("WHY", 5, given_up=0)), [("abcdefgh", "x" * 9)], 7)
    ['ID', 'abc…fgh']
    """
    kept = list(range(len(columns)))
    natural = [max(width_of(row[place]) for row in ([each.title for each in columns], *rows)) for place in kept]
    while True:
        widths = _narrowed([columns[place] for place in kept], [natural[place] for place in kept], width)
        if sum(widths) + _GAP_COLUMNS * (len(widths) - 1) <= width:
            break
        leaving = [place for place in kept if columns[place].given_up is not None]
        if not leaving:
            last = [columns[place]._replace(least=columns[place].at_last) for place in kept]
            widths = _narrowed(last, widths, width)
            break
        kept.remove(min(leaving, key=lambda place: columns[place].given_up or 0))
    titles = [columns[place].title for place in kept]
    shown = [[cut(row[place], wide, columns[place]) for place, wide in zip(kept, widths, strict=True)] for row in rows]
    return [
        (" " * _GAP_COLUMNS)
        .join(cell + " " * (wide - width_of(cell)) for cell, wide in zip(row, widths, strict=True))
        .rstrip()
        for row in (titles, *shown)
    ]


def _narrowed(columns: Sequence[Column], widths: list[int], width: int) -> list[int]:
    """Give the widths of columns that are to fit together, as near to it as they may."""
    least = [
        wide if column.least is None else min(wide, max(column.least, len(column.title)))
        for column, wide in zip(columns, widths, strict=True)
    ]
    widths = list(widths)
    while sum(widths) + _GAP_COLUMNS * (len(widths) - 1) > width:
        able = [place for place, wide in enumerate(widths) if wide > least[place]]
        if not able:
            break
        widest = max(able, key=lambda place: widths[place])
        widths[widest] -= 1
    return widths


def cut(text: str, width: int, column: Column) -> str:
    """Give a text in this many places, with a sign where something of it is left out.

    >>> cut("make -j4 all", 7, Column("", 1)), cut("make -j4 all", 7, Column("", 1, middle=True))
    ('make -…', 'mak…all')
    """
    if width_of(text) <= width:
        return text
    tail = (width - 1) // 2 if column.middle else 0
    return _head(text, width - 1 - tail) + ELLIPSIS + _head(text[::-1], tail)[::-1]


def _head(text: str, width: int) -> str:
    """Give as much of the beginning as fits."""
    place = taken = 0
    while place < len(text) and taken + _width(text[place]) <= width:
        taken += _width(text[place])
        place += 1
    return text[:place]


def width_of(text: str) -> int:
    """Give how many places of a terminal a text takes (Unicode Standard Annex 11).

    >>> width_of("a"), width_of("\N{CJK UNIFIED IDEOGRAPH-65E5}"), width_of("e\N{COMBINING ACUTE ACCENT}")
    (1, 2, 1)
    """
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(letter: str) -> int:
    if letter.isascii():
        return 1
    import unicodedata

    if unicodedata.category(letter) in _NO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in _WIDE else 1


def wrapped(text: str, width: int, indent: int) -> str:
    r"""Give a text in lines no wider than this, all but the first indented.

    A line ends after a comma where one is in its second half, else at a space where there is one.

    >>> wrapped("env:  A HOME LANG", 12, 6)
    'env:  A HOME\n      LANG'
    >>> wrapped("id:  abcdefgh", 9, 5)
    'id:  abcd\n     efgh'
    """
    lines: list[str] = []
    while width_of(text) > width > indent + 1:
        head = _head(text, width)
        comma, space = head.rfind(", "), text.rfind(" ", 0, len(head) + 1)
        if comma > indent + (width - indent) // 2:
            head = head[: comma + 1]
        elif space > indent:
            head = head[:space]
        lines.append(head.rstrip())
        text = " " * indent + text[len(head) :].lstrip(" ")
    return "\n".join((*lines, text))
