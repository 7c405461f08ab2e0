"""docs/configuration.md: its example is read, and its table of what counts is tried cell by cell."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

import pytest

from orcha import properties
from orcha._cli import config
from orcha._cli.serve import configuration_at
from orcha._configuration.configured import together
from orcha._configuration.files import BadConfigurationError, load
from orcha._configuration.known import KNOWN
from orcha._configuration.reading import keys_of, read
from orcha._configuration.schema import Configuration, GroupTable, QuotasTable, QuotaTable
from orcha._protocol.endpoint import Endpoint, configuration_path, service_place
from orcha._service.lifecycle.settings import from_environment
from orcha.lib.commands import most_commands
from orcha.utils.event_log import wanted_kind

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "configuration.md").read_text()
EXAMPLE = PAGE.partition("```toml\n")[2].partition("```")[0].encode()
TABLE = re.findall(r"^\| `([a-z_.]+)` \| (?:`([A-Z_]+)`)? ?\| (?:`([^`]+)`)? ?\| (yes|no) \|$", PAGE, re.MULTILINE)
LAYERS = {
    "service.commands": ("1", "2", "3", (1, 2, 3)),
    "service.new_groups": ("1", "2", "3", (1, 2, 3)),
    "service.fair": ('"now"', '"past"', "past:1h", (None, 86_400.0, 3_600.0)),
    "service.detect": ("false", "true", "0", (False, True, False)),
    "service.store": ('"sqlite"', '"memory"', "sqlite", (True, False, True)),
    "service.hook_deadline": ('"1m"', "2", "3", (60.0, 2.0, 3.0)),
    "service.stop_grace": ("1", '"2s"', "3", (1.0, 2.0, 3.0)),
    "service.abandon_after": ("1", "2", "3", (1.0, 2.0, 3.0)),
    "service.shim_silence": ("1", "2", "3", (1.0, 2.0, 3.0)),
    "service.keep_commands": ("false", "true", "0", (False, True, False)),
    "service.keep_input": ('"1K"', "2", "3", (1024, 2, 3)),
    "service.log": ('"json"', '"journal"', "text", ("json", "journal", "text")),
    "service.log_runs": ("true", "false", "1", (True, False, True)),
    "listen.address": ('"127.0.0.2"', '"127.0.0.3"', "127.0.0.4", ("127.0.0.2", "127.0.0.3", "127.0.0.4")),
    "listen.port": ("50001", "50002", "50003", (50001, 50002, 50003)),
    "listen.share": ("false", "true", "0", (False, True, False)),
    "listen.reached_as": ('["192.0.2.7:1"]', '["192.0.2.7:2"]', "192.0.2.7:3", (1, 2, 3)),
    "tls.certificate": ('"/a"', '"/b"', "/c", ("/a", "/b", "/c")),
    "tls.key": ('"/a"', '"/b"', "/c", ("/a", "/b", "/c")),
    "tls.client_ca": ('"/a"', '"/b"', "/c", ("/a", "/b", "/c")),
    "retention.age": ("1", "2", "3", (1.0, 2.0, 3.0)),
    "retention.count": ("1", "2", "3", (1, 2, 3)),
    "retention.bytes": ("1", '"1K"', "3", (1, 1024, 3)),
    "retention.least": ("1", "2", "3", (1.0, 2.0, 3.0)),
    "audit.keep": ("1", "2", "3", (1.0, 2.0, 3.0)),
    "audit.count": ("1", "2", "3", (1, 2, 3)),
}
"""What the file, the drop-in and the variable say, and what counts then."""


def test_the_example_is_read_and_holds_everything_that_may_stand_in_a_file():
    reading = read(EXAMPLE, "orcha.toml")
    configured, faults = together([reading])
    assert faults == []
    tables = keys_of(Configuration)
    chosen = {"groups", "resources", "quota", "weights"}
    named = {(table, key) for table, kind in tables.items() if table not in chosen for key in keys_of(kind)}
    need_cgroups = {("defaults", name) for name in ("memory", "pids", "cpu_share")}
    assert named - need_cgroups <= configured.given.keys()
    assert {keys[2] for keys in configured.given if keys[:2] == ("groups", "nightly") and keys[2:]} == {
        *keys_of(GroupTable)
    }
    assert {keys[1] for keys in configured.given if keys[0] == "quota"} == {*keys_of(QuotasTable)}
    default = {keys[2] for keys in configured.given if keys[:2] == ("quota", "default") and keys[2:]}
    assert default == {*keys_of(QuotaTable)}


def test_the_table_names_each_setting():
    shown = [(each.key, each.variable or "", each.option or "", "yes" if each.at_run_time else "no") for each in KNOWN]
    assert shown == TABLE
    tables = ("service", "listen", "tls", "retention", "audit")
    assert {each.key for each in KNOWN} == {
        f"{name}.{key}" for name in tables for key in keys_of(keys_of(Configuration)[name])
    }


def effective(key, loaded):
    """Give what a service has that reads these files."""
    if key == "service.commands":
        return most_commands(loaded.configured.value("service", "commands", None))
    if key == "service.log":
        return wanted_kind(os.environ, configured=loaded.configured.value("service", "log", None))
    if key.startswith("listen.") and key[7:] in {"address", "port"}:
        from orcha.utils.place import place_of

        address, port, named = place_of()
        place = service_place(address, port, named=named, listen=loaded.listen)
        return place.address if key == "listen.address" else place.port
    settings = from_environment(
        Endpoint("127.0.0.1", 1, "/x"),
        key=None,
        look_ahead=None,
        on_hook_timeout="replace",
        configured=loaded.configured,
    )
    known = next(each for each in KNOWN if each.key == key)
    name = {"service.new_groups": "new_group_slots", "service.store": "durable"}.get(key, known.attribute)
    value = getattr(settings, name)
    return int(next(iter(value)).rpartition(":")[2]) if key == "listen.reached_as" else value


@pytest.mark.parametrize("key", sorted(LAYERS))
def test_each_layer_counts_more_than_those_below(key, tmp_path, monkeypatch):
    variable = next(each.variable for each in KNOWN if each.key == key)
    for each in KNOWN:
        if each.variable:
            monkeypatch.delenv(each.variable, raising=False)
    monkeypatch.setattr("orcha._service.lifecycle.settings.detected", dict)
    in_file, in_drop_in, in_variable, expected = LAYERS[key]
    path = tmp_path / "orcha.toml"
    path.write_text(f"{key} = {in_file}\n")
    assert effective(key, load(str(path)).sound()) == expected[0]
    (tmp_path / "orcha.toml.d").mkdir()
    (tmp_path / "orcha.toml.d" / "10.toml").write_text(f"{key} = {in_drop_in}\n")
    (tmp_path / "orcha.toml.d" / "9.toml.off").write_text("no TOML")
    assert effective(key, load(str(path)).sound()) == expected[1]
    assert origin(key, path) == f"{tmp_path}/orcha.toml.d/10.toml:1"
    monkeypatch.setenv(variable, in_variable)
    assert effective(key, load(str(path)).sound()) == expected[2]
    assert origin(key, path) == variable


def origin(key, path):
    return next(each["origin"] for each in config.rows(load(str(path))) if each["key"] == key)


def test_options_count_more_than_the_environment(tmp_path, monkeypatch):
    given = argparse.Namespace(plugins=["commands"], new_groups="1", fair="past", detect=True, share=True, log="json")
    given.tls_cert = given.tls_key = given.tls_client_ca = "/f"
    for name in ("no_store", "named", "allow_weak_key"):
        monkeypatch.setattr(properties, name, True)
    source = configuration_at(str(tmp_path / "orcha.toml"), given, is_system=False)
    assert source.options == {
        each.key: (each.option or "").removeprefix("serve ") for each in KNOWN if each.option is not None
    }
    monkeypatch.setenv("ORCHA_STORE", "sqlite")
    monkeypatch.setenv("ORCHA_PORT", "1")
    path = tmp_path / "orcha.toml"
    shown = {each["key"]: each["origin"] for each in config.rows(load(str(path)))}
    before = ("service.store", "listen.address", "listen.port", "listen.allow_weak_key")
    assert [shown[key] for key in before] == ["--no-store", "--listen-address", "--port", "--allow-weak-key"]


def test_where_the_users_file_is(monkeypatch):
    monkeypatch.setenv("ORCHA_HOME", "/h")
    assert configuration_path() == "/h/orcha.toml"
    monkeypatch.delenv("ORCHA_HOME")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    assert configuration_path() == "/c/orcha/orcha.toml"
    monkeypatch.setenv("ORCHA_CONFIG", "/o.toml")
    assert configuration_path() == "/o.toml"


@pytest.mark.parametrize(
    ("mode", "is_system", "refused"), [(0o664, False, False), (0o666, False, True), (0o664, True, True)]
)
def test_a_file_that_others_can_write_is_refused(tmp_path, mode, is_system, refused):
    path = tmp_path / "orcha.toml"
    path.write_text("")
    path.chmod(mode)
    loaded = load(str(path), is_system=is_system)
    assert bool(loaded.faults) == refused
    if refused:
        with pytest.raises(
            BadConfigurationError, match=r"orcha.toml:1:1: others may write to .*: chmod go-w"
        ) as caught:
            loaded.sound()
        assert caught.value.exit_code == 78


def test_where_only_a_port_or_an_address_is_configured_the_other_one_is_the_usual_one(tmp_path):
    path = tmp_path / "orcha.toml"
    for text, place in (("", None), ("port = 7", ("127.0.0.1", 7)), ('address = "::1"', ("::1", 50_000))):
        path.write_text(f"[listen]\n{text}\n")
        assert load(str(path)).listen == place


def test_a_folder_that_others_can_write_is_refused_and_what_cannot_be_read_is_told(tmp_path):
    folder = tmp_path / "orcha.toml.d"
    folder.mkdir()
    (folder / "1.toml").write_text("")
    folder.chmod(0o777)
    path = str(tmp_path / "orcha.toml")
    assert "others may write to" in load(path).faults[0].text
    folder.chmod(0o755)
    (folder / "2.toml").mkdir()
    (folder / "3.toml").write_bytes(b"#" * (1 << 20) + b"#")
    told = [each.text.partition(":")[0] for each in load(path).faults]
    assert told == ["it cannot be read (Is a directory)", "it has more than 1048576 bytes"]


def test_what_belongs_to_another_user_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "orcha.toml"
    path.write_text("")
    monkeypatch.setattr(
        "orcha._configuration.files.os.fstat",
        lambda _: __import__("os").stat_result([0o100600, 0, 0, 1, 12345, 0, 0, 0, 0, 0]),
    )
    assert "belongs to uid 12345: chown" in load(str(path)).faults[0].text


def test_credentials_of_systemd_count_where_nothing_else_names_a_file_of_the_certificate(tmp_path, monkeypatch):
    for variable in ("ORCHA_TLS_CERT", "ORCHA_TLS_KEY", "ORCHA_TLS_CLIENT_CA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    place = {"key": None, "look_ahead": None, "on_hook_timeout": "replace"}

    def files():
        found = from_environment(Endpoint("127.0.0.1", 1, "/x"), **place)
        return found.tls_certificate, found.tls_key, found.tls_client_ca

    assert files() == (None, None, None)
    for field in ("certificate", "key"):
        (tmp_path / f"orcha.tls.{field}").write_text("")
    assert files() == (f"{tmp_path}/orcha.tls.certificate", f"{tmp_path}/orcha.tls.key", None)
    monkeypatch.setenv("ORCHA_TLS_CERT", "/a")
    assert files() == ("/a", None, None)
