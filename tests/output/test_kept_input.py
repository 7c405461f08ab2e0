"""Standard input that is kept for other attempts."""

from __future__ import annotations

import errno
import os

import pytest

from orcha._output import kept_input
from orcha._output.kept_input import KeptInput, find
from orcha._output.raw import RawFiles

CHANNEL, SEQ, MOST = b"c" * 16, 7, 1_000


@pytest.fixture
def files(tmp_path):
    files = RawFiles(tmp_path / "output")
    yield files
    files.close()


def kept(files, *pieces, ended=False):
    """Keep these pieces."""
    made = KeptInput(files, CHANNEL, SEQ, MOST)
    assert made.begin()
    for piece in pieces:
        made.add(piece)
    if ended:
        made.end()
    return made


def found(files):
    """Give what a later start of the service finds."""
    return find(files, CHANNEL, SEQ, MOST)


@pytest.mark.parametrize("ended", [False, True])
def test_what_was_kept_is_found_again(files, ended):
    kept(files, b"one", b"two", ended=ended)
    again = found(files)
    assert (again.size, again.has_ended, again.why_not_again) == (6, ended, None)
    assert again.read(0, 100) == b"onetwo"
    assert again.read(2, 3) == b"etw"
    assert again.add(b"three") is not ended
    assert found(files).read(0, 100) == (b"onetwo" if ended else b"onetwothree")


def test_nothing_is_found_where_nothing_was_kept(files):
    assert found(files) is None


def test_more_than_may_be_kept_is_known_later_too(files):
    made = kept(files, b"x" * MOST)
    assert not made.add(b"y")
    for one in (made, found(files)):
        assert "ORCHA_KEEP_INPUT" in one.why_not_again
        assert not one.add(b"z")


def test_a_full_disk_is_known_later_too(files, monkeypatch):
    made = kept(files, b"one")
    write = os.pwrite

    def full(descriptor, data, offset):
        if offset >= 32:
            raise OSError(errno.ENOSPC, "full")
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    assert not made.add(b"two")
    for one in (made, found(files)):
        assert "disk" in one.why_not_again


@pytest.mark.parametrize("ended", [False, True])
def test_after_a_reboot_only_what_has_ended_is_known_to_be_whole(files, ended):
    kept(files, b"one", ended=ended)
    found(files).note_reboot()
    assert (found(files).why_not_again is None) is ended


def test_what_is_cut_or_damaged_is_not_taken_for_whole(files):
    kept(files, b"one", ended=True)
    descriptor = files.open_input(CHANNEL, SEQ)
    head = os.pread(descriptor, 17, 0)
    for place in range(len(head)):
        os.pwrite(descriptor, bytes([head[place] ^ 1]), place)
        assert found(files).why_not_again is not None
        os.pwrite(descriptor, head, 0)
    assert found(files).why_not_again is None
    os.ftruncate(descriptor, kept_input._HEAD_BYTES + 2)
    assert found(files).why_not_again is not None


def test_it_is_deleted_alone_and_with_its_channel(files, tmp_path):
    kept(files, b"one")
    files.delete_input(CHANNEL, SEQ)
    assert not list((tmp_path / "output").iterdir())
    kept(files, b"one")
    files.delete(CHANNEL)
    assert not list((tmp_path / "output").iterdir())


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("place", [0, 5, 899])
def test_bytes_that_were_changed_are_given_to_nobody(files, later, place):
    one = kept(files, b"a" * 500, b"b" * 400, ended=later)
    one = found(files) if later else one
    one.compare()
    assert one.why_not_again is None
    descriptor = files.open_input(CHANNEL, SEQ)
    byte = os.pread(descriptor, 1, kept_input._HEAD_BYTES + place)[0]
    os.pwrite(descriptor, bytes([byte ^ 4]), kept_input._HEAD_BYTES + place)
    one.compare()
    assert "not all of its standard input" in one.why_not_again
    assert found(files).why_not_again is not None


def test_where_the_checksum_is_unknown_nothing_is_compared(files):
    kept(files, b"one", ended=True)
    descriptor = files.open_input(CHANNEL, SEQ)
    os.pwrite(descriptor, bytes(5), 17)  # as an older build left it
    os.pwrite(descriptor, b"two", kept_input._HEAD_BYTES)
    again = found(files)
    again.compare()
    assert again.why_not_again is None
