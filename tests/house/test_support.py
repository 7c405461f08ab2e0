from __future__ import annotations

import gc
import os
import subprocess
import threading

import pytest

from support import Gate, wait_for
from support.gates import pass_gate
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
