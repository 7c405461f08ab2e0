"""What a program finds around it, where it is no new interpreter: arguments, environment, streams, modules."""

from __future__ import annotations

import ctypes
import io
import os
import sys
from typing import Any, TextIO


def take_environment(environment: dict[str, str]) -> None:
    """Have these variables and no others; what has the same value already is not written again."""
    for name in [name for name in os.environ if name not in environment]:
        del os.environ[name]
    for name, text in environment.items():
        if os.environ.get(name) != text:
            os.environ[name] = text


def make_stream(number: int, mode: str) -> TextIO | None:
    """Give a standard stream as the interpreter makes it at its start."""
    is_unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    try:
        binary: Any = open(number, f"{mode}b", 0 if is_unbuffered and mode == "w" else -1, closefd=False)  # noqa: SIM115
    except OSError:
        return None
    raw = getattr(binary, "raw", binary)
    raw.name = f"<{('stdin', 'stdout', 'stderr')[number]}>"
    old: TextIO = (sys.stdin, sys.stdout, sys.stderr)[number]
    text: Any = io.TextIOWrapper(
        binary,
        encoding=old.encoding,
        errors=old.errors,
        newline="\n",
        line_buffering=not is_unbuffered and (number == 2 or raw.isatty()),
        write_through=is_unbuffered,
    )
    text.mode = mode
    return text  # type: ignore[no-any-return]


def exchange(one: dict[Any, Any], other: dict[Any, Any]) -> None:
    """Give each of two dictionaries the entries of the other one, without a look at any entry.

    To remove 900 modules one by one writes to each module, and so copies 500 pages.
    """
    size = dict.__basicsize__ - object.__basicsize__
    bodies = [(ctypes.c_char * size).from_address(id(each) + object.__basicsize__) for each in (one, other)]
    first, second = (body.raw for body in bodies)
    bodies[0].raw, bodies[1].raw = second, first


class Shown:
    """What /proc shows as the arguments and the environment of this process, and where that lies in its memory."""

    def __init__(self) -> None:
        """Know nothing; `look` does."""
        self._parts: list[tuple[int, int]] = []

    def look(self) -> None:
        """Find the places, and empty them but for their beginnings, so that a program writes over little."""
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
        arguments_from, arguments_to, environment_from, environment_to = (int(field) for field in fields[45:49])
        for start, end in ((arguments_from, arguments_to), (environment_from, environment_to)):
            ctypes.memset(start, 0, end - start)
            self._parts.append((start, 0))

    def show(self, words: list[str], environment: dict[str, str]) -> None:
        """Have /proc show these instead of what it shows."""
        entries = [f"{name}={value}" for name, value in environment.items()]
        for number, texts in enumerate((words, entries)):
            start, size = self._parts[number]
            block = b"".join(os.fsencode(text) + b"\0" for text in texts)
            ctypes.memmove(start, block.ljust(size, b"\0"), max(size, len(block)))
            self._parts[number] = start, len(block)


shown = Shown()
