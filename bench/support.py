"""What all benchmarks share: a service in a folder of its own, the disk's speed beside it, percentiles."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).resolve().parent
SCALE = int(os.environ.get("BENCH_SCALE", "1"))
"""Divides all counts: whether a script runs at all is soon seen, and its figures mean nothing."""
HOME_PARENT = os.environ.get("BENCH_FOLDER", str(HERE.parent))
"""Where services keep their files: a real disk, not a tmpfs, since the fsync is part of what is measured."""


class MeasuredService:
    """A service process, and how much of the machine it has used."""

    def __init__(self, home: Path, port: int, process: subprocess.Popen[str]) -> None:
        """Know a service that is ready."""
        self.home = home
        self.port = port
        self.process = process

    def cpu(self) -> float:
        """Give the seconds of processor time it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Give its private memory in bytes (proportional set size)."""
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no Pss")

    def stop(self) -> None:
        """Stop it; raises RuntimeError with its threads' stacks where it does not."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            raise RuntimeError(f"the service does not stop: {self.process.communicate()[1]}") from None

    def kill(self) -> None:
        """Kill -9 it."""
        self.process.kill()
        self.process.wait()


def scaled(count: int) -> int:
    """Give how many of them to do."""
    return max(1, count // SCALE)


def free_port() -> int:
    """Give a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(home: Path, port: int, *arguments: str, script: str = "noop_service.py") -> tuple[MeasuredService, float]:
    """Start a service; give it and the seconds from its start to its ready line."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", str(HERE / script), str(port), *arguments],
        env=os.environ | {"ORCHA_HOME": str(home)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    if "serving" not in line:
        process.kill()
        raise RuntimeError(line + process.stderr.read())
    return MeasuredService(home, port, process), time.perf_counter() - begun


@contextlib.contextmanager
def service(*arguments: str, script: str = "noop_service.py", home: Path | None = None) -> Iterator[MeasuredService]:
    """Have a service for a while, beside the others of `home`; this process's clients reach it."""
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=HOME_PARENT, ignore_cleanup_errors=True) as made:
        folder = str(home or made)
        os.environ["ORCHA_HOME"] = folder
        running, _ = start(Path(folder), free_port(), *arguments, script=script)
        try:
            yield running
        finally:
            running.stop()


class Disk:
    """What one fdatasync of three pages costs, measured beside everything else."""

    def __init__(self, folder: Path) -> None:
        """Make a file to write to."""
        self._file = os.open(folder / "fdatasync", os.O_CREAT | os.O_RDWR)
        os.write(self._file, bytes(1 << 20))
        os.fsync(self._file)
        self.times: list[float] = []

    def measure(self) -> None:
        """Do it once."""
        os.pwrite(self._file, os.urandom(3 * 4096), 4096 * (len(self.times) % 200))
        begun = time.perf_counter()
        os.fdatasync(self._file)
        self.times.append(time.perf_counter() - begun)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def milliseconds(values: Sequence[float], high: float = 0.99) -> str:
    """Give p50 and p99, or another one than that, as text."""
    return f"{percentile(values, 0.5) * 1e3:.2f} / {percentile(values, high) * 1e3:.2f} ms"


def machine() -> str:
    """Name what this was measured on."""
    return f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, CPython {platform.python_version()}"


def row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
