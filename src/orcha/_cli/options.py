"""Reads durations, sizes, signals and variables as people write them."""

from __future__ import annotations

import argparse
import os

from orcha.utils.amounts import SECONDS, quoted, read_duration, read_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from typing import Any

_MAX_ID_BYTES = 1_024
_MAX_NAME_CHARACTERS = 200
_MAX_EXACT_NUMBER = 2**53
_MAX_DIGITS = 16
_NO_NUMBERS = frozenset(("none", "forget"))
"""Words that may stand for the number of a group's slots."""
_MAX_RETRIES = 1_000_000
_COERCED = frozenset(("C.UTF-8", "C.utf8", "UTF-8"))


class WrongOptionError(ValueError):
    """An option is wrong, or options do not go together: the verb ends with 2, as argparse does."""


PASSED_VARIABLES = (
    *("HOME", "USER", "LOGNAME", "SHELL", "PATH", "TMPDIR", "TZ"),
    *("LANG", "LANGUAGE", "LC_*", "TERM", "COLORTERM", "NO_COLOR"),
    *("EDITOR", "VISUAL", "PAGER", "VIRTUAL_ENV"),
)
"""Variables that go along with a command unless told otherwise; ``*`` at the end stands for anything."""


def duration(text: str) -> float:
    """Read a duration, in seconds where no unit is given.

    >>> [duration(each) for each in ("90", "1.5s", "5m", "1h30m", "250ms")]
    [90.0, 1.5, 300.0, 5400.0, 0.25]
    """
    total = duration_from_zero(text)
    if not total > 0:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is no duration above zero: write it as 90, 90s, 5m, 2h or 1h30m"
        )
    return total


def duration_from_zero(text: str) -> float:
    """Read a duration that may be zero.

    >>> [duration_from_zero(each) for each in ("0", "0s", "1m")]
    [0.0, 0.0, 60.0]
    """
    try:
        return read_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def spelled_duration(seconds: float) -> str:
    """Write a duration as `duration` reads it.

    >>> spelled_duration(90_061.5), spelled_duration(60), spelled_duration(0.5)
    ('1d1h1m1.5s', '1m', '0.5s')
    """
    left, found = seconds, ""
    for unit in ("d", "h", "m"):
        count, left = divmod(left, SECONDS[unit])
        found += f"{count:.0f}{unit}" if count else ""
    return found + (f"{left:g}s" if left or not found else "")


def rate(text: str) -> tuple[int, float]:
    """Read how many petitions may start within a time.

    >>> rate("10/m"), rate("3/90s")
    ((10, 60.0), (3, 90.0))
    """
    number, sign, time = text.partition("/")
    if not sign or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no rate: write it as 10/m, 100/h or 3/90s")
    return whole(number, least=1), duration(f"1{time}" if time.isalpha() else time)


def spelled_rate(given: Sequence[float]) -> str:
    """Write a rate as `rate` reads it.

    >>> spelled_rate((10, 60.0)), spelled_rate((3, 90.0))
    ('10/m', '3/1m30s')
    """
    time = spelled_duration(given[1])
    return f"{given[0]}/{time[1:] if time[1:].isalpha() else time}"


def fair(text: str) -> str:
    """Read what counts in whose turn it is.

    >>> fair("past:12h")
    'past:12h'
    """
    from orcha._configuration.kinds import FAIR, read_fair

    try:
        read_fair(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no way to be fair: give {FAIR.form}") from None
    return text


def size(text: str) -> int:
    """Read a number of bytes; K, M, G and T are powers of 1024.

    >>> [size(each) for each in ("4096", "512M", "1.5G", "2GiB")]
    [4096, 536870912, 1610612736, 2147483648]
    """
    try:
        return read_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def signal_number(text: str) -> int:
    """Read a signal by name or number.

    >>> [signal_number(each) for each in ("TERM", "sigint", "9")]
    [15, 2, 9]
    """
    from signal import Signals

    name = text.strip().upper()
    try:
        return int(Signals(int(name)) if name.isdecimal() else Signals["SIG" + name.removeprefix("SIG")])
    except (ValueError, KeyError):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no signal: write it as INT, TERM or 15") from None


def add_raw(parser: argparse.ArgumentParser) -> None:
    """Add the option that leaves another user's output as it is."""
    what = "leave control characters in the output of other users, which a terminal obeys"
    parser.add_argument("--raw", action="store_true", help=what)


def warning(text: str) -> tuple[int, float]:
    """Read a signal, and how long before a limit it is sent.

    >>> warning("USR1@5m")
    (10, 300.0)
    """
    name, at, before = text.partition("@")
    if not at:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no warning: write it as USR1@5m, signal and time before")
    return signal_number(name), duration_from_zero(before)


def slots(text: str) -> str:
    """Read how many slots a group has: ``GROUP=N``, several divided by commas, as a service's variable holds them."""
    if text.isdecimal():
        message = (
            f"{quoted(text)} names no group: write it as nightly={text}. How many commands of all groups run at once is"
            f" ORCHA_COMMANDS={text} for orcha serve, and --at-once {text} for orcha simulate"
        )
        raise argparse.ArgumentTypeError(message)
    for part in text.split(","):
        _pair(part, "nightly=2, nightly=none or nightly=forget", _NO_NUMBERS)
    return text


def counts(text: str) -> str:
    """Read amounts by name: ``NAME=N``, several divided by commas."""
    for part in text.split(","):
        _pair(part, "gpu=2")
    return text


def resources(text: str) -> str:
    """Read the amounts or devices of resources: ``NAME=N``, or ``NAME=DEVICE,DEVICE``; the service checks them."""
    name, sign, what = text.partition(",")[0].partition("@")[0].rpartition("=")
    is_list = "," in text or "@" in text
    if (
        not 0 < len(written(name)) <= _MAX_NAME_CHARACTERS
        or not sign
        or not what
        or not (is_list or what[0].isdecimal())
    ):
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is no resource: write it as gpu=2, or gpu=0,1 for devices (one: gpu=0,)"
        )
    return text


