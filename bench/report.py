"""Run the benchmarks one after the other, and write their tables into docs/benchmarks.md.

python bench/report.py [NAME...] [--queued N] [--to FILE]

Without names all are run, which takes some minutes; the machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import apsw

from orcha.utils import version
from support import HERE, HOME_PARENT, Disk, machine, milliseconds, scaled

ROOT = HERE.parent
PAGE = ROOT / "docs" / "benchmarks.md"
SYNCS = scaled(500)
INTRODUCTION = (
    "Written by `make bench`; the scripts are in `bench/`. Every baseline is from the same run as what it is compared"
    " with, measured in turn with it. Times are by the clock on the wall; 50 % and 99 % of all did not exceed p50 and"
    " p99. What is wanted holds on a quiet machine of two cores."
)


@dataclass(frozen=True)
class Benchmark:
    """A script that prints a table, and what a reader has to know of it."""

    title: str
    text: str
    needs: str = ""


BENCHMARKS = {
    "noop": Benchmark(
        "No-op petitions",
        "A Python action that only finishes; one client. Submit → done is from `send` to the final value in the"
        " client's hands, acceptance and outcome both fsynced on the way; a `fdatasync` is measured between every two"
        " petitions. The rates are from the first `send_many` to the last final value, all petitions on one channel.",
    ),
    "first_line": Benchmark(
        "First line",
        "The petition of the document for plugin authors with `--counter 1`: from `send` to the line that a process of"
        " the action printed, by the start method of `multiprocessing`.",
    ),
    "commands": Benchmark(
        "Commands",
        "Through the whole path: submitted over the wire, accepted durably, executed by a shim, their ends durable."
        " `posix_spawn` alone runs as many at once, and keeps nothing. A line carries the time at which the"
        " command writes it, to stdout and stderr in turn, 5 ms apart; both ends have the same clock. The command with"
        " much output is followed by one client that keeps up and one that is stopped. While many commands run, what"
        " `orcha ps` asks for is asked every 10 ms, from their submit until none is left.",
    ),
    "start_up": Benchmark(
        "Start-up of the command",
        "Medians of runs in turn with an interpreter that only does the imports. `send` is measured until the listening"
        " socket has its connection.",
    ),
    "depth": Benchmark(
        "A deep queue",
        "A service with many queued petitions, probed in turn with one that has next to none: p50 / p99 of both, and"
        " their ratios.",
    ),
    "scheduling": Benchmark(
        "Scheduling steps",
        "The core's own rounds in one process, without clients, disk and plugins, while no more may run: p50, p99 and"
        " the longest in processor time, of a step after something that lets nobody start, and of one that ends a"
        " petition and starts the next one; beside the same with a hundredth of the petitions.",
    ),
    "forecasts": Benchmark(
        "Forecasts",
        "`orcha simulate` over workloads of several kinds, in processor time of the whole command: the median of three"
        " runs. About eight petitions of a minute each run at a time, and more of them come than can run, so the"
        " queue grows to thousands; where all are asked for at once, each waits for the others.",
    ),
    "arrays": Benchmark(
        "Arrays",
        "An array is asked for at an idle service, and once more while another client submits one command after the"
        " other: p50 / p99 of these submits, and the longest one.",
    ),
    "dependencies": Benchmark(
        "Dependencies",
        "Commands that wait for one other command, which is cancelled: the time from the cancel to the output of the"
        " first of them, and of the last. All between these are of a group without a slot: they are considered, and"
        " none of them starts. The same with two that wait is what the end of the one and the start of another cost.",
    ),
    "slow_sockets": Benchmark(
        "Slow sockets of others",
        "No-op petitions of a client that is connected, one at a time, while a process keeps 2,000 connections, half of"
        " them over TCP. Each sends a byte of a handshake twice a second. The service closes sockets that are too slow,"
        " or too many, and half a second later they are there again.",
    ),
    "peers": Benchmark(
        "Beside Celery and Huey",
        "No-op tasks with results, one client, two workers each (Celery: two processes; Huey: two threads; Orcha: two"
        " at once, and 64). All systems are up and are measured in turn. Orcha fsyncs what it accepted and how it"
        " ended, each before the client hears of it. Celery and Huey leave that to Redis, which fsyncs nothing for a"
        " task unless it is told to: the first five lines are with a Redis that keeps all in memory, which is kindest"
        " to them, the others with one that fsyncs every write before it answers. Celery and Huey are as they come;"
        " `notify_result` spares Huey's client the polling. No limit is set here.",
        needs="redis-server",
    ),
    "peer_commands": Benchmark(
        "Commands beside Huey, Celery, task-spooler and Ray",
        "`/bin/true`, and `/bin/echo hi` one at a time; one client, two workers each (Celery and Ray: two processes;"
        " Huey: two threads; each worker has `subprocess.run` execute them). All systems are up and are measured in"
        " turn. Output is in the client's hands with its first byte where it is streamed (Orcha, `tsp -nf`,"
        " `posix_spawn` alone), else with the result. Orcha fsyncs what it accepted and how it ended, each before the"
        " client hears of it, and keeps the output; the others fsync nothing, Redis keeps all in memory, and with"
        " task-spooler every submit is a process. `posix_spawn` alone is the yardstick: no queue, no service.",
    ),
}


def facts() -> dict[str, str]:
    """Give what was measured, when, and on what."""
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=HOME_PARENT) as folder:
        disk = Disk(Path(folder))
        for _ in range(SYNCS):
            disk.measure()
        disk.close()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "Date": datetime.now(UTC).date().isoformat(),
        "Orcha": f"{version('orcha')}, revision {revision()}",
        "Machine": f"{machine()}, {processor()}, {memory:.1f} GiB",
        "Disk": f"{filesystem()}, one fdatasync {milliseconds(disk.times)} (p50 / p99)",
        "SQLite": apsw.sqlite_lib_version(),
        "Load before": f"{os.getloadavg()[0]:.2f}",
    }


def revision() -> str:
    """Give the commit of the checkout, and whether it has changes."""
    if shutil.which("git") is None:
        return "unknown"
    git = ["git", "describe", "--always", "--dirty=, changed", "--exclude=*"]
    done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def processor() -> str:
    """Give the processor's model."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def filesystem() -> str:
    """Give the kind of file system that the services' files are on."""
    device = Path(HOME_PARENT).stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[2] == number:
            return line.partition(" - ")[2].split()[0]
    return "unknown"


