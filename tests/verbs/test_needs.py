"""Resources: never more is held than there is, nobody is starved, and why one waits is said."""

from __future__ import annotations

import itertools
import random

import pytest

from orcha._core.devices import Device
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.messages import (
    Cancel,
    DrainResource,
    ListResources,
    Pause,
    Priority,
    Resume,
    SetGroup,
    SetResource,
    Show,
    Stats,
    Verdict,
)
from orcha._service.lifecycle.settings import from_environment
from orcha.exceptions import ConfigurationError
from orcha.interfaces import devices_of
from support.asking import asking
from support.waiting import wait_for


@pytest.fixture
def asked():
    with asking(slots={"rig": None}, resources={"gpu": 2, "ram": 8}) as asked:
        asked.manager.let_go.clear()
        yield asked


def why(asked, identity):
    return asked.rows()[identity]["why"]


def stats(asked):
    return {each["resource"]: each for each in asked.value(asked.ask(asked.owner, Stats))["resources"]}


def run_all(asked, *identities):
    asked.manager.let_go.set()
    for identity in identities:
        asked.wait_for(identity, "succeeded")


def settled(asked, count):
    """Wait until so many are held back, and nothing is to be asked any more."""
    petitions = asked.engine.petitions
    wait_for(lambda: petitions.waiting.parked == count and not petitions.waiting, what=f"{count} are held back")


def test_one_waits_while_what_it_needs_is_held_and_says_for_what(asked):
    asked.submit(asked.user, "one", needs={"gpu": 1, "ram": 4})
    asked.wait_for("one", "running")
    asked.submit(asked.user, "two", needs={"gpu": 2})
    asked.submit(asked.user, "beside", needs={"ram": 4})
    asked.submit(asked.user, "without")
    asked.wait_for("beside", "running")
    asked.wait_for("without", "running")
    shown = asked.value(asked.ask(asked.user, Show, "two"))
    assert (shown["state"], shown["why"]) == ("queued", "it needs 2 gpu, 1 of 2 is free")
    assert shown["needs"] == {"gpu": 2}
    assert why(asked, "two") == shown["why"]
    assert stats(asked) == {
        "gpu": {"resource": "gpu", "capacity": 2, "held": 1, "waiting": 1},
        "ram": {"resource": "ram", "capacity": 8, "held": 8, "waiting": 0},
    }
    run_all(asked, "one", "two", "beside")
    wait_for(lambda: not asked.engine.granted.resources(), what="nothing is held")
    assert asked.value(asked.ask(asked.user, Show, "without"))["needs"] is None


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ({"gpu": 3}, "it needs 3 gpu, and the service has 2: need less of it, or serve with --resource gpu=3"),
        ({"gpu": 1, "tape": 1}, "it needs 1 tape, and the service has no tape: serve with --resource tape=1"),
    ],
)
def test_what_can_never_start_is_refused_with_the_cure(asked, needs, reason):
    result = asked.submit(asked.user, "a", needs=needs)
    assert (result.verdict, result.reason) == (Verdict.REFUSED, reason)
    assert asked.rows() == {}


def test_never_more_is_held_than_there_is_in_a_burst(tmp_path):
    capacities = {"gpu": 3, "ram": 16}
    chance = random.Random(7)
    most = dict.fromkeys(capacities, 0)

    with asking(tmp_path, resources=capacities) as asked:
        granted, added = asked.engine.granted, type(asked.engine.granted).take

        class Watched(type(granted)):
            def take(self, record):
                added(self, record)
                for name in capacities:
                    most[name] = max(most[name], self.held(name))

        granted.__class__ = Watched
        names = [f"p{number}" for number in range(120)]
        burst = []
        for name in names:
            needs = {"gpu": chance.randint(1, 3), "ram": chance.randint(1, 16)}
            chosen = chance.sample(sorted(needs), chance.randint(1, 2))
            extras = {"needs": {each: needs[each] for each in chosen}, "priority": chance.randint(0, 2)}
            burst.append((name, extras | {"waits": chance.random() < 0.5}))
        asked.submit_all(asked.user, burst)
        asked.allow(*names)
        run_all(asked, *names)
        wait_for(lambda: not granted.resources(), what="nothing is held")
    assert most == capacities


