"""Commands: how many a second, how soon their first byte, and what much output costs.

python bench/commands.py [COUNT] [--output GIB]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orcha._cli.session import MANAGER, Session
from orcha._wire import values
from orcha._wire.channel import new_identity
from orcha._wire.endpoint import Endpoint
from orcha._wire.messages import Item
from support import SCALE, MeasuredService, machine, milliseconds, percentile, row, scaled, service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orcha._wire.channel import ClientChannel

AT_ONCE = 2
ONE_BY_ONE = scaled(300)
WARM_UP = scaled(50)
PIECE = scaled(64 << 20)
"""Bytes of the file that the command with much output prints again and again."""


def connect(running: MeasuredService) -> Session:
    """Give a connected client."""
    session = Session(Endpoint("127.0.0.1", running.port), None)
    session.connect()
    return session


def item(argv: list[str], channel: ClientChannel, **extras: Any) -> Item:
    """Make what a submit asks for."""
    identity = new_identity()
    content = {"argv": argv, "cwd": "/", "queue": channel, **extras}
    return Item(identity, identity.hex(), values.encode(content), channel.__orcha_channel__)


def spawn_loop(count: int) -> float:
    """Run commands by posix_spawn alone, so many at once as the service does; give how many a second."""
    begun = time.perf_counter()
    running: set[int] = set()
    for _ in range(count):
        if len(running) == AT_ONCE:
            running.discard(os.wait()[0])
        running.add(os.posix_spawn("/bin/true", ["/bin/true"], {}))
    while running:
        running.discard(os.wait()[0])
    return count / (time.perf_counter() - begun)


def rate(running: MeasuredService, count: int) -> None:
    """Measure many commands that do nothing."""
    session = connect(running)
    channel = session.channel()
    items = [item(["/bin/true"], channel) for _ in range(count)]
    begun = time.perf_counter()
    session.submit(items, MANAGER)
    for _ in items:
        if (value := channel.get()) != 0:
            raise RuntimeError(f"no success: {value!r}")
    measured = count / (time.perf_counter() - begun)
    bare = spawn_loop(count)
    row(
        f"{count:,} x /bin/true, {AT_ONCE} at a time, durable",
        f"{measured:,.0f}/s ({measured / bare:.2f}x of {bare:,.0f}/s by posix_spawn alone)",
        "≥ 1,000/s",
    )
    session.close()


def first_byte(running: MeasuredService) -> None:
    """Measure from the submit of `echo hi` to its output in the client's hands."""
    session = connect(running)
    times = []
    for _ in range(ONE_BY_ONE + WARM_UP):
        channel = session.channel()
        begun = time.perf_counter()
        session.submit([item(["/bin/echo", "hi"], channel)], MANAGER)
        if channel.get() != (1, b"hi\n"):
            raise RuntimeError("no output")
        times.append(time.perf_counter() - begun)
        if channel.get() != 0:
            raise RuntimeError("no success")
    row("`echo hi`: submit → first byte", milliseconds(times[WARM_UP:]), "p50 ≤ 3 ms")
    session.close()


def shim_memory() -> None:
    """Show the private memory of the shims that are there now."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"orcha" in (process / "cmdline").read_bytes() and b"_supervisor" in (process / "cmdline").read_bytes():
                rows = (line.split() for line in (process / "smaps_rollup").read_text().splitlines()[1:])
                sizes = {cells[0]: int(cells[1]) for cells in rows}
                found.append((sizes["Private_Clean:"] + sizes["Private_Dirty:"]) / 1024)
    if found:
        row(
            "private memory, supervisor and shims",
            f"{percentile(found, 0.5):.1f} MiB the median of {len(found)}",
            "≤ 3 MB",
        )


@contextlib.contextmanager
def stopped_follower(running: MeasuredService, channel: bytes) -> Iterator[None]:
    """Have a client that follows the channel and then is stopped by SIGSTOP."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--follow", str(running.port), channel.hex()],
        stdout=subprocess.PIPE,
        env=os.environ | {"ORCHA_HOME": str(running.home)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def follow(port: int, channel: str) -> None:
    """Follow a channel; say when its first value has come."""
    session = Session(Endpoint("127.0.0.1", port), None)
    session.connect()
    reader = session.channel(bytes.fromhex(channel), own=True, index=0)
    reader.get()
    print("follows", flush=True)
    while not isinstance(reader.get(), int):
        pass


def much_output(running: MeasuredService, gib: float) -> None:
    """Measure a command with much output, followed by one client that keeps up and one that is stopped."""
    piece = running.home / "piece"
    piece.write_bytes(os.urandom(PIECE))
    times = max(1, int(gib * (1 << 30) / PIECE))
    script = f"i=0; while [ $i -lt {times} ]; do cat {piece}; i=$((i+1)); done"
    target = running.home / "baseline"
    begun = time.perf_counter()
    with target.open("wb") as file:
        subprocess.run(["/bin/sh", "-c", script], stdout=file, check=True)
    alone = time.perf_counter() - begun
    target.unlink()
    expected = hashlib.sha256()
    content = piece.read_bytes()
    for _ in range(times):
        expected.update(content)
    session = connect(running)
    channel = session.channel()
    before = running.memory()
    asked = item(["/bin/sh", "-c", script], channel, output_limit=1 << 50)
    session.submit([asked], MANAGER)
    got = hashlib.sha256()
    most = 0
    with stopped_follower(running, channel.__orcha_channel__):
        count = 0
        while not isinstance(value := channel.get(), int):
            if isinstance(value, tuple):
                got.update(value[1])
            count += 1
            if count % 1_000 == 0:
                most = max(most, running.memory() - before)
    if value != 0:
        raise RuntimeError(f"no success: {value}")
    details = session.details(str(asked.id))
    taken = float(details["ended"]) - float(details["started"])
    size = times * PIECE / (1 << 30)
    same = "the same" if got.digest() == expected.digest() else "NOT THE SAME"
    row(f"{size:.1f} GiB of output: SHA-256", same, "the same")
    row("… the command took", f"{taken:.1f} s, {taken / alone:.2f}x of {alone:.1f} s by `cmd > file`", "≤ 1.10x")
    row("… the service's memory grew by", f"{most / (1 << 20):.0f} MiB at most", "≤ 32 MiB")
    session.close()


def main() -> None:
    """Measure all, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", nargs="?", type=int, default=scaled(2_000))
    parser.add_argument("--output", type=float, default=1 / SCALE, metavar="GIB")
    parser.add_argument("--follow", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow:
        follow(int(options.follow[0]), options.follow[1])
        return
    os.environ["ORCHA_COMMANDS"] = str(AT_ONCE)
    row(f"command ({machine()})", "measured", "wanted")
    row("---", "---", "---")
    with service(script="command_service.py") as running:
        first_byte(running)
        rate(running, options.count)
        shim_memory()
        much_output(running, options.output)


if __name__ == "__main__":
    main()
