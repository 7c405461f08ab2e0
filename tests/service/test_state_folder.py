"""The folder of an endpoint: no link in it is followed, and what is not as it should be is told with its cure."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from orcha._protocol.endpoint import with_short_path
from orcha.exceptions import OrchaError
from orcha.interfaces import Message
from orcha.utils.private import UnsafeStateError, check_folder, make_folder, open_file, unlink
from support.commands import COMMANDS, everything, run
from support.store_copies import own_copy
from support.waiting import wait_for

FOLDERS = ("output", "shims")
FILES = (
    *("lock", "orcha.db", "orcha.db-wal", "orcha.db-shm", "orcha.db.clean", "orcha.db.sums", "ballast"),
    *("service.pid", "service.log"),
)
IN_THEM = ("shims/errors", "shims/0a1b.box", "output/00ff.0000000000000000")
SOCKETS = ("orcha.sock", "shims/0a1b.sock")


@pytest.fixture
def folder(tmp_path):
    """Give the folder of an endpoint in which all names are as they should be."""
    folder = tmp_path / "127.0.0.1-1"
    for path in (folder, folder / "output", folder / "shims"):
        path.mkdir(mode=0o700)
    for name in (*FILES, *IN_THEM):
        (folder / name).touch(mode=0o600)
    for name in SOCKETS:
        a_socket(folder / name)
    check_folder(str(folder))
    return folder


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as sock:
        with_short_path(str(path), sock.bind)


def a_device(path):
    if os.geteuid():
        pytest.skip("a device needs root")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))


MAKE = {
    "a symbolic link": lambda path: path.symlink_to(path.parent.parent.parent / "outside"),
    "a FIFO": lambda path: os.mkfifo(path, 0o600),
    "a folder": lambda path: path.mkdir(mode=0o700),
    "a file": lambda path: path.touch(mode=0o600),
    "a socket": a_socket,
    "a device": a_device,
}


def put_in_place_of(path, make):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    make(path)


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("name", [*FOLDERS, *FILES, *IN_THEM, *SOCKETS])
def test_another_kind_of_thing_is_told(folder, name, kind):
    right = "a folder" if name in FOLDERS else "a socket" if name in SOCKETS else "a file"
    put_in_place_of(folder / name, MAKE[kind])
    if kind == right:
        check_folder(str(folder))
        return
    with pytest.raises(UnsafeStateError) as told:
        check_folder(str(folder))
    assert str(told.value).startswith(f"{folder / name} is {kind} where {right} belongs")
    assert "move it away" in str(told.value)
    assert told.value.exit_code == 78


@pytest.mark.parametrize(("mode", "told"), [(0o666, "others may write to it"), (0o060, "others"), (0o400, "its owner")])
@pytest.mark.parametrize("name", [*FOLDERS, *FILES, "shims/errors", "shims/0a1b.box"])
def test_a_mode_that_lets_others_write_or_the_owner_not_is_told(folder, name, mode, told):
    (folder / name).chmod(mode)
    right = 700 if name in FOLDERS else 600
    with pytest.raises(UnsafeStateError, match=rf"has mode {mode:04o}, so {told}.*: chmod {right} {folder / name}"):
        check_folder(str(folder))


@pytest.mark.parametrize("name", [*FOLDERS, *FILES, *SOCKETS, "shims/0a1b.box"])
def test_another_owner_is_told(folder, name):
    if os.geteuid():
        pytest.skip("giving a file away needs root")
    os.chown(folder / name, 12_345, -1)
    with pytest.raises(
        UnsafeStateError, match=f"belongs to user 12345, and the service runs as user 0: chown 0 {folder}"
    ):
        check_folder(str(folder))


@pytest.mark.parametrize("name", [*FILES, "shims/0a1b.box"])
def test_a_hard_link_is_told_and_its_cure_cures(folder, tmp_path, name):
    (folder / name).write_text("kept")
    os.link(folder / name, tmp_path / "outside")
    with pytest.raises(UnsafeStateError, match=f"^{folder / name} is one of 2 names of the same file") as told:
        check_folder(str(folder))
    cure = str(told.value).split(": ", 1)[1]
    subprocess.run(cure, shell=True, check=True)
    check_folder(str(folder))
    assert (folder / name).read_text() == (tmp_path / "outside").read_text() == "kept"


def test_what_is_not_orchas_is_nobodys_business(folder):
    (folder / "notes").symlink_to("/etc/hostname")
    (folder / "backup").mkdir(mode=0o777)
    check_folder(str(folder))


# --- opening ---------------------------------------------------------------------------------------------------------


def test_nothing_is_opened_or_removed_through_a_link_at_any_of_three_levels(folder, tmp_path):
    outside = tmp_path / "outside"
    shutil.copytree(folder / "output", outside / "output")
    (outside / "output" / "x").write_text("outside")
    (folder / "output" / "link").symlink_to(outside / "output" / "x")
    (folder / "linked").symlink_to(outside / "output")
    (tmp_path / "other").symlink_to(outside)
    for path in (folder / "output" / "link", folder / "linked" / "x", tmp_path / "other" / "output" / "x"):
        with pytest.raises(OSError, match=r"Too many levels|Not a directory"):
            open_file(str(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    for path in (folder / "linked" / "x", tmp_path / "other" / "output" / "x"):
        with pytest.raises(NotADirectoryError):
            unlink(str(path))
    with pytest.raises(UnsafeStateError):
        make_folder(str(folder / "linked"))
    assert (outside / "output" / "x").read_text() == "outside"


@pytest.mark.timeout(30)
def test_what_would_block_does_not(folder):
    os.mkfifo(folder / "pipe")
    for flags in (os.O_RDONLY, os.O_RDWR):
        with pytest.raises(OSError, match="it is no file"):
            open_file(str(folder / "pipe"), flags)


def test_the_error_of_a_file_that_cannot_be_opened_has_its_whole_path(folder):
    with pytest.raises(FileNotFoundError) as caught:
        open_file(str(folder / "gone"), os.O_RDONLY)
    assert caught.value.filename == str(folder / "gone")


# --- a service -------------------------------------------------------------------------------------------------------


def snapshot(folder):
    """Give every path below a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize(
    "name", ["output", "shims", "lock", "orcha.db", "orcha.db-wal", "orcha.db-shm", "ballast", "orcha.sock"]
)
def test_a_link_in_a_name_s_place_refuses_the_start_and_nothing_outside_changes(serve, connect, tmp_path, name):
    service = serve(COMMANDS)
    everything(run(connect(service), "first", "echo", "hello"))
    service.kill()
    path = service.home / f"{service.address}-{service.port}" / name
    wait_for(lambda: path.exists() or name == "orcha.db-shm", what="its files")
    outside = tmp_path / "outside"
    if path.is_dir():
        shutil.copytree(path, outside, ignore=shutil.ignore_patterns("*.sock"))
        shutil.rmtree(path)
    else:
        outside.write_bytes(b"" if name == "orcha.sock" else path.read_bytes())
        path.unlink()
    before = snapshot(tmp_path)
    path.symlink_to(outside)
    service.start(ready=False)
    assert service.wait_for_end() == 78
    assert f"orcha: {path} is a symbolic link where a" in service.stderr()
    assert "Traceback" not in service.stderr()
    after = snapshot(tmp_path)
    assert {one: after[one] for one in before if "service-" not in one} == {
        one: before[one] for one in before if "service-" not in one
    }
    path.unlink()


