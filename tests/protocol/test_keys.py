"""Keys and the files that hold them."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from pathlib import Path

import pytest

from orcha._protocol import keys
from orcha._protocol.endpoint import Endpoint, is_loopback, key_path, make_private_folder, state_home
from orcha.exceptions import ConfigurationError


def test_a_made_key_is_read_back_from_its_text():
    key = keys.make_key()
    assert re.fullmatch(r"orcha1\.k[\w-]{8}\.[\w-]{43}", key.text)
    assert keys.parse_key(key.text) == key
    assert keys.parse_key(key.text.encode() + b"\n") == key
    assert not key.weak


def test_two_made_keys_differ():
    assert keys.make_key() != keys.make_key()


def test_a_key_does_not_show_its_secret():
    key = keys.make_key()
    record = keys.record_of(key)
    for shown in (repr(key), str(key), repr(record)):
        assert key.text.rpartition(".")[2] not in shown
        assert repr(key.secret) not in shown
        assert repr(record.stored_key) not in shown


def test_any_other_text_is_stretched_always_to_the_same_key():
    key = keys.parse_key("correct horse battery staple")
    assert key == keys.parse_key(b"correct horse battery staple")
    assert re.fullmatch(r"t[\w-]{12}", key.id)
    assert len(key.secret) == keys.SECRET_BYTES
    assert key.secret != keys.parse_key("correct horse battery stapl").secret


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        b"\xff\xfe",
        "orcha1.",
        "orcha1.k",
        "orcha1.k.short",
        "orcha1..AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "orcha1.k,x.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "orcha1.k.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "orcha1.k.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
        f"orcha1.{'k' * 33}.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)
def test_a_text_that_is_no_key_is_refused(text):
    with pytest.raises(ValueError):
        keys.parse_key(text)


@pytest.mark.parametrize(("length", "weak"), [(15, True), (16, False)])
def test_a_short_text_is_weak(length, weak):
    key = keys.parse_key("x" * length)
    assert key.weak is weak
    assert bool(keys.check_strength(key, loopback=True)) is weak
    assert bool(keys.check_strength(key, loopback=False, allow_weak=True)) is weak
    if weak:
        with pytest.raises(ConfigurationError, match=re.escape(f"the one in {key_path()} is used")) as refused:
            keys.check_strength(key, loopback=False)
        assert "--allow-weak-key" in str(refused.value)
    else:
        assert keys.check_strength(key, loopback=False) is None


@pytest.mark.parametrize("numbers", [(0, 0), (1, 2), (2**64 - 1, 2**32 - 1)])
def test_a_capabilitys_id_names_its_attempt(numbers):
    assert keys.capability_of(keys.capability_id(*numbers)) == numbers


@pytest.mark.parametrize(
    "key_id", ["", "c", "k" + "A" * 16, "c" + "A" * 15, "c" + "A" * 17, "c" + "=" * 16, "c" + "é" * 16]
)
def test_no_other_id_names_an_attempt(key_id):
    assert keys.capability_of(key_id) is None


# --- files -----------------------------------------------------------------------------------------------------------


def test_the_key_file_is_made_once_for_its_owner_alone(orcha_home):
    path = orcha_home / "deeper" / "key"
    key = keys.load_or_make_key(str(path))
    assert keys.load_or_make_key(str(path)) == key == keys.load_key(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]


def test_all_who_make_the_key_file_at_once_have_the_same_key(orcha_home):
    path = str(orcha_home / "key")
    barrier, found = threading.Barrier(8), []

    def make():
        barrier.wait()
        found.append(keys.load_or_make_key(path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o602, 0o666, 0o777, 0o610, 0o601])
def test_a_key_file_that_others_may_use_is_refused_with_what_to_do(orcha_home, mode):
    path = orcha_home / "key"
    keys.load_or_make_key(str(path))
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=re.escape(f"chmod 600 {path}")):
        keys.load_or_make_key(str(path))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_key_file_for_its_owner_alone_is_read(orcha_home, mode):
    path = orcha_home / "key"
    key = keys.load_or_make_key(str(path))
    path.chmod(mode)
    assert keys.load_key(str(path)) == key


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_key_file_is_refused(orcha_home):
    path = orcha_home / "key"
    keys.load_or_make_key(str(path))
    os.chown(path, 12345, 12345)
    with pytest.raises(ConfigurationError, match="uid 12345"):
        keys.load_key(str(path))


def test_what_is_no_file_or_holds_no_key_is_refused(orcha_home):
    path = orcha_home / "key"
    with pytest.raises(FileNotFoundError):
        keys.load_key(str(path))
    path.touch(0o600)
    with pytest.raises(ConfigurationError, match="holds no key"):
        keys.load_key(str(path))
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigurationError, match="no file"):
        keys.load_key(str(path))


def test_a_text_that_is_no_key_is_told_with_what_to_do(orcha_home):
    with pytest.raises(
        ConfigurationError, match=re.escape(f"it is empty; leave --key out, and the one in {orcha_home}/key")
    ):
        keys.parse_key("")


@pytest.mark.parametrize(
    ("call", "number", "cure"),
    [
        ("open", errno.EACCES, "key cannot be read: Permission denied"),
        ("write", errno.ENOSPC, "key cannot be made: No space left on device: make room on that disk"),
        ("makedirs", errno.EROFS, "cannot be made: Read-only file system"),
    ],
)
def test_a_key_file_that_cannot_be_had_is_named_with_what_to_do(orcha_home, monkeypatch, call, number, cure):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    path = orcha_home / "deeper" / "key"
    monkeypatch.setattr(keys.os, call, fail)
    with pytest.raises(ConfigurationError, match=cure) as told:
        keys.load_or_make_key(str(path))
    monkeypatch.undo()
    assert str(path.parent) in str(told.value)
    assert "set ORCHA_HOME to another folder" in str(told.value)
    assert not path.parent.exists() or list(path.parent.iterdir()) == []


def test_a_key_file_below_what_is_no_folder_is_named():
    with pytest.raises(ConfigurationError, match=r"key file /dev/null/key cannot be read: Not a directory"):
        keys.load_or_make_key("/dev/null/key")


def test_a_key_file_may_be_a_link(orcha_home):
    key = keys.load_or_make_key(str(orcha_home / "real"))
    (orcha_home / "key").symlink_to("real")
    assert keys.load_key(str(orcha_home / "key")) == key


# --- endpoints -------------------------------------------------------------------------------------------------------


def test_an_endpoint_has_its_folder_below_the_home(orcha_home):
    endpoint = Endpoint("127.0.0.1", 50000)
    assert endpoint.folder == f"{orcha_home}/127.0.0.1-50000"
    assert endpoint.socket_path == f"{endpoint.folder}/orcha.sock"
    assert endpoint.lock_path == f"{endpoint.folder}/lock"
    assert endpoint.database_path == f"{endpoint.folder}/orcha.db"
    assert endpoint.output_folder == f"{endpoint.folder}/output"
    assert endpoint.socket_paths() == [endpoint.socket_path]
    assert key_path() == f"{orcha_home}/key"


def test_without_orcha_home_the_xdg_folders_count(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/states")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/configurations")
    assert state_home() == "/states/orcha"
    assert key_path() == "/configurations/orcha/key"
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "relative/is/ignored")
    monkeypatch.setenv("HOME", "/home/me/")
    assert state_home() == "/home/me/.local/state/orcha"
    assert key_path() == "/home/me/.config/orcha/key"
    assert Endpoint("h", 1).socket_paths() == [
        "/home/me/.local/state/orcha/h-1/orcha.sock",
        "/var/lib/orcha/h-1/orcha.sock",
    ]
    monkeypatch.delenv("HOME")
    assert state_home() == "/var/lib/orcha"
    assert Endpoint("h", 1).socket_paths() == ["/var/lib/orcha/h-1/orcha.sock"]
    assert key_path() == "/var/lib/orcha/key"


def test_a_relative_home_is_absolute_once_it_was_read(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHA_HOME", "state/../home")
    assert state_home() == f"{tmp_path}/home"
    monkeypatch.chdir("/")
    assert state_home() == f"{tmp_path}/home"
    assert key_path() == f"{tmp_path}/home/key"
    assert os.environ["ORCHA_HOME"] == f"{tmp_path}/home"


def test_a_relative_home_in_a_folder_that_is_gone_is_told(monkeypatch, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("ORCHA_HOME", "home")
    with pytest.raises(
        ConfigurationError, match="ORCHA_HOME is 'home', in a working folder that is gone: set it to an"
    ):
        state_home()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("address", "port"), [("", 1), ("a/b", 1), ("a\n", 1), ("a", -1), ("a", 65536)])
def test_what_names_no_endpoint_is_refused(address, port):
    with pytest.raises(ValueError):
        Endpoint(address, port)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.0.3", "::1", "0:0:0:0:0:0:0:1", "localhost", "LOCALHOST"])
def test_loopback_is_known(address):
    assert is_loopback(address)
    assert Endpoint(address, 1).is_loopback


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "127.0.0.1.nip.io", "::ffff:10.0.0.1", "128.0.0.1"],
)
def test_everything_else_is_not_loopback(address):
    assert not is_loopback(address)


def test_a_name_with_colons_is_shown_in_brackets():
    assert Endpoint("::1", 5).name == "[::1]:5"
    assert Endpoint("h", 5).name == "h:5"


def test_a_private_folder_is_made_and_one_that_others_may_change_is_refused(orcha_home):
    endpoint = Endpoint("h", 1)
    endpoint.make_folder()
    endpoint.make_folder()
    assert stat.S_IMODE(Path(endpoint.folder).stat().st_mode) == 0o700
    Path(endpoint.folder).chmod(0o770)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        endpoint.make_folder()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_another_users_folder_is_refused(orcha_home):
    folder = orcha_home / "endpoint"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(ConfigurationError, match="uid 12345"):
        make_private_folder(str(folder))


# --- what systemd hands over -----------------------------------------------------------------------------------------


@pytest.fixture
def credentials(tmp_path, monkeypatch, orcha_home):
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_a_service_takes_the_key_that_systemd_hands_it(credentials):
    key = keys.make_key()
    (credentials / "orcha.key").write_text(key.text)
    (credentials / "orcha.key").chmod(0o440)  # as an access control list's mask shows
    assert keys.services_key() == key


def test_without_such_a_credential_it_takes_its_users_key(credentials):
    assert keys.services_key() == keys.load_key(key_path())


def test_a_credential_that_others_can_read_is_none_of_systemds(credentials):
    (credentials / "orcha.key").write_text(keys.make_key().text)
    (credentials / "orcha.key").chmod(0o444)
    with pytest.raises(ConfigurationError, match="LoadCredential="):
        keys.services_key()
    (credentials / "orcha.key").unlink()
    (credentials / "orcha.key").mkdir()
    with pytest.raises(ConfigurationError, match="is no file"):
        keys.services_key()
