"""A condition in text."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CONDITION_CHARACTERS = 1_000
"""Characters of a condition."""


@dataclass(frozen=True)
class When:
    """A condition in text, which the service reads when the petition comes.

    ``orcha run --when help`` says what it may hold.
    A petition with a condition starts as soon as that is true and the petition's own `condition` says yes too. It is
    asked for when something that it names changes, so that it needs no ``Manager.wake``. A text that cannot be read
    has the message refused, with the column of what is wrong.

    Args:
        text: the condition, an expression in Python's syntax.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty, or too long.

    Example::

        Policy(when=When('load(1) < 4 and memory.free > 8G and not exists("/run/maint")'))

    """

    text: str

    def __post_init__(self) -> None:
        """Check that it can be kept and sent."""
        text: object = self.text
        if not isinstance(text, str):
            error = f"a condition is a text, not {type(text).__name__}"
            raise TypeError(error)
        if not text.strip() or len(text) > MAX_CONDITION_CHARACTERS:
            error = f"a condition is a text of 1 to {MAX_CONDITION_CHARACTERS} characters, not {text!r:.80}"
            raise ValueError(error)

    def __str__(self) -> str:
        """Give the text."""
        return self.text


__all__ = ["When"]