@pytest.mark.parametrize("name", ["orcha.db", "orcha.db-wal", "lock", "shims/errors", "service.log"])
def test_another_kind_of_thing_refuses_the_start_in_the_foreground_and_in_the_background(serve, name):
    service = serve(arguments=("serve", "commands"))
    assert service.stop() == 0
    path = service.home / f"{service.address}-{service.port}" / name
    for make in ("a FIFO", "a folder", "a socket"):
        put_in_place_of(path, MAKE[make])
        line = f"orcha: {path} is {make} where a file belongs: move it away, and put back what was there\n"
        service.start(ready=False)
        assert service.wait_for_end() == 78
        assert line in service.stderr()
    background = service.run("serve", "--background", "commands")
    assert (background.returncode, background.stderr) == (78, line)


def test_output_that_is_led_elsewhere_while_a_command_runs_is_not_written_there(serve, connect, gate, tmp_path):
    service = serve(COMMANDS)
    client = connect(service)
    folder = service.home / f"{service.address}-{service.port}"
    queue = run(client, "writes", "sh", "-c", 'echo begun; cat "$0"; head -c 300000 /dev/zero', str(gate.path))
    assert queue.get() == (1, b"begun\n")
    gate.wait_until_reached()
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / "output").rename(folder / "moved")
    (folder / "output").symlink_to(outside)
    gate.open()
    everything(queue)
    assert list(outside.iterdir()) == []
    (folder / "output").unlink()
    (folder / "moved").rename(folder / "output")


