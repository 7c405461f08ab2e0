"""A verb for all petitions that meet a selector: for which users, in which states, and in one transaction."""

from __future__ import annotations

import doctest
import importlib
import os
import threading

import pytest

from orcha._protocol import values
from orcha._protocol.messages import Cancel, Ping, Select, Verdict
from support.asking import asking


@pytest.fixture
def asked():
    with asking(slots={"rig": None}) as asked:
        yield asked


def select(asked, verb, person=None, **given):
    if "arguments" in given:
        given["arguments"] = values.encode(given["arguments"])
    return asked.ask(person or asked.owner, Select, verb, **given)


def met(asked, verb, person=None, **given):
    known = asked.value(select(asked, verb, person, **given))
    assert known["refused"] == []
    return sorted(known["met"])


def three(asked):
    asked.submit(asked.user, "a-1", waits=True, group="rig")
    asked.submit(asked.user, "a-2", waits=True)
    asked.submit(asked.stranger, "b-1", waits=True, group="rig")


def test_it_is_done_to_each_petition_that_is_met_and_to_no_other_in_one_transaction(asked):
    three(asked)
    commits = []
    commit = asked.store.commit
    asked.store.commit = lambda changes, **how: (commits.append(len(changes.priorities)), commit(changes, **how))[1]
    assert met(asked, "priority", group="rig", arguments={"priority": 5}) == ["a-1", "b-1"]
    assert [number for number in commits if number] == [2]
    assert {name: row["priority"] for name, row in asked.rows().items()} == {"a-1": 5, "a-2": 0, "b-1": 5}


def test_without_a_verb_or_in_a_dry_run_it_is_only_told_which_there_are(asked):
    three(asked)
    assert met(asked, None, ids=["*-1"]) == ["a-1", "b-1"]
    assert met(asked, "cancel", ids=["a-*"], dry_run=True) == ["a-1", "a-2"]
    assert {row["state"] for row in asked.rows().values()} == {"queued"}


def test_nobody_meets_petitions_of_others_but_owners(asked):
    three(asked)
    assert met(asked, "cancel", asked.user, ids=["*"]) == ["a-1", "a-2"]
    assert asked.state("b-1") == "queued"
    assert met(asked, "pause", asked.stranger, owner="uid:7", states=["queued"]) == []
    assert met(asked, "pause", asked.owner, owner="uid:8") == ["b-1"]
    assert asked.rows()["b-1"]["paused"] is True
    assert met(asked, "resume", asked.stranger, ids=["b-?"]) == ["b-1"]
    assert asked.rows()["b-1"]["paused"] is False
    assert select(asked, "cancel", asked.attempt, ids=["*"]).verdict == Verdict.DENIED


def test_a_cancel_is_answered_when_nothing_of_them_runs_any_more(asked):
    asked.submit(asked.user, "runs", holds=True)
    asked.submit(asked.user, "waits", waits=True)
    asked.wait_for("runs", "running")
    number = asked.send(asked.owner, Select, "cancel", ["*"], arguments=values.encode({"why": "late"}))
    asked.wait_for("waits", "cancelled")
    assert not [said for said in asked.owner.heard if getattr(said, "request", None) == number]
    asked.manager.free("runs")
    known = asked.value(asked.answer(asked.owner, number))
    assert (sorted(known["met"]), known["refused"], known["last"]) == (["runs", "waits"], [], None)
    assert asked.rows()["waits"]["reason"] == "cancelled by uid:0: late"


def test_what_has_ended_is_tried_again_the_newest_of_each_id(asked):
    asked.submit(asked.user, "good")
    asked.submit(asked.user, "bad", code=3)
    for name, outcome in (("good", "succeeded"), ("bad", "failed")):
        asked.wait_for(name, outcome)
    for runs in (2, 3):
        assert met(asked, "retry", states=["failed"]) == ["bad"]
        asked.wait_for("bad", "failed")
        assert asked.manager.order.count("bad") == runs
    assert asked.manager.order.count("good") == 1


def test_what_has_ended_is_forgotten(asked):
    asked.submit(asked.user, "good")
    asked.submit(asked.user, "waits", waits=True)
    asked.wait_for("good", "succeeded")
    assert met(asked, "rm", ids=["*"]) == ["good"]
    assert list(asked.rows()) == ["waits"]


