"""A run of tests in several processes: each test is run once and told, whatever becomes of a process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.service import TESTS
from support.waiting import wait_for

pytestmark = pytest.mark.once
CONFTEST = """
import os, sys
import pytest
from support import side_by_side

def pytest_runtestloop(session):
    return side_by_side.run(session, 2, lambda config: note(f"begins {os.environ['TEST_PROCESS']}"))

def note(text):
    with open("ledger", "a") as ledger:
        ledger.write(text + "\\n")

@pytest.fixture(scope="module")
def shared():
    note("shared")
    yield
    note("no longer")

"""
TESTS_OF_A_RUN = """
import os, signal, sys, time
import pytest
from conftest import note

@pytest.mark.parametrize("number", range(40))
def test_it(number, shared, tmp_path):
    note(f"{number} {os.environ['TEST_PROCESS']} {tmp_path}")
    print("said", number)
    %s
"""


@pytest.fixture
def run(tmp_path):
    """Give a function that begins a run of 40 tests in two processes; each of them does this."""

    def begin(does, *words, conftest=""):
        (tmp_path / "conftest.py").write_text(CONFTEST + conftest)
        (tmp_path / "test_a.py").write_text(TESTS_OF_A_RUN % does)
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        options = ("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", *options, "--basetemp", str(tmp_path / "base"), *words],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(TESTS)}, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    return begin


def ended(running):
    """Give exit code and output."""
    said, _ = running.communicate()
    return running.returncode, said


def noted(tmp_path):
    """Give which process ran each test, and the folder of the test."""
    lines = [line.split() for line in (tmp_path / "ledger").read_text().splitlines()]
    return [(int(words[0]), words[1], Path(words[2])) for words in lines if len(words) == 3]


def test_each_test_is_run_once_in_folders_of_its_process_and_each_that_fails_or_kills_its_process_is_told(
    run, tmp_path
):
    code, said = ended(run("number in (3, 4, 30) and os.kill(os.getpid(), 9); assert number != 33, 'thirty-three'"))
    assert (code, said.count("FAILED"), "4 failed, 36 passed" in said) == (1, 4, True), said
    for number in (3, 4, 30):
        assert re.search(rf"process \d of the test run ended \(SIGKILL\) during test_a.py::test_it\[{number}\]", said)
    assert "AssertionError: thirty-three" in said
    assert re.findall(r"^said (\d+)$", said, re.MULTILINE) == ["33"]
    found = noted(tmp_path)
    assert sorted(number for number, _, _ in found) == list(range(40))
    assert {process for _, process, _ in found} == {"0", "1"}
    assert all(f"process-{process}" in folder.parts for _, process, folder in found)
    ledger = (tmp_path / "ledger").read_text()
    assert [ledger.count(text) for text in ("begins", "shared", "no longer")] == [5, 5, 2]


def test_after_enough_failures_no_other_test_is_begun(run, tmp_path):
    code, said = ended(run("assert number < 5", "--maxfail", "1"))
    assert (code, "stopping after" in said) == (1, True), said
    assert len(noted(tmp_path)) < 40


def test_an_idle_process_takes_what_another_has_not_begun_and_one_that_ends_badly_fails_the_run(run, tmp_path):
    waits = "while number == 0 and open('ledger').read().count('tmp') < 35: time.sleep(0.001)"
    fails = "def pytest_unconfigure():\n    assert os.environ.get('TEST_PROCESS') != '1', 'left open'\n"
    code, said = ended(run(waits, conftest=fails))
    assert (code, "1 failed, 40 passed" in said, "AssertionError: left open" in said) == (1, True, True), said
    assert "process 1 of the test run ended (exit code 1) during the end of process 1" in said
    assert sum(process == "1" for _, process, _ in noted(tmp_path)) > 30


def test_an_interrupt_ends_all_processes_and_their_fixtures(run, tmp_path):
    # Not signal.pause(): an interrupt that comes just before it is never seen.
    waits = "all(time.sleep(0.01) is None for _ in iter(int, 1))"
    running = run(f"number in (0, 20) and note('waits') or number in (0, 20) and {waits}")
    wait_for(lambda: (tmp_path / "ledger").exists() and (tmp_path / "ledger").read_text().count("waits") == 2)
    os.killpg(running.pid, signal.SIGINT)
    code, said = ended(running)
    assert code == 2, said
    assert (tmp_path / "ledger").read_text().count("no longer") == 2
