"""What a petition needs of one resource, as people write it: ``1``, ``0.5``, ``4G``, ``1@mem>=20G``."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from orcha.interfaces.policy import MAX_NEED_COUNT

Amount = int | Fraction
"""How much of a resource: a whole number, or exactly a part."""

WHOLE = "*"
"""The resource that is the whole machine: who has it runs alone. Each service has one."""
MAX_NEED_CHARACTERS = 200
"""Characters of a need."""
_MAX_DECIMALS = 6
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_MIN_IN_UNITS = 1 << 20
"""An amount below that is no quantity of bytes that people would write with a unit."""
_PAGE_BYTES = 4096
_MAX_DIGITS = 30
"""Digits before the point. What has more digits is text, also where a unit makes it that large: a number is written
without its unit, and would be read back as text."""
_NUMBER = rf"(\d{{1,{_MAX_DIGITS}}}(?:\.\d{{1,{_MAX_DECIMALS}}})?)"
_AMOUNT = re.compile(rf"{_NUMBER}(?:([KMGT])(?:i?B)?)?", re.ASCII | re.IGNORECASE)
_REQUIREMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*(>=|<=|!=|=|>|<)\s*([^\s=<>!].*)")
_FORM = "give an amount above zero, as in 1, 0.5 or 4G, and what a device must have, as in 1@mem>=20G"


class Requirement(NamedTuple):
    """What a property of a device must be."""

    name: str
    sign: str
    value: Amount | str

    def is_met_by(self, value: Amount | str | None) -> bool:
        """Tell whether a device with this value will do; text and numbers are never the same, and never in order.

        >>> [Requirement("mem", ">=", 20).is_met_by(each) for each in (24, 16, "much", None)]
        [True, False, False, False]
        >>> Requirement("model", "!=", "a100").is_met_by("h100")
        True
        """
        if value is None:
            return False
        if self.sign in {"=", "!="}:
            return (value == self.value) == (self.sign == "=")
        if isinstance(value, str) or isinstance(self.value, str):
            return False
        return {">=": value >= self.value, "<=": value <= self.value, ">": value > self.value, "<": value < self.value}[
            self.sign
        ]


class Need(NamedTuple):
    """How much of a resource a petition needs, and what its devices must be."""

    amount: Amount
    where: tuple[Requirement, ...] = ()

    @property
    def is_share(self) -> bool:
        """Whether it is a part of one device."""
        return self.amount < 1


@lru_cache(1024)
def read(need: int | str) -> Need:
    """Read a need.

    >>> read(2), read("0.5").amount, read("1@mem>=20G").where[0].name
    (Need(amount=2, where=()), Fraction(1, 2), 'mem')

    Raises:
        ValueError: it is none.

    """
    if isinstance(need, int):
        return Need(need)
    text, *conditions = need.split("@")
    amount = read_amount(text)
    if amount is None or not 0 < amount <= MAX_NEED_COUNT or len(need) > MAX_NEED_CHARACTERS:
        message = f"{need!a:.60} is no need: {_FORM}"
        raise ValueError(message)
    return Need(amount, tuple(_requirement(need, each) for each in conditions))


def _requirement(need: str, text: str) -> Requirement:
    found = _REQUIREMENT.fullmatch(text.strip())
    if found is None or not found[3].isprintable():
        message = f"{need!a:.60} is no need: {_FORM}"
        raise ValueError(message)
    return Requirement(found[1], found[2], read_value(found[3]))


def read_amount(text: str) -> Amount | None:
    """Read a number with at most six decimals, in powers of 1024 where K, M, G or T follows; None where it is none.

    >>> read_amount("2"), read_amount("0.5"), read_amount("1.5G"), read_amount("much")
    (2, Fraction(1, 2), 1610612736, None)
    """
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        return None
    amount = Fraction(found[1]) * _UNITS[(found[2] or "").upper()]
    if amount >= 10**_MAX_DIGITS:
        return None
    return int(amount) if amount.denominator == 1 else amount


def read_value(text: str) -> Amount | str:
    """Read the value of a property: a number where it looks like one, else the text.

    >>> read_value("24K"), read_value("a100"), read_value("9" * 31) == "9" * 31
    (24576, 'a100', True)
    """
    amount = read_amount(text)
    return text.strip() if amount is None else amount


def kept(need: float | str) -> int | str:
    """Give a need as it is kept and sent: a whole number, else its text.

    >>> kept(2), kept("2"), kept(0.5), kept("4K"), kept("1 @ mem >= 20G")
    (2, 2, '0.5', 4096, '1@mem >= 20G')

    Raises:
        ValueError: it is none.

    """
    if isinstance(need, int):
        return need
    text = f"{need:.{_MAX_DECIMALS}f}" if isinstance(need, float) else need
    amount, where = read(text)
    if isinstance(need, float) and float(amount) != need:
        message = f"{need!r} is no need: give a number with at most {_MAX_DECIMALS} decimals"
        raise ValueError(message)
    if not where:
        return amount if isinstance(amount, int) else spelled(amount)
    conditions = [each.strip() for each in text.split("@")[1:]]
    return "@".join((spelled(amount), *conditions))


def spelled(amount: Amount) -> str:
    """Write an amount as a decimal number.

    >>> spelled(3), spelled(Fraction(1, 2)), spelled(Fraction(5, 4))
    ('3', '0.5', '1.25')
    """
    if amount.denominator == 1:
        return str(int(amount))
    whole, rest = divmod(round(amount * 10**_MAX_DECIMALS), 10**_MAX_DECIMALS)
    return f"{whole}.{rest:0{_MAX_DECIMALS}d}".rstrip("0")


def in_units(amount: float | Fraction) -> str:
    """Write an amount for people: a quantity of bytes, which is a multiple of a page, in the unit that it was given in.

    What is cut off is below a hundredth of the unit: nothing is said to be free that is not.

    >>> in_units(4 << 30), in_units(6_442_450_944 + 4096), in_units(0.5), in_units(3), in_units(5_000_000)
    ('4G', '6G', '0.5', '3', '5000000')
    """
    if amount < _MIN_IN_UNITS or amount % _PAGE_BYTES:
        return str(amount) if isinstance(amount, int | float) else spelled(amount)
    unit = next(unit for unit in ("T", "G", "M") if amount >= _UNITS[unit])
    return f"{spelled(Fraction(int(amount * 100 // _UNITS[unit]), 100))}{unit}"


def shown(amount: Amount) -> int | float:
    """Give an amount as a number for programs that show it."""
    return int(amount) if amount.denominator == 1 else float(amount)


def shown_value(value: Amount | str) -> float | str:
    """Give the value of a property for programs: a number, or text that reads back as it, where no number is exact.

    >>> shown_value(24), shown_value("a100"), shown_value(Fraction(1, 2)), shown_value(Fraction(1, 10**6))
    (24, 'a100', 0.5, '0.000001')
    """
    if isinstance(value, str):
        return value
    number = shown(value)
    return number if read_value(str(number)) == value else spelled(value)


__all__ = [
    "WHOLE",
    "Amount",
    "Need",
    "Requirement",
    "in_units",
    "kept",
    "read",
    "read_amount",
    "read_value",
    "shown",
    "shown_value",
    "spelled",
]
