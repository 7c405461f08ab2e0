"""What people set of groups, resources and schedules is kept before they are answered."""

from __future__ import annotations

import json

SETTINGS = (
    ("group", "set", "rig", "--slots", "7"),
    ("pause", "-g", "rig"),
    ("resource", "set", "licence=5"),
    ("resource", "drain", "gpu"),
    ("cron", "add", "nightly", "@daily", "--", "true"),
)
LISTS = (("group", "ls", "--json"), ("resource", "ls", "--json"), ("cron", "ls", "--json"))


def test_what_people_set_is_there_after_a_kill(serve):
    service = serve(arguments=("serve", "commands", "--slots", "rig=3", "--resource", "gpu=0,1"))
    for words in SETTINGS:
        done = service.run(*words)
        assert (done.stderr, done.returncode) == ("", 0)
    service.kill()
    service.start()
    groups, resources, schedules = (json.loads(service.run(*words).stdout) for words in LISTS)
    assert [(each["group"], each["slots"], each["paused"]) for each in groups] == [("rig", 7, True)]
    known = {each["resource"]: (each["capacity"], each["drained"] is not None) for each in resources}
    assert known == {"gpu": (2, True), "licence": (5, False)}
    assert [each["name"] for each in schedules] == ["nightly"]
