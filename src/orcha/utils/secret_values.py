"""Secrets of commands: which names and sizes they may have.

>>> check_name("API_TOKEN"), check({"API_TOKEN": b"x"})
('API_TOKEN', {'API_TOKEN': b'x'})
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SECRETS = 16
"""Secrets of one command."""
MAX_SECRET_BYTES = 64 * 1024
"""Bytes of one secret."""
MAX_SECRET_NAME_CHARACTERS = 64
_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{MAX_SECRET_NAME_CHARACTERS - 1}}}")


def check_name(name: object) -> str:
    """Give a name back that a secret may have: it is part of a variable's name, and the name of a file.

    Raises:
        TypeError, ValueError: it is none; the error never shows it, since it may be the secret.

    """
    if not isinstance(name, str):
        raise TypeError(f"secrets have names that are texts, not {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError(
            "secrets have names of letters, digits and _, which begin with no digit and have at most"
            f" {MAX_SECRET_NAME_CHARACTERS} characters"
        )
    return name


def check(given: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Give secrets back that a command may have.

    Raises:
        TypeError, ValueError: there are too many, or one has no such name, is empty or is too large.

    """
    if len(given) > MAX_SECRETS:
        raise ValueError(f"secrets are at most {MAX_SECRETS}, and {len(given)} are given")
    for name, value in given.items():
        check_name(name)
        if not isinstance(value, bytes):
            raise TypeError(f"secrets hold bytes, and {name} holds {type(value).__name__}")
        if not 0 < len(value) <= MAX_SECRET_BYTES:
            raise ValueError(f"secrets have 1 to {MAX_SECRET_BYTES} bytes, and {name} has {len(value)}")
    return given


__all__ = ["MAX_SECRETS", "MAX_SECRET_BYTES", "MAX_SECRET_NAME_CHARACTERS", "check", "check_name"]
