"""Each step of a reconnect is made to fail: a client gives up after its time without a service, and never sooner."""

from __future__ import annotations

import itertools
import os
import socket
import threading

import pytest

from orcha._client import reader
from orcha._protocol.frames import FrameError
from orcha._protocol.handshake import HandshakeError
from orcha._protocol.messages import Verdict
from orcha.exceptions import ManagerShutdownError, OrchaConnectionError, OrchaError
from support.waiting import wait_for

RECONNECT = 30.0
GAVE_UP = 69


class FakeTime:
    """A clock that goes on when a test says so."""

    def __init__(self):
        self.now = 1_000.0

    def monotonic(self):
        return self.now


class Steps:
    """Makes a client's connections: what each attempt comes to is said by a test."""

    def __init__(self, service, clock):
        self._service = service
        self._clock = clock
        self.comes_to = []
        """What becomes of the next attempts, in order: how long each takes, and an error, "dies" or "dies anew"."""
        self.timeouts = []
        self.reached = threading.Event()

    def dial(self, endpoint=None, key=None, *, timeout=5.0, start_timeout=0.0):
        self.timeouts.append(timeout)
        seconds, what = self.comes_to.pop(0) if self.comes_to else (0.0, None)
        self._clock.now += seconds
        if isinstance(what, Exception):
            raise what
        link = self._service.dial(timeout=timeout)
        if what == "dies anew":
            link.instance = os.urandom(8)
        if what is not None:  # before a word has come over it
            link.sock.shutdown(socket.SHUT_RDWR)
        else:
            self.reached.set()
        return link


@pytest.fixture
def clock(monkeypatch):
    clock = FakeTime()
    monkeypatch.setattr(reader, "time", clock)
    return clock


@pytest.fixture
def steps(scripted, client_of, item, clock):
    """A client that follows a petition, and whose next connections are made as the test says."""
    service = scripted(lambda item: ["one\n"])
    client = client_of(service, reconnect=RECONNECT)
    channel = client.channel()
    client.submit([item(channel=channel)])
    assert channel.get(timeout=30) == "one\n"
    steps = Steps(service, clock)
    client._dial_with = steps.dial
    steps.client, steps.service, steps.channel = client, service, channel
    return steps


def goes_on(steps):
    """Tell that the client has its service again."""
    assert steps.reached.wait(30)
    steps.service.put(steps.channel.__orcha_channel__, "two\n", 0)
    assert [steps.channel.get(timeout=30), steps.channel.get(timeout=30)] == ["two\n", 0]


def gives_up(steps):
    line, code = steps.channel.get(timeout=30), steps.channel.get(timeout=30)
    assert line.startswith("orcha: no service for 30 s")
    assert code == GAVE_UP


FAULTS = [
    OrchaConnectionError("nobody listens"),
    OrchaConnectionError("the service has no room for another client now"),
    ManagerShutdownError("the service is stopping"),
    OrchaError("no version in common: another build starts"),
    TimeoutError("the handshake takes too long"),
    ConnectionResetError("reset in the midst of the handshake"),
    BrokenPipeError("closed before the hello"),
    HandshakeError("half a hello"),
    FrameError("half a frame"),
    OSError(24, "Too many open files"),
    RuntimeError("nobody thought of this"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{type(fault).__name__} {fault}")
def test_whatever_an_attempt_comes_to_the_next_one_is_made(steps, fault):
    steps.comes_to = [(1.0, fault)] * 20
    steps.service.drop()
    goes_on(steps)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{type(fault).__name__} {fault}")
def test_after_its_time_it_gives_up(steps, fault):
    steps.comes_to = [(7.0, fault)] * 20
    steps.service.drop()
    gives_up(steps)
    assert len(steps.comes_to) == 20 - 6, "five within 30 s, and one that begins after that"


def test_a_service_that_is_started_anew_again_and_again_is_waited_for_from_each_time_on(steps):
    steps.comes_to = [(20.0, "dies anew")] * 10
    steps.service.drop()
    goes_on(steps)


def test_between_two_starts_it_gives_up_after_its_time(steps):
    steps.comes_to = [(20.0, "dies anew"), *[(7.0, OrchaConnectionError("nobody listens"))] * 20]
    steps.service.drop()
    gives_up(steps)
    assert len(steps.comes_to) == 20 - 6


def test_one_start_that_drops_whoever_comes_is_given_up(steps):
    steps.comes_to = [(7.0, "dies")] * 20
    steps.service.drop()
    gives_up(steps)


def test_a_client_that_stood_still_looks_once_more_before_it_gives_up(steps):
    steps.comes_to = [(3 * RECONNECT, OrchaConnectionError("nobody listens"))]
    steps.service.drop()
    goes_on(steps)


def test_the_last_attempt_has_as_much_time_as_the_first(steps):
    steps.comes_to = [(RECONNECT - 0.001, OrchaConnectionError("nobody listens")), (4.0, None)]
    steps.service.drop()
    goes_on(steps)
    assert set(steps.timeouts) == {reader.DIAL_TIMEOUT_SECONDS}


def test_one_that_is_there_for_moments_is_looked_for_often():
    assert max(reader.delay(attempt) for attempt in range(1_000)) < 0.5
    assert sum(itertools.islice(map(reader.delay, itertools.count()), 100)) > 10, "and not all the time"


def test_a_fault_of_the_reading_thread_is_told_to_everybody_who_waits(steps, monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda found: seen.append(str(found.exc_value)))

    def fail():
        raise RuntimeError("nobody thought of this")

    steps.client._reader.on_return = fail
    steps.service.drop()
    line, code = steps.channel.get(timeout=30), steps.channel.get(timeout=30)
    assert line.startswith("orcha: the client cannot read on, by a fault of its own (RuntimeError('nobody thought of")
    assert code == GAVE_UP
    wait_for(lambda: seen == ["nobody thought of this"], what="the fault is shown")
    steps.client._reader.on_return = list
    assert steps.client.ping().verdict == Verdict.OK, "a later request has a thread of its own again"
