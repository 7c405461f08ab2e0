"""Selectors on the command line, through the real command and a real service."""

from __future__ import annotations

import doctest
import json

import pytest

from orcha._cli import selecting
from support.waiting import wait_for

AT_ONCE = 2
"""Commands that the service runs."""


def test_what_is_no_pattern_is_an_id():
    assert doctest.testmod(selecting).failed == 0


def detach(service, name, *words, options=()):
    done = service.ask("run", "--detach", "--name", name, *options, "--", *words)
    assert done.returncode == 0, done.stderr


def states(service):
    rows = json.loads(service.ask("ps", "--all", "--json").stdout)
    return {row["id"]: row["outcome"] or row["state"] for row in rows}


@pytest.fixture
def several(service):
    """Have petitions that wait, and some that have ended; give the service."""
    assert service.ask("pause", "--all").returncode == 0
    for number in range(1, 4):
        detach(service, f"t-{number}", "true", options=("--label", f"night {number}"))
    detach(service, "other", "false")
    yield service
    service.ask("resume", "--all")


def test_ids_with_wildcards_and_labels_choose_what_is_cancelled(several):
    dry = several.run("cancel", "t-[12]", "--dry-run")
    assert (dry.returncode, sorted(dry.stdout.split())) == (0, ["t-1", "t-2"])
    assert set(states(several).values()) >= {"queued"}
    assert several.run("cancel", "--label", "night [12]", "--why", "late").returncode == 0
    found = states(several)
    assert {name: found[name] for name in ("t-1", "t-2", "t-3", "other")} == {
        "t-1": "cancelled",
        "t-2": "cancelled",
        "t-3": "queued",
        "other": "queued",
    }


def shown(service, name):
    return json.loads(service.ask("show", "--json", name).stdout)


def test_elements_of_an_array_are_chosen_whether_they_are_petitions_yet_or_not(service):
    detach(service, "train", "sleep", "600", options=("--array", "1-100%2"))
    wait_for(lambda: shown(service, "train")["elements_running"] == 2, what="two elements start or run")
    wait_for(lambda: shown(service, "train.1")["state"] == "running", what="the first runs")
    dry = service.ask("cancel", "--array", "train", "--state", "queued", "--dry-run")
    assert len(dry.stdout.split()) == 98
    assert service.ask("cancel", "train.[4-9]", "train.1?", "--yes").returncode == 0
    assert shown(service, "train")["elements_cancelled"] == 16
    assert service.ask("signal", "t*n.1", "KILL", "--state", "running").returncode == 0
    wait_for(lambda: shown(service, "train")["elements_failed"] == 1, what="an element failed")
    assert service.ask("cancel", "--array", "train", "--state", "queued", "--yes").returncode == 0
    known = shown(service, "train")
    assert (known["elements_waiting"], known["elements_running"]) == (0, 2)
    assert service.ask("wait", "--array", "train", "--state", "failed").returncode != 0
    assert service.ask("cancel", "--array", "train", "--yes").returncode == 0
    assert shown(service, "train")["outcome"] in {"failed", "cancelled"}


@pytest.mark.parametrize("is_over", [True, False])
def test_chosen_elements_that_ended_run_once_more_within_their_array(service, tmp_path, is_over):
    script = f"echo {{}} >> {tmp_path}/ran; test {{}} = 5 && exec sleep 600; test {{}} = 2 || exit {{}}"
    numbers = "1-4" if is_over else "1-5"
    detach(service, "train", "sh", "-c", script, options=("--array", numbers, "--at-most", "2"))
    wait_for(lambda: shown(service, "train")["elements_failed"] == 3, what="three failed")
    if is_over:
        wait_for(lambda: shown(service, "train")["outcome"] == "failed", what="it has ended")
    dry = service.ask("retry", "train.*", "--state", "failed", "--dry-run")
    assert sorted(dry.stdout.split()) == ["train.1", "train.3", "train.4"]
    assert service.ask("retry", "train.[13]", "--failed").returncode == 0
    wait_for(lambda: shown(service, "train")["elements_failed"] == 3, what="they failed again")
    again = sorted([*"1234", *("5" * (not is_over)), "1", "3"])
    wait_for(lambda: sorted((tmp_path / "ran").read_text().split()) == again, what="these two ran again")
    assert shown(service, "train")["elements_succeeded"] == 1
    if not is_over:
        assert service.ask("cancel", "train").returncode == 0


def test_other_verbs_take_the_same_options(several):
    assert several.run("priority", "t-*", "-3").returncode == 0
    assert several.run("pause", "--label", "night *").returncode == 0
    assert json.loads(several.run("show", "--json", "t-3").stdout)["priority"] == -3
    assert several.run("resume", "--label", "night *", "--state", "queued").returncode == 0
    assert several.run("resume", "--all").returncode == 0
    wait_for(lambda: states(several)["other"] == "failed" and states(several)["t-3"] == "succeeded")
    assert several.run("wait", "t-*", "other", "--state", "ended").returncode == 1
    assert several.run("wait", "t-*").returncode == 0
    assert several.run("logs", "--failed").returncode == 0
    assert several.run("retry", "--failed").returncode == 0
    assert several.run("wait", "other").returncode == 1
    wait_for(lambda: several.run("rm", "t-*", "--state", "succeeded").returncode == 0, what="nothing of them is there")
    assert not [name for name in states(several) if name.startswith("t-")]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("cancel",), 2, "which petitions? give ids, or --group, --array, --label, --owner, --state or --failed"),
        (("cancel", "--state", "dead"), 2, "'dead' is no state: write one of queued, held"),
        (("cancel", "zz*"), 0, "there is no such petition: nothing was done"),
        (("cancel", "zz*", "--dry-run"), 0, "there is no such petition\n"),
        (("wait", "--group", "zz"), 0, "there is no such petition that has not ended\n"),
        (("wait", "zz*", "--state", "failed"), 0, "there is no such petition\n"),
        (("logs", "--label", "zz"), 0, "there is no such petition\n"),
        (("pause", "--all", "--label", "x"), 2, "--all is not about single petitions"),
        (("retry", "a*", "--attach"), 2, "--attach and --stdin follow one petition: give its id alone"),
    ],
)
def test_what_cannot_be_meant_is_said(service, words, code, said):
    done = service.run(*words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


class OneSession:
    """A service with so many petitions, and what it was asked."""

    def __init__(self, number):
        self.ids = [f"p{each}" for each in range(number)]
        self.done = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def select(self, verb, selector, arguments, *, dry_run=False, before=None):
        if not dry_run:
            self.done.append(verb)
        return {"met": self.ids, "refused": [], "last": None}


@pytest.mark.parametrize(
    ("number", "answer", "done"), [(10, None, ["cancel"]), (11, "y\n", ["cancel"]), (11, "\n", []), (11, "", [])]
)
def test_on_a_terminal_a_person_is_asked_above_ten(monkeypatch, capsys, number, answer, done):
    session = OneSession(number)
    monkeypatch.setattr("orcha._cli.connection.connected", lambda: session)
    monkeypatch.setattr(selecting, "_may_ask", lambda: True)
    monkeypatch.setattr("sys.stdin", type("Typed", (), {"readline": lambda _: answer})())
    namespace = type("Namespace", (), {"dry_run": False, "yes": False})()
    code = selecting.apply(namespace, "cancel", {"ids": ["p*"]}, {})
    assert (session.done, code) == (done, 0 if done else 1)
    assert ("cancel 11 petitions (p0, p1, p2, p3, p4, ...)? [y/N] " in capsys.readouterr().err) is (answer is not None)
