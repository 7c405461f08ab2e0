"""Commands that need devices, through the real command and a real service."""

from __future__ import annotations

import json
import os

from support.waiting import wait_for

PRINT = 'echo "$ORCHA_GPU $CUDA_VISIBLE_DEVICES $ROCR_VISIBLE_DEVICES $ORCHA_RIG"'


def detach(service, name, *words, needs=()):
    options = [word for need in needs for word in ("--need", need)]
    done = service.ask("run", "--detach", "--name", name, *options, "--", *map(str, words))
    assert (done.stderr, done.returncode) == ("", 0)


def shown(service, name):
    return json.loads(service.ask("show", "--json", name).stdout)


def test_a_command_learns_its_devices_and_keeps_them_over_a_kill_of_the_service(serve, latch):
    wait = ("sh", "-c", f"{PRINT}; {latch.wait}; {PRINT}")
    service = serve(
        arguments=("serve", "commands", "--resource", "gpu=0,1,2@mem=80G", "--resource", "rig=a,b"),
        environment={"ORCHA_COMMANDS": "9"},
    )
    detach(service, "large", *wait, needs=["gpu=1@mem>=40G", "rig=2"])
    wait_for(lambda: shown(service, "large")["state"] == "running", what="it runs")
    detach(service, "half", *wait, needs=["gpu=0.5"])
    wait_for(lambda: shown(service, "half")["state"] == "running", what="it runs")
    service.kill()
    service.start()
    assert shown(service, "large")["attempts"][0]["devices"] == {"gpu": ["2"], "rig": ["a", "b"]}
    for name, needs in (("other half", ["gpu=0.5"]), ("one", ["gpu=1"]), ("rig", ["rig=1"])):
        detach(service, name, *wait, needs=needs)
    text = "it needs 1 rig, 0 of 2 are free"
    wait_for(lambda: shown(service, "rig")["why"] == text, what="it waits")
    said = service.ask("why", "rig").stdout
    assert f"  - {text}\n    since " in said
    assert "    held by large (rig:a, rig:b)\n" in said
    latch.open()
    lines = {"large": "2 2 2 a,b", "half": "0 0 0 ", "other half": "0 0 0 ", "one": "1 1 1 ", "rig": "   a"}
    for name, line in lines.items():
        assert service.ask("wait", name).returncode == 0
        assert service.run("logs", name).stdout == f"{line}\n" * 2
    assert "devices gpu 2, rig a b" in service.ask("show", "large").stdout


def test_what_cannot_be_needed_is_said_at_once(serve):
    service = serve(arguments=("serve", "commands", "--resource", "gpu=0,1"))
    refused = service.run("run", "--need", "gpu=1@mem>", "--", "true")
    assert (refused.returncode, "'1@mem>' is no need" in refused.stderr) == (2, True), refused.stderr
    refused = service.run("run", "--need", "gpu=1@mem>=20G", "--", "true")
    text = "it needs 1 gpu with mem>=20G, and the service has no such"
    assert (refused.returncode, text in refused.stderr) == (125, True), refused.stderr


def resources(service):
    return {each["resource"]: each for each in json.loads(service.run("resource", "ls", "--json").stdout)}


def test_what_is_drained_gets_nothing_more_over_a_restart_until_it_is_undrained(serve, latch):
    wait = ("sh", "-c", latch.wait)
    service = serve(
        arguments=("serve", "commands", "--resource", "gpu=0,1", "--resource", "ram=8"),
        environment={"ORCHA_COMMANDS": "9"},
    )
    detach(service, "runs", *wait, needs=["gpu=1"])
    wait_for(lambda: shown(service, "runs")["state"] == "running", what="it runs")
    assert service.run("resource", "drain", "gpu:0", "gpu:1", "--why", "fan").returncode == 0
    detach(service, "waits", *wait, needs=["gpu=1"])
    text = "it needs 1 gpu, and beside what is drained there is 0: gpu:0 (fan), gpu:1 (fan)"
    wait_for(lambda: shown(service, "waits")["why"] == text, what="it waits")
    service.kill()
    service.start()
    wait_for(lambda: shown(service, "waits")["why"] == text, what="it waits after the restart, too")
    said = service.ask("why", "waits").stdout
    assert f"  - {text}\n    since " in said
    assert "    until an operator" in said
    assert shown(service, "runs")["state"] == "running"
    lines = service.run("resource", "ls").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["RESOURCE", "IN", "USE", "HELD", "BY", "STATE"],
        ["gpu", "1", "of", "2", "1", "waits"],
        ["gpu:0", "runs", "drained:", "fan"],
        ["gpu:1", "drained:", "fan"],
        ["ram", "0", "of", "8"],
    ]
    assert service.run("resource", "undrain", "gpu:1").returncode == 0
    wait_for(lambda: shown(service, "waits")["state"] == "running", what="it runs on the other device")
    assert shown(service, "waits")["attempts"][0]["devices"] == {"gpu": ["1"]}
    latch.open()
    assert service.ask("wait", "runs", "waits").returncode == 0
    refused = service.run("resource", "undrain", "gpu:1")
    assert (refused.returncode, "gpu:1 is not drained" in refused.stderr) == (1, True), refused.stderr
    refused = service.run("resource", "drain", "gpu:7")
    assert (refused.returncode, "there is no 'gpu:7'" in refused.stderr) == (1, True), refused.stderr


