"""Scripts that ``orcha run`` runs: options in their first lines, and scripts that come on standard input."""

from __future__ import annotations

import argparse
import os

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

FROM_STANDARD_INPUT = "-"
"""The command's name where the script is what standard input holds."""
MARK = "#ORCHA"
"""The beginning of a line with options of the script."""
_MAX_HEAD_BYTES = 64 << 10
"""The first bytes of a script in which options are looked for."""
_MAX_SCRIPT_BYTES = 120 << 10
"""Linux gives a program an argument of 128 KiB at most (MAX_ARG_STRLEN of execve(2))."""
_EXCLUSIVE = {"at": "delay", "delay": "at"}
"""Options that exclude each other."""
_INTERPRETERS = ("sh", "bash", "dash", "ksh", "zsh", "python")
"""Programs that run the text after ``-c``; a version may follow the name."""


class _OptionsParser(argparse.ArgumentParser):
    """Reads the options of a script; raises where `ArgumentParser` ends the program."""

    def error(self, message: str) -> None:  # type: ignore[override]  # it does not return either
        """Raise what is wrong."""
        raise options.WrongOptionError(message)

    def exit(self, status: int = 0, message: str | None = None) -> None:  # type: ignore[override]
        """Raise: a script cannot ask for help."""
        del status, message
        raise options.WrongOptionError("help is shown on a command line only: remove it from the script")


def prepare(
    namespace: argparse.Namespace,
    command: list[str],
    create_parser: Callable[[argparse.ArgumentParser], None],
    folder: Callable[[str | None], str],
) -> list[str]:
    """Give the command; where its program is a script, with the options of the script's first lines in `namespace`.

    Args:
        namespace: the options of the command line.
        command: the program and its arguments.
        create_parser: adds the options of ``orcha run`` to a parser.
        folder: gives the absolute path of the folder to run in, by the option.

    Raises:
        WrongOptionError: the script cannot be run, or an option in its lines is wrong.

    """
    if command[0] == FROM_STANDARD_INPUT:
        if namespace.stdin or namespace.tty:
            raise options.WrongOptionError(
                "standard input is the script, and cannot be the command's input too: run the script from a file"
            )
        text = from_standard_input()
        add_options(namespace, text, create_parser)
        return command_of(text, command[1:])
    here = folder(namespace.cwd)
    add_options(namespace, first_lines(command[0], here), create_parser)
    if folder(namespace.cwd) == here:
        return command
    return [os.path.join(here, command[0]), *command[1:]]  # noqa: PTH118 - the bytes stay


def first_lines(program: str, folder: str) -> bytes:
    """Give the first bytes of a script by its path; none of any other program."""
    try:
        with open(os.path.join(folder, program), "rb", buffering=0) as file:  # noqa: PTH118, PTH123 - 5 ms of a client
            head = file.read(_MAX_HEAD_BYTES) if file.seekable() else b""
    except (OSError, ValueError):
        return b""
    return head if head.startswith(b"#!") else b""


def option_lines(text: bytes) -> Iterator[tuple[int, list[str]]]:
    r"""Give the numbers and words of the lines with options, which stand before the first line of the script's code.

    >>> list(option_lines(b"#!/bin/sh\n# a comment\n#ORCHA --need gpu=1\n\necho\n#ORCHA --name late\n"))
    [(3, ['--need', 'gpu=1'])]

    Raises:
        WrongOptionError: a quote of a line is not closed.

    """
    if MARK.encode() not in text:
        return
    import shlex

    for number, raw in enumerate(text.splitlines(), 1):
        line = os.fsdecode(raw).strip()
        if line and not line.startswith("#"):
            return
        if line.split(maxsplit=1)[:1] == [MARK]:
            try:
                yield number, shlex.split(line[len(MARK) :], comments=True)
            except ValueError as error:
                raise options.WrongOptionError(
                    f"line {number} of the script: {error}: write it as words for a shell"
                ) from None


