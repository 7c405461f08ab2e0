"""Raw output is passed on as it was written, or told to be missing."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import pytest

from orcha._output.checksums import BLOCK_BYTES
from orcha._output.raw import RawFiles
from orcha._supervisor.attempt_output import MORE, AttemptOutput, OutputFiles
from orcha._supervisor.contract import ROTATE

CHANNEL = b"\1" * 16
PIECE = 128 << 10


class AttemptFiles:
    """An attempt's files, written as a shim does, and read as the service does."""

    def __init__(self, folder):
        self.folder = folder
        self.stem = f"{folder}/{CHANNEL.hex()}.7.1"
        self.files = OutputFiles(self.stem, 1)
        self.written = [b"", b"", b""]
        self.raw = RawFiles(folder)

    def write(self, stream, data):
        os.pwrite(self.files.descriptors[stream], data, self.files.sizes[stream])
        self.files.add(stream, len(data), told=0)
        self.written[stream] += data

    def read(self, stream, offset, length):
        return self.raw.read(CHANNEL, 7, 1, stream, offset, length)

    def pieces(self, stream):
        size = len(self.written[stream])
        return [(offset, min(PIECE, size - offset)) for offset in range(0, size, PIECE)]

    def flip(self, suffix, place):
        flip(f"{self.stem}.{suffix}", place)


def flip(path, place):
    with Path(path).open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << place % 8]))


@pytest.fixture
def attempt(tmp_path):
    folder = tmp_path / "output"
    folder.mkdir(mode=0o700)
    attempt = AttemptFiles(folder)
    yield attempt
    attempt.raw.close()
    attempt.files.close()


def fill(attempt, seed, count=30):
    source = random.Random(seed)
    for _ in range(count):
        attempt.write(
            source.choice([1, 2]),
            source.randbytes(source.choice([1, 100, BLOCK_BYTES, BLOCK_BYTES - 1, 3 * BLOCK_BYTES + 7])),
        )


@pytest.mark.parametrize("seed", range(5))
def test_what_was_written_is_read_while_it_grows_and_when_it_is_whole(attempt, seed):
    for part in range(3):
        fill(attempt, seed * 10 + part, 10)
        for stream in (1, 2):
            for offset, length in attempt.pieces(stream):
                assert attempt.read(stream, offset, length) == attempt.written[stream][offset : offset + length]
    attempt.files.finish()
    source = random.Random(seed)
    for stream in (1, 2):
        assert all(attempt.read(stream, *piece) is not None for piece in attempt.pieces(stream))
        for _ in range(50):
            offset = source.randrange(len(attempt.written[stream]))
            length = source.randint(1, min(PIECE, len(attempt.written[stream]) - offset))
            assert attempt.read(stream, offset, length) == attempt.written[stream][offset : offset + length]


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_of_raw_output_is_not_passed_on(attempt, seed):
    fill(attempt, seed)
    attempt.files.finish()
    source = random.Random(seed)
    stream = source.choice([1, 2])
    place = source.randrange(len(attempt.written[stream]))
    attempt.flip(str(stream), place)
    block = place // BLOCK_BYTES
    for offset, length in attempt.pieces(stream):
        touched = offset // BLOCK_BYTES <= block <= (offset + length - 1) // BLOCK_BYTES
        expected = None if touched else attempt.written[stream][offset : offset + length]
        assert attempt.read(stream, offset, length) == expected
    other = 3 - stream
    assert all(attempt.read(other, *piece) is not None for piece in attempt.pieces(other))


@pytest.mark.parametrize("seed", range(10))
def test_a_flipped_bit_is_not_passed_on_either_where_the_shim_has_not_finished(attempt, seed):
    """As while a command writes, and after the death of its shim; what is left of 64 KiB has no checksum yet."""
    fill(attempt, seed)
    source = random.Random(seed)
    stream = source.choice([1, 2])
    full = len(attempt.written[stream]) // BLOCK_BYTES * BLOCK_BYTES
    place = source.randrange(full)
    attempt.flip(str(stream), place)
    block = place // BLOCK_BYTES
    for offset, length in attempt.pieces(stream):
        touched = offset // BLOCK_BYTES <= block <= (offset + length - 1) // BLOCK_BYTES
        expected = None if touched else attempt.written[stream][offset : offset + length]
        assert attempt.read(stream, offset, length) == expected


def test_where_the_checksums_are_damaged_or_cut_what_they_are_for_is_told_missing(attempt):
    attempt.write(1, os.urandom(5 * BLOCK_BYTES))
    attempt.files.finish()
    attempt.flip("sums", 8)
    assert attempt.read(1, 0, 10) is None
    assert attempt.read(1, BLOCK_BYTES, 10) is not None
    os.truncate(f"{attempt.stem}.sums", 8 + 8 * 4)
    assert attempt.read(1, 4 * BLOCK_BYTES, 10) is None


