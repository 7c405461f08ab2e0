"""Where a petition is, as people are told: its place among those that wait for the same, and one word for a state."""

from __future__ import annotations

import json

import pytest

from orcha._cli.waiting_line import waiting
from orcha._core.state import State
from orcha._protocol.messages import Cancel, List, Pause, Priority, Resume, Show, Stats
from support.asking import asking
from support.waiting import wait_for

SCARCE = {"slots": {"rig": 1}, "resources": {"gpu": 1, "ram": 8}}


@pytest.fixture
def asked():
    with asking(**SCARCE) as asked:
        asked.manager.let_go.clear()
        yield asked


def shown(asked, identity):
    return asked.value(asked.ask(asked.user, Show, identity))


def place(asked, identity):
    return shown(asked, identity)["place"]


def settled(asked, count):
    petitions = asked.engine.petitions
    wait_for(lambda: petitions.waiting.parked == count and not petitions.waiting, what=f"{count} are held back")


@pytest.mark.parametrize("wants", [{"group": "rig"}, {"needs": {"gpu": 1}}, {"group": "rig", "needs": {"gpu": 1}}])
def test_each_is_told_how_many_come_before_it(asked, wants):
    asked.submit(asked.user, "runs", **wants)
    asked.wait_for("runs", "running")
    for name in "abcd":
        asked.submit(asked.user, name, **wants)
    settled(asked, 4)
    assert [place(asked, name) for name in "abcd"] == [0, 1, 2, 3]
    assert [waiting(shown(asked, name)).split(";")[0] for name in "abd"] == ["next", "1 before it", "3 before it"]
    asked.ask(asked.user, Priority, "d", None, -1)
    settled(asked, 4)
    assert [place(asked, name) for name in "dabc"] == [0, 1, 2, 3]
    asked.ask(asked.user, Cancel, None, "a")
    settled(asked, 3)
    assert [place(asked, name) for name in "dbc"] == [0, 1, 2]


def test_those_that_wait_for_something_else_are_not_counted(asked):
    for wants in ({"group": "rig"}, {"needs": {"gpu": 1}}):
        asked.submit(asked.user, f"runs {sorted(wants)}", **wants)
        asked.wait_for(f"runs {sorted(wants)}", "running")
        for number in range(3):
            asked.submit(asked.user, f"{number} {sorted(wants)}", **wants)
    settled(asked, 6)
    assert [place(asked, f"{number} ['needs']") for number in range(3)] == [0, 1, 2]
    asked.submit(asked.user, "its own", waits=True)
    wait_for(lambda: shown(asked, "its own")["why"] == "its condition says no", what="it is asked")
    assert place(asked, "its own") == 0


def test_one_that_came_to_lack_what_it_has_waited_for_counts_in_both_lines(asked):
    asked.manager.let_go.set()
    for name, needs in (("gpu", {"gpu": 1}), ("ram", {"ram": 8})):
        asked.submit(asked.user, name, needs=needs, holds=True)
        asked.wait_for(name, "running")
    asked.submit(asked.user, "both", needs={"gpu": 1, "ram": 8})
    asked.submit(asked.user, "later", needs={"ram": 1})
    settled(asked, 2)
    assert [place(asked, "both"), place(asked, "later")] == [0, 1]
    asked.manager.free("gpu", "ram")
    asked.wait_for("later", "succeeded")


def test_what_is_paused_or_never_goes_has_no_place_and_keeps_nobody_from_being_next(tmp_path):
    with asking(tmp_path, resources={"gpu": 4}) as asked:
        asked.ask(asked.owner, Pause)
        for name, amount in (("never", 4), ("a", 1), ("paused", 1), ("b", 1)):
            asked.submit(asked.user, name, needs={"gpu": amount})
    with asking(tmp_path, resources={"gpu": 1}) as asked:
        asked.manager.let_go.clear()
        asked.ask(asked.user, Pause, "paused")
        asked.ask(asked.owner, Resume)
        asked.wait_for("a", "running")
        settled(asked, 3)
        assert [place(asked, name) for name in ("never", "paused", "b")] == [None, None, 0]
        assert waiting(shown(asked, "paused")) == "it is paused"
        assert waiting(shown(asked, "never")).startswith("it needs 4 gpu, and the service has 1")
        asked.manager.let_go.set()
        asked.wait_for("b", "succeeded")
        asked.ask(asked.user, Resume, "paused")
        asked.wait_for("paused", "succeeded")


def test_of_a_group_those_whose_own_condition_says_no_count_too(asked):
    for name in "abc":
        asked.submit(asked.user, name, group="rig", waits=True)
    wait_for(lambda: all(asked.rows()[name]["why"] for name in "abc"), what="all are asked")
    asked.submit(asked.user, "goes", group="rig", priority=1)
    asked.wait_for("goes", "running")
    asked.submit(asked.user, "z", group="rig", priority=1)
    wait_for(lambda: shown(asked, "z")["why"] == "1 of 1 slots of its group rig is in use", what="it is held back")
    assert place(asked, "z") == 3


def test_thousands_before_one_are_counted(asked):
    asked.submit(asked.user, "runs", needs={"gpu": 1})
    asked.wait_for("runs", "running")
    asked.submit_all(asked.user, [(f"{number}", {"needs": {"gpu": 1}}) for number in range(1500)])
    settled(asked, 1500)
    assert [place(asked, "0"), place(asked, "700"), place(asked, "1499")] == [0, 700, 1499]


def test_an_action_that_has_begun_runs_in_every_answer(asked):
    asked.submit(asked.user, "a")
    wait_for(lambda: asked.manager.begun == ["a"], what="its action has begun")
    assert asked.rows()["a"]["state"] == "running"
    assert shown(asked, "a")["state"] == "running"
    states = asked.value(asked.ask(asked.owner, Stats))["states"]
    assert (states["starting"], states["running"]) == (0, 1)
    refusal = asked.submit(asked.user, "a")
    assert "taken by a petition that is running" in refusal.reason


@pytest.mark.parametrize(
    ("state", "found"),
    [(State.RUNNING, ["c", "a"]), (State.STARTING, ["b"]), (State.ENDED, []), (None, ["c", "b", "a"])],
)
def test_what_is_listed_by_its_state_has_that_state(asked, state, found, monkeypatch):
    for name in "abc":
        asked.submit(asked.user, name)
        asked.wait_for(name, "running")
    asked.engine.petitions.records[2].run.thread = 0  # as before its action has begun
    mask = 1 << State.RUNNING | 1 << State.STARTING if state is None else 1 << state
    rows = asked.ask(asked.owner, List, mask, 100).rows
    assert [row["id"] for row in rows] == found
    for limit in (1, 2):
        assert [row["id"] for row in asked.ask(asked.owner, List, mask, limit).rows] == found[:limit]


def test_people_and_programs_read_the_same_word(service, connect, gate):
    from orcha.interfaces import Message

    client = connect(service)
    queue = client.manager.Queue()
    client.send(Message("m", {"queue": queue, "gate": gate.path}))
    gate.wait_until_reached()
    (row,) = json.loads(service.run("ps", "--json").stdout)
    assert row["state"] == "running"
    assert service.run("ps").stdout.splitlines()[1].split()[:2] == ["m", "running"]
    assert json.loads(service.run("show", "m", "--json").stdout)["state"] == "running"
    assert "state:         running" in service.run("show", "m").stdout
    assert [row["id"] for row in json.loads(service.run("ps", "--json", "--state", "running").stdout)] == ["m"]
    gate.open()
    assert queue.get(timeout=30) is None
