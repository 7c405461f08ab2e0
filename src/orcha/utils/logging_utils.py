"""The log that Orcha and its plugins share. It goes to stderr: stdout belongs to what a command prints."""

from __future__ import annotations

import logging
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

LOG_DEFAULT_FORMAT = "%(levelname)s: %(message)s"
"""How a line of the log looks."""

LOGGER_NAME = "orcha-logger"
"""Name of the logger, for :func:`logging.getLogger`."""


class _StandardError(logging.StreamHandler["TextIO"]):
    """Writes to whatever `sys.stderr` is at that moment; nowhere in a process without one."""

    def __init__(self) -> None:
        """Hold no stream."""
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The present standard error."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, where there is somewhere to write it."""
        event = getattr(sys.stderr, "event", None)  # where the log is one for programs: event_log.py
        if event is not None:
            try:
                event(record)
            except Exception:  # noqa: BLE001 - as logging.Handler.emit has it
                self.handleError(record)
        elif sys.stderr is not None:
            super().emit(record)


def get_logger() -> logging.Logger:
    """Give the logger named `LOGGER_NAME`.

    The first call gives it a handler that writes to stderr, unless the program has configured logging by then, and the
    level named by the environment variable ``LOG_LEVEL`` (a name such as ``DEBUG``, or a number), INFO by default.

    Example::

        log = get_logger()
        log.info("rig %d is free", 3)
    """
    log = logging.getLogger(LOGGER_NAME)
    if log.hasHandlers():
        return log
    handler = _StandardError()
    handler.setFormatter(logging.Formatter(LOG_DEFAULT_FORMAT))
    log.addHandler(handler)
    wanted = os.environ.get("LOG_LEVEL") or "INFO"
    try:
        log.setLevel(int(wanted) if wanted.isdecimal() else wanted.upper())
    except (ValueError, OverflowError):
        log.setLevel(logging.INFO)
        log.warning("LOG_LEVEL=%s names no level: INFO is used", wanted)
    return log


__all__ = ["LOGGER_NAME", "LOG_DEFAULT_FORMAT", "get_logger"]
