"""Which service a client means: by its name, by the path of its Unix socket, or by a URL.

``user`` is the default service of the user, ``system`` the machine's, and ``user:alice`` the service that alice shares.
Other names stand in ``services.toml``, beside
the key file of the user::

    [services]
    lab = "unix:/srv/lab/orcha.sock"
    box = "tls://box.example:50000"
    cluster = "ssh://anna@cluster.example"
    old = { at = "ssh://old.example/system", program = "/opt/orcha/bin/orcha" }
    ci = { at = "tls://box.example:50000", key = "/home/me/ci.key" }
"""

from __future__ import annotations

import os
from dataclasses import replace

from orcha._protocol.endpoint import Endpoint, client_place, config_home, default_folder, shared_place, system_place
from orcha._protocol.trust import SYSTEM_AUTHORITIES, ServiceTrust
from orcha.exceptions import ConfigurationError
from orcha.utils.place import place_of, service_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

USER, SYSTEM = "user", "system"
"""Names that every client knows."""
NAMES_FILE = "services.toml"
TRUST_FIELDS = ("key", "ca", "certificate", "certificate_key")
"""What may stand in the file with the place of a service: fields of `ServiceTrust`."""
_OF_USER = "user:"
"""What stands before the name of a user who shares a service."""


def place() -> Endpoint:
    """Give the endpoint that a built-in verb looks for, as the options before the command and the environment say.

    Raises ConfigurationError for a service that there is not.
    """
    service = service_of()
    if service:
        return named_place(service)
    address, port, named = place_of()
    return client_place(address, port, named=named, plugin=False)


def place_of_client(address: str, port: int, *, named: bool, service: str) -> Endpoint:
    """Give the endpoint that a plugin's client looks for: that of the service, where one is named.

    Raises ConfigurationError for a service that there is not.
    """
    return named_place(service) if service else client_place(address, port, named=named, plugin=True)


def named_place(service: str) -> Endpoint:
    """Give the endpoint of a service by its name, its path or its URL.

    Raises:
        ConfigurationError: there is no such service; the message says which names there are.

    >>> named_place("unix:/run/lab/orcha.sock").socket_path
    '/run/lab/orcha.sock'
    """
    if service == USER:
        return Endpoint("", 0, default_folder(), ())
    if service == SYSTEM:
        return system_place()
    if service.startswith(_OF_USER):
        return _shared_by(service.removeprefix(_OF_USER))
    if "/" in service or service.startswith("unix:"):
        return _at(service)
    names = read_names()
    if service not in names:
        known = ", ".join((USER, SYSTEM, *sorted(names)))
        message = f"there is no service {service!a:.80}: there are {known}; name more in {names_path()}"
        raise ConfigurationError(message)
    return names[service]


def local_place(verb: str) -> Endpoint:
    """Give the endpoint as :func:`place` does, for a verb that works on the machine of the service.

    Raises ConfigurationError also where the service is reached over SSH.
    """
    found = place()
    if found.ssh is not None:
        there = f"ssh {found.ssh.login} {found.ssh.program} {verb}"
        raise ConfigurationError(f"orcha {verb} works with the files of the service: run it on its machine: {there}")
    return found


def own_place(verb: str) -> Endpoint:
    """Give the endpoint as :func:`local_place` does, for a verb that works with what the service keeps.

    Raises ConfigurationError also for a service that another user shares: that service keeps its state elsewhere.
    """
    found = local_place(verb)
    if found.owner is not None:
        from orcha.utils.users import described

        whose = described(found.owner)
        raise ConfigurationError(f"orcha {verb} works with the files of the service: run it as {whose}, who shares it")
    return found


def _shared_by(user: str) -> Endpoint:
    """Give the endpoint of the service that a user shares."""
    from orcha.utils.accounts import uid_named

    uid = uid_named(user)
    if uid is None:
        raise ConfigurationError(f"this machine has no user {user!a:.80}: give the name or the number of a user")
    return Endpoint("", 0, default_folder(), ()) if uid == os.geteuid() else shared_place(uid)


def names_path() -> str:
    """Give the path of the file with the names of services."""
    return f"{config_home()}/{NAMES_FILE}"


