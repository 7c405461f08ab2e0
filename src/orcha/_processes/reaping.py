"""Notes what a process died of, wherever Python code reaps one: afterwards nobody can ask the system any more."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
from multiprocessing import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_BY_SIGTERM = frozenset({-signal.SIGTERM, 128 + signal.SIGTERM})
"""The codes of a process that SIGTERM has ended, and of a shell whose last command SIGTERM has ended."""


def noting(note: Callable[[], None]) -> Iterator[tuple[object, str, Callable[..., Any]]]:
    """Give, for each function of Python's that reaps a process, where it stands and what is to stand there instead.

    The replacement calls `note` on the same thread when the process was ended by SIGTERM.
    """
    places: list[tuple[object, str, Callable[[tuple[Any, ...], Any], int | None]]] = [
        *((os, name, _code_of_status) for name in ("wait", "wait3", "wait4", "waitpid")),
        (subprocess.Popen, "_handle_exitstatus", _returncode),  # its `poll` has kept the functions above for itself
        (process.BaseProcess, "join", _exitcode),  # a fork server reaps what it has forked
    ]
    for owner, name, code_of in places:
        if hasattr(owner, name):
            yield owner, name, _replacement(getattr(owner, name), code_of, note)


def _replacement(
    original: Callable[..., Any], code_of: Callable[[tuple[Any, ...], Any], int | None], note: Callable[[], None]
) -> Callable[..., Any]:
    @functools.wraps(original)
    def reap(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if code_of(args, result) in _BY_SIGTERM:
            note()
        return result

    return reap


def _code_of_status(_: tuple[Any, ...], result: Any) -> int | None:
    status = result[1]
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) or os.WIFSIGNALED(status) else None


def _returncode(args: tuple[Any, ...], _: Any) -> int | None:
    code: int | None = args[0].returncode
    return code


def _exitcode(args: tuple[Any, ...], _: Any) -> int | None:
    code: int | None = args[0].exitcode
    return code


__all__ = ["noting"]
