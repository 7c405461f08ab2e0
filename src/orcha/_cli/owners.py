"""Whose a petition is, by name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Row = dict[str, Any]


def user(row: Row) -> str | None:
    """Give the name of the user who asked for it; None where only a key is known, or there is no such user.

    The service says the name, since it may be on another machine; an older service does not.

    >>> user({"owner": "uid:1001", "user": "alice"}), user({"owner": "uid:4000000001", "user": "uid 4000000001"})
    ('alice', None)
    """
    told, owner = row.get("user"), str(row["owner"])
    if isinstance(told, str) and told not in {owner, owner.replace(":", " ")}:
        return told
    kind, _, number = owner.partition(":")
    if kind != "uid" or not number.isdecimal():
        return None
    import pwd

    try:
        return pwd.getpwuid(int(number)).pw_name
    except (KeyError, OverflowError):
        return None


def are_others(rows: Iterable[Row]) -> bool:
    """Tell whether there are petitions of another user than who looks at them."""
    from os import geteuid

    return any(row["owner"] != f"uid:{geteuid()}" for row in rows)


__all__ = ["are_others", "user"]
