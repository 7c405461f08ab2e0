from __future__ import annotations

import signal
import threading

import pytest

from orcha._client.pending import Pending, PendingSubmit, SubmitFrame
from orcha._protocol import messages, values
from orcha._protocol.messages import Verdict
from orcha.exceptions import OrchaConnectionError
from support.waiting import wait_for


def submits(service):
    return [message for message in service.received if isinstance(message, messages.Submit)]


def test_values_come_in_order_and_end_with_the_final(scripted, client_of, item, read):
    service = scripted(lambda item: ["one\n", "two\n", "three\n", "four\n", 3])
    client = client_of(service)
    channel = client.channel()
    (result,) = client.submit([item(channel=channel)])
    assert result.verdict == Verdict.ACCEPTED
    assert read(channel) == ["one\n", "two\n", "three\n", "four\n", 3]
    assert [channel.get(), channel.get_nowait(), channel.empty(), channel.qsize()] == [3, 3, True, 0]


def test_a_submit_follows_its_channel_with_no_further_message(scripted, client_of, item, read):
    service = scripted(lambda item: ["one\n", None])
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    assert read(channel) == ["one\n", None]
    assert [type(message) for message in service.received] == [messages.Submit]


def test_a_petition_without_a_channel_is_read_on_the_one_the_service_chose(scripted, client_of, item, read):
    service = scripted(lambda item: ["one\n", 4])
    client = client_of(service)
    (result,) = client.submit([item()])
    channel = client.channel(result.channel, own=True)
    assert read(channel) == ["one\n", 4]
    assert channel.get() == 4


def test_many_items_go_in_frames_of_512_and_are_answered_in_their_order(scripted, client_of, item):
    service = scripted(lambda item: None, verdict=lambda item: (Verdict.REFUSED, f"no {item.id}"))
    client = client_of(service)
    results = client.submit([item(f"{number}") for number in range(1_100)])
    assert [(result.position, result.reason) for result in results] == [(n, f"no {n}") for n in range(1_100)]
    assert [len(message.items) for message in submits(service)] == [512, 512, 76]


def test_a_frame_holds_no_more_than_a_mebibyte_unless_one_item_does(scripted, client_of, item):
    service = scripted(lambda item: None)
    client = client_of(service)
    sizes = [400_000, 400_000, 400_000, 3_000_000, 1]
    assert len(client.submit([item(f"{n}", extras={"x": b"x" * size}) for n, size in enumerate(sizes)])) == 5
    assert [len(message.items) for message in submits(service)] == [2, 1, 1, 1]


def test_what_fits_no_frame_is_refused_before_anything_is_sent(scripted, client_of, item):
    service = scripted(lambda item: None)
    client = client_of(service)
    with pytest.raises(ValueError, match="the extras of 'big' have"):
        client.submit([item("small"), item("big", extras={"x": b"x" * 9_000_000})])
    client.ping()
    assert submits(service) == []


def test_petitions_that_share_a_channel_each_give_their_final(scripted, client_of, item, read):
    service = scripted(lambda item: [f"{item.id}\n", int(item.id)])
    client = client_of(service)
    channel = client.channel()
    client.submit([item("1", channel), item("2", channel), item("3", channel)])
    assert read(channel) + read(channel) + read(channel) == ["1\n", 1, "2\n", 2, "3\n", 3]
    assert channel.get() == 3


def test_a_channel_waits_again_after_its_end_when_one_more_petition_names_it(scripted, client_of, item, read):
    service = scripted(lambda item: [int(item.id)] if item.id == "1" else None)
    client = client_of(service)
    channel = client.channel()
    client.submit([item("1", channel)])
    assert [channel.get(), channel.get()] == [1, 1]
    client.submit([item("2", channel)])
    service.put(channel.__orcha_channel__, "more\n", 2, seq=2)
    assert read(channel) == ["more\n", 2]


def test_a_refusal_is_told_on_the_channel_by_fail(scripted, client_of, item, read):
    service = scripted(verdict=lambda item: (Verdict.REFUSED, "no"))
    client = client_of(service)
    channel = client.channel()
    (result,) = client.submit([item(channel=channel)])
    channel.fail(f"refused: {result.reason}\n", 1)
    assert read(channel) == ["refused: no\n", 1]
    assert channel.get() == 1


def test_a_refusal_beside_an_accepted_one_leaves_the_other_final_to_come(scripted, client_of, item, read):
    refused = (Verdict.REFUSED, "no")
    service = scripted(lambda item: None, verdict=lambda item: refused if item.id == "bad" else None)
    client = client_of(service)
    channel = client.channel()
    client.submit([item("good", channel), item("bad", channel)])
    channel.fail("refused\n", 1)
    assert read(channel) == ["refused\n", 1]
    service.put(channel.__orcha_channel__, "late\n", 0)
    assert read(channel) == ["late\n", 0]
    assert channel.get() == 0


