"""URLs of logins, and what a relay says of a login."""

from __future__ import annotations

import os

import pytest

from orcha._protocol.endpoint import Endpoint
from orcha._protocol.relay_greeting import MAX_NOISE_BYTES, FarSide, GreetingError, GreetingReader, greeting
from orcha._protocol.services import local_place, named_place, names_path, own_place
from orcha._protocol.ssh_place import SshPlace, ssh_place
from orcha.exceptions import ConfigurationError
from orcha.utils import paths

FAR = FarSide(version="1.0", user="ann\udcff", host="box", uid=7, umask=0, environment={"A": "\udcfe\n"}, folder="/é")


@pytest.mark.parametrize(
    ("url", "login", "port", "service"),
    [
        ("ssh://box", "box", 0, ""),
        ("ssh://box/", "box", 0, ""),
        ("ssh://anna@box:2222", "anna@box", 2222, ""),
        ("ssh://anna@[::1]:2222/system", "anna@::1", 2222, "system"),
        ("ssh://[fe80::1]", "fe80::1", 0, ""),
        ("ssh://box/srv/lab/orcha.sock", "box", 0, "/srv/lab/orcha.sock"),
        ("ssh://a@b@box", "a@b@box", 0, ""),
    ],
)
def test_urls_of_logins(url, login, port, service):
    place = ssh_place(url)
    assert place == SshPlace(login, port, service)
    assert named_place(url) == Endpoint("", 0, ssh=place)
    assert ssh_place(named_place(url).name) == place
    assert named_place(url).socket_paths() == []
    assert (named_place(url).has_port, named_place(url).is_loopback) == (False, True)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ssh://", "write ssh://host"),
        ("ssh://@box", "write ssh://host"),
        ("ssh://-oProxyCommand=reboot", "write ssh://host"),
        ("ssh://a b", "write ssh://host"),
        ("ssh://box\n", "write ssh://host"),
        ("ssh://anna:secret@box", "has a password: leave it out"),
        ("ssh://box:0", "has no port"),
        ("ssh://box:ssh", "has no port"),
        ("ssh://[::1]2222", "has no port"),
    ],
)
def test_what_is_no_url_of_a_login(url, said):
    with pytest.raises(ConfigurationError, match=said) as raised:
        named_place(url)
    assert "secret" not in str(raised.value)


def test_a_name_may_say_which_program_is_started_there(monkeypatch, tmp_path):
    monkeypatch.setenv("ORCHA_HOME", str(tmp_path))

    def names(text):
        (tmp_path / "services.toml").write_text(f"[services]\n{text}\n")
        assert names_path() == f"{tmp_path}/services.toml"
        return named_place("box")

    assert names('box = "ssh://box"').ssh == SshPlace("box")
    assert names('box = { at = "ssh://box/system", program = "~/o" }').ssh == SshPlace("box", 0, "system", "~/o")
    assert names('box = { at = "tls://box:1" }').name == "box:1"
    for text, said in (
        ('box = { at = "tls://box:1", program = "o" }', "is not ssh://host: no program is started there"),
        ('box = { at = "ssh://box", program = "a\\nb" }', "is no program"),
        ('box = { program = "o" }', "box is a text: write"),
        ('box = { at = "ssh://box", program = 1 }', "box is a text: write"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            names(text)
    monkeypatch.setenv("ORCHA_SERVICE", "ssh://box")
    for place_for in (local_place, own_place):
        with pytest.raises(ConfigurationError, match="on its machine: ssh box orcha doctor"):
            place_for("doctor")
    assert paths


def test_what_a_service_of_another_user_keeps_is_not_looked_for_where_its_socket_is(monkeypatch):
    monkeypatch.setenv("ORCHA_SERVICE", "user:4711")
    assert local_place("relay").owner == 4711
    with pytest.raises(ConfigurationError, match="run it as uid 4711, who shares it"):
        own_place("restore")
    monkeypatch.setenv("ORCHA_SERVICE", f"user:{os.geteuid()}")
    assert own_place("restore").owner is None


@pytest.mark.parametrize("noise", [b"", b"Welcome!\n", b"no end of a line", b"\0orcha", b"\0" * MAX_NOISE_BYTES])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_relays_line_is_found_behind_what_came_before_it(noise, size):
    data = noise + greeting(FAR) + b"rest"
    reader, found = GreetingReader(), None
    pieces = [data[at : at + size] for at in range(0, len(data), size)] if size > 1 or len(data) < 1000 else [data]
    for place, piece in enumerate(pieces):
        found = reader.feed(piece)
        if found is not None:
            assert reader.rest + b"".join(pieces[place + 1 :]) == b"rest"
            break
    assert found == FAR
    assert reader.noise == noise


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x" * (MAX_NOISE_BYTES + 100), "writes more than 64 KiB"),
        (b"x" * (MAX_NOISE_BYTES + 1) + greeting(FAR), "writes more than 64 KiB"),
        (b"\0orcha-relay " + b"x" * (5 << 20), "its line has no end"),
        (b"\0orcha-relay 2 {}\n", "speaks version b'2', and this client 1"),
        (b"\0orcha-relay 1 {\n", "cannot be read"),
        (b"\0orcha-relay 1 []\n", "cannot be read"),
        (b'\0orcha-relay 1 {"user": 1}\n', "cannot be read"),
        (b'\0orcha-relay 1 {"uid": true}\n', "cannot be read"),
        (b'\0orcha-relay 1 {"environment": {"A": 1}}\n', "cannot be read"),
        (b"\0orcha-relay 1 " + b"[" * 100_000 + b"\n", "cannot be read"),
    ],
)
def test_what_is_no_relays_line(data, said):
    with pytest.raises(GreetingError, match=said):
        GreetingReader().feed(data)


def test_what_a_later_relay_adds_is_left_out():
    assert GreetingReader().feed(b'\0orcha-relay 1 {"user": "a", "later": 1}\n') == FarSide(user="a")
