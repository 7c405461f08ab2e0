"""SIGINT in a child of multiprocessing: what its code sees of it, and what is printed."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from orcha.utils.interrupts import Interrupted, interrupt, interrupt_quietly
from support.waiting import DEADLINE

FORK = multiprocessing.get_context("fork")


def child(ready, caught):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt_quietly()
    try:
        ready.send(None)
        signal.pause()
    except KeyboardInterrupt:
        caught.send("caught")
        raise
    finally:
        caught.send("cleaned")


def test_code_sees_a_keyboard_interrupt_and_nothing_is_printed(capfd):
    ready, ready_there = FORK.Pipe()
    caught, caught_there = FORK.Pipe()
    process = FORK.Process(target=child, args=(ready_there, caught_there))
    process.start()
    assert ready.recv() is None
    os.kill(process.pid, signal.SIGINT)
    assert [caught.recv(), caught.recv()] == ["caught", "cleaned"]
    process.join(DEADLINE)
    assert process.exitcode == 1
    assert capfd.readouterr() == ("", "")
    for end in (ready, ready_there, caught, caught_there):
        end.close()
    process.close()


def test_a_handler_of_the_plugins_stays():
    before = signal.getsignal(signal.SIGINT)

    def own(_number, _frame):
        """Do nothing."""

    try:
        signal.signal(signal.SIGINT, own)
        interrupt_quietly()
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_it_ends_a_process_as_a_failure_does():
    with pytest.raises(SystemExit) as raised:
        interrupt(signal.SIGINT, None)
    assert isinstance(raised.value, Interrupted)
    assert isinstance(raised.value, KeyboardInterrupt)
    assert raised.value.code == 1
