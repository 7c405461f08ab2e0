"""Which service is meant by a name, a path or a URL, and in which order a client looks where nothing is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcha import properties
from orcha._protocol.endpoint import Endpoint, client_place, system_place
from orcha._protocol.services import named_place, names_path, place, read_names
from orcha.exceptions import ConfigurationError
from orcha.utils.place import service_of

pytestmark = pytest.mark.usefixtures("orcha_home")


def write_names(text):
    Path(names_path()).write_text(text, encoding="utf-8")


def test_the_machines_service_has_its_folders_where_services_of_root_have_them(monkeypatch):
    monkeypatch.delenv("ORCHA_SYSTEM_ROOT", raising=False)
    found = system_place()
    assert (found.folder, found.socket_path) == ("/var/lib/orcha/system", "/run/orcha/orcha.sock")
    assert found.name == "/run/orcha/orcha.sock"
    assert found.socket_paths() == ["/run/orcha/orcha.sock"]
    monkeypatch.setenv("ORCHA_SYSTEM_ROOT", "/tmp/elsewhere/")
    assert system_place().folder == "/tmp/elsewhere/var/lib/orcha/system"
    assert system_place().socket_path == "/tmp/elsewhere/run/orcha/orcha.sock"


def test_the_machines_service_comes_after_all_of_the_users_own(monkeypatch):
    monkeypatch.delenv("ORCHA_HOME")
    monkeypatch.delenv("ORCHA_SYSTEM_ROOT", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    verbs = client_place("127.0.0.1", 50000, named=False, plugin=False)
    assert verbs.socket_paths() == [
        "/state/orcha/default/orcha.sock",
        "/var/lib/orcha/default/orcha.sock",
        "/state/orcha/127.0.0.1-50000/orcha.sock",
        "/var/lib/orcha/127.0.0.1-50000/orcha.sock",
        "/run/orcha/orcha.sock",
    ]
    assert verbs.folders()[-1] == "/var/lib/orcha/system"
    assert verbs.found("/run/orcha/orcha.sock") == system_place()
    plugins = client_place("127.0.0.1", 50000, named=False, plugin=True)
    assert plugins.socket_paths()[-2:] == ["/var/lib/orcha/default/orcha.sock", "/run/orcha/orcha.sock"]
    assert (
        client_place("127.0.0.1", 50001, named=True, plugin=False).socket_paths()[-1].startswith("/var/lib/orcha/127")
    )


def test_a_home_of_ones_own_leaves_the_machine_out_unless_that_was_moved_too(monkeypatch, orcha_home):
    monkeypatch.delenv("ORCHA_SYSTEM_ROOT", raising=False)
    assert client_place("127.0.0.1", 50000, named=False, plugin=False).folders()[-1] == f"{orcha_home}/127.0.0.1-50000"
    monkeypatch.setenv("ORCHA_SYSTEM_ROOT", "/x")
    assert client_place("127.0.0.1", 50000, named=False, plugin=False).folders()[-1] == "/x/var/lib/orcha/system"


def test_names_paths_and_urls(orcha_home, tmp_path):
    write_names('[services]\nlab = "unix:/srv/lab/lab.sock"\nbox = "tls://[::1]:50001"\nhere = "/srv/orcha.sock"\n')
    assert named_place("user") == Endpoint("", 0, f"{orcha_home}/default", ())
    assert named_place("system") == system_place()
    assert named_place("lab").socket_paths() == ["/srv/lab/lab.sock"]
    assert named_place("here").folder == "/srv"
    assert (named_place("box").address, named_place("box").port) == ("::1", 50001)
    assert named_place("unix:///srv/a.sock") == named_place("/srv/a.sock")
    assert named_place(str(tmp_path)).socket_path == f"{tmp_path}/orcha.sock"
    assert named_place("tls://box.example:50000/").name == "box.example:50000"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[services", "is no TOML"),
        ("services = 1", "is a table of names"),
        ("[servers]\na = 1", "has [services] alone, and no 'servers'"),
        ('[services]\nuser = "/a"', "'user' cannot be the name"),
        ('[services]\n"a/b" = "/a"', "'a/b' cannot be the name"),
        ("[services]\nlab = 1", "lab is a text"),
        ('[services]\nlab = "box:1"', "is no place of a service"),
        ('[services]\nlab = "tls://box"', "write tls://host:port"),
        ('[services]\nlab = "tls://box:70000"', "write tls://host:port"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_its_path(text, said):
    write_names(text)
    with pytest.raises(ConfigurationError) as raised:
        read_names()
    assert said in str(raised.value)


def test_a_file_that_may_not_be_read_is_told():
    with pytest.raises(ConfigurationError, match="'lab': there are user, system; "):
        named_place("lab")
    Path(names_path()).mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        named_place("lab")


def test_what_is_named_first(monkeypatch):
    monkeypatch.setattr(properties, "service", None)
    monkeypatch.delenv("ORCHA_SERVICE", raising=False)
    assert service_of() == ""
    monkeypatch.setenv("ORCHA_SERVICE", "system")
    monkeypatch.setenv("ORCHA_PORT", "50123")
    assert place() == system_place()
    assert service_of(port=50001) == service_of("127.0.0.1") == ""
    monkeypatch.setattr(properties, "port", 50002)
    assert service_of() == ""
    monkeypatch.setattr(properties, "named", True)
    assert service_of() == "system"
    monkeypatch.setattr(properties, "service", "")
    assert place().port == 50002
    monkeypatch.setattr(properties, "service", "user")
    assert place() == named_place("user")
    assert service_of(port=50001) == "user"