def test_what_cannot_be_done_to_a_petition_is_told_and_the_others_are_done(asked):
    asked.submit(asked.user, "runs", holds=True)
    asked.submit(asked.user, "waits", waits=True)
    asked.wait_for("runs", "running")
    known = asked.value(select(asked, "pause", ids=["*"]))
    assert sorted(known["met"]) == ["runs", "waits"]
    assert [identity for identity, _ in known["refused"]] == ["runs"]
    assert "runs in the service's own process" in known["refused"][0][1]
    assert asked.rows()["waits"]["paused"] is True
    asked.manager.free("runs")


def test_of_very_many_a_part_is_done_and_the_answer_says_where_to_go_on(asked, monkeypatch):
    module = importlib.import_module("orcha._service.verbs.select")  # the package has the function of this name
    monkeypatch.setattr(module, "MAX_SELECTED_PETITIONS", 2)
    for number in range(5):
        asked.submit(asked.user, f"p{number}", waits=True)
    before, parts = None, []
    while True:
        known = asked.value(select(asked, "cancel", ids=["p*"], before=before))
        parts.append(known["met"])
        before = known["last"]
        if before is None:
            break
    assert parts == [["p4", "p3"], ["p2", "p1"], ["p0"]]


@pytest.mark.parametrize(
    ("verb", "given", "said"),
    [
        ("explode", {"ids": ["*"]}, "'explode' is no verb for several petitions"),
        ("cancel", {}, "a selector that names nothing means every petition"),
        ("priority", {"ids": ["*"]}, "the arguments of priority cannot be used"),
        ("priority", {"ids": ["*"], "arguments": {"priority": float("nan")}}, "the arguments of priority"),
        ("signal", {"ids": ["*"], "arguments": {"signal": "x"}}, "the arguments of signal cannot be used"),
        ("cancel", {"ids": ["*"], "arguments": 0}, "the arguments of cancel cannot be used: they are no table"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked, verb, given, said):
    refused = select(asked, verb, **given)
    assert (refused.verdict, said in refused.reason) == (Verdict.REFUSED, True), refused.reason


def test_others_are_answered_while_much_is_looked_through(asked):
    three(asked)
    looks, goes_on = threading.Event(), threading.Event()
    page = asked.store.page

    def slow(**which):
        if which.get("apart"):
            looks.set()
            assert goes_on.wait(30)
        return page(**which)

    asked.store.page = slow
    first = asked.send(asked.owner, Select, "priority", ["a-*"], arguments=values.encode({"priority": 4}))
    second = asked.send(asked.owner, Select, None, ["b-*"])
    assert looks.wait(30)
    assert asked.ask(asked.user, Ping).verdict == Verdict.OK
    asked.submit(asked.user, "a-3", waits=True)
    assert asked.ask(asked.user, Cancel, None, "a-1").verdict == Verdict.OK
    goes_on.set()
    assert asked.value(asked.answer(asked.owner, first))["met"] == ["a-3", "a-2"], "what it is by then is what counts"
    assert asked.value(asked.answer(asked.owner, second))["met"] == ["b-1"]


def test_what_goes_wrong_while_it_looks_is_told(asked):
    three(asked)

    def late(**which):
        raise TimeoutError("not done after 5 s")

    asked.store.page = late
    refused = select(asked, "cancel", ids=["*"])
    assert (refused.verdict, "not done after 5 s" in refused.reason) == (Verdict.RAISED, True)


def test_the_examples_of_patterns_hold():
    assert doctest.testmod(importlib.import_module("orcha._service.verbs.selected_rows")).failed == 0


def test_a_petition_that_is_only_kept_is_met_too(tmp_path):
    with asking(tmp_path) as asked:
        for number in range(3):
            asked.submit(asked.user, f"p{number}", waits=True, token=os.urandom(16))
    with asking(tmp_path) as asked:
        assert met(asked, "priority", ids=["p[12]"], arguments={"priority": -1}) == ["p1", "p2"]
        assert met(asked, "cancel", ids=["p*"]) == ["p0", "p1", "p2"]
        assert {row["outcome"] for row in asked.rows().values()} == {"cancelled"}
