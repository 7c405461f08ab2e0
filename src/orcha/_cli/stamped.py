"""A stream whose lines begin with the time, since people read the output of a daemon and its plugins later."""

from __future__ import annotations

import time  # noqa: TID251 - it is the time of a line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TextIO

STAMP_FORMAT = "%Y-%m-%d %H:%M:%S "


class Stamped:
    """Writes to another stream; everything that is not defined here is the other stream's."""

    def __init__(self, stream: TextIO) -> None:
        """Begin at the beginning of a line."""
        self._stream = stream
        self._is_new = True

    def write(self, text: str) -> int:
        """Write, with the time in front of each line that begins."""
        *whole, rest = text.split("\n")
        lines = [f"{line}\n" for line in whole] + [rest] * bool(rest)
        if lines:
            now = time.strftime(STAMP_FORMAT)
            stamped = now.join(["", *lines]) if self._is_new else now.join(lines)
            self._is_new = text.endswith("\n")
            self._stream.write(stamped)
            self._stream.flush()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all of them."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        """Give what the stream itself has."""
        return getattr(self._stream, name)
