"""A service reads its configuration files at its start and again when it is asked to; petitions stay as they are."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from orcha.utils.users import name_of
from support.waiting import wait_for

FIRST = """\
[service]
commands = 1
stop_grace = "5s"
[groups.nightly]
slots = 2
[groups.rig]
slots = 1
[resources]
gpu = ["0", "1@mem=80G"]
ram_gb = 64
[defaults]
grace = "2s"
"""
SECOND = """\
[service]
commands = 2
stop_grace = "6s"
shim_silence = 60
[groups.nightly]
slots = 3
per_user = 1
[resources]
ram_gb = 32
[defaults]
grace = "3s"
"""


@pytest.fixture
def configured(serve):
    service = serve(arguments=("serve", "commands"), start=False)
    service.environment.pop("ORCHA_COMMANDS", None)
    return service


def write(service, text):
    (service.home / "orcha.toml").write_text(text)


def groups(service):
    return {
        each["group"]: (each["slots"], each["per_user"], each["origin"].rpartition("/")[2])
        for each in json.loads(service.ask("group", "ls", "--json").stdout)
    }


def resources(service):
    known = json.loads(service.ask("resource", "ls", "--json").stdout)
    return {each["resource"]: (each["capacity"], each["origin"].rpartition("/")[2]) for each in known}


def stats(service):
    return json.loads(service.ask("stats", "--json").stdout)


def test_configuration_is_read_at_the_start_and_again_while_petitions_stay_as_they_are(configured):
    service = configured
    write(service, FIRST)
    service.start()
    assert groups(service) == {"nightly": (2, None, "orcha.toml:4"), "rig": (1, None, "orcha.toml:6")}
    assert resources(service) == {"gpu": (2, "orcha.toml:9"), "ram_gb": (64, "orcha.toml:10")}
    assert service.ask("run", "--detach", "--name", "a", "-g", "rig", "--", "sleep", "60").returncode == 0
    assert service.ask("run", "--detach", "--name", "b", "-g", "rig", "--", "sleep", "60").returncode == 0
    assert service.ask("group", "set", "nightly", "--slots", "7").returncode == 0
    write(service, SECOND)
    done = service.run("reload", "--json")
    assert (done.stderr, done.returncode) == ("", 0)
    told = json.loads(done.stdout)
    assert told["fault"] is None
    assert told["restart"] == ["service.shim_silence"]
    assert [each.partition(" ")[0] for each in told["overridden"]] == ["groups.nightly"]
    assert {each.partition(" ")[0] for each in told["changed"]} == {
        *(
            "service.commands",
            "service.stop_grace",
            "groups.nightly.slots",
            "groups.nightly.per_user",
            "defaults.grace",
        ),
        *("groups.rig", "groups.rig.slots", "resources.gpu", "resources.ram_gb"),
    }
    assert groups(service)["nightly"] == (7, None, "set")
    assert groups(service)["rig"] == (None, None, "petition")  # its petitions wait for no slot that nobody gives
    assert resources(service) == {"ram_gb": (32, "orcha.toml:9")}
    wait_for(lambda: stats(service)["states"]["running"] == 2, what="the petition of the group without slots starts")
    assert (stats(service)["stop"]["grace"], stats(service)["slots"]) == (6.0, {"orcha.lib.commands:CommandManager": 2})
    assert service.ask("group", "unset", "nightly").returncode == 0
    assert groups(service)["nightly"] == (3, 1, "orcha.toml:5")
    refused = service.ask("group", "unset", "nightly")
    assert (refused.returncode, "nobody has set the group 'nightly'" in refused.stderr) == (1, True)
    assert service.ask("cancel", "a", "b").returncode == 0


def test_a_wrong_file_leaves_what_was_in_force_and_the_service_says_so_until_it_is_mended(configured):
    service = configured
    write(service, FIRST)
    service.start()
    write(service, FIRST + "[retention]\nagge = 1\n")
    done = service.run("reload")
    line = f"{service.home}/orcha.toml:14:1: there is no retention.agge: did you mean age?"
    assert (done.returncode, done.stderr) == (78, f"orcha: {line}: what was in force before stays\n")
    assert groups(service)["nightly"] == (2, None, "orcha.toml:4")
    assert line in service.ask("ps").stderr
    assert stats(service)["configuration"]["fault"] == line
    found = json.loads(service.run("doctor", "--json").stdout)["findings"]
    assert [each["text"] for each in found if each["check"] == "configuration"] == [
        f"{line}: mend it, and orcha reload"
    ]
    write(service, FIRST.replace("slots = 2", "slots = 4"))
    assert service.run("reload").returncode == 0
    assert groups(service)["nightly"] == (4, None, "orcha.toml:4")
    assert service.ask("ps").stderr == ""
    assert stats(service)["configuration"]["fault"] is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[service]\nstop_grace = 'soon'\n", "2:14: service.stop_grace is a duration"),
        ('[groups.rig]\nwhen = "rig.heat < 60"\n', "2:8: groups.rig.when cannot be read: there is no rig.heat"),
    ],
    ids=["a wrong value", "a condition that names nothing"],
)
def test_a_service_with_a_wrong_file_does_not_start_and_names_the_place(configured, text, line):
    service = configured
    write(service, text)
    service.start(ready=False)
    assert service.wait_for_end() == 78
    assert f"orcha: {service.home}/orcha.toml:{line}" in service.stderr()


def test_the_files_hold_after_a_kill_and_what_was_set_wins(configured):
    service = configured
    write(service, FIRST)
    service.start()
    assert service.ask("group", "set", "nightly", "--slots", "7").returncode == 0
    assert service.ask("resource", "set", "ram_gb=5").returncode == 0
    service.kill()
    write(service, SECOND)
    service.start()
    assert groups(service) == {"nightly": (7, None, "set"), "rig": (None, None, "petition")}
    assert resources(service) == {"ram_gb": (5, "set")}
    assert service.ask("resource", "unset", "ram_gb").returncode == 0
    assert resources(service) == {"ram_gb": (32, "orcha.toml:9")}
    service.kill()
    service.start()
    assert resources(service) == {"ram_gb": (32, "orcha.toml:9")}


def test_sighup_to_a_service_in_the_background_reloads(serve):
    service = serve(arguments=("serve", "commands"), start=False)
    write(service, FIRST)
    started = service.run("serve", "commands", "--background")
    assert started.returncode == 0, started.stderr
    try:
        (pidfile,) = service.home.glob("*/service.pid")
        pid = int(pidfile.read_text())
        write(service, SECOND)
        os.kill(pid, signal.SIGHUP)
        wait_for(lambda: groups(service)["nightly"][:2] == (3, 1), what="the file is read again")
        assert Path(f"/proc/{pid}").exists()
    finally:
        assert service.run("stop").returncode == 0


def test_a_value_is_set_in_a_drop_in_and_what_would_be_wrong_is_not_written(configured):
    service = configured
    write(service, "# a comment that stays\n" + FIRST)
    drop_in = service.home / "orcha.toml.d" / "90-set.toml"
    assert service.run("config", "set", "groups.nightly.slots", "9").returncode == 0
    wrong = service.run("config", "set", "groups.nightly.slotz", "9")
    assert (wrong.returncode, "did you mean slots?" in wrong.stderr) == (78, True)
    assert drop_in.read_text().splitlines()[1:] == ["groups.nightly.slots = 9"]
    shown = json.loads(service.run("config", "show", "--json").stdout)
    assert ("groups.nightly.slots", "9", f"{drop_in}:2") in [
        (each["key"], each["value"], each["origin"]) for each in shown
    ]
    assert f"{drop_in}:2" in service.run("config", "show", "--origin").stdout
    assert service.run("config", "unset", "groups.nightly.slots").returncode == 0
    assert service.run("config", "unset", "groups.nightly.slots").returncode == 1
    checked = service.run("config", "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert (service.home / "orcha.toml").read_text().startswith("# a comment that stays\n")
    assert "GroupTable" in json.loads(service.run("config", "schema").stdout)["$defs"]
    assert service.run("config", "check", "/nowhere/orcha.toml").returncode == 78


def test_a_quota_of_nobody_is_said_wherever_the_configuration_is_read(configured):
    """It holds, since the user may be made later."""
    service = configured
    write(service, "[quota.user.rooot]\nrunning = 1\n")
    path = service.home / "orcha.toml"
    first = f"{path}:1:13: quota.user.rooot limits nobody: this machine has no user rooot (did you mean root?)"
    service.start()
    wait_for(lambda: first in service.stderr(), what="the log says it")
    checked = service.run("config", "check")
    assert (checked.returncode, checked.stdout.startswith(f"note: {first}")) == (0, True)
    (note,) = json.loads(service.run("config", "check", "--json").stdout)
    assert (note["kind"], note["line"], note["column"]) == ("note", 1, 13)
    found = json.loads(service.run("doctor", "--json").stdout)
    assert (found["faults"], [each["text"] for each in found["findings"] if each["check"] == "nobody's settings"]) == (
        0,
        [f"{first}: mend the name, or make that user"],
    )
    write(service, '[weights]\n"@rooot" = 2\n')
    second = f'{path}:2:12: weights."@rooot" has no weight: this machine has no group rooot (did you mean root?)'
    reloaded = service.run("reload")
    assert (reloaded.returncode, f"note: {second}" in reloaded.stdout, second in service.stderr()) == (0, True, True)
    set_ = service.run("config", "set", "quota.user.rooot.queued", "9")
    assert (set_.returncode, "quota.user.rooot limits nobody" in set_.stderr) == (0, True)
    write(service, "")
    assert service.run("config", "unset", "quota.user.rooot.queued").returncode == 0
    assert "note" not in service.run("reload").stdout


QUOTAS = """\
[service]
commands = 9
[resources]
gpu = 4
[quota.default]
running = 3
queued = 2
resources = { gpu = 1 }
"""


def test_quotas_hold_and_are_changed_while_petitions_wait(configured):
    service = configured
    me = name_of(os.geteuid())
    write(service, QUOTAS)
    service.start()

    def detach(name, *options):
        return service.ask("run", "--detach", "--name", name, *options, "--", "sleep", "1000")

    def state(name):
        return json.loads(service.ask("show", "--json", name).stdout)["state"]

    assert detach("first", "--need", "gpu=1").returncode == 0
    assert detach("second", "--need", "gpu=1").returncode == 0
    told = service.ask("why", "second").stdout
    assert f"quota: 1 of {me}'s 1 gpu in use" in told
    assert "first" in told
    assert "starts" in service.ask("why", "second").stdout
    never = detach("never", "--need", "gpu=2")
    assert (never.returncode, f"it needs 2 gpu, and {me} may have 1" in never.stderr) == (125, True)
    array = service.ask("run", "--detach", "--name", "many", "--array", "0-1", "--", "true")
    assert array.returncode == 125
    assert f"quota: 1 of {me}'s 2 petitions wait, and these are 2 more (quota.default.queued, " in array.stderr
    assert "orcha.toml:7): wait until" in array.stderr
    (known,) = json.loads(service.ask("who", "--json").stdout)["users"]
    assert (known["user"], known["queued"], known["running"], known["held"]) == (me, 1, 1, {"gpu": 1})
    assert known["quota"]["queued"] == 2
    assert "1 of 2" in service.ask("who").stdout
    service.kill()  # what lives on and waits is counted again
    service.start()
    assert f"quota: 1 of {me}'s 1 gpu in use" in service.ask("why", "second").stdout
    assert detach("third", "--need", "gpu=1").returncode == 0
    assert detach("fourth").returncode == 125
    write(service, f"{QUOTAS}[quota.user.{me}]\nresources.gpu = 2\n")
    assert service.run("reload").returncode == 0
    wait_for(lambda: state("second") == "running", what="the petition starts that waited for a larger quota")
    assert state("third") == "queued"
    write(service, "")
    assert service.run("reload").returncode == 0
    assert service.ask("cancel", "first", "second", "third").returncode == 0