def test_a_large_one_is_not_starved_by_small_ones_that_come_later(asked):
    asked.submit(asked.user, "runs", needs={"gpu": 1})
    asked.wait_for("runs", "running")
    asked.submit(asked.user, "large", needs={"gpu": 2})
    asked.submit(asked.user, "small", needs={"gpu": 1})
    asked.submit(asked.user, "urgent", needs={"gpu": 1}, priority=-1)
    asked.wait_for("urgent", "running")
    assert why(asked, "large") == "it needs 2 gpu, 0 of 2 are free"
    assert why(asked, "small") == "it needs 1 gpu, 0 of 2 are free"
    run_all(asked, "large", "small")
    assert [each for each in asked.manager.order if each in {"large", "small"}] == ["large", "small"]


def test_who_is_held_back_by_another_one_says_so_and_goes_when_that_is_cancelled(asked):
    asked.submit(asked.user, "runs", needs={"gpu": 1})
    asked.wait_for("runs", "running")
    asked.submit(asked.user, "large", needs={"gpu": 2})
    asked.submit(asked.user, "small", needs={"gpu": 1})
    assert why(asked, "small") == "it needs 1 gpu, 1 of 2 is free, and another petition that waits for it is first"
    assert asked.ask(asked.user, Cancel, None, "large").verdict == Verdict.OK
    asked.wait_for("small", "running")


@pytest.mark.parametrize("group", [None, "rig"])
def test_who_is_paused_holds_nobody_back(asked, group):
    asked.submit(asked.user, "runs", needs={"gpu": 1})
    asked.wait_for("runs", "running")
    asked.submit(asked.user, "large", needs={"gpu": 2}, **({"group": group} if group else {}))
    asked.submit(asked.user, "small", needs={"gpu": 1})
    settled(asked, 2)
    arguments = ("large",) if group is None else (None, None, group)
    assert asked.ask(asked.owner, Pause, *arguments).verdict == Verdict.OK
    asked.wait_for("small", "running")
    assert "paused" in why(asked, "large")
    assert asked.ask(asked.owner, Resume, *arguments).verdict == Verdict.OK
    wait_for(lambda: why(asked, "large") == "it needs 2 gpu, 0 of 2 are free", what="it waits for the resource again")
    run_all(asked, "large")


def test_another_priority_is_another_place_in_the_line(asked):
    asked.submit(asked.user, "runs", needs={"gpu": 2})
    asked.wait_for("runs", "running")
    for name in ("a", "b", "c"):
        asked.submit(asked.user, name, needs={"gpu": 2})
    assert asked.ask(asked.user, Priority, "c", None, -1).verdict == Verdict.OK
    assert asked.ask(asked.user, Priority, "a", None, 1).verdict == Verdict.OK
    run_all(asked, "a", "b", "c")
    assert asked.manager.order == ["runs", "c", "b", "a"]


def test_one_whose_own_condition_says_no_holds_nobody_back(asked):
    asked.submit(asked.user, "runs", needs={"gpu": 2})
    asked.wait_for("runs", "running")
    for number in range(3):
        asked.submit(asked.user, f"blocked {number}", needs={"gpu": 1}, waits=True)
    asked.submit(asked.user, "could", needs={"gpu": 2})
    run_all(asked, "could")
    assert why(asked, "blocked 0") == "its condition says no"
    asked.allow("blocked 0")
    asked.wait_for("blocked 0", "succeeded")


def held(asked, name, **needs):
    asked.submit(asked.user, name, needs=needs, holds=True)
    asked.wait_for(name, "running")


def ends(asked, *names):
    asked.manager.free(*names)
    for name in names:
        asked.wait_for(name, "succeeded")


def test_one_that_needs_two_is_not_starved_by_those_that_need_one_of_them(asked):
    asked.manager.let_go.set()
    held(asked, "gpu 0", gpu=2)
    asked.submit(asked.user, "both", needs={"gpu": 1, "ram": 8})
    held(asked, "ram 0", ram=8)  # it keeps nobody from what it does not lack
    ends(asked, "gpu 0")
    text = "it needs 8 ram, 0 of 8 are free"
    wait_for(lambda: why(asked, "both") == text, what="it stands in the other line too")
    asked.submit(asked.user, "gpu 1", needs={"gpu": 2}, holds=True)
    asked.submit(asked.user, "ram 1", needs={"ram": 1}, holds=True)
    settled(asked, 3)
    ends(asked, "ram 0")
    run_all(asked, "both")
    ends(asked, "gpu 1", "ram 1")
    order = asked.manager.order
    assert order.index("both") < min(order.index("gpu 1"), order.index("ram 1"))


