"""One line about an exception, for the client of the petition it ended; and what plugins say, as it is passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._protocol.shown_reasons import OUTLIVED

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_EXPLANATION_CHARACTERS = 2_000
"""Characters of a text for people that are kept and passed on."""
_CUT_MARK = " ..."
_NO_TEXT = "(its text could not be had)"


def describe(error: BaseException) -> str:
    """Give ``<Type>: <text>`` on one line.

    >>> describe(KeyError("counter"))
    "KeyError: 'counter'"
    """
    return _with_text(error, "{name}: {text}")


def explain(error: BaseException) -> str:
    """Give ``<text> (<Type>)`` on one line: first what people understand, then what the plugin's author looks for.

    >>> explain(ValueError("there is no rig 9")), explain(KeyboardInterrupt())
    ('there is no rig 9 (ValueError)', 'KeyboardInterrupt')
    """
    return _with_text(error, "{text} ({name})")


def _with_text(error: BaseException, form: str) -> str:
    """Give the type of an exception, in this form where it has a text."""
    text = cleaned(" ".join(_text(error).splitlines()))
    name = cleaned(type(error).__name__)
    return form.format(name=name, text=text) if text else name


def cleaned(text: str) -> str:
    r"""Give a text for people as every client can have it: no longer than that, and without what is no character.

    >>> cleaned("a\ud800b")
    'a\\ud800b'
    """
    if len(text) > MAX_EXPLANATION_CHARACTERS:
        text = text[: MAX_EXPLANATION_CHARACTERS - len(_CUT_MARK)] + _CUT_MARK
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")[:MAX_EXPLANATION_CHARACTERS]


def said(value: object) -> str:
    """Give what a plugin said as the reason for something, whatever it is, as a text that can be kept."""
    return cleaned(_text(value))


def _text(value: object) -> str:
    try:
        return str.__str__(str(value))
    except BaseException:  # noqa: BLE001 - a plugin's object may raise in its __str__ too
        return _NO_TEXT


def outlived(pids: Collection[int]) -> str:
    """Tell which processes of a petition's attempt live on though they were killed."""
    names = ", ".join(f"{name_of(pid)} (pid {pid})" for pid in pids)
    return OUTLIVED.format(names)


def name_of(pid: int) -> str:
    """Give a process's name; "a process" where that cannot be known."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib starts slowly
            text = file.read().rstrip("\n")
    except OSError:
        return "a process"
    return "".join(each if each.isprintable() else "?" for each in text)
