"""Commands that wait for conditions in text, through the real command and a real service."""

from __future__ import annotations

import json

import pytest

from support.waiting import wait_for

AT_ONCE = 2
"""Commands that the service runs."""


def rows(service):
    """Give what is listed, by id; of several the newest."""
    return {row["id"]: row for row in reversed(json.loads(service.ask("ps", "--all", "--json").stdout))}


def detach(service, name, condition, *words):
    done = service.ask("run", "--detach", "--name", name, "--when", condition, "--", *map(str, words))
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "gate"


@pytest.fixture
def exists(gate):
    return f'exists("{gate}")'


def test_it_waits_over_a_kill_and_starts_when_the_condition_holds(own_service, gate, exists):
    service = own_service
    detach(service, "train", f"{exists} and load(1) >= 0", "echo", "trained")
    service.kill()
    service.start()
    wait_for(lambda: rows(service)["train"]["why"] == f"{exists} is false", what="its condition is asked again")
    shown = service.ask("show", "train").stdout
    assert f"{exists} and load(1) >= 0" in shown
    assert f"{exists} is false (asked " in shown
    gate.touch()
    assert service.ask("wait", "train").returncode == 0
    assert service.run("logs", "train").stdout == "trained\n"
    assert json.loads(service.ask("show", "--json", "train").stdout)["when"] == f"{exists} and load(1) >= 0"


def test_who_waits_is_told_which_part_is_false(service, gate, exists):
    command = service.orcha("run", "--name", "test", "--when", f"load(1) < 0 or {exists}", "--", "true")
    client = service.spawn(*command, stdout=-1, stderr=-1)
    wait_for(lambda: f"{exists} is false" in (rows(service).get("test") or {}).get("why", ""), what="it waits")
    first = client.stderr.readline().decode()
    gate.touch()
    client.communicate()
    assert first.startswith("orcha: ")
    assert f"load(1) < 0 or {exists} is false: load(1) is " in first
    assert client.returncode == 0


@pytest.mark.parametrize("more", [(), ("--detach",)])
@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("load(1) < 4 and hours > 3", "column 17: there is no hours: did you mean hour?"),
        ("load(1) < 4 and", "column 16: something is missing at the end"),
        ("hour > 3 and \x1b[2J", "column 14: '\\x1b' has no meaning here: a text stands between quotes"),
    ],
)
def test_a_text_that_is_no_condition_is_refused_and_pointed_at(service, condition, told, more):
    done = service.run("run", *more, "--when", condition, "--", "true")
    assert (done.stdout, done.returncode) == ("", 2)
    first, shown, carets = done.stderr.splitlines()
    assert first == f"orcha: --when cannot be read, {told}"
    assert shown == f"  {condition}".replace("\x1b", " ")
    assert carets.strip() in {"^^^^^", "^"}
    assert not rows(service)


def test_help_says_what_a_condition_may_name(service):
    done = service.run("run", "--when", "help")
    assert (done.returncode, done.stderr) == (0, "")
    for example in (
        "load(1) < 4",
        'not exists("/run/maint")',
        'between("22:00", "06:00")',
        'resource("gpu").free >= 2',
    ):
        assert example in done.stdout


def test_the_same_again_has_the_same_condition(service, gate, exists):
    gate.touch()
    detach(service, "train", exists, "true")
    assert service.ask("wait", "train").returncode == 0
    gate.unlink()
    detach(service, "looks", f"load(1) < 0 and {exists}", "true")
    wait_for(lambda: f"{exists} is false" in rows(service)["looks"]["why"], what="the file was seen to be gone")
    assert service.ask("retry", "train").returncode == 0
    wait_for(lambda: rows(service)["train"]["why"] == f"{exists} is false", what="it waits again")
