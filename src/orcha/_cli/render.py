"""The only printer of the built-in verbs: tables on a terminal, plain columns in a pipe, JSON for programs."""

from __future__ import annotations

import os
import sys

from orcha.utils.streams import write_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from orcha._cli.layout import Column

PIPE_WIDTH_COLUMNS = 1 << 62
"""Columns of a pipe."""
DEFAULT_WIDTH_COLUMNS = 80
"""Columns of a terminal that does not tell."""


def out(text: str) -> None:
    """Print text on stdout as it is.

    Raises:
        BrokenPipeError: nobody reads it; the command ends with 141.

    """
    if not write_out(text):
        raise BrokenPipeError


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under titles: on a terminal within its width, in a pipe each column as wide as it needs to be."""
    from orcha._cli.layout import fit

    out("".join(f"{each}\n" for each in fit(columns, rows, width() or PIPE_WIDTH_COLUMNS)))


def named(name: str, value: str) -> None:
    """Print a value after its name: on a terminal in lines that fit its width."""
    from orcha._cli.layout import wrapped

    out(wrapped(plain(f"{name + ':':<14} {value}"), width() or PIPE_WIDTH_COLUMNS, indent=15) + "\n")


def width() -> int | None:
    """Give the columns of the terminal that standard output is; None where it is no terminal."""
    if not is_terminal():
        return None
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or DEFAULT_WIDTH_COLUMNS
    except OSError:
        return DEFAULT_WIDTH_COLUMNS


def json(value: object) -> None:
    """Print a value for programs."""
    from json import dumps

    out(dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def line(text: str) -> None:
    """Print a line on stdout, in which nothing moves a terminal's cursor."""
    out(f"{plain(text)}\n")


def json_line(value: object) -> None:
    """Print a value for programs, on one line."""
    from json import dumps

    out(dumps(value, ensure_ascii=True, allow_nan=False) + "\n")


def is_terminal() -> bool:
    """Tell whether people see what is printed."""
    return sys.stdout is not None and sys.stdout.isatty()


def takes_escapes() -> bool:
    """Tell whether the terminal here, where there is one, is of a kind that understands escape sequences."""
    return os.environ.get("TERM", "dumb") not in {"", "dumb", "unknown"}


def afresh() -> None:
    """Begin at the top of an empty terminal; elsewhere leave a line empty."""
    out("\x1b[H\x1b[2J" if is_terminal() and takes_escapes() else "\n")


def note(text: str) -> None:
    """Print a line about the output on stderr; nothing in it moves a terminal's cursor."""
    if sys.stderr is not None:
        sys.stderr.write(f"orcha: {plain(text)}\n")


def quote(text: str) -> None:
    """Print a line on stderr that shows what the note before it is about."""
    if sys.stderr is not None:
        sys.stderr.write(f"{plain(text)}\n")


def plain(text: object) -> str:
    """Give text in which nothing moves a terminal's cursor: what is not printable stands as its escape."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(text))


def now() -> float:
    """Give the time, in seconds since 1970."""
    from time import time  # noqa: TID251 - ages are reckoned where they are shown

    return time()


def steady() -> float:
    """Give seconds of a clock that nobody sets, for limits."""
    from time import monotonic  # noqa: TID251 - a person's limit is kept where it is given

    return monotonic()


def age(seconds: float) -> str:
    """Give a span as people say it.

    >>> [age(0.2), age(75), age(7300), age(200_000)]
    ['now', '1 min', '2 h', '2 d']
    """
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


def ago(seconds: float) -> str:
    """Say how long ago something was.

    >>> [ago(0.2), ago(75)]
    ['now', '1 min ago']
    """
    text = age(seconds)
    return text if text == "now" else f"{text} ago"


def span(seconds: float) -> str:
    """Give a span exactly enough.

    >>> [span(0.0034), span(1.25), span(90), span(7200)]
    ['3.4 ms', '1.25 s', '1 min 30 s', '2 h']
    """
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    parts, rest = [], round(seconds)
    for unit, size_of in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size_of)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def elapsed(seconds: float) -> str:
    """Say how long something has lasted, in two units at most.

    >>> [elapsed(0.2), elapsed(75), elapsed(3600), elapsed(200_000)]
    ['0 s', '1 min 15 s', '1 h', '2 d 7 h']
    """
    return span(max(1, int(seconds))) if seconds >= 1 else "0 s"


def size(number_of_bytes: float) -> str:
    """Give a size as people read it.

    >>> [size(512), size(4096), size(1610612736)]
    ['512 B', '4 KiB', '1.5 GiB']
    """
    left = float(number_of_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if left < 1024:
            return f"{left:.3g} {unit}" if unit != "B" else f"{int(left)} B"
        left /= 1024
    return f"{left:.3g} TiB"


def clock(seconds: float) -> str:
    """Give a time as a person here reads it."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def local(text: str) -> str:
    """Give a text of the service with its times as a person here reads them: the service writes them in UTC.

    >>> local("it starts at 2023-11-14 22:13:20 UTC at the earliest").replace(clock(1_700_000_000), "<then>")
    'it starts at <then> at the earliest'
    """
    if " UTC" not in text:
        return text
    import re
    from datetime import datetime

    def here(found: re.Match[str]) -> str:
        try:
            return clock(datetime.fromisoformat(f"{found[1]}+00:00").timestamp())
        except (ValueError, OverflowError):  # no date, or one that this zone moves out of the calendar
            return found[0]

    return re.sub(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC\b", here, text)


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
