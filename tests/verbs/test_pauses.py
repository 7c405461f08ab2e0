"""Groups: slots, pauses, and that what is held back hides nobody."""

from __future__ import annotations

import os

import pytest

from orcha._core.asking_round import MAX_REFUSALS_PER_ROUND
from orcha._protocol.messages import Cancel, Pause, Priority, Resume, Show, Stats, Verdict
from support.asking import asking
from support.waiting import wait_for

GROUPS = {"rig": None, "other": None}


@pytest.fixture
def asked():
    with asking(slots=GROUPS) as asked:
        yield asked


def test_of_a_paused_group_nothing_starts_until_it_goes_on(asked):
    assert asked.ask(asked.owner, Pause, None, None, "rig").verdict == Verdict.OK
    asked.submit(asked.user, "in it", group="rig")
    asked.submit(asked.user, "beside it", group="other")
    asked.wait_for("beside it", "succeeded")
    row = asked.rows()["in it"]
    assert (row["state"], row["why"], row["paused"]) == ("queued", "its group rig is paused", True)
    assert asked.ask(asked.owner, Resume, None, None, "rig").verdict == Verdict.OK
    asked.wait_for("in it", "succeeded")


def test_a_paused_group_hides_nobody(asked):
    asked.ask(asked.owner, Pause, None, None, "rig")
    for number in range(3 * MAX_REFUSALS_PER_ROUND):
        asked.submit(asked.user, f"held {number}", group="rig", waits=True)
    asked.submit(asked.user, "behind", waits=True)
    asked.allow("behind")
    asked.wait_for("behind", "succeeded")
    assert asked.engine.petitions.waiting.parked == 3 * MAX_REFUSALS_PER_ROUND
    known = asked.value(asked.ask(asked.owner, Stats))
    group = {"group": "rig", "slots": None, "running": 0, "waiting": 96, "paused": True}
    assert known["groups"][1] == known["groups"][1] | group
    assert known["states"]["queued"] == 96
    asked.ask(asked.owner, Resume, None, None, "rig")
    asked.allow(*(f"held {number}" for number in range(3 * MAX_REFUSALS_PER_ROUND)))
    for number in range(3 * MAX_REFUSALS_PER_ROUND):
        asked.wait_for(f"held {number}", "succeeded")


def test_pauses_outlive_a_restart(tmp_path):
    with asking(tmp_path, slots=GROUPS) as asked:
        asked.submit(asked.user, "one", waits=True)
        asked.submit(asked.user, "in a group", waits=True, group="rig")
        asked.submit(asked.user, "free", waits=True)
        assert asked.ask(asked.user, Pause, "one").verdict == Verdict.OK
        assert asked.ask(asked.owner, Pause, None, None, "rig").verdict == Verdict.OK
    with asking(tmp_path) as asked:
        asked.allow("one", "in a group", "free")
        asked.wait_for("free", "succeeded")
        rows = asked.rows()
        assert [rows[identity]["state"] for identity in ("one", "in a group")] == ["queued", "queued"]
        assert [rows[identity]["paused"] for identity in ("one", "in a group")] == [True, True]
        assert list(asked.rows(group="rig")) == ["in a group"]
        assert asked.ask(asked.user, Resume, "one").verdict == Verdict.OK
        asked.wait_for("one", "succeeded")
        assert asked.ask(asked.owner, Resume, None, None, "rig").verdict == Verdict.OK
        asked.wait_for("in a group", "succeeded")


def test_everything_can_be_paused_also_across_a_restart(tmp_path):
    with asking(tmp_path) as asked:
        assert asked.ask(asked.owner, Pause).verdict == Verdict.OK
        asked.submit(asked.user, "a")
        assert (asked.state("a"), asked.rows()["a"]["why"]) == ("queued", "everything is paused")
    with asking(tmp_path) as asked:
        asked.submit(asked.user, "b")
        assert (asked.state("a"), asked.state("b")) == ("queued", "queued")
        assert asked.value(asked.ask(asked.owner, Stats))["paused"]
        assert asked.ask(asked.owner, Resume).verdict == Verdict.OK
        asked.wait_for("a", "succeeded")
        asked.wait_for("b", "succeeded")


