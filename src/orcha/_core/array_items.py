"""The items of an array, one for each element, and how they get into the element's command.

>>> spec, parts = read({"sweep": {"lr": [0.1, 0.01], "seed": [1, 2]}, "at_most": 4})
>>> spec.total, item_at(spec, 2, None).names["lr"], item_at(spec, 2, None).number
(4, '0.01', 3)
>>> filled("--lr={lr} {{}}", item_at(spec, 0, None))
'--lr=0.1 {}'
"""

from __future__ import annotations

import json
import re
import zlib
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._core.arrays import MAX_ELEMENTS, Bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ITEMS_PER_PART = 256
"""Items that are packed together."""
MAX_PART_BYTES = 8 << 20
"""Bytes of a part that is unpacked. A few kilobytes that are sent may unpack to gigabytes."""
MAX_COMMAND_BYTES = 8 << 20
"""Bytes of an element's words and variables; no system executes a command with more."""
_RANGE_NUMBERS = 3
_PLACE = re.compile(r"\{\{|\}\}|\{([A-Za-z0-9_.-]*)\}")
_ITEM_VARIABLE = "ORCHA_ITEM"
_NOT_OF_A_VARIABLE = re.compile(r"[^A-Z0-9]")
_KINDS = ("range", "sweep", "items", "packed")
_FIELDS = frozenset((*_KINDS, "total", "at_most", "max_fails"))
_OF_THE_WHOLE = frozenset(("array", "queue", "after", "after_ok", "if_dependency_fails", "delay", "once", "if_exists"))
"""Fields of an array's message that are about the array as a whole."""


class Spec(NamedTuple):
    """What the elements of an array are, beside items that were listed."""

    total: int
    first: int
    step: int
    sweep: dict[str, list[Any]] | None
    """The values of each name; the items are all combinations, and the last name changes fastest."""
    are_listed: bool
    """Whether the items were listed, and are kept in parts."""
    bounds: Bounds

    def text(self) -> str:
        """Give it as it is kept."""
        return json.dumps(self)

    def sent(self, parts: list[bytes]) -> dict[str, Any]:
        """Give what is sent to ask for the same array once more; `parts` are its listed items."""
        given: dict[str, Any] = {name: value for name, value in self.bounds._asdict().items() if value is not None}
        if self.sweep is not None:
            return given | {"sweep": self.sweep}
        if self.are_listed:
            return given | {"packed": parts, "total": self.total}
        return given | {"range": [self.first, self.number_of(self.total - 1), self.step]}

    def number_of(self, position: int) -> int:
        """Give the number by which people know an element."""
        return self.first + self.step * position

    def position_of(self, number: int) -> int | None:
        """Give the position of an element by its number; None where there is none."""
        position, rest = divmod(number - self.first, self.step)
        return None if rest or not 0 <= position < self.total else position


class ArrayItem(NamedTuple):
    """The item of one element."""

    number: int
    text: str
    names: Mapping[str, str]
    """The values by name, of an item that has any."""


def spec_of(text: str) -> Spec:
    """Give a specification as it was kept."""
    total, first, step, sweep, are_listed, bounds = json.loads(text)
    return Spec(total, first, step, sweep, are_listed, Bounds(*bounds))


def read(given: object) -> tuple[Spec, list[bytes]]:
    """Read what was sent of an array; give its specification, and its items in parts where they were listed.

    Raises:
        ValueError: it is no array that can be.

    """
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise ValueError("array is a dict of its fields")
    if unknown := sorted(given.keys() - _FIELDS):
        raise ValueError(f"array has no {', '.join(map(repr, unknown))}")
    if len(kinds := [name for name in _KINDS if name in given]) != 1:
        raise ValueError(f"array has one of {', '.join(_KINDS)}, not {' and '.join(kinds) or 'none'}")
    bounds = Bounds(_count(given, "at_most"), _count(given, "max_fails"))
    spec = Spec(0, 1, 1, None, are_listed=False, bounds=bounds)
    parts: list[bytes] = []
    if "range" in given:
        first, step, total = _range(given["range"])
        spec = spec._replace(first=first, step=step, total=total)
    elif "sweep" in given:
        sweep = _sweep(given["sweep"])
        spec = spec._replace(sweep=sweep, total=prod(map(len, sweep.values())))
    else:
        total, parts = _listed(given)
        spec = spec._replace(are_listed=True, total=total)
    if not 1 <= spec.total <= MAX_ELEMENTS:
        raise ValueError(f"array has from 1 to {MAX_ELEMENTS} elements, not {spec.total}")
    return spec, parts


