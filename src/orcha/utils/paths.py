"""Paths that the environment names."""

from __future__ import annotations

import os

NAMES = ("ORCHA_HOME", "ORCHA_KEY_FILE", "ORCHA_CONFIG", "ORCHA_SYSTEM_ROOT")
"""Variables that hold a path of Orcha's; each may be relative to the folder that Orcha is started in."""


def named_path(variable: str) -> str | None:
    """Give the path that a variable of the environment holds; None where it is missing or empty.

    A relative path becomes absolute when it is first read, in the environment too: a daemon changes its folder, and so
    may a plugin, and whatever this process starts has to find the same place.

    Raises:
        ConfigurationError: the path is relative to a folder that is gone.

    """
    text = os.environ.get(variable)
    if not text or os.path.isabs(text):  # noqa: PTH117 - pathlib costs a client 5 ms
        return os.path.abspath(text) if text else None  # noqa: PTH100
    try:
        path = os.path.abspath(text)  # noqa: PTH100
    except FileNotFoundError:
        from orcha.exceptions import ConfigurationError

        message = f"{variable} is {text!r}, in a working folder that is gone: set it to an absolute path"
        raise ConfigurationError(message) from None
    os.environ[variable] = path
    return path


def fix_paths() -> None:
    """Make all of Orcha's paths in the environment absolute, before this process changes its folder."""
    for name in NAMES:
        named_path(name)
