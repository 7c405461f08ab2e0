"""What a line of the log says of a petition, by name: for a log that programs read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_ABOUT_ONE = "petition %s"
"""How a text begins whose first argument is the id of a petition."""


def fields_of(text: str, args: Sequence[object]) -> dict[str, object]:
    """Give the fields of a line: its arguments' fields, and the id of the petition that it is about.

    >>> fields_of("petition %s waits: %s", ("a", "no rig is free"))
    {'id': 'a'}
    """
    found: dict[str, object] = {}
    for each in args:
        known = getattr(each, "event_fields", None)
        if known is not None:
            found |= known()
    if not found and args and text.startswith(_ABOUT_ONE):
        found["id"] = str(args[0])
    return found


__all__ = ["fields_of"]
