"""Petitions that wait for the ends of others."""

from __future__ import annotations

import os
import threading

import pytest

from orcha._protocol.messages import Cancel, Priority, Remove, Resume, Retry, Show, Submit, Verdict
from orcha._service.hooks import dependents as dependents_module
from support.asking import GateManager, asking, item
from support.waiting import wait_for


@pytest.fixture
def asked():
    with asking() as asked:
        yield asked


def why(asked, identity):
    return asked.rows()[identity]["why"]


def forget(asked, identity):
    wait_for(lambda: asked.ask(asked.owner, Remove, identity).verdict == Verdict.OK, what=f"{identity} is forgotten")


def known(asked, identity):
    return asked.value(asked.ask(asked.owner, Show, identity))


@pytest.mark.parametrize("code", [0, 3])
def test_it_starts_after_the_other_one_has_ended_however(asked, code):
    asked.submit(asked.user, "build", waits=True, code=code)
    asked.submit(asked.user, "report", after=["build"])
    assert (asked.state("report"), why(asked, "report")) == ("queued", "it waits for build to end")
    asked.allow("build")
    asked.wait_for("report", "succeeded")
    assert asked.manager.order == ["build", "report"]


def test_it_starts_before_others_of_lower_urgency_that_wait_for_the_same_slot():
    with asking(slots={"rig": 1}) as asked:
        asked.submit(asked.user, "build", group="rig", holds=True)
        asked.submit(asked.user, "idle", group="rig", priority=5)
        asked.submit(asked.user, "test", group="rig", after=["build"])
        asked.manager.let_go.set()
        wait_for(lambda: asked.manager.begun == ["build"], what="the build runs")
        busy, go_on = threading.Event(), threading.Event()
        asked.engine.post(lambda: busy.set() or go_on.wait(30))
        assert busy.wait(30)
        asked.manager.freed.add("build")  # its end, and that nothing of it lives, come in one batch
        wait_for(lambda: len(asked.engine.mailbox.events) > 1, what="both are posted")
        go_on.set()
        asked.wait_for("idle", "succeeded")
        assert asked.manager.order == ["build", "test", "idle"]


def test_it_starts_after_all_of_them(asked):
    for name in "ab":
        asked.submit(asked.user, name, waits=True)
    asked.submit(asked.user, "last", after=["a"], after_ok=["b"])
    asked.allow("a")
    asked.wait_for("a", "succeeded")
    assert why(asked, "last") == "it waits for b to succeed"
    asked.allow("b")
    asked.wait_for("last", "succeeded")


def test_a_failure_cancels_all_that_come_after_it_and_is_named(asked):
    asked.submit(asked.user, "build", waits=True, code=3)
    asked.submit(asked.user, "test", after_ok=["build"])
    asked.submit(asked.user, "deploy", after_ok=["test"])
    asked.submit(asked.user, "report", after=["deploy"])
    asked.allow("build")
    asked.wait_for("report", "succeeded")
    rows = asked.rows()
    assert (rows["test"]["outcome"], rows["deploy"]["outcome"]) == ("cancelled", "cancelled")
    assert rows["test"]["reason"] == "cancelled: it comes after 'build', which did not succeed"
    assert rows["deploy"]["reason"] == "cancelled: it comes after 'test', which did not succeed"


def test_a_failure_of_many_is_followed_up_in_parts(asked, monkeypatch):
    monkeypatch.setattr(dependents_module, "MAX_FAILED_DEPENDENTS_PER_BATCH", 3)
    asked.submit(asked.user, "build", waits=True, code=3)
    names = [f"test{number}" for number in range(20)]
    asked.submit_all(asked.user, [(name, {"after_ok": ["build"]}) for name in names])
    asked.allow("build")
    for name in names:
        asked.wait_for(name, "cancelled")


def test_where_it_is_to_be_held_people_decide(asked):
    asked.submit(asked.user, "build", waits=True, code=3)
    asked.submit(asked.user, "test", after_ok=["build"], if_dependency_fails="hold")
    asked.allow("build")
    asked.wait_for("build", "failed")
    assert asked.rows()["test"]["paused"]
    assert why(asked, "test").startswith("it comes after build, which did not succeed: resume it")
    assert asked.ask(asked.owner, Resume, "test").verdict == Verdict.OK
    asked.wait_for("test", "succeeded")


class SlowlyRead(GateManager):
    """Reads the message `test` when it is let."""

    def __init__(self):
        super().__init__()
        self.is_read, self.may_read = threading.Event(), threading.Event()

    def convert_to_petition(self, m):
        if m.id == "test":
            self.is_read.set()
            assert self.may_read.wait(30)
        return super().convert_to_petition(m)


