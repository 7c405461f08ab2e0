"""What a listing shows of a command: bounded, readable, and without secrets."""

from __future__ import annotations

import doctest
import json

import pytest

from orcha._service.reports import command_text as commandline
from orcha._service.reports.command_text import MAX_LISTED_CHARACTERS, in_words, shortened
from support.waiting import wait_for

SECRETS = [
    ["mysql", "--password=sesame"],
    ["mysql", "-psesame"],
    ["env", "TOKEN=sesame", "make"],
    ["sh", "-c", "curl -u me:sesame https://me:sesame@host/"],
    ["sh", "-c", "export API_KEY='sesame sesame sesame'; make"],
    ["sh", "-c", "echo \"it's\"; PASSWORD='sesame sesame' make"],
]


def test_examples_are_true():
    assert doctest.testmod(commandline).failed == 0


@pytest.mark.parametrize("command", SECRETS, ids=str)
@pytest.mark.parametrize("before", [0, 400, 900, 960, 980, 990, 1_000, 5_000])
@pytest.mark.parametrize("after", [0, 50, 2_000])
def test_no_part_of_a_secret_is_shown_wherever_a_long_command_is_cut(command, before, after):
    *head, last = command
    for padding in ("x", "x "):
        long = (padding * before)[:before]
        padded = [f"{long}; {last}"] if "-c" in head else [long, last]
        assert "ses" not in in_words([*head, *padded, "y" * after])
        assert "ses" not in in_words([*head, last, long, "y" * after])


def test_what_is_shown_is_bounded_whatever_the_command():
    for words in (["x" * 131_000], ["\0" * 10_000], ["x"] * 100_000, [b"\xff" * 131_000], ["'" * 700]):
        assert len(in_words(words)) <= MAX_LISTED_CHARACTERS
        assert "…" in in_words(words)
    assert in_words(["make", "-j4", "a b"]) == "make -j4 'a b'"
    assert in_words(["\udcff"]) == "'\\udcff'"


@pytest.mark.parametrize("longest", [1, 2, 3, 10, 11])
def test_a_text_is_shortened_to_what_was_asked_for(longest):
    text = shortened("abcdefghijkl", longest)
    assert len(text) == longest
    beginning, _, end = text.partition("…")
    assert "abcdefghijkl".startswith(beginning)
    assert "abcdefghijkl".endswith(end)


def test_commands_and_labels_are_listed_while_they_wait_run_and_are_kept(serve):
    service = serve(arguments=("serve", "commands"), environment={"ORCHA_COMMANDS": "1"})
    run = ("run", "--detach", "--label", "frame 7 of 9")
    assert service.run(*run, "--name", "a", "--", "sleep", "1000").returncode == 0
    assert service.run(*run, "--name", "b", "--", "sh", "-c", "cd /; TOKEN=sesame :").returncode == 0

    def listed(*arguments):
        rows = json.loads(service.ask("ps", "--json", *arguments).stdout)
        return {row["id"]: (row["state"], row["label"], row["command"]) for row in rows}

    second = "sh -c 'cd /; TOKEN=*** :'"
    expected = {"a": ("running", "frame 7 of 9", "sleep 1000"), "b": ("queued", "frame 7 of 9", second)}
    wait_for(lambda: listed() == expected)
    table = service.ask("ps").stdout
    assert second in table
    assert "frame 7 of 9" in table
    assert service.ask("cancel", "a").returncode == 0
    assert service.ask("wait", "b").returncode == 0
    assert listed("--all")["b"] == ("ended", "frame 7 of 9", second)


def test_what_is_paused_is_told_with_every_listing(serve):
    service = serve(arguments=("serve", "commands", "--slots", "nightly=none"))
    assert "paused" not in service.ask("ps").stdout
    for pause in (["--all"], ["--group", "nightly"]):
        assert service.ask("pause", *pause).returncode == 0
    lines = service.ask("ps").stdout.splitlines()
    assert lines[0] == "nothing waits or runs"
    assert [line.partition(",")[0] for line in lines[1:]] == ["everything is paused", "group nightly is paused"]
    assert service.ask("ps", "--json").stdout == "[]\n"
    for pause in (["--all"], ["--group", "nightly"]):
        assert service.ask("resume", *pause).returncode == 0
    assert "paused" not in service.ask("ps").stdout
