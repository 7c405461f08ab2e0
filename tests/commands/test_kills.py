"""The service is killed while commands run: nothing of them is lost, doubled, killed or run twice."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest

from orcha._protocol.messages import Verdict
from support.commands import COMMANDS, everything, run, steady, writer, written_by
from support.processes import command_line
from support.waiting import wait_for

COUNT = 6
LINES = 4_000
STEADY_ONES = int(os.environ.get("TEST_COMMANDS", "10"))
"""Commands that run while the service is killed at random moments."""
KILLS = int(os.environ.get("TEST_COMMAND_KILLS", "24")) // 2
"""How often that is, over both seeds."""


class Reader:
    """Reads a channel to its end on a thread of its own."""

    def __init__(self, queue):
        self.result = None
        self.values = 0
        self._queue = queue
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def get(self):
        """Give the next value, and count it."""
        value = self._queue.get()
        self.values += 1
        return value

    def _read(self):
        self.result = everything(self)

    def wait(self):
        self._thread.join(60)
        assert self.result is not None, "the final value did not come"
        return self.result


def noted(ledger):
    """Give what the writers noted: [number, word, attempt]."""
    return [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []


def named(folder):
    """Give the processes whose command line names something in this folder: supervisors and shims."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if str(folder) in command_line(pid)]


def run_writers(client, ledger, latch, **extras):
    queues = [run(client, f"w{n}", *writer(n, LINES, ledger, latch), **extras) for n in range(COUNT)]
    return [Reader(queue) for queue in queues]


def check_writers(readers, ledger):
    results = [reader.wait() for reader in readers]
    assert [result.code for result in results] == [n % 5 for n in range(COUNT)]
    assert all(result.out == written_by(n, LINES) for n, result in enumerate(results))
    assert all(result.lines == [] for result in results)
    starts, ends = ([(n, attempt) for n, word, attempt in noted(ledger) if word == which] for which in ("start", "end"))
    assert sorted(starts) == sorted(ends), "an attempt was started and did not end, or the other way round"
    assert sorted(n for n, _ in starts) == [str(n) for n in range(COUNT)], "each is executed once"


@pytest.mark.slow
def test_killed_again_and_again_it_loses_doubles_and_kills_nothing(serve, connect, tmp_path, latch):
    ledger = tmp_path / "ledger"
    service = serve(COMMANDS, environment={"ORCHA_COMMANDS": str(COUNT)})
    readers = run_writers(connect(service), ledger, latch)
    for least in (1, COUNT, COUNT):
        wait_for(lambda least=least: len(noted(ledger)) >= least, what="some that run")
        service.kill()
        service.start()
    latch.open()
    for least in (COUNT + 1, COUNT + 2):
        wait_for(lambda least=least: len(noted(ledger)) >= least, what="some that have ended")
        service.kill()
        service.start()
    check_writers(readers, ledger)


@pytest.mark.slow
@pytest.mark.timeout(120 + 10 * KILLS)
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments_every_line_of_both_streams_comes_once(serve, connect, tmp_path, seed):
    """Each command prints numbered lines until the end; the moments are numbers of values that clients have got."""
    chance = random.Random(seed)
    ledger, gate = tmp_path / "ledger", tmp_path / "open"
    service = serve(COMMANDS, environment={"ORCHA_COMMANDS": str(STEADY_ONES)})
    client = connect(service)
    readers = [Reader(run(client, f"s{n}", *steady(n, ledger, gate))) for n in range(STEADY_ONES)]
    for _ in range(KILLS):
        enough = sum(reader.values for reader in readers) + chance.randrange(1, 60)
        wait_for(lambda enough=enough: sum(reader.values for reader in readers) >= enough, what="values")
        service.kill()
        service.start()
    gate.touch()
    results = [reader.wait() for reader in readers]
    notes = noted(ledger)
    for number, result in enumerate(results):
        mine = [(word, value) for which, word, value in notes if which == str(number)]
        assert [word for word, _ in mine] == ["start", "end"], (number, result.lines, result.code, service.all_stderr())
        expected = b"".join(b"%d %d\n" % (number, line) for line in range(int(mine[1][1])))
        assert result == (expected, expected, [], number % 5)


