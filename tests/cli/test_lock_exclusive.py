"""Leases of the whole machine, and commands that run alone."""

from __future__ import annotations

import json

from support.waiting import wait_for


def shown(service, name):
    return json.loads(service.ask("show", "--json", name).stdout)


def state(service, name):
    return shown(service, name)["state"]


def detach(service, name, *words, options=()):
    done = service.ask("run", "--detach", "--name", name, *options, "--", *map(str, words))
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_command_can_need_the_whole_machine(serve, latch):
    service = serve(arguments=("serve", "commands"), environment={"ORCHA_COMMANDS": "9"})
    wait = ("sh", "-c", latch.wait)
    detach(service, "bench", *wait, options=["--need", "*=1"])
    wait_for(lambda: state(service, "bench") == "running", what="it has the machine")
    detach(service, "small", "true")
    assert service.ask("lock", "-d", "--name", "lease", "--exclusive").returncode == 0
    wait_for(lambda: shown(service, "small")["why"] == "another petition has the whole machine", what="it waits")
    service.kill()
    service.start()
    wait_for(lambda: "another one runs" in shown(service, "lease")["why"], what="the lease waits, too")
    assert state(service, "small") == "queued"
    latch.open()
    assert service.ask("wait", "small").returncode == 0
    wait_for(lambda: state(service, "lease") == "running", what="the lease is next")
    refused = service.ask("resource", "set", "*=2")
    assert (refused.returncode, "'*=2'" in refused.stderr) == (1, True), refused.stderr


def test_who_waits_for_the_whole_machine_is_not_overtaken_and_then_alone(serve, latch):
    wait = ("sh", "-c", latch.wait)
    service = serve(arguments=("serve", "commands", "--slots", "g=5"), environment={"ORCHA_COMMANDS": "9"})
    detach(service, "runs", *wait)
    wait_for(lambda: state(service, "runs") == "running", what="it runs")
    assert service.ask("lock", "-d", "--name", "bench", "--exclusive", "--why", "benchmark").returncode == 0
    wait_for(
        lambda: (shown(service, "bench")["why"] or "") == "it needs the whole machine, and another one runs", what="w"
    )
    detach(service, "small", "true")
    detach(service, "grouped", "true", options=["--group", "g"])
    detach(service, "urgent", "true", options=["--priority", "-1"])
    assert service.ask("wait", "urgent").returncode == 0
    assert [state(service, name) for name in ("bench", "small", "grouped")] == ["queued"] * 3
    said = service.ask("why", "small").stdout
    print(said, service.ask("why", "bench").stdout)
    assert "  - another petition, which waits for the whole machine, is first\n    since " in said
    assert "    first is bench (root: benchmark)\n" in said
    service.kill()
    service.start()
    assert [state(service, name) for name in ("bench", "small", "grouped")] == ["queued"] * 3
    latch.open()
    wait_for(lambda: state(service, "bench") == "running", what="it has the machine")
    said = service.ask("why", "small").stdout
    print(said, service.ask("resource", "ls").stdout)
    assert "  - another petition has the whole machine\n" in said
    assert "    held by bench (lent to root until" in said
    service.kill()
    service.start()
    assert [state(service, name) for name in ("bench", "small", "grouped")] == ["running", "queued", "queued"]
    assert service.ask("unlock", "bench").returncode == 0
    assert service.ask("wait", "small", "grouped").returncode == 0
