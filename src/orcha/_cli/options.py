"""What people write for durations, sizes, signals and variables, read."""

from __future__ import annotations

import argparse
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LARGEST = 1 << 62
_MOST = 1 << 53
_MOST_DIGITS = 20
_LONGEST = 100 * 365 * 86_400.0
_COERCED = frozenset(("C.UTF-8", "C.utf8", "UTF-8"))

ALLOWED = (
    *("HOME", "USER", "LOGNAME", "SHELL", "PATH", "TMPDIR", "TZ"),
    *("LANG", "LANGUAGE", "LC_*", "TERM", "COLORTERM", "NO_COLOR"),
    *("EDITOR", "VISUAL", "PAGER", "VIRTUAL_ENV"),
)
"""Variables that go along with a command unless told otherwise; ``*`` at the end stands for anything."""


def duration(text: str) -> float:
    """Read a duration, in seconds where no unit is given.

    >>> [duration(each) for each in ("90", "1.5s", "5m", "1h30m", "250ms")]
    [90.0, 1.5, 300.0, 5400.0, 0.25]
    """
    total = duration_from_zero(text)
    if not total > 0:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no duration above zero")
    return total


def duration_from_zero(text: str) -> float:
    """Read a duration that may be none.

    >>> [duration_from_zero(each) for each in ("0", "0s", "1m")]
    [0.0, 0.0, 60.0]
    """
    total, rest = 0.0, text.strip().lower()
    while rest or not text.strip():
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit = len(rest) - digits - len(rest[digits:].lstrip("abcdefghijklmnopqrstuvwxyz"))
        try:
            total += float(rest[:digits]) * _SECONDS[rest[digits : digits + unit] or "s"]
        except (ValueError, KeyError):
            raise argparse.ArgumentTypeError(f"{text[:80]!r} is no duration: 90, 90s, 5m, 2h, 1h30m") from None
        rest = rest[digits + unit :]
    if total > _LONGEST:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is too long: at most {_LONGEST / _SECONDS['d']:.0f}d")
    return total


def size(text: str) -> int:
    """Read a number of bytes; K, M, G and T are powers of 1024.

    >>> [size(each) for each in ("4096", "512M", "1.5G", "2GiB")]
    [4096, 536870912, 1610612736, 2147483648]
    """
    number = text.strip().upper()
    number = number.removesuffix("IB") if number.endswith("IB") else number.removesuffix("B")
    unit = number[-1:] if number[-1:] in _BYTES else ""
    try:
        value = float(number[: len(number) - len(unit)]) * _BYTES[unit]
    except ValueError:
        value = 0.0
    if value >= _LARGEST:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is too much: less than {_LARGEST // _BYTES['T']}T")
    if not value >= 1:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no size: 65536, 512M, 2G")
    return int(value)


def signal_number(text: str) -> int:
    """Read a signal by name or number.

    >>> [signal_number(each) for each in ("TERM", "sigint", "9")]
    [15, 2, 9]
    """
    from signal import Signals

    name = text.strip().upper()
    try:
        return int(Signals(int(name)) if name.isdecimal() else Signals["SIG" + name.removeprefix("SIG")])
    except (ValueError, KeyError):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no signal: INT, TERM, 15") from None


def written(text: str) -> str:
    """Read an id, a label, a key or a group: any text, but not bytes that are none."""
    if not is_text(text):
        raise argparse.ArgumentTypeError(f"{text!a} is no text")
    return text


def count(text: str) -> int:
    """Read a number above zero."""
    return whole(text, 1)


def whole(text: str, least: int) -> int:
    """Read a whole number, from the least one that is allowed to 2**53."""
    digits = text.strip()
    if not digits.removeprefix("-").isdecimal() or len(digits) > _MOST_DIGITS or not least <= int(digits) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no whole number from {least} to {_MOST} (2**53)")
    return int(digits)


def amount(text: str) -> tuple[str, int]:
    """Read how much of a resource is needed: its name, and a number above zero.

    >>> amount("gpu=1")
    ('gpu', 1)
    """
    name, _, number = text.rpartition("=")
    if not name or not is_text(name) or not number.isdecimal() or not number.strip("0"):
        raise argparse.ArgumentTypeError(f"{text!a:.80} is no need: gpu=1, ram_gb=16")
    return name, whole(number, 1)


def not_negative(text: str) -> int:
    """Read a number from zero."""
    return whole(text, 0)


def number(text: str) -> int | float:
    """Read a priority: any number but not-a-number, an int where it is one; beyond 64 bits the last one there is."""
    try:
        return max(-(1 << 63), min((1 << 63) - 1, int(text)))
    except ValueError:
        pass
    value = real(text)
    if value != value:  # noqa: PLR0124 - what only not-a-number is
        raise argparse.ArgumentTypeError("a priority is a number")
    return value


def factor(text: str) -> float:
    """Read by how much something grows each time.

    >>> factor("1.5")
    1.5
    """
    value = real(text)
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no factor: a number from 1, as 2 or 1.5")
    return value


def real(text: str) -> float:
    """Read a number, whole or not."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no number") from None


def environment(
    source: Mapping[str, str], settings: Iterable[str], *, everything: bool = False
) -> dict[str | bytes, str | bytes]:
    """Choose the variables that go along with a command.

    Args:
        source: the environment of this process.
        settings: ``NAME=VALUE``, or ``NAME`` for what it is here.
        everything: all of `source`, not only what is allowed.

    Returns:
        The variables as they are sent: names and values that are no text as the bytes that they are.

    Raises:
        ValueError: a setting has no name.

    """
    allowed = [*ALLOWED, *source.get("ORCHA_ENV_ALLOW", "").replace(",", " ").split()]
    chosen = {name: value for name, value in source.items() if everything or _is_among(name, allowed)}
    if everything:
        chosen = {name: value for name, value in chosen.items() if not name.startswith("ORCHA_")}
    for setting in settings:
        name, is_set, value = setting.partition("=")
        if not name or "\0" in setting:
            raise ValueError(f"{setting!r} sets no variable: NAME=VALUE, or NAME for what it is here")
        if is_set:
            chosen[name] = value
        elif name in source:
            chosen[name] = source[name]
    return {sent(name): sent(value) for name, value in chosen.items()}


def _is_among(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a name is one of these."""
    return any(name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns)


def is_text(text: str) -> bool:
    """Tell whether this is text, and not bytes that the system gave where it expected text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def sent(word: str) -> str | bytes:
    """Give what the system gave this process as it is sent: as text where its bytes are UTF-8, else as those.

    Which characters Python has made of the bytes depends on the locale here, which is not that of the service.
    """
    raw = os.fsencode(word)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def inherited() -> dict[str, str]:
    """Give the variables that this process was started with.

    A Python that finds no locale sets LC_CTYPE for itself (PEP 538): that one is not the caller's.
    """
    found = dict(os.environ)
    if found.get("LC_CTYPE") in _COERCED:
        try:
            with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - pathlib costs a client 5 ms
                before = [each for each in file.read().split(b"\0") if each.startswith(b"LC_CTYPE=")]
        except OSError:
            return found
        del found["LC_CTYPE"]
        if before:
            found["LC_CTYPE"] = os.fsdecode(before[0].partition(b"=")[2])
    return found
