"""Ctrl+C anywhere in `get` and `submit`: a timer's signal raises KeyboardInterrupt at random, thousands of times."""

from __future__ import annotations

import gc
import random
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from client.interrupts import interrupts
from orcha._client.channel import ClientChannel
from orcha._client.send_turn import SendTurn
from orcha._protocol import values
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Item, Submit
from orcha.interfaces.message import Message
from orcha.lib.remote import Remote
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


def is_interrupted(call: Callable[[], Any], number: int) -> bool:
    """Call, and interrupt where the function of this number begins; tell whether so many functions were called.

    CPython runs the handler of a signal where a function begins.
    """
    left = number

    def count(_: FrameType, event: str, __: Any) -> None:
        nonlocal left
        if event == "call":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt

    gc.disable()  # what finalizers raise is reported, and interrupts nothing
    sys.settrace(count)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
        gc.enable()
    return False


def test_whatever_function_of_send_is_interrupted_its_petition_is_withdrawn(scripted, client_of):
    service = scripted(lambda item: None)
    remote = Remote(Endpoint("127.0.0.1", 1), None)
    remote._client = client_of(service)
    remote.send(Message("first", {}))  # the first one is sent by the thread
    channels = []  # no channel is finalized in the midst

    def send():
        channels.append(remote.Queue())
        remote.send(Message(f"{functions}", {"queue": channels[-1]}))

    functions = 0
    while is_interrupted(send, functions):
        functions += 1
    wait_for(lambda: not remote._client._sender.pending)
    submits = [message for message in service.received if isinstance(message, Submit)]
    asked = {item.token: item.id for message in submits for item in message.items}
    assert [name for token, name in asked.items() if token not in service.cancelled] == ["first", f"{functions}"]
