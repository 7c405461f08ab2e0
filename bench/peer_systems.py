"""What the comparisons with peers share: the peers' environment, what is started for them, and measuring in turn."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from support import HERE, HOME_PARENT, MeasuredService, free_port, milliseconds, percentile, row, scaled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REQUIREMENTS = HERE / "peers-requirements.txt"
ENVIRONMENT = HERE.parent / ".venv-peers"
PYTHON = str(ENVIRONMENT / "bin" / "python")
CLIENT = "peer_client.py"
ROUNDS = 3
ONE_BY_ONE = scaled(300)
POLLING = scaled(10)
WARM_UP = scaled(20)
STARTING = 60


@dataclass
class System:
    """One line of the table: a client that is told what to do, and what it measured."""

    name: str
    synced: str
    client: subprocess.Popen[str]
    one_by_one: int = ONE_BY_ONE
    outputs: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def hear(self) -> list[tuple[float, float]]:
        """Read the client's next answer."""
        assert self.client.stdout is not None
        line = self.client.stdout.readline()
        if not line:
            raise RuntimeError(f"the client of {self.name} ended with {self.client.wait()}")
        return [(output, end) for output, end in json.loads(line)]

    def ask(self, verb: str, count: int) -> list[tuple[float, float]]:
        """Have it do something, give the seconds until its first output and until its end, each time."""
        assert self.client.stdin is not None
        self.client.stdin.write(f"{verb} {count}\n")
        self.client.stdin.flush()
        return self.hear()

    def one(self) -> None:
        """Measure tasks one at a time."""
        for output, end in self.ask("one", self.one_by_one):
            self.outputs.append(output)
            self.ends.append(end)

    def many(self, count: int) -> None:
        """Measure so many tasks at once."""
        ((_, end),) = self.ask("many", count)
        self.rates.append(count / end)

    def print(self, ours: System, *, apart: bool = False) -> None:
        """Print its line, beside ours; `apart`: the first output and the end have a column each."""
        slower = percentile(self.outputs, 0.5) / percentile(ours.outputs, 0.5)
        rate, our_rate = statistics.median(self.rates), statistics.median(ours.rates)
        times = [milliseconds(self.outputs)]
        if apart:
            times.append("the same" if self.ends == self.outputs else milliseconds(self.ends))
        row(self.name, self.synced, *times, f"{rate:,.0f}/s", f"{slower:.2f}x", f"{our_rate / rate:.2f}x")


# --- what is started -------------------------------------------------------------------------------------------------


def stamp(requirements: Path) -> tuple[Path, str]:
    """Give the file that says that the peers' environment holds these, and what is in it then."""
    return ENVIRONMENT / requirements.name, f"# {sys.version}\n{requirements.read_text()}"


def has(requirements: Path) -> bool:
    """Whether the peers' environment holds these."""
    file, wanted = stamp(requirements)
    return file.exists() and file.read_text() == wanted


def prepare(requirements: Path = REQUIREMENTS) -> None:
    """Have the peers' environment hold these, unless it does; raises CalledProcessError where pip cannot."""
    if has(requirements):
        return
    if requirements == REQUIREMENTS:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
    install = ["-m", "pip", "install", "-qq", "--no-input", "--disable-pip-version-check", "-r", str(requirements)]
    subprocess.run([PYTHON, *install], check=True)
    file, wanted = stamp(requirements)
    file.write_text(wanted)


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """Have a folder on the disk that is measured."""
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=HOME_PARENT, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def running(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Have a program for a while; where something fails meanwhile, show what it said."""
    with log.open("a") as said:
        process = subprocess.Popen(
            command,
            cwd=HERE,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if CLIENT in command else said,
            stderr=said,
            text=True,
            process_group=0,  # Ctrl+C is for us, who then end it
        )
    try:
        with process:
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
    except Exception:
        if said_anything := log.read_text():
            print(f"{' '.join(command)}:\n{said_anything}", file=sys.stderr)
        raise


@contextlib.contextmanager
def redis(folder: Path, *options: str) -> Iterator[int]:
    """Have a redis-server for a while, give its port."""
    port = free_port()
    where = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    with running(["redis-server", *where, "--save", "", *options], folder / "redis.log") as server:
        while not answers(port):
            if server.poll() is not None:
                raise RuntimeError("redis-server ended")
            time.sleep(0.01)
        yield port


def answers(port: int) -> bool:
    """Whether a redis-server is ready."""
    try:
        with socket.create_connection(("127.0.0.1", port), STARTING) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(100) == b"+PONG\r\n"
    except ConnectionRefusedError:
        return False


def celery(stack: contextlib.ExitStack, folder: Path, port: int, synced: str) -> System:
    """Start Celery with two worker processes."""
    redis_at = {"BENCH_REDIS": str(port)}
    worker = [PYTHON, "-m", "celery", "-A", "peer_celery", "worker", "-P", "prefork", "-c", "2", "-l", "warning"]
    stack.enter_context(running(worker, folder / "celery-worker.log", **redis_at))
    client = stack.enter_context(running([PYTHON, CLIENT, "peer_celery"], folder / "celery-client.log", **redis_at))
    return System("Celery + Redis, prefork", synced, client)


def huey(stack: contextlib.ExitStack, folder: Path, port: int, synced: str, *, notify: bool) -> System:
    """Start Huey with two worker threads."""
    environment = {"BENCH_REDIS": str(port), "BENCH_HUEY_NOTIFY": str(int(notify))}
    worker = [PYTHON, str(ENVIRONMENT / "bin" / "huey_consumer"), "peer_huey.huey", "-k", "thread", "-w", "2", "-q"]
    stack.enter_context(running(worker, folder / f"huey-worker-{notify}.log", **environment))
    client = stack.enter_context(
        running([PYTHON, CLIENT, "peer_huey"], folder / f"huey-client-{notify}.log", **environment)
    )
    if notify:
        return System("Huey + Redis, threads, notify_result", synced, client)
    return System("Huey + Redis, threads, as it comes (polls)", synced, client, one_by_one=POLLING)


def orcha(
    stack: contextlib.ExitStack, folder: Path, service: MeasuredService, name: str, module: str = "peer_orcha"
) -> System:
    """Start a client of a service."""
    command, log = [sys.executable, CLIENT, module], folder / f"orcha-{service.port}.log"
    environment = {"ORCHA_HOME": str(service.home), "BENCH_ORCHA": str(service.port)}
    return System(name, "yes", stack.enter_context(running(command, log, **environment)))


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(systems: Sequence[System], count: int) -> None:
    """Measure all systems in turn, several times."""
    for system in systems:
        system.hear()
        system.ask("one", WARM_UP)
    for _ in range(ROUNDS):
        for system in systems:
            system.one()
        for system in systems:
            system.many(count)
