"""Whether SIGTERM has ended a process of an attempt is known wherever Python code reaps the process."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess

import pytest

from orcha._processes import attempt_tracking
from orcha._processes.attempt_tracking import working_for
from orcha._service.execution import outside_stop
from orcha._service.execution.outside_stop import OutsideStop
from orcha.utils.stop_signal import StopSignal
from support.waiting import wait_for

BY_SIGTERM = ["sh", "-c", "kill -TERM $$"]


def end_by_sigterm():
    os.kill(os.getpid(), signal.SIGTERM)


def wait():
    subprocess.Popen(BY_SIGTERM).wait()


def poll():
    process = subprocess.Popen(BY_SIGTERM)
    wait_for(lambda: process.poll() is not None, what="its end")


def run():
    subprocess.run(BY_SIGTERM, capture_output=True, check=False)


def shell():
    subprocess.run("sh -c 'kill -TERM $$'; exit $?", shell=True, check=False)


def system():
    os.system("kill -TERM $$")


def spawn():
    os.spawnvp(os.P_WAIT, "sh", BY_SIGTERM)


def posix_spawn():
    os.waitpid(os.posix_spawn("/bin/sh", BY_SIGTERM, os.environ), 0)


def fork():
    if not os.fork():
        end_by_sigterm()
    os.wait()


def child(method):
    process = multiprocessing.get_context(method).Process(target=end_by_sigterm)
    process.start()
    process.join()


def forked_child():
    child("fork")


def child_of_the_fork_server():
    child("forkserver")


@pytest.mark.may_leave("children", "descriptors")  # the resource tracker and the fork server stay
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize(
    "reap",
    [
        *(wait, poll, run, shell, system, spawn, posix_spawn, fork, forked_child),
        pytest.param(child_of_the_fork_server, marks=pytest.mark.slow),
    ],
)
def test_that_sigterm_has_ended_a_process_is_noted_wherever_it_is_reaped(tagged, reap):
    with working_for(1) as attempt:
        assert not attempt_tracking.take_ended_by_sigterm(1)
        reap()
        assert attempt_tracking.take_ended_by_sigterm(1)
        assert not attempt_tracking.take_ended_by_sigterm(1)
        reap()
    assert attempt.ended_by_sigterm
    assert not attempt_tracking.take_ended_by_sigterm(1)


def test_another_end_is_not_noted_and_not_for_another_attempt(tagged):
    with working_for(1) as attempt:
        subprocess.run(["sh", "-c", "kill -KILL $$"], check=False)
        subprocess.run(["sh", "-c", "exit 15"], check=False)
        os.system("true")
    wait()
    assert not attempt.ended_by_sigterm


class WatcherOf:
    """Says of each look whether the watcher has got SIGTERM by then."""

    def __init__(self, *looks):
        self.looks = iter(looks)

    def got_sigterm(self):
        return next(self.looks)


def explains(watcher, *, ended_by_sigterm, came=None):
    stop = StopSignal()
    stop.came = came
    return OutsideStop(watcher, lambda: None, stop).explains(ended_by_sigterm=ended_by_sigterm)


def test_after_such_an_end_the_signal_to_the_others_may_come_later(monkeypatch):
    monkeypatch.setattr(outside_stop, "WAIT_SECONDS", 3600.0)
    assert explains(WatcherOf(False, False, False, True), ended_by_sigterm=True)
    monkeypatch.setattr(outside_stop, "WAIT_SECONDS", 0.0)
    assert not explains(WatcherOf(False, False), ended_by_sigterm=True)


def test_after_another_end_nothing_is_waited_for(monkeypatch):
    monkeypatch.setattr(outside_stop, "WAIT_SECONDS", 3600.0)
    assert not explains(WatcherOf(False, False), ended_by_sigterm=False)
    assert explains(WatcherOf(True), ended_by_sigterm=False)


def test_long_after_the_signal_to_the_service_nothing_is_waited_for():
    looks = WatcherOf(*itertools.repeat(False, 2))
    assert not explains(looks, ended_by_sigterm=True, came=float("-inf"))
