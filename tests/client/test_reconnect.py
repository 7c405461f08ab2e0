from __future__ import annotations

import signal
import threading

import pytest

from client.scripted import Fault
from orcha._protocol import messages
from orcha._protocol.messages import Verdict
from orcha.exceptions import AuthenticationError, OrchaConnectionError
from support.waiting import wait_for


def script(item):
    return [f"{item.id}: {number}\n" for number in range(7)] + [len(item.id)]


def expected(*names):
    return [value for name in names for value in script(type("Named", (), {"id": name}))]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("crash", [False, True], ids=["connection", "service"])
@pytest.mark.parametrize("kind", ["unread", "unanswered", "torn"])
def test_no_line_is_lost_or_doubled_wherever_the_connection_breaks(scripted, client_of, item, read, kind, crash):
    at, happened = 0, True
    while happened:
        service = scripted(script, chunk=2)
        service.fault = Fault(kind, at, crash=crash)
        client = client_of(service)
        own, shared = client.channel(), client.channel()
        (first,) = client.submit([item("own", own)])
        results = client.submit([item("b", shared), item("ccc", shared), item("chosen")])
        chosen = client.channel(results[2].channel, own=True)
        assert read(chosen) == expected("chosen")
        assert read(shared) + read(shared) == expected("b", "ccc")
        assert read(own) == expected("own")
        assert client.cancel(id="own").verdict == Verdict.OK
        assert [channel.get() for channel in (own, shared, chosen)] == [3, 3, 6]
        assert {first.verdict, *(result.verdict for result in results)} <= {Verdict.ACCEPTED, Verdict.KNOWN}
        assert len(service.tokens) == 4
        happened = service.fault_happened
        client.close()
        service.close()
        at += 1
    assert at > 5


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["unread", "unanswered", "torn"])
def test_a_submit_of_several_frames_survives_a_break_at_each(scripted, client_of, item, kind):
    at, happened = 0, True
    while happened:
        service = scripted(lambda item: None)
        service.fault = Fault(kind, at)
        client = client_of(service)
        results = client.submit([item(str(number)) for number in range(1_300)])
        assert [result.position for result in results] == list(range(1_300))
        assert len(service.tokens) == 1_300
        happened = service.fault_happened
        client.close()
        service.close()
        at += 1
    assert at > 3


def test_a_service_that_returns_is_told_once_and_reading_goes_on(scripted, client_of, item, read):
    service = scripted(lambda item: ["one\n"])
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    assert channel.get() == "one\n"
    service.stop()
    wait_for(lambda: client.notices)
    service.start()
    wait_for(lambda: len(client.notices) == 2)
    service.put(channel.__orcha_channel__, "two\n", 0)
    assert read(channel) == ["two\n", 0]
    assert client.notices == [
        "orcha: the service is away, trying again for 30 s",
        "orcha: the service is back",
    ]


def test_an_orderly_stop_is_told_with_its_reason(scripted, client_of, item, read):
    service = scripted(lambda item: None)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    service.stop("it was told to stop")
    service.start()
    wait_for(lambda: len(client.notices) == 2)
    service.put(channel.__orcha_channel__, "one\n", 0)
    assert read(channel) == ["one\n", 0]
    assert client.notices == [
        "orcha: it was told to stop: waiting 30 s for the service to come back",
        "orcha: the service is back",
    ]


def test_a_connection_that_breaks_and_is_back_at_once_is_nobodys_business(scripted, client_of, item, read):
    service = scripted(lambda item: None)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    service.drop()
    wait_for(lambda: service.accepted == 2)
    service.put(channel.__orcha_channel__, "one\n", 0)
    assert read(channel) == ["one\n", 0]
    assert client.notices == []


def test_a_client_that_waits_for_nothing_leaves_a_stopped_service_alone(scripted, client_of):
    service = scripted()
    client = client_of(service)
    client.ping()
    service.stop()
    wait_for(lambda: client._reader._thread is None)
    service.start()
    assert client.ping().verdict == Verdict.OK
    assert client.notices == []


def test_after_the_time_to_wait_every_reader_gets_a_line_and_69(scripted, client_of, item):
    service = scripted(lambda item: ["one\n"])
    client = client_of(service, reconnect=0.3)
    channels = [client.channel() for _ in range(3)]
    client.submit([item(str(number), channel) for number, channel in enumerate(channels)])
    got = [[], [], []]

    def work(channel, mine):
        while isinstance(value := channel.get(), str):
            mine.append(value)
        mine.append(value)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(channels, got, strict=True)]
    for thread in threads:
        thread.start()
    wait_for(lambda: all(got))
    service.stop()
    for thread in threads:
        thread.join()
    for mine in got:
        assert [mine[0], mine[2]] == ["one\n", 69]
        assert mine[1].startswith("orcha: no service for 0.3 s")
    assert [channel.get() for channel in channels] == [69, 69, 69]


