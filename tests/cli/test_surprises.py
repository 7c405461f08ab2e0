"""What would surprise without a word is told in a line."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from support.terminals import OnTerminal
from support.waiting import DEADLINE, wait_for

AT_ONCE = 1
"""Commands that the service runs."""
NOT_PASSED = b"standard input is not passed on"


def run(service, *arguments, **options):
    return service.run("run", *arguments, **options)


def on_terminal(service, *arguments, verb="run", **options):
    with OnTerminal(service.orcha(verb, *arguments), service.environment, **options) as it:
        code = it.end()
    return it.seen, code


def state(service, name):
    return next((row["state"] for row in json.loads(service.ask("ps", "--json").stdout) if row["id"] == name), None)


# --- standard input --------------------------------------------------------------------------------------------------


def test_piped_input_without_stdin_is_told_on_a_terminal(service, tmp_path):
    reader, writer = os.pipe()
    os.write(writer, b"x\n")
    os.close(writer)
    seen, code = on_terminal(service, "--", "cat", stdin=reader)
    os.close(reader)
    assert (seen.count(NOT_PASSED), code) == (1, 0)
    assert b"--stdin" in seen
    (tmp_path / "list").write_text("one\ntwo\n")
    with (tmp_path / "list").open() as file:
        assert NOT_PASSED in on_terminal(service, "--detach", "--", "true", stdin=file)[0]
        assert file.read() == "one\ntwo\n"
    with (tmp_path / "list").open() as file:
        assert NOT_PASSED in on_terminal(service, "cat", verb="attach", stdin=file)[0]


@pytest.mark.parametrize("kind", ["nothing", "a terminal", "empty", "passed"])
def test_where_there_is_no_input_or_it_is_passed_nothing_is_told(service, tmp_path, kind):
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text("x\n")
    with (tmp_path / "empty").open() as empty, (tmp_path / "full").open() as full:
        source = {"nothing": subprocess.DEVNULL, "empty": empty, "passed": full}
        options = {} if kind == "a terminal" else {"stdin": source[kind]}
        words = ["--stdin"] if kind == "passed" else []
        seen, code = on_terminal(service, *words, "--", "true", **options)
    assert (seen, code) == (b"", 0)


def test_in_a_pipe_nothing_is_told_of_input(service):
    done = run(service, "--", "cat", input="x\n")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


# --- one word --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["ls -l"], "orcha run -- sh -c 'ls -l'"),
        (["ls|wc"], "orcha run -- sh -c 'ls|wc'"),
        (["make\tall", "two words"], """orcha run -- sh -c 'make\\tall '"'"'two words'"'"''"""),
        (["./no such/file x"], "orcha run -- sh -c './no such/file x'"),
        (["A=1 make"], "orcha run -- sh -c 'A=1 make'"),
    ],
)
def test_a_line_for_a_shell_is_told_so_before_it_waits(service, words, cure):
    assert run(service, "--detach", "--name", "block", "--", "sleep", "1000").returncode == 0
    client = service.spawn(*service.orcha("run", "--name", "it", "--", *words), stderr=subprocess.PIPE, text=True)
    line = client.stderr.readline()
    assert "for a line with several words" in line
    assert line.endswith(f"{cure}\n")
    assert service.ask("cancel", "block").returncode == 0
    assert client.wait(DEADLINE) == 127


def test_a_program_with_a_blank_in_its_name_is_one(service, tmp_path):
    (tmp_path / "my tool").write_text("#!/bin/sh\necho mine\n")
    (tmp_path / "my tool").chmod(0o755)
    path = service.environment["PATH"]
    for words, options in (
        ([str(tmp_path / "my tool")], {}),
        (["./my tool"], {"cwd": tmp_path}),
        (["my tool"], {"env": service.environment | {"PATH": f"{tmp_path}:{path}"}}),
    ):
        done = run(service, "--", *words, **options)
        assert (done.stdout, done.stderr, done.returncode) == ("mine\n", "", 0)


# --- one within another ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detached", [False, True])
def test_one_within_another_says_that_it_waits_for_what_that_holds(service, detached):
    inner = service.orcha("run", "--name", "inner", "--", "true")
    words = ["--name", "outer", "--all-env", "-e", f"ORCHA_HOME={service.home}", "--", *inner]
    expected = "inner waits for a slot of the machine, which outer, around it, holds until it ends"
    if detached:
        assert run(service, "--detach", *words).returncode == 0
        wait_for(lambda: expected in service.run("logs", "outer").stderr, what="it is told in the log")
        assert service.ask("cancel", "outer").returncode == 0
        return
    client = service.spawn(*service.orcha("run", *words), stderr=subprocess.PIPE, text=True)
    assert expected in client.stderr.readline()
    assert state(service, "inner") == "queued"
    assert service.ask("cancel", "outer").returncode == 0
    assert client.wait(DEADLINE) == 130


def test_one_beside_another_does_not(service):
    assert run(service, "--detach", "--name", "block", "--", "sleep", "1000").returncode == 0
    environment = service.environment | {"ORCHA_ID": "somebody-else", "ORCHA_ATTEMPT": "1"}
    command = service.orcha("run", "--name", "it", "--", "true")
    client = service.spawn(*command, env=environment, stderr=subprocess.PIPE, text=True)
    assert client.stderr.readline() == "orcha: it is queued, next; 1 of 1 slots of the machine is in use\n"
    assert service.ask("cancel", "block").returncode == 0
    assert (client.communicate(timeout=DEADLINE)[1], client.returncode) == ("", 0)
