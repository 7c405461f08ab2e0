"""Finding and ending all that carries a tag."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from orcha._processes import sweep as sweeping
from orcha._processes import tag
from orcha._processes.identity import identify
from orcha._processes.sweep import living, sweep

HOPPER = """
import os, sys, time
sys.stdin.readline()
print(flush=True)
until = time.monotonic() + 20
while time.monotonic() < until:
    if os.fork():
        os._exit(0)
    os.setsid()
"""


@pytest.fixture
def own():
    return tag.tag_of(tag.new_nonce(), 1)


def tagged_sleeper(own):
    process = subprocess.Popen(["sleep", "1000"])
    assert tag.tag_process(process.pid, own)
    return process


def test_a_sweep_ends_what_matches_and_nothing_else(own) -> None:
    meant = [tagged_sleeper(own) for _ in range(3)]
    bystanders = [tagged_sleeper(own + 1), subprocess.Popen(["sleep", "1000"])]
    assert {one.pid for one in living(tag.exactly(own))} == {process.pid for process in meant}
    swept = sweep(tag.exactly(own))
    assert swept.killed == tuple(sorted(process.pid for process in meant))
    assert swept.survivors == ()
    assert [process.wait() for process in meant] == [-signal.SIGKILL] * 3
    assert all(identify(process.pid) for process in bystanders)
    for process in bystanders:
        process.kill()
        process.wait()


def test_a_sweep_for_a_nonce_ends_all_its_attempts_and_spares_whom_it_should(own) -> None:
    first, second, spared = tagged_sleeper(own), tagged_sleeper(own + 1), tagged_sleeper(own + 2)
    matching = tag.all_of(own >> tag.ORDINAL_BITS)
    assert sweep(matching, spare=[spared.pid]).killed == tuple(sorted([first.pid, second.pid]))
    assert [one.pid for one in living(matching)] == [spared.pid]
    assert living(matching, spare=[spared.pid]) == []
    spared.kill()
    for process in (first, second, spared):
        process.wait()


def test_the_dead_do_not_hold_a_sweep_up(own) -> None:
    process = tagged_sleeper(own)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert living(tag.exactly(own)) == []
    assert sweep(tag.exactly(own)) == ((), ())
    process.wait()


def test_what_a_signal_does_not_end_survives_the_deadline(own) -> None:
    with subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo; while :; do sleep 1000; done"], stdout=subprocess.PIPE
    ) as shell:
        shell.stdout.readline()
        tag.tag_tree(shell.pid, own)
        assert shell.pid in sweep(tag.exactly(own), signal=signal.SIGTERM, deadline=0.05).survivors
        assert shell.pid in sweep(tag.exactly(own)).killed


def test_a_sweep_that_cannot_end_a_process_pauses_longer_and_longer(own, monkeypatch) -> None:
    """A look at all processes of the machine costs a millisecond: 100 a second cost a tenth of a processor."""
    pauses = []
    monkeypatch.setattr(sweeping, "wait_for_ends", lambda pids, seconds: pauses.append((pids, seconds)))
    monkeypatch.setattr(sweeping._Sweep, "_round", lambda _: {17} if len(pauses) < 12 else set())
    assert sweep(tag.exactly(own), deadline=1e6) == ((), ())
    assert pauses[0] == ({17}, 0.0005)
    assert pauses[-1] == ({17}, sweeping.MAX_PAUSE_SECONDS) == ({17}, 0.2)
    assert all(before <= after for before, after in pairwise(pauses))


def test_a_long_pause_ends_when_all_processes_have_ended() -> None:
    processes = [subprocess.Popen(["sleep", "1000"]) for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(sweeping.wait_for_ends, [process.pid for process in processes], 1e6)
        for process in processes:
            assert not ended.done()
            process.kill()
            process.wait()
        ended.result()


def test_without_a_free_descriptor_a_pause_is_short(monkeypatch) -> None:
    def none_is_free(_):
        raise OSError(errno.EMFILE, "no descriptor is free")

    slept = []
    monkeypatch.setattr(sweeping, "open_pidfd_of", none_is_free)
    monkeypatch.setattr(sweeping.time, "sleep", slept.append)
    sweeping.wait_for_ends([17], 1e6)
    assert slept == [0.01]


@pytest.mark.parametrize("trusted", [True, False])
def test_a_process_that_forks_and_exits_all_the_time_is_caught(own, trusted, monkeypatch) -> None:
    if not trusted:  # as where the file system of a container imitates /proc/loadavg
        monkeypatch.setattr(sweeping, "newest_pid", lambda: None)
    with subprocess.Popen(
        [sys.executable, "-S", "-c", HOPPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as hopper:
        assert tag.tag_process(hopper.pid, own)
        hopper.stdin.write(b"\n")
        assert hopper.stdout.readline()
        assert sweep(tag.exactly(own), deadline=15).survivors == ()
        # All that descends from it holds the writing end: at the end of file none is left.
        assert select.select([hopper.stdout], [], [], 0)[0]
        assert hopper.stdout.read() == b""


def test_a_clean_sweep_needs_two_rounds_in_which_no_process_began(own, monkeypatch) -> None:
    newest = iter([5, 6, 7, 7, 8, 8, 8])
    rounds = []
    monkeypatch.setattr(sweeping, "newest_pid", lambda: next(newest))
    monkeypatch.setattr(sweeping, "_all_pids", lambda _newest, _since: rounds.append(1) or iter(()))
    assert sweep(tag.exactly(own)) == ((), ())
    assert len(rounds) == 6


def test_where_processes_begin_all_the_time_twenty_empty_rounds_are_enough(own, monkeypatch) -> None:
    newest = iter(range(100))
    rounds = []
    monkeypatch.setattr(sweeping, "newest_pid", lambda: next(newest))
    monkeypatch.setattr(sweeping, "_all_pids", lambda _newest, _since: rounds.append(1) or iter(()))
    assert sweep(tag.exactly(own)) == ((), ())
    assert len(rounds) == sweeping.MAX_EMPTY_ROUNDS


def test_pids_that_a_sweep_takes_itself_are_no_news(own, monkeypatch) -> None:
    taken = iter([5, 6, 8, 9, 10])
    rounds = []
    monkeypatch.setattr(sweeping, "newest_pid", lambda: None)
    monkeypatch.setattr(sweeping, "_pid_of_a_thread", lambda: next(taken))
    monkeypatch.setattr(sweeping, "_all_pids", lambda _newest, _since: rounds.append(1) or iter(()))
    assert sweep(tag.exactly(own)) == ((), ())
    assert len(rounds) == 4  # two still ones after the one in which 7 was handed out to somebody


def test_where_no_thread_can_be_started_twenty_empty_rounds_are_enough(own, monkeypatch) -> None:
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    rounds = []
    monkeypatch.setattr(sweeping, "newest_pid", lambda: None)
    monkeypatch.setattr(sweeping._thread, "start_new_thread", refuse)
    monkeypatch.setattr(sweeping, "_all_pids", lambda _newest, _since: rounds.append(1) or iter(()))
    assert sweep(tag.exactly(own)) == ((), ())
    assert len(rounds) == sweeping.MAX_EMPTY_ROUNDS


def test_the_newest_pid_is_read_anew_from_a_descriptor_that_stays_open(monkeypatch) -> None:
    def opened(path):
        raise AssertionError(path)

    sweeping.keep_newest_open()
    try:
        monkeypatch.setattr(sweeping, "read_small", opened)
        before = sweeping.newest_pid()
        assert before is not None
        with subprocess.Popen(["true"]):
            assert sweeping.newest_pid() != before
    finally:
        os.close(sweeping._loadavg)
        sweeping._loadavg = None