def test_a_channel_whose_final_had_come_keeps_it_when_the_service_goes(scripted, client_of, item, read):
    service = scripted(lambda item: ["one\n", 3] if item.id == "done" else None)
    client = client_of(service, reconnect=0.2)
    done, open_one = client.channel(), client.channel()
    client.submit([item("done", done), item("open", open_one)])
    wait_for(lambda: done.qsize() == 2)
    service.stop()
    assert read(open_one)[-1] == 69
    assert read(done) == ["one\n", 3]
    assert done.get() == 3


def test_calls_fail_after_the_time_to_wait_and_work_again_with_the_service(scripted, client_of, item):
    service = scripted(lambda item: [0])
    client = client_of(service, reconnect=0.2)
    service.stop()
    with pytest.raises(OrchaConnectionError, match=r"no service for 0\.2 s"):
        client.submit([item()])
    with pytest.raises(OrchaConnectionError):
        client.ping()
    service.start()
    assert client.ping().verdict == Verdict.OK
    channel = client.channel()
    client.submit([item(channel=channel)])
    assert channel.get() == 0


def test_a_key_that_is_not_accepted_any_more_ends_with_a_line_and_77(scripted, client_of, item):
    service = scripted(lambda item: None)

    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])

    def refuse(*args, **kwargs):
        raise AuthenticationError("not this key")

    client._dial_with = refuse
    service.drop()
    assert [channel.get(), channel.get(), channel.get()] == ["orcha: not this key\n", 77, 77]
    with pytest.raises(AuthenticationError):
        client.ping()


def test_a_service_that_accepts_and_drops_is_given_up_too(scripted, client_of, item):
    service = scripted(lambda item: None)
    client = client_of(service, reconnect=0.5)
    channel = client.channel()
    client.submit([item(channel=channel)])
    service.answers = lambda connection, message: [messages.Error("no such message")]
    taken = service.deliver

    def deliver():
        taken()
        for connection in service.connections:
            connection.close()

    service.deliver = deliver
    service.drop()
    assert channel.get() == "orcha: no service for 0.5 s (no such message): orcha ps tells more when it is back\n"
    assert channel.get() == 69


def test_a_call_is_not_made_twice(scripted, client_of):
    service = scripted()
    made = []
    service.functions["make"] = lambda: made.append(1)
    service.fault = Fault("unanswered", 0)
    client = client_of(service)
    with pytest.raises(OrchaConnectionError, match="it may have done it"):
        client.call("make")
    assert made == [1]
    assert client.ping().verdict == Verdict.OK
    assert made == [1]


def test_a_call_that_was_never_sent_is_made_when_the_service_is_back(scripted, client_of):
    service = scripted()
    service.functions["make"] = lambda: 5
    client = client_of(service)
    service.stop()
    wait_for(lambda: client._reader._thread is None)
    starter = threading.Thread(target=lambda: (wait_for(lambda: client.notices), service.start()))
    starter.start()
    assert client.decode(client.call("make").value) == 5
    starter.join()


def test_an_interrupted_submit_without_a_service_comes_to_nothing_for_who_waits(scripted, client_of, item):
    service = scripted(lambda item: None)
    client = client_of(service, reconnect=1.0)
    service.stop()
    channel = client.channel()

    def interrupt():
        wait_for(lambda: client.notices)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        client.submit([item(channel=channel)])
    helper.join()
    assert [channel.get(), channel.get()][1] == 69


def test_closing_while_the_service_is_away_ends_at_once(scripted, client_of, item):
    service = scripted(lambda item: None)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    service.stop()
    wait_for(lambda: client.notices)
    client.close()
    assert [channel.get(), channel.get()] == ["orcha: this client was closed\n", 69]


@pytest.mark.parametrize(("text", "seconds"), [("", 30.0), ("2.5", 2.5), ("0", 0.0)])
def test_the_environment_says_how_long_to_wait(monkeypatch, client_of, scripted, text, seconds):
    monkeypatch.setenv("ORCHA_RECONNECT", text)
    assert client_of(scripted(), connect=False, reconnect=None)._reconnect == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_an_environment_that_says_no_time_is_refused(monkeypatch, client_of, scripted, text):
    monkeypatch.setenv("ORCHA_RECONNECT", text)
    with pytest.raises(ValueError, match=r"ORCHA_RECONNECT is .*: set it to a number of seconds"):
        client_of(scripted(), connect=False, reconnect=None)
