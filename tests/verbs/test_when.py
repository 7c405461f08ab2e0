"""Petitions that wait until a condition in text holds."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from orcha._core.conditions.condition import Condition
from orcha._core.conditions.times import LocalTime
from orcha._protocol.messages import Cancel, Pause, Priority, Resume, Show, Verdict
from orcha._service.conditions import looker, sampling
from orcha.interfaces import Policy, When
from orcha.lib.named_values import term
from support.asking import GateManager, asking
from support.waiting import wait_for


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    monkeypatch.setattr(sampling, "SECONDS_BETWEEN_LOOKS", 0.1)


@pytest.fixture
def asked():
    with asking(slots={"rig": None, "bench": 1}, resources={"gpu": 1}) as asked:
        yield asked


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "gate"


@pytest.fixture
def exists(gate):
    return f'exists("{gate}")'


def why(asked, identity):
    return asked.rows()[identity]["why"]


def says(asked, identity, text):
    wait_for(lambda: why(asked, identity) == text, what=f"{identity} says {text}")


def test_it_starts_as_soon_as_its_condition_holds(asked, gate, exists):
    asked.submit(asked.user, "build", when=exists)
    says(asked, "build", f"{exists} is false")
    assert asked.rows()["build"]["asked_ago"] is not None
    gate.touch()
    asked.wait_for("build", "succeeded")


def test_it_starts_at_once_where_its_condition_holds(asked, gate, exists):
    gate.touch()
    asked.submit(asked.user, "build", when=exists)
    asked.wait_for("build", "succeeded")
    asked.submit(asked.user, "again", when=exists)
    asked.wait_for("again", "succeeded")


def test_each_part_that_is_false_is_told_with_what_was_seen(asked, exists):
    asked.submit(asked.user, "build", when=f"load(1) >= 0 and {exists} and cpus < 0 and queued == 7")
    wait_for(lambda: f"{exists} is false; cpus < 0 is false: " in why(asked, "build"))
    assert why(asked, "build").endswith("; queued == 7 is false: 1")
    asked.submit(asked.user, "other", when=exists)
    wait_for(lambda: why(asked, "build").endswith("; queued == 7 is false: 2"))
    blocked = asked.value(asked.ask(asked.owner, Show, "build"))["blocked"]
    assert [reason["kind"] for reason in blocked] == ["text_is_false"]
    assert len(blocked[0]["parts"]) == 3
    assert blocked[0]["asked_ago"] >= 0
    known = asked.value(asked.ask(asked.owner, Show, "other"))
    assert (known["when"], known["place"]) == (exists, None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("memry.free > 1G", "column 1: there is no memry.free: did you mean memory.free?"),
        ("load(1) < 4 and", "column 16: something is missing at the end"),
        ("memory.free > 8", "column 15: 8 is a number, and memory.free is a size: compare it with a size, as in 8G"),
    ],
)
def test_a_text_that_cannot_be_read_is_refused_with_its_column(asked, text, told):
    refused = asked.submit(asked.user, "build", when=text)
    assert refused.verdict == Verdict.REFUSED
    line, shown, carets = refused.reason.split("\n")
    assert line == f"its condition cannot be read, {told}"
    assert shown == f"  {text}"
    assert carets.strip("^ ") == ""
    assert not asked.rows()


def test_its_own_condition_has_to_say_yes_too_and_is_asked_last(asked, gate, exists, monkeypatch):
    asks = Counter()
    convert = asked.manager.convert_to_petition

    def counted(m):
        petition = convert(m)
        may_run = petition.condition
        petition.condition = lambda petition: asks.update([str(petition.id)]) or may_run(petition)
        return petition

    monkeypatch.setattr(asked.manager, "convert_to_petition", counted)
    asked.submit(asked.user, "build", when=exists, waits=True)
    says(asked, "build", f"{exists} is false")
    assert not asks
    gate.touch()
    wait_for(lambda: asks["build"])
    assert asked.state("build") == "queued"
    asked.allow("build")
    asked.wait_for("build", "succeeded")


def test_what_the_service_knows_holds_at_once(asked):
    asked.submit(asked.user, "first", group="rig", holds=True)
    asked.wait_for("first", "running")
    for name in ("a", "b", "c"):
        asked.submit(asked.user, name, group="rig", when='running_in("rig") == 0 and resource("gpu").free == 1')
    assert why(asked, "c") == 'running_in("rig") == 0 is false: 1'
    asked.manager.free("first")
    for name in ("a", "b", "c"):
        asked.wait_for(name, "succeeded")
    assert asked.manager.order == ["first", "a", "b", "c"]


def test_a_condition_may_wait_for_more_to_start_or_to_wait(asked):
    asked.submit(asked.user, "second", when="running >= 1")
    asked.submit(asked.user, "third", when="queued >= 4")
    asked.submit(asked.user, "fourth", waits=True)
    assert [asked.state(name) for name in ("second", "third")] == ["queued"] * 2
    asked.submit(asked.user, "fifth", waits=True)
    asked.wait_for("third", "succeeded")
    asked.wait_for("second", "succeeded")


def test_what_the_service_has_not_is_told(asked):
    asked.submit(asked.user, "a", when='running_in("rgi") == 0')
    asked.submit(asked.user, "b", when='slots("rig").free > 0')
    asked.submit(asked.user, "c", when='slots("rgi").free > 0 or resource("gpu").free > 9')
    asked.submit(asked.user, "d", when='resource("tpu").free > 0')
    assert why(asked, "a") == 'running_in("rgi") is not known: there is no group rgi'
    assert why(asked, "b") == 'slots("rig").free is not known: the group rig has any number of slots'
    assert why(asked, "c") == 'slots("rgi").free is not known: there is no group rgi'
    assert why(asked, "d") == 'resource("tpu").free is not known: the service has no tpu'


def test_a_free_slot_is_known(asked):
    asked.submit(asked.user, "first", group="bench", holds=True)
    asked.wait_for("first", "running")
    asked.submit(asked.user, "second", when='slots("bench").free == 1')
    assert why(asked, "second") == 'slots("bench").free == 1 is false: 0'
    asked.manager.free("first")
    asked.wait_for("second", "succeeded")


def test_many_of_one_condition_start_in_their_order_though_not_all_leave_at_once(asked, gate, exists):
    names = [f"p{number:03}" for number in range(250)]
    asked.submit_all(asked.user, [(name, {"when": exists, "group": "bench"}) for name in names])
    asked.submit(asked.user, "last", group="bench", waits=True)
    says(asked, names[-1], f"{exists} is false")
    gate.touch()
    wait_for(lambda: asked.manager.order)
    asked.allow("last")
    asked.wait_for("last", "succeeded")
    assert asked.manager.order == [*names, "last"]


def test_a_text_is_asked_once_for_all_that_wait_for_it(asked, exists, monkeypatch):
    text = f"{exists} or load(1) < 0"
    asked.submit_all(asked.user, [(f"p{number:03}", {"when": text}) for number in range(300)])
    wait_for(lambda: asked.engine.petitions.waiting.parked == 300)
    asked_texts, looks = [], []
    holds, take = Condition.holds, sampling.Sampling.take
    monkeypatch.setattr(Condition, "holds", lambda self, seen: asked_texts.append(self.text) or holds(self, seen))
    monkeypatch.setattr(sampling.Sampling, "take", lambda self, values: looks.append(values) or take(self, values))
    wait_for(lambda: len(looks) >= 4)
    assert len(asked_texts) <= len(looks)
    assert all(len(values) <= 2 for values in looks)


def test_nothing_is_looked_at_any_more_when_nobody_waits(gate, exists):
    gate.touch()
    with asking(hook_deadline=1.0) as asked:
        asked.submit(asked.user, "build", when=exists)
        asked.wait_for("build", "succeeded")
        wait_for(lambda: asked.engine.timers.head is None, what="the engine has nothing to come back for")


def test_a_condition_that_became_false_again_holds_back(asked, gate, exists):
    gate.touch()
    asked.submit(asked.user, "build", when=exists, waits=True)
    wait_for(lambda: asked.engine.petitions.waiting.ready == 1 and why(asked, "build") != f"{exists} is false")
    gate.unlink()
    asked.engine.post(asked.engine.visits.wake)
    says(asked, "build", f"{exists} is false")
    gate.touch()
    asked.allow("build")
    asked.wait_for("build", "succeeded")


def test_it_can_be_cancelled_paused_and_hurried(asked, gate, exists):
    for name in ("a", "b", "c"):
        asked.submit(asked.user, name, when=exists, group="bench")
    assert asked.ask(asked.owner, Cancel, None, "a").verdict == Verdict.OK
    assert asked.ask(asked.owner, Pause, "b").verdict == Verdict.OK
    assert asked.ask(asked.owner, Priority, "c", None, -5).verdict == Verdict.OK
    assert why(asked, "b") == "it is paused"
    asked.submit(asked.user, "d", when=exists, group="bench")
    gate.touch()
    asked.wait_for("d", "succeeded")
    assert (asked.state("a"), asked.state("b")) == ("cancelled", "queued")
    assert asked.ask(asked.owner, Resume, "b").verdict == Verdict.OK
    asked.wait_for("b", "succeeded")
    assert asked.manager.order == ["c", "d", "b"]


def test_it_waits_no_longer_than_it_may(asked, exists):
    asked.submit(asked.user, "build", when=exists, queue_timeout=0.05)
    asked.wait_for("build", "timed_out")


def test_each_attempt_waits_for_it(asked, gate, exists):
    gate.touch()
    asked.submit(asked.user, "build", when=exists, code=3, holds=True, retry={"times": 1, "delay": 0})
    asked.wait_for("build", "running")
    gate.unlink()
    asked.submit(asked.user, "other", when=f"load(1) < 0 and {exists}")
    wait_for(lambda: f"{exists} is false" in why(asked, "other"))
    asked.manager.free("build")
    says(asked, "build", f"{exists} is false")
    gate.touch()
    asked.wait_for("build", "failed")
    assert asked.rows()["build"]["attempt"] == 2


def test_it_takes_neither_slot_nor_resource_while_it_waits(asked, exists):
    asked.submit(asked.user, "a", when=exists, group="bench", needs={"gpu": 1})
    says(asked, "a", f"{exists} is false")
    asked.submit(asked.user, "b", group="bench", needs={"gpu": 1})
    asked.wait_for("b", "succeeded")


def test_a_restart_keeps_it(tmp_path, gate, exists):
    with asking(tmp_path) as asked:
        asked.submit_all(asked.user, [(name, {"when": exists}) for name in ("a", "b")])
        says(asked, "a", f"{exists} is false")
    with asking(tmp_path) as asked:
        says(asked, "b", f"{exists} is false")
        gate.touch()
        asked.wait_for("a", "succeeded")
        asked.wait_for("b", "succeeded")


def with_heat(heat):
    manager = GateManager()
    example = 'rig("a").heat < 60'
    manager._named_values = {"rig.heat": (term("rig.heat", heat, "number", "How warm it is.", example), heat)}
    return manager


def test_a_name_of_a_plugin_is_looked_up_by_its_function():
    warm = {"a": 70, "b": 20}
    with asking(manager=with_heat(lambda rig: warm[rig])) as asked:
        for name in ("a", "b", "c"):
            asked.submit(asked.user, name, when=f'rig("{name}").heat < 60')
        asked.wait_for("b", "succeeded")
        says(asked, "a", 'rig("a").heat < 60 is false: 70')
        says(asked, "c", "rig(\"c\").heat is not known: KeyError: 'c'")
        warm["a"] = 59.5
        asked.wait_for("a", "succeeded")


def test_a_function_that_does_not_return_holds_back_nothing_else(gate, exists, monkeypatch):
    monkeypatch.setattr(looker, "SECONDS_OF_A_LOOK", 0.1)
    let_go = threading.Event()
    with asking(manager=with_heat(lambda rig: let_go.wait(60) * len(rig))) as asked:
        asked.submit(asked.user, "a", when='rig("a").heat < 60')
        asked.submit(asked.user, "b", when=exists)
        wait_for(lambda: 'rig("a").heat is not known: no answer for' in why(asked, "a"))
        gate.touch()
        asked.wait_for("b", "succeeded")
        let_go.set()
        asked.wait_for("a", "succeeded")


def test_a_name_that_the_plugin_has_no_more_is_told_after_a_restart(tmp_path):
    with asking(tmp_path, with_heat(lambda _: 99)) as asked:
        asked.submit(asked.user, "a", when='rig("a").heat < 60')
        says(asked, "a", 'rig("a").heat < 60 is false: 99')
    with asking(tmp_path) as asked:
        says(asked, "a", "there is no rig.heat: --when help says what there is")
        refused = asked.submit(asked.user, "b", when='rig("a").heat < 60')
        assert refused.verdict == Verdict.REFUSED
        assert asked.ask(asked.owner, Cancel, None, "a").verdict == Verdict.OK


def test_the_time_of_day_starts_it(asked, monkeypatch):
    began = time.monotonic()

    def local_time():
        return LocalTime(day=1, weekday=0, seconds=12 * 3600 - 0.3 + time.monotonic() - began)

    monkeypatch.setattr(sampling, "_local_time", local_time)
    asked.submit(asked.user, "noon", when="hour == 12 and between('12:00', '13:00')")
    asked.submit(asked.user, "late", when="hour == 13")
    asked.wait_for("noon", "succeeded")
    assert why(asked, "late") == "hour == 13 is false: 12"
    assert asked.rows()["late"]["asked_ago"] is None


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (5, TypeError),
        (When, TypeError),
        ("", ValueError),
        (" ", ValueError),
        ("x" * 1001, ValueError),
    ],
)
def test_what_is_no_text_is_refused_where_it_is_written(given, error):
    with pytest.raises(error):
        Policy(when=given)


def test_a_policy_takes_a_text_or_a_condition():
    assert Policy(when="hour > 3").when == Policy(when=When("hour > 3")).when == When("hour > 3")
    assert str(When("hour > 3")) == "hour > 3"
    with pytest.raises(TypeError, match="a condition is a text, not int"):
        When(5)
