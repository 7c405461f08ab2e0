"""One line about an exception, for the client of the petition it ended."""

from __future__ import annotations

LONGEST = 2_000
"""Characters of an exception's text that are passed on."""


def describe(error: BaseException) -> str:
    """Give ``<Type>: <text>`` on one line.

    >>> describe(KeyError("counter"))
    "KeyError: 'counter'"
    """
    name, text = type(error).__name__, _text(error)
    return f"{name}: {text}" if text else name


def explain(error: BaseException) -> str:
    """Give ``<text> (<Type>)`` on one line: first what people understand, then what the plugin's author looks for.

    >>> explain(ValueError("there is no rig 9")), explain(KeyboardInterrupt())
    ('there is no rig 9 (ValueError)', 'KeyboardInterrupt')
    """
    name, text = type(error).__name__, _text(error)
    return f"{text} ({name})" if text else name


def _text(error: BaseException) -> str:
    """Give the text of an exception as one line that can be sent."""
    try:
        text = " ".join(str(error).splitlines())
    except BaseException:  # noqa: BLE001 - a plugin's exception may raise in its __str__ too
        text = "(its text could not be had)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:LONGEST]
