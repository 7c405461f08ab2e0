"""API.md, orcha.utils: `version`, `run_command`, `kill_proc_tree`, `get_logger`, `LOGGER_NAME`, ``LOG_LEVEL``."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import orcha
from orcha.utils import kill_proc_tree, run_command, version
from orcha.utils.logging_utils import LOGGER_NAME
from support.waiting import wait_for

# --- version ---------------------------------------------------------------------------------------------------------


def test_version_is_orchas_own_by_default():
    assert version() == orcha.version("Orcha") == importlib.metadata.version("orcha")


@pytest.mark.parametrize("name", ["python-daemon", "python_daemon", "Python.Daemon", "pytest", "msgspec"])
def test_version_of_an_installed_distribution(name):
    assert version(name) == importlib.metadata.version(name)


def test_version_of_what_is_not_installed():
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        version("orcha-nonsense")


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("orcha_hello_world-0.1.0.dist-info", "METADATA"),
        ("orcha_hello_world-0.1.0-py3.11.egg-info", "PKG-INFO"),
        ("orcha_hello_world.egg-info", "PKG-INFO"),
        ("orcha_hello_world-0.1.0-py3.11.egg/EGG-INFO", "PKG-INFO"),
    ],
)
def test_version_of_each_kind_of_install(tmp_path, monkeypatch, folder, file):
    place = tmp_path / folder
    place.mkdir(parents=True)
    (place / file).write_text("Metadata-Version: 2.1\nName: orcha-hello-world\nVersion: 0.1.0\n\nVersion: 9\n")
    monkeypatch.syspath_prepend(str(place.parent if ".egg/" in folder else tmp_path))
    assert version("orcha_hello_world") == "0.1.0"


def test_version_does_not_import_importlib_metadata():
    code = "import sys; from orcha.utils import version; version(); print('importlib.metadata' in sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


# --- run_command -----------------------------------------------------------------------------------------------------


def test_run_command_hands_on_each_line_and_gives_the_code():
    lines, codes, started = [], [], []
    code = run_command(
        [sys.executable, "-c", "import sys; print('a'); print('b', file=sys.stderr); sys.exit(3)"],
        on_start=lambda process: started.append(process.pid),
        on_output=lines.append,
        on_finish=codes.append,
    )
    assert (code, codes, sorted(lines), len(started)) == (3, [3], ["a\n", "b\n"], 1)


def test_run_command_splits_a_text_as_a_shell_would_and_runs_no_shell():
    lines = []
    assert run_command("echo 'a  b' ';' $HOME", on_output=lines.append) == 0
    assert lines == ["a  b ; $HOME\n"]


def test_run_command_runs_in_a_folder_and_in_a_session_of_its_own(tmp_path):
    lines = []
    run_command(
        [sys.executable, "-c", "import os; print(os.getcwd(), os.getsid(0) == os.getpid())"],
        on_output=lines.append,
        cwd=str(tmp_path),
    )
    assert lines == [f"{tmp_path} True\n"]


def test_run_command_replaces_bytes_that_are_no_text():
    lines = []
    run_command([sys.executable, "-c", r"import os; os.write(1, b'\xffa\n')"], on_output=lines.append)
    assert lines == ["\ufffda\n"]


def test_run_command_gives_the_signal_that_ended_it():
    assert run_command([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == -9


def test_run_command_kills_the_command_when_a_callback_raises():
    pids = []

    def fail(line):
        raise RuntimeError(line)

    with pytest.raises(RuntimeError, match="ready"):
        run_command(
            [sys.executable, "-c", "import signal; print('ready', flush=True); signal.pause()"],
            on_start=lambda process: pids.append(process.pid),
            on_output=fail,
        )
    assert not Path(f"/proc/{pids[0]}").exists()


@pytest.mark.parametrize("command", ["", [], "   "])
def test_run_command_of_nothing(command):
    with pytest.raises(ValueError, match="no command"):
        run_command(command)


def test_run_command_of_what_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError):
        run_command([str(tmp_path / "nothing")])


# --- kill_proc_tree --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pid", [None, 1, 0, -1, "myself"])
def test_kill_proc_tree_refuses_what_nobody_means(pid):
    with pytest.raises(ValueError, match="not a process to signal"):
        kill_proc_tree(os.getpid() if pid == "myself" else pid)


def test_kill_proc_tree_sends_term_to_all():
    code = (
        "import signal, subprocess; p = subprocess.Popen(['sleep', '1000']); print(p.pid, flush=True);"
        " p.wait(); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        assert kill_proc_tree(parent.pid) is True
        assert parent.wait() == -signal.SIGTERM
    assert wait_for(lambda: not _lives(child))


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_kill_proc_tree_of_what_is_gone():
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert kill_proc_tree(gone.pid) is True


def test_kill_proc_tree_without_permission(monkeypatch):
    psutil = pytest.importorskip("psutil")

    def deny(self, number):
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "send_signal", deny)
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            assert kill_proc_tree(process.pid) is False
        finally:
            process.kill()


# --- the log ---------------------------------------------------------------------------------------------------------


def log(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", f"from orcha.utils import get_logger; {code}"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )


def test_the_log_goes_to_stderr_at_level_info():
    run = log("log = get_logger(); log.debug('a'); log.info('b'); get_logger().error('c')")
    assert (run.stdout, run.stderr) == ("", "INFO: b\nERROR: c\n")


@pytest.mark.parametrize(("level", "shown"), [("DEBUG", "DEBUG: a\nINFO: b\n"), ("error", ""), ("20", "INFO: b\n")])
def test_log_level_comes_from_the_environment(level, shown):
    assert log("log = get_logger(); log.debug('a'); log.info('b')", LOG_LEVEL=level).stderr == shown


def test_a_wrong_log_level_is_said_and_harmless():
    assert "names no level" in log("get_logger()", LOG_LEVEL="LOUD").stderr


def test_the_loggers_name():
    assert log(f"import logging; print(get_logger() is logging.getLogger({LOGGER_NAME!r}))").stdout == "True\n"


def test_the_log_is_quiet_without_stderr():
    assert log("import sys; sys.stderr = None; get_logger().error('a')").returncode == 0
