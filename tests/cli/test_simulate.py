"""What ended is a workload, and a workload is foretold as the service ran it."""

from __future__ import annotations

import argparse
import gc
import json
from xml.etree import ElementTree as ET

import pytest

from orcha._cli import gantt, workload
from orcha._cli import simulate as command
from orcha._core.forecast.workload import Capacity, Job
from support.waiting import wait_for

AT_ONCE = 2


def simulate(service, given, *options):
    """Give what is reckoned of a workload."""
    done = service.run("simulate", "-", "--json", *options, input=json.dumps(given))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def recorded(serve, latch):
    """Give a service that ran several petitions one at a time, all asked for while the first one ran."""
    service = serve(
        arguments=("serve", "commands", "--slots", "g=1", "--resource", "gpu=2"), environment={"ORCHA_COMMANDS": "1"}
    )
    options = {
        "first": (),
        "second": ("-g", "g"),
        "urgent": ("-p", "-1"),
        "needs": ("--need", "gpu=2"),
        "follows": ("--after", "second", "-p", "-2"),
        "never": ("-p", "9"),
    }
    for name, more in options.items():
        script = latch.wait if name == "first" else "true"
        assert service.ask("run", "--detach", "--name", name, *more, "--", "sh", "-c", script).returncode == 0
    assert service.ask("cancel", "never").returncode == 0
    latch.open()
    assert service.ask("wait", "--all").returncode == 0
    wait_for(lambda: service.ask("ps").stdout == "nothing waits or runs\n", what="all have ended")
    return service


@pytest.mark.parametrize("are_collected", [True, False])
@pytest.mark.parametrize("text", ['[{"id": "a", "seconds": 60}]', "no workload"])
def test_no_cycles_are_looked_for_while_a_workload_is_foretold(tmp_path, monkeypatch, capsys, are_collected, text):
    file, seen, read = tmp_path / "workload.json", [], workload.read
    file.write_text(text)

    def noted(text):
        seen.append(gc.isenabled())
        return read(text)

    monkeypatch.setattr(workload, "read", noted)
    parser = argparse.ArgumentParser()
    command.create_parser(parser)
    begun = gc.isenabled()
    (gc.enable if are_collected else gc.disable)()
    try:
        command.run(parser.parse_args([str(file)]))
        assert (seen, gc.isenabled()) == ([False], are_collected)
    finally:
        (gc.enable if begun else gc.disable)()
    capsys.readouterr()


def test_a_recorded_run_is_foretold_in_its_order(recorded):
    written = json.loads(recorded.run("history", "--json").stdout)
    assert [each["id"] for each in written["petitions"]] == ["first", "urgent", "second", "follows", "needs", "never"]
    assert written["capacity"]["groups"] == {"g": 1}
    assert written["capacity"]["resources"] == {"gpu": 2}
    assert list(written["capacity"]["slots"].values()) == [1]
    assert written["petitions"][3]["after"] == ["second"]
    assert written["petitions"][4]["needs"] == {"gpu": 2}
    found = simulate(recorded, written)
    assert [each["id"] for each in found["petitions"]] == ["first", "urgent", "second", "follows", "needs"]
    assert (found["count"], found["never"], found["other_order"]) == (5, 0, 0)
    table = recorded.run("history").stdout.splitlines()
    assert table[0].split() == ["ID", "STARTED", "WAITED", "RAN", "STATE", "COMMAND"]
    assert [line.split()[0] for line in table[1:]] == [each["id"] for each in written["petitions"]]


def test_what_would_be_with_more_of_something(service):
    jobs = [{"id": str(number), "seconds": 60, "needs": {"gpu": 1}} for number in range(6)]
    assert simulate(service, jobs, "--resource", "gpu=2")["length"] == 180
    found = simulate(service, jobs, "--resource", "gpu=3")
    assert (found["length"], found["mean_wait"], found["mean_in_use"]) == (120, 30, {"gpu": 3})
    assert simulate(service, jobs, "--resource", "gpu=6", "--at-once", "1")["length"] == 360
    grouped = [{"seconds": 60, "group": "g"}, {"seconds": 60, "group": "g"}]
    assert simulate(service, grouped, "--slots", "g=1")["length"] == 120
    assert simulate(service, grouped, "--slots", "g=none")["length"] == 60


