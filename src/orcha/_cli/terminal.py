"""Standard input where it is a terminal: its mode is changed while that is needed, and always restored."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LOCAL_MODES_INDEX = 3
_CHARACTERS_INDEX = 6
_FLOW_CONTROL_KEYS = frozenset(b"\x11\x13")
"""Ctrl+Q and Ctrl+S, which otherwise let output go on and stop it."""
_EXTENDED_KEYS = frozenset(b"\x0f\x12\x16\x17")
"""Ctrl+O, R, V and W, which otherwise mean something to a terminal."""


class Terminal:
    """The terminal of a client that is attached.

    Keys: every key comes at once and is not shown; Ctrl+C and Ctrl+Z mean what they always mean. Raw: every key is only
    a byte, for the terminal at the other end. Signals: nothing is read, and one character at a time sends SIGQUIT.
    """

    def __init__(self, descriptor: int, *, raw: bool, keys: bytes = b"", signals: bool = False) -> None:
        """Take the keys that have to come through, whatever else they mean; `enter` changes the mode."""
        self._descriptor = descriptor
        self._raw = raw
        self._keys = keys
        self._signals = signals
        self._quits_with = keys[:1]
        self._before: list[Any] | None = None

    def is_ours(self) -> bool:
        """Whether this process is in the terminal's foreground, and may read it."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return False

    def enter(self) -> None:
        """Change the terminal's mode, where this process is in the foreground and has not changed it yet."""
        if self._before is not None or not self.is_ours():
            return
        import termios

        try:
            before = termios.tcgetattr(self._descriptor)
            self._before = before
            if self._signals:
                changed = _quitting(before, self._keys, self._quits_with)
            else:
                changed = _raw(before) if self._raw else _keys(before, self._keys)
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, changed)
        except termios.error:
            self._before = None

    def quit_with(self, key: int) -> None:
        """Have this key send SIGQUIT, from now on or from the next `enter` on."""
        self._quits_with = bytes([key])
        before = self._before
        if before is None or not self.is_ours():
            return
        import termios

        try:
            changed = _quitting(before, self._keys, self._quits_with)
            termios.tcsetattr(self._descriptor, termios.TCSANOW, changed)
        except termios.error:
            return  # it is gone

    def forget_input(self) -> None:
        """Drop what was typed and not read, as the terminal itself does at Ctrl+C."""
        if self._before is None or not self.is_ours():
            return
        import termios

        try:
            termios.tcflush(self._descriptor, termios.TCIFLUSH)
        except termios.error:
            return  # it is gone

    def leave(self) -> None:
        """Restore the terminal's mode, where it was changed and this process is in the foreground."""
        before, self._before = self._before, None
        if before is None or not self.is_ours():
            return
        import termios

        try:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)
        except termios.error:
            return  # it is gone

    def size(self) -> tuple[int, int]:
        """Give its rows and columns."""
        try:
            columns, rows = os.get_terminal_size(self._descriptor)
        except OSError:
            return 24, 80
        return rows or 24, columns or 80


def _keys(mode: list[Any], keys: bytes) -> list[Any]:
    """Give a mode in which every key comes at once and is not shown."""
    import termios

    changed = [*mode[:_CHARACTERS_INDEX], list(mode[_CHARACTERS_INDEX])]
    changed[_LOCAL_MODES_INDEX] &= ~(termios.ECHO | termios.ICANON)
    if _FLOW_CONTROL_KEYS.intersection(keys):
        changed[0] &= ~termios.IXON
    if _EXTENDED_KEYS.intersection(keys):
        changed[_LOCAL_MODES_INDEX] &= ~termios.IEXTEN
    _at_once(changed)
    return changed


def _quitting(mode: list[Any], keys: bytes, key: bytes) -> list[Any]:
    """Give a mode in which a key sends SIGQUIT; what was typed before stays."""
    import termios

    changed = [*mode[:_CHARACTERS_INDEX], list(mode[_CHARACTERS_INDEX])]
    changed[_CHARACTERS_INDEX][termios.VQUIT] = key
    changed[_LOCAL_MODES_INDEX] |= termios.NOFLSH | termios.ISIG
    if _FLOW_CONTROL_KEYS.intersection(keys):
        changed[0] &= ~termios.IXON
    return changed


def _raw(mode: list[Any]) -> list[Any]:
    """Give a mode in which every key is a byte and every byte is shown as it is (termios(3), cfmakeraw)."""
    import termios

    taken = termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
    taken |= termios.IGNCR | termios.ICRNL | termios.IXON
    seen = termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN
    changed = [*mode[:_CHARACTERS_INDEX], list(mode[_CHARACTERS_INDEX])]
    changed[0] &= ~taken
    changed[1] &= ~termios.OPOST
    changed[2] = changed[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    changed[_LOCAL_MODES_INDEX] &= ~seen
    _at_once(changed)
    return changed


def _at_once(mode: list[Any]) -> None:
    import termios

    mode[_CHARACTERS_INDEX][termios.VMIN] = 1
    mode[_CHARACTERS_INDEX][termios.VTIME] = 0
