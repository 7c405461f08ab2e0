"""Where the system has no room for a thread, a client says so with the cure, and hangs nowhere."""

from __future__ import annotations

import threading

import pytest

from orcha._protocol.messages import Verdict
from orcha.utils.threads import NoThreadError
from support.waiting import wait_for

NO_ROOM = "the thread {} cannot be started: can't start new thread: end some processes of this user, or raise ulimit -u"


@pytest.fixture
def refuse(monkeypatch):
    """Give a function that has no thread of a name started any more; None for any again."""
    refused = [None]
    start = threading.Thread.start

    def start_if_possible(self):
        if self.name == refused[0]:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_if_possible)

    def set_refused(name):
        refused[0] = name

    return set_refused


@pytest.mark.parametrize("name", ["orcha-client-send", "orcha-client-read"])
def test_it_is_told_at_the_connecting_and_later_the_client_connects(scripted, client_of, item, read, refuse, name):
    client = client_of(scripted(lambda item: ["one\n", 0]), connect=False)
    refuse(name)
    with pytest.raises(NoThreadError) as raised:
        client.connect()
    assert (str(raised.value), raised.value.exit_code) == (NO_ROOM.format(name), 75)
    refuse(None)
    client.connect()
    channel = client.channel()
    client.submit([item(channel=channel)])
    assert read(channel) == ["one\n", 0]


def test_it_is_told_to_the_caller_where_a_new_connection_needs_the_thread(scripted, client_of, item, refuse):
    service = scripted(lambda item: ["one\n", 0])
    client = client_of(service)
    client.submit([item()])  # an answer: the service has the connection by now
    service.drop()
    wait_for(lambda: client._reader._thread is None, what="the thread that reads has ended: nobody waits for anything")
    refuse("orcha-client-read")
    with pytest.raises(NoThreadError) as raised:
        client.submit([item()])
    assert str(raised.value) == NO_ROOM.format("orcha-client-read")
    refuse(None)
    assert [result.verdict for result in client.submit([item()])] == [Verdict.ACCEPTED]
