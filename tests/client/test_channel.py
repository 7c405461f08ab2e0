from __future__ import annotations

import gc
import pickle
import queue
import threading

import pytest

from orcha._client.channel import WINDOW_BYTES
from orcha._client.sender import MAX_DISCARDED_CHANNELS
from orcha._protocol import messages
from orcha._protocol.messages import ChannelRecord, Kind
from support.waiting import wait_for


def test_get_waits_for_a_value(scripted, client_of, item):
    service = scripted(lambda item: None)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    got = []
    reader = threading.Thread(target=lambda: got.append(channel.get()))
    reader.start()
    wait_for(lambda: channel._waiters)
    service.put(channel.__orcha_channel__, "late\n")
    reader.join()
    assert got == ["late\n"]


def test_no_value_is_empty_as_in_queue(scripted, client_of, item):
    service = scripted(lambda item: None)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    for call in (channel.get_nowait, lambda: channel.get(block=False), lambda: channel.get(timeout=0.001)):
        with pytest.raises(queue.Empty):
            call()
    with pytest.raises(ValueError, match="non-negative"):
        channel.get(timeout=-1)
    assert channel.empty()
    assert not channel._waiters


def test_a_client_does_not_put(scripted, client_of):
    channel = client_of(scripted(), connect=False).channel()
    with pytest.raises(NotImplementedError):
        channel.put("x")
    with pytest.raises(NotImplementedError):
        channel.put_nowait("x")
    with pytest.raises(TypeError):
        pickle.dumps(channel)


def test_a_channel_works_unconnected_and_then_gives_up(scripted, client_of):
    channel = client_of(scripted(), connect=False, reconnect=0.2).channel()
    assert len(channel.__orcha_channel__) == 16
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.01)
    assert [channel.get(), channel.get(), channel.get()] == ["orcha: not connected to a service\n", 69, 69]


def test_a_channel_read_before_its_first_submit_goes_on_with_it(scripted, client_of, item, read):
    service = scripted(lambda item: ["one\n", 0])
    client = client_of(service)
    channel = client.channel()
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.01)
    wait_for(lambda: any(isinstance(message, messages.Follow) for message in service.received))
    client.ping()
    client.submit([item(channel=channel)])
    assert read(channel) == ["one\n", 0]


def test_a_channel_that_exists_is_followed_by_get(scripted, client_of, read):
    service = scripted()
    service.put(b"c" * 16, "one\n", "two\n", 5)
    client = client_of(service)
    assert read(client.channel(b"c" * 16)) == ["one\n", "two\n", 5]


def test_a_channel_can_be_followed_from_the_middle(scripted, client_of, read):
    service = scripted()
    service.put(b"c" * 16, "one\n", "two\n", 5)
    assert read(client_of(service).channel(b"c" * 16, index=1)) == ["two\n", 5]


def test_a_followed_channel_of_others_ends_when_the_service_says_so(scripted, client_of):
    service = scripted()
    service.put(b"c" * 16, 1, 2)
    channel = client_of(service).channel(b"c" * 16)
    assert [channel.get(), channel.get()] == [1, 2]
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.01)
    service.channels[b"c" * 16].append(ChannelRecord(Kind.CLOSED, 1, b""))
    service.deliver()
    assert [channel.get(timeout=30), channel.get()] == [2, 2]


def test_an_unknown_channel_ends_with_a_line_and_75(scripted, client_of):
    channel = client_of(scripted()).channel(b"u" * 16)
    assert [channel.get(), channel.get(), channel.get()] == ["orcha: the service knows no such channel\n", 75, 75]


def test_a_service_that_lost_the_end_of_a_channel_goes_on_where_it_is(scripted, client_of, item, read):
    service = scripted(lambda item: ["one\n", "two\n", "three\n"])
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    assert [channel.get() for _ in range(3)] == ["one\n", "two\n", "three\n"]
    service.stop()
    del service.channels[channel.__orcha_channel__][1:]
    service.start()
    wait_for(lambda: any(isinstance(m, messages.Follow) and m.index == 1 for m in service.received))
    service.put(channel.__orcha_channel__, "again\n", 0)
    assert read(channel) == ["again\n", 0]


def test_values_no_longer_kept_are_told_by_a_line(scripted, client_of, item, read):
    service = scripted(lambda item: ["one\n"])
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    assert channel.get() == "one\n"
    identity = channel.__orcha_channel__
    with service.lock:
        service.channels[identity] += [ChannelRecord(Kind.VALUE, 1, b"\xa4gone")] * 4
        for connection in service.connections:
            connection.followers.clear()
    service.put(identity, "five\n", 0)
    service.send(messages.Gap(identity, 5))
    assert read(channel) == ["orcha: 4 values of this channel are no longer kept\n", "five\n", 0]


