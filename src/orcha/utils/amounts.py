"""Durations, rates and sizes as people write them, on the command line and in configuration files."""

from __future__ import annotations

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
"""Seconds of each unit of a duration."""
BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MAX_DURATION_SECONDS = 100 * 365 * 86_400.0
MAX_SIZE_BYTES = 1 << 62
_MAX_SHOWN_CHARACTERS = 40


def quoted(text: str) -> str:
    """Give what was written, as far as it says what is meant."""
    return ascii(text) if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]!a}..."


def read_duration(text: str) -> float:
    """Read a duration in seconds, which may be none.

    >>> [read_duration(each) for each in ("0", "90", "1h30m", "250ms")]
    [0.0, 90.0, 5400.0, 0.25]

    Raises:
        ValueError: it is none, or longer than a hundred years.

    """
    total, rest = 0.0, text.strip().lower()
    while rest or not text.strip():
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit = len(rest) - digits - len(rest[digits:].lstrip("abcdefghijklmnopqrstuvwxyz"))
        try:
            total += float(rest[:digits]) * SECONDS[rest[digits : digits + unit] or "s"]
        except (ValueError, KeyError):
            message = f"{quoted(text)} is no duration: write it as 90, 90s, 5m, 2h or 1h30m"
            raise ValueError(message) from None
        rest = rest[digits + unit :]
    if total > MAX_DURATION_SECONDS:
        message = f"{quoted(text)} is too long: give at most {MAX_DURATION_SECONDS / SECONDS['d']:.0f}d"
        raise ValueError(message)
    return total


def read_size(text: str) -> int:
    """Read a number of bytes; K, M, G and T are powers of 1024.

    >>> [read_size(each) for each in ("4096", "512M", "1.5G", "2GiB")]
    [4096, 536870912, 1610612736, 2147483648]

    Raises:
        ValueError: it is none.

    """
    number = text.strip().upper()
    number = number.removesuffix("IB") if number.endswith("IB") else number.removesuffix("B")
    unit = number[-1:] if number[-1:] in BYTES else ""
    try:
        value = float(number[: len(number) - len(unit)]) * BYTES[unit]
    except ValueError:
        value = 0.0
    if value >= MAX_SIZE_BYTES:
        message = f"{quoted(text)} is too much: give less than {MAX_SIZE_BYTES // BYTES['T']}T"
        raise ValueError(message)
    if not value >= 1:
        message = f"{quoted(text)} is no size: write it as 65536, 512M or 2G"
        raise ValueError(message)
    return int(value)


__all__ = ["BYTES", "MAX_DURATION_SECONDS", "MAX_SIZE_BYTES", "SECONDS", "quoted", "read_duration", "read_size"]