@pytest.mark.parametrize("first", ["the end", "the new one"])
@pytest.mark.parametrize(("if_fails", "becomes"), [("cancel", "cancelled"), ("hold", "held")])
def test_a_failure_in_the_transaction_that_accepts_what_comes_after_it_counts(first, if_fails, becomes):
    manager = SlowlyRead()
    with asking(manager=manager) as asked:
        engine = asked.engine
        asked.submit(asked.user, "build", holds=True, code=3)
        wait_for(lambda: manager.begun, what="build runs")
        policy = {"after_ok": ["build"], "if_dependency_fails": if_fails}
        asked.send(asked.user, Submit, None, 0, [item("test", **policy)])
        assert manager.is_read.wait(30)
        stands, goes_on = threading.Event(), threading.Event()
        engine.post(lambda: engine.after_batch(lambda: (stands.set(), goes_on.wait(30))))
        assert stands.wait(30)

        before, visit = len(engine.mailbox), engine.visits.under_way
        end = (lambda: manager.free("build"), lambda: len(engine.mailbox) > before)
        reading = (manager.may_read.set, lambda: visit.over)
        for step, is_there in (end, reading) if first == "the end" else (reading, end):
            step()
            wait_for(is_there, what="the end, and what the hook thread has read")
        goes_on.set()
        asked.wait_for("build", "failed")
        wait_for(lambda: asked.state("test") is not None, what="it is accepted")
        wait_for(lambda: becomes in (asked.state("test"), asked.rows()["test"]["paused"] and "held"), what=becomes)


def test_where_it_is_to_run_a_failure_does_not_matter(asked):
    asked.submit(asked.user, "build", waits=True, code=3)
    asked.submit(asked.user, "test", after_ok=["build"], if_dependency_fails="run")
    asked.allow("build")
    asked.wait_for("test", "succeeded")


@pytest.mark.parametrize(("code", "outcome"), [(0, "succeeded"), (3, "cancelled")])
def test_a_petition_that_has_ended_already_counts(asked, code, outcome):
    asked.submit(asked.user, "build", code=code)
    asked.wait_for("build", "failed" if code else "succeeded")
    assert asked.submit(asked.user, "test", after_ok=["build"]).verdict == Verdict.ACCEPTED
    asked.wait_for("test", outcome)
    asked.submit(asked.user, "report", after=["build"])
    asked.wait_for("report", "succeeded")


def test_an_unknown_petition_itself_and_somebody_elses_are_refused(asked):
    asked.submit(asked.stranger, "theirs", waits=True)
    for name in ("nobody", "mine", "theirs"):
        refused = asked.submit(asked.user, "mine", after=[name])
        assert refused.verdict == Verdict.REFUSED
        assert f"there is no petition {name!r} to wait for" in refused.reason
    assert asked.submit(asked.owner, "owners", after=["theirs"]).verdict == Verdict.ACCEPTED
    assert list(asked.rows()) == ["owners", "theirs"]


def test_one_that_is_submitted_with_it_before_it_is_known(asked):
    results = asked.submit_all(asked.user, [("a", {"waits": True}), ("b", {"after": ["a"]}), ("c", {"after": ["d"]})])
    assert [result.verdict for result in results] == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.REFUSED]
    asked.allow("a")
    asked.wait_for("b", "succeeded")


def test_a_dependency_that_is_tried_again_has_not_ended(asked):
    asked.submit(asked.user, "build", code=3, retry={"times": 1, "delay": 3600})
    asked.wait_for("build", "queued")
    asked.submit(asked.user, "test", after_ok=["build"])
    assert (asked.state("test"), why(asked, "test")) == ("queued", "it waits for build to succeed")
    assert asked.ask(asked.owner, Cancel, None, "build").verdict == Verdict.OK
    asked.wait_for("test", "cancelled")


def test_one_of_those_that_wait_may_be_cancelled_and_another_priority_changes_nothing(asked):
    asked.submit(asked.user, "build", waits=True)
    for name in ("a", "b"):
        asked.submit(asked.user, name, after=["build"])
    assert asked.ask(asked.owner, Priority, "b", None, -5).verdict == Verdict.OK
    assert asked.ask(asked.owner, Cancel, None, "a").verdict == Verdict.OK
    assert (asked.state("a"), asked.state("b")) == ("cancelled", "queued")
    asked.allow("build")
    asked.wait_for("b", "succeeded")
    assert asked.manager.order == ["build", "b"]


