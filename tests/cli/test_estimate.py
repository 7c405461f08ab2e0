"""When a waiting petition will probably start."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime

import pytest

from orcha._cli.estimate import Durations, History, reckon, reckon_all, reckon_elements
from orcha._cli.foretold import MAX_UNASKED_PETITIONS, Estimate, as_json, foreseeable, row_is_foreseeable
from orcha._cli.why import foretold_line
from orcha.interfaces.built_in import COMMAND_MANAGER
from support.terminals import OnTerminal
from support.waiting import wait_for

AT_ONCE = 1
MANAGER = "m"
ONE_SLOT = {"slots": {MANAGER: 1}, "groups": {"g": 1}, "resources": {"gpu": 1}}


def row(seq, **known):
    """Give a row of a petition that waits."""
    given = {"seq": seq, "id": f"p{seq}", "manager": MANAGER, "owner": "uid:0", "state": "queued", "priority": 0}
    given |= {
        "group": None,
        "needs": None,
        "after": None,
        "due": None,
        "expect": None,
        "started": None,
        "paused": False,
    }
    return given | {"command": "make"} | known


def ended(seconds, command="make", outcome="succeeded"):
    return row(0, state="ended", command=command, started=0.0, ended=float(seconds), outcome=outcome)


def test_durations_are_those_of_the_closest_like():
    history = History(
        [*(ended(seconds) for seconds in range(1, 12)), ended(100, "make all"), ended(7, "ls", "cancelled")]
    )
    assert history.durations(row(1)) == Durations(2.0, 6.0, 10.0, "command")
    assert history.durations(row(1, command="make all")) == Durations(100.0, 100.0, 100.0, "command")
    assert history.durations(row(1, command="make test")) == Durations(2.0, 7.0, 11.0, "program")
    assert history.durations(row(1, command="ls")) == Durations(2.0, 7.0, 11.0, "others")
    assert history.durations(row(1, command=None)).source == "manager"
    assert history.durations(row(1, expect=5.0)) == Durations(5.0, 5.0, 5.0, "expect")
    assert history.durations(row(1, manager="other")) is None


def test_a_limit_bounds_what_is_learnt_and_is_taken_where_nothing_like_it_has_ended():
    history = History([ended(1), ended(6), ended(11)])
    assert history.durations(row(1, timeout=8.0)) == Durations(1.0, 6.0, 8.0, "command")
    assert history.durations(row(1, command="ls", timeout=8.0)) == Durations(1.0, 8.0, 8.0, "timeout")
    assert history.durations(row(1, manager="other", timeout=8.0)) == Durations(0.0, 8.0, 8.0, "timeout")
    assert history.durations(row(1, expect=20.0, timeout=8.0)) == Durations(8.0, 8.0, 8.0, "expect")


def test_what_runs_beyond_what_is_known_ends_by_its_limit_at_the_latest():
    live = [row(1, state="running", started=0.0, timeout=103.0), row(2)]
    assert reckon(2, live, ONE_SLOT, History([ended(10)]), 100.0) == Estimate(103.0, 103.0, 103.0, 2, 0)


def test_a_command_that_stands_still_goes_on_before_what_waits():
    given = {"state": "running", "group": "g"}
    paused = row(1, started=-10.0, expect=30.0, preemptible="pause", stands_still=True, **given)
    urgent = row(2, started=0.0, expect=20.0, priority=-5, **given)
    live = [paused, urgent, row(3, group="g", expect=5.0)]
    assert reckon(3, live, ONE_SLOT, History([]), 0.0) == Estimate(40.0, 40.0, 40.0, 3, 0)
    assert reckon(1, live, ONE_SLOT, History([]), 0.0) == Estimate(20.0, 20.0, 20.0, 3, 0)
    both = reckon_all({1, 3}, live, ONE_SLOT, History([]), 0.0)
    assert {seq: each.likely for seq, each in both.items()} == {1: 20.0, 3: 40.0}


def test_a_command_goes_on_at_a_known_time_whatever_starts_after_that_and_takes_nobody_knows_how_long():
    paused = row(1, state="running", started=-10.0, expect=900.0, preemptible="pause", stands_still=True, group="g")
    urgent = row(2, state="running", started=0.0, expect=20.0, priority=-5, group="g")
    live = [paused, urgent, row(3, manager="other", due=50.0), row(4, manager="other", state="running", started=0.0)]
    assert reckon(1, live, ONE_SLOT, History([]), 0.0) == Estimate(20.0, 20.0, 20.0, 4, 0)


def test_a_command_that_does_not_get_its_place_again_is_foretold_nothing():
    paused = row(1, started=-10.0, preemptible="pause", stands_still=True, state="running", needs='{"gpu": 2}')
    assert reckon(1, [paused], ONE_SLOT | {"resources": {"gpu": 1}}, History([]), 0.0) is None


def test_the_length_of_other_commands_is_a_guess():
    live = [row(1, state="running", started=0.0, command="sleep 1000"), row(2)]
    found = reckon(2, live, ONE_SLOT, History([ended(10)]), 0.0)
    assert found == Estimate(10.0, 10.0, 10.0, 2, 1)
    assert foretold_line(found, 0.0).endswith("; 1 of these lengths is a guess, since no such petition has ended")


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ([row(1, state="running", started=-90.0), row(2)], (0, 0, 0, 2, 0, 1)),
        ([row(1), row(2)], (0, 0, 0, 2, 0, 1)),
        ([row(1), row(3, priority=-1), row(2)], (0, 0, 0, 3, 0, 2)),
        ([row(1, state="running", started=0.0, expect=60.0), row(3, priority=-1), row(2)], (60, 60, 60, 3, 0, 1)),
        # no start hangs on what nobody knows of these
        ([row(2)], (0, 0, 0, 1, 0)),
        ([row(1, state="running", started=0.0, expect=60.0), row(2), row(3)], (60, 60, 60, 3, 0)),
        ([row(1, manager="other", state="running", started=0.0), row(2)], (0, 0, 0, 2, 0)),
    ],
)
def test_where_nobody_knows_how_long_others_take_only_the_earliest_start_is_told(live, expected):
    assert reckon(2, live, ONE_SLOT, History([]), 0.0) == Estimate(*expected)


def test_of_an_array_only_the_elements_hang_on_lengths_that_wait_for_them():
    array = {"manager": "orcha.arrays", "elements": 3, "elements_waiting": 2, "elements_running": 0}
    runs = row(2, manager=COMMAND_MANAGER, state="running", started=0.0, expect=60.0)
    capacity = {"slots": {COMMAND_MANAGER: 1}, "groups": {}, "resources": {}}
    found = reckon_elements(1, [7, 8], [row(1, **array), runs], capacity, History([]), 0.0)
    assert {seq: (each.earliest, each.unknown) for seq, each in found.items()} == {7: (60.0, 0), 8: (60.0, 1)}


def test_times_that_hang_on_unknown_lengths_are_null_in_json():
    known = as_json(Estimate(0.0, 10.0, 20.0, 2, 0))
    assert (known["earliest"], known["likely"], known["unknown"]) == (
        "1970-01-01T00:00:00+00:00",
        "1970-01-01T00:00:10+00:00",
        0,
    )
    assert as_json(Estimate(0.0, 0.0, 0.0, 2, 0, unknown=1)) == known | {"likely": None, "latest": None, "unknown": 1}


@pytest.mark.parametrize(
    ("live", "seq", "expected"),
    [
        ([row(1)], 1, (0, 0, 0, 1, 0)),
        ([row(1), row(2)], 2, (10, 20, 30, 2, 0)),
        ([row(1, state="running", started=-15.0), row(2)], 2, (1.5, 5, 15, 2, 0)),
        ([row(1), row(2), row(3, priority=-1)], 2, (20, 40, 60, 3, 0)),
        ([row(1, expect=100.0), row(2)], 2, (100, 100, 100, 2, 0)),
        ([row(1, due=500.0), row(2)], 1, (500, 500, 500, 2, 0)),
        ([row(1), row(2, after="1", priority=-1), row(3)], 3, (20, 40, 60, 3, 0)),
        ([row(1, paused=True), row(2)], 2, (0, 0, 0, 2, 0)),
        ([row(1, manager="other", command=None), row(2)], 2, (0, 0, 0, 2, 0)),
        (
            [row(1, needs='{"gpu": "0.5"}', manager="x"), row(2, needs='{"gpu": "0.5"}', manager="x")],
            2,
            (0, 0, 0, 2, 0),
        ),
    ],
)
def test_what_runs_and_waits_before_it_is_reckoned_with(live, seq, expected):
    history = History([ended(10), ended(20), ended(30)])
    assert reckon(seq, live, ONE_SLOT, history, 0.0) == Estimate(*expected)


def test_the_elements_of_an_array_wait_one_by_one():
    array = {"manager": "orcha.arrays", "elements": 9, "elements_waiting": 3, "elements_running": 1}
    live = [row(1, **array), row(2, manager=COMMAND_MANAGER), row(3, manager=COMMAND_MANAGER, after="1", priority=-1)]
    history = History([row(0, manager=COMMAND_MANAGER, started=0.0, ended=10.0, outcome="succeeded")])
    capacity = {"slots": {COMMAND_MANAGER: 1}, "groups": {}, "resources": {}}
    assert reckon(2, live, capacity, history, 0.0) == Estimate(40.0, 40.0, 40.0, 6, 0)
    assert reckon(3, live, capacity, history, 0.0) == Estimate(50.0, 50.0, 50.0, 6, 0)


@pytest.mark.parametrize("known", [{"paused": True}, {"state": "held"}, {"needs": '{"gpu": 2}'}, {"after": "2"}])
def test_what_nobody_can_foretell_is_not_foretold(known):
    live = [row(1, **known), row(2, paused=True)]
    assert reckon(1, live, ONE_SLOT, History([]), 0.0) is None


def test_a_condition_of_a_plugin_cannot_be_foretold():
    assert foreseeable("queued", ["group_full", "starts_later"])
    assert foreseeable("queued", ["group_full", "behind_preempted"])
    assert not foreseeable("queued", ["group_full", "condition_said_no"])
    assert foreseeable("queued", ["text_is_false"])
    assert not foreseeable("held", [])


@pytest.mark.parametrize(
    ("known", "is_told"),
    [
        ({"kinds": "group_full"}, True),
        ({"kinds": "in_order condition_said_no"}, False),
        ({"kinds": "text_is_false"}, False),
        ({"kinds": "group_full", "state": "held"}, False),
        ({}, False),
    ],
    ids=["slots", "a plugin", "a condition", "held", "an older service"],
)
def test_of_rows_only_a_start_without_conditions_is_told(known, is_told):
    assert row_is_foreseeable(row(1) | known) is is_told


CARDS = {"card": [{"name": "0"}, {"name": "1", "properties": {"mem": "24G"}}]}
OF_CARDS = {"slots": {}, "groups": {}, "resources": {"card": 2}, "devices": CARDS}


def runs(seq, need, seconds):
    return row(seq, state="running", started=0.0, needs=json.dumps({"card": need}), expect=seconds)


@pytest.mark.parametrize(
    ("need", "capacity", "expected"),
    [
        ("1@name=0", {"held": {"p1": {"card": ("0",)}, "p2": {"card": ("1",)}}}, (60, 60, 60)),
        ("1@mem>=20G", {"held": {"p1": {"card": ("0",)}, "p2": {"card": ("1",)}}}, (90, 90, 90)),
        (1, {"held": {"p1": {"card": ("0",)}, "p2": {"card": ("1",)}}}, (60, 60, 60)),
        (1, {"held": {"p1": {"card": ("0",)}, "p2": {"card": ("1",)}}, "drained": {"card": ["0"]}}, (90, 90, 90)),
        ("1@name=0", {"drained": {"card": ["0"]}}, None),
    ],
)
def test_which_devices_what_runs_has_is_reckoned_with(need, capacity, expected):
    live = [runs(1, 1, 60.0), runs(2, 1, 90.0), row(3, needs=json.dumps({"card": need}))]
    found = reckon(3, live, OF_CARDS | capacity, History([]), 0.0)
    assert (found if found is None else found[:3]) == expected


def test_a_foreign_process_on_a_device_ends_at_best_at_once_and_else_stays():
    live = [row(1, state="running", started=0.0, needs='{"card": 1}', expect=60.0), row(2, needs='{"card": 1}')]
    there_is = OF_CARDS | {"held": {"p1": {"card": ("1",)}}, "occupied": {"card": {"0": "python (pid 7)"}}}
    found = reckon(2, live, there_is, History([]), 0.0)
    assert found is not None
    assert found[:3] == (0.0, 60.0, 60.0)
    assert reckon(2, [live[0], row(2, needs='{"card": "1@name=0"}')], there_is, History([]), 0.0) is None


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, 60),
        ({"preemptible": "pause"}, 60),  # a device stays with what stands still
        ({"preemptible": "requeue"}, 0),
        ({"preemptible": "requeue", "priority": -1}, 60),
    ],
)
def test_a_place_that_a_more_urgent_one_takes_is_foretold(known, expected):
    low = row(1, state="running", started=0.0, needs='{"card": 2}', expect=60.0, priority=5, manager=COMMAND_MANAGER)
    live = [low | known, row(2, needs='{"card": 1}', manager=COMMAND_MANAGER)]
    found = reckon(2, live, OF_CARDS | {"held": {"p1": {"card": ("0", "1")}}}, History([]), 0.0)
    assert found is not None
    assert found.likely == expected


def test_elements_of_an_array_that_run_have_their_devices():
    array = {"manager": "orcha.arrays", "elements": 9, "elements_waiting": 0, "elements_running": 1}
    live = [row(1, needs='{"card": 1}', expect=60.0, **array), row(2, needs='{"card": "1@name=1"}')]
    there_is = OF_CARDS | {"held": {"p1.4": {"card": ("1",)}}}
    found = reckon(2, live, there_is, History([]), 0.0)
    assert found is not None
    assert found.likely == 60.0


def test_all_that_wait_are_reckoned_at_once():
    live = [row(1), row(2), row(3, paused=True), row(4)]
    found = reckon_all({2, 3, 4}, live, ONE_SLOT, History([ended(10)]), 0.0)
    assert {seq: each.likely for seq, each in found.items()} == {2: 10.0, 4: 20.0}


def test_an_array_starts_when_its_first_element_does():
    array = {"manager": "orcha.arrays", "elements": 9, "elements_waiting": 3, "elements_running": 0}
    live = [row(1, manager=COMMAND_MANAGER), row(2, **array)]
    history = History([row(0, manager=COMMAND_MANAGER, started=0.0, ended=10.0, outcome="succeeded")])
    capacity = {"slots": {COMMAND_MANAGER: 1}, "groups": {}, "resources": {}}
    found = reckon(2, live, capacity, history, 0.0)
    assert found is not None
    assert found.likely == 10.0


@pytest.mark.parametrize(
    ("foretold", "line"),
    [
        (None, "when it starts cannot be foretold"),
        (
            Estimate(60.0, 120.0, 180.0, 4, 0),
            (
                "it probably starts in about 2 min (between 1 min and 3 min), "
                "reckoned from how long 4 petitions probably take"
            ),
        ),
        (
            Estimate(60.0, 60.0, 60.0, 4, 1),
            (
                "it probably starts in about 1 min, reckoned from how long 4 petitions probably take"
                "; 1 of these lengths is a guess, since no such petition has ended"
            ),
        ),
        (
            Estimate(60.0, 60.0, 60.0, 4, 0, if_true=True),
            (
                "it probably starts in about 1 min, if its condition holds by then, "
                "reckoned from how long 4 petitions probably take"
            ),
        ),
        (
            Estimate(60.0, 60.0, 60.0, 2, 2),
            (
                "it probably starts in about 1 min, reckoned from how long 2 petitions probably take"
                "; 2 of these lengths are a guess, since no such petition has ended"
            ),
        ),
        (
            Estimate(60.0, 60.0, 60.0, 2, 0, unknown=2, if_true=True),
            (
                "it probably starts in 1 min at the earliest, if its condition holds by then: nobody knows how long 2"
                " petitions take (--expect and --timeout tell)"
            ),
        ),
        (
            Estimate(0.0, 0.0, 0.0, 2, 0, unknown=1),
            (
                "it probably starts when others have ended: nobody knows how long 1 petition takes"
                " (--expect and --timeout tell)"
            ),
        ),
        (
            Estimate(-5.0, 0.0, 0.5, 4, 0),
            "it probably starts in a moment, reckoned from how long 4 petitions probably take",
        ),
    ],
)
def test_people_are_told_in_words(foretold, line):
    assert foretold_line(foretold, 0.0) == line


def test_why_tells_when_a_petition_will_start(own_service, latch):
    service = own_service
    assert service.run("run", "--name", "before", "--", "sleep", "0.01").returncode == 0
    asked = ("run", "--detach", "--name")
    assert service.ask(*asked, "runs", "--expect", "1h", "--", "sh", "-c", latch.wait).returncode == 0
    wait_for(lambda: "running" in service.ask("ps").stdout, what="it runs")
    assert service.ask(*asked, "waits", "--expect", "30m", "--", "true").returncode == 0
    assert service.ask(*asked, "last", "--", "sleep", "0.01").returncode == 0
    text = service.ask("why", "last").stdout.splitlines()[-1]
    assert text.startswith("it probably starts in about 1 h 29 min")
    assert text.endswith(", reckoned from how long 3 petitions probably take")
    found = json.loads(service.ask("why", "last", "--json").stdout)["estimate"]
    assert (found["reckoned"], found["guessed"]) == (3, 0)
    assert found["likely"].startswith(time.strftime("%Y-", time.gmtime(time.time() + 5_400)))
    reckoned = re.sub(r"\d+ s", "", text.removeprefix("it probably starts "))
    assert reckoned in re.sub(r"\d+ s", "", re.search("starts:  *(.*)", service.ask("show", "last").stdout)[1])
    assert json.loads(service.ask("show", "last", "--json").stdout)["estimate"]["reckoned"] == 3
    assert json.loads(service.ask("show", "runs", "--json").stdout)["estimate"] is None
    starts = {row["id"]: row["estimate"] for row in json.loads(service.ask("ps", "--starts", "--json").stdout)}
    assert starts["runs"] is None
    assert starts["waits"]["likely"] < starts["last"]["likely"]
    table = {line.split()[0]: line for line in service.ask("ps", "--starts").stdout.splitlines()}
    assert "STARTS" in table["ID"]
    assert "  in ~1 h 29 min  " in table["last"]
    assert "STARTS" not in service.ask("ps").stdout
    assert "estimate" not in service.ask("ps", "--json").stdout
    with OnTerminal(service.orcha("ps"), service.environment) as it:
        it.until(b"in ~1 h 29 min")
        assert it.end() == 0
    assert service.ask("pause", "waits").returncode == 0
    assert "starts:" not in service.ask("show", "waits").stdout
    assert service.ask("why", "waits").stdout.splitlines()[-1] == "when it starts cannot be foretold"
    assert "in about 59 min" in service.ask("why", "last").stdout
    latch.open()
    assert service.ask("wait", "last").returncode == 0
    assert "foretold" not in service.ask("why", "last").stdout


def runs_for_an_hour(service, latch):
    """Have a command run that is expected to take an hour; the latch ends it."""
    assert service.run("run", "--name", "before", "--", "true").returncode == 0
    asked = ("run", "--detach", "--name", "runs", "--expect", "1h", "--", "sh", "-c", latch.wait)
    assert service.ask(*asked).returncode == 0
    wait_for(lambda: "running" in service.ask("ps").stdout, what="it runs")


def test_the_waiting_line_tells_the_start_anew_when_the_reason_is_another(service, latch):
    runs_for_an_hour(service, latch)
    with OnTerminal(service.orcha("run", "--name", "it", "--", "true"), service.environment) as it:
        it.until(b"it waits: next; 1 of 1 slots of the machine is in use")
        it.until(b"it waits: next, starts in ~59 min; 1 of 1 slots of the machine is in use")
        assert service.ask("pause", "it").returncode == 0
        it.until(b"it waits: it is paused (")
        it.forget()
        assert service.ask("resume", "it").returncode == 0
        it.until(b"it waits: next, starts in ~59 min; ")
        latch.open()
        assert it.end() == 0


def test_where_many_wait_a_start_is_told_only_to_who_asks_for_it(service, latch):
    runs_for_an_hour(service, latch)
    assert service.ask("run", "--detach", "--name", "few", "--array", "1-3", "--", "true").returncode == 0
    why = json.loads(service.ask("why", "--json", "few").stdout)
    assert [each["kind"] for each in why["blocked"]] == ["machine_full"]
    assert why["estimate"] is not None
    with OnTerminal(service.orcha("ps"), service.environment) as it:
        it.until(b"STARTS")
        assert it.end() == 0
    count = MAX_UNASKED_PETITIONS + 1
    assert service.ask("run", "--detach", "--name", "many", "--array", f"1-{count}", "--", "true").returncode == 0
    with OnTerminal(service.orcha("ps"), service.environment) as it:
        it.until(b"many")
        assert it.end() == 0
        assert b"STARTS" not in it.seen
    assert "STARTS" in service.ask("ps", "--starts").stdout
    assert "starts:" not in service.ask("show", "few").stdout
    assert service.ask("cancel", "many", "few", "runs").returncode == 0


def test_ps_tells_when_the_elements_of_an_array_probably_start(own_service):
    service = own_service
    asked = ("run", "--detach", "--name", "it", "--array", "1-9", "--expect", "1h", "sleep", "600")
    assert service.run(*asked).returncode == 0
    wait_for(lambda: "running" in service.ask("ps", "it").stdout, what="the first element runs")
    rows = {row["id"]: row["estimate"] for row in json.loads(service.ask("ps", "it", "--starts", "--json").stdout)}
    assert (rows["it.1"], len(rows)) == (None, 9)
    starts = [datetime.fromisoformat(rows[f"it.{number}"]["likely"]) for number in range(2, 10)]
    assert [round((start - starts[0]).total_seconds() / 3_600) for start in starts] == [*range(8)]
    table = {line.split()[0]: line for line in service.ask("ps", "it", "--starts").stdout.splitlines()}
    assert "  in ~1 h 59 min  " in table["it.3"]
    assert "STARTS" not in service.ask("ps", "it").stdout
