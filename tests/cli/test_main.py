"""API.md, orcha.bin.main: the options before the command, whose command it is, and the exit codes."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys

import pytest

import orcha as package
from orcha.utils import version

# --- options ---------------------------------------------------------------------------------------------------------


def test_options_are_set_before_the_plugin_is_imported(orcha):
    run = orcha.run("--listen-address", "::1", "--port", "7", "--key", "ké", "--systemd", "t", "print(AT_IMPORT)")
    assert run.stdout == f"{('::1', 7, 'ké'.encode(), True)!r}\n"


def test_without_options_the_defaults_hold(orcha):
    assert orcha.run("t", "print(AT_IMPORT)").stdout == "('127.0.0.1', 50000, None, False)\n"


def test_extras_hold_every_argument_by_name(orcha):
    code = "print(properties.extras | {'owner': 0, 'code': 0})"
    assert eval(orcha.run("--port", "7", "t", code).stdout) == {  # what the plugin printed is a literal
        "listen_address": "127.0.0.1",
        "port": 7,
        "service": None,
        "key": None,
        "allow_weak_key": False,
        "systemd": False,
        "no_store": False,
        "owner": 0,
        "code": 0,
    }


def test_version(orcha):
    run = orcha.run("--version")
    assert (run.stdout, run.returncode) == (f"orcha - {version()}\n", 0)


@pytest.mark.parametrize("port", ["-1", "65536", "x", ""])
def test_a_port_is_a_port(orcha, port):
    run = orcha.run("--port", port, "ls")
    assert run.returncode == 2
    assert "is not a port" in run.stderr


def test_help_lists_the_commands_without_importing_them(orcha):
    run = orcha.run("--help")
    assert run.returncode == 0
    for line in ("list-plugins (ls)", "watchdog (wd)", "ps", "end as told, 100 % of the time", "exit codes: 69"):
        assert line in run.stdout


def test_no_command_is_a_usage_error(orcha):
    run = orcha.run()
    assert run.returncode == 2
    assert "COMMAND" in run.stderr


def test_core_lists_the_verbs(orcha):
    run = orcha.run("core", "--help")
    assert (run.returncode, "show what waits and runs" in run.stdout) == (0, True)
    assert orcha.run("core").returncode == 2
    assert orcha.run("core", "nonsense").returncode == 127


# --- codes -----------------------------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(
    ("result", "code"),
    [
        *[("0", 0), ("None", 0), ("3", 3), ("255", 255), ("True", 1), ("False", 0)],
        *[("256", 1), ("257", 1), ("-15", 143), ("-1000", 1)],
        *[("sys.exit(5)", 5), ("throw(SystemExit(0))", 0)],
    ],
)
def test_the_code_is_what_the_plugin_gives(orcha, result, code):
    run = orcha.run("t", result)
    assert (run.returncode, run.stderr) == (code, "")


def test_a_result_that_is_no_code_is_said(orcha):
    run = orcha.run("t", "'fine'")
    assert (run.returncode, run.stderr) == (
        1,
        "orcha: the command returned 'fine', which is no exit code: its plugin should give a number, or nothing\n",
    )


@pytest.mark.once
@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("OrchaConnectionError()", 69, "No service answers there"),
        ("AuthenticationError()", 77, "The service does not accept this key"),
        ("ManagerShutdownError('going\\ndown')", 75, "going down"),
        ("RejectedError([], [])", 1, "0 of 0 refused"),
        ("KeyboardInterrupt()", 130, "interrupted"),
        ("ValueError('no\\nway')", 1, "ValueError: no way"),
        ("OSError(28, 'full')", 1, "full"),
    ],
)
def test_an_error_is_one_line_and_a_code(orcha, error, code, line):
    run = orcha.run("t", f"throw({error})")
    assert run.returncode == code
    assert run.stderr.startswith(f"orcha: {line}")
    assert run.stderr.count("\n") == 1
    assert run.stdout == ""


def test_the_traceback_is_there_for_who_wants_it(orcha):
    assert "Traceback" in orcha.run("t", "1 / 0", LOG_LEVEL="DEBUG").stderr


def test_what_nobody_handles_is_not_found(orcha):
    run = orcha.run("t", "unhandled")
    assert (run.returncode, run.stderr) == (
        127,
        "orcha: nothing handles t unhandled: orcha --help lists the commands\n",
    )
    run = orcha.run("nonsense")
    assert run.returncode == 127
    assert run.stderr.startswith("orcha: there is no command nonsense: ")


def test_no_service(orcha, free_port):
    run = orcha.run("--port", str(free_port), "ps")
    assert run.returncode == 69
    assert str(free_port) in run.stderr
    assert run.stderr.count("\n") == 1


@pytest.mark.once
@pytest.mark.parametrize(
    ("words", "environment", "line"),
    [
        (["--key", "", "ps"], {}, "the key cannot be used: it is empty; leave --key out"),
        (["--key", "orcha1.k.x", "ps"], {}, "the key cannot be used: its secret is not"),
        (["--key", "", "serve"], {}, "the key cannot be used: it is empty; leave --key out"),
        (["--listen-address", "", "ps"], {}, "'' is no address to listen on or to connect to: give"),
        (["--listen-address", "", "serve"], {}, "'' is no address to listen on or to connect to: give"),
        (["serve"], {"ORCHA_HOME": "/dev/null"}, "/dev/null cannot be used: File exists: "),
        (["serve", "--background"], {"ORCHA_HOME": "/dev/null"}, "the folder /dev/null/127.0.0.1-"),
        (["serve"], {"ORCHA_HOOK_DEADLINE": "0"}, "ORCHA_HOOK_DEADLINE is '0': set it to a number, larger than 0"),
    ],
)
def test_a_wrong_setting_is_told_with_what_to_do(orcha, free_port, words, environment, line):
    with socket.create_server(("127.0.0.1", free_port)) if "ps" in words else contextlib.nullcontext():
        run = orcha.run("--port", str(free_port), *words, **environment)
    assert (run.returncode, run.stderr.count("\n")) == (78, 1)
    assert run.stderr.startswith(f"orcha: {line}")


def test_no_service_is_told_with_how_to_start_one(orcha, free_port):
    run = orcha.run("--port", str(free_port), "ps")
    assert "start it (orcha serve --background)" in run.stderr


def test_ctrl_c(orcha):
    code = "print('ready', flush=True) or __import__('signal').pause()"
    with subprocess.Popen(
        [orcha.python, *orcha.start, "t", code],
        env=orcha.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(2)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "orcha: interrupted\n")


# --- what stdout may be ----------------------------------------------------------------------------------------------


def started(orcha, *arguments, **more):
    return subprocess.Popen(
        [orcha.python, *orcha.start, *arguments], env=orcha.environment(**more.pop("environment", {})), **more
    )


def test_ls_shows_what_an_ascii_stdout_can(orcha):
    run = orcha.run("ls", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert run.returncode == 0
    assert "`- " not in run.stdout
    assert "| list-plugins*" in run.stdout
    assert "t\\xe9st - 1" in run.stdout
    assert run.stdout.isascii()


def test_ls_with_stdout_closed(orcha):
    run = subprocess.run(
        f"'{orcha.python}' {' '.join(orcha.start)} ls >&-",
        shell=True,
        env=orcha.environment(),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


def broken_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["ls"], 0),
        (["t", "print('x')"], 141),
        (["t", "print('x' * 100_000)"], 141),
        (["--version"], 0),
        (["core", "--help"], 0),
    ],
)
def test_a_reader_that_has_gone_is_no_traceback(orcha, arguments, code):
    writer = broken_pipe()
    with started(
        orcha, *arguments, stdout=writer, stderr=subprocess.PIPE, text=True, environment={"PYTHONUNBUFFERED": ""}
    ) as it:
        os.close(writer)
        _, errors = it.communicate(timeout=60)
    assert (it.returncode, errors) == (code, "")


def test_a_full_disk_is_said(orcha):
    with open("/dev/full", "w") as full, started(orcha, "ls", stdout=full, stderr=subprocess.PIPE, text=True) as it:  # noqa: PTH123
        _, errors = it.communicate(timeout=60)
    assert it.returncode == 1
    assert "No space left" in errors
    assert "Traceback" not in errors


# --- the tree --------------------------------------------------------------------------------------------------------


def test_ls_prints_the_tree(orcha):
    orcha.plugin("orcha_z", "zeta", version="zeta - 2")
    orcha.module("orcha_broken", "1 / 0")
    tree, _, rest = orcha.run("ls").stdout.partition("\n\n")
    first, *lines, last = tree.splitlines()
    own = version()
    assert first == f"orcha - {own}"
    assert {f"├ list-plugins* - {own}", "├ tést - 1", f"├ watchdog* - {own}"} <= set(lines)
    assert lines == sorted(lines)
    assert last == "└ zeta - 2"
    assert rest.splitlines()[0] == "Plugins marked with an asterisk (*) are embedded plugins"
    assert "! orcha_broken: ZeroDivisionError: division by zero" in rest.splitlines()
    assert orcha.run("list-plugins").stdout == orcha.run("ls").stdout


@pytest.mark.once
def test_ls_of_a_source_tree_that_is_nowhere_installed(orcha):
    source, path = os.path.dirname(os.path.dirname(package.__file__)), orcha.environment()["PYTHONPATH"]  # noqa: PTH120
    run = orcha.run("ls", PYTHONPATH=f"{source}:{path}")
    assert run.returncode == 0
    orcha.start = ["-S", *orcha.start]
    run = orcha.run("ls", PYTHONPATH=f"{source}:{path}")
    assert run.stdout.startswith("orcha - unknown\n")
    assert "├ tést - 1\n" in run.stdout


def test_the_installed_command_is_the_same(orcha):
    script = os.path.join(os.path.dirname(sys.executable), "orcha")  # noqa: PTH118, PTH120
    run = subprocess.run([script, "ls"], env=orcha.environment(), capture_output=True, text=True, check=True)
    assert run.stdout == orcha.run("ls").stdout


def test_dash_m_under_another_start_method_does_not_run_twice(orcha):
    """A spawned child imports `orcha.__main__` again, under another name."""
    code = "__import__('multiprocessing').get_context('spawn').Process(target=print, args=('child',)).run()"
    assert orcha.run("t", code).stdout == "child\n"
    start = (
        "import multiprocessing as m; c = m.get_context('spawn'); p = c.Process(target=print, args=('child',)); "
        "p.start(); p.join()"
    )
    assert orcha.run("t", f"exec({start!r})").stdout == "child\n"
