"""Output that lies in files is passed on as values, in its place, to whoever follows, whenever."""

from __future__ import annotations

import os
import threading

import pytest

from commands.fake_commands import ended, output, started
from orcha._service import transaction
from orcha._service.channels import output_pieces as spans
from orcha._service.mailbox import MAX_EVENTS_OF_ANOTHER_THREAD
from orcha._supervisor.contract import FileSpan
from orcha._supervisor.output_rotation import _punch
from support.waiting import wait_for

LONG = os.urandom(300_000)


@pytest.fixture
def written(engine):
    """A command that wrote much, and a line between."""
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    engine.raw_file(spec, 1, LONG)
    engine.raw_file(spec, 2, b"oops")
    engine.commands.tell(output(spec, b"first\n"))
    engine.commands.tell(output(spec, FileSpan(0, 100_000), FileSpan(100_000, 150_000), first=2))
    engine.commands.tell(output(spec, FileSpan(0, 4), first=4, stream=2))
    engine.commands.tell(output(spec, FileSpan(250_000, 50_000), first=5))
    engine.commands.tell(ended(spec, last_chunk=5))
    engine.settle(asked)
    return asked


def streams(values):
    """Give what the values hold, by stream."""
    return {stream: b"".join(data for which, data in values if which == stream) for stream in (1, 2)}


def test_how_far_output_was_taken_is_not_kept_before_the_output(engine, monkeypatch):
    """A start that waits for a transaction to ride with is due when output comes: a kill would lose the output."""
    monkeypatch.setattr(transaction, "FLAGS_WAIT_SECONDS", 3600)
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    wait_for(lambda: engine.engine.petitions.changes.attempts, what="a start that waits")
    transactions = []
    commit = engine.store.commit

    def note(changes, **options):
        transactions.append(([step.last_chunk for step in changes.attempts.values()], len(changes.appends)))
        return commit(changes, **options)

    monkeypatch.setattr(engine.store, "commit", note)
    busy, free = threading.Event(), threading.Event()
    engine.engine.post(lambda: busy.set() or free.wait(30))
    assert busy.wait(30)  # what comes from now on is one batch
    for _ in range(MAX_EVENTS_OF_ANOTHER_THREAD):  # which is the engine's thread's, since so much has come
        engine.engine.post(lambda: None)
    engine.commands.tell(output(spec, b"a line\n"))
    engine.engine.post(lambda: engine.engine.timers.at(0.0, engine.engine.transaction._flush))
    free.set()
    wait_for(lambda: engine.values(asked) == [(1, b"a line\n")], what="the line")
    assert transactions == [([1], 1)]


def test_pieces_of_files_arrive_whole_and_in_order(engine, written):
    *values, final = engine.values(written)
    assert final == 0
    assert streams(values) == {1: b"first\n" + LONG, 2: b"oops"}
    assert max(len(data) for _, data in values) <= 128 * 1024
    assert len(values) == 5, "neighbours become one piece"


@pytest.mark.parametrize("index", [0, 1, 2, 4])
def test_a_late_follower_gets_the_same(engine, written, index):
    before = engine.values(written)
    engine.follow(written, index)
    wait_for(lambda: engine.values(written) == before[index:], what="all from there on")


def drop(folder, end):
    """Drop what the command wrote to its standard output up to there, as `rotate` does, or all of it."""
    (path,) = (folder / "output").glob("*.1.1.1")
    with path.open("r+b") as file:
        assert end is not None or file.truncate(0) == 0
        assert end is None or _punch(file.fileno(), end)


def again(engine, written):
    """Follow it from its beginning; give what comes, without the first line and the final value."""
    engine.follow(written)
    wait_for(lambda: engine.values(written)[-1:] == [0], what="all of it")
    return engine.values(written)[1:-1]


def test_output_that_is_gone_is_told_in_one_line_a_gap(engine, written, folder):
    count = len(engine.values(written))
    drop(folder, None)
    assert again(engine, written) == [spans.MISSING, (1, b""), (2, b"oops"), (1, b"")]
    assert len(engine.values(written)) == count, "each record has its place"
    assert again(engine, written)[0] == spans.MISSING, "each follower is told"


def test_a_line_stands_between_what_was_dropped_and_what_is_kept(engine, written, folder):
    drop(folder, 196_608)
    assert again(engine, written) == [
        spans.MISSING,
        (1, LONG[196_608:250_000]),
        (2, b"oops"),
        (1, LONG[250_000:]),
    ]


def test_what_is_left_of_a_piece_does_not_join_what_came_long_before_it(engine, written, folder):
    drop(folder, 4096)
    assert again(engine, written) == [
        spans.MISSING,
        (1, LONG[131_072:250_000]),
        (2, b"oops"),
        (1, LONG[250_000:]),
    ]


def test_files_go_with_their_petition(engine, written, folder):
    row = engine.row(written)
    assert list((folder / "output").glob(f"{written.token.hex()}.1.1.*"))

    def forget():
        engine.engine.petitions.changes.deleted.append(row.seq)
        engine.engine.after_batch(lambda: None)

    wait_for(lambda: not engine.row(written).hook_pending, what="on_finish")
    engine.engine.post(forget)
    wait_for(lambda: not list((folder / "output").glob(f"{written.token.hex()}.*")), what="no files")


def test_what_was_not_kept_is_counted_in_a_line(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(output(spec, b"kept"))
    engine.commands.tell(ended(spec, last_chunk=1, dropped=123))
    engine.settle(asked)
    assert engine.values(asked) == [
        (1, b"kept"),
        "orcha: 123 bytes of output are lost: its limit is 1073741824 bytes, or the disk is full\n",
        0,
    ]


def test_a_pattern_is_found_in_output_that_lies_in_files(engine):
    asked = engine.run(retry={"times": 1, "delay": 0.0, "output": "busy$"})
    spec = engine.wait_for_spec()
    engine.raw_file(spec, 2, b"x" * 100_000 + b"busy")
    engine.commands.tell(output(spec, FileSpan(0, 100_004), stream=2))
    engine.commands.tell(ended(spec, 1, last_chunk=1))
    engine.commands.tell(ended(engine.wait_for_spec(2), 0))
    engine.settle(asked)
    assert engine.values(asked)[-1] == 0


def test_a_channel_takes_more_of_commands_than_of_actions(engine, monkeypatch):
    monkeypatch.setattr("orcha._service.channels.channel_book.MAX_CHANNEL_BYTES", 10)
    asked = engine.run()
    spec = engine.wait_for_spec()
    for number in range(1, 10):
        engine.commands.tell(output(spec, b"0123456789", first=number))
    engine.commands.tell(ended(spec, last_chunk=9))
    engine.settle(asked)
    assert engine.values(asked) == [(1, b"0123456789")] * 9 + [0]
