"""What a value of the configuration may be, and what it means."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._configuration.resource_texts import read_resources
from orcha._core.conditions.condition import Condition
from orcha._core.conditions.errors import ConditionTextError, UnknownNameError
from orcha._core.conditions.terms import BUILT_IN
from orcha._core.quota_rules import ANY_NUMBER
from orcha._core.start_log import StartRate
from orcha.utils.accounts import is_account
from orcha.utils.amounts import MAX_DURATION_SECONDS, MAX_SIZE_BYTES, SECONDS, read_duration, read_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.inventory import Stock

MAX_SLOTS = 1_000_000_000
"""Slots of a group at most."""
MAX_STARTS_PER_RATE = 1_000
"""Starts that a rate counts at most: each is kept."""
MIN_AGE_SECONDS = 60
"""Seconds in which a petition gains one priority, at least."""
MIN_HALF_LIFE_SECONDS = 60
"""Seconds after which what was used counts half, at least."""
DEFAULT_HALF_LIFE_SECONDS = 86_400.0
"""The same where nobody says after how long."""
MAX_LIMIT_NUMBER = 2**53
MAX_PORT_NUMBER = 65_535


class SettingKind(NamedTuple):
    """One kind of value."""

    form: str
    """The form of the value, for people: "NAME is <form>"."""
    read: Callable[[Any], Any]
    """Gives the meaning of a value; raises ValueError, whose text is the cure, or empty."""


def whole(least: int, most: int) -> SettingKind:
    """Give the kind of whole numbers between these."""

    def read(value: int) -> int:
        if not least <= value <= most:
            raise ValueError
        return value

    return SettingKind(f"a whole number from {least} to {most}", read)


def _seconds(value: float | str) -> float:
    seconds = read_duration(value) if isinstance(value, str) else float(value)
    if not 0 <= seconds <= MAX_DURATION_SECONDS:
        raise ValueError
    return seconds


def _above_zero(value: float | str) -> float:
    seconds = _seconds(value)
    if not seconds:
        raise ValueError
    return seconds


def _age(value: float | str) -> float:
    seconds = _seconds(value)
    if seconds < MIN_AGE_SECONDS:
        raise ValueError
    return seconds


def _size(value: int | str) -> int:
    size = read_size(value) if isinstance(value, str) else value
    if not 0 <= size < MAX_SIZE_BYTES:
        raise ValueError
    return size


def _number_or(*words: str) -> Callable[[int | str], int | str]:
    def read(value: int | str) -> int | str:
        if value not in words and not (isinstance(value, int) and 0 <= value <= MAX_SLOTS):
            raise ValueError
        return value

    return read


def _slots(value: int | str) -> int | None:
    number = _number_or("none")(value)
    return None if isinstance(number, str) else number


def _most(value: int | str) -> int:
    if value == "none":
        return ANY_NUMBER
    if isinstance(value, str) or not 0 <= value <= MAX_SLOTS:
        raise ValueError
    return value


def _most_bytes(value: int | str) -> int:
    return ANY_NUMBER if value == "none" else _size(value)


def read_rate(text: str) -> StartRate:
    """Read how many may start within a time.

    >>> read_rate("10/m"), read_rate("3/90s")
    (StartRate(starts=10, seconds=60.0), StartRate(starts=3, seconds=90.0))
    """
    number, _, time = text.partition("/")
    few = number.isascii() and number.isdecimal() and len(number) <= len(str(MAX_STARTS_PER_RATE))
    if not few or not 1 <= int(number) <= MAX_STARTS_PER_RATE:
        raise ValueError
    return StartRate(int(number), _above_zero(f"1{time}" if time in SECONDS else time or "0"))


def read_fair(text: str) -> float | None:
    """Read what counts in whose turn it is: give the half-life of what was used before; None where it counts nothing.

    >>> read_fair("now"), read_fair("past"), read_fair("past:12h")
    (None, 86400.0, 43200.0)
    """
    word, divider, half_life = text.partition(":")
    if word == "now" and not divider:
        return None
    if word != "past":
        raise ValueError
    seconds = _seconds(half_life) if divider else DEFAULT_HALF_LIFE_SECONDS
    if seconds < MIN_HALF_LIFE_SECONDS:
        raise ValueError
    return seconds


def _condition(text: str) -> str:
    try:
        return Condition(text, BUILT_IN).text
    except UnknownNameError:  # it may be a plugin's, whose names the service alone knows
        return text
    except ConditionTextError as error:
        message = f"{error.what} (column {error.column} of the condition)"
        raise ValueError(message) from None


def _names(value: list[str]) -> tuple[str, ...]:
    if not value or not all(each and each.isprintable() for each in value):
        raise ValueError
    return tuple(dict.fromkeys(value))


def _accounts(value: list[int | str]) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(str(each) for each in value))
    wrong = next((each for each in words if not is_account(each)), None)
    if wrong is not None:
        message = f"{wrong!a:.60} is none"
        raise ValueError(message)
    return words


def _address(value: str) -> str:
    if not value or "/" in value or not value.isprintable():
        raise ValueError
    return value


def _path(value: str) -> str:
    if not value.startswith("/") or not value.isprintable():
        raise ValueError
    return value


def _ends(value: list[str]) -> tuple[str, ...]:
    for each in value:
        host, _, port = each.rpartition(":")
        ip_address(host.removeprefix("[").removesuffix("]"))
        if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= MAX_PORT_NUMBER):
            raise ValueError
    return tuple(value)


def stock_of(name: str, value: int | str | list[Any]) -> Stock:
    """Give how much there is of a resource, or its devices.

    >>> stock_of("ram_gb", 64), stock_of("memory", "1K"), stock_of("gpu", ["0", 1])
    (64, 1024, (Device(name='0', properties={}), Device(name='1', properties={})))
    >>> stock_of("gpu", [{"name": "a", "mem": "1K"}])
    (Device(name='a', properties={'mem': 1024}),)

    Raises:
        ValueError: it is none.

    """
    if not isinstance(value, list):
        if isinstance(value, str) and ("," in value or "@" in value):
            message = f'devices are a list: {name} = ["0", "1@mem=80G"]'
            raise ValueError(message)
        if isinstance(value, str) and "=" in value:
            message = f'how much there is of it is a number, or a text with a unit: {name} = "64G"'
            raise ValueError(message)
        found = read_resources(f"{name}={value}")
        if [*found] != [name]:
            message = f"{name!a:.60} cannot be the name of a resource: leave out commas, @ and ="
            raise ValueError(message)
        return found[name]
    words = [_device(each) for each in value]
    if any("," in each for each in words):
        message = "a device has no comma in its name or its properties"
        raise ValueError(message)
    found = read_resources(f"{name}={','.join(words)},")
    if not words or [*found] != [name]:
        message = f'a device is a name, a name with properties as "1@mem=80G", or a table with a name: {name}'
        raise ValueError(message)
    return found[name]


def _device(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    if "name" not in value:
        message = 'a device needs a name: { name = "0", mem = "24G" }'
        raise ValueError(message)
    return "".join((str(value["name"]), *(f"@{key}={each}" for key, each in value.items() if key != "name")))


def _as_it_is(value: Any) -> Any:
    return value


DURATION = SettingKind('a duration: seconds, or a text as "90s", "5m" or "1h30m"', _seconds)
TIME = SettingKind('a duration above zero: seconds, or a text as "90s", "5m" or "1h30m"', _above_zero)
AGE = SettingKind(f'a duration of at least {MIN_AGE_SECONDS} seconds, as "1h"', _age)
SIZE = SettingKind('a number of bytes, or a text as "512M" or "2G"', _size)
COUNT = whole(0, MAX_SLOTS)
WEIGHT = whole(1, 1_000)
LIMIT = whole(1, MAX_LIMIT_NUMBER)
SLOTS = SettingKind(f'a whole number from 0 to {MAX_SLOTS}, or "none" for any number', _slots)
NEW_GROUPS = SettingKind(
    f'a whole number from 0 to {MAX_SLOTS}, "none" for any number, or "refuse"', _number_or("none", "refuse")
)
MOST = SettingKind(f'a whole number from 0 to {MAX_SLOTS}, or "none" for no limit', _most)
MOST_BYTES = SettingKind('a number of bytes or a text as "50G", or "none" for no limit', _most_bytes)
FAIR = SettingKind('"now", "past", or with a half-life of a minute at least "past:12h"', read_fair)
RATE = SettingKind(f'a number of starts up to {MAX_STARTS_PER_RATE} within a time, as "10/m" or "3/90s"', read_rate)
CONDITION = SettingKind('a condition in text, as "load(1) < 4"', _condition)
NAMES = SettingKind("a list of names", _names)
ACCOUNTS = SettingKind('a list of users and groups, as ["alice", 1001, "@lab"]', _accounts)
SHARE = SettingKind(
    'true or false, or a list of users and groups, as ["alice", "@lab"]',
    lambda value: value if isinstance(value, bool) else _accounts(value),
)
ADDRESS = SettingKind('an address to listen on, as "127.0.0.1"', _address)
PORT = whole(0, MAX_PORT_NUMBER)
PATH = SettingKind('the path of a file from the root on, as "/etc/orcha/tls.pem"', _path)
ENDS = SettingKind('a list of IP addresses with ports, as ["192.0.2.7:50000", "[2001:db8::7]:50000"]', _ends)
FLAG = SettingKind("true or false", _as_it_is)


def one_of(*words: str) -> SettingKind:
    """Give the kind of some words."""
    return SettingKind(f"one of {', '.join(words)}", _as_it_is)


__all__ = [
    "MAX_SLOTS",
    "MAX_STARTS_PER_RATE",
    "MIN_AGE_SECONDS",
    "SettingKind",
    "one_of",
    "read_rate",
    "stock_of",
    "whole",
]
