"""Keys of which one petition waits or runs at a time."""

from __future__ import annotations

import os

import pytest

from orcha._protocol.messages import Cancel, Follow, Kind, Retry, Verdict
from support.asking import asking
from support.waiting import wait_for


@pytest.fixture
def asked():
    with asking() as asked:
        yield asked


def finals(person, channel):
    records = [record for said in person.heard for record in getattr(said, "records", ()) if said.channel == channel]
    return [record for record in records if record.kind == Kind.FINAL]


def test_a_second_one_of_a_key_is_refused_until_the_first_has_ended(asked):
    asked.submit(asked.user, "a", once="k", waits=True)
    refused = asked.submit(asked.user, "b", once="k")
    assert refused.verdict == Verdict.REFUSED
    assert "'a' has the same key, 'k', and is queued" in refused.reason
    assert asked.submit(asked.user, "c", once="other").verdict == Verdict.ACCEPTED
    assert asked.submit(asked.stranger, "d", once="k").verdict == Verdict.ACCEPTED
    asked.allow("a")
    asked.wait_for("a", "succeeded")
    assert asked.submit(asked.user, "b", once="k").verdict == Verdict.ACCEPTED
    asked.wait_for("b", "succeeded")


def test_of_two_that_come_together_one_is_taken(asked):
    verdicts = [asked.submit(asked.user, identity, once="k", waits=True).verdict for identity in "ab"]
    assert verdicts == [Verdict.ACCEPTED, Verdict.REFUSED]


def test_who_attaches_follows_the_one_that_is_there(asked):
    first = asked.submit(asked.user, "a", once="k", waits=True)
    second = asked.submit(asked.user, "b", once="k", if_exists="attach")
    assert (second.verdict, second.channel) == (Verdict.KNOWN, first.channel)
    assert list(asked.rows()) == ["a"]
    asked.engine.receive(asked.user, Follow(first.channel, 0, 1 << 20))
    asked.allow("a")
    wait_for(lambda: finals(asked.user, first.channel), what="the final value")


def test_who_replaces_starts_when_the_other_has_gone(asked):
    asked.manager.let_go.clear()
    asked.submit(asked.user, "a", once="k")
    asked.wait_for("a", "running")
    assert asked.submit(asked.user, "b", once="k", if_exists="replace").verdict == Verdict.ACCEPTED
    asked.wait_for("a", "cancelling")
    row = asked.rows()["b"]
    assert (row["state"], asked.manager.order) == ("queued", ["a"])
    asked.manager.let_go.set()
    asked.wait_for("a", "cancelled")
    asked.wait_for("b", "succeeded")
    assert asked.manager.order == ["a", "b"]


def test_who_replaces_one_that_waits_starts_at_once(asked):
    asked.submit(asked.user, "a", once="k", waits=True)
    asked.submit(asked.user, "b", once="k", if_exists="replace")
    asked.wait_for("a", "cancelled")
    asked.wait_for("b", "succeeded")


def test_a_key_outlives_a_restart_and_goes_with_its_petition(tmp_path):
    with asking(tmp_path) as asked:
        asked.submit(asked.user, "a", once="k", waits=True)
    with asking(tmp_path) as asked:
        assert asked.submit(asked.user, "b", once="k").verdict == Verdict.REFUSED
        assert asked.ask(asked.user, Cancel, None, "a").verdict == Verdict.OK
        assert asked.submit(asked.user, "b", once="k", waits=True).verdict == Verdict.ACCEPTED
        assert [known[3] for known in asked.store.once()] == ["k"]


def test_a_resend_of_what_is_kept_is_the_same_petition_whatever_its_key(asked):
    token = os.urandom(16)
    asked.submit(asked.user, "a", token=token, once="k", waits=True)
    assert asked.submit(asked.user, "a", token=token, once="k", waits=True).verdict == Verdict.KNOWN


def test_a_retry_may_attach_to_another_one_of_its_key(asked):
    asked.submit(asked.user, "a", once="k", if_exists="attach")
    asked.wait_for("a", "succeeded")
    there = asked.submit(asked.user, "b", once="k", waits=True)
    known = asked.value(asked.ask(asked.user, Retry, os.urandom(16), "a"))
    assert (known["seq"], known["channel"]) == (None, there.channel)
