from __future__ import annotations

from orcha._wire import values
from orcha._wire.channel import new_identity
from orcha._wire.messages import Item, Verdict


def item(name="a", channel=None, extras=None):
    identity = channel.__orcha_channel__ if channel is not None else None
    return Item(new_identity(), name, values.encode(extras or {}), identity)


def read(channel):
    got = []
    while True:
        value = channel.get(timeout=30)
        got.append(value)
        if not isinstance(value, str):
            return got


def test_values_come_in_order_and_end_with_the_final(scripted, client_of):
    service = scripted(lambda item: ["one\n", "two\n", "three\n", "four\n", 3])
    client = client_of(service)
    channel = client.channel()
    (result,) = client.submit([item(channel=channel)])
    assert result.verdict == Verdict.ACCEPTED
    assert read(channel) == ["one\n", "two\n", "three\n", "four\n", 3]
    assert [channel.get(), channel.get_nowait()] == [3, 3]
