"""A condition about the outside world is asked again by time; what the service itself decides never is."""

from __future__ import annotations

import itertools
import json
import threading

import pytest

from orcha._core.asking import MAX_FIRST_PETITIONS
from orcha._core.asking_round import MAX_REFUSALS_PER_ROUND
from orcha._core.selection import Selection
from orcha._protocol.messages import Show
from orcha._service.hooks import hook_thread
from orcha.exceptions import ConditionFailed
from orcha.interfaces import Petition, Policy
from support.asking import asking
from support.waiting import wait_for


class OutsideManager:
    """A manager whose conditions depend on what is `free` outside; who was asked is counted."""

    def __init__(self):
        self.free = set()
        self.asked = []
        self.reason = None
        self.for_all = False

    def convert_to_petition(self, m):
        extras = m.extras

        def act(_, petition):
            petition.finish(0)

        def may_run(petition):
            self.asked.append(petition.id)
            if petition.id in self.free:
                return True
            return False if self.reason is None else ConditionFailed(self.reason, for_all=self.for_all)

        given = {name: extras[name] for name in ("group", "needs", "once", "if_exists") if name in extras}
        petition = Petition(m.id, extras["queue"], act, may_run, policy=Policy(**given))
        petition.priority = extras.get("priority", 0)
        return petition

    def on_start(self, petition):
        return True

    def on_finish(self, petition):
        return True


@pytest.fixture
def asked():
    with asking(manager=OutsideManager(), slots={"rig": 1}, resources={"gpu": 1}) as asked:
        yield asked


def shown(asked, identity):
    return asked.value(asked.ask(asked.user, Show, identity))


def test_what_has_become_free_outside_is_noticed_though_nothing_starts_or_ends(asked):
    asked.submit(asked.user, "a")
    wait_for(lambda: asked.manager.asked, what="it is asked")
    assert asked.state("a") == "queued"
    asked.manager.free.add("a")
    asked.wait_for("a", "succeeded")


def test_one_behind_many_that_are_blocked_is_noticed_too(asked):
    asked.submit_all(asked.user, [(f"{number}", {}) for number in range(20 * MAX_REFUSALS_PER_ROUND)])
    asked.manager.free.add(f"{20 * MAX_REFUSALS_PER_ROUND - 1}")
    asked.wait_for(f"{20 * MAX_REFUSALS_PER_ROUND - 1}", "succeeded")


def test_where_one_of_those_behind_is_asked_in_a_turn_each_has_its_turn(asked, monkeypatch):
    monkeypatch.setattr(hook_thread, "SAMPLE_SECONDS", -1.0)
    names = [f"{number}" for number in range(MAX_FIRST_PETITIONS + 4)]
    asked.submit_all(asked.user, [(name, {}) for name in names])
    wait_for(lambda: set(asked.manager.asked) == set(names), what="each is asked as it comes")
    del asked.manager.asked[:]
    wait_for(lambda: set(names[MAX_FIRST_PETITIONS:]) <= set(asked.manager.asked), what="each is asked by time")


def test_where_one_answers_for_all_one_is_asked(asked):
    asked.manager.reason, asked.manager.for_all = "no rig is free", True
    asked.submit_all(asked.user, [(f"{number}", {}) for number in range(MAX_REFUSALS_PER_ROUND)])
    wait_for(lambda: shown(asked, f"{MAX_REFUSALS_PER_ROUND - 1}")["why"] == "no rig is free", what="all are told")
    del asked.manager.asked[:]
    wait_for(lambda: len(asked.manager.asked) >= 2, what="it is asked again")
    assert set(asked.manager.asked) == {"0"}
    asked.manager.free.add("0")
    asked.wait_for("0", "succeeded")


def test_how_old_a_reason_is_is_told(asked):
    asked.manager.reason = "rig 3 is taken"
    asked.submit(asked.user, "a")
    wait_for(lambda: shown(asked, "a")["why"] == "rig 3 is taken", what="it says why")
    ages = [shown(asked, "a")["asked_ago"]]
    wait_for(lambda: ages.append(shown(asked, "a")["asked_ago"]) or ages[-1] < ages[-2], what="it is asked again")
    assert min(ages) >= 0
    asked.submit(asked.user, "b", group="rig", priority=-1)
    wait_for(lambda: shown(asked, "b")["why"] == "rig 3 is taken", what="it is asked")
    assert asked.rows()["a"]["asked_ago"] is not None


