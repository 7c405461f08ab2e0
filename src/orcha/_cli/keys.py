"""The keys that leave a petition running."""

from __future__ import annotations

DETACH_KEYS_VARIABLE = "ORCHA_DETACH_KEYS"
DEFAULT_DETACH_KEYS = "ctrl-],d"
_SIGNAL_KEYS = b"\x03\x1a\x1c"
"""Ctrl+C, Ctrl+Z and Ctrl+\\: the terminal makes signals of them."""


def parse(text: str) -> bytes:
    r"""Read a sequence of keys, separated by commas: letters and other ASCII characters, and ``ctrl-`` with one.

    >>> parse("ctrl-],d")
    b'\x1dd'

    Raises:
        ValueError: the text is no sequence of keys.

    """
    keys = bytearray()
    for name in text.split(",") if text else ():
        key = name.strip()
        low = key.lower()
        if low.startswith("ctrl-") and len(key) == 6 and "@" <= key[5].upper() <= "_":
            keys.append(ord(key[5].upper()) & 0x1F)
            if keys[-1] in _SIGNAL_KEYS:
                raise ValueError(
                    f"{DETACH_KEYS_VARIABLE}={text}: {key} means something else already; "
                    f"write for example {DEFAULT_DETACH_KEYS}"
                )
        elif len(key) == 1 and "!" <= key <= "~":
            keys += key.encode()
        else:
            raise ValueError(
                f"{DETACH_KEYS_VARIABLE}={text}: {key!r} is no key; write for example {DEFAULT_DETACH_KEYS}"
            )
    return bytes(keys)


def spoken(text: str) -> str:
    """Give a sequence of keys for people.

    >>> spoken("ctrl-],d")
    'Ctrl+] d'
    """
    names = [name.strip() for name in text.split(",")]
    return " ".join(f"Ctrl+{name[5:].upper()}" if len(name) > 1 else name for name in names)


class Detector:
    r"""Finds the sequence in what is typed; what is no part of it goes through.

    >>> detector = Detector(parse("ctrl-],d"))
    >>> detector.feed(b"a\x1d"), detector.feed(b"b\x1dd")
    ((b'a', False), (b'\x1db', True))
    """

    def __init__(self, keys: bytes) -> None:
        """Look for this sequence; an empty one is never found."""
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Give what goes through, and whether the sequence was typed: then what follows is held back."""
        if not self._keys:
            return data, False
        data, self._held = self._held + data, b""
        place = data.find(self._keys)
        if place >= 0:
            self._held = data[place + len(self._keys) :]
            return data[:place], True
        for length in range(min(len(self._keys) - 1, len(data)), 0, -1):
            if self._keys.startswith(data[-length:]):
                self._held = data[-length:]
                return data[:-length], False
        return data, False

    def rest(self) -> bytes:
        """Give the keys that were held back, once no more keys come."""
        held, self._held = self._held, b""
        return held
