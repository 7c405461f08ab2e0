"""Errors in a condition's text, with their places."""

from __future__ import annotations

MAX_SHOWN_CHARACTERS = 72
"""Characters of a long text that are shown around the error."""
_CUT = "..."


class ConditionTextError(ValueError):
    """A text is no condition; the place of what is wrong, and the cure, stand in it.

    >>> print(ConditionTextError("hours > 3", 0, 5, "there is no hours: did you mean hour?"))
    column 1: there is no hours: did you mean hour?
      hours > 3
      ^^^^^
    """

    def __init__(self, text: str, start: int, end: int, what: str) -> None:
        """Take the text, the wrong part of it, and the words for people."""
        super().__init__(text, start, end, what)
        self.text = text
        self.start = start
        self.end = end
        self.what = what

    @property
    def column(self) -> int:
        """The column, counted from 1."""
        return self.start + 1

    def __str__(self) -> str:
        """Say what is wrong, and point at it."""
        begin = max(0, self.start - MAX_SHOWN_CHARACTERS // 2) if len(self.text) > MAX_SHOWN_CHARACTERS else 0
        shown = _visible(self.text[begin : begin + MAX_SHOWN_CHARACTERS])
        before = _CUT if begin else ""
        after = _CUT if begin + MAX_SHOWN_CHARACTERS < len(self.text) else ""
        indent = " " * (len(before) + self.start - begin)
        carets = "^" * max(1, min(self.end, begin + MAX_SHOWN_CHARACTERS) - self.start)
        return f"column {self.column}: {self.what}\n  {before}{shown}{after}\n  {indent}{carets}"


class UnknownNameError(ConditionTextError):
    """A condition holds a name that is not in the vocabulary."""


def _visible(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)


__all__ = ["ConditionTextError", "UnknownNameError"]
