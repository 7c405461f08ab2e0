"""A channel's output beyond the store's share."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcha._output.blocks import BLOCK_HEADER, MAGIC
from orcha._output.log import MemoryLog, OutputLog
from orcha.exceptions.store import StoreBroken, StoreFull

ONE = bytes(range(16))
TWO = bytes(16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def log(folder: Path) -> Iterator[OutputLog]:
    log = OutputLog(folder, segment=1000, open_at_once=3)
    yield log
    log.close()


@pytest.fixture(params=["files", "memory"])
def any_log(request: pytest.FixtureRequest) -> OutputLog | MemoryLog:
    return request.getfixturevalue("log") if request.param == "files" else MemoryLog()


def reopened(folder: Path) -> OutputLog:
    return OutputLog(folder, segment=1000, open_at_once=3)


def opened(descriptor):
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def fill(log, channel, blocks, *, start=0, size=100):
    for number in range(start, start + blocks):
        log.append(channel, number * 2, 2, bytes([number % 256]) * size)


def test_what_was_appended_is_read_from_any_index(any_log):
    fill(any_log, ONE, 50)
    assert any_log.end(ONE) == 100
    for index in range(100):
        first, count, data = any_log.read(ONE, index, 1)[0]
        assert (first, count, data) == (index // 2 * 2, 2, bytes([index // 2]) * 100)
    assert [first for first, _, _ in any_log.read(ONE, 10, 300)] == [10, 12, 14]
    assert len(any_log.read(ONE, 0, 1 << 20)) == 50
    assert any_log.read(ONE, 100, 10) == []


def test_nothing_is_known_of_other_channels(any_log):
    fill(any_log, ONE, 1)
    assert any_log.end(TWO) == 0
    assert any_log.read(TWO, 0, 10) == []
    any_log.sync(TWO)
    any_log.delete(TWO)
    assert any_log.channels() == [ONE]


def test_a_log_may_begin_anywhere(any_log):
    any_log.append(ONE, 700, 3, b"abc")
    assert any_log.read(ONE, 0, 10) == [(700, 3, b"abc")]
    assert any_log.read(ONE, 702, 10) == [(700, 3, b"abc")]
    assert any_log.end(ONE) == 703


def test_what_is_read_at_once_is_consecutive(any_log):
    any_log.append(ONE, 0, 1, b"a")
    any_log.append(ONE, 5, 1, b"b")
    assert any_log.read(ONE, 0, 100) == [(0, 1, b"a")]
    assert any_log.read(ONE, 1, 100) == [(5, 1, b"b")]


@pytest.mark.parametrize("back_to", [0, 2, 40, 98])
def test_appending_at_an_earlier_index_takes_back_what_was_there(any_log, back_to):
    fill(any_log, ONE, 50)
    any_log.append(ONE, back_to, 1, b"instead")
    assert any_log.end(ONE) == back_to + 1
    assert any_log.read(ONE, back_to, 100) == [(back_to, 1, b"instead")]
    assert len(any_log.read(ONE, 0, 1 << 20)) == back_to // 2 + 1


def test_a_log_survives_reopening(log, folder):
    fill(log, ONE, 50)
    fill(log, TWO, 3)
    log.close()
    with_closing = reopened(folder)
    try:
        assert sorted(with_closing.channels()) == sorted([ONE, TWO])
        assert with_closing.end(ONE) == 100
        assert len(with_closing.read(ONE, 0, 1 << 20)) == 50
        assert with_closing.end(TWO) == 6
        with_closing.append(ONE, 100, 1, b"more")
        assert with_closing.read(ONE, 100, 1) == [(100, 1, b"more")]
    finally:
        with_closing.close()


def test_a_torn_end_is_cut_at_every_length(log, folder):
    fill(log, ONE, 4)
    log.close()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    block = BLOCK_HEADER.size + 100
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        again = reopened(folder)
        kept = max(size - len(MAGIC), 0) // block
        assert again.end(ONE) == kept * 2
        assert len(again.read(ONE, 0, 1 << 20)) == kept
        assert path.stat().st_size == len(MAGIC) + kept * block
        again.append(ONE, kept * 2, 1, b"on")
        assert again.read(ONE, kept * 2, 1) == [(kept * 2, 1, b"on")]
        again.close()


def test_no_flipped_bit_is_read(log, folder):
    fill(log, ONE, 4)
    log.close()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    block = BLOCK_HEADER.size + 100
    for position in range(len(MAGIC), len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        again = reopened(folder)
        kept = (position - len(MAGIC)) // block
        assert again.read(ONE, 0, 1 << 20) == [(n * 2, 2, bytes([n]) * 100) for n in range(kept)]
        again.close()


def test_a_block_that_belongs_to_another_channel_is_not_read(log, folder):
    fill(log, ONE, 2)
    log.close()
    (path,) = folder.iterdir()
    path.rename(folder / f"{TWO.hex()}.{0:016x}")
    again = reopened(folder)
    assert again.end(TWO) == 0
    again.close()


def test_a_segment_lost_in_a_power_cut_does_not_misplace_what_comes(log, folder):
    fill(log, ONE, 20)
    log.close()
    last = max(folder.iterdir())
    last.write_bytes(b"")
    again = reopened(folder)
    end = again.end(ONE)
    assert 0 < end < 40
    again.append(ONE, end, 1, b"on")
    assert again.read(ONE, end, 1) == [(end, 1, b"on")]
    again.close()


def test_an_emptied_only_segment_gives_way_to_an_earlier_index(log, folder):
    log.append(ONE, 700, 1, b"x")
    log.close()
    (path,) = folder.iterdir()
    path.write_bytes(b"")
    again = reopened(folder)
    assert again.end(ONE) == 0
    again.append(ONE, 600, 1, b"y")
    assert again.read(ONE, 600, 1) == [(600, 1, b"y")]
    again.close()


def test_a_file_of_something_else_is_refused_and_left_alone(log, folder):
    path = folder / f"{ONE.hex()}.{0:016x}"
    path.write_bytes(b"somebody's letters, dear to them")
    again = reopened(folder)
    with pytest.raises(StoreBroken, match="not a log"):
        again.end(ONE)
    again.close()
    assert path.read_bytes() == b"somebody's letters, dear to them"


def test_links_are_not_followed(log, folder, tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"")
    (folder / f"{ONE.hex()}.{0:016x}").symlink_to(target)
    with pytest.raises(StoreBroken):
        log.append(ONE, 0, 1, b"x")
    assert target.read_bytes() == b""


def test_files_are_for_the_owner_alone(log, folder):
    old = os.umask(0)
    try:
        fill(log, ONE, 1)
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_many_channels_use_few_descriptors(log):
    channels = [number.to_bytes(16, "big") for number in range(50)]
    before = len(list(Path("/proc/self/fd").iterdir()))
    for block in range(3):
        for channel in channels:
            log.append(channel, block, 1, channel)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3
    for channel in channels:
        log.sync(channel)
        assert log.read(channel, 0, 100) == [(block, 1, channel) for block in range(3)]


def test_deleting_leaves_no_file(log, folder):
    fill(log, ONE, 50)
    fill(log, TWO, 1)
    log.delete(ONE)
    assert log.channels() == [TWO]
    assert log.end(ONE) == 0
    assert [path.name.partition(".")[0] for path in folder.iterdir()] == [TWO.hex()]
    fill(log, ONE, 1)
    assert log.end(ONE) == 2


def test_what_was_being_deleted_is_gone_after_a_restart(log, folder):
    (folder / "trash.abc").write_bytes(b"x")
    (folder / "README").write_bytes(b"left alone")
    again = reopened(folder)
    again.close()
    assert [path.name for path in folder.iterdir()] == ["README"]


def test_recovery_deletes_the_logs_of_channels_nobody_knows(log, folder):
    fill(log, ONE, 50)
    fill(log, TWO, 50)
    log.close()
    again = reopened(folder)
    again.recover(lambda channel: channel == TWO)
    assert again.channels() == [TWO]
    assert {path.name.partition(".")[0] for path in folder.iterdir()} == {TWO.hex()}
    assert again.end(TWO) == 100
    again.close()


@pytest.mark.parametrize("error", [28, 122, 27], ids=["ENOSPC", "EDQUOT", "EFBIG"])
def test_a_full_disk_keeps_nothing_of_the_block_and_heals(log, monkeypatch, error):
    fill(log, ONE, 2)
    real = os.pwrite

    def half(descriptor, data, offset):
        if len(data) < 50:
            raise OSError(error, os.strerror(error))
        return real(descriptor, data[: len(data) // 2], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", half)
        with pytest.raises(StoreFull):
            log.append(ONE, 4, 2, b"x" * 100)
        with pytest.raises(StoreFull):
            log.append(TWO, 0, 2, b"x" * 100)
    assert log.end(ONE) == 4
    assert log.end(TWO) == 0
    fill(log, ONE, 1, start=2)
    fill(log, TWO, 1)
    assert len(log.read(ONE, 0, 1 << 20)) == 3
    assert len(log.read(TWO, 0, 1 << 20)) == 1


def test_a_failed_sync_breaks_the_log(log, monkeypatch):
    fill(log, ONE, 1)

    def fail(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(StoreBroken):
        log.sync(ONE)


def test_syncing_covers_every_file_and_its_name_once(log, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.append(opened(descriptor)))
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(opened(descriptor)))
    fill(log, ONE, 50)
    log.sync(ONE)
    folder = log._folder.path
    assert sorted(synced) == sorted(str(path) for path in [folder, *folder.iterdir()])
    log.sync(ONE)
    assert len(synced) == len(set(synced))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_files_and_memory_agree(tmp_path_factory, seed):
    source = random.Random(seed)
    folder = tmp_path_factory.mktemp("log")
    files, memory = OutputLog(folder, segment=300, open_at_once=2), MemoryLog()
    try:
        for _ in range(60):
            channel = source.choice([ONE, TWO])
            action = source.random()
            if action < 0.7:
                end = memory.end(channel)
                blocks = [first for first, _, _ in memory._channels.get(channel, [])]
                first = source.choice([end, end, end, end + 2, *blocks[-3:]])
                data = source.randbytes(source.choice([0, 1, 50, 400]))
                for log in (files, memory):
                    log.append(channel, first, len(data) % 7 + 1, data)
            elif action < 0.75:
                files.delete(channel)
                memory.delete(channel)
            elif action < 0.85:
                files.close()
                files = OutputLog(folder, segment=300, open_at_once=2)
            index, limit = source.randrange(60), source.choice([0, 100, 1 << 20])
            assert files.read(channel, index, limit) == memory.read(channel, index, limit)
            assert files.end(channel) == memory.end(channel)
    finally:
        files.close()
