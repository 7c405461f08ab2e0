"""A state is copied while the service serves, and a service elsewhere goes on from the copy."""

from __future__ import annotations

import json
import os
import tarfile
import threading

import pytest

from orcha._cli import backup, backup_file
from orcha._store import copying
from orcha.exceptions.store import StoreFull
from support.terminals import OnTerminal
from support.waiting import wait_for

AT_ONCE = 1
"""Commands that the service runs."""
MANY = "for i in $(seq 20000); do echo line $i; done"
"""Writes more than the database holds of one petition."""


def detach(service, name, *command, options=()):
    done = service.ask("run", "--detach", "--name", name, *options, "--", *map(str, command))
    assert done.returncode == 0, done.stderr


def rows(service):
    return {row["id"]: row for row in json.loads(service.ask("ps", "--all", "--json").stdout)}


def saved(service, path, *options):
    done = service.run("backup", "--json", *options, str(path))
    assert done.returncode == 0, done.stderr
    assert not [each.name for each in path.parent.iterdir() if ".partial" in each.name]
    return json.loads(done.stdout)


def restored(service, path, other, code=0):
    """Restore for another service, which does not run yet."""
    done = other.run("restore", "--json", str(path))
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if not code else done.stderr


@pytest.fixture
def other(serve):
    """Give a service with a folder of its own, which was never started."""
    made = serve(arguments=("serve", "commands"), environment={"ORCHA_COMMANDS": "1"}, start=False)
    yield made
    if made.process is not None:
        made.stop()  # before the first service is closed, which waits for the end of all processes of their home


def test_under_load_all_that_was_accepted_before_is_there_with_its_output(own_service, other, tmp_path):
    service = own_service
    detach(service, "wrote", "sh", "-c", MANY)
    assert service.ask("wait", "wrote").returncode == 0
    wrote = service.run("logs", "wrote").stdout
    os.mkfifo(tmp_path / "gate")
    detach(service, "busy", "sh", "-c", f"echo busy >> {tmp_path}/ran; read -r it < {tmp_path}/gate")
    wait_for(lambda: rows(service)["busy"]["state"] == "running")
    accepted, stop = ["queued"], threading.Event()
    detach(service, "queued", "sh", "-c", f"echo queued >> {tmp_path}/ran")

    def load():
        while not stop.is_set():
            name = f"more-{len(accepted)}"
            detach(service, name, "true")
            accepted.append(name)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        wait_for(lambda: len(accepted) > 5)
        before = list(accepted)
        made = saved(service, tmp_path / "state.tar")
        count = len(accepted)
        wait_for(lambda: len(accepted) > count + 2)  # it goes on taking petitions
    finally:
        stop.set()
        thread.join()
    assert made["served"]
    assert made["petitions"] >= len(before) + 2
    assert (tmp_path / "state.tar").stat().st_mode & 0o777 == 0o600

    told = restored(service, tmp_path / "state.tar", other)
    assert (told["taken"], told["forgets"]) == (made["taken"], False)
    other.start()
    found = rows(other)
    assert set(before) <= set(found)
    assert other.run("logs", "wrote").stdout == wrote
    assert found["wrote"]["outcome"] == "succeeded"
    assert (found["busy"]["state"], found["busy"]["outcome"]) == ("ended", "interrupted")
    assert other.run("wait", *before).returncode == 0
    assert rows(service)["busy"]["state"] == "running"  # nothing of it is taken for what the copy left behind
    assert (tmp_path / "ran").read_text().split().count("busy") == 1
    (tmp_path / "gate").write_text("go\n")
    assert service.ask("wait", "busy").returncode == 0


def test_what_ran_runs_again_only_where_it_asked_for_that(own_service, other, tmp_path):
    script = f"echo x >> {tmp_path}/ran; [ $(wc -l < {tmp_path}/ran) = 2 ] || exec sleep 1000"
    detach(own_service, "it", "sh", "-c", script, options=("--on-interrupt", "rerun"))
    wait_for((tmp_path / "ran").exists)
    wait_for(lambda: rows(own_service)["it"]["state"] == "running")
    saved(own_service, tmp_path / "state.tar")
    restored(own_service, tmp_path / "state.tar", other)
    other.start()
    assert other.run("wait", "it").returncode == 0
    assert rows(own_service)["it"]["state"] == "running"
    assert own_service.ask("cancel", "it").returncode == 0


def test_where_no_service_runs_it_is_copied_too_and_an_older_state_is_no_lost_one(own_service, tmp_path):
    service, folder = own_service, own_service.home / f"127.0.0.1-{own_service.port}"
    detach(service, "it", "echo", "done")
    service.ask("wait", "it")
    service.stop()
    names = sorted(each.name for each in folder.iterdir())
    assert not saved(service, tmp_path / "state.tar")["served"]
    assert sorted(each.name for each in folder.iterdir()) == names
    service.start()
    detach(service, "later", "true")
    service.ask("wait", "later")
    assert "another service" in restored(service, tmp_path / "state.tar", service, 69)
    service.stop()
    refused = restored(service, tmp_path / "state.tar", service, 78)
    assert "has a state already" in refused
    folder.rename(tmp_path / "moved")
    assert restored(service, tmp_path / "state.tar", service)["forgets"]
    service.start()
    assert list(rows(service)) == ["it"]
    assert service.run("logs", "it").stdout == "done\n"
    service.kill()
    assert "not stopped in good order" in service.run("backup", str(tmp_path / "other.tar")).stderr
    service.start()
    assert list(rows(service)) == ["it"]