def _listed(given: Mapping[str, Any]) -> tuple[int, list[bytes]]:
    """Give how many items were listed, and their parts."""
    if "items" in given:
        items = given["items"]
        if not isinstance(items, list | tuple):
            raise ValueError("array.items is a list")
        return len(items), list(packed(items))
    parts, total = given["packed"], _count(given, "total") or 0
    if not isinstance(parts, list) or not all(isinstance(part, bytes) for part in parts):
        raise ValueError("array.packed is a list of bytes")
    if len(parts) != -(-total // ITEMS_PER_PART):
        raise ValueError(f"array.packed has {len(parts)} parts, which do not hold {total} items")
    return total, parts


def _count(given: Mapping[str, Any], name: str) -> int | None:
    number: object = given.get(name)
    if number is None:
        return None
    if type(number) is not int or not 1 <= number < 1 << 53:
        raise ValueError(f"array.{name} is a whole number of at least 1, not {number!r:.80}")
    return number


def _range(given: object) -> tuple[int, int, int]:
    """Give the first number, the step, and how many there are."""
    numbers: list[Any] = list(given) if isinstance(given, list | tuple) else []
    if len(numbers) != _RANGE_NUMBERS or not all(type(each) is int and 0 <= each < 1 << 53 for each in numbers):
        raise ValueError("array.range is first, last and step, whole numbers from 0")
    first, last, step = numbers
    if last < first or step < 1:
        raise ValueError(f"array.range goes upwards, in steps of at least 1, not from {first} to {last} by {step}")
    return first, step, (last - first) // step + 1


def _sweep(given: object) -> dict[str, list[Any]]:
    if not isinstance(given, dict) or not given:
        raise ValueError("array.sweep is a dict of lists")
    for name, values in given.items():
        if not isinstance(name, str) or not is_name(name):
            raise ValueError(f"array.sweep: {name!r:.80} is no name of letters, digits, '_', '.' and '-'")
        if not isinstance(values, list | tuple) or not values:
            raise ValueError(f"array.sweep: {name} has no list of values")
        list(packed(values))  # JSON has to know them
    return {name: list(values) for name, values in given.items()}


def is_name(name: str) -> bool:
    """Tell whether values may have this name."""
    return bool(name) and _PLACE.fullmatch(f"{{{name}}}") is not None and name not in {"index", "item"}


# --- items --------------------------------------------------------------------------------------------------------


def packed(items: Iterable[Any]) -> Iterator[bytes]:
    """Give items in parts, as they are sent and kept.

    Raises:
        ValueError: JSON does not know an item.

    """
    part: list[Any] = []
    for item in items:
        part.append(item)
        if len(part) == ITEMS_PER_PART:
            yield _packed(part)
            part = []
    if part:
        yield _packed(part)


def _packed(part: Sequence[Any]) -> bytes:
    try:
        text = json.dumps(part).encode()
    except TypeError as error:
        raise ValueError(f"array: {error}") from None
    if len(text) > MAX_PART_BYTES:
        raise ValueError(
            f"array: {ITEMS_PER_PART} items in a row have {MAX_PART_BYTES >> 20} MiB at most: write long items into"
            " files, and list the names of the files"
        )
    return zlib.compress(text, 1)


def unpacked(part: bytes) -> list[Any]:
    """Give the items of a part.

    Raises:
        ValueError: it is none.

    """
    items = None
    try:
        text = zlib.decompressobj().decompress(part, MAX_PART_BYTES + 1)
        if is_short := len(text) <= MAX_PART_BYTES:
            items = json.loads(text)
    except (zlib.error, RecursionError, ValueError) as error:
        raise ValueError(f"array.packed holds what are no items: {error}") from None
    if not is_short:
        raise ValueError(f"array.packed holds too long items: {ITEMS_PER_PART} have {MAX_PART_BYTES >> 20} MiB at most")
    if not isinstance(items, list):
        raise ValueError("array.packed holds what are no items")  # noqa: TRY004 - who asks hears of one kind of error
    return items


def item_at(spec: Spec, position: int, part: Sequence[Any] | None) -> ArrayItem:
    """Give the item of an element; `part` are the listed items with which its own is packed.

    Raises:
        ValueError: there is none.

    """
    number = spec.number_of(position)
    if spec.sweep is not None:
        chosen, rest = {}, position
        for name, values in reversed(spec.sweep.items()):
            rest, place = divmod(rest, len(values))
            chosen[name] = values[place]
        return item_of(number, {name: chosen[name] for name in spec.sweep})
    if not spec.are_listed:
        return ArrayItem(number, str(number), {})
    place = position % ITEMS_PER_PART
    if part is None or place >= len(part):
        raise ValueError(f"item {number} is missing")
    return item_of(number, part[place])


def item_of(number: int, value: Any) -> ArrayItem:
    """Give what an element is about whose item is this value."""
    names = {str(name): text_of(each) for name, each in value.items()} if isinstance(value, dict) else {}
    return ArrayItem(number, text_of(value), names)


def text_of(value: Any) -> str:
    """Give a value as a command gets it: a text as it is, anything else as JSON.

    >>> text_of("a b"), text_of(0.5), text_of({"lr": 1})
    ('a b', '0.5', '{"lr": 1}')
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- the command of an element ------------------------------------------------------------------------------------


def filled(word: str, item: ArrayItem) -> str:
    """Give a word of a command with what stands in it for an item replaced: `{}`, `{index}`, `{name}`.

    `{{` and `}}` are literal braces, and braces around anything that is no name stay.

    Raises:
        ValueError: the item has no value of a name.

    """

    def value(match: re.Match[str]) -> str:
        found, name = match[0], match[1]
        if name is None:
            return found[0]
        if name in {"", "item"}:
            return item.text
        if name == "index":
            return str(item.number)
        if name not in item.names:
            known = ", ".join(("{}", "{index}", *(f"{{{each}}}" for each in item.names)))
            raise ValueError(f"argv: item {item.number} has no {found}: it has {known}; {{{found}}} is literal")
        return item.names[name]

    return _PLACE.sub(value, word)


def variables(item: ArrayItem) -> dict[str, str]:
    """Give the variables of an element's environment.

    >>> variables(ArrayItem(7, "{}", {"lr": "0.1"}))
    {'ORCHA_INDEX': '7', 'ORCHA_ITEM': '{}', 'ORCHA_ITEM_LR': '0.1'}
    """
    named = {
        f"{_ITEM_VARIABLE}_{_NOT_OF_A_VARIABLE.sub('_', name.upper())}": value for name, value in item.names.items()
    }
    return {"ORCHA_INDEX": str(item.number), _ITEM_VARIABLE: item.text, **named}


def message_of(template: Mapping[str, Any], item: ArrayItem) -> dict[str, Any]:
    """Give the fields of an element's message, made from its array's message.

    Raises:
        ValueError, TypeError: the item does not fit the command.

    """
    fields = {name: value for name, value in template.items() if name not in _OF_THE_WHOLE}
    argv = fields.get("argv")
    if isinstance(argv, list | tuple):
        _check_size(argv, item)
        fields["argv"] = [_word(word, item) for word in argv]
    env = fields.get("env")
    if not isinstance(env, dict):
        raise ValueError("env is missing: an array adds variables to it, so that it has to be given")  # noqa: TRY004
    fields["env"] = env | {name: _as_sent(value) for name, value in variables(item).items()}
    return fields


def _check_size(argv: Iterable[Any], item: ArrayItem) -> None:
    """Refuse a command that would become too long, before it is made.

    Raises:
        ValueError: it would.

    """
    longest = max(map(len, (item.text, *item.names.values())))
    words = [word for word in argv if isinstance(word, str | bytes)]
    places = sum(word.count(b"{") if isinstance(word, bytes) else word.count("{") for word in words)
    if sum(map(len, words)) + places * longest > MAX_COMMAND_BYTES:
        raise ValueError(
            f"argv: with item {item.number} the command has more than {MAX_COMMAND_BYTES >> 20} MiB: write long items"
            " into files, and list the names of the files"
        )


def _word(word: Any, item: ArrayItem) -> Any:
    if isinstance(word, bytes):
        return _as_sent(filled(word.decode("utf-8", "surrogateescape"), item))
    return _as_sent(filled(word, item)) if isinstance(word, str) else word


def _as_sent(text: str) -> str | bytes:
    """Give a text as it is sent: as bytes where it holds what is no text."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError(f"an item holds a lone surrogate, which is no text and no byte: {text!r:.80}") from None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


__all__ = [
    "ITEMS_PER_PART",
    "ArrayItem",
    "Spec",
    "filled",
    "is_name",
    "item_at",
    "item_of",
    "message_of",
    "packed",
    "read",
    "spec_of",
    "unpacked",
]
