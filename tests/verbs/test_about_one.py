"""Verbs about one petition: what they do, and for whom."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from orcha._core.permissions import Visibility
from orcha._protocol.messages import (
    Cancel,
    Follow,
    Kind,
    List,
    Pause,
    Priority,
    Remove,
    Resize,
    Resume,
    Retry,
    Show,
    Signal,
    Stats,
    Stdin,
    Stop,
    Verdict,
)
from support.asking import asking
from support.waiting import wait_for

ABOUT_ONE = {
    "show": lambda seq: (Show, None, seq),
    "priority": lambda seq: (Priority, None, seq, 5),
    "signal": lambda seq: (Signal, None, seq, 10),
    "pause": lambda seq: (Pause, None, seq),
    "resume": lambda seq: (Resume, None, seq),
    "remove": lambda seq: (Remove, None, seq),
    "retry": lambda seq: (Retry, os.urandom(16), None, seq),
    "stdin": lambda seq: (Stdin, seq, 1, 0, b"x"),
    "resize": lambda seq: (Resize, seq, 1, 24, 80),
    "cancel": lambda seq: (Cancel, None, "mine"),
}
FOR_OWNERS = {
    "stats": (Stats,),
    "stop": (Stop,),
    "pause everything": (Pause,),
    "resume everything": (Resume,),
    "pause a group": (Pause, None, None, "rig"),
    "resume a group": (Resume, None, None, "rig"),
}


@pytest.fixture
def asked():
    with asking(slots={"rig": None}) as asked:
        yield asked


@pytest.mark.parametrize("who", ["stranger", "attempt"])
@pytest.mark.parametrize("verb", ABOUT_ONE)
def test_nobody_but_its_user_and_owners_may(asked, verb, who):
    asked.submit(asked.user, "mine", waits=True)
    kind, *arguments = ABOUT_ONE[verb](asked.rows()["mine"]["seq"])
    before = asked.rows()["mine"]
    reply = asked.ask(getattr(asked, who), kind, *arguments)
    if (verb, who) == ("show", "stranger"):
        assert asked.value(reply)["sight"] == "metadata"
        return
    assert reply.verdict == Verdict.DENIED
    assert reply.reason
    assert asked.rows()["mine"] | {"asked_ago": before["asked_ago"]} == before


@pytest.mark.parametrize("who", ["owner", "user"])
@pytest.mark.parametrize("verb", ABOUT_ONE)
def test_its_user_and_owners_may(asked, verb, who):
    asked.submit(asked.user, "mine", waits=True)
    kind, *arguments = ABOUT_ONE[verb](asked.rows()["mine"]["seq"])
    assert asked.ask(getattr(asked, who), kind, *arguments).verdict in {Verdict.OK, Verdict.REFUSED, Verdict.GONE}


@pytest.mark.parametrize("who", ["user", "stranger", "attempt"])
@pytest.mark.parametrize("verb", FOR_OWNERS)
def test_what_concerns_all_is_for_owners(asked, verb, who):
    kind, *arguments = FOR_OWNERS[verb]
    assert asked.ask(getattr(asked, who), kind, *arguments).verdict == Verdict.DENIED
    assert (asked.engine.paused, asked.engine.admission.paused, asked.engine.draining) == (False, set(), None)
    assert asked.ask(asked.owner, kind, *arguments).verdict == Verdict.OK


@pytest.mark.parametrize("kind", [Show, Pause, Resume, Remove])
def test_a_petition_that_is_not_there_is_unknown(asked, kind):
    assert asked.ask(asked.owner, kind, "nobody").verdict == Verdict.UNKNOWN
    assert asked.ask(asked.owner, kind, None, 4711).verdict == Verdict.UNKNOWN


# --- show ------------------------------------------------------------------------------------------------------------


def test_show_tells_where_it_is_and_how_to_follow_it(asked):
    asked.submit(asked.user, "first", waits=True)
    result = asked.submit(asked.user, "second", waits=True, group="rig")
    shown = asked.value(asked.ask(asked.user, Show, "second"))
    assert shown | {"id": "second", "state": "queued", "place": 1, "attempts": [], "command": None} == shown
    assert shown | {"group": "rig", "paused": False, "why": "its condition says no", "owner": "uid:7"} == shown
    assert shown["channel"] == result.channel
    asked.engine.receive(asked.user, Follow(shown["channel"], 0, 1 << 20))
    asked.allow("second")
    asked.wait_for("second", "succeeded")
    shown = asked.value(asked.ask(asked.user, Show, "second"))
    assert (shown["place"], shown["outcome"]) == (None, "succeeded")
    (attempt,) = shown["attempts"]
    assert (attempt["attempt"], attempt["outcome"]) == (1, "succeeded")
    assert attempt["ended"] >= attempt["started"] >= shown["submitted"]


def test_of_an_id_the_live_one_is_shown_else_the_newest(asked):
    for _ in range(2):
        asked.submit(asked.user, "a")
        asked.wait_for("a", "succeeded")
    assert asked.value(asked.ask(asked.user, Show, "a"))["seq"] == 2
    asked.submit(asked.user, "a", waits=True)
    assert asked.value(asked.ask(asked.user, Show, "a"))["seq"] == 3
    assert asked.value(asked.ask(asked.user, Show, "a", 1))["seq"] == 1


# --- priority --------------------------------------------------------------------------------------------------------


def test_another_priority_is_another_place_also_after_a_restart(tmp_path):
    with asking(tmp_path) as asked:
        for identity in "abc":
            asked.submit(asked.user, identity, waits=True)
        assert asked.ask(asked.user, Priority, "c", None, -1.5).verdict == Verdict.OK
        assert asked.rows()["c"]["priority"] == -1.5
        assert asked.value(asked.ask(asked.user, Show, "c"))["place"] == 0
    with asking(tmp_path) as asked:
        asked.manager.let_go.clear()
        asked.allow("a", "b", "c")
        for identity in "abc":
            asked.wait_for(identity, "running")
        asked.manager.let_go.set()
        for identity in "abc":
            asked.wait_for(identity, "succeeded")
        assert min(asked.rows(), key=lambda identity: asked.rows()[identity]["priority"]) == "c"


def test_only_what_waits_has_a_priority_to_change(asked):
    asked.submit(asked.user, "a")
    asked.wait_for("a", "succeeded")
    reply = asked.ask(asked.user, Priority, "a", None, 3)
    assert (reply.verdict, "succeeded" in reply.reason or "ended" in reply.reason) == (Verdict.REFUSED, True)
    asked.submit(asked.user, "b", waits=True)
    assert asked.ask(asked.user, Priority, "b", None, float("nan")).verdict == Verdict.REFUSED
    assert asked.rows()["b"]["priority"] == 0


# --- cancel ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [True, False], ids=["while it waits", "while it runs"])
def test_who_cancelled_and_why_is_kept_and_no_line_of_its_output(tmp_path, waits):
    with asking(tmp_path) as asked:
        asked.manager.let_go.clear()
        asked.submit(asked.user, "a", waits=waits)
        asked.wait_for("a", "queued" if waits else "running")
        number = asked.send(asked.owner, Cancel, None, "a", "because I can")
        asked.manager.let_go.set()
        assert asked.answer(asked.owner, number).verdict == Verdict.OK
    with asking(tmp_path) as asked:
        row = asked.rows()["a"]
        assert (row["outcome"], row["code"], row["reason"]) == ("cancelled", 130, "cancelled by uid:0: because I can")
        shown = asked.value(asked.ask(asked.user, Show, "a"))
        assert shown["reason"] == row["reason"]
        asked.engine.receive(asked.user, Follow(shown["channel"], 0, 1 << 20))

        def kinds():
            return [record.kind for record in asked.records(asked.user, shown["channel"])]

        wait_for(lambda: Kind.CLOSED in kinds(), what="all of its output")
        assert kinds()[-2:] == [Kind.FINAL, Kind.CLOSED]
        assert Kind.NOTICE not in kinds()


def test_who_cancelled_is_kept_where_no_reason_was_given(asked):
    asked.submit(asked.user, "a", waits=True)
    asked.ask(asked.user, Cancel, None, "a")
    assert asked.rows()["a"]["reason"] == "cancelled by uid:7"


# --- remove and retry ------------------------------------------------------------------------------------------------


def test_what_is_removed_is_forgotten_with_its_output(asked):
    result = asked.submit(asked.user, "a")
    asked.wait_for("a", "succeeded")
    asked.submit(asked.user, "b", waits=True)
    assert asked.ask(asked.user, Remove, "b").verdict == Verdict.REFUSED
    assert asked.ask(asked.user, Remove, "a").verdict == Verdict.OK
    assert list(asked.rows()) == ["b"]
    assert asked.store.channel(result.channel) is None
    assert asked.ask(asked.user, Remove, "a").verdict == Verdict.UNKNOWN


def test_a_retry_is_a_new_petition_of_the_same_user_with_a_channel_of_its_own(asked):
    first = asked.submit(asked.user, "a", code=3)
    asked.wait_for("a", "failed")
    token = os.urandom(16)
    known = asked.value(asked.ask(asked.owner, Retry, token, "a"))
    assert (known["id"], known["retried"], known["channel"] != first.channel) == ("a", 1, True)
    asked.wait_for("a", "failed")
    shown = asked.value(asked.ask(asked.user, Show, None, known["seq"]))
    assert (shown["owner"], shown["code"], shown["channel"]) == ("uid:7", 3, known["channel"])
    again = asked.value(asked.ask(asked.owner, Retry, token, "a"))
    assert again["seq"] == known["seq"]
    assert asked.engine.store.channel(known["channel"]).next == 3  # a line, the final value, the end of the channel


def test_what_has_not_ended_is_not_tried_again(asked):
    asked.submit(asked.user, "a", waits=True)
    assert asked.ask(asked.user, Retry, os.urandom(16), "a").verdict == Verdict.REFUSED


# --- stats -----------------------------------------------------------------------------------------------------------


def test_stats_count_states_outcomes_and_times(asked):
    for number in range(3):
        asked.submit(asked.user, f"good {number}")
    asked.submit(asked.user, "bad", code=1)
    asked.submit(asked.user, "waits", waits=True, group="rig")
    for identity, state in (
        ("good 0", "succeeded"),
        ("good 1", "succeeded"),
        ("good 2", "succeeded"),
        ("bad", "failed"),
    ):
        asked.wait_for(identity, state)
    known = asked.value(asked.ask(asked.owner, Stats))
    assert known["states"] == {"queued": 1, "held": 0, "starting": 0, "running": 0, "cancelling": 0, "ended": 4}
    assert known["outcomes"] | {"succeeded": 3, "failed": 1, "cancelled": 0} == known["outcomes"]
    assert (known["accepted"], known["started_count"], known["ended_count"]) == (5, 4, 4)
    assert known["rates"]["ended"] > 0
    assert 0 <= known["waited"]["p50"] <= known["waited"]["max"]
    assert known["managers"] == {"m:M": 0}
    assert known["pid"] == os.getpid()
    assert known["uptime"] >= 0


def test_an_ended_petition_of_ones_own_is_found_where_a_hidden_one_has_the_same_id(asked):
    asked.engine.settings = replace(asked.engine.settings, visibility=Visibility.PRIVATE)
    asked.submit(asked.user, "build")
    asked.wait_for("build", "succeeded")
    asked.submit(asked.stranger, "build", waits=True)
    assert asked.value(asked.ask(asked.user, Show, "build", None))["outcome"] == "succeeded"
    assert asked.value(asked.ask(asked.stranger, Show, "build", None))["state"] == "queued"
    assert asked.value(asked.ask(asked.owner, Show, "build", None))["state"] == "queued"


def test_a_page_of_what_is_ones_own_is_full(asked):
    asked.engine.settings = replace(asked.engine.settings, visibility=Visibility.PRIVATE)
    for number in range(6):
        asked.submit(asked.user if number % 3 == 0 else asked.stranger, f"m{number}", waits=True)
    page = asked.ask(asked.user, List, 0b1111110, 2).rows
    assert [row["id"] for row in page] == ["m3", "m0"]
    assert [row["id"] for row in asked.ask(asked.user, List, 0b1111110, 1, before=page[0]["seq"]).rows] == ["m0"]
    assert len(asked.ask(asked.owner, List, 0b1111110, 9).rows) == 6
