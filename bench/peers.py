"""Orcha beside Celery and Huey: no-op tasks, two workers each, measured in turn.

    python bench/peers.py [COUNT]

The peers live in an environment of their own, .venv-peers, which is made when it is missing or out of date. They
share a redis-server that is started for the purpose, in a temporary folder and on a free port of loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from support import HERE, HOME_PARENT, MeasuredService, free_port, machine, milliseconds, percentile, row, scaled
from support import service as orcha_service

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIREMENTS = HERE / "peers-requirements.txt"
ENVIRONMENT = HERE.parent / ".venv-peers"
PYTHON = str(ENVIRONMENT / "bin" / "python")
CLIENT = "peer_client.py"
ROUNDS = 3
ONE_BY_ONE = scaled(300)
POLLING = scaled(10)
WARM_UP = scaled(20)
STARTING = 60
NO_REDIS = "peers.py: there is no redis-server on the PATH; on Debian: apt-get install redis-server"


@dataclass
class System:
    """One line of the table: a client that is told what to do, and what it measured."""

    name: str
    synced: str
    client: subprocess.Popen[str]
    one_by_one: int = ONE_BY_ONE
    times: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def hear(self) -> list[float]:
        """Read the client's next answer."""
        assert self.client.stdout is not None
        line = self.client.stdout.readline()
        if not line:
            raise RuntimeError(f"the client of {self.name} ended with {self.client.wait()}")
        times: list[float] = json.loads(line)
        return times

    def ask(self, verb: str, count: int) -> list[float]:
        """Have it do something, give the seconds that it took."""
        assert self.client.stdin is not None
        self.client.stdin.write(f"{verb} {count}\n")
        self.client.stdin.flush()
        return self.hear()

    def print(self, ours: System) -> None:
        """Print its line, beside ours."""
        slower = percentile(self.times, 0.5) / percentile(ours.times, 0.5)
        rate, our_rate = statistics.median(self.rates), statistics.median(ours.rates)
        cells = (milliseconds(self.times), f"{rate:,.0f}/s", f"{slower:.2f}x", f"{our_rate / rate:.2f}x")
        row(self.name, self.synced, *cells)


# --- what is started -------------------------------------------------------------------------------------------------


def prepare() -> None:
    """Make the peers' environment, unless it is there."""
    wanted = f"# {sys.version}\n{REQUIREMENTS.read_text()}"
    stamp = ENVIRONMENT / "holds.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
    install = ["-m", "pip", "install", "-qq", "--no-input", "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
    subprocess.run([PYTHON, *install], check=True)
    stamp.write_text(wanted)


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


def orcha(stack: contextlib.ExitStack, folder: Path, service: MeasuredService, limit: str) -> System:
    """Start a client of a service."""
    command, log = [sys.executable, CLIENT, "peer_orcha"], folder / f"orcha-{limit}.log"
    environment = {"ORCHA_HOME": str(service.home), "BENCH_ORCHA": str(service.port)}
    client = stack.enter_context(running(command, log, **environment))
    return System(f"Orcha, `running < {limit}`", "yes", client)


# --- measuring -------------------------------------------------------------------------------------------------------


def compare(count: int, *, durable: bool) -> None:
    """Measure all systems in turn, several times; print their lines."""
    with contextlib.ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix=".bench-", dir=HOME_PARENT, ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(made))
        options = ("--appendonly", "yes", "--appendfsync", "always") if durable else ("--appendonly", "no")
        synced = "yes, Redis appendfsync always" if durable else "no"
        port = stack.enter_context(redis(folder, *options))
        services = {limit: stack.enter_context(orcha_service(limit)) for limit in ("2", "64")}
        systems = [
            *(orcha(stack, folder, service, limit) for limit, service in services.items()),
            celery(stack, folder, port, synced),
            huey(stack, folder, port, synced, notify=True),
            huey(stack, folder, port, synced, notify=False),
        ]
        for system in systems:
            system.hear()
            system.ask("one", WARM_UP)
        for _ in range(ROUNDS):
            for system in systems:
                system.times += system.ask("one", system.one_by_one)
            for system in systems:
                system.rates.append(count / system.ask("many", count)[0])
        for system in systems:
            system.print(systems[0])


def main() -> None:
    """Measure all, print a table."""
    if shutil.which("redis-server") is None:
        sys.exit(NO_REDIS)
    prepare()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else scaled(3_000)
    title = f"no-op task, two workers, {ROUNDS} rounds of {count:,} ({machine()})"
    row(title, "fsyncs a task", "submit → done p50 / p99", "tasks/s", "p50 beside Orcha's", "Orcha's tasks/s beside it")
    row("---", "---", "---", "---", "---", "---")
    compare(count, durable=False)
    compare(count, durable=True)


if __name__ == "__main__":
    main()