def run(name: str, arguments: list[str]) -> tuple[str, bool]:
    """Run a benchmark, show its table as it grows; give the table, and whether the script got to its end."""
    lines = []
    with subprocess.Popen(
        [sys.executable, str(HERE / f"{name}.py"), *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        lines.append(f"\n**The script failed with {process.returncode}; the table is not whole.**\n")
    return "".join(lines), process.returncode == 0


def write(page: Path, known: dict[str, str], tables: dict[str, str]) -> None:
    """Write the page."""
    head = "\n".join(f"- {name}: {value}" for name, value in known.items())
    parts = ["# Benchmarks", INTRODUCTION, head]
    for name, table in tables.items():
        benchmark = BENCHMARKS[name]
        parts += [f"## {benchmark.title}", benchmark.text, table.strip(), f"Again: `python bench/{name}.py`."]
    page.write_text("\n\n".join(parts) + "\n")


def main() -> int:
    """Run what is wanted, write the page."""
    parser = argparse.ArgumentParser(description="Run benchmarks, write their tables into a page.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones, of {', '.join(BENCHMARKS)} (all)")
    parser.add_argument("--queued", default="100000", metavar="N", help="the depth of the deep queue (100000)")
    parser.add_argument("--to", type=Path, default=PAGE, metavar="FILE", help="the page (docs/benchmarks.md)")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    known, tables, failed = facts(), {}, []
    for name in options.names or BENCHMARKS:
        needs = BENCHMARKS[name].needs
        if needs and shutil.which(needs) is None:
            tables[name] = f"Not measured: {needs} was not installed."
            print(tables[name])
            continue
        tables[name], succeeded = run(name, [options.queued] if name == "depth" else [])
        if not succeeded:
            failed.append(name)
    write(options.to, known, tables)
    if failed:
        print(f"report.py: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
