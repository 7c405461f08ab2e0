"""What watched over a command dies: what it left in files is passed on, and what is missing is told."""

from __future__ import annotations

import os
import signal

import pytest

from commands.fake_commands import ended, output, started
from orcha._core.state import Outcome
from orcha._protocol.losses import GAP
from orcha._supervisor import black_box
from orcha._supervisor.contract import CommandLost, FoundAttempt
from orcha._supervisor.output_index import ENTRY
from support.commands import COMMANDS, everything, run
from support.processes import command_line
from support.waiting import wait_for

LINES = 20_000
WRITER = 'echo first; read -r _ <"$1"; seq $2; [ -z "$4" ] || exec sleep 1000; exit $3'
"""Writes a line, and $2 more once the latch $1 is open; then it ends with $3, unless there is a $4."""


def shims(service, *phases):
    """Give the shims whose box says one of these."""
    folder = service.home / f"{service.address}-{service.port}" / "shims"
    words = [black_box.read(str(path)) for path in folder.glob("*.box")]
    return [word.pid for word in words if word is not None and word.phase in phases]


def die_together(service, latch, *, lines, code, stays=False):
    """Run a writer; kill the service, let the command write, kill its shim, and start the service again."""
    queue = run(service.client, "it", "sh", "-c", WRITER, "sh", latch.path, str(lines), str(code), "x" * stays)
    assert queue.get() == (1, b"first\n")
    service.kill()
    latch.open()
    if stays:
        written = service.home / f"{service.address}-{service.port}" / "output"
        wait_for(lambda: sum(path.stat().st_size for path in written.glob("*.1")) >= size(lines), what="what it writes")
    else:
        wait_for(lambda: shims(service, black_box.DONE), what="the end of the command")
    (pid,) = shims(service, black_box.DONE, black_box.STARTED)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: command_line(pid) in {"", "(ended)"}, what="the end of its shim")
    service.start()
    return everything(queue)


def size(lines):
    return len(numbers(lines))


def numbers(lines):
    return b"".join(b"%d\n" % number for number in range(1, lines + 1))


@pytest.fixture
def service(serve, connect):
    service = serve(COMMANDS)
    service.client = connect(service)
    return service


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("lines", [1, 2_000, LINES, 10 * LINES])
def test_what_a_command_wrote_while_the_service_was_away_outlives_its_shim(service, latch, lines, code):
    written = die_together(service, latch, lines=lines, code=code)
    assert written == (numbers(lines), b"", [], code)


def test_what_one_wrote_that_was_interrupted_with_its_shim_is_passed_on_too(service, latch):
    written = die_together(service, latch, lines=LINES, code=0, stays=True)
    assert (written.out, written.code) == (numbers(LINES), 75)


# --- the same with an end that the test says -----------------------------------------------------------------------


def lost(engine, *, last, code=0, index=()):
    """Run a command that has written a chunk, and lose its shim; give the values of its channel."""
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    engine.commands.tell(output(spec, b"one"))
    engine.wait_for_call("took", spec.seq, spec.attempt, 1)
    if index:
        engine.raw_file(spec, 1, b"twothree")
        engine.raw_file(spec, 2, b"")
        engine.raw_file(spec, "index", b"".join(ENTRY.pack(*entry) for entry in index))
    engine.commands.tell(CommandLost(spec.seq, spec.attempt, True, ended(spec, code, last_chunk=last)))
    wait_for(
        lambda: engine.values(asked)[-1:] and not isinstance(engine.values(asked)[-1], str | tuple), what="the end"
    )
    return engine.values(asked), engine.row(asked)


ALL = [(0, 2, 0), (1, 0, 3), (1, 3, 5)]
"""An index that holds the second chunk and the third."""


def test_what_is_there_is_passed_on_and_the_end_is_its_end(engine):
    values, row = lost(engine, last=3, index=ALL)
    assert (values, row.outcome) == ([(1, b"one"), (1, b"twothree"), 0], Outcome.SUCCEEDED)


@pytest.mark.parametrize(
    ("last", "index"),
    [
        (2, ()),
        (-1, ()),
        (-1, ALL),
        (4, ALL),
        (4, [(0, 3, 0), (1, 0, 3), (1, 3, 5)]),
        (3, [(0, 2, 0), (1, 0, 3), (1, 3, 6)]),
        (3, [(0, 2, 0), (1, 0, 3)]),
        (3, [(0, 2, 0), (9, 0, 3)]),
    ],
)
def test_with_a_gap_nothing_ends_with_success_and_a_line_tells_of_it(engine, last, index):
    values, row = lost(engine, last=last, index=index)
    assert values[0] == (1, b"one")
    assert values.count(GAP) == 1
    assert values[-1] == 75
    assert (row.outcome, row.code) == (Outcome.INTERRUPTED, 75)


def test_with_a_gap_a_failure_keeps_its_code(engine):
    values, row = lost(engine, last=2, code=3)
    assert values == [(1, b"one"), GAP, 3]
    assert row.outcome is Outcome.FAILED


def test_what_was_lost_while_the_service_was_away_is_told_by_the_next(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    engine.commands.tell(output(spec, b"one"))
    engine.wait_for_call("took", spec.seq, spec.attempt, 1)
    there = FoundAttempt(spec.seq, 1, spec.channel, "lost", "shim-1", ended=ended(spec, 0, last_chunk=2))
    later = engine.again(there)
    wait_for(lambda: later.row(asked).outcome is not None, what="its end")
    later.follow(asked)
    wait_for(lambda: 75 in later.values(asked), what="its final value")
    assert later.values(asked)[:2] == [(1, b"one"), GAP]
