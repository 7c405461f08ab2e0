"""Output: every byte, in order, whoever listens, up to the limit."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest
from service_start import Start, box_path, boxes

from orcha._supervisor import black_box
from orcha._supervisor.attempt_output import FILES_AFTER_BYTES, MAX_CHUNK_BYTES, MEMORY_BYTES
from orcha._supervisor.contract import KILL, ROTATE, TRUNCATE, CommandEnded, CommandOutput, Event, FileSpan, UnkeptPiece
from support.waiting import wait_for

BYTES = "import hashlib, os, sys; block = hashlib.sha512(b'x').digest() * 1024\n"
"""A Python program's beginning that has a block of 64 KiB."""


def block() -> bytes:
    return hashlib.sha512(b"x").digest() * 1024


def numbered(world: Start, key: tuple[int, int]) -> list[int]:
    return [chunk.number for event in world.of(key) if isinstance(event, CommandOutput) for chunk in event.chunks]


def spans(world: Start, key: tuple[int, int]) -> list[FileSpan]:
    chunks = [chunk for event in world.of(key) if isinstance(event, CommandOutput) for chunk in event.chunks]
    return [chunk.data for chunk in chunks if isinstance(chunk.data, FileSpan)]


def test_much_output_goes_to_files_and_not_a_byte_is_lost(world: Start) -> None:
    key = world.run(sys.executable, "-c", BYTES + "for _ in range(320): os.write(1, block)")
    assert world.output(key) == block() * 320
    ended = world.end(key)
    assert numbered(world, key) == list(range(1, ended.last_chunk + 1))
    assert ended.dropped == 0
    assert max(span.length for span in spans(world, key)) <= MAX_CHUNK_BYTES
    assert sum(span.length for span in spans(world, key)) >= 320 * len(block()) - FILES_AFTER_BYTES - 2 * MEMORY_BYTES


def test_two_streams_in_files_stay_apart(world: Start) -> None:
    script = BYTES + "for _ in range(60): os.write(1, block); os.write(2, block[::-1])"
    key = world.run(sys.executable, "-c", script)
    assert world.output(key, 1) == block() * 60
    assert world.output(key, 2) == block()[::-1] * 60


def test_output_without_an_end_of_line_streams(world: Start) -> None:
    key = world.start("sh", "-c", "printf first; sleep 1000")
    world.said(key, b"first")
    world.commands.kill(*key, "test")
    world.end(key)


def take_all(world, key) -> None:
    """Acknowledge what has come, until the command's end has; an end between two looks is seen by the next one."""
    seen: list[Event] = []
    while not (seen and isinstance(seen[-1], CommandEnded)):
        world.commands.took(*key, max(numbered(world, key), default=0))
        world.until(lambda seen=seen: len(world.of(key)) > len(seen))
        seen = world.of(key)


def test_who_acknowledges_nothing_does_not_slow_the_command(open_world) -> None:
    world = open_world(acknowledge=False)
    key = world.start(sys.executable, "-c", BYTES + "for _ in range(160): os.write(1, block)")
    path = box_path(world.folder, key)
    wait_for(lambda: black_box.read(str(path)).phase == black_box.DONE, what="the command's end")
    take_all(world, key)
    assert world.output(key) == block() * 160
    world.commands.forget(*key)