def _pair(text: str, example: str, others: Container[str] = ()) -> None:
    """Raise where the text is no name with a number, or with a word that may stand for the number."""
    named, _, number = text.rpartition("=")
    is_number = (
        number.isascii() and number.isdecimal() and len(number) <= _MAX_DIGITS and int(number) <= _MAX_EXACT_NUMBER
    )
    if not 0 < len(written(named)) <= _MAX_NAME_CHARACTERS or not (is_number or number in others):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no name with a number: write it as {example}")


def written(text: str) -> str:
    """Read an id: any text, but no bytes that are not UTF-8."""
    if not is_text(text):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no text: give it in UTF-8")
    return text


def identity(text: str) -> str:
    """Read the id of a new petition."""
    if not 0 < len(os.fsencode(written(text))) <= _MAX_ID_BYTES:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no id: give 1 to {_MAX_ID_BYTES} bytes")
    return text


def name(text: str) -> str:
    """Read the name of a group, or a key."""
    if not 0 < len(written(text)) <= _MAX_NAME_CHARACTERS:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no name: give 1 to {_MAX_NAME_CHARACTERS} characters")
    return text


def label(text: str) -> str:
    """Read a label."""
    if len(written(text)) > _MAX_NAME_CHARACTERS:
        error = f"{quoted(text)} has {len(text)} characters: give at most {_MAX_NAME_CHARACTERS}"
        raise argparse.ArgumentTypeError(error)
    return text


def folder(text: str) -> str:
    """Read the path of a folder."""
    if not text:
        raise argparse.ArgumentTypeError("the folder has no name: give a path, or leave the option out")
    return text


def variable(text: str) -> str:
    """Read a variable: ``NAME=VALUE``, or ``NAME``."""
    if not text.partition("=")[0] or "\0" in text:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is no variable: write it as NAME=VALUE, or NAME for its value here"
        )
    return text


def count(text: str) -> int:
    """Read a number above zero."""
    return whole(text, least=1)


def not_negative(text: str) -> int:
    """Read a number from zero."""
    return whole(text, least=0)


def retries(text: str) -> int:
    """Read how often something is tried again."""
    return whole(text, least=1, most=_MAX_RETRIES)


def whole(text: str, *, least: int, most: int = _MAX_EXACT_NUMBER) -> int:
    """Read a whole number.

    >>> whole("12", least=1)
    12
    """
    number = int(text[: _MAX_DIGITS + 1]) if text.isascii() and text.isdecimal() else -1
    if not least <= number <= most:
        wanted = f"of at least {least}" if most == _MAX_EXACT_NUMBER and number <= most else f"from {least} to {most}"
        raise argparse.ArgumentTypeError(f"{quoted(text)} cannot be: give a whole number {wanted}")
    return number


