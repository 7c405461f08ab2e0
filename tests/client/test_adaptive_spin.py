"""Where answers come at once, and spinning has been quicker, a thread spins before it sleeps."""

from __future__ import annotations

import queue
import threading

import pytest

from orcha._client import read_turn
from orcha._client.adaptive_spin import (
    CYCLE_ANSWERS,
    MAX_NOTED_SECONDS,
    MIN_SLEEPS_COUNT,
    SPIN_SECONDS,
    TRIED_ANSWERS,
    AdaptiveSpin,
)
from support.waiting import wait_for

SLOW = SPIN_SECONDS * 1.5


def after(waits, *, processors=2):
    """Give what is known after these waits: how long each took, and whether it was looked for."""
    answers = AdaptiveSpin(processors)
    for seconds, spun in waits:
        answers.note(seconds, spun=spun)
    return answers


def chosen(answers, spun, slept, times=10 * CYCLE_ANSWERS):
    """Let answers take so long in each way; tell in how many of the last ones each was looked for."""
    count = 0
    for number in range(times):
        spins = answers.pays
        answers.note(spun if spins else slept, spun=spins)
        count += spins and number >= times - CYCLE_ANSWERS
    return count


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], False),
        ([SPIN_SECONDS / 2] * (MIN_SLEEPS_COUNT - 1), False),
        ([SPIN_SECONDS / 2] * MIN_SLEEPS_COUNT, True),
        ([SLOW] * MIN_SLEEPS_COUNT, False),
        (
            [SPIN_SECONDS / 2, 60.0] * CYCLE_ANSWERS,
            False,
        ),  # a submit, and a petition that takes its time, over and over
        ([SPIN_SECONDS / 2] * CYCLE_ANSWERS + [60.0], True),
    ],
)
def test_only_where_answers_come_at_once_one_is_looked_for(times, expected):
    assert after((seconds, False) for seconds in times).pays is expected


def test_what_has_been_quicker_is_done_and_the_other_tried_now_and_then():
    quick, slow = SPIN_SECONDS * 0.4, SPIN_SECONDS * 0.6
    assert chosen(AdaptiveSpin(2), spun=quick, slept=slow) == CYCLE_ANSWERS - TRIED_ANSWERS
    assert chosen(AdaptiveSpin(2), spun=slow, slept=quick) == TRIED_ANSWERS


def test_where_that_changes_the_other_is_done():
    quick, slow = SPIN_SECONDS * 0.4, SPIN_SECONDS * 0.6
    answers = AdaptiveSpin(2)
    chosen(answers, spun=quick, slept=slow)
    assert chosen(answers, spun=MAX_NOTED_SECONDS, slept=quick) == TRIED_ANSWERS
    assert chosen(answers, spun=quick, slept=slow) == CYCLE_ANSWERS - TRIED_ANSWERS


def test_one_processor_has_better_things_to_do():
    assert not after([(SPIN_SECONDS / 2, False)] * MIN_SLEEPS_COUNT, processors=1).pays


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

    def __init__(self, *, pays):
        self.pays = pays
        self.noted = []

    def note(self, seconds, *, spun):
        assert seconds >= 0
        self.noted.append(spun)


@pytest.fixture
def watched(monkeypatch, scripted, client_of, item):
    """A service, a client that looks for its answers for ever, a channel, and what was asked of poll(2) since."""
    monkeypatch.setattr(read_turn, "TAKE_OVER_SECONDS", 3600.0)
    monkeypatch.setattr(read_turn, "SPIN_SECONDS", 3600.0)
    service = scripted(lambda item: None)
    client = client_of(service)
    channel = client.channel()
    client.submit([item(channel=channel)])
    its = client._reader.turn
    its._spin = Decided(pays=True)

    def rests():
        service.put(channel.__orcha_channel__, "x")
        assert channel.get() == "x"
        return its._holder == read_turn._NOBODY

    wait_for(rests, what="the client's thread to rest")
    poll = its._poll = Watched(its._poll)
    return service, client, channel, poll


def test_an_answer_is_looked_for(watched, item):
    _, client, channel, poll = watched
    client.submit([item(channel=channel)])
    assert set(poll.asked) == {0}
    assert client._reader.turn._spin.noted[-1] is True


def hears(service, client, channel):
    """Wait for a value on another thread; it comes when that one reads."""
    got = []
    thread = threading.Thread(target=lambda: got.append(channel.get()))
    thread.start()
    wait_for(lambda: client._reader.turn._holder == thread.ident, what="its turn")
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
    client._reader.turn._spin = Decided(pays=False)
    client.submit([item(channel=channel)])
    assert set(poll.asked) == {None}
