"""Fixtures for the tests of commands' processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from service_start import Start, boxes, kill_shim, running_from

from support.processes import children
from support.waiting import wait_for


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give the folder of an endpoint; the shims in it are ended after the test."""
    folder = Path(tempfile.mkdtemp(prefix="orcha-"))
    others = children()
    yield folder
    for word in boxes(folder):
        kill_shim(word)
    for pid in running_from(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not running_from(folder) and _reaped(others), what="everything started here to end")
    shutil.rmtree(folder)


def _reaped(others: set[int]) -> bool:
    """Whether the supervisors that a closed world let go have ended; one without a command line may be about to."""
    for pid in children() - others:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return children() <= others


@pytest.fixture
def open_world(folder: Path) -> Iterator[Callable[..., Start]]:
    """Give a function that opens a world, as each start of a service does."""
    worlds: list[Start] = []

    def opened(epoch: int = 1, **settings: bool) -> Start:
        worlds.append(Start(folder, epoch, **settings))
        return worlds[-1]

    yield opened
    for world in worlds:
        world.close()


@pytest.fixture
def world(open_world: Callable[..., Start]) -> Start:
    """Give the first start of a service."""
    return open_world()


@pytest.fixture
def nap(tmp_path: Path) -> str:
    """Give a program that sleeps, known by its path."""
    program = tmp_path / "nap"
    shutil.copy("/bin/sleep", program)
    return str(program)


FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Callable[[int, bool], None]]:
    """Give a function that freezes a process, so that nothing kills it, and thaws it."""
    if not os.access(FREEZER / "tasks", os.W_OK):
        pytest.skip("no cgroup here that can be frozen")
    group = FREEZER / f"orcha-test-{os.getpid()}"
    group.mkdir()

    def set_frozen(pid: int, freeze: bool) -> None:
        if freeze:
            (group / "tasks").write_text(str(pid))
        state = "FROZEN" if freeze else "THAWED"
        (group / "freezer.state").write_text(state)
        wait_for(lambda: (group / "freezer.state").read_text().strip() == state, what=state)

    yield set_frozen
    set_frozen(0, False)
    wait_for(lambda: not (group / "tasks").read_text(), what="an empty group")
    group.rmdir()
