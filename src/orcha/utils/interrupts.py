"""SIGINT in a process that an action has started: it ends as Ctrl+C ends any, without a traceback."""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn


class Interrupted(KeyboardInterrupt, SystemExit):
    """What SIGINT raises there: KeyboardInterrupt for code that waits for it, SystemExit for what ends the process.

    A cancel begins with SIGINT. `multiprocessing` prints a traceback for every exception that leaves a child but
    SystemExit, so that each cancel would leave one on the service's terminal. The exit code stays what it is there, 1.
    """

    def __init__(self) -> None:
        """Make it."""
        super().__init__()
        self.code = 1


def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Raise it; a handler of SIGINT."""
    raise Interrupted


def interrupt_quietly() -> None:
    """Have SIGINT do so in this process, where it does what Python has made of it and this is the main thread."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    try:
        signal.signal(signal.SIGINT, interrupt)
    except ValueError:
        return  # another thread: nobody else can be told


__all__ = ["Interrupted", "interrupt", "interrupt_quietly"]
