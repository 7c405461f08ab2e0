r"""What ``orcha relay`` says before it passes bytes on: one line about the login, behind whatever came before it.

The startup files of a login may write to standard output. So the line begins with a byte that no text holds, and a
client skips what comes before that byte. The line is JSON in ASCII::

    \0orcha-relay 1 {"user": "anna", "host": "box", ...}\n
"""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MARK = b"\0orcha-relay "
_VERSION = 1
MAX_NOISE_BYTES = 64 << 10
"""Bytes that may come before the line."""
_MAX_LINE_BYTES = 4 << 20
"""Of the line: Linux lets an environment have 2 MiB by default, and JSON writes some bytes with six."""


class GreetingError(Exception):
    """What came is no relay's line."""


@dataclass(frozen=True, kw_only=True)
class FarSide:
    """What a relay says about the login there, and about the service that the relay has found."""

    version: str = ""
    """The release of Orcha there."""
    user: str = ""
    host: str = ""
    """The host's own name."""
    home: str = "/"
    place: str = ""
    """The Unix socket of the service."""
    uid: int | None = None
    """Whose that service is."""
    folder: str = "/"
    """The folder that was asked for, where the login can enter it; else the login's home. Or that of an upload."""
    earlier: str = ""
    """The folder of the last upload before, where an upload by rsync is prepared."""
    has_rsync: bool = False
    """Whether the login finds rsync(1), where an upload is prepared."""
    umask: int = 0o022
    environment: dict[str, str] = field(default_factory=dict)
    """The variables of the login, where a folder was asked for."""
    error: str = ""
    """Why there is no service; empty where there is one."""
    code: int = 0
    """The exit code of that."""


def greeting(far: FarSide) -> bytes:
    """Give the line of a relay."""
    import json

    said: dict[str, Any] = {name: value for name, value in vars(far).items() if value not in ("", None, {})}
    return b"%s%d %s\n" % (_MARK, _VERSION, json.dumps(said).encode())


class GreetingReader:
    r"""Finds a relay's line in the bytes that come.

    Example::

        reader = GreetingReader()
        far = reader.feed(b"Welcome to box!\n" + greeting(FarSide(user="anna")))
    """

    def __init__(self) -> None:
        """Have read nothing."""
        self._data = bytearray()
        self.rest = b""
        """What came behind the line."""

    @property
    def noise(self) -> bytes:
        """What came before the line."""
        return bytes(self._data.partition(_MARK)[0])

    def feed(self, data: bytes) -> FarSide | None:
        """Take bytes; give what the line says once the line is whole.

        Raises:
            GreetingError: too much came before the line, or the line is not as it should be.

        """
        self._data += data
        at = self._data.find(_MARK)
        if at < 0 or at > MAX_NOISE_BYTES:
            if len(self._data) > MAX_NOISE_BYTES + len(_MARK):
                raise GreetingError(f"it writes more than {MAX_NOISE_BYTES >> 10} KiB before Orcha begins")
            return None
        end = self._data.find(b"\n", at)
        if end < 0:
            if len(self._data) - at > _MAX_LINE_BYTES:
                raise GreetingError("its line has no end")
            return None
        line, self.rest = bytes(self._data[at + len(_MARK) : end]), bytes(self._data[end + 1 :])
        return _read(line)


def _read(line: bytes) -> FarSide:
    import json

    version, _, said = line.partition(b" ")
    if version != b"%d" % _VERSION:
        raise GreetingError(f"its relay speaks version {version[:20]!a}, and this client {_VERSION}")
    try:
        found = json.loads(said)
        return FarSide(**{name: _sound(name, value) for name, value in found.items() if name in _TYPES})
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise GreetingError(f"its line cannot be read: {line[:60]!a}") from None


_TYPES: dict[str, type] = dict.fromkeys(FarSide.__dataclass_fields__, str) | {
    "environment": dict,
    "uid": int,
    "has_rsync": bool,
    "umask": int,
    "code": int,
}


def _sound(name: str, value: Any) -> Any:
    """Give a field's value; raises TypeError where the value has another type."""
    texts = value.values() if type(value) is dict else ()
    if type(value) is not _TYPES[name] or not all(type(text) is str for text in texts):
        raise TypeError(name)
    return value


__all__ = ["MAX_NOISE_BYTES", "FarSide", "GreetingError", "GreetingReader", "greeting"]
