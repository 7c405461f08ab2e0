"""Which address and port a process means, by what its caller, the options and the environment say."""

from __future__ import annotations

import os

from orcha import properties
from orcha.exceptions import ConfigurationError

ADDRESS, PORT = "127.0.0.1", 50_000
"""Where a plugin's own service listens when nobody says where."""


def place_of(address: str | None = None, port: int | None = None) -> tuple[str, int, bool]:
    """Give an address, a port, and whether anybody named either of them.

    What the caller gives counts first, then `orcha.properties`, then ORCHA_LISTEN_ADDRESS and ORCHA_PORT.

    Raises:
        ConfigurationError: ORCHA_PORT is no port.

    """
    named = properties.named
    if address is None:
        address = properties.listen_address
        if address == ADDRESS and not properties.named and (text := os.environ.get("ORCHA_LISTEN_ADDRESS")):
            address, named = text, True
    if port is None:
        port = properties.port
        if port == PORT and not properties.named and (text := os.environ.get("ORCHA_PORT")):
            port, named = _port(text), True
    return address, port, named or (address, port) != (ADDRESS, PORT)


def service_of(address: str | None = None, port: int | None = None) -> str:
    """Give the service that a client is told to use, as a name, a path or a URL; empty where nobody says so.

    ``orcha --service`` counts first. ORCHA_SERVICE counts where neither the program nor an option names an address or a
    port; it goes before ORCHA_LISTEN_ADDRESS and ORCHA_PORT.
    """
    if properties.service is not None:
        return properties.service
    by_program = (properties.listen_address, properties.port) != (ADDRESS, PORT) and not properties.named
    if address is not None or port is not None or by_program:
        return ""
    return os.environ.get("ORCHA_SERVICE", "")


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else -1
    if not 0 <= number <= 65_535:
        raise ConfigurationError(f"ORCHA_PORT is {text!r}: set it to a port, 0 to 65535")
    return number
