"""A client that asks much and takes little costs the service one large answer, and not as many as it asks for."""

from __future__ import annotations

import threading

import pytest

from orcha._protocol.frames import decode_service_message, encode
from orcha._protocol.messages import Cancel, List, Ping, Reply, Rows, Show, Stats, Verdict
from server.answering import Answering

COUNT = 2_000
QUERIES = {
    "list": lambda number: List(number, 0xFF, 1_000),
    "show": lambda number: Show(number, "a"),
    "stats": Stats,
}
OK = Verdict.OK


class Silent(Answering):
    """Answers nothing by itself."""

    def receive(self, peer, message):
        self.messages.put((peer, message))

    def has_read(self):
        """Return when the loop thread has done all that it had to do."""
        passed = threading.Event()
        self.server.call_soon(passed.set)
        assert passed.wait(60)


@pytest.fixture
def silent(orcha_home):
    running = Silent(orcha_home)
    yield running
    running.server.stop(5)
    assert not running.problems


@pytest.mark.parametrize("over", ["endpoint", "remote"])
@pytest.mark.parametrize("name", QUERIES)
def test_a_query_is_handed_on_when_the_one_before_is_answered(silent, links, name, over):
    link = links(getattr(silent, over))
    link.send(b"".join(encode(QUERIES[name](number)) for number in range(COUNT)))
    for number in range(20):
        peer, message = silent.messages.get(timeout=60)
        assert message == QUERIES[name](number)
        silent.has_read()
        assert silent.messages.empty()
        silent.server.send([(peer, encode(Reply(number, OK)))])


def test_all_are_answered_in_the_end_and_in_order(silent, links):
    link = links(silent.endpoint)
    asked = [kind(number) for number in range(200) for kind in (Ping, QUERIES["list"], QUERIES["stats"])]
    link.send(b"".join(map(encode, asked)))
    for expected in asked:
        peer, message = silent.messages.get(timeout=60)
        assert message == expected
        silent.server.send([(peer, encode(Reply(message.request, OK)))])
    got = []
    while len(got) < len(asked):
        got += [decode_service_message(body).request for body in link.read_frames()]
    assert got == [message.request for message in asked]


def test_whatever_is_no_query_waits_for_no_answer(silent, links):
    link = links(silent.endpoint)
    asked = [List(0, 0xFF, 9), *(Ping(number) for number in range(1, 50)), Cancel(50, None, "a")]
    link.send(b"".join(map(encode, asked)))
    assert [silent.messages.get(timeout=60)[1] for _ in asked] == asked


def test_other_clients_do_not_wait(silent, links):
    first, second = links(silent.endpoint), links(silent.endpoint)
    for link in (first, second):
        link.send(encode(List(1, 0xFF, 9)) * 2)
    peers = [silent.messages.get(timeout=60)[0] for _ in range(2)]
    assert len({peer.id for peer in peers}) == 2
    silent.has_read()
    assert silent.messages.empty()


def test_for_a_client_that_takes_no_answer_no_more_are_made(silent, links):
    """The kernel takes some megabytes; beyond that what a client is sent waits in the service."""
    link = links(silent.endpoint)
    answer = encode(Rows(1, [{"reason": "x" * (1 << 20)}]))
    link.send(b"".join(encode(List(number, 0xFF, 1_000)) for number in range(COUNT)))
    answered, most = 0, 0
    while (found := taken(silent)) is not None:
        peer, _ = found
        silent.server.send([(peer, answer)])
        silent.has_read()
        answered, most = answered + 1, max(most, peer.backlog)
    assert 4 <= answered < 64
    assert most < 8 << 20
    got = 0
    while got < answered:
        got += len(link.read_frames())
    assert silent.messages.get(timeout=60)[1].request == answered


def taken(silent):
    """Give the next message; None where the loop thread has none to hand on."""
    for _ in range(3):  # what was answered is handed on in its next rounds
        silent.has_read()
    return None if silent.messages.empty() else silent.messages.get()


def test_a_client_that_leaves_with_queries_held_back_is_gone(silent, links):
    link = links(silent.endpoint)
    link.send(encode(List(1, 0xFF, 9)) * 9)
    peer, _ = silent.messages.get(timeout=60)
    silent.has_read()
    silent.server.close_peer(peer)
    assert silent.left.get(timeout=60) is peer
    assert silent.messages.empty()