def read_names() -> dict[str, Endpoint]:
    """Give the endpoints of the services that the user has given names; none where there is no such file.

    Raises ConfigurationError, which names the file, where something in the file is wrong.
    """
    path = names_path()
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs a client 5 ms
            content = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}: see whose it is") from None
    import tomllib  # few clients name a service

    try:
        found = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}: write it as docs/settings.md shows") from None
    names = found.pop("services", {})
    if found:
        raise ConfigurationError(f"{path} has [services] alone, and no {min(found)!a:.80}: remove that")
    if not isinstance(names, dict):
        raise ConfigurationError(f"{path}: services is a table of names and places: write [services] above them")
    return {name: _named(path, name, where) for name, where in names.items()}


def is_name(name: str) -> bool:
    """Tell whether a service can have this name.

    >>> is_name("box"), is_name("user"), is_name("tls://box:1")
    (True, False, False)
    """
    return name not in {USER, SYSTEM} and bool(name) and name.isprintable() and not {"/", ":", " "} & {*name}


def _named(path: str, name: str, where: object) -> Endpoint:
    """Give the endpoint of an entry of the file."""
    if not is_name(name):
        raise ConfigurationError(f"{path}: {name!a:.80} cannot be the name of a service: choose another")
    fields: dict[str, Any] = dict(where) if isinstance(where, dict) else {"at": where}
    at = fields.pop("at", None)
    if not isinstance(at, str):
        raise ConfigurationError(
            f'{path}: {name} is a text: write {name} = "unix:/path/orcha.sock", "tls://host:port" or "ssh://host";'
            f' or {name} = {{ at = "tls://host:port", key = "/path/of/its.key" }}'
        )
    program = fields.pop("program", "")
    if not isinstance(program, str):
        raise ConfigurationError(f'{path}: program of {name} is a text: write program = "/path/orcha"')
    for field, value in fields.items():
        if field not in TRUST_FIELDS:
            known = ", ".join(("at", "program", *TRUST_FIELDS))
            raise ConfigurationError(f"{path}: there is no {field!a:.80} of {name}: write one of {known}")
        if not isinstance(value, str) or not (value.startswith("/") or (field, value) == ("ca", SYSTEM_AUTHORITIES)):
            raise ConfigurationError(f"{path}: {field} of {name} is the path of a file: write it from / on")
    return place_at(name, at, fields, program)


def place_at(name: str, at: str, fields: Mapping[str, str], program: str = "") -> Endpoint:
    """Give the endpoint of a service by its path or URL, with what stands with its name: TRUST_FIELDS, and a program.

    Raises ConfigurationError for what is no place.
    """
    return replace(_at(at, program), trust=ServiceTrust(name, **fields))


def _at(where: str, program: str = "") -> Endpoint:
    """Give the endpoint of a path or a URL."""
    kind, _, rest = where.partition(":")
    if kind == "ssh" and rest.startswith("//"):
        from orcha._protocol.ssh_place import PROGRAM, ssh_place  # few clients

        return Endpoint("", 0, ssh=ssh_place(where, program or PROGRAM))
    if program:
        raise ConfigurationError(f"{where!a:.80} is not ssh://host: no program is started there, so leave it out")
    if kind == "tls" and rest.startswith("//"):
        return _on_tcp(where, rest[2:].rstrip("/"))
    if "/" in kind:
        rest = where
    elif kind != "unix":
        raise ConfigurationError(
            f"{where!a:.80} is no place of a service: give a path, unix:/path/orcha.sock, tls://host:port or ssh://host"
        )
    path = os.path.abspath(rest.removeprefix("//"))  # noqa: PTH100 - pathlib costs a client 5 ms
    if os.path.isdir(path):  # noqa: PTH112
        return Endpoint("", 0, path, ())
    return Endpoint("", 0, os.path.dirname(path), (), path)  # noqa: PTH120


def _on_tcp(where: str, rest: str) -> Endpoint:
    host, _, port = rest.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65_535):
        raise ConfigurationError(
            f"{where!a:.80} is no place of a service: write tls://host:port, as in tls://box:50000"
        )
    return Endpoint(host.removeprefix("[").removesuffix("]"), int(port))


__all__ = [
    "NAMES_FILE",
    "SYSTEM",
    "TRUST_FIELDS",
    "USER",
    "is_name",
    "local_place",
    "named_place",
    "names_path",
    "own_place",
    "place",
    "place_at",
    "place_of_client",
    "read_names",
]
