"""Leases of the whole machine, and commands that run alone."""

from __future__ import annotations

import json

from support.waiting import wait_for


def shown(service, name):
    return json.loads(service.run("show", "--json", name).stdout)


def state(service, name):
    return shown(service, name)["state"]


def detach(service, name, *words, options=()):
    done = service.run("run", "--detach", "--name", name, *options, "--", *map(str, words))
    assert (done.stderr, done.returncode) == ("", 0)


def test_who_waits_for_the_whole_machine_is_not_overtaken_and_then_alone(serve, tmp_path):
    gate = tmp_path / "gate"
    wait = ("sh", "-c", f"until [ -e {gate} ]; do sleep 0.02; done")
    service = serve(arguments=("serve", "commands", "--slots", "g=5"), environment={"ORCHA_COMMANDS": "9"})
    detach(service, "runs", *wait)
    wait_for(lambda: state(service, "runs") == "running", what="it runs")
    assert service.run("lock", "-d", "--name", "bench", "--exclusive", "--why", "benchmark").returncode == 0
    wait_for(
        lambda: (shown(service, "bench")["why"] or "") == "it needs the whole machine, and another one runs", what="w"
    )
    detach(service, "small", "true")
    detach(service, "grouped", "true", options=["--group", "g"])
    detach(service, "urgent", "true", options=["--priority", "-1"])
    assert service.run("wait", "urgent").returncode == 0
    assert [state(service, name) for name in ("bench", "small", "grouped")] == ["queued"] * 3
    said = service.run("why", "small").stdout
    print(said, service.run("why", "bench").stdout)
    assert (
        "  - another petition, which waits for the whole machine, is first\n    first is bench (root: benchmark)"
        in said
    )
    service.kill()
    service.start()
    assert [state(service, name) for name in ("bench", "small", "grouped")] == ["queued"] * 3
    gate.touch()
    wait_for(lambda: state(service, "bench") == "running", what="it has the machine")
    said = service.run("why", "small").stdout
    print(said, service.run("resource", "ls").stdout)
    assert "  - another petition has the whole machine\n    held by bench (lent to root until" in said
    service.kill()
    service.start()
    assert [state(service, name) for name in ("bench", "small", "grouped")] == ["running", "queued", "queued"]
    assert service.run("unlock", "bench").returncode == 0
    assert service.run("wait", "small", "grouped").returncode == 0