def test_both_directions_are_shown(asked):
    asked.submit(asked.user, "build", waits=True)
    asked.submit(asked.user, "test", after_ok=["build"])
    asked.submit(asked.user, "report", after=["build", "test"])
    build, test = known(asked, "build"), known(asked, "test")
    assert (build["after"], build["dependents"]) == (None, ["test", "report"])
    expected = {"id": "build", "seq": build["seq"], "state": "queued", "must_succeed": True, "if_fails": "cancel"}
    assert (test["after"], test["dependents"]) == ([expected], ["report"])
    assert asked.rows()["report"]["after"] == f"{build['seq']} {test['seq']}"
    asked.allow("build")
    asked.wait_for("report", "succeeded")
    assert [other["state"] for other in known(asked, "report")["after"]] == ["succeeded", "succeeded"]


def test_a_petition_that_was_forgotten_is_known_by_its_end(asked):
    asked.submit(asked.user, "build", code=0)
    asked.wait_for("build", "succeeded")
    asked.submit(asked.user, "other", waits=True)
    asked.submit(asked.user, "test", after_ok=["build", "other"])
    forget(asked, "build")
    assert known(asked, "test")["after"][0]["state"] == "succeeded"
    asked.allow("other")
    asked.wait_for("test", "succeeded")


def test_tried_again_by_people_it_waits_for_the_new_one_of_that_id(asked):
    asked.submit(asked.user, "build", waits=True, code=3)
    asked.submit(asked.user, "test", after_ok=["build"])
    asked.allow("build")
    asked.wait_for("test", "cancelled")
    asked.manager.allowed.discard("build")
    assert asked.ask(asked.owner, Retry, os.urandom(16), "build").verdict == Verdict.OK
    assert asked.ask(asked.owner, Retry, os.urandom(16), "test").verdict == Verdict.OK
    assert why(asked, "test") == "it waits for build to succeed"


def test_a_restart_keeps_what_waits_and_follows_up_what_ended(tmp_path):
    with asking(tmp_path) as asked:
        asked.submit(asked.user, "build", waits=True, code=3)
        asked.submit(asked.user, "test", after_ok=["build"])
        asked.submit(asked.user, "held", after_ok=["build"], if_dependency_fails="hold")
        asked.submit(asked.user, "report", after=["build"])
    with asking(tmp_path) as asked:
        assert [asked.state(name) for name in ("test", "held", "report")] == ["queued"] * 3
        assert why(asked, "test") == "it waits for build to succeed"
        asked.allow("build")
        asked.wait_for("report", "succeeded")
        asked.wait_for("test", "cancelled")
        assert asked.rows()["held"]["paused"]
    with asking(tmp_path) as asked:
        assert why(asked, "held").startswith("it comes after build, which did not succeed")
        assert asked.ask(asked.owner, Resume, "held").verdict == Verdict.OK
        asked.wait_for("held", "succeeded")


def test_an_end_by_the_death_of_the_service_is_followed_up_at_the_next_start(tmp_path):
    manager = GateManager()
    with asking(tmp_path, manager) as asked:
        manager.let_go.clear()
        asked.submit(asked.user, "build")
        wait_for(lambda: manager.begun == ["build"], what="its action runs")
        for name, policy in (("test", "cancel"), ("held", "hold"), ("all the same", "run")):
            asked.submit(asked.user, name, after_ok=["build"], if_dependency_fails=policy)
        asked.engine.post(asked.engine.halt)
        assert asked.engine.stopped.wait(30)  # as if it died: nobody hears of the action's return
    with asking(tmp_path) as asked:
        asked.wait_for("build", "interrupted")
        asked.wait_for("test", "cancelled")
        asked.wait_for("all the same", "succeeded")
        assert asked.rows()["held"]["paused"]


def test_an_end_that_nobody_followed_up_is_found_at_the_next_start(tmp_path, monkeypatch):
    followed = dependents_module.Dependents.ended
    monkeypatch.setattr(dependents_module.Dependents, "ended", lambda *_: None)  # as if the service died before it
    with asking(tmp_path) as asked:
        asked.submit(asked.user, "build", waits=True, code=3)
        for name, policy in (("test", "cancel"), ("held", "hold"), ("all the same", "run")):
            asked.submit(asked.user, name, after_ok=["build"], if_dependency_fails=policy)
        asked.allow("build")
        asked.wait_for("build", "failed")
        forget(asked, "build")
        assert asked.state("test") == "queued"
    monkeypatch.setattr(dependents_module.Dependents, "ended", followed)
    with asking(tmp_path) as asked:
        asked.wait_for("test", "cancelled")
        asked.wait_for("all the same", "succeeded")
        assert asked.rows()["held"]["paused"]
