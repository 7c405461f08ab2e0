"""Where a service listens and where its clients look, by the address and port that were named, or were not."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._protocol.endpoint import Endpoint


def service_place(address: str, port: int, *, named: bool) -> Endpoint:
    """Give the endpoint of ``orcha serve``, whose address and port come from :func:`orcha.utils.place.place_of`.

    Where nobody named an address or a port it is the default service, on its Unix socket alone. With port 0 it is the
    default service too, and listens on a free port besides. Any other is a service of its own.
    """
    from orcha._protocol.endpoint import Endpoint, default_folder, free_port

    if not named:
        return Endpoint("", 0, default_folder())
    return Endpoint(address, port) if port else Endpoint(address, free_port(address), default_folder())


def client_place(address: str, port: int, *, named: bool, plugin: bool) -> Endpoint:
    """Give the endpoint that a client looks for, whose address and port come from :func:`orcha.utils.place.place_of`.

    Where nobody named an address or a port, a plugin's client looks for the plugin's own service before the default
    one, and the built-in verbs for the default one first.
    """
    from orcha._protocol.endpoint import Endpoint, default_folder, endpoint_folder, with_system

    if not port:
        return Endpoint("", 0, default_folder(), with_system(default_folder())[1:])
    if named:
        return Endpoint(address, port)
    own, default = with_system(endpoint_folder(address, port)), with_system(default_folder())
    if plugin:
        return Endpoint(address, port, elsewhere=(*own[1:], *default))
    return Endpoint("", 0, default[0], (*default[1:], *own))