def test_what_was_set_at_run_time_stays_until_a_start_says_something_new(serve, tmp_path):
    service = serve(arguments=("serve", "commands"), environment={"ORCHA_RESOURCES": "gpu=0,1,ram=8"})
    assert service.run("resource", "set", "gpu=0@mem=24G,1,2").returncode == 0
    assert service.run("resource", "set", "ram=forget", "tape=2G").returncode == 0
    refused = service.run("resource", "set", "gpu=many")
    assert (refused.returncode, "gpu=many" in refused.stderr) == (1, True), refused.stderr
    service.kill()
    service.start()
    known = resources(service)
    assert {name: each["capacity"] for name, each in known.items()} == {"gpu": 3, "tape": 2 << 30}
    assert known["gpu"]["devices"][0]["properties"] == {"mem": 24 << 30}
    service.stop()
    service.start(environment={"ORCHA_RESOURCES": "gpu=0,,ram=8"})
    known = resources(service)
    assert {name: each["capacity"] for name, each in known.items()} == {"gpu": 1, "tape": 2 << 30}
    assert service.run("resource", "set", "tape=forget").returncode == 0
    service.stop()
    service.start(environment={"ORCHA_RESOURCES": "gpu=0,,ram=9"})
    assert {name: each["capacity"] for name, each in resources(service).items()} == {"gpu": 1, "ram": 9}


LIBRARY = """
import json, os
from types import SimpleNamespace

def nvmlInit(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetName(handle): return "A100"
def nvmlDeviceGetMemoryInfo(handle): return SimpleNamespace(total=24 << 30)
def nvmlDeviceGetComputeRunningProcesses(handle):
    with open(os.environ["FAKE_NVML"]) as file:
        return [SimpleNamespace(pid=pid) for pid in json.load(file)[handle]]
"""


def test_a_gpu_that_somebody_else_computes_on_is_not_free_and_why_names_them(serve, tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "pynvml.py").write_text(LIBRARY)
    pids = tmp_path / "pids"
    pids.write_text(json.dumps([[], [os.getpid()]]))
    path = os.pathsep.join(filter(None, (str(tmp_path / "library"), os.environ.get("PYTHONPATH"))))
    service = serve(
        arguments=("serve", "commands", "--detect", "--resource", "cpu=3"),
        environment={"ORCHA_COMMANDS": "9", "PYTHONPATH": path, "FAKE_NVML": str(pids)},
    )
    known = resources(service)
    assert (known["cpu"]["capacity"], known["gpu"]["capacity"]) == (3, 2)
    assert known["gpu"]["devices"][0]["properties"] == {"mem": 24 << 30, "model": "A100"}
    detach(service, "runs", "sleep", "1000", needs=["gpu=1@mem>=20G"])
    wait_for(lambda: shown(service, "runs")["state"] == "running", what="it runs")
    assert shown(service, "runs")["attempts"][0]["devices"] == {"gpu": ["0"]}
    detach(service, "waits", "true", needs=["gpu=1"])
    seen = f"(pid {os.getpid()}), of no petition"
    wait_for(lambda: seen in (shown(service, "waits")["why"] or ""), what="the process is told")
    said = service.ask("why", "waits").stdout
    assert "it needs 1 gpu, 0 of 2 are free; gpu:1 is used by " in said
    assert "held by runs (gpu:0)" in said
    pids.write_text("[[], []]")
    assert service.ask("wait", "waits").returncode == 0
    assert shown(service, "waits")["attempts"][0]["devices"] == {"gpu": ["1"]}
    service.ask("cancel", "runs")
