"""Ctrl+C anywhere in `get` and `submit`: a timer's signal raises KeyboardInterrupt at random, thousands of times."""

from __future__ import annotations

import random
import threading

import pytest

from client.interrupts import interrupts
from orcha._client.channel import ClientChannel
from orcha._client.send_turn import SendTurn
from orcha._protocol import values
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Item
from support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120, method="thread")]  # the timer of signals is these tests' own


def take(channel, got, **arguments):
    try:
        got.append(channel.get(**arguments))
    except KeyboardInterrupt:
        return


@pytest.mark.parametrize("at_once", [1, 500])
def test_get_loses_and_doubles_nothing_however_often_it_is_interrupted(scripted, client_of, at_once):
    service = scripted(lambda item: None, chunk=40)
    client = client_of(service)
    channel = client.channel()
    client.submit([Item(new_identity(), "a", values.encode({}), channel.__orcha_channel__)])
    got, put = [], []
    enough = threading.Event()

    def feed():
        while not enough.is_set():
            lines = [f"{number}\n" for number in range(len(put), len(put) + at_once)]
            put.extend(lines)
            service.put(channel.__orcha_channel__, *lines)
            wait_for(lambda: len(put) - len(got) < 5_000 or enough.is_set(), interval=0.001)
        service.put(channel.__orcha_channel__, 0)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with interrupts(ClientChannel.get) as rain:
        while not got or got[-1] != 0:
            take(channel, got)
            if rain.count > 2_000:
                enough.set()
    feeder.join()
    assert got[:-1] == put


def test_an_interrupted_get_does_not_disturb_another_thread(scripted, client_of):
    lines = [f"{number}\n" for number in range(2_000)]
    service = scripted(lambda item: [*lines, 0], chunk=40)
    client = client_of(service)
    with interrupts(ClientChannel.get) as rain:
        while rain.count < 300:
            channel = client.channel()
            client.submit([Item(new_identity(), "a", values.encode({}), channel.__orcha_channel__)])
            ours, theirs = [], []

            def read(channel=channel, theirs=theirs):
                while isinstance(value := channel.get(), str):
                    theirs.append(value)

            reader = threading.Thread(target=read)
            reader.start()
            while not ours or ours[-1] != 0:
                take(channel, ours)
            reader.join()
            mine = [value for value in ours if isinstance(value, str)]
            assert mine == sorted(mine, key=int)
            assert sorted(mine + theirs, key=int) == lines


def test_an_interrupted_submit_is_withdrawn_and_those_beside_it_run_once(scripted, client_of):
    service = scripted(lambda item: [item.id, 0], chunk=40)
    client = client_of(service)
    client.submit([Item(new_identity(), "first", values.encode({}), None)])  # the first one is sent by the thread
    asked = []
    with interrupts(SendTurn.do) as rain:
        while rain.count < 300:
            channel = client.channel()
            item = Item(new_identity(), f"{len(asked)}", values.encode({}), channel.__orcha_channel__)
            try:
                client.submit([item])
            except KeyboardInterrupt:
                continue
            asked.append((item, channel))
            if len(asked) % 50 == 0:
                rain.longest = random.choice([0.0001, 0.0008, 0.003])
    for item, channel in asked:
        assert [channel.get(timeout=30), channel.get(timeout=30)] == [item.id, 0]
    wait_for(lambda: not client._sender.pending)  # what was interrupted before it was sent is asked for again