def test_a_reason_of_the_services_own_holds_now_and_has_no_age(asked):
    asked.manager.free.add("runs")
    started = threading.Event()
    go_on = threading.Event()
    asked.manager.free.update({"waits", "lacks"})

    def act(_, petition):
        started.set()
        assert go_on.wait(30)
        petition.finish(0)

    convert = asked.manager.convert_to_petition

    def with_action(m):
        petition = convert(m)
        petition.action = act
        return petition

    asked.manager.convert_to_petition = with_action
    asked.submit(asked.user, "runs", group="rig", needs={"gpu": 1})
    assert started.wait(30)
    asked.submit(asked.user, "waits", group="rig")
    asked.submit(asked.user, "lacks", needs={"gpu": 1})
    for identity in ("waits", "lacks", "runs"):
        assert shown(asked, identity)["asked_ago"] is None
    assert {"waits", "lacks"}.isdisjoint(asked.manager.asked)
    go_on.set()
    asked.wait_for("waits", "succeeded")
    asked.wait_for("lacks", "succeeded")


def polls(asked):
    return asked.engine.visits.selection._time_due


def test_where_no_condition_says_no_nothing_is_due(asked):
    asked.manager.free.update({"a", "b"})
    asked.submit(asked.user, "a")
    asked.wait_for("a", "succeeded")
    assert polls(asked) is None
    asked.submit(asked.user, "blocked")
    wait_for(lambda: polls(asked) is not None, what="it is to be asked again")
    asked.manager.free.add("blocked")
    asked.wait_for("blocked", "succeeded")
    wait_for(lambda: polls(asked) is None, what="nothing is due any more")


def test_what_is_held_by_the_service_alone_is_never_asked_by_time(asked):
    from orcha._protocol.messages import Pause

    asked.ask(asked.owner, Pause, None, None, "rig")
    asked.submit_all(asked.user, [(f"{number}", {"group": "rig"}) for number in range(MAX_REFUSALS_PER_ROUND + 1)])
    wait_for(lambda: asked.engine.petitions.waiting.parked == MAX_REFUSALS_PER_ROUND + 1, what="all are held back")
    assert polls(asked) is None
    assert asked.manager.asked == []


def test_wake_has_all_asked_soon(asked):
    asked.submit_all(asked.user, [(f"{number}", {}) for number in range(MAX_REFUSALS_PER_ROUND)])
    asked.manager.free.update(f"{number}" for number in range(MAX_REFUSALS_PER_ROUND))
    asked.engine.post(asked.engine.visits.wake)
    for number in range(MAX_REFUSALS_PER_ROUND):
        asked.wait_for(f"{number}", "succeeded")


def test_rounds_that_are_each_due_later_than_the_one_before_set_one_timer(asked, monkeypatch):
    dues = itertools.count(1_000_000)
    monkeypatch.setattr(Selection, "due", property(lambda _: float(next(dues))))
    names = [f"{number}" for number in range(20)]
    asked.manager.free.update(names)
    for name in names:
        asked.submit(asked.user, name)
        asked.wait_for(name, "succeeded")
    assert len(asked.engine.timers) < len(names) // 2


def test_commands_that_wait_for_a_slot_of_the_machine_are_not_polled(serve):
    service = serve(arguments=("serve", "commands"), environment={"ORCHA_COMMANDS": "1"})
    for name in "abc":
        assert service.ask("run", "--detach", "--name", name, "--", "sleep", "600").returncode == 0
    rows = {row["id"]: row for row in json.loads(service.ask("ps", "--json").stdout)}
    assert [rows[name]["asked_ago"] for name in "abc"] == [None, None, None]
    assert rows["b"]["why"] is not None
    assert service.ask("cancel", "--now", "a", "b", "c").returncode == 0