def test_a_file_that_is_not_whole_is_none(own_service, other, tmp_path):
    detach(own_service, "it", "sh", "-c", MANY)
    own_service.ask("wait", "it")
    made = tmp_path / "state.tar"
    saved(own_service, made)
    refused = own_service.run("backup", str(made))
    assert (refused.returncode, "--replace" in refused.stderr) == (1, True)
    assert saved(own_service, made, "--replace")["files"] > 1
    content = made.read_bytes()
    place = content.index(b"line 19999")
    for bad in (
        content[: len(content) // 2],
        content[:place] + b"l" + content[place:][1:].replace(b"19999", b"19998", 1),
        b"",
        b"nonsense" * 1000,
    ):
        (tmp_path / "bad.tar").write_bytes(bad)
        assert "take another backup" in restored(own_service, tmp_path / "bad.tar", other, 78)
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.add(made, "../../evil")
    assert "take another backup" in restored(own_service, tmp_path / "bad.tar", other, 78)
    restored(own_service, made, other)


def test_killed_in_the_middle_it_leaves_nothing_that_looks_whole(own_service, tmp_path):
    """The client waits before it ends the file, and is killed there."""
    script = (
        "import os, sys; from orcha._cli import backup_file\n"
        "def stop(self): print('there', flush=True); sys.stdin.read()\n"
        "backup_file.BackupWriter.finish = stop\n"
        "from orcha.bin.main import main; sys.exit(main())"
    )
    command = own_service.orcha("backup", str(tmp_path / "state.tar"))
    client = own_service.spawn(command[0], "-c", script, *command[3:], stdin=-1, stdout=-1)
    assert client.stdout.readline() == b"there\n"
    assert "another orcha backup" in own_service.run("backup", str(tmp_path / "state.tar")).stderr
    client.kill()
    client.wait()
    assert not (tmp_path / "state.tar").exists()
    saved(own_service, tmp_path / "state.tar")


def test_a_disk_without_room_is_told_before_and_in_the_middle(own_service, tmp_path, monkeypatch):
    folder = str(own_service.home / f"127.0.0.1-{own_service.port}")
    (tmp_path / "disk").mkdir()
    target = str(tmp_path / "disk" / "state.tar")
    real = os.statvfs

    def small(path):
        found = real(path)
        return os.statvfs_result([*found[:4], 1, *found[5:]])

    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", small)
        with pytest.raises(StoreFull, match="is free: make room there"):
            backup._back_up(folder, target, served=True)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup_file.BackupWriter, "add", full)
    with pytest.raises(StoreFull, match="make room there") as told:
        backup._back_up(folder, target, served=True)
    assert told.value.exit_code == 75
    assert list((tmp_path / "disk").iterdir()) == []


def test_dropped_output_is_a_hole_there_too(tmp_path):
    (tmp_path / "from").mkdir()
    with (tmp_path / "from" / "00.1.1.1").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"kept")
    with (tmp_path / "from" / "00.1.1.2").open("wb") as file:
        file.truncate(1 << 16)
    with (tmp_path / "made.tar").open("wb") as file:
        writer = backup_file.BackupWriter(file, {}, lambda _: None)
        for name, source in (
            ("orcha.db", "00.1.1.1"),
            ("output/00.1.1.1", "00.1.1.1"),
            ("output/00.1.1.2", "00.1.1.2"),
        ):
            descriptor = os.open(tmp_path / "from" / source, os.O_RDONLY)
            writer.add(name, descriptor)
            os.close(descriptor)
        assert writer.finish() == 3
    (tmp_path / "to").mkdir()
    with (tmp_path / "made.tar").open("rb") as file:
        backup_file.unpack(file, str(tmp_path / "to"), lambda _: None)
    for name in ("00.1.1.1", "00.1.1.2"):
        made = tmp_path / "to" / "output" / name
        assert made.read_bytes() == (tmp_path / "from" / name).read_bytes()
        assert made.stat().st_blocks * 512 < 1 << 16


def test_the_copy_is_of_one_moment_however_many_steps_it_takes(own_service, tmp_path, monkeypatch):
    folder = own_service.home / f"127.0.0.1-{own_service.port}"
    detach(own_service, "before", "true")
    own_service.ask("wait", "before")
    monkeypatch.setattr(copying, "PAGES_AT_ONCE", 1)
    steps = []

    def progress(count):
        steps.append(count)
        if len(steps) == 2:
            detach(own_service, "meanwhile", "true")

    assert copying.copy_database(folder, tmp_path / "orcha.db", progress, served=True) == 1
    assert len(steps) > 3
    assert sorted(rows(own_service)) == ["before", "meanwhile"]


def test_on_a_terminal_it_counts(own_service, tmp_path):
    with OnTerminal(own_service.orcha("backup", str(tmp_path / "state.tar")), own_service.environment) as it:
        it.until(b"backing up: 100 %")
        it.until(b"state.tar: 0 petitions")
        assert it.end() == 0


def test_a_backup_has_no_key_of_a_certificate(own_service, tmp_path):
    assert list(own_service.home.glob("*/tls.pem")), "the service has a port, and so a certificate of its own"
    path = tmp_path / "state.orcha"
    saved(own_service, path)
    with tarfile.open(path) as archive:
        names = archive.getnames()
        assert "orcha.db" in "".join(names)
        assert not [name for name in names if "tls" in name]
    assert b"PRIVATE KEY" not in path.read_bytes()