def test_one_that_came_to_lack_another_resource_is_passed_by_nobody(asked):
    asked.manager.let_go.set()
    held(asked, "gpu 0", gpu=2)
    asked.submit(asked.user, "both", needs={"gpu": 1, "ram": 8})
    held(asked, "ram 0", ram=4)
    ends(asked, "gpu 0")
    text = "it needs 8 ram, 4 of 8 are free"
    wait_for(lambda: why(asked, "both") == text, what="it stands in the other line too")
    asked.submit(asked.user, "ram 1", needs={"ram": 4}, holds=True)
    settled(asked, 2)
    assert why(asked, "ram 1") == "it needs 4 ram, 4 of 8 are free, and another petition that waits for it is first"
    ends(asked, "ram 0")
    run_all(asked, "both")
    ends(asked, "ram 1")


def test_of_a_group_with_slots_both_count():
    with asking(slots={"rig": 1}, resources={"gpu": 2}) as asked:
        asked.manager.let_go.clear()
        asked.submit(asked.user, "first", group="rig", needs={"gpu": 1})
        asked.submit(asked.user, "second", group="rig", needs={"gpu": 1})
        asked.submit(asked.user, "large", needs={"gpu": 2})
        asked.wait_for("first", "running")
        assert why(asked, "second") == "1 of 1 slots of its group rig is in use"
        assert why(asked, "large") == "it needs 2 gpu, 1 of 2 is free"
        run_all(asked, "first", "second", "large")


def test_thousands_that_are_held_back_are_asked_no_more_and_hide_nobody(asked, monkeypatch):
    asked.submit(asked.user, "runs", needs={"gpu": 2})
    asked.wait_for("runs", "running")
    asked.submit_all(asked.user, [(f"held {number}", {"needs": {"gpu": 1}}) for number in range(1500)])
    settled(asked, 1500)
    count = itertools.count()
    resources = asked.engine.admission.resources
    ask = resources.blocked_by
    monkeypatch.setattr(resources, "blocked_by", lambda *which, **more: (next(count), ask(*which, **more))[1])
    for number in range(20):
        asked.submit(asked.user, f"beside {number}", needs={"ram": 1} if number % 2 else {})
    asked.wait_for("beside 4", "running")
    settled(asked, 1502)
    assert next(count) < 40
    asked.manager.let_go.set()
    wait_for(lambda: asked.value(asked.ask(asked.owner, Stats))["states"]["ended"] == 1521, what="all have ended")
    assert next(count) < 2 * 1500, "each was asked again when it could go"


def test_what_waits_outlives_a_restart_and_goes_in_order(tmp_path):
    with asking(tmp_path, resources={"gpu": 4}) as asked:
        asked.ask(asked.owner, Pause)
        for name, amount in (("a", 3), ("b", 4), ("c", 1)):
            asked.submit(asked.user, name, needs={"gpu": amount})
    with asking(tmp_path, resources={"gpu": 3}) as asked:
        asked.manager.let_go.clear()
        assert asked.value(asked.ask(asked.user, Show, "b"))["needs"] == {"gpu": 4}
        asked.ask(asked.owner, Resume)
        asked.wait_for("a", "running")
        text = "it needs 4 gpu, and the service has 3: need less of it, or serve with --resource gpu=4"
        wait_for(lambda: why(asked, "b") == text, what="it says that it never goes")
        assert why(asked, "c") == "it needs 1 gpu, 0 of 3 are free"
        run_all(asked, "a", "c")
        assert asked.state("b") == "queued"
        assert stats(asked)["gpu"] == {"resource": "gpu", "capacity": 3, "held": 0, "waiting": 1}
    with asking(tmp_path) as asked:
        text = "it needs 4 gpu, and the service has no gpu: serve with --resource gpu=4"
        wait_for(lambda: why(asked, "b") == text, what="it says that there is nothing of it")
    with asking(tmp_path, resources={"gpu": 4}) as asked:
        run_all(asked, "b")


# --- devices --------------------------------------------------------------------------------------------------------


def settings():
    return from_environment(Endpoint("127.0.0.1", 1, "/x"), key=None, look_ahead=None, on_hook_timeout="replace")


