"""The files in which a command finds its secrets: made in memory, and removed whatever has become of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from orcha._supervisor import secret_files
from orcha._supervisor.contract import CommandSpec
from orcha._supervisor.protocol import pack_secrets, pack_spec, unpack_spec

pytestmark = pytest.mark.skipif(
    secret_files.kind_of("/dev/shm") != "tmpfs", reason="/dev/shm is no file system in memory here"
)
GIVEN = {"TOKEN": b"\0\xff value\n", "KEY": b"k"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shims").mkdir(mode=0o700)
    yield str(tmp_path)
    secret_files.remove(str(tmp_path), "shim")


def notes(folder):
    return list(Path(folder).glob("shims/*"))


def test_each_secret_is_a_file_that_goes_with_its_folder(folder):
    variables = secret_files.write(folder, "shim", GIVEN, None)
    place = Path(variables.pop("ORCHA_SECRETS"))
    assert variables == {f"ORCHA_SECRET_{name}": f"{place}/{name}" for name in GIVEN}
    assert {path.name: path.read_bytes() for path in place.iterdir()} == GIVEN
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == {0o400}
    secret_files.remove(folder, "shim")
    assert not place.exists()
    assert notes(folder) == []
    secret_files.remove(folder, "shim")


def test_what_a_command_made_beside_them_goes_too_and_nothing_is_followed(folder, tmp_path):
    place = Path(secret_files.write(folder, "shim", GIVEN, None)["ORCHA_SECRETS"])
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    (place / "link").symlink_to(outside)
    (place / "deep" / "er").mkdir(parents=True)
    (place / "deep" / "er" / "copy").write_bytes(b"k")
    secret_files.remove(folder, "shim")
    assert not place.exists()
    assert (outside / "kept").exists()


def test_a_link_in_the_place_of_the_folder_goes_and_not_what_it_leads_to(folder, tmp_path):
    place = Path(secret_files.write(folder, "shim", {}, None)["ORCHA_SECRETS"])
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    place.rmdir()
    place.symlink_to(outside)
    secret_files.remove(folder, "shim")
    assert not place.is_symlink()
    assert (outside / "kept").exists()


@pytest.mark.parametrize("said", ["/etc", "../etc/orcha-" + "0" * 32, "", "/nowhere/orcha-" + "0" * 32])
def test_a_note_of_anything_else_removes_nothing(folder, said):
    note = Path(folder) / "shims" / "shim.secrets"
    note.write_text(said)
    secret_files.remove(folder, "shim")
    assert notes(folder) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand files over")
def test_they_belong_to_the_user_of_the_command(folder):
    place = Path(secret_files.write(folder, "shim", GIVEN, (65533, 65532))["ORCHA_SECRETS"])
    found = [each.stat() for each in (place, *place.iterdir())]
    assert {(each.st_uid, each.st_gid) for each in found} == {(65533, 65532)}


def test_without_a_place_in_memory_nothing_is_written(folder, monkeypatch):
    monkeypatch.setattr(secret_files, "kind_of", lambda _: "ext4")
    with pytest.raises(OSError, match="mount one, or leave out --secret"):
        secret_files.write(folder, "shim", GIVEN, None)
    assert notes(folder) == []


def test_a_specification_travels_without_its_secrets_and_is_no_program_to_an_older_build():
    spec = CommandSpec(1, 1, bytes(16), ("true", "x"), "/", {}, uid=7, secrets=GIVEN)
    head, raw = pack_spec(spec), pack_secrets(spec)
    assert b"value" not in repr(head).encode()
    assert head["argv"] == []
    assert "argv_as_user" not in head
    assert unpack_spec(head, raw) == spec._replace(channel=bytes(16))
    with pytest.raises(ValueError, match="not whole"):
        unpack_spec(head, raw[:-1])


@pytest.mark.parametrize(
    "wrong", [["TOKEN"], {"TOKEN": None}, {"TOKEN": float("inf")}, {"TOKEN": 10, "KEY": -1}, {"TOKEN": -1, "KEY": 10}]
)
def test_secrets_of_which_the_sizes_make_no_sense_are_refused(wrong):
    spec = CommandSpec(1, 1, bytes(16), ("true",), "/", {}, secrets=GIVEN)
    with pytest.raises(ValueError, match=r"not whole|TypeError|OverflowError|AttributeError"):
        unpack_spec(pack_spec(spec) | {"secrets": wrong}, pack_secrets(spec))
