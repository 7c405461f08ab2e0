"""Runs a command of Orcha in this process: it asks, says and ends as ever, and no process begins for it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

import pytest

from orcha import properties
from orcha.bin import main

_READ_BY_LIBRARIES = ("TZ", "LANG", "LC_ALL", "LC_CTYPE")
"""Variables that the C library of this process has read already."""


def can_run(environment: Mapping[str, str]) -> bool:
    """Tell whether a command with this environment would see the same in this process, and disturb no other thread."""
    is_alone = threading.current_thread() is threading.main_thread()
    return is_alone and all(environment.get(name) == os.environ.get(name) for name in _READ_BY_LIBRARIES)


def run(words: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ``orcha WORD...`` to its end; what it writes to standard output and standard error is taken.

    For a command that prints and ends: it has no standard input, and descriptors 1 and 2 are this process's own.

    Args:
        words: what stands after ``orcha``.
        environment: all variables that the command sees.

    Returns:
        What `subprocess.run` gives for the command with ``text=True``.

    """
    out, err = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)
        for errors in ("strict", "backslashreplace")
    )
    with pytest.MonkeyPatch.context() as patch, open(os.devnull, encoding="utf-8") as nothing:  # noqa: PTH123
        for name in [name for name in os.environ if name not in environment]:
            patch.delenv(name)
        for name, value in environment.items():
            if os.environ.get(name) != value:
                patch.setenv(name, value)
        for name in properties.__all__:
            patch.setattr(properties, name, getattr(properties, name))
        patch.setattr(properties, "extras", dict(properties.extras))
        patch.setattr(sys, "argv", ["orcha", *words])
        for name, stream in (("stdin", nothing), ("stdout", out), ("stderr", err)):
            patch.setattr(sys, name, stream)
        try:
            code = main.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    said, told = (stream.buffer.getvalue().decode() for stream in (out, err))
    return subprocess.CompletedProcess(["orcha", *words], code, said, told)
