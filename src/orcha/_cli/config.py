"""``orcha config``: check, show and change the configuration files; a service need not run."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from orcha._configuration.files import Loaded

_EPILOG = """\
examples:
  orcha config check
  orcha config check /etc/orcha/orcha.toml
  orcha config show --origin
  orcha config set groups.nightly.slots 2
  orcha config unset groups.nightly.slots
  orcha --service system config set quota.default.running 8
  orcha config schema

A running service reads the files again with orcha reload.
"""
WRONG_FILE_CODE = 78


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Check, show and change the configuration of your own service; behind `orcha --service system`, that of the"
        " machine's service."
    )
    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add = verbs.add_parser("check", help="name all that is wrong, with file, line, column and cure").add_argument
    add("file", nargs="?", type=options.written, metavar="FILE", help="another file than that of the service")
    add("--json", action="store_true", help="print a JSON array of what is wrong")
    add = verbs.add_parser("show", help="show what a service that starts here and now would have").add_argument
    add("--origin", action="store_true", help="tell where each value comes from")
    add("--json", action="store_true", help="print a JSON array")
    add = verbs.add_parser("set", help="set a value, in a drop-in of its own").add_argument
    add("key", type=options.written, metavar="KEY", help="a key, as groups.nightly.slots")
    add("value", type=options.written, metavar="VALUE", help='a value, as 2, 10m, true or ["0", "1"]')
    add = verbs.add_parser("unset", help="take away what `orcha config set` set").add_argument
    add("key", type=options.written, metavar="KEY", help="the key that was set")
    verbs.add_parser("schema", help="print the JSON schema of the files")


def run(namespace: argparse.Namespace) -> int:
    """Do what the word after `config` says; give the exit code."""
    from orcha._cli import render

    if namespace.verb == "schema":
        from orcha._configuration.schema import json_schema

        render.json(json_schema())
        return 0
    if namespace.verb == "check":
        return _check(namespace.file, as_json=namespace.json)
    if namespace.verb == "show":
        return _show(origin=namespace.origin, as_json=namespace.json)
    return _change(namespace.key, None if namespace.verb == "unset" else namespace.value)


def _check(file: str | None, *, as_json: bool) -> int:
    import os

    from orcha._cli import render
    from orcha._configuration.files import load
    from orcha._configuration.named_accounts import notes_on_accounts
    from orcha._service.lifecycle.certificate import faults_of

    path, is_system = _file() if file is None else (os.path.abspath(file), False)  # noqa: PTH100 - as everywhere else
    loaded = load(path, is_system=is_system or path.startswith("/etc/"))
    loaded = loaded._replace(faults=loaded.faults or tuple(faults_of(loaded.configured)))
    is_missing = file is not None and not os.path.exists(path)  # noqa: PTH110
    notes = notes_on_accounts(loaded.configured)
    if as_json:
        kinds = (("fault", loaded.faults), ("note", notes))
        render.json([{"kind": kind} | each._asdict() for kind, those in kinds for each in those])
    else:
        for each in loaded.faults:
            render.line(str(each))
        for each in notes:
            render.line(f"note: {each}")
    if is_missing:
        render.note(f"there is no file {file}: give another one")
    elif not loaded.faults and not as_json:
        render.line(f"nothing is wrong with {', '.join(loaded.files) or f'{path}, which is not there'}")
    return WRONG_FILE_CODE if loaded.faults or is_missing else 0


def _file() -> tuple[str, bool]:
    """Give the file of the service that the options before the command name, and whether that is the machine's."""
    from orcha._protocol.endpoint import configuration_path
    from orcha._protocol.services import own_place
    from orcha.utils.system_paths import system_configuration

    is_system = own_place("config").is_system
    return system_configuration() if is_system else configuration_path(), is_system


def _show(*, origin: bool, as_json: bool) -> int:
    from orcha._cli import render
    from orcha._cli.layout import Column
    from orcha._configuration.files import load

    path, is_system = _file()
    found = list(rows(load(path, is_system=is_system).sound()))
    if as_json:
        render.json(found)
    elif origin:
        titles = ("key", "value", "origin")
        cells = [[str(each[title]) for title in titles] for each in found]
        render.table([Column(title.upper()) for title in titles], cells)
    else:
        for each in found:
            render.line(f"{each['key']} = {each['value']}")
    return 0


