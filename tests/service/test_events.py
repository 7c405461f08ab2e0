"""What clients do and try is kept, told to who may know it, and written to the log."""

from __future__ import annotations

import json

from support.waiting import wait_for


def events(service, *options, run=None):
    done = (run or service.run)("events", "--json", *options)
    assert done.returncode == 0, done.stderr
    found = [(each["verb"], each["ids"], each["outcome"]) for each in json.loads(done.stdout)]
    return [each for each in found if each[0] != "login"]


def test_deeds_are_kept_over_restarts_with_what_came_of_them(serve):
    service = serve(
        arguments=("serve", "commands"), environment={"ORCHA_LOG_RUNS": "1", "ORCHA_KEEP_LEAST": "1"}, start=False
    )
    service.start()

    def do(*words):
        return service.run(*words).returncode

    assert events(service) == []
    assert do("run", "--detach", "--name", "a", "--", "sleep", "1000") == 0
    assert do("run", "--detach", "--name", "b", "--group", "rig", "--", "sleep", "1000") == 0
    assert do("run", "--detach", "--name", "b", "--", "true") == 125
    assert do("pause", "--group", "rig") == 0
    assert do("priority", "b", "5") in {0, 1}
    assert do("group", "set", "rig", "--slots", "1") == 0
    assert do("ps") == 0
    assert do("cancel", "a", "--why", "too late") == 0
    assert do("cancel", "--group", "rig") == 0
    assert do("cancel", "nobody") == 1
    assert do("drain", "--why", "a new disk") == 0
    assert do("undrain") == 0
    found = events(service)
    assert [each[:2] for each in found if each[0] not in {"priority", "rm"}] == [
        ("submit", ["a"]),
        ("submit", ["b"]),
        ("submit", ["b"]),
        ("pause", ["group rig"]),
        ("group set", ["group rig"]),
        ("cancel", ["a"]),
        ("cancel", ["b"]),
        ("cancel", ["nobody"]),
        ("drain", []),
        ("undrain", []),
    ]
    assert [each[2] for each in found if each[0] == "submit"] == ["done", "done", "refused"]
    assert [each[2] for each in found if each[0] == "cancel"] == ["done", "done", "refused"]
    assert {each["door"] for each in json.loads(service.run("events", "--json").stdout)} == {"socket"}
    service.kill()
    service.start()
    assert events(service) == found
    assert events(service, "--verb", "cancel", "--id", "a") == [("cancel", ["a"], "done")]
    assert events(service, "--who", "nobody") == []
    logins = json.loads(service.run("events", "--json", "--verb", "login").stdout)
    assert [(each["door"], each["outcome"]) for each in logins] == [("socket", "done")] * 2, "one of each start"
    assert events(service, "--since", "1h", "--limit", "3") == found[-2:]
    shown = service.run("events", "--id", "a").stdout
    assert "too late" in shown
    assert "socket" in shown
    assert do("rm", "a") == 0
    assert [each[:2] for each in events(service, "--id", "a")] == [
        ("submit", ["a"]),
        ("cancel", ["a"]),
        ("rm", ["a"]),
    ], "the submit is told also when the petition is forgotten"
    wait_for(lambda: "deed of" in service.stderr(), what="the log has a line for a deed")
