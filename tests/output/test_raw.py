"""Raw output of commands is read by pieces, and goes with its channel."""

from __future__ import annotations

import pytest

from orcha._output.raw import RawFiles
from orcha.exceptions.store import StoreBroken

CHANNEL, OTHER = b"\1" * 16, b"\2" * 16


@pytest.fixture
def files(tmp_path):
    opened = RawFiles(tmp_path)
    yield opened
    opened.close()


def write(tmp_path, channel=CHANNEL, suffix="7.1.1", data=b"0123456789"):
    (tmp_path / f"{channel.hex()}.{suffix}").write_bytes(data)


def test_a_piece_is_what_was_written_there(files, tmp_path):
    write(tmp_path)
    write(tmp_path, suffix="7.1.2", data=b"errors")
    assert files.read(CHANNEL, 7, 1, 1, 2, 3) == b"234"
    assert files.read(CHANNEL, 7, 1, 2, 0, 6) == b"errors"


def test_what_is_not_there_is_told(files, tmp_path):
    assert files.read(CHANNEL, 7, 1, 1, 0, 1) is None
    write(tmp_path)
    assert files.read(CHANNEL, 7, 1, 1, 8, 3) is None


def test_what_was_dropped_from_the_beginning_is_not_read_as_zeros(files, tmp_path):
    path = tmp_path / f"{CHANNEL.hex()}.7.1.1"
    with path.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"kept")
    assert files.read(CHANNEL, 7, 1, 1, 0, 4096) is None
    assert files.read(CHANNEL, 7, 1, 1, (1 << 20) - 4, 8) == b"kept"
    assert files.read(CHANNEL, 7, 1, 1, 1 << 20, 4) == b"kept"


def test_zeros_that_were_written_are_read(files, tmp_path):
    write(tmp_path, data=bytes(10))
    assert files.read(CHANNEL, 7, 1, 1, 0, 10) == bytes(10)


def test_files_go_with_their_channel(files, tmp_path):
    for suffix in ("7.1.1", "7.1.2", "7.1.index", "7.2.1"):
        write(tmp_path, suffix=suffix)
    write(tmp_path, OTHER)
    files.note(CHANNEL, 7, 1)
    files.note(CHANNEL, 7, 2)
    files.delete(CHANNEL)
    assert [path.name for path in tmp_path.iterdir()] == [f"{OTHER.hex()}.7.1.1"]


def test_a_start_deletes_what_belongs_to_no_channel_and_lets_others_be(tmp_path):
    write(tmp_path)
    write(tmp_path, OTHER)
    write(tmp_path, OTHER, "0000000000000000", b"a log")
    files = RawFiles(tmp_path)
    files.recover(lambda channel: channel == OTHER)
    files.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{OTHER.hex()}.0000000000000000",
        f"{OTHER.hex()}.7.1.1",
    ]


def test_a_folder_that_cannot_be_used_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreBroken, match="is a file where a folder belongs"):
        RawFiles(tmp_path / "file")


def test_the_tail_is_the_last_that_was_written(files, tmp_path):
    assert files.tail(CHANNEL, 7, 1, 1, 4) == b""
    write(tmp_path)
    assert files.tail(CHANNEL, 7, 1, 1, 4) == b"6789"
    assert files.tail(CHANNEL, 7, 1, 1, 100) == b"0123456789"
