from __future__ import annotations

import threading

import pytest

from orcha._wire import values
from orcha._wire.attempt import AttemptChannel

CHANNEL = bytes(range(16))


class Port:
    """An engine that keeps what it is given."""

    def __init__(self):
        self.kept = []
        self.finals = []
        self.over = False
        self.pause = threading.Event()
        self.pause.set()

    def put(self, seq, attempt, payloads):
        self.pause.wait(30)
        if self.over:
            return False
        self.kept.extend((seq, attempt, values.decode(payload)) for payload in payloads)
        return True

    def finish(self, seq, attempt, value):
        self.finals.append((seq, attempt, value))

    def lines(self):
        return [value for _, _, value in self.kept]


@pytest.fixture
def port():
    return Port()


@pytest.fixture
def bound(port):
    channel = AttemptChannel(CHANNEL, port)
    channel.bind(7, 2, None, b"secret")
    return channel


def test_values_and_the_final_bear_the_attempt(bound, port):
    bound.put("a")
    bound.put_nowait(["b"])
    bound.finish(3)
    assert port.kept == [(7, 2, "a"), (7, 2, ["b"])]
    assert port.finals == [(7, 2, 3)]


def test_an_unbound_channel_is_an_id_that_drops_values(port):
    channel = AttemptChannel(CHANNEL, port)
    channel.put("a")
    channel.finish()
    assert channel.__orcha_channel__ == CHANNEL
    assert port.kept == port.finals == []