def add_options(
    namespace: argparse.Namespace, text: bytes, create_parser: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Take the options of a script where the command line does not give them.

    Raises:
        WrongOptionError: a line of the script is wrong.

    """
    parser: argparse.ArgumentParser | None = None
    given = None
    for number, words in option_lines(text):
        if parser is None:
            parser = _OptionsParser(add_help=False)
            create_parser(parser)
        try:
            given = parser.parse_args(words, given)
            _refuse_command(given.command)
        except options.WrongOptionError as error:
            raise options.WrongOptionError(f"line {number} of the script, {MARK}: {error}") from None
    if given is not None:
        _merge(namespace, given)


def _refuse_command(words: list[str]) -> None:
    if words:
        raise options.WrongOptionError(f"{words[0]!a} is no option: give options only, since the script is the command")


def _merge(namespace: argparse.Namespace, script: argparse.Namespace) -> None:
    """Set the options of a script beside the options of the command line, which count where both give one."""
    ours: dict[str, Any] = dict(vars(namespace).items())
    for name, value in vars(script).items():
        if name == "need":
            named = {resource for resource, *_ in ours[name] or ()}
            namespace.need = [need for need in value or () if need[0] not in named] + (ours[name] or [])
        elif name == "env":
            namespace.env = [*value, *ours[name]]  # the last of a name counts
        elif not _is_given(ours[name]) and not _is_given(ours.get(_EXCLUSIVE.get(name, ""))):
            setattr(namespace, name, value)


def _is_given(value: object) -> bool:
    """Tell whether an option has been given: 0 may have been."""
    return value is not None and value is not False and value != []


def from_standard_input() -> bytes:
    """Read a script to its end.

    Raises:
        WrongOptionError: the script is empty, or longer than an argument may be.

    """
    parts, size = [], 0
    while size <= _MAX_SCRIPT_BYTES and (part := os.read(0, 1 << 16)):
        parts.append(part)
        size += len(part)
    text = b"".join(parts)
    if size > _MAX_SCRIPT_BYTES:
        raise options.WrongOptionError(
            f"a script from standard input has at most {_MAX_SCRIPT_BYTES} bytes: keep it in a file, and run that"
        )
    if not text.strip():
        raise options.WrongOptionError("standard input holds no script: orcha run - reads one from there")
    if b"\0" in text:
        raise options.WrongOptionError(
            "what standard input holds is no script, as it has a NUL byte: run it from a file"
        )
    return text


def command_of(text: bytes, arguments: list[str]) -> list[str]:
    r"""Give the command that runs a script's text: the program of its first line, else a shell.

    >>> command_of(b"#!/bin/bash -e\nmake", ["all"])
    ['/bin/bash', '-e', '-c', '#!/bin/bash -e\nmake', '-', 'all']
    >>> command_of(b"#!/usr/bin/env python3\nprint()", [])
    ['/usr/bin/env', 'python3', '-c', '#!/usr/bin/env python3\nprint()']

    Raises:
        WrongOptionError: the interpreter cannot run a text.

    """
    first = os.fsdecode(text.partition(b"\n")[0])
    words = first[2:].split(maxsplit=1) if first.startswith("#!") else ["/bin/sh"]
    interpreter = [*words[:1], *(words[1].split() if words[1:] else [])]
    names = [word.rpartition("/")[2].rstrip("0123456789.") for word in interpreter if not word.startswith("-")]
    name = next((name for name in names if name != "env"), "")
    if name not in _INTERPRETERS:
        raise options.WrongOptionError(
            f"{name!a} runs no script from standard input, as {', '.join(_INTERPRETERS)} do: run it from a file"
        )
    own_name = [] if name == "python" else [FROM_STANDARD_INPUT]  # a shell's $0
    return [*interpreter, "-c", os.fsdecode(text), *own_name, *arguments]


__all__ = ["add_options", "command_of", "first_lines", "from_standard_input", "option_lines", "prepare"]
