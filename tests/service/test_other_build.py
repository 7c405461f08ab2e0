"""What lies where a service's own files lay is told, also where the new file has everything of the old one's."""

from __future__ import annotations

import os

import pytest

from orcha._service.lifecycle import installed_build as build
from orcha._service.lifecycle.installed_build import ANSWER_VALID_SECONDS, Build
from support.waiting import wait_for


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Give the file that stands for the package, of which version 1.0 is installed."""
    file = tmp_path / "__init__.py"
    file.write_text("one\n")
    monkeypatch.setattr(build, "_FILE", file)
    monkeypatch.setattr(build, "own_version", lambda: "1.0")
    return file


def change(file, make):
    """Change a file by `make` until the clock of its file system, which ticks slowly, shows another time of change."""
    before = file.stat()

    def changed():
        make()
        return file.stat().st_ctime_ns != before.st_ctime_ns

    wait_for(changed, what="another time of change")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_that_took_the_inode_the_size_and_the_time_of_the_old_one_is_noticed(package, monkeypatch):
    known = Build()
    assert known.other(0.0) is None
    before = package.stat()
    change(package, lambda: package.write_text("two\n"))
    after = package.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    monkeypatch.setattr(build, "own_version", lambda: "2.0")
    assert known.other(ANSWER_VALID_SECONDS) == "orcha 1.0 runs, and 2.0 lies there now"


def test_another_link_to_the_file_is_no_other_build(package, tmp_path):
    known = Build()
    names = iter(range(1_000_000))
    change(package, lambda: os.link(package, tmp_path / str(next(names))))
    assert known.other(0.0) is None


def test_the_version_is_told_though_it_was_installed_after_the_files(package, monkeypatch):
    known = Build()
    package.write_text("another one\n")
    assert known.other(0.0) == "orcha 1.0 runs, and another build of it lies there now"
    monkeypatch.setattr(build, "own_version", lambda: "2.0")
    assert known.other(ANSWER_VALID_SECONDS) == "orcha 1.0 runs, and 2.0 lies there now"


def test_what_came_back_is_no_other_build(package, tmp_path):
    known = Build()
    package.rename(tmp_path / "away")
    assert known.other(0.0) == "orcha 1.0 runs, and its files were moved or removed"
    (tmp_path / "away").rename(package)
    assert known.other(ANSWER_VALID_SECONDS) is None
