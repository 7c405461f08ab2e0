"""One configuration file: its settings with their places, and everything that is wrong with it."""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec
from msgspec import Struct, UnsetType

from orcha._configuration.kinds import MOST, MOST_BYTES, WEIGHT, SettingKind, stock_of
from orcha._configuration.places import START, Path, Place, Places, place_at
from orcha._configuration.schema import Configuration, GroupTable, QuotasTable, QuotaTable, Stock
from orcha.interfaces.policy import MAX_NAME_CHARACTERS, is_name

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_MAX_SHOWN_CHARACTERS = 60


class Fault(NamedTuple):
    """What is wrong, where, and the cure.

    >>> print(Fault("orcha.toml", 3, 5, "slots is a whole number"))
    orcha.toml:3:5: slots is a whole number
    """

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        """Write it as compilers do."""
        return f"{self.file}:{self.line}:{self.column}: {self.text}"


class Given(NamedTuple):
    """A setting of a file."""

    value: Any
    """What it means."""
    raw: Any
    """What stands in the file."""
    file: str
    place: Place

    @property
    def origin(self) -> str:
        """File and line."""
        return f"{self.file}:{self.place.line}"


class FileReading(NamedTuple):
    """What one file says."""

    given: dict[tuple[str, ...], Given]
    """The settings by their keys; a group that is named stands there by itself, too."""
    faults: list[Fault]


