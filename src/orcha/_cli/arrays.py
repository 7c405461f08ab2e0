"""What is sent of the options that ask for many petitions at once, as ``--array``, ``--each-line`` and ``--sweep``."""

from __future__ import annotations

import argparse
import contextlib
import re

from orcha._cli.options import WrongOptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_RANGE = re.compile(r"([0-9]{1,15})-([0-9]{1,15})(?::([0-9]{1,15}))?(?:%([0-9]{1,15}))?")
_MAX_SWEPT_VALUES = 100_000
_MAX_PACKED_BYTES = 7 << 20
"""Bytes of items that fit into a message, beside the command and its environment."""


def range_of(text: str) -> dict[str, Any]:
    """Read a range of numbers, with how many may run at once.

    >>> range_of("1-9:2%4")
    {'range': [1, 9, 2], 'at_most': 4}
    """
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!a} is no range: write it as 1-100, 1-100:5 (in steps of 5) or 1-100%4 (four at once)"
        )
    first, last, step, at_most = (None if each is None else int(each) for each in match.groups())
    step = 1 if step is None else step
    if at_most == 0 or not step:
        raise argparse.ArgumentTypeError(
            f"{text!a} runs nothing: write it as 1-100, 1-100:5 (in steps of 5) or 1-100%4 (four at once)"
        )
    if first is None or last is None or last < first:
        raise argparse.ArgumentTypeError(
            f"{text!a} is no range that goes upwards: write it as 1-100, 1-100:10 or 1-100%4"
        )
    return {"range": [first, last, step]} | ({} if at_most is None else {"at_most": at_most})


def swept(text: str) -> tuple[str, list[str]]:
    """Read a name and its values: some, or a range of whole numbers.

    >>> swept("lr=0.1,0.01"), swept("seed=1-3")
    (('lr', ['0.1', '0.01']), ('seed', ['1', '2', '3']))
    """
    from orcha._core.array_items import is_name

    name, equals, values = text.partition("=")
    if not equals or not values or not is_name(name):
        raise argparse.ArgumentTypeError(f"{text!a} is no name with values: write it as lr=0.1,0.01 or seed=1-5")
    match = _RANGE.fullmatch(values)
    if match is None or match[4] is not None:
        return name, values.split(",")
    first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
    if last < first or not step or (last - first) // step >= _MAX_SWEPT_VALUES:
        raise argparse.ArgumentTypeError(
            f"{text!a} is no range that goes upwards: give one of at most {_MAX_SWEPT_VALUES}"
        )
    return name, [str(number) for number in range(first, last + 1, step)]


def of(namespace: argparse.Namespace, argv: list[str]) -> dict[str, Any] | None:
    """Give the part of a request that the options make; None where no option asks for an array.

    Raises:
        WrongOptionError: options do not go together, or a file does not hold what its option reads.
        OSError: a file cannot be read.

    """
    bounds = {"at_most": namespace.at_most, "max_fails": namespace.max_fails}
    bounds = {name: number for name, number in bounds.items() if number is not None}
    if namespace.array is not None:
        given = dict(namespace.array)
        if "at_most" in given and "at_most" in bounds:
            raise WrongOptionError(f"--array ...%{given['at_most']} and --at-most say the same: give one of them")
    elif namespace.sweep:
        given = {"sweep": _sweep(namespace.sweep)}
    elif namespace.each_line is not None:
        given = _listed(_lines(namespace.each_line), "--each-line")
    elif namespace.each_json is not None:
        given = _listed(_checked(_json(namespace.each_json), argv), "--each-json")
    elif bounds:
        option = "--max-fails" if "max_fails" in bounds else "--at-most"
        raise WrongOptionError(f"{option} is about many: give --array, --each-line, --each-json or --sweep too")
    else:
        return None
    return given | bounds


def _sweep(given: Iterable[tuple[str, list[str]]]) -> dict[str, list[str]]:
    sweep: dict[str, list[str]] = {}
    for name, values in given:
        if name in sweep:
            raise WrongOptionError(f"--sweep {name} is given twice: give it once, with all its values")
        sweep[name] = values
    return sweep


def _listed(items: Iterable[Any], option: str) -> dict[str, Any]:
    """Pack the items into parts, as they are sent.

    Raises:
        WrongOptionError: there is no item, or there are too many.

    """
    total = 0

    def counted() -> Iterator[Any]:
        nonlocal total
        for item in items:
            total += 1
            yield item

    parts, size = [], 0
    for part in _packed(counted(), option):
        parts.append(part)
        size += len(part)
        if size > _MAX_PACKED_BYTES:
            raise WrongOptionError(
                f"{option}: its items take more than {_MAX_PACKED_BYTES >> 20} MiB, packed: ask for several arrays, or"
                " give numbers of lines with --array and have the command look up its line"
            )
    if not total:
        raise WrongOptionError(f"{option}: there is no item in it: write one in each line")
    return {"packed": parts, "total": total}


def _packed(items: Iterable[Any], option: str) -> Iterator[bytes]:
    """Give items in parts.

    Raises:
        WrongOptionError: items are too long.

    """
    from orcha._core.array_items import packed

    try:
        yield from packed(items)
    except WrongOptionError:
        raise
    except ValueError as error:
        raise WrongOptionError(f"{option}: {error}") from None


def _read(path: str) -> bytes:
    if path == "-":
        import sys

        return sys.stdin.buffer.read()
    with open(path, "rb") as stream:  # noqa: PTH123 - pathlib costs a client 5 ms
        return stream.read()


def _lines(path: str) -> Iterator[str]:
    """Give the lines of a file, bytes that are no text as Python stands for them."""
    content = _read(path)
    if b"\0" in content:
        raise WrongOptionError(
            f"--each-line: {path!a} holds a byte 0, which no argument and no variable can hold: remove it"
        )
    for line in content.removesuffix(b"\n").split(b"\n") if content else ():
        yield line.removesuffix(b"\r").decode("utf-8", "surrogateescape")


def _json(path: str) -> Iterator[Any]:
    """Give the values of a JSON array, or of a file with a JSON value a line."""
    import json

    content = _read(path)
    whole = None
    with contextlib.suppress(ValueError, RecursionError):  # it may be a value a line
        whole = json.loads(content)
    if isinstance(whole, list):
        yield from whole
        return
    for number, line in enumerate(content.splitlines(), 1):
        try:
            if line.strip():
                yield json.loads(line)
        except (ValueError, RecursionError) as error:
            place = f"line {number} of {path!a}"
            raise WrongOptionError(f"--each-json: {place} is no JSON: {error}: write one value in each line") from None


def _checked(items: Iterable[Any], argv: list[str]) -> Iterator[Any]:
    """Give items that have all values which the command names.

    Raises:
        WrongOptionError: an item lacks one.

    """
    from orcha._core.array_items import filled, item_of

    for number, value in enumerate(items, 1):
        item = item_of(number, value)
        try:
            for word in argv:
                filled(word, item)
        except ValueError as error:
            raise WrongOptionError(str(error).removeprefix("argv: ")) from None
        yield value


def widest_id(name: str, given: dict[str, Any]) -> str:
    """Give the id of the last element: no element has a longer id."""
    from math import prod

    if "range" in given:
        first, last, step = given["range"]
        return f"{name}.{last - (last - first) % step}"
    total = given["total"] if "total" in given else prod(len(values) for values in given["sweep"].values())
    return f"{name}.{total}"