def amount(text: str) -> tuple[str, int | str]:
    """Read how much of a resource is needed: its name and a number above zero, and what the devices must have.

    >>> amount("gpu=1"), amount("gpu=0.5"), amount("gpu=1@mem>=20G")
    (('gpu', 1), ('gpu', '0.5'), ('gpu', '1@mem>=20G'))
    """
    resource, _, number = text.partition("@")[0].rpartition("=")
    if not 0 < len(resource) <= _MAX_NAME_CHARACTERS or not is_text(text):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no need: write it as gpu=1, gpu=0.5 or gpu=1@mem>=20G")
    if number.isascii() and number.isdecimal() and "@" not in text:
        return resource, whole(number, least=1)
    from orcha.interfaces.needs import kept

    try:
        return resource, kept(text[len(resource) + 1 :])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def factor(text: str) -> float:
    """Read by how much each further pause is longer."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no factor: give a number of at least 1, as 2 or 1.5")
    return value


def after(text: str) -> tuple[str, int]:
    """Read an end after which something is tried again: its kind, and an exit code or a signal.

    >>> after("75"), after("SIGKILL"), after("timeout")
    (('codes', 75), ('signals', 9), ('timeout', 1))
    """
    if text.lower() == "timeout":
        return "timeout", 1
    try:
        if text.isascii() and text.isdecimal():
            return "codes", whole(text, least=0, most=255)
        return "signals", signal_number(text)
    except argparse.ArgumentTypeError:
        error = f"{quoted(text)} is no end of a command: give an exit code up to 255, a signal as SIGKILL, or timeout"
        raise argparse.ArgumentTypeError(error) from None


def codes(text: str) -> list[int]:
    """Read exit codes, divided by commas.

    >>> codes("0,3")
    [0, 3]
    """
    try:
        return [whole(each, least=0, most=255) for each in text.split(",")]
    except argparse.ArgumentTypeError:
        error = f"{quoted(text)} are no exit codes: give numbers from 0 to 255, as 0,3"
        raise argparse.ArgumentTypeError(error) from None


def number(text: str) -> int | float:
    """Read a priority: any number but not-a-number, an int where it is one."""
    try:
        value: int | float = int(text)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
    if value != value or (isinstance(value, int) and abs(value) > _MAX_EXACT_NUMBER):  # noqa: PLR0124 - what only not-a-number is
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no priority: give a number, as 5, -5 or 0.5")
    return value


def leave_command_apart(parser: argparse.ArgumentParser) -> None:
    """Take the words after the first ``--`` as the command; argparse would take them for more names."""
    parse = parser.parse_known_args

    def parse_before(args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        words = list(args or ())
        begin = words.index("--") if "--" in words else len(words)
        found, unknown = parse(words[:begin], namespace)
        found.command = words[begin + 1 :]
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, []

    parser.parse_known_args = parse_before  # type: ignore[method-assign]  # what a subparser is asked by


def add_on_disconnect(parser: argparse.ArgumentParser) -> None:
    """Add the option that says what happens when the output has no reader any more."""
    parser.add_argument(
        "--on-disconnect",
        choices=("cancel", "keep"),
        help="where the reader, the terminal or the connection is gone: cancel it, or let it go on (default: see docs)",
    )


def environment(
    source: Mapping[str, str], settings: Iterable[str], *, everything: bool = False
) -> dict[str | bytes, str | bytes]:
    """Choose the variables that go along with a command.

    Args:
        source: the environment of this process.
        settings: ``NAME=VALUE``, or ``NAME`` for what it is here, as `variable` reads them.
        everything: take all of `source`, not only the allowed variables.

    Returns:
        The variables as they are sent: names and values that are no text as the bytes that they are.

    """
    allowed = [*PASSED_VARIABLES, *source.get("ORCHA_ENV_ALLOW", "").replace(",", " ").split()]
    chosen = {name: value for name, value in source.items() if everything or is_among(name, allowed)}
    if everything:
        chosen = {name: value for name, value in chosen.items() if not name.startswith("ORCHA_")}
    for setting in settings:
        name, is_set, value = setting.partition("=")
        if is_set:
            chosen[name] = value
        elif name in source:
            chosen[name] = source[name]
    return {sent(name): sent(value) for name, value in chosen.items()}


def is_among(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a name is one of these."""
    return any(name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns)


def is_text(text: str) -> bool:
    """Tell whether this is text, without surrogates that stand for bytes of the system which are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def sent(word: str) -> str | bytes:
    """Give an argument or variable as it is sent: as text where its bytes are UTF-8, else as these bytes.

    Which characters Python has made of the bytes depends on the locale here, which is not that of the service.
    """
    raw = os.fsencode(word)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def inherited() -> dict[str, str]:
    """Give the variables that this process was started with.

    A Python that finds no locale sets LC_CTYPE for itself (PEP 538): that one is not the caller's.
    """
    found = dict(os.environ)
    if found.get("LC_CTYPE") in _COERCED:
        try:
            with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - pathlib costs a client 5 ms
                before = [each for each in file.read().split(b"\0") if each.startswith(b"LC_CTYPE=")]
        except OSError:
            return found
        del found["LC_CTYPE"]
        if before:
            found["LC_CTYPE"] = os.fsdecode(before[0].partition(b"=")[2])
    return found
