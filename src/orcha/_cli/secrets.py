"""Secrets for commands: read here, sent beside the message, and never a part of it."""

from __future__ import annotations

import argparse
import os

from orcha._cli import options
from orcha.utils.amounts import quoted
from orcha.utils.secret_values import MAX_SECRET_BYTES, MAX_SECRETS, check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Source: TypeAlias = tuple[str, str, str]
    """The name of a secret, `file` or `env`, and the path or the variable."""

_KINDS = ("file", "env")


def source(text: str) -> Source:
    """Read where a secret is; an error never shows more than its name, since the rest may be the secret.

    >>> source("TOKEN=env:API_TOKEN")
    ('TOKEN', 'env', 'API_TOKEN')
    """
    name, sign, rest = text.partition("=")
    try:
        check_name(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}: write it as NAME=file:PATH or NAME=env:VARIABLE") from None
    if not sign:
        raise argparse.ArgumentTypeError(
            "that is not where a secret is: write it as NAME=file:PATH or NAME=env:VARIABLE"
        )
    kind, colon, where = rest.partition(":")
    if not colon or kind not in _KINDS:
        raise argparse.ArgumentTypeError(
            f"{name}=... is not where a secret is, and a secret itself is never given as a word, which everybody on"
            " this machine can read: write it as NAME=file:PATH or NAME=env:VARIABLE"
        )
    if not where:
        what = "file" if kind == "file" else "variable"
        raise argparse.ArgumentTypeError(
            f"{name}={kind}: names no {what}: write it as NAME=file:PATH or NAME=env:VARIABLE"
        )
    return name, kind, where


def read(sources: Sequence[Source]) -> dict[str, bytes]:
    """Give the secrets, and take variables that held them out of this process's environment.

    Raises:
        WrongOptionError: one cannot be read, or there can be none like it.

    """
    found: dict[str, bytes] = {}
    if len(sources) > MAX_SECRETS:
        raise options.WrongOptionError(f"--secret is given {len(sources)} times: give a command at most {MAX_SECRETS}")
    for name, kind, where in sources:
        if name in found:
            raise options.WrongOptionError(f"--secret {name} is given twice: give each secret a name of its own")
        there = f"the file {quoted(where)}" if kind == "file" else f"the variable {where}"
        found[name] = value = _of_file(name, where, there) if kind == "file" else _of_variable(name, where, there)
        if not value:
            raise options.WrongOptionError(
                f"--secret {name}: {there} is empty: give the secret itself, or leave --secret out"
            )
        if len(value) > MAX_SECRET_BYTES:
            raise options.WrongOptionError(
                f"--secret {name}: {there} has more than {MAX_SECRET_BYTES} bytes: give a key to the rest"
            )
    for variable in variables(sources):
        os.environ.pop(variable, None)
    return found


def _of_file(name: str, path: str, there: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs a client 5 ms
            return file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise options.WrongOptionError(
            f"--secret {name}: {there} cannot be read: {error.strerror}: name a file that you can read"
        ) from None


def _of_variable(name: str, variable: str, there: str) -> bytes:
    value = os.environb.get(os.fsencode(variable))
    if value is None:
        raise options.WrongOptionError(
            f"--secret {name}: {there} is not set here: export {variable}, or give --secret {name}=file:PATH"
        )
    return value


def variables(sources: Sequence[Source]) -> frozenset[str]:
    """Give the variables that are read as secrets, and so are no part of a command's environment."""
    return frozenset(where for _, kind, where in sources if kind == "env")
