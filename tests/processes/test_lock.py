"""One service an endpoint, in a folder of its own."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys

import pytest

from orcha._processes.lock import AlreadyServingError, EndpointLock, UnsafeFolderError
from orcha.exceptions import OrchaError
from orcha.utils.lock_holders import described, is_ending
from orcha.utils.private import UnsafeStateError
from support.waiting import wait_for

HOLD = """
import sys
from pathlib import Path
from orcha._processes.lock import EndpointLock
lock = EndpointLock(Path(sys.argv[1]))
print(flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "127.0.0.1-50000"


@pytest.fixture
def holder(folder):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_the_folder_is_made_private_and_the_lock_names_its_holder(folder) -> None:
    lock = EndpointLock(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "lock").stat().st_mode) == 0o600
    assert (folder / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()
    lock.release()
    assert (folder / "lock").exists()


def test_a_second_one_is_refused_with_who_and_where(folder, holder) -> None:
    with pytest.raises(AlreadyServingError) as refused:
        EndpointLock(folder)
    assert refused.value.pid == holder.pid
    assert refused.value.folder == folder
    assert refused.value.exit_code == 69
    assert isinstance(refused.value, OrchaError)
    assert str(holder.pid) in str(refused.value)
    assert str(folder) in str(refused.value)


def test_a_refusal_leaves_the_holders_lock_and_name_alone(folder, holder) -> None:
    for _ in range(2):
        with pytest.raises(AlreadyServingError) as refused:
            EndpointLock(folder)
        assert refused.value.pid == holder.pid


def test_the_lock_of_a_killed_holder_is_free_at_once(folder, holder) -> None:
    holder.kill()
    holder.wait()
    lock = EndpointLock(folder)
    assert (folder / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_the_lock_of_one_that_was_killed_and_has_not_gone_yet_is_waited_for(folder, holder, monkeypatch) -> None:
    looks = []

    def look_again(_: float) -> None:
        looks.append(1)
        if len(looks) == 3:
            holder.kill()
            holder.wait()

    monkeypatch.setattr("orcha.utils.lock_holders.is_ending", lambda process: process == holder.pid)
    monkeypatch.setattr("orcha.utils.lock_holders.time.sleep", look_again)
    lock = EndpointLock(folder)
    assert (folder / "lock").read_text() == f"{os.getpid()}\n"
    assert len(looks) == 3
    lock.release()


def test_one_that_does_not_go_is_named_after_a_while(folder, holder, monkeypatch) -> None:
    monkeypatch.setattr("orcha.utils.lock_holders.is_ending", lambda _: True)
    monkeypatch.setattr("orcha.utils.lock_holders.time.sleep", lambda _: None)
    with pytest.raises(AlreadyServingError, match=f"pid {holder.pid}, python"):
        EndpointLock(folder, patience=0.1)


def test_whether_a_process_is_about_to_end() -> None:
    assert not is_ending(os.getpid())
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert is_ending(child)
    os.waitpid(child, 0)
    assert is_ending(child)


def test_a_process_is_described_by_its_program_and_no_argument() -> None:
    with subprocess.Popen([sys.executable, "-X", "utf8", "-c", "input()", "secret"], stdin=subprocess.PIPE) as process:
        wait_for(lambda: re.fullmatch(rf"pid {process.pid}, python[^ ]*", described(process.pid)), what="its arguments")
        process.kill()
    with subprocess.Popen(["sh", "-c", "read x; exit", "secret"], stdin=subprocess.PIPE) as process:
        wait_for(lambda: described(process.pid) == f"pid {process.pid}, sh", what="its arguments")
        process.kill()
    assert described(process.pid) == f"pid {process.pid}"


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o770, 0o777])
def test_a_folder_open_to_others_is_refused_with_the_cure(folder, mode) -> None:
    folder.mkdir(parents=True)
    folder.chmod(mode)
    with pytest.raises(UnsafeFolderError, match="chmod 700") as refused:
        EndpointLock(folder)
    assert refused.value.exit_code == 78
    assert not (folder / "lock").exists()


def test_another_users_folder_is_refused(folder, monkeypatch) -> None:
    folder.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UnsafeFolderError, match="belongs to user"):
        EndpointLock(folder)


def test_what_is_no_folder_is_refused(folder, tmp_path) -> None:
    folder.parent.mkdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(UnsafeFolderError, match="is no folder"):
        EndpointLock(folder)


def test_a_lock_file_that_is_a_link_is_not_followed(folder, tmp_path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    target = tmp_path / "precious"
    target.write_text("precious")
    (folder / "lock").symlink_to(target)
    with pytest.raises(UnsafeStateError, match="is a symbolic link where a file belongs"):
        EndpointLock(folder)
    assert target.read_text() == "precious"