def test_notices_are_lines_and_values_keep_their_type(scripted, client_of, item):
    service = scripted(lambda item: [{"a": [1.5, b"x"]}, ("t",), "s"])
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    assert [channel.get() for _ in range(3)] == [{"a": [1.5, b"x"]}, ("t",), "s"]
    service.channels[channel.__orcha_channel__].append(ChannelRecord(Kind.NOTICE, 1, b"\xa5why?\n"))
    service.deliver()
    assert channel.get(timeout=30) == "why?\n"


def test_a_value_that_cannot_be_read_is_a_line(scripted, client_of, item):
    service = scripted(lambda item: None)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    service.channels[channel.__orcha_channel__].append(ChannelRecord(Kind.VALUE, 1, b"\xc1"))
    service.deliver()
    assert channel.get(timeout=30).startswith("orcha: a value cannot be read: ")


def test_no_more_than_the_window_comes_ahead_of_the_reader(scripted, client_of, item):
    lines = ["x" * 1000 for _ in range(2_000)]
    service = scripted(lambda item: lines, chunk=1)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    client.ping()
    waiting = wait_for(lambda: channel.qsize() * 1000 > WINDOW_BYTES * 0.9 and channel.qsize())
    assert waiting * 1000 <= WINDOW_BYTES + 1000
    assert [channel.get(timeout=30) for _ in lines] == lines


def test_a_value_larger_than_the_window_comes_too(scripted, client_of, item, read):
    lines = ["x" * (WINDOW_BYTES + 1), "y" * (2 * WINDOW_BYTES), "z"]
    service = scripted(lambda item: [*lines, 0], chunk=1)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    assert read(channel) == [*lines, 0]


def test_two_threads_get_each_value_once(scripted, client_of, item):
    lines = [f"{number}\n" for number in range(5_000)]
    service = scripted(lambda item: [*lines, 0], chunk=7)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    got = [[], []]

    def work(mine):
        while isinstance(value := channel.get(), str):
            mine.append(value)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sorted(mine, key=int) for mine in got] == got
    assert sorted(got[0] + got[1], key=int) == lines


def read_many(client, item, read):
    """Read so many channels to their ends as are discarded at once; give their identities."""
    channels = [client.channel() for _ in range(MAX_DISCARDED_CHANNELS)]
    client.submit([item(str(number), channel=channel) for number, channel in enumerate(channels)])
    assert [read(channel) for channel in channels] == [["one\n", 0]] * MAX_DISCARDED_CHANNELS
    return [channel.__orcha_channel__ for channel in channels]


def test_dropped_channels_are_closed_at_the_service_many_at_once(scripted, client_of, item, read):
    service = scripted(lambda item: ["one\n", 0])
    client = client_of(service)
    identities = read_many(client, item, read)
    wait_for(lambda: gc.collect() is not None and len(client._sender._discarded) == MAX_DISCARDED_CHANNELS)
    assert not [message for message in service.received if type(message) is messages.CloseChannel]
    client.ping()
    wait_for(lambda: {m.channel for m in service.received if type(m) is messages.CloseChannel} == set(identities))


def test_a_dropped_channel_that_is_read_again_stays_open(scripted, client_of, item, read):
    service = scripted(lambda item: ["one\n", 0])
    client = client_of(service)
    identities = read_many(client, item, read)
    wait_for(lambda: gc.collect() is not None and len(client._sender._discarded) == MAX_DISCARDED_CHANNELS)
    again = client.channel(identities[0], own=True)
    assert read(again) == ["one\n", 0]
    wait_for(lambda: {m.channel for m in service.received if type(m) is messages.CloseChannel} >= set(identities[1:]))
    assert messages.CloseChannel(identities[0]) not in service.received


def test_what_comes_for_a_dropped_channel_is_stopped(scripted, client_of, item):
    service = scripted(lambda item: ["one\n"])
    client = client_of(service)
    channel = client.channel()
    identity = channel.__orcha_channel__
    client.submit([item(channel=channel)])
    del channel
    wait_for(lambda: gc.collect() >= 0 and identity not in client._channels, what="both threads to let go of it")
    service.put(identity, "two\n")
    wait_for(lambda: messages.Unfollow(identity) in service.received)


def test_closing_the_client_ends_whoever_waits(scripted, client_of, item):
    service = scripted(lambda item: None)
    client = client_of(service, reconnect=1000.0)
    channel = client.channel()
    client.submit([item(channel=channel)])
    got = []
    reader = threading.Thread(target=lambda: got.extend([channel.get(), channel.get()]))
    reader.start()
    wait_for(lambda: channel._waiters)
    client.close()
    reader.join()
    assert got == ["orcha: this client was closed\n", 69]
    assert client.channel().get().startswith("orcha: not connected")  # at once, however patient the client was
