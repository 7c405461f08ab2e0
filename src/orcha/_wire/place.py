"""Where a service listens and where its clients look, by what callers, options and the environment say."""

from __future__ import annotations

import os

from orcha import properties
from orcha.exceptions import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._wire.endpoint import Endpoint

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


def service_place(address: str, port: int, *, named: bool) -> Endpoint:
    """Give the endpoint of ``orcha serve``, whose address and port come from :func:`place_of`.

    Where nobody named an address or a port it is the default service, on its Unix socket alone. With port 0 it is the
    default service too, and listens on a free port besides. Any other is a service of its own.
    """
    from orcha._wire.endpoint import Endpoint, default_folder, free_port

    if not named:
        return Endpoint("", 0, default_folder())
    return Endpoint(address, port) if port else Endpoint(address, free_port(address), default_folder())


def client_place(address: str, port: int, *, named: bool, plugin: bool) -> Endpoint:
    """Give the endpoint that a client looks for, whose address and port come from :func:`place_of`.

    Where nobody named an address or a port, a plugin's client looks for the plugin's own service before the default
    one, and the built-in verbs for the default one first.
    """
    from orcha._wire.endpoint import Endpoint, default_folder, endpoint_folder, with_system

    if not port:
        return Endpoint("", 0, default_folder(), with_system(default_folder())[1:])
    if named:
        return Endpoint(address, port)
    own, default = with_system(endpoint_folder(address, port)), with_system(default_folder())
    if plugin:
        return Endpoint(address, port, elsewhere=(*own[1:], *default))
    return Endpoint("", 0, default[0], (*default[1:], *own))


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else -1
    if not 0 <= number <= 65_535:
        raise ConfigurationError(f"ORCHA_PORT is {text!r}: set it to a port, 0 to 65535")
    return number
