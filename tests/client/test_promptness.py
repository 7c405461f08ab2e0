"""Where answers have been coming at once, who waits for the next looks for it before it sleeps."""

from __future__ import annotations

import threading

import pytest

from orcha._wire import promptness, turns
from orcha._wire.promptness import AT_ONCE, FEWEST, MOST, Promptness
from support.waiting import wait_for

FAST, SLOW = AT_ONCE / 2, AT_ONCE * 2


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], False),
        ([FAST] * (FEWEST - 1), False),
        ([FAST] * FEWEST, True),
        ([FAST] * FEWEST + [SLOW], False),
        ([SLOW, FAST, SLOW, FAST], False),  # a submit, and a petition that takes its time, over and over
        ([SLOW] + [FAST] * FEWEST, True),
    ],
)
def test_some_in_a_row_have_to_have_come_at_once(times, expected):
    answers = Promptness(processors=2)
    for seconds in times:
        answers.note(seconds)
    assert answers.are_prompt is expected


def needed(answers):
    """Count how many have to come at once until the next is looked for."""
    count = 0
    while not answers.are_prompt:
        answers.note(FAST)
        count += 1
    return count


def test_the_more_often_it_was_looked_for_in_vain_the_more_have_to():
    answers = Promptness(processors=2)
    counts = []
    while not counts or counts[-1] < MOST:
        counts.append(needed(answers))
        answers.note(SLOW, looked=True)
    assert counts[:3] == [FEWEST, FEWEST * 4, FEWEST * 16]
    assert needed(answers) == MOST


def test_where_it_comes_again_while_it_is_looked_for_few_have_to():
    answers = Promptness(processors=2)
    for _ in range(3):
        answers.note(SLOW, looked=True)
    assert needed(answers) > FEWEST
    for _ in range(10):
        answers.note(FAST, looked=True)
    answers.note(SLOW)
    assert needed(answers) == FEWEST


def test_one_processor_has_better_things_to_do():
    answers = Promptness(processors=1)
    for _ in range(FEWEST):
        answers.note(FAST)
    assert not answers.are_prompt


class Watched:
    """A poll object that notes how it is asked."""

    def __init__(self, poll):
        self.poll_ = poll
        self.asked = []

    def poll(self, timeout=None):
        self.asked.append(timeout)
        return self.poll_.poll(timeout)


@pytest.fixture
def watched(monkeypatch, scripted, client_of, item):
    """A client whose answers are prompt, the service, and what was asked of poll(2) since; it looks for ever."""
    monkeypatch.setattr(turns, "PAUSE", 3600.0)
    monkeypatch.setattr(turns, "AT_ONCE", 3600.0)
    monkeypatch.setattr(promptness, "AT_ONCE", 3600.0)
    service = scripted(lambda item: None)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    its = client._reader.turns
    its._answers = Promptness(processors=2)

    def rests():
        service.put(channel.__orcha_channel__, "x")
        assert channel.get() == "x"
        return its._holder == turns._NOBODY

    wait_for(rests, what="the client's thread to rest")
    for _ in range(FEWEST):
        client.submit([item(channel=channel)])
    poll = its._poll = Watched(its._poll)
    return service, client, channel, poll


def test_an_answer_is_looked_for(watched, item):
    _, client, channel, poll = watched
    client.submit([item(channel=channel)])
    assert set(poll.asked) == {0}


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


def test_later_words_are_slept_for(watched):
    service, client, channel, poll = watched
    hears(service, client, channel)
    assert set(poll.asked) == {None}


def test_where_they_have_not_been_coming_at_once_an_answer_is_slept_for(watched, item):
    _, client, channel, poll = watched
    client._reader.turns._answers.note(7200.0)
    client.submit([item(channel=channel)])
    assert set(poll.asked) == {None}
