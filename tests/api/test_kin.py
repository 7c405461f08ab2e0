"""API.md, orcha.interfaces: `EmptyPetition`, `WatchdogPetition`, `SignalingPetition` and the types for annotations."""

from __future__ import annotations

import errno
import os
import queue
import signal
import socket
import subprocess
import sys
import typing

import pytest

from orcha.interfaces import (
    ActionCallbackT,
    EmptyPetition,
    P,
    Petition,
    PetitionState,
    ProcT,
    SignalingPetition,
    WatchdogPetition,
)
from support import warm
from support.waiting import wait_for

FAMILY = """
import os, signal, subprocess, sys
def note(number, frame):
    os.write(1, b"parent got %d\\n" % number)  # in one piece: both write to one pipe
signal.signal(signal.SIGUSR1, note)
child = subprocess.Popen([sys.executable, "-c", '''
import os, signal, sys, threading
def note(number, frame):
    os.write(1, b"child got %d\\\\n" % number)
    raise SystemExit
signal.signal(signal.SIGUSR1, note)
print("child is ready", flush=True)
while True:
    signal.pause()
'''])
child.wait()
os.write(1, b"child is gone\\n")
sys.stdin.read()
"""


def test_empty_petition_comes_after_all():
    petition = EmptyPetition()
    assert petition.priority == float("inf")
    assert petition.condition(petition) is True
    petition.action(print, petition)
    assert petition.terminate(None) is False


def test_watchdog_petition_comes_before_all():
    petition = WatchdogPetition(notify_watchdog=False)
    assert (petition.priority, petition.id, petition.queue) == (float("-inf"), "watchdog", None)
    assert petition.notify_watchdog is False
    assert petition.condition(petition) is True
    assert petition.elapsed_time >= 0
    assert isinstance(petition.creation_time, float)


def test_watchdog_petition_answers_eperm_where_nobody_is_notified():
    answers = queue.Queue()
    petition = WatchdogPetition(False, answers)
    petition.action(print, petition)
    assert answers.get_nowait() == errno.EPERM


def test_watchdog_petition_tells_systemd_and_answers_zero(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        answers = queue.Queue()
        petition = WatchdogPetition(True, answers)
        petition.action(print, petition)
        assert answers.get_nowait() == 0
        assert systemd.recv(100) == b"WATCHDOG=1"


@pytest.fixture
def family():
    with warm.Popen([sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout.readline() == "child is ready\n"
        yield it
        it.stdin.close()


def signaling(*, kill_parent):
    petition = SignalingPetition("a", None, print, bool, signal=signal.SIGUSR1, kill_parent=kill_parent)
    petition.state = PetitionState.RUNNING
    return petition


@pytest.mark.parametrize("kill_parent", [True, False])
def test_signaling_petition_signals_the_children_and_on_demand_the_process(family, kill_parent):
    petition = signaling(kill_parent=kill_parent)
    assert petition.terminate(family.pid) is True
    assert petition.state is PetitionState.CANCELLED
    got = {family.stdout.readline() for _ in range(3 if kill_parent else 2)}
    number = int(signal.SIGUSR1)
    assert got == {f"child got {number}\n", "child is gone\n"} | ({f"parent got {number}\n"} if kill_parent else set())


def test_signaling_petition_signals_nobody_before_there_is_a_process():
    petition = signaling(kill_parent=True)
    assert petition.terminate(None) is True
    assert petition.state is PetitionState.CANCELLED


def test_signaling_petition_of_a_process_that_is_gone():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert wait_for(lambda: not os.path.exists(f"/proc/{gone.pid}"))  # noqa: PTH110
    assert signaling(kill_parent=True).terminate(gone.pid) is True


def test_types_for_annotations():
    assert P.__bound__ in (Petition, typing.ForwardRef("Petition"))
    assert int in typing.get_args(ProcT)
    assert typing.get_origin(ActionCallbackT) is not None
