"""Commands: how many a second, how soon their bytes, what much output costs, and many at once.

python bench/commands.py [COUNT] [--output GIB]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peer_spawn
from command_client import connect, echo, item, true
from orcha._cli import ps
from orcha._cli.session import MANAGER
from peer_client import seconds
from peer_spawn import AT_ONCE
from peer_work import expect
from support import SCALE, MeasuredService, machine, milliseconds, percentile, row, scaled, service

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE_BY_ONE = scaled(300)
WARM_UP = scaled(50)
PIECE = scaled(64 << 20)
"""Bytes of the file that the command with much output prints again and again."""
WRITTEN = scaled(400)
WRITER = r"""
import os, sys, time
for number in range(int(sys.argv[1])):
    time.sleep(0.005)
    os.write(1 + number % 2, b"%d %d\n" % (number, time.monotonic_ns()))
"""
"""A command that writes its own clock to stdout and stderr in turn; here as there it is CLOCK_MONOTONIC."""
SLEEP = f"{5 / SCALE:g}"
PAUSE = 0.01
"""Seconds between two requests for the list of those that run."""


def rate(running: MeasuredService, count: int) -> None:
    """Measure many commands that do nothing."""
    session = connect(running.port)
    _, taken = seconds(true, session, count)
    _, alone = seconds(peer_spawn.many, count)
    row(
        f"{count:,} x /bin/true, {AT_ONCE} at a time, durable",
        f"{count / taken:,.0f}/s ({alone / taken:.2f}x of {count / alone:,.0f}/s by posix_spawn alone)",
        "≥ 1,000/s",
    )
    session.close()


def first_byte(running: MeasuredService) -> None:
    """Measure from the submit of `echo hi` to its output in the client's hands."""
    session = connect(running.port)
    times = [seconds(echo, session)[0] for _ in range(ONE_BY_ONE + WARM_UP)]
    row("`echo hi`: submit → first byte", milliseconds(times[WARM_UP:]), "p50 ≤ 3 ms")
    session.close()


def arrivals(process: subprocess.Popen[bytes]) -> Iterator[tuple[int, bytes, int]]:
    """Give the lines of a process's stdout (0) and stderr (1), each with the time it came."""
    rests = [b"", b""]
    with selectors.DefaultSelector() as selector:
        for stream, pipe in enumerate((process.stdout, process.stderr)):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ, stream)
        while selector.get_map():
            for key, _ in selector.select():
                piece = os.read(key.fd, 1 << 16)
                came = time.monotonic_ns()
                if not piece:
                    selector.unregister(key.fileobj)
                *lines, rests[key.data] = (rests[key.data] + piece).split(b"\n")
                yield from ((key.data, line, came) for line in lines)


def delay(running: MeasuredService) -> None:
    """Measure from the moment at which a command writes a line until it has come out of `orcha run`."""
    orcha = [sys.executable, "-m", "orcha", "--port", str(running.port), "run", "--"]
    command = [sys.executable, "-c", WRITER, str(WRITTEN)]
    delays, came = [], []
    with subprocess.Popen([*orcha, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for stream, line, at in arrivals(process):
            number, written = line.split()
            came.append((stream, int(number)))
            delays.append((at - int(written)) / 1e9)
    expect(sorted(came), sorted((number % 2, number) for number in range(WRITTEN)))
    expect(process.returncode, 0)
    row("a line written → out of `orcha run`, p50 / p95", milliseconds(delays, 0.95), "p95 ≤ 50 ms")


def many_at_once(running: MeasuredService, count: int) -> None:
    """Measure what `orcha ps` asks for, while many commands run at once."""
    session = connect(running.port)
    channel = session.channel()

    def page(*which: Any, **more: Any) -> list[dict[str, Any]]:
        """Give a page of rows, as `orcha ps` asks for it."""
        return session.page(*which, **more).rows

    session.submit([item(["/bin/sleep", SLEEP], channel) for _ in range(count)], MANAGER)
    times, most, live = [], 0, count
    while live:
        begun = time.perf_counter()
        rows = ps.listing(page, ps.LIVE_STATE_NAMES, count).rows
        times.append(time.perf_counter() - begun)
        live = len(rows)
        most = max(most, sum(one["state"] == "running" for one in rows))
        time.sleep(PAUSE)
    for _ in range(count):
        expect(channel.get(), 0)
    ended = ps.listing(page, ["ended"], count).rows
    started = sum(one["started"] is not None for one in ended)
    row(
        f"{count:,} x `sleep {SLEEP}` at once",
        f"{started:,} started, {len(ended):,} ended, at most {most:,} were seen running at once",
        "all start, all end",
    )
    row(f"… `ps` of all of them meanwhile, {len(times):,} times", milliseconds(times), "p99 ≤ 100 ms")
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
    session = connect(port)
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
    session = connect(running.port)
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
    parser.add_argument("--output", type=float, default=10 / SCALE, metavar="GIB")
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
        delay(running)
        rate(running, options.count)
        shim_memory()
        much_output(running, options.output)
    count = scaled(500)
    os.environ["ORCHA_COMMANDS"] = str(count)
    with service(script="command_service.py") as running:
        many_at_once(running, count)


if __name__ == "__main__":
    main()
