"""``orcha where``: which service a command would use, and why."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from orcha._protocol.endpoint import Endpoint

_EPILOG = """\
examples:
  orcha where
  orcha --service system where --json

An option before the command counts first (--service, or --port and --listen-address), then ORCHA_SERVICE, then
ORCHA_PORT and ORCHA_LISTEN_ADDRESS. Where none of them names a service, the first one of these that answers is used:
your default service, a plugin's own service of yours on 127.0.0.1:50000, the machine's service.
"""
_NO_SERVICE_CODE = 69
_KINDS = {
    "user": "your default service",
    "plugin": "a plugin's own service of yours",
    "system": "the machine's service",
    "named": "a service of that place",
    "ssh": "a service of another machine, over SSH",
}


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Tell which service a command would use, and why."
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="for programs")


def run(namespace: argparse.Namespace) -> int:
    """Look for the service as every command does, and print the result."""
    import os

    from orcha import properties
    from orcha._cli import render
    from orcha._client.dial import dial
    from orcha._protocol.services import place
    from orcha._protocol.socket_ends import peer_credentials
    from orcha.exceptions import OrchaConnectionError
    from orcha.utils.users import described

    endpoint, names = place(), named_by()
    key = None if properties.authkey is None else os.fsdecode(properties.authkey)
    places = _places(endpoint)
    try:
        connection = dial(endpoint, key)
    except OrchaConnectionError as error:
        if namespace.json:
            render.json({"place": None, "named_by": names, "why": str(error), "tried": places})
        else:
            render.note(str(error))
        return _NO_SERVICE_CODE
    uid = peer_credentials(connection.sock)[1] if connection.transport == "unix" else None
    found, far = connection.endpoint, connection.far
    connection.close()
    if far is not None:
        found, uid = endpoint, far.uid
    before = places[: places.index(found.name)] if found.name in places else []
    known = {
        "place": found.name,
        "kind": kind_of(found),
        "transport": connection.transport,
        "uid": uid,
        "there": None
        if far is None
        else {"host": far.host, "user": far.user, "socket": far.place, "version": far.version},
        "named_by": names,
        "why": _why(names, before),
        "tried": before,
    }
    if namespace.json:
        render.json(known)
        return 0
    whose = ""
    if far is not None:
        whose = f": {far.place} on {far.host}, as {far.user}"
    elif uid is not None:
        whose = f", which runs as {described(uid)}"
    render.line(str(known["place"]))
    render.line(f"  {_KINDS[str(known['kind'])]}{whose}")
    render.line(f"  {known['why']}")
    return 0


def named_by() -> str | None:
    """Give the option or the variable that names the service; None where none does."""
    import os

    from orcha import properties

    if properties.service is not None:
        return "--service" if properties.service else "--port or --listen-address"
    if os.environ.get("ORCHA_SERVICE"):
        return "ORCHA_SERVICE"
    if not properties.named:
        return None
    return "ORCHA_PORT" if os.environ.get("ORCHA_PORT") else "ORCHA_LISTEN_ADDRESS"


def kind_of(endpoint: Endpoint) -> str:
    """Give what kind of service is at an endpoint that was found: a key of `_KINDS`."""
    from orcha._protocol.endpoint import default_folder, endpoint_folder, system_place
    from orcha.utils.place import ADDRESS, PORT

    if endpoint.ssh is not None:
        return "ssh"
    if endpoint.socket_path == system_place().socket_path:
        return "system"
    kinds = {default_folder(): "user", endpoint_folder(ADDRESS, PORT): "plugin"}
    return kinds.get(endpoint.folder, "named")


def _places(endpoint: Endpoint) -> list[str]:
    """Give where a client looks, in its order, as people are told of it."""
    found = [endpoint.found(path).name for path in endpoint.socket_paths()]
    return (
        [*found, endpoint.name]
        if (endpoint.has_port or endpoint.ssh is not None) and endpoint.name not in found
        else found
    )


def _why(names: str | None, before: list[str]) -> str:
    if names is not None:
        return f"{names} names it"
    if not before:
        return "nothing names another service, and this one is looked for first"
    return f"nothing names another service, and no service answers at {', '.join(before)}"
