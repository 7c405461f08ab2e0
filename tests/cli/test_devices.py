"""Commands that need devices, through the real command and a real service."""

from __future__ import annotations

import json

from support.waiting import wait_for

PRINT = 'echo "$ORCHA_GPU $CUDA_VISIBLE_DEVICES $ROCR_VISIBLE_DEVICES $ORCHA_RIG"'


def detach(service, name, *words, needs=()):
    options = [word for need in needs for word in ("--need", need)]
    done = service.run("run", "--detach", "--name", name, *options, "--", *map(str, words))
    assert (done.stderr, done.returncode) == ("", 0)


def shown(service, name):
    return json.loads(service.run("show", "--json", name).stdout)


def test_a_command_learns_its_devices_and_keeps_them_over_a_kill_of_the_service(serve, tmp_path):
    gate = tmp_path / "gate"
    wait = ("sh", "-c", f"{PRINT}; until [ -e {gate} ]; do sleep 0.02; done; {PRINT}")
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
    said = service.run("why", "rig").stdout
    assert f"  - {text}\n    held by large\n" in said
    gate.touch()
    lines = {"large": "2 2 2 a,b", "half": "0 0 0 ", "other half": "0 0 0 ", "one": "1 1 1 ", "rig": "   a"}
    for name, line in lines.items():
        assert service.run("wait", name).returncode == 0
        assert service.run("logs", name).stdout == f"{line}\n" * 2
    assert "devices gpu 2, rig a b" in service.run("show", "large").stdout


def test_what_cannot_be_needed_is_said_at_once(serve):
    service = serve(arguments=("serve", "commands", "--resource", "gpu=0,1"))
    refused = service.run("run", "--need", "gpu=1@mem>", "--", "true")
    assert (refused.returncode, "'1@mem>' is no need" in refused.stderr) == (2, True), refused.stderr
    refused = service.run("run", "--need", "gpu=1@mem>=20G", "--", "true")
    text = "it needs 1 gpu with mem>=20G, and the service has no such"
    assert (refused.returncode, text in refused.stderr) == (125, True), refused.stderr
