"""Pins: the services that the user has named, each with the fingerprint that it had at its first use, as of ssh(1).

They stand in ``known_services``, beside the names of the services, a line each: the place, and the fingerprint.
"""

from __future__ import annotations

import contextlib
import os

from orcha._protocol.endpoint import config_home, make_private_folder
from orcha.exceptions import AuthenticationError, ConfigurationError
from orcha.utils.new_file import replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PINS_FILE = "known_services"


class PinMismatchError(AuthenticationError):
    """A service shows another certificate than at its first use. Exit code 77."""


def pins_path() -> str:
    """Give the path of the file with the pins."""
    return f"{config_home()}/{PINS_FILE}"


def read_pins() -> dict[str, str]:
    """Give fingerprints by the places of services; of two lines for one place the first counts.

    Raises ConfigurationError where the file cannot be read, or holds anything else.
    """
    path = pins_path()
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs a client 5 ms
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}: see what lies there") from None
    pins: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if len(words) != 2 or not words[1].startswith("SHA256:"):
            raise ConfigurationError(f"{path}:{number}: a line has a place and a fingerprint: remove this line")
        pins.setdefault(*words)
    return pins


def check_pin(name: str, place: str, fingerprint: str) -> bool:
    """Tell whether a service is seen for the first time.

    Raises PinMismatchError where it has another fingerprint than at its first use; the message names both.
    """
    pinned = read_pins().get(place)
    if pinned is None or pinned == fingerprint:
        return pinned is None
    raise PinMismatchError(
        f"THE SERVICE {name} AT {place} HAS CHANGED: somebody may stand in between, and nothing was sent. Its"
        f" fingerprint is {fingerprint}, and was {pinned} ({pins_path()}). Ask who runs the service; where the change"
        f" is meant: orcha service trust {name}"
    )


def keep_pin(place: str, fingerprint: str) -> None:
    """Keep the fingerprint of a service that is seen for the first time."""
    path = pins_path()
    make_private_folder(os.path.dirname(path))  # noqa: PTH120 - pathlib costs a client 5 ms
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    with _alone(path):
        descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, f"{place} {fingerprint}\n".encode())
        finally:
            os.close(descriptor)


def forget_pin(place: str) -> str | None:
    """Take out the fingerprint of a service, and give it; None where there was none."""
    path = pins_path()
    if place not in read_pins():
        return None
    with _alone(path):
        pins = read_pins()
        forgotten = pins.pop(place, None)
        replace_file(path, "".join(f"{each} {pin}\n" for each, pin in pins.items()).encode())
    return forgotten


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Have no other process change the pins meanwhile: a pin that it adds would be lost with the replaced file."""
    import fcntl

    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(f"{path}.lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


__all__ = ["PINS_FILE", "PinMismatchError", "check_pin", "forget_pin", "keep_pin", "pins_path", "read_pins"]
