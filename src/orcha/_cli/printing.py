"""How output is shown: as it is, line by line after the petitions' ids, or for programs."""

from __future__ import annotations

import os
from codecs import utf_8_decode

from orcha._cli import render, streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from orcha._cli.harmless import Harmless
    from orcha._cli.output import ShownOutput

_MAX_CUT_CHARACTER_BYTES = 3
"""Bytes of a character in UTF-8 that may be there while one is missing."""
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class Printer:
    """Shows bytes as they are, each on the stream it was written to."""

    def __init__(self, stream: int | None, *, raw: bool = True) -> None:
        """Show one stream, on standard output, or both; `raw` what a terminal obeys as well, whosever it is."""
        self.stream = stream
        self._streams = streams.Streams()
        self.may_be_careful = not raw and self._streams.has_terminal
        """Whether it matters that a petition is another user's."""

    def be_careful(self, identity: str) -> None:
        """Show escapes on a terminal in the place of control characters: the petition is another user's."""
        del identity
        self._streams.be_careful()

    def show(self, identity: str, piece: ShownOutput) -> None:
        """Show what one wrote."""
        del identity
        if piece.stream == 0:
            self._streams.tell(piece.data.decode("utf-8", "replace"))
        else:
            self._streams.write(1 if self.stream else piece.stream, piece.data)

    def end(self, identity: str) -> None:
        """Note that no more output of a petition comes."""


class Prefixing(Printer):
    """Shows whole lines on standard output, each after the id of the petition that wrote it."""

    def __init__(self, stream: int | None, identities: Sequence[str], *, raw: bool = True) -> None:
        """Give each id its colour, on a terminal."""
        super().__init__(stream, raw=raw)
        self.may_be_careful = self.may_be_careful and render.is_terminal()
        self._careful: dict[str, Harmless] = {}
        width = max(len(render.plain(identity)) for identity in identities)
        colourful = render.is_terminal() and render.takes_escapes() and not os.environ.get("NO_COLOR")
        self._begun: dict[tuple[str, int], bytes] = {}
        self._width, self._colourful = width, colourful
        self._prefixes: dict[str, bytes] = {}
        self._known = 0

    def be_careful(self, identity: str) -> None:
        """Note that a petition is another user's."""
        from orcha._cli.harmless import Harmless

        self._careful.setdefault(identity, Harmless())

    def _prefix(self, identity: str) -> bytes:
        """Give what stands before the lines of a petition, in a colour of its own."""
        prefix = self._prefixes.get(identity)
        if prefix is None:
            text = f"{render.plain(identity):<{self._width}} |"
            text = f"\x1b[{_COLOURS[self._known % len(_COLOURS)]}m{text}\x1b[0m" if self._colourful else text
            prefix = self._prefixes[identity] = f"{text} ".encode("utf-8", "backslashreplace")
            self._known += 1
        return prefix

    def show(self, identity: str, piece: ShownOutput) -> None:
        """Show the lines that are whole now."""
        if piece.stream == 0:
            line = f"orcha: {render.plain(piece.data.decode('utf-8', 'replace').strip().removeprefix('orcha: '))}\n"
            streams.write_all(1, self._prefix(identity) + line.encode("utf-8", "backslashreplace"))
            return
        key = identity, piece.stream
        careful = self._careful.get(identity)
        data = piece.data if careful is None else careful.text(piece.stream, piece.data)
        *whole, rest = (self._begun.pop(key, b"") + data).split(b"\n")
        if rest:
            self._begun[key] = rest
        if whole:
            prefix = self._prefix(identity)
            streams.write_all(1, b"".join(prefix + line + b"\n" for line in whole))

    def end(self, identity: str) -> None:
        """Show what was begun."""
        for key in [key for key in self._begun if key[0] == identity]:
            streams.write_all(1, self._prefix(identity) + self._begun.pop(key) + b"\n")
        self._prefixes.pop(identity, None)


class ForPrograms(Printer):
    """Shows a JSON object for each piece; a character that is cut between two pieces comes with the second."""

    def __init__(self, stream: int | None) -> None:
        """Show one stream, or both."""
        super().__init__(stream)
        self._begun: dict[tuple[str, int], bytes] = {}

    def show(self, identity: str, piece: ShownOutput) -> None:
        """Show what one wrote."""
        if piece.stream == 0:
            self.end(identity)  # another attempt may come after this line
        key = identity, piece.stream
        parts, rest = as_text(self._begun.pop(key, b""), piece.data)
        if rest:
            self._begun[key] = rest
        for part in parts:
            _print(identity, piece.stream, part)

    def end(self, identity: str) -> None:
        """Show what was begun."""
        for key in [key for key in self._begun if key[0] == identity]:
            _print(*key, self._begun.pop(key))


def as_text(begun: bytes, data: bytes) -> tuple[list[str | bytes], bytes]:
    r"""Give text and bytes that are no text, as they follow a begun character; and the character begun at the end.

    >>> as_text(b"\xe6", b"\xbc\xa2 and\xe5\xad")
    (['漢 and'], b'\xe5\xad')
    >>> as_text(b"\xe6", b"x"), as_text(b"", b"\xadx"), as_text(b"", b"x\xadx\xe6")
    (([b'\xe6', 'x'], b''), ([b'\xad', 'x'], b''), ([b'x\xadx'], b'\xe6'))
    """
    whole = begun + data
    rest = _unfinished(whole)
    middle = whole[: len(whole) - len(rest)]
    try:
        text = middle.decode()
    except UnicodeDecodeError:
        first = len(begun) if begun and len(begun) <= len(middle) else _continuing(middle)
        try:
            return [middle[:first], *filter(None, (middle[first:].decode(),))], rest
        except UnicodeDecodeError:
            return [middle], rest
    return ([text] if text else []), rest


def _unfinished(data: bytes) -> bytes:
    """Give the last bytes, where they begin a character in UTF-8 without ending it."""
    for length in range(1, min(_MAX_CUT_CHARACTER_BYTES, len(data)) + 1):
        last = data[-length:]
        try:
            _, used = utf_8_decode(last, "strict", False)
        except UnicodeDecodeError:
            continue  # it begins within a character
        return last if not used else b""
    return b""


def _continuing(data: bytes) -> int:
    """Count the first bytes that can only continue a character whose beginning is not there."""
    return next((place for place, byte in enumerate(data[:_MAX_CUT_CHARACTER_BYTES]) if byte & 0xC0 != 0x80), 0)


def _print(identity: str, stream: int, part: str | bytes) -> None:
    from json import dumps

    name = ("service", "out", "err")[stream] if stream in {0, 1, 2} else str(stream)
    made = {"id": identity, "stream": name}
    if isinstance(part, str):
        made["text"] = part
    else:
        from base64 import b64encode

        made["base64"] = b64encode(part).decode()
    streams.write_all(1, dumps(made).encode() + b"\n")


def printer(identities: Sequence[str], stream: str | None, *, as_json: bool, raw: bool) -> Printer:
    """Give the printer for this way to show output."""
    number = {"out": 1, "err": 2, None: None}[stream]
    if as_json:
        return ForPrograms(number)
    return Prefixing(number, identities, raw=raw) if len(identities) > 1 else Printer(number, raw=raw)
