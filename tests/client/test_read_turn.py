"""Who waits for a value reads it; the client's thread reads where nobody waits, and what is out of the ordinary."""

from __future__ import annotations

import queue
import signal
import threading

import pytest

from orcha._client import read_turn
from orcha._client.channel import ClientChannel
from orcha._client.read_turn import _NOBODY
from orcha._protocol.messages import Verdict
from support.waiting import wait_for

MINE = "this thread"


@pytest.fixture
def takers(monkeypatch):
    """Which threads brought values to channels."""
    found = []
    deliver = ClientChannel.deliver

    def note(self, *arguments):
        found.append(threading.current_thread().name)
        return deliver(self, *arguments)

    monkeypatch.setattr(ClientChannel, "deliver", note)
    return found


@pytest.fixture
def pause(request, monkeypatch):
    """How long the client's thread rests: until it is woken, where a test does not want it otherwise."""
    monkeypatch.setattr(read_turn, "TAKE_OVER_SECONDS", getattr(request, "param", 3600.0))


@pytest.fixture
def asked(pause, scripted, client_of, item):
    """A service, a client and a channel whose client's thread rests, since this one has waited."""
    service = scripted(lambda item: None)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    wait_for(lambda: rests(client, service, channel), what="the client's thread to rest")
    return service, client, channel


def rests(client, service, channel):
    """Have a value come to who waits; tell whether it is nobody's turn to read after that."""
    service.put(channel.__orcha_channel__, "x")
    assert channel.get() == "x"
    return client._reader.turn._holder == _NOBODY


def reading(client, action):
    """Start a thread that waits; give it once it reads by itself."""
    thread = threading.Thread(target=action, name=MINE)
    thread.start()
    wait_for(lambda: client._reader.turn._holder == thread.ident, what="its turn")
    return thread


def test_who_waits_reads(asked, takers):
    service, client, channel = asked
    got = []
    thread = reading(client, lambda: got.append(channel.get()))
    service.put(channel.__orcha_channel__, "y")
    thread.join()
    assert got == ["y"]
    assert takers == [MINE]


@pytest.mark.parametrize("pause", [0.02], indirect=True)
def test_where_nobody_waits_the_client_s_thread_reads(asked, takers):
    service, _, channel = asked
    service.put(channel.__orcha_channel__, "y")
    wait_for(lambda: channel.qsize() == 1, what="the value")
    assert takers == ["orcha-client-read"]


def test_it_is_woken_by_who_has_waited_for_long(asked, takers):
    service, client, channel = asked
    thread = reading(client, channel.get)
    its = client._reader.turn
    wait_for(lambda: its.wake() or its._rests_long, what="the client's thread to wait for the bell")
    service.put(channel.__orcha_channel__, "y", "z")
    thread.join()
    service.put(channel.__orcha_channel__, "later")
    wait_for(lambda: channel.qsize() == 2, what="both")
    assert takers == [MINE, "orcha-client-read"]


def test_another_thread_s_values_come_by_who_reads(asked, client_of, item, takers):
    service, client, channel = asked
    other = client.channel()
    client.submit([item("b", other)])
    wait_for(lambda: rests(client, service, channel))
    del takers[:]
    first = reading(client, channel.get)
    got = []
    second = threading.Thread(target=lambda: got.append((other.get(), other.get())))
    second.start()
    wait_for(lambda: len(client._reader.turn._waiting) == 2, what="two that wait")
    service.put(other.__orcha_channel__, "theirs")
    service.put(channel.__orcha_channel__, "y")
    first.join()
    service.put(other.__orcha_channel__, "more")  # who has read is gone
    second.join()
    assert got == [("theirs", "more")]
    assert takers[0] == MINE


def test_who_reads_hears_what_others_do_to_its_channel(asked):
    _, client, channel = asked
    got = []
    thread = reading(client, lambda: got.append((channel.get(), channel.get())))
    channel.fail("refused\n", 3)
    thread.join()
    assert got == [("refused\n", 3)]


@pytest.mark.parametrize("end", ["close", "drop"])
def test_who_reads_goes_on_or_ends_with_the_connection(asked, end):
    service, client, channel = asked
    got = []
    thread = reading(client, lambda: got.append(channel.get()))
    if end == "close":
        client.close()
    else:
        service.drop()
        service.put(channel.__orcha_channel__, "y")
    thread.join()
    assert got == (["y"] if end == "drop" else ["orcha: this client was closed\n"])


def test_time_is_over_also_for_who_reads(asked):
    service, client, channel = asked
    wait_for(lambda: client._reader.turn._holder == _NOBODY)
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.001)
    service.put(channel.__orcha_channel__, "y")
    assert channel.get() == "y"


def test_what_is_out_of_the_ordinary_is_left_to_the_client_s_thread(asked, item):
    service, client, channel = asked
    service.verdict = lambda item: (Verdict.REFUSED, "no")
    (result,) = client.submit([item("b", channel)])
    assert (result.verdict, result.reason) == (Verdict.REFUSED, "no")
    assert client.ping().verdict == Verdict.OK
    service.put(channel.__orcha_channel__, "y")
    assert channel.get() == "y"


def test_what_is_lost_to_an_interruption_comes_on_another_connection(asked, monkeypatch):
    service, client, channel = asked
    link = client._reader.connection
    read_some = link.read_some

    def interrupted():
        read_some()
        raise KeyboardInterrupt  # between the socket and the list

    monkeypatch.setattr(link, "read_some", interrupted)
    wait_for(lambda: client._reader.turn._holder == _NOBODY)
    service.put(channel.__orcha_channel__, "y")
    try:
        with pytest.raises(KeyboardInterrupt):
            channel.get()
    finally:
        assert channel.get() == "y"
    assert client._reader.connection is not link
    assert service.accepted == 2
    assert client.notices == []


def test_an_interruption_while_nothing_comes_costs_nothing(asked):
    service, client, channel = asked
    me = threading.get_ident()

    def interrupt():
        wait_for(lambda: client._reader.turn._holder == me, what="its turn")
        signal.pthread_kill(me, signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            channel.get()
    finally:
        signal.signal(signal.SIGALRM, before)
    thread.join()
    service.put(channel.__orcha_channel__, "y")
    assert channel.get() == "y"
    assert service.accepted == 1


@pytest.mark.parametrize("who", ["itself", "another thread"])
def test_a_signal_handler_may_ask_while_its_thread_waits(asked, item, who):
    """Also where it is interrupted twice, and goes on to wait."""
    service, client, channel = asked
    me, answers = threading.get_ident(), []
    other = client.channel()
    client.submit([item("b", other)])
    wait_for(lambda: rests(client, service, channel))
    readers = [reading(client, other.get)] if who == "another thread" else []

    def handle(*_):
        answers.append(client.ping().verdict)

    def interrupt():
        for count in (1, 2):
            wait_for(lambda: channel._waiters and me in client._reader.turn._waiting, what="its waiting")
            signal.pthread_kill(me, signal.SIGALRM)
            wait_for(lambda count=count: len(answers) == count, what="an answer")
        service.put(channel.__orcha_channel__, "y")

    before = signal.signal(signal.SIGALRM, handle)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        assert channel.get() == "y"
    finally:
        thread.join()
        signal.signal(signal.SIGALRM, before)
    assert answers == [Verdict.OK] * 2
    assert me not in client._reader.turn._waiting
    service.put(other.__orcha_channel__, "theirs")
    for one in readers:
        one.join()
    service.put(channel.__orcha_channel__, "z")
    assert channel.get() == "z"
    assert service.accepted == 1
