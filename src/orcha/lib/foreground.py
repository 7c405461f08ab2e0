"""A command that a client runs itself, in the foreground of its terminal, while it waits for something else too."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

LOOK_SECONDS = 1.0
"""Seconds for which the client waits at most: a signal that comes just before a wait does not end that."""


class Foreground:
    """A command, its end, and the signals that are the command's and not the client's.

    Example::

        command = Foreground(["make"], os.environ)
        code = command.until_end(lambda seconds: ended.wait(seconds) or True)

    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            OSError: it cannot be executed.

        """
        self._process = subprocess.Popen(words, env=environment)
        self._waits = False

    def send(self, number: int) -> None:
        """Send it a signal, if it runs still."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def until_end(self, wait: Callable[[float], bool]) -> int:
        """Call `wait` with a number of seconds, again and again, until the command has ended; give its exit code.

        `wait` gives False where it has nothing to wait for any more, and is not called again.

        A wait is broken off when the command ends. The code is 128 + n after signal n, as shells have it. Ctrl+C on a
        terminal goes to the command alone; SIGTERM and SIGHUP to the client are passed on.
        """
        with self._signals():
            goes_on = True
            while goes_on and self._process.poll() is None:
                try:
                    self._waits = True
                    goes_on = wait(LOOK_SECONDS)
                except _ChildEnded:
                    pass
                finally:
                    self._waits = False
            code = self._process.wait()
        return code if code >= 0 else 128 - code

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def pass_on(number: int, _: FrameType | None) -> None:
            self.send(number)

        interrupted = signal.SIG_IGN if os.isatty(0) else pass_on
        chosen = {
            signal.SIGINT: interrupted,
            signal.SIGTERM: pass_on,
            signal.SIGHUP: pass_on,
            signal.SIGCHLD: self._child_ended,
        }
        before = {number: signal.signal(number, handler) for number, handler in chosen.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _child_ended(self, _: int, __: FrameType | None) -> None:
        if self._waits:
            self._waits = False
            raise _ChildEnded


class _ChildEnded(BaseException):
    """Breaks off a wait."""


__all__ = ["Foreground"]
