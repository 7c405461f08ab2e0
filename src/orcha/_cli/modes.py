"""The modes that a command's output has switched on in a terminal, and the bytes that switch exactly these off again.

A terminal takes its modes from the bytes that are written to it (ECMA-48, and xterm's control sequences): a command
that is left, or ended from elsewhere, cannot switch off what it had switched on. No I/O: bytes go in, bytes come out.
"""

from __future__ import annotations

import re

_ON_AT_FIRST = frozenset((7, 8, 25))
"""Modes that a terminal starts with: it wraps lines, repeats keys, and shows its cursor."""
_SCREENS = frozenset((47, 1047, 1049))
"""Modes that show the alternate screen."""
_NO_MODES = frozenset((1048,))
"""Numbers that save and restore the cursor's place; they switch nothing on."""
_MAX_MODES = 64
"""Modes that are remembered; terminals have fewer."""
_MAX_SEQUENCE_BYTES = 256
"""Bytes of a sequence that is not over yet; none is longer but texts, which are not kept."""

_SEQUENCE = re.compile(
    rb"\x1b(?:\[([<-?]?)([0-9;:]*)([ -/]*)([@-~])"  # CSI: a prefix, numbers, intermediates, what it is
    rb"|([]PX^_k])"  # the beginning of a text: OSC, DCS, SOS, PM, APC, and screen's title
    rb"|([ -/]+)([0-~])"  # as for character sets
    rb"|([0-Z\\`-jl-~]))"
)
_BEGUN = re.compile(rb"\x1b(?:\[[<-?]?[0-9;:]*[ -/]*|[ -/]+)?\Z")
_TEXT_ENDS = re.compile(rb"[\x07\x18\x1a]|\x1b(?:\\|(?=[^\\]))")
_CANCEL = b"\x18"
"""What ends a sequence before its end."""


