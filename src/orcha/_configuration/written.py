"""Settings written as TOML: one line each, so that a file that Orcha writes has nothing to lose."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec

from orcha._configuration.reading import dotted

HEADER = "# Written by `orcha config set`; each start of the service and each `orcha reload` reads it.\n"


def read_value(text: str) -> Any:
    """Read a value of the command line: TOML, or else the text itself.

    >>> read_value("2"), read_value('["0", "1"]'), read_value("10m"), read_value("true")
    (2, ['0', '1'], '10m', True)
    """
    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return found["value"] if found.keys() == {"value"} else text


def read_keys(text: str) -> tuple[str, ...]:
    """Read a key as TOML has it.

    >>> read_keys("groups.nightly.slots"), read_keys('groups."a b".slots')
    (('groups', 'nightly', 'slots'), ('groups', 'a b', 'slots'))

    Raises:
        ValueError: it is none.

    """
    try:
        found: Any = tomllib.loads(f"{text} = 0")
    except (ValueError, RecursionError):
        found = {}
    keys: list[str] = []
    while isinstance(found, dict) and len(found) == 1:
        ((key, found),) = found.items()
        keys.append(key)
    if found != 0 or "\n" in text or "=" in text:
        message = f"{text!a:.80} is no key: write it as service.stop_grace or groups.nightly.slots"
        raise ValueError(message)
    return tuple(keys)


def spelled(value: Any) -> str:
    """Write a value as TOML.

    >>> spelled({"a": [1, 2.5, "x", True]})
    '{ a = [1, 2.5, "x", true] }'
    """
    if value == {}:
        return "{}"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{dotted((key,))} = {spelled(each)}' for key, each in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(spelled, value))}]"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007F")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def content_with(content: str, keys: tuple[str, ...], value: Any) -> str:
    r"""Give the content of a file that `orcha config set` wrote with one more setting; None takes a setting away.

    >>> content_with("", ("service", "stop_grace"), 5).splitlines()[1:]
    ['service.stop_grace = 5']
    >>> content_with("service.stop_grace = 5\n", ("service", "stop_grace"), None).splitlines()[1:]
    []
    """
    known = dict(_leaves(tomllib.loads(content), ()))
    known.pop(keys, None)
    if value is not None:
        known[keys] = value
    return HEADER + "".join(f"{dotted(each)} = {spelled(what)}\n" for each, what in sorted(known.items()))


def _leaves(found: dict[str, Any], path: tuple[str, ...]) -> Any:
    for key, value in found.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


__all__ = ["content_with", "read_keys", "read_value", "spelled"]
