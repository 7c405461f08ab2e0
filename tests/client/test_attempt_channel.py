from __future__ import annotations

import copy
import pickle
import sys
import threading

import pytest

from client.interrupts import interrupts
from client.scripted import Fault
from orcha._client import attempt_channel, attempt_route
from orcha._client.attempt_channel import AttemptChannel
from orcha._client.outlet import Outlet
from orcha._protocol import messages, values
from orcha.exceptions import AuthenticationError, OrchaConnectionError
from support.waiting import wait_for

CHANNEL = bytes(range(16))


class Port:
    """An engine that keeps what it is given."""

    def __init__(self):
        self.kept = []
        self.finals = []
        self.over = False
        self.entered = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def put(self, seq, number, payloads):
        self.entered.set()
        assert self.open.wait(30)
        if self.over:
            return False
        self.kept.extend((seq, number, values.decode(payload)) for payload in payloads)
        return True

    def finish(self, seq, number, value):
        self.finals.append((seq, number, value))

    def access(self, seq, number):
        return None, b"secret", 5

    def lines(self):
        return [value for _, _, value in self.kept]


@pytest.fixture
def port():
    return Port()


@pytest.fixture
def bound(port):
    channel = AttemptChannel(CHANNEL, port)
    channel.bind(7, 2)
    return channel


@pytest.fixture
def service(scripted, monkeypatch):
    service = scripted()
    monkeypatch.setattr(attempt_route, "connect", lambda endpoint, capability, seq, number: service.dial())
    return service


@pytest.fixture
def remote(service):
    """Give the channel as another process has it."""
    channel = attempt_channel._wake_up(CHANNEL, (7, 2, None, b"secret", None))
    yield channel
    for way in channel._outlets.values():
        way.leave()


# --- in the service ---


def test_values_and_the_final_bear_the_attempt(bound, port):
    bound.put("a")
    bound.put_nowait(["b"])
    bound.put("c", False, 3)
    bound.finish(3)
    assert port.kept == [(7, 2, "a"), (7, 2, ["b"]), (7, 2, "c")]
    assert port.finals == [(7, 2, 3)]


def test_an_unbound_channel_is_an_id_that_drops_values(port):
    channel = AttemptChannel(CHANNEL, port)
    channel.put("a")
    channel.put_nw("b")
    channel.flush()
    channel.finish()
    assert channel.__orcha_channel__ == CHANNEL
    assert port.kept == port.finals == []


def test_the_next_attempt_binds_it_anew(bound, port):
    port.over = True
    bound.put("dropped")
    port.over = False
    bound.bind(7, 3)
    bound.put("a")
    assert port.kept == [(7, 3, "a")]


def test_what_cannot_be_sent_raises_at_once(bound, port):
    with pytest.raises(TypeError):
        bound.put(object())
    with pytest.raises(TypeError):
        bound.put_nw(object())
    with pytest.raises(ValueError, match="put it in parts"):
        bound.put(b"x" * (4 * 1024 * 1024))
    for value in ("0", 1.0, [0]):
        with pytest.raises(TypeError, match="a final value is an int"):
            bound.finish(value)
    assert port.kept == port.finals == []


@pytest.mark.parametrize(
    ("value", "kept"), [(None, None), (True, 1), (-3, -3), (1 << 80, (1 << 63) - 1), (-1 << 80, -1 << 63)]
)
def test_final_values_fit_64_bits(bound, port, value, kept):
    bound.finish(value)
    assert port.finals == [(7, 2, kept)]
    assert type(port.finals[0][2]) is type(kept)


def test_nothing_is_read_at_this_end(bound):
    for call in (bound.get, bound.get_nowait, bound.empty, bound.qsize, lambda: bound.get(False, 1)):
        with pytest.raises(NotImplementedError):
            call()


def test_after_the_end_everything_is_quiet(bound, port):
    port.over = True
    bound.put("a")
    port.over = False
    bound.put("b")
    bound.put_nw("c")
    bound.flush()
    bound.finish(1)
    assert port.kept == port.finals == []


def test_after_the_final_nothing_more_is_sent(bound, port):
    bound.put("a")
    bound.finish(1)
    bound.put("b")
    bound.put_nw("c")
    bound.finish(2)
    assert port.lines() == ["a"]
    assert port.finals == [(7, 2, 1)]


