"""Runs collected tests in several processes that are forked when all tests are collected.

pytest-xdist has each of its processes import and collect all tests, which costs three seconds of processor time each,
and sends six messages for each test. Here that is done once, and each test costs two messages.

Each process gets a part of the list in one piece, so that tests that share a service stay together. A process that has
none left takes the last half of what another one has not begun. A process that ends with a test under way fails that
test, and another process goes on with the rest.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NoReturn

import pytest

from support.ports import NUMBER

AHEAD = 3
"""Tests that a process knows of: it tears down what the next one does not use, and waits for no answer after a test."""


def run(session: pytest.Session, processes: int, begin: Callable[[pytest.Config], None]) -> bool:
    """Run all tests that were collected.

    Args:
        session: its items are run, and the reports are given to its plugins.
        processes: how many run them.
        begin: called in each of the processes before its first test.

    Raises:
        pytest.Session.Failed: enough tests have failed (``-x``, ``--maxfail``).

    """
    _Run(session, begin).to_the_end(processes)
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
    return True


class _Process:
    """A process that runs tests, as the process sees it that forked it."""

    def __init__(self, number: int, pid: int, wire: Connection[Any, Any], tests: deque[int]) -> None:
        self.number = number
        self.pid = pid
        self.wire = wire
        self.left = tests
        """Places in the list of tests that it was not told yet."""
        self.told: deque[int | None] = deque()
        """Places that it was told and has not reported; the first one is under way. None: no test follows."""

    def tell(self, place: int | None) -> None:
        """Tell it a test; where the process is gone, that is seen as it is read from."""
        self.told.append(place)
        with suppress(OSError):
            self.wire.send(place)


class _Run:
    """A run of all tests."""

    def __init__(self, session: pytest.Session, begin: Callable[[pytest.Config], None]) -> None:
        self._session = session
        self._hook = session.config.hook
        self._begin = begin
        self._processes: dict[Connection[Any, Any], _Process] = {}

    def to_the_end(self, processes: int) -> None:
        """Run all."""
        count = len(self._session.items)
        self._session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # all have their folders in it
        bounds = [round(number * count / processes) for number in range(processes + 1)]
        try:
            for number in range(processes):
                self._fork(number, deque(range(bounds[number], bounds[number + 1])))
            while self._processes:
                for wire in wait(list(self._processes)):
                    self._take(self._processes[wire])  # type: ignore[index]
        finally:
            for process in self._processes.values():
                process.wire.close()
            for process in self._processes.values():
                os.waitpid(process.pid, 0)

    def _fork(self, number: int, tests: deque[int]) -> None:
        """Begin a process."""
        ours, its = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            ours.close()
            for process in self._processes.values():
                process.wire.close()
            _serve(self._session, number, its, self._begin)
        its.close()
        process = _Process(number, pid, ours, tests)
        self._processes[ours] = process
        self._tell(process)

    def _tell(self, process: _Process) -> None:
        """Have a process know of the tests that it runs next, or that there is none."""
        while len(process.told) < AHEAD and None not in process.told:
            if not process.left:
                self._take_over(process)
            process.tell(process.left.popleft() if process.left else None)

    def _take_over(self, process: _Process) -> None:
        """Give a process the last half of the tests of the one that has most."""
        other = max(self._processes.values(), key=lambda one: len(one.left))
        taken = [other.left.pop() for _ in range((len(other.left) + 1) // 2)]
        process.left.extend(reversed(taken))

    def _take(self, process: _Process) -> None:
        """Take the reports of a test, or the end of the process."""
        try:
            reports = process.wire.recv()
        except (EOFError, OSError):
            self._bury(process)
            return
        process.told.popleft()
        for data in reports:
            report = self._hook.pytest_report_from_serializable(config=self._session.config, data=data)
            self._hook.pytest_runtest_logreport(report=report)
        if self._session.shouldfail or self._session.shouldstop:
            for one in self._processes.values():
                one.left.clear()
        self._tell(process)

    def _bury(self, process: _Process) -> None:
        """Note the end of a process, which has failed where a test was under way, or where its exit code says so."""
        _, status = os.waitpid(process.pid, 0)
        del self._processes[process.wire]
        process.wire.close()
        code = os.waitstatus_to_exitcode(status)
        places = [place for place in process.told if place is not None]
        if not places and not code:
            return
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        during = self._session.items[places[0]].nodeid if places else f"the end of process {process.number}"
        message = f"process {process.number} of the test run ended ({how}) during {during}"
        file = during.partition("::")[0]
        report = pytest.TestReport(during, (file, None, file), {}, "failed", message, "call")
        self._hook.pytest_runtest_logreport(report=report)
        rest = deque([*places[1:], *process.left])
        if rest and not (self._session.shouldfail or self._session.shouldstop):
            self._fork(process.number, rest)


class _Gathering:
    """Keeps the reports of a test until they are sent."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reports: list[Any] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report."""
        self._reports.append(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def take(self) -> list[Any]:
        """Give what was kept."""
        reports, self._reports = self._reports, []
        return reports


class _Terminal:
    """Stands for pytest's reporter in a process that reports to another one: a plugin writes stacks to its terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._tw = config.get_terminal_writer()


def _serve(
    session: pytest.Session, number: int, wire: Connection[Any, Any], begin: Callable[[pytest.Config], None]
) -> NoReturn:
    """Be a process that runs the tests it is told."""
    code = 1
    try:
        code = _run_told(session, number, wire, begin)
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as its parent
        traceback.print_exc()
    finally:
        try:
            session.config._ensure_unconfigure()
        except BaseException:  # noqa: BLE001 - the same
            code = 1
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run_told(
    session: pytest.Session, number: int, wire: Connection[Any, Any], begin: Callable[[pytest.Config], None]
) -> int:
    config = session.config
    gathering = _Gathering(config)
    _be_apart(config, number)
    config.pluginmanager.register(gathering)
    begin(config)
    try:
        told = iter(wire.recv, None)
        place = next(told, None)
        while place is not None:
            following = next(told, None)
            item, after = session.items[place], None if following is None else session.items[following]
            config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            wire.send(gathering.take())
            place = following
    except (EOFError, BrokenPipeError):
        return 1  # the process that forked this one is gone, or was interrupted
    finally:
        config.hook.pytest_sessionfinish(session=session, exitstatus=int(session.testsfailed > 0))
    return 0


def _be_apart(config: pytest.Config, number: int) -> None:
    """Share no folder, no captured output and no terminal with the other processes."""
    os.environ[NUMBER] = str(number)
    config.workerinput = {}  # type: ignore[attr-defined]  # as pytest-xdist does: pytest's cache is written by one process
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = factory.getbasetemp() / f"process-{number}"
    factory._basetemp.mkdir(mode=0o700, exist_ok=True)
    terminal = _Terminal(config)
    config.pluginmanager.unregister(name="terminalreporter")
    config.pluginmanager.register(terminal, "terminalreporter")
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    capture.suspend_global_capture()
