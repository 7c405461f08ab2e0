"""``orcha cron`` through the real command and a real service."""

from __future__ import annotations

import json
import signal
import sqlite3
import time

import pytest

from support.waiting import wait_for

AT_ONCE = 2
"""Commands that the service runs."""
HOUR = 3600.0


@pytest.fixture(autouse=True)
def schedules_are_removed(request):
    """Leave the next test none: the service is the same for all."""
    service = request.getfixturevalue("service") if "service" in request.fixturenames else None
    yield
    if service is not None:
        names = [each["name"] for each in json.loads(service.run("cron", "ls", "--json").stdout)]
        assert not names or service.run("cron", "rm", *names).returncode == 0


def add(service, *options, name="tick", expression="0 * * * *", words=("sh", "-c", "echo it ran; exit 3")):
    return service.run("cron", "add", name, expression, *options, "--", *words)


def schedule(service, name="tick"):
    return json.loads(service.run("cron", "show", "--json", name).stdout)


def due_since(service, hours):
    """Have the schedules of a service, which is not there now, look as they would after so many hours without it."""
    (database,) = service.home.rglob("orcha.db")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE schedule SET fired_until = ?", (time.time() - hours * HOUR,))
    connection.close()
    (database.parent / "orcha.db.clean").write_text("")  # it is not as that stop left it, and may be taken as it is


def test_a_schedule_is_said_in_words_with_its_next_times_and_runs_as_run_does(service):
    done = add(service, "--tz", "Europe/Berlin", "-e", "TOKEN=s3cr3t", "--expect", "30m", words=("sh", "-c", "pwd"))
    first, *following = done.stdout.splitlines()
    assert first == "tick: at the start of every hour (Europe/Berlin)"
    assert [line[:5] for line in following] == ["next:", *["     "] * 4]
    made = service.run("cron", "now", "tick").stdout.strip()
    assert made.startswith("tick@")
    assert service.ask("wait", made).returncode == 0
    assert service.run("logs", made).stdout == service.run("run", "--", "pwd").stdout
    shown = service.run("cron", "show", "tick").stdout
    assert f"{made} succeeded\n" in shown
    assert "expect:        30 min\n" in shown
    assert "s3cr3t" not in shown
    assert "umask:" in shown
    known = schedule(service)
    assert known["words"] == "at the start of every hour"
    assert (known["overlap"], known["missed"], known["zone"]) == ("skip", "skip", "Europe/Berlin")
    assert "TOKEN" in known["command"]["env"]


def test_schedules_are_listed_paused_resumed_and_removed(service):
    add(service)
    add(service, "--overlap", "replace", name="other", expression="@daily")
    table = [line.split() for line in service.run("cron", "ls").stdout.splitlines()]
    assert [row[0] for row in table] == ["NAME", "other", "tick"]
    assert service.run("cron", "pause", "tick", "other").returncode == 0
    assert [each["paused"] for each in json.loads(service.run("cron", "ls", "--json").stdout)] == [True, True]
    assert "paused" in service.run("cron", "ls").stdout
    assert service.run("cron", "resume", "tick").returncode == 0
    assert service.run("cron", "rm", "other").returncode == 0
    done = service.run("cron", "rm", "other", "tick")
    assert done.returncode == 1
    assert done.stderr == "orcha: there is no schedule 'other': orcha cron ls shows the schedules\n"
    assert service.run("cron", "ls", "--json").stdout == "[]\n"


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (("tick", "61 * * * *", "--", "true"), 2, "'61 * * * *' is no schedule: its minute cannot be read"),
        (("tick", "@often", "--", "true"), 2, "write five fields"),
        (("tick", "@daily"), 2, "there is no command to run: orcha cron add NAME EXPRESSION -- COMMAND"),
        (("tick",), 2, "the following arguments are required: NAME, EXPRESSION, COMMAND"),
        (("tick", "@daily", "--at", "22:00", "--", "true"), 2, "unrecognized arguments: --at"),
        (("tick", "@daily", "--when", "load(", "--", "true"), 2, "--when cannot be read, column 5"),
        (("tick", "@daily", "--tz", "Nowhere", "--", "true"), 1, "'Nowhere' is no zone of this machine"),
        (
            ("tick", "* 2 * 3 0L", "--tz", "Europe/Berlin", "--", "true"),
            1,
            "its zone leaves these times out",
        ),
        (("a@b", "@daily", "--", "true"), 1, "leave out the @"),
        (("", "@daily", "--", "true"), 2, "is no name"),
    ],
)
def test_what_can_be_no_schedule_is_refused_with_the_cure(service, given, code, said):
    done = service.run("cron", "add", *given)
    assert done.returncode == code
    assert said in done.stderr
    assert service.run("cron", "ls", "--json").stdout == "[]\n"