class Modes:
    r"""The modes that are on in a terminal.

    >>> modes = Modes()
    >>> modes.feed(b"\x1b[?1049h\x1b[?25l\x1b[?20"), modes.feed(b"04h text \x1b[31m")
    (None, None)
    >>> modes.off()
    b'\x1b[?2004l\x1b[?25h\x1b[m\x1b[?1049l'
    >>> modes.feed(b"\x1b[m\x1b[?2004l\x1b[?25h\x1b[?1049l"), modes.off()
    (None, b'')
    """

    def __init__(self) -> None:
        """Begin with the modes of a new terminal."""
        self._held = b""
        """The beginning of a sequence."""
        self._in_text = False
        self._controls = {
            b"?h": lambda numbers: self._switch(numbers, on=True),
            b"?l": lambda numbers: self._switch(numbers, on=False),
            b"h": lambda numbers: self._insert(numbers, on=True),
            b"l": lambda numbers: self._insert(numbers, on=False),
            b"m": self._colour,
            b"r": self._margin,
            b"t": self._title,
            b" q": self._shape,
            b"!p": self._soft_reset,
            b">m": self._modify_keys,
            b">u": self._push,
            b"<u": self._pop,
        }
        self._reset()

    def _reset(self) -> None:
        self._on: dict[int, None] = {}
        self._off: dict[int, None] = {}
        self._screen: int | None = None
        self._keypad = self._inserts = self._coloured = self._shifted = self._margins = self._keys = False
        self._sets: dict[bytes, bytes] = {}
        self._cursor = b""
        self._flags: dict[bool, list[bytes]] = {False: [], True: []}
        """The modes of the keyboard that were pushed, on the main screen and on the alternate screen."""
        self._titles = 0

    # --- in -------------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take bytes that are written to the terminal."""
        if not (self._held or self._in_text or b"\x1b" in data or b"\x0e" in data or b"\x0f" in data):
            return
        data, self._held = self._held + data, b""
        place = 0
        while place < len(data):
            place = self._skip_text(data, place) if self._in_text else self._take(data, place)

    def _skip_text(self, data: bytes, place: int) -> int:
        found = _TEXT_ENDS.search(data, place)
        if found is None:
            self._held = b"\x1b" if data.endswith(b"\x1b") else b""
            return len(data)
        self._in_text = False
        return found.end() if found[0] != b"\x1b" else found.start()

    def _take(self, data: bytes, place: int) -> int:
        """Take the bytes up to the end of the next sequence; give the position of that end."""
        start = data.find(b"\x1b", place)
        plain = data[place : start if start >= 0 else len(data)]
        if b"\x0e" in plain or b"\x0f" in plain:
            self._shifted = plain.rfind(b"\x0e") > plain.rfind(b"\x0f")
        if start < 0:
            return len(data)
        found = _SEQUENCE.match(data, start)
        if found is None:
            if len(data) - start <= _MAX_SEQUENCE_BYTES and _BEGUN.match(data, start):
                self._held = data[start:]
                return len(data)
            return start + 1
        prefix, numbers, between, last, text, of_set, which, alone = found.groups()
        if last is not None:
            self._control(prefix, numbers, between + last)
        elif text is not None:
            self._in_text = True
        elif of_set is not None:
            self._choose_set(of_set, which)
        else:
            self._alone(alone)
        return found.end()

    def _alone(self, byte: bytes) -> None:
        if byte in b"=>":
            self._keypad = byte == b"="
        elif byte == b"c":
            self._reset()

    def _choose_set(self, of_set: bytes, which: bytes) -> None:
        if of_set not in {b"(", b")"}:
            return
        self._sets.pop(of_set, None)
        if which != b"B":
            self._sets[of_set] = which

    def _control(self, prefix: bytes, numbers: bytes, what: bytes) -> None:
        control = self._controls.get(prefix + what)
        if control is not None:
            control(numbers)

    def _switch(self, numbers: bytes, *, on: bool) -> None:
        for number in _numbers(numbers):
            if number in _SCREENS:
                self._screen = number if on else None
                self._flags[True] = self._flags[True] if on else []
            elif number not in _NO_MODES:
                changed, usual = (self._off, True) if number in _ON_AT_FIRST else (self._on, False)
                changed.pop(number, None)
                if on != usual and len(changed) < _MAX_MODES:
                    changed[number] = None

    def _insert(self, numbers: bytes, *, on: bool) -> None:
        self._inserts = on if 4 in _numbers(numbers) else self._inserts

    def _colour(self, numbers: bytes) -> None:
        self._coloured = _colours(numbers, before=self._coloured)

    def _margin(self, numbers: bytes) -> None:
        self._margins = bool(numbers.strip(b";"))

    def _shape(self, numbers: bytes) -> None:
        self._cursor = numbers.lstrip(b"0")

    def _soft_reset(self, _: bytes) -> None:
        screen, titles = self._screen, self._titles
        self._reset()
        self._screen, self._titles = screen, titles

    def _modify_keys(self, numbers: bytes) -> None:
        self._keys = numbers not in {b"", b"4", b"4;0"}

    def _title(self, numbers: bytes) -> None:
        change = {22: 1, 23: -1}.get((_numbers(numbers) or [0])[0], 0)
        self._titles = max(0, min(self._titles + change, _MAX_MODES))

    def _push(self, numbers: bytes) -> None:
        flags = self._flags[self._screen is not None]
        if len(flags) < _MAX_MODES:
            flags.append(numbers)

    def _pop(self, numbers: bytes) -> None:
        flags = self._flags[self._screen is not None]
        count = (_numbers(numbers) or [1])[0] or 1
        del flags[max(0, len(flags) - count) :]

    # --- out ------------------------------------------------------------------------------------------------------

    def off(self) -> bytes:
        """Give the bytes that switch off all that is on; none where the terminal is unchanged."""
        parts = [_CANCEL] if self._held or self._in_text else []
        on_screen = self._screen is not None
        parts += [_popped(self._flags[True])] if on_screen else []
        parts += [b"\x1b[>4m"] if self._keys else []
        parts += [b"\x1b[?%dl" % number for number in self._on] + [b"\x1b[?%dh" % number for number in self._off]
        parts += [b"\x1b>"] if self._keypad else []
        parts += [b"\x1b[4l"] if self._inserts else []
        parts += [b"\x1b[r" if on_screen else b"\x1b7\x1b[r\x1b8"] if self._margins else []  # it moves the cursor
        parts += [b"\x1b" + of_set + b"B" for of_set in self._sets]
        parts += [b"\x0f"] if self._shifted else []
        parts += [b"\x1b[m"] if self._coloured else []
        parts += [b"\x1b[0 q"] if self._cursor else []
        parts += [b"\x1b[?%dl" % self._screen] if self._screen is not None else []
        parts += [_popped(self._flags[False])]
        parts += [b"\x1b[23;0t"] * self._titles
        return b"".join(parts)

    def on(self) -> bytes:
        """Give the bytes that switch on again what `off` has switched off."""
        parts = [b"\x1b[22;0t"] * self._titles
        parts += [b"\x1b[>%su" % flags for flags in self._flags[False]]
        parts += [b"\x1b[?%dh" % self._screen] if self._screen is not None else []
        parts += [b"\x1b[>%su" % flags for flags in self._flags[True]]
        parts += [b"\x1b[>4;2m"] if self._keys else []
        parts += [b"\x1b[?%dh" % number for number in self._on] + [b"\x1b[?%dl" % number for number in self._off]
        parts += [b"\x1b="] if self._keypad else []
        parts += [b"\x1b[4h"] if self._inserts else []
        parts += [b"\x1b" + of_set + which for of_set, which in self._sets.items()]
        parts += [b"\x0e"] if self._shifted else []
        parts += [b"\x1b[%s q" % self._cursor] if self._cursor else []
        return b"".join(parts)


def _popped(flags: list[bytes]) -> bytes:
    return b"\x1b[<%du" % len(flags) if flags else b""


def _numbers(text: bytes) -> list[int]:
    """Give a sequence's numbers; a sequence that no terminal has counts as none."""
    return [int(each) for each in text.split(b";") if each.isdigit() and len(each) < 6]


def _colours(text: bytes, *, before: bool) -> bool:
    """Tell whether colours or attributes are on after a sequence that chooses them."""
    numbers = iter(text.split(b";"))
    for number in numbers:
        before = number.strip(b"0") != b""
        if number in {b"38", b"48", b"58"}:
            for _ in range({b"5": 1, b"2": 3}.get(next(numbers, b""), 0)):
                next(numbers, None)
    return before