def test_the_state_lies_where_the_option_says(serve, tmp_path):
    state = tmp_path / "state"
    service = serve(arguments=("serve", "--state", str(state), "commands"))
    there = service.environment | {"ORCHA_HOME": str(state)}
    assert service.run("run", "echo", "here", env=there).stdout == "here\n"
    assert (state / f"127.0.0.1-{service.port}" / "orcha.db").exists()
    assert not list(service.home.glob("**/orcha.db"))
    assert service.stop() == 0


def test_a_database_that_is_taken_away_while_it_is_used_ends_what_would_be_lost(serve, connect, monkeypatch):
    monkeypatch.setenv("ORCHA_RECONNECT", "1")
    service = serve()
    client = connect(service)
    client.send(Message("before", {}))
    database = service.home / f"{service.address}-{service.port}" / "orcha.db"
    pipe = database.with_name("pipe")
    os.mkfifo(pipe)
    os.link(database, f"{database}.moved")
    pipe.rename(database)  # in one step: the end of the first petition may be kept at any moment
    with pytest.raises(OrchaError):
        client.send(Message("after", {}))
    assert service.wait_for_end() == 75
    assert f"{database} was replaced while the service used it: put it back as it was" in service.stderr()
    database.unlink()
    database.with_name("orcha.db.moved").rename(database)
    service.start()
    assert "before" in service.ask("ps", "--all", "--json").stdout


@pytest.mark.parametrize("away", ["removed", "moved"])
def test_a_service_whose_folder_went_away_ends_when_it_is_told_to_and_says_why(serve, tmp_path, away):
    service = serve(arguments=("serve", "commands"))
    assert service.run("run", "--", "echo", "x").stdout == "x\n"
    folder = service.home / f"127.0.0.1-{service.port}"
    if away == "removed":
        shutil.rmtree(folder)
    else:
        folder.rename(tmp_path / "elsewhere")
    assert service.stop() in ({75} if away == "removed" else {0, 75})
    if away == "removed":
        assert "orcha: the service stopped, but not in good order: " in service.stderr()
    assert "Traceback" not in service.stderr()