def test_an_interrupted_submit_cancels_its_tokens_and_no_others(scripted, client_of, item, read):
    service = scripted(lambda item: None)
    client = client_of(service)
    channel, other = client.channel(), client.channel()
    client.submit([item("other", other)])
    service.mute = True
    mine = [item("1", channel), item("2", channel)]

    def interrupt():
        wait_for(lambda: len(submits(service)) == 2)
        service.mute = False
        for message in submits(service)[1:]:  # it came, and its answer got lost
            service._submit(service.connections[0], message)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        client.submit(mine)
    helper.join()
    assert service.cancelled == [entry.token for entry in mine]
    assert [channel.get(timeout=30), channel.get(timeout=30)] == [130, 130]


def test_requests_bring_the_answers(scripted, client_of, item):
    service = scripted(lambda item: None)
    service.functions["add"] = lambda *numbers, more=0: sum(numbers) + more
    client = client_of(service)
    client.submit([item("a"), item("b")])
    assert client.ping().verdict == Verdict.OK
    assert client.decode(client.call("add", [1, 2], {"more": 4}).value) == 7
    assert client.rows(0xFF, 10) == [{"seq": 1}, {"seq": 2}]
    assert values.decode(client.cancel(id="a").value) == "cancelled"
    assert service.cancelled == ["a"]


def test_asking_without_a_connection_is_refused(scripted, client_of, item):
    client = client_of(scripted(), connect=False)
    for ask in (lambda: client.submit([item()]), client.ping, lambda: client.cancel(id="a"), lambda: client.rows(1, 1)):
        with pytest.raises(OrchaConnectionError):
            ask()
    assert client.submit([]) == []


def test_connect_says_that_nobody_listens(scripted, client_of):
    service = scripted()
    service.stop()
    client = client_of(service, connect=False)
    with pytest.raises(OrchaConnectionError):
        client.connect()
    service.start()
    client.connect()
    assert client.ping().verdict == Verdict.OK


def test_threads_share_a_client(scripted, client_of, item, read):
    service = scripted(lambda item: [f"{item.id}\n", 0])
    client = client_of(service)
    got = {}

    def work(name):
        for number in range(50):
            channel = client.channel()
            client.submit([item(f"{name}-{number}", channel)])
            got[name, number] = read(channel)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {(name, number): [f"{name}-{number}\n", 0] for name in "abcd" for number in range(50)}


def refusing(name):
    return lambda item: (Verdict.REFUSED, "no") if item.id == name else None


def test_a_channel_whose_first_submit_was_refused_is_followed_by_the_next(scripted, client_of, item, read):
    client = client_of(scripted(lambda item: ["one\n", 2], verdict=refusing("bad")))
    channel = client.channel()
    client.submit([item("bad", channel)])
    client.submit([item("good", channel)])
    assert read(channel) == ["one\n", 2]


@pytest.mark.parametrize("order", [("bad", "good"), ("good", "bad")])
def test_of_two_submits_at_once_to_a_channel_one_refused_leaves_the_other_followed(
    scripted, client_of, item, read, order
):
    service = scripted(lambda item: ["one\n", 2], verdict=refusing("bad"))
    service.mute = True
    client = client_of(service)
    channel = client.channel()
    threads = []
    for count, name in enumerate(("bad", "good"), 1):  # the first one's frame asks to follow
        threads.append(threading.Thread(target=client.submit, args=([item(name, channel)],)))
        threads[-1].start()
        wait_for(lambda count=count: len(submits(service)) == count)
    service.mute = False
    with service.lock:
        (connection,) = service.connections
        for message in sorted(submits(service), key=lambda message: order.index(message.items[0].id)):
            for answer in service._submit(connection, message):
                connection.send(answer)
        service.deliver()
    for thread in threads:
        thread.join()
    assert read(channel) == ["one\n", 2]


def test_one_that_is_attached_to_another_has_nothing_to_come_on_its_own_channel(scripted, client_of, item, read):
    there = b"elsewhere-16-byt"
    service = scripted(verdict=lambda item: (Verdict.KNOWN, "another"))
    answers = service._submit

    def attached(connection, message):
        (answer,) = answers(connection, message)
        results = [result._replace(channel=there) for result in answer.results]
        return [answer.__class__(answer.request, results)]

    service._verbs[messages.Submit] = attached
    client = client_of(service)
    channel = client.channel()
    client.submit([item("mine", channel)])
    channel.fail("there is one already\n", 1)
    assert read(channel) == ["there is one already\n", 1]
    assert channel.get(timeout=30) == 1


def test_an_answer_costs_the_same_however_many_items_of_its_frame_have_theirs():
    class Counted(list):
        reads = 0

        def __getitem__(self, at):
            Counted.reads += 1
            return super().__getitem__(at)

    count = 64
    submission, pending = PendingSubmit([object()] * count, None), Pending()
    submission.results = Counted(submission.results)
    number = pending.add(SubmitFrame(submission, list(range(count)), follows=False))
    for position in range(count):
        pending.note(number, [messages.Result(position, Verdict.ACCEPTED, None, None)])
        assert submission.finished is (position == count - 1)
    assert Counted.reads == count
    assert not pending
