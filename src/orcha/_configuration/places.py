"""Where each key and each value of a TOML text stands: `tomllib` tells what a text holds, and not where.

`tomllib` has read the text already, so nothing is checked a second time.
"""

from __future__ import annotations

import re
import tomllib
from typing import NamedTuple

Path = tuple[str | int, ...]
"""The keys that lead to a value, and its number in each list on the way."""

_SKIPPED = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\[\s\S]|[^\\])*?"""(?:"{0,2})'
    r"|'''[\s\S]*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
)
_OTHER = re.compile(r"[^,\]}\n#]*")


class Place(NamedTuple):
    """A line and a column, both counted from 1."""

    line: int
    column: int


START = Place(1, 1)


def place_at(text: str, offset: int) -> Place:
    r"""Give the place of a character.

    >>> place_at("a = 1\nb = 2", 10)
    Place(line=2, column=5)
    """
    begin = text.rfind("\n", 0, offset) + 1
    return Place(text.count("\n", 0, begin) + 1, offset - begin + 1)


class Places:
    r"""The places of a TOML text's keys and values.

    >>> places = Places("[groups.nightly]\nslots = [1, 2]\n")
    >>> places.key(("groups", "nightly", "slots")), places.value(("groups", "nightly", "slots", 1))
    (Place(line=2, column=1), Place(line=2, column=13))
    """

    def __init__(self, text: str) -> None:
        """Read a text that `tomllib` has read."""
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._keys: dict[Path, int] = {}
        self._values: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}
        """How many tables each list of tables has so far."""
        self._read()

    def key(self, path: Path) -> Place:
        """Give where a key stands first; for what has no key, where it begins."""
        return place_at(self._text, self._keys[path] if path in self._keys else self._values[path])

    def value(self, path: Path) -> Place:
        """Give where a value begins; for a table of several lines, where its key stands first."""
        return place_at(self._text, self._values[path] if path in self._values else self._keys[path])

    def _read(self) -> None:
        table: Path = ()
        while self._skip(_SKIPPED) < len(self._text):
            if self._takes("[["):
                path = self._named((), self._key_words())
                self._takes("]]")
                self._counts[path] = self._counts.get(path, 0) + 1
                table = (*path, self._counts[path] - 1)
                self._keys[table] = self._keys[path]
            elif self._takes("["):
                table = self._last(self._named((), self._key_words()))
                self._takes("]")
            else:
                self._pair(table)

    def _pair(self, table: Path) -> None:
        path = self._named(table, self._key_words())
        self._takes("=")
        self._value(path)

    def _key_words(self) -> list[tuple[int, str]]:
        """Take a key, which may have dots; give its words with their places."""
        words = []
        while True:
            self._skip(_BLANK)
            begin = self._at
            bare = _BARE.match(self._text, begin)
            if bare is not None:
                self._at, word = bare.end(), bare[0]
            else:
                self._skip(_STRING)
                (word,) = tomllib.loads(f"{self._text[begin : self._at]} = 0")
            words.append((begin, word))
            self._skip(_BLANK)
            if not self._takes("."):
                return words

    def _named(self, path: Path, words: list[tuple[int, str]]) -> Path:
        """Note where the words of a key stand, and give the path to what it names."""
        for begin, word in words:
            path = (*self._last(path), word)
            self._keys.setdefault(path, begin)
        return path

    def _last(self, path: Path) -> Path:
        """Give the last table of a list of tables; any other path as it is."""
        count = self._counts.get(path)
        return path if count is None else (*path, count - 1)

    def _value(self, path: Path) -> None:
        self._skip(_SKIPPED)
        self._values.setdefault(path, self._at)
        if self._takes("["):
            number = 0
            while not self._ends("]"):
                self._value((*path, number))
                number += 1
        elif self._takes("{"):
            while not self._ends("}"):
                self._pair(path)
        elif not self._skips(_STRING):
            self._skip(_OTHER)

    def _ends(self, sign: str) -> bool:
        """Go on to the next element of a list or a table; tell whether it is over instead."""
        self._skip(_SKIPPED)
        if self._takes(","):
            self._skip(_SKIPPED)
        return self._takes(sign)

    def _takes(self, sign: str) -> bool:
        if self._text.startswith(sign, self._at):
            self._at += len(sign)
            return True
        return False

    def _skips(self, pattern: re.Pattern[str]) -> bool:
        before = self._at
        return self._skip(pattern) > before

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        self._at = self._at if found is None else found.end()
        return self._at


__all__ = ["START", "Path", "Place", "Places", "place_at"]