def rows(loaded: Loaded) -> Iterator[dict[str, Any]]:
    """Give each setting with its value in TOML, where the value comes from, and whether a reload changes it."""
    import os

    from orcha import properties
    from orcha._configuration.known import KNOWN
    from orcha._configuration.reading import dotted
    from orcha._configuration.written import spelled

    options_given = {"--no-store": properties.no_store, "--allow-weak-key": properties.allow_weak_key}
    options_given |= dict.fromkeys(("--listen-address", "--port"), properties.named)
    values = {"--no-store": "memory", "--allow-weak-key": True}
    values |= {"--listen-address": properties.listen_address, "--port": properties.port}
    configured = loaded.configured
    for each in KNOWN:
        given, variable = configured.given.get(each.keys), each.variable
        row = {"key": each.key, "at_run_time": each.at_run_time}
        if each.option is not None and options_given.get(each.option):
            yield row | {"value": spelled(values[each.option]), "origin": each.option}
        elif variable is not None and variable in os.environ:
            yield row | {"value": os.environ[variable], "origin": variable}
        elif given is not None:
            yield row | {"value": spelled(given.raw), "origin": given.origin}
        else:
            yield row | {"value": _default(each.attribute), "origin": "default"}
    known = {each.keys for each in KNOWN}
    for keys, given in configured.given.items():
        if keys not in known and given.raw is not None:
            row = {"key": dotted(keys), "value": spelled(given.raw), "origin": given.origin, "at_run_time": True}
            yield row | _stated(keys)
    for table, variable in _STATED.items():
        if os.environ.get(variable):
            yield {"key": table, "value": os.environ[variable], "origin": variable, "at_run_time": False}


_STATED = {"groups": "ORCHA_SLOTS", "resources": "ORCHA_RESOURCES"}
"""The variables that name several groups or resources; they override the files."""


def _stated(keys: tuple[str, ...]) -> dict[str, Any]:
    """Give value and origin of a group's slots or a resource where a variable overrides the files."""
    import os

    if keys[0] not in _STATED or (keys[0] == "groups" and keys[2:] != ("slots",)):
        return {}
    variable = _STATED[keys[0]]
    from orcha._configuration.resource_texts import read_resources, written

    if keys[0] == "resources":
        found = {name: written(stock) for name, stock in read_resources(os.environ.get(variable, "")).items()}
    else:
        found = dict(part.rpartition("=")[::2] for part in filter(None, os.environ.get(variable, "").split(",")))
    return {"value": found[keys[1]], "origin": variable} if keys[1] in found else {}


def _default(attribute: str | None) -> str:
    """Give a default in TOML, where it is a value."""
    from dataclasses import fields

    from orcha._configuration.written import spelled
    from orcha._service.lifecycle.settings import Settings

    found = {field.name: field.default for field in fields(Settings)}.get(attribute or "")
    return spelled(found) if isinstance(found, int | float | str) else ""


def _change(key: str, text: str | None) -> int:
    """Write a value into the drop-in of this verb, or remove it; change nothing where the result would be wrong."""
    from pathlib import Path

    from orcha._cli import render
    from orcha._configuration.files import DROP_INS, SET_FILE, load
    from orcha._configuration.named_accounts import notes_on_accounts
    from orcha._configuration.written import content_with, read_keys, read_value
    from orcha.exceptions import ConfigurationError
    from orcha.utils.new_file import replace_file

    path, is_system = _file()
    file = Path(f"{path}{DROP_INS}/{SET_FILE}")
    try:
        keys = read_keys(key)
        content = file.read_text("utf-8") if file.exists() else ""
        made = content_with(content, keys, None if text is None else read_value(text))
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    if text is None and made.count("\n") == content.count("\n"):
        render.note(f"{key} was not set with orcha config set: orcha config show --origin says where it comes from")
        return 1
    loaded = load(path, is_system=is_system, instead={str(file): made.encode()}).sound()
    file.parent.mkdir(mode=0o755 if is_system else 0o700, parents=True, exist_ok=True)
    replace_file(str(file), made.encode(), mode=0o644 if is_system else 0o600)
    given = loaded.configured.given.get(keys)
    if text is not None and given is not None and given.file != str(file):
        render.note(f"{given.origin} counts more: change the value there")
    for each in notes_on_accounts(loaded.configured):
        if each.file == str(file):
            render.note(str(each))
    render.line(f"{file}: orcha reload has a running service read it")
    return 0
