"""Type-ahead: what is typed while a command runs that takes no input belongs to the shell afterwards.

The keys that leave the command running have to be seen, and a terminal's input cannot be looked at without taking it.
Where the system lets a process put input back (TIOCSTI of ioctl_tty(2)) it is read, and put back at the end. Many
systems do not, since Linux 6.2: there the terminal itself looks out for the keys, one at a time, as the character that
makes it send SIGQUIT, and nothing is read.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_TYPE_AHEAD_BYTES = 4_095
"""Bytes of input that a terminal keeps; it drops further bytes."""
_FLOW_CONTROL_KEYS = b"\x11\x13"
"""Ctrl+Q and Ctrl+S: keys here perhaps, but given back they would stop the terminal."""
_KEY_SEQUENCE_SECONDS = 2.0
"""Seconds within which the next key follows."""


def can_give_back(descriptor: int) -> bool:
    """Tell whether input can be put back; the trial names no valid address, and so puts nothing back."""
    import errno
    import fcntl
    import termios

    try:
        fcntl.ioctl(descriptor, termios.TIOCSTI, 0)
    except OSError as error:
        return error.errno == errno.EFAULT
    return False


def give_back(descriptor: int, data: bytes) -> None:
    """Put input back, as if it were typed now."""
    import fcntl
    import termios

    try:
        for byte in data.translate(None, _FLOW_CONTROL_KEYS):
            fcntl.ioctl(descriptor, termios.TIOCSTI, bytes([byte]))
    except OSError:
        return  # it is gone


def is_alone() -> bool:
    """Tell whether a signal from the terminal meets this process only, as where a shell has started it by itself.

    A script, or make(1), shares its process group with what it runs.
    """
    return os.getpgrp() == os.getpid()


class KeySignals:
    r"""Follows the keys of a sequence; each key, when it is typed, comes as a signal.

    Only the next key of the sequence sends a signal, so that all other keys stay in the terminal. Where that key does
    not follow soon, the first key is waited for again.

    Example::

        signals = KeySignals(b"\x1dd", terminal.quit_with, alarm)
        signals.begin()
        signals.typed()   # Ctrl+]: False; from now on d is waited for

    """

    def __init__(self, keys: bytes, wait_for: Callable[[int], object], alarm: Callable[[float], object]) -> None:
        """Take the sequence; `wait_for` has the terminal tell of a key, `alarm` calls `begin` after some seconds."""
        self._keys = keys
        self._wait_for = wait_for
        self._alarm = alarm
        self._seen = 0

    def begin(self) -> None:
        """Wait for the first key."""
        self._seen = 0
        self._wait_for(self._keys[0])

    def typed(self) -> bool:
        """Note that the key that is waited for was typed; tell whether that was the last one."""
        self._seen += 1
        if self._seen == len(self._keys):
            self._alarm(0)
            return True
        self._wait_for(self._keys[self._seen])
        self._alarm(_KEY_SEQUENCE_SECONDS)
        return False
