"""Followers that are behind catch up as fast as their clients take what they are sent, and no faster."""

from __future__ import annotations

from orcha._service.channels.catch_up import MAX_AHEAD_BYTES, MAX_DELAY_SECONDS, MIN_DELAY_SECONDS, CatchUpPace


class Someone:
    """A client, a channel and a follower in one: what the pace looks at."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.peer = self
        self.backlog = 0
        self.followers = {number: self}


class Followers:
    """What is due later, and who was caught up."""

    def __init__(self) -> None:
        self.due = []
        self.caught_up = []
        self.pace = CatchUpPace(lambda seconds, call: self.due.append((seconds, call)), self.catch_up)

    def catch_up(self, channel, follower):
        if self.pace.may_go_on(follower.peer):
            self.caught_up.append(follower)
        else:
            self.pace.put_off(channel, follower)

    def pass_time(self):
        ((seconds, call),) = self.due
        self.due.clear()
        call()
        return seconds


def test_who_has_been_sent_enough_waits_until_it_has_taken_some():
    followers, one, two = Followers(), Someone(1), Someone(2)
    followers.pace.note(one, MAX_AHEAD_BYTES)
    assert not followers.pace.may_go_on(one)
    assert followers.pace.may_go_on(two)
    followers.catch_up(one, one)
    followers.pace.batch_is_sent()
    one.backlog = MAX_AHEAD_BYTES  # it lies in the connection now
    followers.pass_time()
    assert followers.caught_up == []
    one.backlog = MAX_AHEAD_BYTES - 1
    followers.pass_time()
    assert followers.caught_up == [one]
    assert followers.due == []


def test_one_who_takes_nothing_is_looked_at_less_and_less_often():
    followers, one = Followers(), Someone(1)
    one.backlog = MAX_AHEAD_BYTES
    followers.catch_up(one, one)
    waits = [followers.pass_time() for _ in range(10)]
    assert waits[0] == MIN_DELAY_SECONDS
    assert waits == sorted(waits)
    assert waits[-1] == MAX_DELAY_SECONDS


def test_who_has_gone_or_follows_anew_is_not_caught_up():
    followers, one, two = Followers(), Someone(1), Someone(2)
    for each in (one, two):
        each.backlog = MAX_AHEAD_BYTES
        followers.catch_up(each, each)
        each.backlog = 0
    followers.pace.forget(one)
    two.followers = {2: object()}  # it has asked again, from elsewhere
    followers.pass_time()
    assert followers.caught_up == []