def test_options_may_stand_before_the_name_after_the_expression_and_in_a_script(service, tmp_path):
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\n#ORCHA --label b --expect 2h\necho $1\n")
    script.chmod(0o755)
    done = service.run("cron", "add", "--tz", "UTC", "tick", "@daily", "--label", "a", "--", str(script), "--tz", "x")
    assert done.returncode == 0, done.stderr
    known = schedule(service)
    assert (known["zone"], known["command"]["label"], known["policy"]["expect"]) == ("UTC", "a", 7200)
    assert known["command"]["argv"] == [str(script), "--tz", "x"]
    script.write_text("#!/bin/sh\n#ORCHA --at 22:00\n")
    refused = service.run("cron", "add", "other", "@daily", "--", str(script))
    assert (refused.returncode, "line 2 of the script" in refused.stderr) == (2, True), refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("point", ["accept.before-commit", "accept.after-commit", "end.after-commit"])
def test_a_service_that_is_killed_at_a_firing_has_fired_it_once(serve, tmp_path, point):
    ran = tmp_path / "ran"
    service = serve(arguments=("serve", "commands"))
    add(service, "--missed", "last", words=("sh", "-c", f"echo it >> {ran}"))
    assert service.stop() == 0
    due_since(service, 3)
    service.start(ready=False, environment={"ORCHA_CRASH": point})
    assert service.wait_for_end() == -signal.SIGKILL
    service.start()
    wait_for(lambda: [each for each in schedule(service)["firings"] if each["outcome"]], what="it has ended")
    kinds = [each["id"] or each["note"].partition(":")[0] for each in schedule(service)["firings"]]
    assert (len(kinds), kinds[1]) == (2, "missed")
    assert ran.read_text() == "it\n"


def test_a_schedule_is_changed_and_keeps_what_it_has_fired(service):
    assert add(service, "--timeout", "1h", "-e", "KEPT=yes").returncode == 0
    first = service.run("cron", "now", "tick").stdout.strip()
    assert service.ask("wait", first).returncode == 3
    assert service.run("cron", "pause", "tick").returncode == 0
    options = ("--expression", "30 6 * * *", "--tz", "Asia/Tokyo", "--overlap", "queue", "--timeout", "+1h")
    done = service.run("cron", "set", "tick", *options, "--label", "late", "--", "sh", "-c", "echo $KEPT")
    assert (done.stderr, done.stdout) == ("", "tick: at 06:30 every day (Asia/Tokyo)\n")
    known = schedule(service)
    assert (known["expression"], known["zone"]) == ("30 6 * * *", "Asia/Tokyo")
    assert (known["overlap"], known["missed"]) == ("queue", "skip")
    assert (known["paused"], known["policy"]["timeout"], known["command"]["label"]) == (True, 7200.0, "late")
    assert [firing["id"] for firing in known["firings"]] == [first]
    second = service.run("cron", "now", "tick").stdout.strip()
    assert service.ask("wait", second).returncode == 0
    assert service.run("logs", second).stdout == "yes\n"
    assert service.run("cron", "set", "tick", "--unset", "timeout", "--missed", "all").returncode == 0
    assert schedule(service)["policy"].get("timeout") is None
    for words, code, said in (
        (("tick", "--expression", "61 * * * *"), 1, "61"),
        (("tick", "--tz", "Nowhere/City"), 1, "Nowhere/City"),
        (("tick", "--need", "nothing=1"), 1, "the service has no nothing"),
        (("nothing", "--overlap", "skip"), 1, "there is no schedule"),
        (("tick",), 2, "what is to be changed?"),
        (("tick", "--after", "x"), 2, "unrecognized arguments"),
    ):
        refused = service.run("cron", "set", *words)
        assert (words, refused.returncode, said in refused.stderr) == (words, code, True), refused.stderr
    assert schedule(service)["expression"] == "30 6 * * *"


def test_where_its_times_change_none_that_has_passed_is_made_up_for(own_service):
    service = own_service
    assert add(service, "--missed", "all", expression="0 0 1 1 *").returncode == 0
    service.stop()
    due_since(service, 5)
    service.start()
    assert service.run("cron", "set", "tick", "--expression", "0 * * * *").returncode == 0
    assert schedule(service)["firings"] == []
    service.kill()
    service.start()
    assert schedule(service)["expression"] == "0 * * * *"
