"""What a caller's process has reaches its command to the byte: arguments, variables, folder, mask; or nothing runs."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from support.waiting import DEADLINE

AT_ONCE = 4
"""Commands that the service runs."""
ODD = b"\xe9\xff \n'\"\\\x1b[31m\xc3"
"""No UTF-8, and whatever else a quoting could change."""
ADDED = {b"ORCHA_ID", b"ORCHA_ATTEMPT"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A Python that takes every byte beyond 127 for none of its text."""


def run(service, *arguments, **options):
    return service.run("run", *arguments, **{"text": False} | options)


def made(folder, name):
    """Make a folder of such a name."""
    inner = folder / os.fsdecode(name)
    inner.mkdir()
    return inner


def variables(text):
    return dict(one.split(b"=", 1) for one in text.split(b"\0") if one)


def test_every_argument_arrives_to_the_byte(service):
    arguments = [b"", ODD, "漢字é".encode(), b"--", b"-d", b"x" * 100_000, *(bytes([each]) for each in range(1, 256))]
    done = run(service, "--", "printf", "%s\\0", *map(os.fsdecode, arguments))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"".join(each + b"\0" for each in arguments)


def test_every_variable_arrives_to_the_byte(service):
    mine = {b"A": ODD, b"EMPTY": b"", ODD: b"1", "é".encode(): "漢".encode(), b"BASH_FUNC_x%%": b"() { :; }"}
    mine[b"LONG"] = b"\xff" * 100_000
    environment = {os.fsencode(name): os.fsencode(value) for name, value in service.environment.items()} | mine
    done = run(service, "--all-env", "--", "env", "-0", env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    found = variables(done.stdout)
    assert {name: found[name] for name in mine} == mine
    assert found.keys() - environment.keys() == ADDED
    settings = [b"--env=" + name + b"=" + value for name, value in mine.items()]
    done = run(service, *map(os.fsdecode, settings), "--", "env", "-0")
    assert {name: value for name, value in variables(done.stdout).items() if name in mine} == mine


def test_a_program_is_found_along_a_path_of_any_bytes(service, tmp_path):
    folder = made(tmp_path, b"caf\xe9")
    (folder / "date").write_text("#!/bin/sh\necho mine\n")
    (folder / "date").chmod(0o755)
    environment = {os.fsencode(name): os.fsencode(value) for name, value in service.environment.items()}
    environment[b"PATH"] = bytes(folder) + b":" + environment[b"PATH"]
    done = run(service, "--", "date", env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"mine\n", b"")
    done = run(service, "--", str(folder / "date"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"mine\n", b"")


@pytest.mark.parametrize("tty", [(), ("--tty",)])
def test_a_folder_of_any_bytes_is_where_it_runs(service, tmp_path, tty):
    folder = made(tmp_path, ODD)
    for arguments, options in (((), {"cwd": folder}), (("--cwd", str(folder)), {})):
        script = "pwd > here; touch made"
        done = run(service, *tty, *arguments, "--", "sh", "-c", script, **options)
        assert (done.returncode, done.stderr) == (0, b"")
        assert sorted(each.name for each in folder.iterdir()) == ["here", "made"]
        assert (folder / "here").read_bytes() == bytes(folder) + b"\n"
        (folder / "made").unlink()


def test_a_folder_behind_a_link_is_the_one_that_the_system_finds(service, tmp_path):
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    done = run(service, "--cwd", "link/..", "--", "pwd", "-P", cwd=tmp_path)
    assert done.stdout == os.fsencode(tmp_path / "real") + b"\n"


@pytest.mark.parametrize("mask", [0, 0o777, 0o027])
def test_the_mask_arrives(service, mask):
    assert run(service, "--", "sh", "-c", "umask", umask=mask).stdout == b"%04o\n" % mask


def test_nothing_is_added_that_the_caller_does_not_have(service):
    """Where a caller has no locale Python sets one for itself (PEP 538)."""
    environment = {name: service.environment[name] for name in ("ORCHA_HOME", "PYTHONPATH")} | {"ONE": "1"}
    for locale in ({}, {"LC_CTYPE": "C"}, {"LC_CTYPE": "C.UTF-8"}, {"LANG": "C"}):
        for option in ("--all-env", "--env=ONE"):
            done = run(service, option, "--", "/usr/bin/env", "-0", env=environment | locale)
            assert done.returncode == 0, done.stderr
            expected = {os.fsencode(name): os.fsencode(value) for name, value in locale.items()} | {b"ONE": b"1"}
            found = {name: value for name, value in variables(done.stdout).items() if name not in ADDED}
            found.pop(b"PYTHONPATH", None)
            assert found == expected


def test_bytes_mean_the_same_whatever_the_locales_are(serve, tmp_path):
    folder = made(tmp_path, "é".encode() + b"\xff")
    service = serve(arguments=("serve", "commands"), environment=ASCII)
    text = "é漢".encode()
    for locale in ({}, ASCII):
        environment = service.environment | locale
        command = ["sh", "-c", 'printf "%s " "$0" "$A"; pwd', os.fsdecode(text)]
        done = run(service, "-e", os.fsdecode(b"A=" + text), "--", *command, env=environment, cwd=folder)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == b" ".join((text, text, bytes(folder))) + b"\n"


def test_what_cannot_be_executed_says_why_without_moving_the_cursor(service, tmp_path):
    odd = os.fsdecode(ODD)
    cases = [
        (("--", f"/nowhere/{odd}"), 127, b"No such file", 2),  # it has a blank: that is told, too
        (("--cwd", f"/nowhere/{odd}", "--", "true"), 125, b"No such file", 1),
    ]
    for arguments, code, why, count in cases:
        done = run(service, *arguments)
        assert (done.returncode, done.stdout) == (code, b"")
        assert why in done.stderr
        lines = done.stderr.splitlines(keepends=True)
        assert [line.startswith(b"orcha: ") and line.endswith(b"\n") for line in lines] == [True] * count
        assert b"\x1b" not in done.stderr
    assert json.loads(service.run("ps", "--all", "--json").stdout)


def test_more_than_the_system_executes_is_said(service):
    """The caller's limit for arguments follows its stack's, and so does the command's."""
    script = r"""
        ulimit -s unlimited || exit 99
        piece=$(head -c 120000 /dev/zero | tr '\0' '\377')
        exec "$@" $(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24; do echo "$piece"; done)
    """
    done = subprocess.run(
        ["sh", "-c", script, "sh", *service.orcha("run", "--", "true")],
        env=service.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=DEADLINE,
    )
    if done.returncode == 99:
        pytest.skip("this process may not raise its limit for the stack")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (126, b"", 1)
    assert b"Argument list too long" in done.stderr


def test_show_gives_names_and_folders_that_are_no_text(service, tmp_path):
    folder = made(tmp_path, ODD)
    odd = os.fsdecode(ODD)
    done = run(service, "--name", "it", "-e", f"{odd}=secret", "-e", "B=2", "--", "echo", odd, cwd=folder)
    assert done.returncode == 0
    shown = service.run("show", "it")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "\x1b" not in shown.stdout
    assert "secret" not in shown.stdout
    assert "\\xe9\\xff" in shown.stdout
    command = json.loads(service.run("show", "it", "--json").stdout)["command"]
    assert command["cwd"] == bytes(folder).decode("utf-8", "backslashreplace")
    assert {"B", ODD.decode("utf-8", "backslashreplace")} <= set(command["env"])
    assert command["argv"] == ["echo", ODD.decode("utf-8", "backslashreplace")]


def test_tried_again_it_gets_the_same(service):
    odd = os.fsdecode(ODD)
    done = run(service, "--name", "it", "-e", f"A={odd}", "--", "sh", "-c", 'printf %s "$A$1"', "-", odd)
    assert done.stdout == ODD + ODD
    assert run(service, "--name", "other", "--", "true").returncode == 0
    again = service.run("retry", "it", "--attach", text=False)
    assert (again.returncode, again.stdout) == (0, ODD + ODD)