def test_a_state_that_was_lost_is_told_and_never_silently_empty(serve, connect, tmp_path):
    service = serve()
    client = connect(service)
    for number in range(5):
        client.send(Message(f"m{number}", {}))
    folder = service.home / f"{service.address}-{service.port}"
    service.kill()
    (tmp_path / "copies").mkdir()
    whole = tmp_path / "copies" / "whole"
    shutil.copytree(folder, whole, ignore=shutil.ignore_patterns("*.sock"))

    def damage(how):
        shutil.rmtree(folder, ignore_errors=True)  # a refused start makes none
        shutil.copytree(whole, folder)
        own_copy(folder)
        how()

    for how, told in (
        (lambda: (folder / "orcha.db-wal").write_bytes(os.urandom(100_000)), f"{folder}/orcha.db-wal is damaged: 0 of"),
        ((folder / "orcha.db-wal").unlink, f"{folder}/orcha.db-wal is missing or empty"),
        (lambda: [path.unlink() for path in folder.glob("orcha.db*")], f"{folder}/orcha.db is missing, though"),
        (lambda: shutil.rmtree(folder), f"{folder}/orcha.db is missing, though a service has kept its state in"),
    ):
        damage(how)
        for _ in "12":
            service.start(ready=False)
            assert service.wait_for_end() == 78
            assert f"orcha: {told}" in service.stderr()
            assert service.stderr().count("\n") == 1
    damage(lambda: None)
    service.start()
    assert len(json.loads(service.ask("ps", "--all", "--json").stdout)) == 5


def test_a_queued_command_that_changed_on_the_disk_is_not_executed(serve, connect, tmp_path):
    service = serve(COMMANDS, environment={"ORCHA_COMMANDS": "1"})
    client = connect(service)
    assert service.ask("pause", "--all").returncode == 0
    written = tmp_path / "written-by-the-command"
    queue = run(client, "changed", "sh", "-c", f"echo executed > {written}")
    other = run(client, "as it was", "echo", "hello")
    assert service.stop() == 0
    database = service.home / f"{service.address}-{service.port}" / "orcha.db"
    content = bytearray(database.read_bytes())
    at = content.index(b"written-by-the-command")
    content[at] ^= 1
    database.write_bytes(content)
    service.start(ready=False)
    assert service.wait_for_end() == 78
    assert f"orcha: {database} is not what it was when the service stopped" in service.stderr()
    Path(f"{database}.clean").write_bytes(b"")  # as somebody who goes on with what is there
    service.start()
    assert service.ask("resume", "--all").returncode == 0
    told = everything(queue)
    assert told.code == 1
    assert "".join(told.lines).startswith(
        "what was kept of message 'changed' is damaged on the disk, so nothing of it is"
    )
    assert everything(other).out == b"hello\n"
    assert [path.name for path in tmp_path.iterdir() if "by-the-command" in path.name] == []


def test_output_that_changed_on_the_disk_is_told_missing(serve, connect):
    service = serve(COMMANDS)
    client = connect(service)
    whole = everything(run(client, "long", "seq", "1", "100000")).out
    kept = service.home / f"{service.address}-{service.port}" / "output"
    raw = next(path for path in kept.iterdir() if path.name.endswith(".1"))
    content = bytearray(raw.read_bytes())
    content[len(content) // 2] ^= 4
    raw.write_bytes(content)
    shown = service.run("logs", "long")
    assert len(shown.stdout) < len(whole)
    assert "some of its output is missing here" in shown.stderr
    text = whole.decode()
    before = next(place for place, (one, other) in enumerate(zip(text, shown.stdout, strict=False)) if one != other)
    assert before > 0
    assert text.endswith(shown.stdout[before:])


READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'
"""Makes a folder read-only for those who look names up in it; what is open already stays open."""


def test_a_service_whose_folder_becomes_read_only_says_so_and_ends_when_it_is_asked_to(serve):
    apart = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    if subprocess.run([*apart, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False).returncode:
        pytest.skip("nobody may mount a disk here")
    service = serve(start=False)
    service.command = [*apart, *service.command]
    service.start()
    inside = ["nsenter", "--target", str(service.process.pid), "--mount", *(["--user"] if os.geteuid() else [])]
    subprocess.run([*inside, "sh", "-c", READ_ONLY, "sh", str(service.home)], check=True)
    assert service.stop() == 0
    assert "orcha.sock stays behind: Read-only file system" in service.stderr()
    assert service.ask("ps").returncode == 69
    service.start()
    assert service.ask("ps").returncode == 0