def test_people_are_shown_a_table_and_a_picture(service, tmp_path):
    lines = '{"id": "a", "seconds": 90}\n{"id": "b", "seconds": 30, "needs": {"gpu": 1}}\n{"id": "c", "seconds": 1}\n'
    (tmp_path / "work.jsonl").write_text(lines)
    picture = tmp_path / "picture.svg"
    done = service.run(
        "simulate", str(tmp_path / "work.jsonl"), "--at-once", "1", "--svg", str(picture), "--limit", "2"
    )
    assert done.stdout.splitlines() == [
        "ID  STARTS  WAITS  RUNS        WHY",
        "b   never   -      -           it needs 1 gpu, and the service has no gpu: serve with --resource gpu=1",
        "a   +0 s    0 s    1 min 30 s",
        "... and 1 more: --limit N, --json",
        "3 petitions, 1 of them never start",
        "all take 1 min 31 s; they wait 45 s on average, 1 min 30 s at most; 1 run at a time on average",
    ]
    bars = [each for each in ET.parse(picture).iter() if each.tag.endswith("rect")]
    assert [bar[0].text for bar in bars] == ["a: waited 0 s, ran 1 min 30 s", "c: waited 1 min 30 s, ran 1 s"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "the file is no JSON, nor JSON in lines"),
        ("[" * 100_000, "the file is no JSON, nor JSON in lines"),
        ("{}", "the file has no petitions: write a JSON array"),
        ("[1]", "petition 1 is no JSON object"),
        ('[{"id": 1.5}]', "petition 1: id is 1.5: give a text"),
        ('[{"id": "x"}]', "petition 1 (x) does not say how long it takes"),
        ('[{"id": "x", "seconds": -1}]', "petition 1 (x): seconds is -1: give seconds from 0 on"),
        ('[{"id": "x", "seconds": NaN}]', "petition 1 (x): seconds is nan: give seconds from 0 on"),
        ('[{"id": "x", "seconds": 1, "submitted": "soon"}]', "submitted is 'soon': give seconds, or a time"),
        ('[{"id": "x", "seconds": 1, "priority": "high"}]', "priority is 'high': give a number"),
        ('[{"id": "x", "seconds": 1, "priority": NaN}]', "priority is nan: give a number"),
        ('[{"id": "x", "seconds": 1, "group": 3}]', "group is 3: give a text"),
        ('[{"id": "x", "seconds": 1, "needs": {"gpu": -1}}]', "give amounts by resource"),
        ('[{"id": "x", "seconds": 1, "needs": {"gpu": null}}]', "give amounts by resource"),
        ('[{"id": "x", "seconds": 1, "after": "y"}]', "after is 'y': give an array of ids"),
        ('{"petitions": [], "capacity": 3}', '"capacity" is no JSON object'),
        ('{"petitions": [], "capacity": {"groups": {"g": -1}}}', '"groups" of "capacity" is'),
        ('[{"id": "x", "seconds": 1, "preemptible": "no"}]', 'give "pause" or "requeue"'),
        ('[{"id": "x", "seconds": 1, "preemptible": ["pause"]}]', "give a text"),
        ('[{"id": "x", "seconds": 1, "outcome": {}}]', "outcome is {}: give a text"),
        ('{"petitions": [], "capacity": {"devices": {"gpu": [0]}}}', "give devices by resource"),
        ('{"petitions": [], "capacity": {"devices": {"gpu": [{"name": 0}]}}}', "give devices by resource"),
        ('{"petitions": [], "capacity": {"devices": {"gpu": [{"name": "0"}, {"name": "0"}]}}}', "give devices by"),
        (
            '{"petitions": [], "capacity": {"quotas": {"a": [{"name": "a", "limits": {"running": Infinity}}]}}}',
            "give acc",
        ),
        ('{"petitions": [], "capacity": {"rules": {"g": 1}}}', "give rules by group"),
        ('{"petitions": [], "capacity": {"rules": {"g": {"rate": [1000000000, 60]}}}}', "the group 'g': rate is 1 to"),
        ('{"petitions": [], "capacity": {"rules": {"g": {"rate": [1, -60]}}}}', "rate is a number of seconds above 0"),
        ('{"petitions": [], "capacity": {"rules": {"g": {"age": 1e-9}}}}', "age is 60 seconds at least"),
        ('{"petitions": [], "capacity": {"drained": {"gpu": "0"}}}', "give names of devices by resource"),
        ('{"petitions": [], "capacity": {"drained": {"gpu": [0]}}}', "give names of devices by resource"),
        ('{"petitions": [], "capacity": {"fair": "past"}}', '"fair" of "capacity" is'),
        ('{"petitions": [], "capacity": {"fair": {"half_life": 0}}}', "give the half-life in seconds"),
        ('{"petitions": [], "capacity": {"fair": {"half_life": 1, "used": 3}}}', "give the half-life in seconds"),
        ('{"petitions": [], "capacity": {"fair": {"half_life": 1, "used": {"a": {"": "x"}}}}}', "give the half-life"),
    ],
)
def test_what_is_no_workload_is_refused_by_its_place(text, said):
    with pytest.raises(workload.WorkloadError) as raised:
        workload.read(text)
    assert said in str(raised.value)