def test_later_values_keep_their_order_with_the_others_and_come_before_the_final(bound, port):
    for number in range(500):
        (bound.put if number % 7 == 0 else bound.put_nw)(number)
    seen = []
    port.finish = lambda *final: seen.append((port.lines(), final))
    bound.finish()
    assert seen == [(list(range(500)), (7, 2, None))]


def test_later_values_are_sent_without_another_call(bound, port):
    bound.put_nw("a")
    bound.put_nw("b")
    wait_for(lambda: port.lines() == ["a", "b"])


@pytest.mark.parametrize(("value", "count"), [("x", 1_000), (b"x" * 100_000, 11)])
def test_too_many_later_values_wait_for_the_service(bound, port, value, count):
    port.open.clear()
    done = []

    def work():
        for number in range(count + 1):
            bound.put_nw(value)
            done.append(number)

    worker = threading.Thread(target=work)
    worker.start()
    wait_for(lambda: len(done) == count)
    assert worker.is_alive()
    port.open.set()
    worker.join()
    bound.flush()
    assert len(port.kept) == count + 1


def test_a_put_waits_for_the_service_but_not_for_what_others_put_later(bound, port):
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            bound.put_nw("flood")

    flooder = threading.Thread(target=flood)
    flooder.start()
    wait_for(port.kept.__len__)
    bound.put("mine")
    assert "mine" in port.lines()
    stop.set()
    flooder.join()
    bound.flush()


def test_threads_share_it(bound, port):
    def work(name):
        for number in range(200):
            (bound.put_nw if number % 3 else bound.put)((name, number))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bound.flush()
    for name in "abc":
        assert [n for who, n in port.lines() if who == name] == list(range(200))


def test_a_copy_is_the_same_writer(bound):
    assert copy.copy(bound) is bound
    assert copy.deepcopy({"queue": bound})["queue"] is bound


# --- in another process ---


def test_another_process_puts_by_a_connection_of_its_own(service, remote):
    remote.put("a")
    remote.put_nw("b")
    remote.put({"c": 1})
    remote.finish(4)
    assert service.values_of(CHANNEL) == ["a", "b", {"c": 1}, 4]
    assert service.accepted == 1
    puts = [message for message in service.received if isinstance(message, messages.Put)]
    assert {(put.seq, put.attempt, put.channel, len(put.writer)) for put in puts} == {(7, 2, CHANNEL, 8)}
    assert [put.number for put in puts] == list(range(1, len(puts) + 1))


def test_each_channel_object_is_a_writer_of_its_own(service, remote):
    other = attempt_channel._wake_up(CHANNEL, remote._binding)
    remote.put("a")
    other.put("b")
    assert [(put.number, put.writer != service.received[0].writer) for put in service.received] == [
        (1, False),
        (1, True),
    ]


@pytest.mark.parametrize("kind", ["unread", "unanswered", "torn"])
def test_a_put_is_kept_once_wherever_the_connection_breaks(scripted, monkeypatch, kind):
    at, happened = 0, True
    while happened:
        service = scripted()
        service.fault = Fault(kind, at)
        monkeypatch.setattr(attempt_route, "connect", lambda *_, service=service: service.dial())
        channel = attempt_channel._wake_up(CHANNEL, (7, 2, None, b"secret", None))
        for number in range(6):
            channel.put(number)
        for number in range(6, 12):
            channel.put_nw(number)
        channel.finish(-1)
        assert service.values_of(CHANNEL) == [*range(12), -1]
        happened = service.fault_happened
        at += 1
    assert at > 6


def test_another_start_of_the_service_means_the_end(service, remote, caplog):
    remote.put("a")
    service.stop()
    service.start()
    with caplog.at_level("DEBUG"):
        remote.put("b")
        remote.put("c")
        remote.finish(1)
    assert service.values_of(CHANNEL) == ["a"]
    assert [r.getMessage() for r in caplog.records] == [
        "values of petition 7, attempt 2, are dropped: the service was started anew, and the attempt is over"
    ]


def test_the_end_of_the_attempt_is_quiet(service, remote, caplog):
    service.over.add((7, 2))
    with caplog.at_level("DEBUG"):
        remote.put("a")
        remote.put_nw("b")
        remote.finish(1)
    assert service.values_of(CHANNEL) == []
    assert len(service.received) == 1
    assert len(caplog.records) == 1