def test_what_is_paused_can_be_cancelled_and_get_another_priority(asked):
    asked.ask(asked.owner, Pause, None, None, "rig")
    asked.submit(asked.user, "a", group="rig")
    asked.submit(asked.user, "b", group="rig")
    assert asked.ask(asked.user, Priority, "b", None, -1).verdict == Verdict.OK
    assert asked.ask(asked.user, Cancel, None, "a").verdict == Verdict.OK
    assert (asked.state("a"), asked.state("b")) == ("cancelled", "queued")
    asked.ask(asked.owner, Resume, None, None, "rig")
    asked.wait_for("b", "succeeded")


@pytest.mark.parametrize("group", ["rig", None], ids=["a group", "everything"])
def test_what_runs_goes_on_in_the_pause_of_more_than_itself_and_is_shown_so(asked, group):
    asked.manager.let_go.clear()
    asked.submit(asked.user, "runs", group="rig")
    asked.wait_for("runs", "running")
    asked.submit(asked.user, "waits", group="rig", waits=True)
    assert asked.ask(asked.owner, Pause, None, None, group).verdict == Verdict.OK
    assert {identity: row["paused"] for identity, row in asked.rows().items()} == {"runs": False, "waits": True}
    assert not asked.value(asked.ask(asked.user, Show, "runs"))["paused"]
    asked.manager.let_go.set()
    asked.wait_for("runs", "succeeded")


def test_a_python_action_that_runs_cannot_be_paused(asked):
    asked.manager.let_go.clear()
    asked.submit(asked.user, "a")
    asked.wait_for("a", "running")
    reply = asked.ask(asked.user, Pause, "a")
    assert (reply.verdict, "cannot be stopped" in reply.reason) == (Verdict.REFUSED, True)
    assert asked.engine.admission.paused == set()


def test_no_more_of_a_group_run_than_it_has_slots():
    with asking(slots=GROUPS | {"rig": 2}) as asked:
        asked.manager.let_go.clear()
        for number in range(5):
            asked.submit(asked.user, f"r{number}", group="rig")
        asked.submit(asked.user, "beside", group="other")
        for identity in ("r0", "r1", "beside"):
            asked.wait_for(identity, "running")
        shown = asked.value(asked.ask(asked.user, Show, "r2"))
        assert (shown["state"], shown["why"]) == ("queued", "2 of 2 slots of its group rig are in use")
        assert asked.engine.granted.in_group("rig") == 2
        asked.manager.let_go.set()
        for number in range(5):
            asked.wait_for(f"r{number}", "succeeded")


def test_what_waits_for_a_slot_of_a_group_that_is_paused_then_says_so():
    with asking(slots={"rig": 1}) as asked:
        asked.manager.let_go.clear()
        asked.submit(asked.user, "runs", group="rig")
        asked.submit(asked.user, "waits", group="rig")
        asked.wait_for("runs", "running")
        wait_for(lambda: asked.rows()["waits"]["why"] == "1 of 1 slots of its group rig is in use", what="it says why")
        asked.ask(asked.owner, Pause, None, None, "rig")
        asked.manager.let_go.set()
        asked.wait_for("runs", "succeeded")
        assert asked.rows()["waits"]["why"] == "its group rig is paused"
        asked.ask(asked.owner, Resume, None, None, "rig")
        asked.wait_for("waits", "succeeded")


def test_one_of_a_group_whose_own_condition_says_no_hides_no_other_of_it():
    with asking(slots={"rig": 1}) as asked:
        asked.manager.let_go.clear()
        asked.submit(asked.user, "runs", group="rig")
        asked.wait_for("runs", "running")
        for number in range(3):
            asked.submit(asked.user, f"blocked {number}", group="rig", waits=True)
        asked.submit(asked.user, "could", group="rig")
        asked.manager.let_go.set()
        asked.wait_for("could", "succeeded")
        assert asked.state("blocked 0") == "queued"


def test_a_row_is_forgotten_with_its_group_and_pause(tmp_path):
    from orcha._protocol.messages import Remove

    with asking(tmp_path, slots=GROUPS) as asked:
        asked.submit(asked.user, "a", group="rig", waits=True)
        asked.ask(asked.user, Pause, "a")
        asked.ask(asked.user, Cancel, None, "a")
        assert asked.ask(asked.user, Remove, "a").verdict == Verdict.OK
        assert (asked.rows(), os.listdir(tmp_path) != []) == ({}, True)  # noqa: PTH208
    with asking(tmp_path) as asked:
        assert asked.store.pauses() == set()
        assert asked.store.groups([1]) == {}
