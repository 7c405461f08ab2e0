"""A changed bit in the index of an attempt's output leads to no other output."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from orcha._supervisor.attempt_output import OutputFiles
from orcha._supervisor.contract import FileSpan
from orcha._supervisor.dead_shim_output import unreported_chunks
from orcha._supervisor.output_index import ENTRY, NOWHERE, checked, parse, place_of, sealed
from orcha._supervisor.output_rotation import drop_oldest

CHUNKS = 20


@pytest.fixture
def files(tmp_path):
    """Give an attempt's files with chunks of both streams; the first chunk has the number 5."""
    folder = tmp_path / "output"
    folder.mkdir(mode=0o700)
    files = OutputFiles(f"{folder}/aa.7.1", 5)
    for number in range(5, 5 + CHUNKS):
        assert files.put(number, 1 + number % 2, bytes(5000))
    yield files
    files.close()


def flip(files, place):
    byte = os.pread(files.descriptors[0], 1, place)[0]
    os.pwrite(files.descriptors[0], bytes([byte ^ 1 << random.Random(place).randrange(8)]), place)


def test_each_changed_bit_is_noticed():
    content = sealed(2, 1 << 40, 131072)
    assert checked(content) == [(2, 1 << 40, 131072)]
    for bit in range(len(content) * 8):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        assert checked(bytes(changed)) == [None]


def test_entries_of_older_builds_have_no_checksum():
    assert checked(ENTRY.pack(1, 7, 9)) == [(1, 7, 9)]


@pytest.mark.parametrize("entry", [0, 7, CHUNKS - 1])
def test_in_the_place_of_a_changed_entry_readers_miss_one_piece(files, entry):
    whole = parse(files.entries(5))
    assert len(whole) == CHUNKS
    flip(files, place_of(entry) + 14)
    assert parse(files.entries(5)) == [*whole[:entry], NOWHERE, *whole[entry + 1 :]]


def test_what_a_dead_shim_left_is_passed_on_up_to_a_changed_entry(files, tmp_path):
    left = unreported_chunks(Path(tmp_path / "output"), "aa.7.1", after=8)
    assert [chunk.number for chunk in left] == list(range(9, 5 + CHUNKS))
    assert left[0].data == FileSpan(2 * 5000, 5000)
    flip(files, place_of(10) + 9)
    assert unreported_chunks(Path(tmp_path / "output"), "aa.7.1", after=8) == left[:6]
    flip(files, 10)
    assert unreported_chunks(Path(tmp_path / "output"), "aa.7.1", after=8) == []


def test_no_hole_is_made_beyond_a_changed_entry(files):
    flip(files, place_of(4) + 12)
    assert drop_oldest(files, 50_000) == 4 * 5000
    assert files.oldest == 4