def test_what_ended_while_the_service_was_away_is_told_when_it_is_back(serve, connect, tmp_path, latch):
    ledger = tmp_path / "ledger"
    service = serve(COMMANDS, environment={"ORCHA_COMMANDS": str(COUNT)})
    readers = run_writers(connect(service), ledger, latch)
    wait_for(lambda: len(noted(ledger)) == COUNT, what="all that run")
    service.kill()
    latch.open()
    wait_for(lambda: len(noted(ledger)) == 2 * COUNT, what="the end of all")
    service.start()
    check_writers(readers, ledger)


def test_a_stop_that_keeps_commands_leaves_them_running(serve, connect, tmp_path, latch):
    ledger = tmp_path / "ledger"
    service = serve(COMMANDS, environment={"ORCHA_COMMANDS": str(COUNT), "ORCHA_KEEP_COMMANDS": "1"})
    readers = run_writers(connect(service), ledger, latch)
    wait_for(lambda: len(noted(ledger)) == COUNT, what="all that run")
    assert service.stop() == 0
    service.start()
    latch.open()
    check_writers(readers, ledger)


def test_a_stop_interrupts_what_runs_and_leaves_no_process(serve, connect, tmp_path):
    service = serve(COMMANDS, environment={"ORCHA_STOP_GRACE": "0"})
    queue = run(connect(service), "m1", "sh", "-c", "echo there; sleep 600 & sleep 600")
    assert queue.get() == (1, b"there\n")
    assert service.stop() == 0
    wait_for(lambda: not service.processes() and not named(service.home), what="the end of all processes")
    service.start()
    _, _, lines, code = everything(queue)
    assert (lines, code) == (["interrupted: the service was stopped while it ran\n"], 75)


def test_what_is_to_be_rerun_after_a_stop_runs_again_as_another_attempt(serve, connect, tmp_path, latch):
    ledger = tmp_path / "ledger"
    service = serve(COMMANDS, environment={"ORCHA_STOP_GRACE": "0"})
    queue = run(connect(service), "w3", *writer(3, 2, ledger, latch), on_interrupt="rerun")
    wait_for(lambda: noted(ledger), what="its start")
    assert service.stop() == 0
    latch.open()
    service.start()
    assert everything(queue).code == 3
    assert noted(ledger) == [["3", "start", "1"], ["3", "start", "2"], ["3", "end", "2"]]


def test_without_a_store_what_ran_is_ended_at_the_next_start(serve, connect):
    service = serve(COMMANDS, environment={"ORCHA_STORE": "memory"})
    queue = run(connect(service), "m1", "sh", "-c", "echo $$; exec sleep 600")
    _, data = queue.get()
    service.kill()
    service.start()
    wait_for(lambda: command_line(int(data)) in {"", "(ended)"}, what="the end of what nobody knows")


def test_without_a_store_a_command_runs_as_with_one(serve, connect):
    service = serve(COMMANDS, environment={"ORCHA_STORE": "memory"})
    result = everything(run(connect(service), "m1", "sh", "-c", "seq 1 100000; exit 4"))
    assert (result.out, result.code) == (b"".join(b"%d\n" % n for n in range(1, 100001)), 4)


def test_the_end_of_standard_input_is_known_to_a_service_that_comes_back(serve, connect):
    service = serve(COMMANDS)
    client = connect(service)
    queue = run(client, "m1", "sh", "-c", "cat; echo read; exec sleep 600", stdin=True)
    wire = client.manager.client
    row = wait_for(lambda: [row for row in wire.rows(1 << 4, 9) if row["state"] == "running"], what="it runs")[0]
    assert wire.decode(wire.stdin(row["seq"], 1, 0, b"all\n", end=True).value) == 4
    service.kill()
    service.start()
    assert wire.decode(wire.stdin(row["seq"], 1, 0, b"", end=False).value) == 4
    assert wire.decode(wire.stdin(row["seq"], 1, 2, b"l\n", end=True).value) == 4
    assert wire.stdin(row["seq"], 1, 4, b"more").verdict == Verdict.REFUSED
    written = b""
    while not written.endswith(b"read\n"):
        written += queue.get()[1]
    assert written == b"all\nread\n"
    assert client.finish("m1")
