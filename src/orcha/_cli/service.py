"""``orcha service``: the services that the user has named, and by what each is recognised."""

from __future__ import annotations

from orcha._protocol.services import is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from pathlib import Path
    from typing import Any

    from orcha._protocol.endpoint import Endpoint

_EPILOG = """\
examples:
  orcha service add box tls://box.example:50000 --key-file ci.key
  orcha service ls
  orcha service trust box
  orcha service rm box

A service over TLS is recognised by its certificate's public key, as it was at
its first use; with --ca by an authority and the name of the host.
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Name services of other machines, and say by what each is recognised: services.toml."
    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add = verbs.add_parser("add", help="name a service, and look who answers there").add_argument
    add("name", type=_name, metavar="NAME", help="what orcha --service NAME means from now on")
    add("place", metavar="PLACE", help="tls://host:port, ssh://host, unix:/path/orcha.sock, or a path")
    add("--key-file", dest="key", metavar="FILE", help="the key to prove there (default: the user's own)")
    add("--ca", metavar="FILE", help="authority of its certificate, in PEM; system for the machine's own")
    add("--cert", dest="certificate", metavar="FILE", help="certificate to show there, where it wants one, in PEM")
    add("--cert-key", dest="certificate_key", metavar="FILE", help="key of that certificate, in PEM")
    add = verbs.add_parser("ls", help="show the services that have names").add_argument
    add("--json", action="store_true", help="print a JSON array")
    add = verbs.add_parser("rm", help="forget names, and by what the services were recognised").add_argument
    add("names", nargs="+", metavar="NAME", help="a service")
    add = verbs.add_parser("trust", help="recognise a service by what it shows now").add_argument
    add("name", metavar="NAME", help="a service over TLS that has changed")


def _name(text: str) -> str:
    import argparse

    if not is_name(text):
        raise argparse.ArgumentTypeError(f"{ascii(text)[:80]} cannot be the name of a service: choose another")
    return text


def run(namespace: argparse.Namespace) -> int:
    """Do what the word after `service` says; give the exit code."""
    if namespace.verb == "add":
        return _add(namespace)
    if namespace.verb == "ls":
        return _show(as_json=namespace.json)
    if namespace.verb == "rm":
        return _remove(namespace.names)
    return _trust(namespace.name)


def _add(namespace: argparse.Namespace) -> int:
    import os

    from orcha._cli import render
    from orcha._cli.service_file import OwnHandError, with_entry
    from orcha._client.dial import dial
    from orcha._protocol.services import TRUST_FIELDS, names_path, place_at, read_names
    from orcha._protocol.trust import SYSTEM_AUTHORITIES
    from orcha.exceptions import ConfigurationError, OrchaConnectionError

    name = namespace.name
    if name in read_names():
        raise ConfigurationError(f"there is a service {name} already: orcha service rm {name}, or choose another name")
    fields = {field: value for field in TRUST_FIELDS if (value := getattr(namespace, field)) is not None}
    fields = {
        field: value if value == SYSTEM_AUTHORITIES and field == "ca" else os.path.abspath(value)  # noqa: PTH100
        for field, value in fields.items()
    }
    endpoint = place_at(name, namespace.place, fields)
    at = namespace.place if endpoint.has_port or endpoint.ssh is not None else f"unix:{endpoint.socket_path}"
    try:
        made = with_entry(_text(), name, {"at": at, **fields})
    except OwnHandError:
        raise ConfigurationError(f"{names_path()} cannot be added to: write {name} there by hand") from None
    try:
        dial(endpoint).close()
    except OrchaConnectionError as error:
        render.note(f"{error}; {name} stands in {names_path()} all the same, and is recognised from its first use on")
    _write(made)
    render.line(f"{name}: {_recognised(endpoint)}")
    return 0


def _recognised(endpoint: Endpoint) -> str:
    """Say by what a service is recognised."""
    from orcha._protocol.pins import read_pins

    if endpoint.ssh is not None:
        return f"{endpoint.name}, as ssh recognises its host"
    if not endpoint.has_port:
        return f"{endpoint.socket_path}, whose user the kernel names"
    ca = None if endpoint.trust is None else endpoint.trust.ca
    if ca is not None:
        return f"{endpoint.name}, for which {ca} vouches"
    return f"{endpoint.name}, {read_pins().get(endpoint.name, 'not seen yet')}"


def _show(*, as_json: bool) -> int:
    from orcha._cli import render
    from orcha._cli.layout import Column
    from orcha._protocol.pins import read_pins
    from orcha._protocol.services import read_names

    pins, rows = read_pins(), []
    for name, endpoint in sorted(read_names().items()):
        trust: Any = endpoint.trust
        pin = pins.get(endpoint.name) if endpoint.has_port and trust.ca is None else None
        row = {"name": name, "place": endpoint.name, "fingerprint": pin}
        rows.append(row | {field: getattr(trust, field) for field in ("ca", "key", "certificate")})
    if as_json:
        render.json(rows)
    elif not rows:
        render.line("no service has a name: orcha service add NAME tls://host:port")
    else:
        titles = ("NAME", "PLACE", "FINGERPRINT", "CA", "KEY", "CERTIFICATE")
        cells = [["" if each[title.lower()] is None else str(each[title.lower()]) for title in titles] for each in rows]
        render.table([Column(title) for title in titles], cells)
    return 0


def _remove(names: list[str]) -> int:
    from orcha._cli import render
    from orcha._cli.service_file import OwnHandError, without_entry
    from orcha._protocol.pins import forget_pin
    from orcha._protocol.services import names_path, read_names

    code = 0
    for name in names:
        known = read_names()
        endpoint = known.pop(name, None)
        if endpoint is None:
            render.note(f"there is no service {render.plain(name)}: orcha service ls")
            code = 1
            continue
        try:
            _write(without_entry(_text(), name))
        except OwnHandError:
            render.note(f"{name} cannot be taken out of {names_path()} by itself: take it out by hand")
            code = 1
            continue
        if endpoint.has_port and all(each.name != endpoint.name for each in known.values()):
            forget_pin(endpoint.name)
    return code


def _trust(name: str) -> int:
    """Recognise a service by what it shows now, where it proves to know the key."""
    from orcha._cli import render
    from orcha._client.dial import dial
    from orcha._protocol.pins import forget_pin, keep_pin, read_pins
    from orcha._protocol.services import named_place
    from orcha.exceptions import ConfigurationError

    endpoint = named_place(name)
    if endpoint.trust is None or not endpoint.has_port or endpoint.trust.ca is not None:
        raise ConfigurationError(f"{name} needs no orcha service trust, since it is {_recognised(endpoint)}")
    before = forget_pin(endpoint.name)
    try:
        dial(endpoint).close()
    except BaseException:
        if before is not None:
            keep_pin(endpoint.name, before)
        raise
    now = read_pins()[endpoint.name]
    was = "" if before is None else ", as before" if before == now else f", and was {before}"
    render.line(f"{name}: {endpoint.name}, {now}{was}")
    return 0


def _text() -> str:
    path = _path()
    return path.read_text("utf-8") if path.exists() else ""


def _path() -> Path:
    from pathlib import Path

    from orcha._protocol.services import names_path

    return Path(names_path())


def _write(text: str) -> None:
    """Have this in the file with the names, in the place of what was there."""
    from orcha._protocol.endpoint import make_private_folder
    from orcha.utils.new_file import replace_file

    path = _path()
    make_private_folder(str(path.parent))
    replace_file(str(path), text.encode(), path.stat().st_mode & 0o777 if path.exists() else 0o600)