def read(data: bytes, file: str) -> FileReading:
    r"""Read a file's content.

    >>> found = read(b'[groups.nightly]\nslots = 2\nper_usr = 1\n', "orcha.toml")
    >>> found.given["groups", "nightly", "slots"].value, [str(each) for each in found.faults]
    (2, ['orcha.toml:3:1: there is no groups.nightly.per_usr: did you mean per_user?'])
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        place = place_at(before, len(before))
        return FileReading({}, [Fault(file, *place, "it is no UTF-8: save the file as UTF-8")])
    try:
        found = tomllib.loads(text)
        places = Places(text)
    except RecursionError:
        return FileReading({}, [Fault(file, *START, "it is nested too deeply: no setting is")])
    except ValueError as error:  # a number of thousands of digits raises this one itself
        return FileReading({}, [_no_toml(text, str(error), file)])
    walk = _SettingsWalk(file, places)
    walk.table(Configuration, found, ())
    return FileReading(walk.given, sorted(walk.faults, key=lambda fault: fault[1:3]))


def _no_toml(text: str, error: str, file: str) -> Fault:
    found = _PLACE.search(error)
    place = START
    if found is not None:
        place = Place(int(found[1]), int(found[2])) if found[1] else place_at(text, len(text))
    what = error[: found.start()] if found is not None else error
    return Fault(file, *place, f"it is no TOML: {what[:1].lower()}{what[1:]}")


@cache
def keys_of(table: type[Struct]) -> dict[str, Any]:
    """Give the keys that a table may have, with what each is."""
    hints = get_type_hints(table, include_extras=True)
    return {name: next(each for each in get_args(hint) if each is not UnsetType) for name, hint in hints.items()}


class _SettingsWalk:
    """Goes through a file, and notes settings and faults."""

    def __init__(self, file: str, places: Places) -> None:
        self._file = file
        self._places = places
        self.given: dict[tuple[str, ...], Given] = {}
        self.faults: list[Fault] = []

    def table(self, kind: type[Struct], found: dict[str, Any], path: tuple[str, ...]) -> None:
        """Read a table whose keys are known."""
        keys = keys_of(kind)
        takes = {("groups",): self._group, ("resources",): self._resource, ("weights",): self._weight}
        for name, value in found.items():
            at = (*path, name)
            if name not in keys:
                self._fault(self._places.key(at), f"there is no {dotted(at)}: {_meant(name, keys)}")
            elif at in takes:
                self._named(value, at, takes[at])
            elif kind is QuotasTable and name != "default":
                self._named(value, at, self._quota)
            elif kind is QuotasTable:
                self._quota(value, at)
            elif kind is QuotaTable and name == "resources":
                self._named(value, at, self._most)
            elif not path:
                if self._is_table(value, at):
                    self.table(keys[name], value, at)
            else:
                self._setting(keys[name], value, at)

    def _named(self, found: Any, path: tuple[str, ...], take: Any) -> None:
        """Read a table whose keys are names that people choose."""
        if not self._is_table(found, path):
            return
        for name, value in found.items():
            at = (*path, name)
            if is_name(name):
                take(value, at)
            else:
                text = f"{name!a:.60} is no name: give 1 to {MAX_NAME_CHARACTERS} characters that can be printed"
                self._fault(self._places.key(at), text)

    def _group(self, value: Any, at: tuple[str, ...]) -> None:
        if self._is_table(value, at):
            self._note(at, None, None, self._places.key(at))
            self.table(GroupTable, value, at)

    def _quota(self, value: Any, at: tuple[str, ...]) -> None:
        if self._is_table(value, at):
            self._note(at, None, None, self._places.key(at))
            self.table(QuotaTable, value, at)

    def _most(self, value: Any, at: tuple[str, ...]) -> None:
        """Read how much of a resource somebody may hold: a number, or a size."""
        self._take(at, value, int | str, MOST_BYTES if isinstance(value, str) and value != "none" else MOST)

    def _resource(self, value: Any, at: tuple[str, ...]) -> None:
        form = 'a whole number, a size as "64G", or a list of devices as ["0", "1@mem=80G"]'
        self._take(at, value, Stock, SettingKind(form, lambda given: stock_of(at[-1], given)))

    def _weight(self, value: Any, at: tuple[str, ...]) -> None:
        if at[-1] == "@":
            self._fault(self._places.key(at), f"{dotted(at)} names no Unix group: write the group behind the @")
        else:
            self._take(at, value, int, WEIGHT)

    def _setting(self, hint: Any, value: Any, at: tuple[str, ...]) -> None:
        kind, meta = get_args(hint)
        self._take(at, value, kind, meta.extra["kind"])

    def _take(self, at: tuple[str, ...], value: Any, python_type: Any, kind: SettingKind) -> None:
        """Note a setting, or what is wrong with it."""
        place = self._places.value(at)
        try:
            self._note(at, kind.read(msgspec.convert(value, python_type)), value, place)
        except (ValueError, ArithmeticError) as error:  # a ValidationError is a ValueError
            why = "" if isinstance(error, msgspec.ValidationError) or not error.args else f": {_line(str(error))}"
            self._fault(place, f"{dotted(at)} is {kind.form}, not {_shown(value)}{why}")

    def _is_table(self, value: Any, at: tuple[str, ...]) -> bool:
        if isinstance(value, dict):
            return True
        self._fault(self._places.value(at), f"{dotted(at)} is a table, not {_shown(value)}: write [{dotted(at)}]")
        return False

    def _note(self, at: tuple[str, ...], value: Any, raw: Any, place: Place) -> None:
        self.given[at] = Given(value, raw, self._file, place)

    def _fault(self, place: Place, text: str) -> None:
        self.faults.append(Fault(self._file, *place, text))


def dotted(path: Path) -> str:
    """Write keys as TOML has them.

    >>> dotted(("groups", "night", "slots")), dotted(("groups", "a b"))
    ('groups.night.slots', 'groups."a b"')
    """
    return ".".join(
        str(each) if re.fullmatch(r"[A-Za-z0-9_-]+", str(each)) else msgspec.json.encode(str(each)).decode()
        for each in path
    )


def _meant(name: str, keys: dict[str, Any]) -> str:
    near = get_close_matches(name, keys, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(keys))}"


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}..."


def _line(text: str) -> str:
    return " ".join(text.split())


__all__ = ["Fault", "FileReading", "Given", "dotted", "keys_of", "read"]
