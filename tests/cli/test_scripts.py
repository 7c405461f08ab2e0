"""Options in the first lines of a script, and scripts that come on standard input."""

from __future__ import annotations

import argparse
import json
import stat

import pytest

from orcha._cli import run, script
from orcha._cli.options import WrongOptionError

AT_ONCE = 2


def parsed(*words):
    parser = argparse.ArgumentParser()
    run.create_parser(parser)
    return parser.parse_args(words)


@pytest.fixture
def write(tmp_path):
    """Give a function that writes a script and gives its path."""

    def it(*lines):
        path = tmp_path / "job.sh"
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return it


@pytest.mark.parametrize(
    ("words", "lines", "expected"),
    [
        ([], ["#ORCHA --need gpu=1 --priority 3"], {"need": [("gpu", 1)], "priority": 3}),
        ([], ["#ORCHA --label 'two words'  # why"], {"label": "two words"}),
        ([], ["#ORCHA --name a", "#ORCHA --detach"], {"name": "a", "detach": True}),
        (["--priority", "0"], ["#ORCHA --priority 3"], {"priority": 0}),
        (["--need", "gpu=2"], ["#ORCHA --need gpu=1 --need ram=4"], {"need": [("ram", 4), ("gpu", 2)]}),
        (["-e", "A=2"], ["#ORCHA -e A=1 -e B=1"], {"env": ["A=1", "B=1", "A=2"]}),
        (["--in", "5"], ["#ORCHA --at 2030-01-01"], {"at": None, "delay": 5}),
        (["--after", "x"], ["#ORCHA --after y"], {"after": ["x"]}),
        ([], ["", "# text", "#ORCHA -p 1", "echo", "#ORCHA -p 2"], {"priority": 1}),
        ([], ["#ORCHARD -p 1", "echo '#ORCHA -p 2'"], {"priority": None}),
    ],
)
def test_options_of_a_script_count_where_the_command_line_gives_none(words, lines, expected):
    namespace = parsed(*words, "--", "./job.sh")
    script.add_options(namespace, "\n".join(["#!/bin/sh", *lines]).encode(), run.create_parser)
    assert {name: getattr(namespace, name) for name in expected} == expected
    assert namespace.command == parsed("--", "./job.sh").command


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("#ORCHA --need gpu=none", "line 2 of the script, #ORCHA: argument --need: 'none'"),
        ("#ORCHA --nonsense", "line 2 of the script, #ORCHA: unrecognized arguments: --nonsense"),
        ("#ORCHA --name 'a", "line 2 of the script: No closing quotation"),
        (
            "#ORCHA make",
            "line 2 of the script, #ORCHA: 'make' is no option: give options only, since the script is the command",
        ),
        ("#ORCHA --help", "line 2 of the script, #ORCHA: unrecognized arguments: --help"),
        ("#ORCHA --when help", "line 2 of the script, #ORCHA: help is shown on a command line only: remove it"),
    ],
)
def test_a_wrong_line_is_named(line, said):
    with pytest.raises(WrongOptionError, match="line 2") as raised:
        script.add_options(parsed("--", "./job.sh"), f"#!/bin/sh\n{line}\n".encode(), run.create_parser)
    assert str(raised.value).startswith(said)


def test_a_script_runs_with_the_options_of_its_lines(service, write, tmp_path):
    path = write(
        "#ORCHA --name job --label 'from the script'", f"#ORCHA --cwd {tmp_path} -e WORD=hi", 'echo "$WORD $1"; pwd'
    )
    done = service.run("run", path, "there")
    assert (done.stdout, done.returncode) == (f"hi there\n{tmp_path}\n", 0)
    shown = json.loads(service.ask("show", "job", "--json").stdout)
    assert shown["command"]["label"] == "from the script"


def test_a_script_of_a_relative_path_is_found_though_it_names_another_folder(service, write, tmp_path):
    write("#ORCHA --cwd /", "pwd")
    done = service.run("run", "--cwd", str(tmp_path), "./job.sh")
    assert done.stdout == f"{tmp_path}\n", "the command line says the folder"
    done = service.run("run", "./job.sh", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("/\n", "")


@pytest.mark.parametrize(
    ("text", "arguments", "printed"),
    [
        ("#ORCHA --name typed\necho $ORCHA_ID $1", ["a"], "typed a\n"),
        ("#!/bin/bash -e\nfalse\necho not reached", [], ""),
        ("#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:])", ["a", "b c"], "['a', 'b c']\n"),
    ],
)
def test_a_script_comes_on_standard_input(service, text, arguments, printed):
    done = service.run("run", "-", *arguments, input=text)
    assert (done.stdout, done.stderr, done.returncode) == (printed, "", int("false" in text))


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("", ["-"], "standard input holds no script"),
        ("\0", ["-"], "as it has a NUL byte: run it from a file"),
        ("x" * (121 << 10), ["-"], "has at most 122880 bytes: keep it in a file"),
        ("#!/usr/bin/awk -f\n{print}", ["-"], "'awk' runs no script from standard input"),
        ("echo", ["--stdin", "-"], "standard input is the script"),
    ],
)
def test_what_cannot_be_a_script_is_refused(service, text, words, said):
    done = service.run("run", *words, input=text)
    assert said in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize(("code", "outcome", "waited"), [(3, "succeeded", 0), (4, "failed", 4)])
def test_codes_that_count_as_success_are_the_users(service, code, outcome, waited):
    done = service.run("run", "--name", "it", "--ok", "0,3", "--", "sh", "-c", f"exit {code}")
    assert done.returncode == code
    shown = json.loads(service.ask("show", "it", "--json").stdout)
    assert (shown["outcome"], shown["code"]) == (outcome, code)
    assert service.ask("wait", "it").returncode == waited


@pytest.mark.parametrize("codes", ["", "a", "256", "-1", "0,,3", "0 3"])
def test_codes_that_none_can_be_are_refused(service, codes):
    done = service.run("run", f"--ok={codes}", "--", "true")
    assert done.returncode == 2
    assert "no exit codes: give numbers from 0 to 255, as 0,3" in done.stderr
