from __future__ import annotations

import faulthandler
import gc
import os
import subprocess
import sys
import threading

import pytest

from orcha import properties
from support import Gate, wait_for
from support.gates import Latch, pass_gate
from support.hanging import HangReports
from support.leaks import no_leaks


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("support.leaks.wait_for", lambda fact, *_, **__: wait_for(fact, 0.01))


def test_waiting_gives_the_first_truthy_result():
    answers = iter([0, "", [7]])
    assert wait_for(lambda: next(answers)) == [7]


def test_waiting_in_vain_says_what_for():
    with pytest.raises(AssertionError, match="the moon"):
        wait_for(lambda: False, 0.01, what="the moon")


def test_a_gate_holds_its_waiter_until_it_is_opened(gate: Gate):
    passed = threading.Event()
    waiter = threading.Thread(target=lambda: (pass_gate(gate.path), passed.set()))
    waiter.start()
    gate.wait_until_reached()
    assert not passed.is_set()
    gate.open()
    assert passed.wait(30)
    waiter.join()


def test_a_latch_holds_all_until_it_is_opened_and_nobody_later(latch: Latch):
    command = ["sh", "-c", f"echo waits; {latch.wait}; echo goes on"]
    shells = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [shell.stdout.readline() for shell in shells] == ["waits\n"] * 3
    assert [shell.poll() for shell in shells] == [None] * 3
    latch.open()
    assert [shell.communicate() for shell in shells] == [("goes on\n", None)] * 3
    latch.open()
    assert subprocess.check_output(command, text=True) == "waits\ngoes on\n"


def test_a_leaked_thread_is_found(impatient):
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="left-over")
    with pytest.raises(AssertionError, match="thread left-over"), no_leaks():
        thread.start()
    done.set()
    thread.join()


def test_a_leaked_child_is_found(impatient):
    with pytest.raises(AssertionError, match=r"child .*cat"), no_leaks(frozenset({"descriptors"})):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    child.communicate()


def test_a_leaked_descriptor_is_found(impatient):
    with pytest.raises(AssertionError, match=r"descriptor .*/dev/null"), no_leaks():
        descriptor = os.open("/dev/null", os.O_RDONLY)
    os.close(descriptor)


class _Cycle:
    """An object in a cycle that has a descriptor."""

    def __init__(self):
        self.itself = self
        self.descriptor = os.open(os.devnull, os.O_RDONLY)

    def __del__(self):
        os.close(self.descriptor)


def test_what_becomes_garbage_while_the_end_is_waited_for_is_no_leak(monkeypatch):
    collect, is_collected = gc.collect, threading.Event()
    monkeypatch.setattr(gc, "collect", lambda: (collect(), is_collected.set()))

    def hold():
        cycle = _Cycle()
        is_collected.wait()
        del cycle  # garbage from now on, after the first collection

    with no_leaks():
        threading.Thread(target=hold).start()


HANGS = """
import sys
from support import hanging

def where_it_hangs():
    hanging.AFTER = 0.01
    hanging.HangReports().begin()
    sys.stdin.read()

where_it_hangs()
"""


def test_where_a_test_hangs_is_written_to_standard_error():
    command = [sys.executable, "-c", HANGS]
    environment = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}  # noqa: PTH120
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as hanging:
        line = b""
        while b"in where_it_hangs" not in line:
            line = hanging.stderr.readline()
            assert line, "it ended"
        hanging.stdin.close()
        assert hanging.wait() == 0


def test_tests_that_begin_within_ten_seconds_share_an_order_to_say_where_they_hang(monkeypatch):
    ordered, clock = [], [1_000.0]
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda after, **_: ordered.append(after))
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: ordered.append("none"))
    monkeypatch.setattr("support.hanging.time.monotonic", lambda: clock[0])
    reports = HangReports()
    for seconds in (0.0, 0.0, 9.9, 0.1, 5.0):
        clock[0] += seconds
        reports.begin()
    assert ordered == [100.0, 100.0]
    reports.pause()
    reports.begin()
    reports.close()
    assert ordered == [100.0, 100.0, "none", 100.0, "none"]


@pytest.mark.once
def test_a_command_in_this_process_does_what_it_does_in_its_own(serve, monkeypatch):
    """The exit code, each byte on both streams, and nothing that stays behind in this process."""
    service = serve(arguments=("serve", "commands"))
    for name, give in (("a", service.run), ("b", service.ask)):
        done = give(
            "run", "--detach", "--name", name, "--label", "h\xf6her \N{RIGHTWARDS ARROW}", "--", "sh", "-c", "exit 3"
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{name}\n", "")
    monkeypatch.setenv("ORCHA_SERVICE", "nowhere")  # what another program than the service's clients would see
    before = (dict(os.environ), sys.argv, sys.stdin, sys.stdout, sys.stderr, vars(properties).copy())
    for words in (("wait", "b"), ("show", "--json", "b"), ("show", "none"), ("rm", "none"), ("show",)):
        own, here = service.run(*words), service.ask(*words)
        assert (here.returncode, here.stdout, here.stderr) == (own.returncode, own.stdout, own.stderr), words
    assert before == (dict(os.environ), sys.argv, sys.stdin, sys.stdout, sys.stderr, vars(properties))


@pytest.mark.once
def test_a_command_beside_another_thread_or_in_another_zone_has_a_process_of_its_own(serve, monkeypatch):
    service = serve(arguments=("serve", "commands"))
    monkeypatch.setattr("support.in_process.run", lambda *_: None)
    done = []
    asking = threading.Thread(target=lambda: done.append(service.ask("ps")))
    asking.start()
    asking.join()
    assert service.ask("ps") is None
    service.environment["TZ"] = "Asia/Tokyo"
    done.append(service.ask("ps"))
    assert [each.returncode for each in done] == [0, 0]
