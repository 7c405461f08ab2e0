"""The only printer of the built-in verbs: tables on a terminal, plain columns in a pipe, JSON for programs."""

from __future__ import annotations

import sys

from orcha.utils.streams import write_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under titles."""
    if sys.stdout is not None and sys.stdout.isatty():
        _for_a_terminal(titles, rows)
        return
    widths = [max(len(row[place]) for row in (titles, *rows)) for place in range(len(titles))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (titles, *rows))
    write_out("".join(f"{each.rstrip()}\n" for each in lines))


def _for_a_terminal(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table as wide as the terminal, its last column wrapped."""
    from io import StringIO

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False)
    for place, title in enumerate(titles):
        shown.add_column(title, no_wrap=place < len(titles) - 1, overflow="fold")
    for row in rows:
        shown.add_row(*map(Text, row))
    buffer = StringIO()
    Console(file=buffer, force_terminal=True, width=Console().width).print(shown)
    write_out(buffer.getvalue())


def json(value: object) -> None:
    """Print a value for programs."""
    from json import dumps

    write_out(dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def line(text: str) -> None:
    """Print a line on stdout."""
    write_out(f"{text}\n")


def note(text: str) -> None:
    """Print a line on stderr: it is about the output, not of it."""
    if sys.stderr is not None:
        sys.stderr.write(f"orcha: {text}\n")


def plain(text: object) -> str:
    """Give text in which nothing moves a terminal's cursor: what is not printable stands as its escape."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(text))


def now() -> float:
    """Give the time, in seconds since 1970."""
    from time import time  # noqa: TID251 - ages are reckoned where they are shown

    return time()


def age(seconds: float) -> str:
    """Give a span as people say it.

    >>> [age(0.2), age(75), age(7300), age(200_000)]
    ['now', '1 min', '2 h', '2 d']
    """
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


def iso(seconds: float | None) -> str | None:
    """Give a time as ISO 8601 in UTC.

    >>> iso(0)
    '1970-01-01T00:00:00+00:00'
    """
    if seconds is None:
        return None
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat()


def number(value: float) -> float | str:
    """Give a number as JSON has it: the infinities as text."""
    return str(value) if value in {float("inf"), float("-inf")} else value
