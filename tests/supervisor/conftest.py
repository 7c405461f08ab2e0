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

from world import World, boxes, kill_shim, running_from

from orcha._processes.tag import children_of
from support.waiting import wait_for


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give the folder of an endpoint; the shims in it are ended after the test."""
    folder = Path(tempfile.mkdtemp(prefix="orcha-"))
    yield folder
    for word in boxes(folder):
        kill_shim(word)
    for pid in running_from(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not running_from(folder) and _reap(), what="everything started here to end")
    shutil.rmtree(folder)


def _reap() -> bool:
    """Wait for the supervisors that a closed world let go; False while one of them is about to end."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return all(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children_of(os.getpid()))


@pytest.fixture
def open_world(folder: Path) -> Iterator[Callable[..., World]]:
    """Give a function that opens a world, as each start of a service does."""
    worlds: list[World] = []

    def opened(epoch: int = 1, **settings: bool) -> World:
        worlds.append(World(folder, epoch, **settings))
        return worlds[-1]

    yield opened
    for world in worlds:
        world.close()


@pytest.fixture
def world(open_world: Callable[..., World]) -> World:
    """Give the first start of a service."""
    return open_world()


@pytest.fixture
def nap(tmp_path: Path) -> str:
    """Give a program that sleeps, known by its path."""
    program = tmp_path / "nap"
    shutil.copy("/bin/sleep", program)
    return str(program)