def test_output_while_no_service_is_there_is_kept_in_files(open_world, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = open_world(epoch=1)
    written = first.file((1, 1), 1)
    script = (
        f"echo one; while [ ! -e {gate} ]; do sleep 0.01; done; "
        f"while [ ! -s {written} ]; do echo two; sleep 0.01; done; echo three >&2"  # until the shim sees it is alone
    )
    key = first.start("sh", "-c", script)
    first.said(key, b"one\n")
    first.close(keep=True)
    gate.touch()
    second = open_world(epoch=2)
    wait_for(lambda: [one for one in boxes(second.folder) if one.phase == black_box.DONE], what="the command's end")
    second.commands.adopt()
    second.commands.resume(*key, after_chunk=1)
    ended = second.end(key)
    assert numbered(second, key) == list(range(2, ended.last_chunk + 1))
    twos = second.output(key, 1)
    assert twos == b"two\n" * (len(twos) // 4)
    assert second.output(key, 2) == b"three\n"
    assert twos.endswith(second.file(key, 1).read_bytes())
    assert second.file(key, 1).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("amount", [1000, 3 << 20])
def test_what_is_beyond_the_limit_is_dropped_and_counted(world: Start, amount: int) -> None:
    script = f"import sys; sys.stdout.write('x' * {amount}); sys.stdout.flush(); sys.exit(3)"
    key = world.run(sys.executable, "-c", script, output_limit=amount // 2, output_policy=TRUNCATE)
    ended = world.end(key)
    assert world.output(key) == b"x" * (amount // 2)
    assert (ended.code, ended.why, ended.dropped) == (3, None, amount - amount // 2)


def test_what_is_beyond_the_limit_is_passed_on_and_the_command_waits_for_that(open_world) -> None:
    world = open_world(acknowledge=False)
    size = 12 << 20
    script = BYTES + f"for _ in range({size >> 16}): os.write(1, block)"
    key = world.start(sys.executable, "-c", script, output_limit=1 << 20)
    take_all(world, key)
    found = unkept_pieces(world, key)
    assert len(world.output(key)) == 1 << 20
    assert world.output(key) + b"".join(piece.data or b"" for piece in found) == block() * (size // len(block()))
    ends = [piece.offset + piece.length for piece in found]
    assert [piece.offset for piece in found] == [0, *ends[:-1]]
    assert world.end(key).dropped == ends[-1] == size - (1 << 20)
    world.commands.forget(*key)


def test_where_nobody_reads_along_nothing_is_held_and_what_is_lost_is_told_in_one_piece(open_world) -> None:
    world = open_world(acknowledge=False)
    script = BYTES + "os.write(1, block * 2); os.read(0, 1)\nfor _ in range(320): os.write(1, block)"
    key = world.start(sys.executable, "-c", script, output_limit=10, stdin="pipe")
    world.until(lambda: sum(piece.length for piece in unkept_pieces(world, key)) == (128 << 10) - 10)
    world.commands.read(*key, anybody=False)
    world.commands.write(*key, 0, b"x")
    ended = world.end(key)
    *_, last = unkept_pieces(world, key)
    assert (last.data, last.offset, last.length) == (None, (128 << 10) - 10, 320 << 16)
    assert (ended.code, ended.dropped) == (0, (322 << 16) - 10)
    world.commands.forget(*key)


def unkept_pieces(world: Start, key: tuple[int, int]) -> list[UnkeptPiece]:
    chunks = [chunk for event in world.of(key) if isinstance(event, CommandOutput) for chunk in event.chunks]
    return [chunk.data for chunk in chunks if isinstance(chunk.data, UnkeptPiece)]


def test_the_limit_counts_both_streams(world: Start) -> None:
    key = world.run("sh", "-c", "printf 12345; printf 67890 >&2; printf x", output_limit=10)
    assert len(world.output(key, 1)) + len(world.output(key, 2)) == 10
    assert world.end(key).dropped == 1


@pytest.mark.parametrize("limit", [100, 2 << 20])
def test_a_command_that_writes_too_much_is_ended_where_that_is_the_policy(world: Start, limit: int) -> None:
    key = world.run("sh", "-c", "yes", output_limit=limit, output_policy=KILL)
    ended = world.end(key)
    assert ended.why == "output"
    assert ended.dropped > 0
    assert len(world.output(key)) == limit


def test_the_oldest_output_goes_where_that_is_the_policy(world: Start) -> None:
    limit = 4 << 20
    script = (
        "import os\n"
        "for number in range(0, 2000000, 1000): os.write(1, b''.join(b'%07d\\n' % (number + n) for n in range(1000)))"
    )
    key = world.run(sys.executable, "-c", script, output_limit=limit, output_policy=ROTATE)
    ended = world.end(key)
    with world.file(key, 1).open("rb") as file:
        start = os.lseek(file.fileno(), 0, os.SEEK_DATA)
        file.seek(start)
        kept = file.read()
    assert kept.endswith(b"1999998\n1999999\n")
    assert (
        limit - 2 * MAX_CHUNK_BYTES <= len(kept) <= limit + MAX_CHUNK_BYTES + 4096
    )  # whole chunks go, whole blocks of them
    assert ended.dropped + len(kept) == pytest.approx(16_000_000, abs=4096 + 2 * MEMORY_BYTES)
    assert world.file(key, 1).stat().st_blocks * 512 <= limit + (1 << 20)
    assert ended.code == 0


def test_a_full_disk_ends_no_command(open_world, folder: Path) -> None:
    (folder / "output").rmdir() if (folder / "output").exists() else None
    world = open_world(acknowledge=False)
    (folder / "output").rmdir()
    (folder / "output").write_text("in the way")
    key = world.start(sys.executable, "-c", BYTES + "for _ in range(32): os.write(1, block)")
    world.until(lambda: world.of(key))
    world.commands.read(*key, anybody=False)
    world.until(lambda: world.of(key) and isinstance(world.of(key)[-1], CommandEnded))
    ended = world.end(key)
    assert ended.code == 0
    assert ended.dropped + len(world.output(key)) == 32 * len(block())
    world.commands.forget(*key)
