"""Pins of services: what two processes change at the same time is all kept."""

from __future__ import annotations

import fcntl
import os
import threading

import pytest

from orcha._protocol import pins
from orcha.utils.new_file import replace_file


@pytest.fixture(autouse=True)
def _config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("ORCHA_HOME", raising=False)


def test_a_pin_that_is_kept_while_another_process_replaces_the_file_is_not_lost():
    pins.keep_pin("box:1", "SHA256:one")
    with open(f"{pins.pins_path()}.lock", "r+b") as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX)
        keeper = threading.Thread(target=pins.keep_pin, args=("box:2", "SHA256:two"))
        keeper.start()
        replace_file(pins.pins_path(), b"box:3 SHA256:three\n")
    keeper.join()
    assert pins.read_pins() == {"box:2": "SHA256:two", "box:3": "SHA256:three"}


def test_no_other_process_changes_the_file_while_a_pin_is_taken_out(monkeypatch):
    pins.keep_pin("box:1", "SHA256:one")
    pins.keep_pin("box:2", "SHA256:two")

    def replaced(*given):
        with open(f"{pins.pins_path()}.lock", "r+b") as lock, pytest.raises(BlockingIOError):  # noqa: PTH123
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        replace_file(*given)

    monkeypatch.setattr(pins, "replace_file", replaced)
    assert pins.forget_pin("box:1") == "SHA256:one"
    assert pins.forget_pin("box:1") is None
    assert pins.read_pins() == {"box:2": "SHA256:two"}
    assert sorted(os.listdir(os.path.dirname(pins.pins_path()))) == ["known_services", "known_services.lock"]  # noqa: PTH120, PTH208


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(str(tmp_path / "a"), b"x")
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
