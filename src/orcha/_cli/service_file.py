"""The file with the names of services, changed so that everything else in it stays as people wrote it."""

from __future__ import annotations

import re
import tomllib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

TABLE = "services"


class OwnHandError(Exception):
    """The file is written in a way that only its author can change."""


def with_entry(text: str, name: str, fields: Mapping[str, str]) -> str:
    r"""Give the file with one more service.

    >>> print(with_entry('[services]\nlab = "unix:/l"\n', "box", {"at": "tls://box:1"}), end="")
    [services]
    lab = "unix:/l"
    <BLANKLINE>
    [services.box]
    at = "tls://box:1"

    Raises OwnHandError where it cannot be added by itself.
    """
    from orcha._configuration.written import spelled

    lines = [f"[{TABLE}.{_key(name)}]", *(f"{field} = {spelled(value)}" for field, value in fields.items())]
    before = text if not text or text.endswith("\n") else f"{text}\n"
    made = "{}{}{}\n".format(before, "\n" if before else "", "\n".join(lines))
    return _checked(made, _services(text) | {name: dict(fields)})


def without_entry(text: str, name: str) -> str:
    r"""Give the file without a service.

    >>> without_entry('[services]\nlab = "unix:/l"\n\n[services.box]\nat = "tls://box:1"\n', "box")
    '[services]\nlab = "unix:/l"\n'

    Raises OwnHandError where it cannot be taken out by itself.
    """
    wanted = _services(text)
    del wanted[name]
    key = rf"(?:{re.escape(name)}|{re.escape(_key(name))})"
    block = rf"\n?^\[{TABLE}\.{key}\][^\n]*\n(?:(?!\[)[^\n]*(?:\n|\Z))*"
    line = rf"^{key}\s*=[^\n]*(?:\n|\Z)"
    for form in (block, line):
        made, count = re.subn(form, "", text, count=1, flags=re.MULTILINE)
        if count:
            return _checked(made, wanted)
    raise OwnHandError


def _key(name: str) -> str:
    from orcha._configuration.written import spelled

    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else spelled(name)


def _services(text: str) -> dict[str, Any]:
    return dict(tomllib.loads(text).get(TABLE, {}))


def _checked(text: str, wanted: dict[str, Any]) -> str:
    """Give a text that says what is wanted, and nothing else."""
    try:
        found = _services(text)
    except tomllib.TOMLDecodeError:
        raise OwnHandError from None
    if found != wanted:
        raise OwnHandError
    return text


__all__ = ["OwnHandError", "with_entry", "without_entry"]
