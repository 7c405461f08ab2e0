"""Helpers that plugins use: versions, commands, process trees, the log."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha.utils.cmd import kill_proc_tree, run_command
    from orcha.utils.logging_utils import LOGGER_NAME, get_logger
    from orcha.utils.packages import version

_HOMES = {
    "LOGGER_NAME": "logging_utils",
    "get_logger": "logging_utils",
    "kill_proc_tree": "cmd",
    "run_command": "cmd",
    "version": "packages",
}


def __getattr__(name: str) -> object:
    """Import the module a public name lives in."""
    home = _HOMES.get(name)
    if home is None:
        error = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(error)
    value: object = getattr(__import__(f"{__name__}.{home}", fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what can be imported from here."""
    return sorted({*globals(), *_HOMES})


__all__ = ["LOGGER_NAME", "get_logger", "kill_proc_tree", "run_command", "version"]
