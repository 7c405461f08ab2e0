r"""Output of other users on a terminal: nothing in it moves the cursor but lines and tabs, and no answer is asked for.

>>> harmless = Harmless()
>>> harmless.text(1, b"\x1b[2Jok\r\ncaf\xc3"), harmless.text(1, b"\xa9 50%\r100%\n"), harmless.end(1)
(b'\\x1b[2Jok\ncaf', b'\xc3\xa9 50%\n100%\n', b'')
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from codecs import IncrementalDecoder

_RETURNS = re.compile(r"\r+\n?")


class Harmless:
    """Goes through the output of one petition."""

    def __init__(self) -> None:
        """Have seen nothing."""
        self._decoders: dict[int, IncrementalDecoder] = {}
        self._begun: dict[int, str] = {}

    def text(self, stream: int, data: bytes, *, final: bool = False) -> bytes:
        """Give bytes with an escape in the place of each control character; a return is the end of a line.

        What ends in a part of a character, or in a return, which may be half of the end of a line, comes next time.
        """
        decoder = self._decoders.get(stream)
        if decoder is None:
            decoder = self._decoders[stream] = getincrementaldecoder("utf-8")("backslashreplace")
        text = self._begun.pop(stream, "") + decoder.decode(data, final)
        if text.endswith("\r") and not final:
            text, self._begun[stream] = text.rstrip("\r"), "\r"
        return "".join(map(_shown, _RETURNS.sub("\n", text))).encode("utf-8", "backslashreplace")

    def end(self, stream: int) -> bytes:
        """Give what was begun."""
        return self.text(stream, b"", final=True)


def _shown(character: str) -> str:
    return character if character.isprintable() or character in "\n\t" else ascii(character)[1:-1]


__all__ = ["Harmless"]
