"""One line about an exception, for the client of the petition it ended."""

from __future__ import annotations

LONGEST = 2_000
"""Characters of an exception's text that are passed on."""


def describe(error: BaseException) -> str:
    """Give ``<Type>: <text>`` on one line.

    >>> describe(KeyError("counter"))
    "KeyError: 'counter'"
    """
    try:
        text = " ".join(str(error).splitlines())
    except BaseException:  # noqa: BLE001 - a plugin's exception may raise in its __str__ too
        text = "(its text could not be had)"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    name = type(error).__name__
    return f"{name}: {text[:LONGEST]}" if text else name