def test_a_priority_is_what_a_service_makes_of_it():
    given = '[{"id": "a", "seconds": 1, "priority": 100000000000000000000}]'
    assert workload.read(given).jobs[0].priority == 2**63 - 1


def test_more_devices_than_a_service_can_have_are_refused_and_the_file_is_named(service):
    jobs = [{"id": "x", "seconds": 1, "needs": {"gpu": 0.5}}]
    given = json.dumps({"petitions": jobs, "capacity": {"resources": {"gpu": 10**12}}})
    for options, text in (((), given), (("--resource", f"gpu={10**9}"), json.dumps(jobs))):
        done = service.run("simulate", "-", *options, input=text)
        assert done.returncode == 2
        assert done.stderr.startswith("orcha: standard input: of the resource gpu there are 1000000000")
        assert "give 10000 at most" in done.stderr


def test_which_device_each_gets_is_told_with_other_devices_too(service):
    devices = [{"name": "0", "properties": {"mem": "8G"}}, {"name": "1", "properties": {"mem": "24G"}}]
    jobs = [{"id": str(number), "seconds": 60, "needs": {"gpu": "1@mem>=20G"}} for number in range(2)]
    given = {"petitions": jobs, "capacity": {"devices": {"gpu": devices}}}
    for options, got in (((), [("1", 0), ("1", 60)]), (("--resource", "gpu=3"), [("1", 0), ("2", 0)])):
        found = simulate(service, given, *options)["petitions"]
        assert [(each["devices"]["gpu"][0], each["started"]) for each in found] == got
    given["capacity"]["drained"] = {"gpu": ["1"]}
    assert [each["started"] for each in simulate(service, given)["petitions"]] == [None, None]


def test_who_takes_whose_place_is_told(service):
    low = {"id": "low", "submitted": 0, "seconds": 60, "priority": 5, "needs": {"gpu": 1}, "preemptible": "requeue"}
    given = [low, {"id": "urgent", "submitted": 20, "seconds": 10, "needs": {"gpu": 1}}]
    found = simulate(service, given, "--resource", "gpu=1")
    told = [(each["id"], each["started"], each["ended"], each["gives_way_to"]) for each in found["petitions"]]
    assert told == [("low", 0, 20, "urgent"), ("urgent", 20, 30, None), ("low", 30, 90, None)]
    assert (found["count"], found["never"]) == (2, 0)
    table = service.run("simulate", "-", "--resource", "gpu=1", input=json.dumps(given)).stdout.splitlines()
    assert table[1].endswith("urgent takes its place")


def test_a_file_that_cannot_be_read_or_written_is_named(service, tmp_path):
    done = service.run("simulate", str(tmp_path / "none.json"))
    assert (done.returncode, "none.json cannot be read: No such file" in done.stderr) == (2, True)
    done = service.run("simulate", "-", "--svg", str(tmp_path / "no" / "picture.svg"), input="[]")
    assert (done.returncode, "picture.svg cannot be written: No such file" in done.stderr) == (1, True)


def test_an_empty_workload_is_one():
    assert workload.read("[]") == workload.Workload([], Capacity(), [])
    assert "<title>nothing</title>" in gantt.svg([], "nothing")
    fair = '{"petitions": [], "capacity": {"fair": {"half_life": 60, "used": {"ann": {"gpu": 5}}}}}'
    assert workload.read(fair).capacity == Capacity(half_life=60.0, used={"ann": {"gpu": 5}})
    entry = '{"id": "x", "seconds": 1, "submitted": "1970-01-01T00:01:00Z", "after_ok": ["y"], "outcome": "failed"}'
    assert workload.read(entry + "\n").jobs == [Job("x", 60.0, 1.0, after={"y": True}, succeeds=False)]
