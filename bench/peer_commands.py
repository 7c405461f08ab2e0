"""Commands by Orcha beside Huey, Celery, task-spooler and Ray: two at a time, measured in turn.

    python bench/peer_commands.py [COUNT] [--no-install]

Huey, Celery and Ray live in the environment of bench/peers.py, Redis and task-spooler come from the distribution. A
peer that cannot be had is left out, and its line says why. What is started is reached over loopback alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from peer_spawn import AT_ONCE
from peer_systems import (
    CLIENT,
    PYTHON,
    REQUIREMENTS,
    ROUNDS,
    System,
    celery,
    has,
    huey,
    measure,
    orcha,
    own_folder,
    prepare,
    redis,
    running,
)
from support import HERE, machine, row, scaled
from support import service as orcha_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RAY = HERE / "peer-ray-requirements.txt"
PACKAGES = {"redis-server": "redis-server", "tsp": "task-spooler"}
"""Programs, and what Debian calls the packages they come in."""


# --- what is started -------------------------------------------------------------------------------------------------


def start(stack: contextlib.ExitStack, folder: Path, name: str, command: list[str], **environment: str) -> System:
    """Start a client that keeps nothing."""
    log = folder / f"{command[-1]}.log"
    return System(name, "no", stack.enter_context(running(command, log, **environment)))


def hueys(stack: contextlib.ExitStack, folder: Path, port: int) -> Iterator[System]:
    """Start Huey, whose client hears of a result or polls for it."""
    for notify in (True, False):
        yield huey(stack, folder, port, "no", notify=notify)


def celeries(stack: contextlib.ExitStack, folder: Path, port: int) -> Iterator[System]:
    """Start Celery."""
    yield celery(stack, folder, port, "no")


def spooler(stack: contextlib.ExitStack, folder: Path, _port: int) -> Iterator[System]:
    """Start task-spooler, with a server of its own."""
    short = stack.enter_context(short_folder())
    environment = {"TS_SOCKET": f"{short}/socket", "TMPDIR": str(short)}
    stack.enter_context(spooler_server(environment))
    yield start(stack, folder, "task-spooler, `tsp`", [sys.executable, CLIENT, "peer_spooler"], **environment)


def ray(stack: contextlib.ExitStack, folder: Path, _port: int) -> Iterator[System]:
    """Start Ray with two workers."""
    short = stack.enter_context(short_folder())
    environment = {
        "BENCH_FOLDER_RAY": str(short / "ray"),
        "HOME": str(short),  # where it writes its key
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # what makes it listen on loopback alone, on Linux too
    }
    yield start(stack, folder, "Ray, local", [PYTHON, CLIENT, "peer_ray"], **environment)


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Have a folder with a name that is short enough for the Unix sockets in it."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def spooler_server(environment: dict[str, str]) -> Iterator[None]:
    """Have a server of task-spooler for a while: a daemon, found by its socket and ended by its process's id."""
    asked = ["tsp", "-S", str(AT_ONCE)]
    subprocess.run(asked, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(environment["TS_SOCKET"])
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    server = os.pidfd_open(struct.unpack("3i", credentials)[0])
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(server, signal.SIGTERM)
            if not select.select([server], [], [], 30)[0]:
                signal.pidfd_send_signal(server, signal.SIGKILL)
        os.close(server)


# --- what can be had -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Peer:
    """One of the others: what it takes, and what starts it."""

    name: str
    needs: tuple[str, ...]
    start: Callable[[contextlib.ExitStack, Path, int], Iterator[System]]


PEERS = (
    Peer("Huey + Redis", ("redis-server", REQUIREMENTS.name), hueys),
    Peer("Celery + Redis", ("redis-server", REQUIREMENTS.name), celeries),
    Peer("task-spooler", ("tsp",), spooler),
    Peer("Ray", (REQUIREMENTS.name, RAY.name), ray),
)


def lacking(*, install: bool) -> dict[str, str]:
    """Have the peers' environment; give what cannot be had, and why."""
    lacks = {
        program: f"there is no {program} on the PATH; on Debian: apt-get install {package}"
        for program, package in PACKAGES.items()
        if shutil.which(program) is None
    }
    for requirements in (REQUIREMENTS, RAY):
        if install:
            with contextlib.suppress(OSError, subprocess.CalledProcessError):  # what pip says is seen
                prepare(requirements)
        if not has(requirements):
            why = f"cannot be installed for CPython {platform.python_version()}" if install else "is not installed"
            lacks[requirements.name] = f"what bench/{requirements.name} names {why}"
    return lacks


def compare(count: int, lacks: dict[str, str]) -> None:
    """Measure all systems that can be had, in turn, several times; print the lines of all."""
    absent = {peer.name: [lacks[need] for need in peer.needs if need in lacks] for peer in PEERS}
    for name, reasons in absent.items():
        for why in reasons:
            print(f"peer_commands.py: without {name}: {why}", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(own_folder())
        port = 0 if "redis-server" in lacks else stack.enter_context(redis(folder, "--appendonly", "no"))
        service = stack.enter_context(orcha_service(script="command_service.py"))
        systems = [
            orcha(stack, folder, service, "Orcha", "peer_orcha_commands"),
            start(stack, folder, "posix_spawn alone", [sys.executable, CLIENT, "peer_spawn"]),
        ]
        for peer in PEERS:
            if not absent[peer.name]:
                systems += peer.start(stack, folder, port)
        measure(systems, count)
        for system in systems:
            system.print(systems[0], apart=True)
    for name, reasons in absent.items():
        if reasons:
            row(name, f"not measured: {'; '.join(reasons)}", *["-"] * 5)


def main() -> None:
    """Measure all, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", nargs="?", type=int, default=scaled(2_000))
    parser.add_argument("--no-install", action="store_true", help="leave out what is not installed")
    options = parser.parse_args()
    os.environ |= {"ORCHA_COMMANDS": str(AT_ONCE), "BENCH_WORK": "commands"}
    lacks = lacking(install=not options.no_install)
    row(
        f"command, two at a time, {ROUNDS} rounds of {options.count:,} ({machine()})",
        "fsyncs a command",
        "`echo hi`: submit → output p50 / p99",
        "… → its end p50 / p99",
        "/bin/true",
        "p50 of output beside Orcha's",
        "Orcha's commands/s beside it",
    )
    row(*["---"] * 7)
    compare(options.count, lacks)


if __name__ == "__main__":
    main()
