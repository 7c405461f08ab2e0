"""Where answers come at once, and that has been quicker, who waits for one looks for it before it sleeps."""

from __future__ import annotations

import queue
import threading

import pytest

from orcha._client import turns
from orcha._client.promptness import AT_ONCE, CYCLE, FEWEST, LONGEST, TRIED, Promptness
from support.waiting import wait_for

SLOW = AT_ONCE * 1.5


def after(waits, *, processors=2):
    """Give what is known after these waits: how long each took, and whether it was looked for."""
    answers = Promptness(processors)
    for seconds, looked in waits:
        answers.note(seconds, looked=looked)
    return answers


def chosen(answers, looked, slept, times=10 * CYCLE):
    """Let answers take so long in each way; tell in how many of the last ones each was looked for."""
    count = 0
    for number in range(times):
        looks = answers.are_worth_a_look
        answers.note(looked if looks else slept, looked=looks)
        count += looks and number >= times - CYCLE
    return count


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], False),
        ([AT_ONCE / 2] * (FEWEST - 1), False),
        ([AT_ONCE / 2] * FEWEST, True),
        ([SLOW] * FEWEST, False),
        ([AT_ONCE / 2, 60.0] * CYCLE, False),  # a submit, and a petition that takes its time, over and over
        ([AT_ONCE / 2] * CYCLE + [60.0], True),
    ],
)
def test_only_where_answers_come_at_once_one_is_looked_for(times, expected):
    assert after((seconds, False) for seconds in times).are_worth_a_look is expected


def test_what_has_been_quicker_is_done_and_the_other_tried_now_and_then():
    quick, slow = AT_ONCE * 0.4, AT_ONCE * 0.6
    assert chosen(Promptness(2), looked=quick, slept=slow) == CYCLE - TRIED
    assert chosen(Promptness(2), looked=slow, slept=quick) == TRIED


def test_where_that_changes_the_other_is_done():
    quick, slow = AT_ONCE * 0.4, AT_ONCE * 0.6
    answers = Promptness(2)
    chosen(answers, looked=quick, slept=slow)
    assert chosen(answers, looked=LONGEST, slept=quick) == TRIED
    assert chosen(answers, looked=quick, slept=slow) == CYCLE - TRIED


def test_one_processor_has_better_things_to_do():
    assert not after([(AT_ONCE / 2, False)] * FEWEST, processors=1).are_worth_a_look


class Watched:
    """A poll object that notes how it is asked."""

    def __init__(self, poll):
        self.poll_ = poll
        self.asked = []

    def poll(self, timeout=None):
        self.asked.append(timeout)
        return self.poll_.poll(timeout)


class Decided:
    """Looks, or does not, whatever comes of it."""

    def __init__(self, *, are_worth_a_look):
        self.are_worth_a_look = are_worth_a_look
        self.noted = []

    def note(self, seconds, *, looked):
        assert seconds >= 0
        self.noted.append(looked)


@pytest.fixture
def watched(monkeypatch, scripted, client_of, item):
    """A service, a client that looks for its answers for ever, a channel, and what was asked of poll(2) since."""
    monkeypatch.setattr(turns, "PAUSE", 3600.0)
    monkeypatch.setattr(turns, "AT_ONCE", 3600.0)
    service = scripted(lambda item: None)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    its = client._reader.turns
    its._answers = Decided(are_worth_a_look=True)

    def rests():
        service.put(channel.__orcha_channel__, "x")
        assert channel.get() == "x"
        return its._holder == turns._NOBODY

    wait_for(rests, what="the client's thread to rest")
    poll = its._poll = Watched(its._poll)
    return service, client, channel, poll


def test_an_answer_is_looked_for(watched, item):
    _, client, channel, poll = watched
    client.submit([item(channel=channel)])
    assert set(poll.asked) == {0}
    assert client._reader.turns._answers.noted[-1] is True


def hears(service, client, channel):
    """Wait for a value on another thread; it comes when that one reads."""
    got = []
    thread = threading.Thread(target=lambda: got.append(channel.get()))
    thread.start()
    wait_for(lambda: client._reader.turns._holder == thread.ident, what="its turn")
    service.put(channel.__orcha_channel__, "y")
    thread.join()
    assert got == ["y"]


def test_so_is_the_first_word_of_a_petition_with_a_channel_of_its_own(watched, item):
    service, client, _, poll = watched
    own = client.channel()
    client.submit([item("own", own)])
    hears(service, client, own)
    assert set(poll.asked) == {0}


def test_it_is_not_looked_for_longer_than_it_is_waited_for(watched, item):
    _, client, _, poll = watched
    own = client.channel()
    client.submit([item("own", own)])
    with pytest.raises(queue.Empty):
        own.get(timeout=0.001)
    assert set(poll.asked) == {0}


def test_later_words_are_slept_for(watched):
    service, client, channel, poll = watched
    hears(service, client, channel)
    assert set(poll.asked) == {None}


def test_where_that_is_not_worth_it_an_answer_is_slept_for(watched, item):
    _, client, channel, poll = watched
    client._reader.turns._answers = Decided(are_worth_a_look=False)
    client.submit([item(channel=channel)])
    assert set(poll.asked) == {None}