def test_an_unreachable_service_is_given_up_quietly(service, remote, monkeypatch, caplog):
    monkeypatch.setattr(attempt_route, "UNREACHABLE_SECONDS", 0.2)
    tries = []

    def refuse(*_):
        tries.append(1)
        raise OrchaConnectionError("nobody listens")

    monkeypatch.setattr(attempt_route, "connect", refuse)
    with caplog.at_level("DEBUG"):
        remote.put("a")
        remote.put("b")
    assert len(tries) > 2
    assert len(caplog.records) == 1
    assert attempt_route.UNREACHABLE_SECONDS == 0.2


def test_a_key_that_is_not_accepted_means_the_end(service, remote, monkeypatch):
    def refuse(*_):
        raise AuthenticationError

    monkeypatch.setattr(attempt_route, "connect", refuse)
    remote.put("a")
    remote.finish(0)


@pytest.fixture
def swallowed(monkeypatch):
    """Let interrupts in destructors and callbacks be swallowed, as Python does, which only tells of them."""
    tell = sys.unraisablehook
    monkeypatch.setattr(sys, "unraisablehook", lambda what: None if what.exc_type is KeyboardInterrupt else tell(what))


@pytest.mark.slow
@pytest.mark.timeout(120, method="thread")  # the timer of signals is this test's
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # a close that is interrupted is left to the collector
def test_an_interrupted_put_tears_and_doubles_nothing(service, remote, swallowed):
    def put(number):
        try:
            remote.put(number)
        except KeyboardInterrupt:
            return False
        return True

    remote.put(-2)  # an import that is interrupted stays locked for other threads
    returned, number = [], 0
    with interrupts(AttemptChannel.put, outside=service.dial) as rain:  # what makes connections has tests of its own
        while rain.count < 300:
            if put(number):
                returned.append(number)
                assert service.values_of(CHANNEL)[-1] == number
            number += 1
    remote.finish(-1)
    kept = service.values_of(CHANNEL)[:-1]
    assert kept == sorted(set(kept))
    assert set(returned) <= set(kept)


def test_a_pickle_carries_the_attempt_and_no_port(bound, port, monkeypatch):
    monkeypatch.setattr(attempt_channel, "_service", None)
    woken, tags = [], []
    monkeypatch.setattr(attempt_channel, "on_unpickled", [lambda *numbers: woken.append(numbers)])
    monkeypatch.setattr(attempt_channel, "_tag", tags.append)  # else the process of the tests bears it for ever
    data = pickle.dumps(bound)
    other = pickle.loads(data)
    assert other.__orcha_channel__ == CHANNEL
    assert other._binding == bound._binding
    assert other._port is None
    assert woken == [(7, 2)]
    assert tags == [5]


def test_what_another_process_needs_is_asked_for_once_and_kept(bound, port, monkeypatch):
    bound.keep_access()
    monkeypatch.setattr(port, "access", None)  # the engine has forgotten its secret, as in a forked child
    assert pickle.loads(pickle.dumps(bound))._binding == (7, 2, None, b"secret", 5)


def test_the_service_itself_is_not_marked_by_unpickling(bound, monkeypatch):
    woken = []
    monkeypatch.setattr(attempt_channel, "on_unpickled", [lambda *numbers: woken.append(numbers)])
    monkeypatch.setattr(attempt_channel, "_tag", woken.append)
    bound.bind(7, 3)
    pickle.loads(pickle.dumps(bound))
    assert woken == []


def test_an_unbound_channel_pickles_as_an_id(port):
    other = pickle.loads(pickle.dumps(AttemptChannel(CHANNEL, port)))
    other.put("a")
    assert other.__orcha_channel__ == CHANNEL


def test_an_outlet_keeps_what_a_broken_route_did_not_take():
    class Route:
        def __init__(self):
            self.broken = True
            self.sent = []

        def put(self, number, batch):
            if self.broken:
                raise KeyboardInterrupt
            self.sent.append((number, batch))
            return True

    route = Route()
    way = Outlet(route, remote=True)
    way.add(b"a")
    with pytest.raises(KeyboardInterrupt):
        way.flush()
    way.add(b"b")
    route.broken = False
    way.flush()
    assert route.sent == [(1, [b"a"]), (2, [b"b"])]