@pytest.mark.parametrize(
    ("text", "resources"),
    [
        ("gpu=2,ram_gb=64", {"gpu": 2, "ram_gb": 64}),
        ("memory=64G", {"memory": 64 << 30}),
        ("gpu=0,1,2", {"gpu": (Device("0"), Device("1"), Device("2"))}),
        ("gpu=0,", {"gpu": (Device("0"),)}),
        ("gpu=0,,rig=a,b,ram=8", {"gpu": (Device("0"),), "rig": (Device("a"), Device("b")), "ram": 8}),
        (
            "gpu=0@mem=24G,1@mem=80G@model=a100",
            {"gpu": (Device("0", {"mem": 24 << 30}), Device("1", {"mem": 80 << 30, "model": "a100"}))},
        ),
        ("gpu=4,gpu=0,1", {"gpu": (Device("0"), Device("1"))}),
    ],
)
def test_resources_are_amounts_or_devices_with_names(monkeypatch, text, resources):
    monkeypatch.setenv("ORCHA_RESOURCES", text)
    assert settings().resources == resources


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu=0,0", "gpu=0,0"),
        ("gpu=,", "gpu=,"),
        ("gpu=0@mem", "gpu=0@mem"),
        ("gpu=0@mem=", "gpu=0@mem="),
        ("gpu=0@name=a", "gpu=0@name=a"),
        ("gpu=@mem=1", "gpu=@mem=1"),
        ("0,gpu=1", "not '0'"),
        ("id=a,b", "ORCHA_ID"),
    ],
)
def test_what_are_no_devices_is_refused(monkeypatch, text, said):
    monkeypatch.setenv("ORCHA_RESOURCES", text)
    with pytest.raises(ConfigurationError) as caught:
        settings()
    assert said in str(caught.value)


GPUS = (Device("0"), Device("1"))


def attempts(asked, identity):
    return asked.value(asked.ask(asked.owner, Show, identity))["attempts"]


def test_an_action_reads_which_devices_it_has(monkeypatch):
    seen = {}
    with asking(resources={"gpu": GPUS}) as asked:
        convert = asked.manager.convert_to_petition

        def watched(message):
            petition = convert(message)
            act = petition.action

            def action(callback, petition):
                seen[petition.id] = devices_of(petition)
                act(callback, petition)

            petition.action = action
            assert devices_of(petition) == {}
            return petition

        monkeypatch.setattr(asked.manager, "convert_to_petition", watched)
        asked.manager.let_go.clear()
        asked.submit(asked.user, "a", needs={"gpu": 1})
        asked.wait_for("a", "running")
        asked.submit(asked.user, "b", needs={"gpu": "0.5"})
        asked.submit(asked.user, "without")
        for name in ("b", "without"):
            asked.wait_for(name, "running")
        wait_for(lambda: len(seen) == 3, what="all actions were called")
        assert seen == {"a": {"gpu": ("0",)}, "b": {"gpu": ("1",)}, "without": {}}
        assert [each["devices"] for each in attempts(asked, "a")] == [{"gpu": ["0"]}]
        assert "devices" not in attempts(asked, "without")[0]
        run_all(asked, "a", "b", "without")


def test_which_devices_an_attempt_had_is_known_after_its_end_and_after_a_restart(tmp_path):
    with asking(tmp_path, resources={"gpu": GPUS}) as asked:
        asked.submit(asked.user, "a", needs={"gpu": 2}, code=3, retry={"times": 1, "codes": [3], "delay": 0.001})
        asked.wait_for("a", "failed")
    with asking(tmp_path) as asked:
        assert [each["devices"] for each in attempts(asked, "a")] == [{"gpu": ["0", "1"]}] * 2


def test_what_can_never_be_got_of_devices_is_refused():
    with asking(resources={"gpu": GPUS}) as asked:
        result = asked.submit(asked.user, "a", needs={"gpu": "1.5"})
        text = "it needs 1.5 gpu, which are devices: need a whole number of them, or less than one"
        assert (result.verdict, result.reason) == (Verdict.REFUSED, text)
        result = asked.submit(asked.user, "a", needs={"gpu": "1@mem>=20G"})
        text = "it needs 1 gpu with mem>=20G, and the service has no such: need less, or something else"
        assert (result.verdict, result.reason) == (Verdict.REFUSED, text)


def test_only_admins_decide_about_resources():
    with asking(resources={"gpu": GPUS}) as asked:
        asked.manager.let_go.clear()
        asked.submit(asked.user, "a", needs={"gpu": 1})
        asked.wait_for("a", "running")
        for message in (
            (SetGroup, "rig", 2),
            (SetResource, "gpu=9"),
            (DrainResource, "gpu:0", True),
            (DrainResource, "gpu:0", False),
        ):
            assert asked.ask(asked.user, *message).verdict == Verdict.DENIED
        assert asked.ask(asked.attempt, ListResources).verdict == Verdict.DENIED
        for person, name in ((asked.user, "a"), (asked.stranger, "a"), (asked.owner, "a")):
            (gpu,) = asked.value(asked.ask(person, ListResources))["resources"]
            holder = {"id": name, "amount": 1, "devices": ["0"], "until": None, "lease": None}
            assert [device["holders"] for device in gpu["devices"]] == [[holder], []]
        run_all(asked, "a")
