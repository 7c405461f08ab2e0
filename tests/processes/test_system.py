"""System calls that keep the interpreter's lock do what those of the os module do."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

from orcha._processes import system


@pytest.fixture(params=["os", "ctypes"], autouse=True)
def way(request, monkeypatch):
    monkeypatch.setattr(system, "_waitid", None)
    monkeypatch.setattr(system, "_read_file", None)
    if request.param == "ctypes":
        system.prepare()
        assert system._read_file is not None
    return request.param


def test_small_files_are_read(tmp_path) -> None:
    for size in (0, 10, 4096, 5000):
        (tmp_path / "file").write_bytes(b"x" * size)
        assert system.read_small(str(tmp_path / "file")) == b"x" * size
    assert system.read_small("/proc/self/limits").count(b"Max file locks") == 1


def test_what_cannot_be_read_raises_what_the_os_module_raises(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        system.read_small(str(tmp_path / "missing"))
    with pytest.raises(IsADirectoryError):
        system.read_small(str(tmp_path))


def test_children_of_this_thread_are_seen_and_not_reaped() -> None:
    def look():
        seen.append(system.thread_has_no_children())
        process = subprocess.Popen(["true"])
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seen.append(system.thread_has_no_children())
        seen.append(process.wait())
        seen.append(system.thread_has_no_children())

    seen = []
    thread = threading.Thread(target=look)  # one that has no other children
    thread.start()
    thread.join()
    assert seen == [True, False, 0, True]