def test_without_checksums_it_is_read_as_it_is(attempt):
    attempt.write(1, b"0123456789")
    attempt.files.finish()
    attempt.raw.close()
    Path(f"{attempt.stem}.sums").unlink()
    attempt.raw = RawFiles(attempt.folder)
    assert attempt.read(1, 0, 10) == b"0123456789"


def test_output_goes_on_where_no_checksum_can_be_written(attempt, monkeypatch):
    real = os.pwrite
    sums = attempt.files.descriptors[3]

    def full(descriptor, *arguments):
        if descriptor == sums:
            raise OSError(28, "No space left on device")
        return real(descriptor, *arguments)

    monkeypatch.setattr(os, "pwrite", full)
    attempt.write(1, os.urandom(3 * BLOCK_BYTES))
    attempt.files.finish()
    assert attempt.read(1, 0, 3 * BLOCK_BYTES) == attempt.written[1]


class Rotated:
    """An attempt under the policy `rotate`: what its streams get goes through pipes, as a shim does it."""

    def __init__(self, folder, limit):
        self.stem = f"{folder}/{CHANNEL.hex()}.7.1"
        self.output = AttemptOutput(self.stem, limit, ROTATE, is_terminal=False)
        self.output.connected = False  # so that everything goes to files
        self.pipes = [os.pipe2(os.O_NONBLOCK) for _ in (1, 2)]
        self.written = [b"", b"", b""]
        self.raw = RawFiles(folder)

    def write(self, stream, data):
        pipe, end = self.pipes[stream - 1]
        for begin in range(0, len(data), BLOCK_BYTES):
            os.write(end, data[begin : begin + BLOCK_BYTES])
            while self.output.take(stream, pipe) == MORE:
                pass
        self.written[stream] += data

    def begin(self, stream):
        """Give where the hole of what was dropped ends."""
        with Path(f"{self.stem}.{stream}").open("rb") as file:
            return os.lseek(file.fileno(), 0, os.SEEK_DATA)

    def read(self, stream, offset, length):
        return self.raw.read(CHANNEL, 7, 1, stream, offset, length)

    def close(self):
        self.raw.close()
        self.output.close()
        for pipe in self.pipes:
            for end in pipe:
                os.close(end)


@contextlib.contextmanager
def rotated_output(folder, seed, *, limit=700_000):
    source = random.Random(seed)
    folder.mkdir(mode=0o700, exist_ok=True)
    with contextlib.closing(Rotated(folder, limit)) as rotated:
        for _ in range(80):
            size = source.choice([1, 100, BLOCK_BYTES, 2 * BLOCK_BYTES + 7])
            rotated.write(source.choice([1, 2]), source.randbytes(size))
        rotated.output.finish()
        yield rotated


def test_what_was_not_dropped_yet_is_read_while_the_command_writes(tmp_path):
    folder = tmp_path / "output"
    folder.mkdir(mode=0o700)
    source = random.Random(1)
    with contextlib.closing(Rotated(folder, 300_000)) as rotated:
        for _ in range(60):
            rotated.write(1, source.randbytes(BLOCK_BYTES - 100))
            size, begin = len(rotated.written[1]), rotated.begin(1)
            for offset in (begin, source.randrange(begin, size)):
                end = min(offset + PIECE, size)
                assert rotated.read(1, offset, end - offset) == rotated.written[1][offset:end]
        assert rotated.begin(1)
        place = rotated.begin(1) // BLOCK_BYTES * BLOCK_BYTES + BLOCK_BYTES + 5
        flip(f"{rotated.stem}.1", place)
        assert rotated.read(1, place, 10) is None


@pytest.mark.parametrize("seed", range(10))
def test_what_is_left_of_rotated_output_is_read_and_what_was_dropped_is_not(tmp_path, seed):
    limit = random.Random(seed).choice([1, 5_000, 100_000, 700_000])
    with rotated_output(tmp_path / "output", seed, limit=limit) as rotated:
        source = random.Random(seed)
        assert rotated.output.dropped
        for stream in (1, 2):
            size, begin = len(rotated.written[stream]), rotated.begin(stream)
            for offset in [source.randrange(size) for _ in range(50)] + [max(begin - 1, 0), begin]:
                end = min(offset + source.randint(1, PIECE), size)
                expected = rotated.written[stream][max(offset, begin) : end] or None
                assert rotated.read(stream, offset, end - offset) == expected


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_of_rotated_output_is_not_passed_on(tmp_path, seed):
    with rotated_output(tmp_path / "output", seed) as rotated:
        source = random.Random(seed)
        stream = source.choice([1, 2])
        begin, size = rotated.begin(stream), len(rotated.written[stream])
        assert 0 < begin < size
        place = source.choice([begin, source.randrange(begin, size)])
        flip(f"{rotated.stem}.{stream}", place)
        block = place // BLOCK_BYTES
        for offset in range(begin, size, PIECE):
            end = min(offset + PIECE, size)
            touched = offset // BLOCK_BYTES <= block <= (end - 1) // BLOCK_BYTES
            assert rotated.read(stream, offset, end - offset) == (
                None if touched else rotated.written[stream][offset:end]
            )
