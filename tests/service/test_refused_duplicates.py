"""What is refused changes nothing for what was accepted before: its handle, its channel and its cancel stay."""

from __future__ import annotations

import secrets
import threading

import pytest

from orcha.exceptions import RejectedError
from orcha.interfaces import Message
from support.document import states
from support.waiting import wait_for

REFUSED = "the id 'm' is taken by a petition that is"


def runs(client, gate, identity="m"):
    """Have one run until the gate opens; give its channel."""
    queue = client.manager.Queue()
    client.send(Message(identity, {"queue": queue, "gate": gate.path, "process": True}))
    gate.wait_until_reached()
    return queue


def accepted(client, gate):
    """Send one that runs until the gate opens; give its channel, or None where its id is still taken."""
    queue = client.manager.Queue()
    client.send(Message("m", {"queue": queue, "gate": gate.path, "process": True}))
    return queue if states(client)["m"] in {"queued", "starting", "running"} else None


def read(queue):
    got = [queue.get(timeout=30)]
    while isinstance(got[-1], str):
        got.append(queue.get(timeout=30))
    return got


def refuse_by_channel(client, _):
    other = client.manager.Queue()
    client.send(Message("m", {"queue": other}))
    line, code = read(other)
    assert line.startswith(REFUSED)
    assert code == 1


def refuse_by_error(client, _):
    with pytest.raises(RejectedError, match=REFUSED):
        client.send(Message("m", {}))


def refuse_on_the_same_channel(client, queue):
    client.send(Message("m", {"queue": queue}))
    line, code = read(queue)
    assert line.startswith(REFUSED)
    assert code == 1


def refuse_among_many(client, _):
    other = Message(secrets.token_hex(4), {})
    with pytest.raises(RejectedError, match=REFUSED) as caught:
        client.send_many([other, Message("m", {}), Message("m", {})])
    assert list(caught.value.accepted) == [other]


def refuse_by_the_manager(client, _):
    with pytest.raises(RejectedError):
        client.send(Message("m", {"refuse": True}))


@pytest.mark.parametrize(
    "refuse",
    [refuse_by_channel, refuse_by_error, refuse_on_the_same_channel, refuse_among_many, refuse_by_the_manager],
)
@pytest.mark.parametrize("times", [1, 3])
def test_finish_still_means_the_first(service, connect, gate, refuse, times):
    client = connect(service)
    queue = runs(client, gate)
    for _ in range(times):
        refuse(client, queue)
    assert client.finish("m")
    assert read(queue) == [130]
    assert queue.get(timeout=30) == 130


def test_a_message_by_its_id_as_a_number_is_the_same_one(service, connect, gate):
    client = connect(service)
    queue = runs(client, gate, 7)
    with pytest.raises(RejectedError):
        client.send(Message("7", {}))
    assert client.finish(7)
    assert read(queue) == [130]


def test_what_was_only_ever_refused_is_unknown(service, connect):
    client = connect(service)
    with pytest.raises(RejectedError):
        client.send(Message("m", {"refuse": True}))
    assert client.finish("m") is False


def test_after_its_end_the_id_means_the_next_one(service, connect, gate):
    client = connect(service)
    first = client.manager.Queue()
    client.send(Message("m", {"queue": first, "code": 3}))
    assert read(first) == [3]
    second = wait_for(lambda: accepted(client, gate), what="the id is free: the first one's action has returned")
    gate.wait_until_reached()
    assert client.finish("m")
    assert read(second) == [130]


def test_a_cancel_from_another_thread_reaches_what_has_no_answer_yet(variant, observer, gate):
    client = observer(variant())
    queue = client.manager.Queue()
    message = Message("convertgate-1", {"queue": queue, "counter": 1, "sleep_time": 0})
    answers = []
    sender = threading.Thread(target=client.send, args=(message,))
    canceller = threading.Thread(target=lambda: answers.append(client.finish(message)))
    sender.start()
    gate.wait_until_reached()
    canceller.start()
    wait_for(lambda: len(client.manager.client._sender.pending._entries) == 2, what="both are asked")
    gate.open()
    sender.join()
    canceller.join()
    assert answers == [True]
    assert read(queue) == [130]


def test_what_cannot_be_sent_leaves_the_first_its_handle(service, connect, gate):
    client = connect(service)
    queue = runs(client, gate)
    with pytest.raises(ValueError, match="the extras of 'm' have"):
        client.send(Message("m", {"much": b"x" * 9_000_000}))
    with pytest.raises(TypeError):
        client.send(Message("m", {"odd": object()}))
    assert client.manager._tokens.of("m") == client.manager._tokens.of("m")[:1]
    assert client.finish("m")
    assert read(queue) == [130]


def test_one_that_attaches_to_another_of_its_key_is_not_cancelled_with_it(serve, connect, gate):
    service = serve("support.managers:KeyedManager")
    client = connect(service)
    queue = runs(client, gate)
    other = client.manager.Queue()
    client.send(Message("second", {"queue": other}))
    assert read(other)[-1] == 1
    assert other.get(timeout=30) == 1
    assert client.finish("second") is False
    assert client.finish("m")
    assert read(queue) == [130]


def test_a_channel_of_something_refused_serves_the_next_one(service, connect):
    client = connect(service)
    queue = client.manager.Queue()
    for _ in range(2):
        client.send(Message("m", {"queue": queue, "refuse": True}))
        assert read(queue)[-1] == 1
    client.send(Message("m", {"queue": queue, "lines": ["one\n"], "code": 4}))
    assert read(queue) == ["one\n", 4]
