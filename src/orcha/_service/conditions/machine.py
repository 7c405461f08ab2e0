"""The state of the machine now: each name of a condition that has to be looked up, and how."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import psutil

from orcha._core.conditions.kinds import Unknown, checked
from orcha._service.reports.explanations import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.conditions.kinds import Value
    from orcha._core.conditions.terms import Reading, Vocabulary

_MINUTES = (1, 5, 15)


def _load(minutes: int) -> float:
    return round(os.getloadavg()[_MINUTES.index(minutes)], 2)


def _memory(field: str) -> Callable[[], int]:
    return lambda: getattr(psutil.virtual_memory(), field)


def _swap(field: str) -> Callable[[], int]:
    return lambda: getattr(psutil.swap_memory(), field)


def _disk_free(path: str) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _exists(path: str) -> bool:
    try:
        os.stat(path)  # noqa: PTH116 - what cannot be looked at is not taken for absent, as Path.exists does
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _age(path: str) -> float:
    return time.time() - os.stat(path).st_mtime  # noqa: PTH116 - as above


FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "load": _load,
    "cpus": lambda: os.cpu_count() or 1,
    "memory.free": _memory("free"),
    "memory.available": _memory("available"),
    "memory.total": _memory("total"),
    "swap.used": _swap("used"),
    "swap.free": _swap("free"),
    "users": lambda: len({user.name for user in psutil.users()}),
    "disk.free": _disk_free,
    "exists": _exists,
    "age": _age,
}
"""The look of each built-in name."""


def look(reading: Reading, vocabulary: Vocabulary, functions: Mapping[str, Callable[..., object]]) -> Value | Unknown:
    """Look one value up; an error is given in its place."""
    try:
        return checked(vocabulary[reading.name].kind, functions[reading.name](*reading.arguments))
    except OSError as error:
        return Unknown((error.strerror or type(error).__name__).lower())
    except BaseException as error:  # noqa: BLE001 - a plugin's function may raise anything
        return Unknown(describe(error))


__all__ = ["FUNCTIONS", "look"]
