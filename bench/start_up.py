"""How soon the command is there, with ten plugins installed, against an interpreter that only imports.

python bench/start_up.py [--runs N] [--bare]

Everything is installed into an environment of its own, Orcha as a wheel of this checkout. With --bare what Orcha
depends on is left out: neither command imports it, and no package index is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from support import HERE, SCALE, free_port, machine, row, scaled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = HERE.parent
DOCUMENT = ROOT / "tests" / "fixtures" / "hello_world"
PLUGINS = scaled(10)
WARM_UP = 3
LS_IMPORTS = "import argparse, socket"
SEND_IMPORTS = "import argparse, socket, dataclasses, multiprocessing, typing, queue"


@dataclass(frozen=True)
class Environment:
    """Where everything is installed, and what its programs see."""

    folder: Path
    variables: dict[str, str]

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "environment" / "bin" / "python")

    @property
    def orcha(self) -> str:
        """Its command, as pip wrote it."""
        return str(self.folder / "environment" / "bin" / "orcha")

    def run(self, *command: str) -> str:
        """Run something to its end, give what it printed."""
        done = subprocess.run(command, env=self.variables, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start something that is measured."""
        return subprocess.Popen(
            command,
            env=self.variables,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


# --- what is installed -----------------------------------------------------------------------------------------------


def write_plugin(folder: Path, number: int) -> Path:
    """Write the document's plugin as a project; all but the first under names of their own."""
    project = Path(shutil.copytree(DOCUMENT, folder / f"plugin-{number}"))
    if number == 0:
        return project
    module = f"orcha_hello_{number}"
    (project / "orcha_hello_world").rename(project / module)
    for path in project.rglob("*.py"):
        text = path.read_text().replace("orcha_hello_world", module).replace('"hw"', f'"h{number}"')
        path.write_text(text.replace("hello-world", f"hello-{number}"))
    return project


def install(folder: Path, *, bare: bool) -> Environment:
    """Install Orcha and the plugins, as pip does for anybody: bytecode compiled, unless counts are divided."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ORCHA", "XDG_"))}
    environment = Environment(folder, variables | {"ORCHA_HOME": str(folder / "home")})
    projects = [str(ROOT), *(str(write_plugin(folder, number)) for number in range(PLUGINS))]
    build = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder / "wheels"),
    ]
    environment.run(sys.executable, *build, *projects)
    environment.run(sys.executable, "-m", "venv", "--without-pip", str(folder / "environment"))
    wheels = sorted(str(path) for path in (folder / "wheels").iterdir())
    needs = ["--no-deps", "--no-index"] if bare else ["--constraint", str(ROOT / "requirements-dev.txt")]
    pip = [sys.executable, "-m", "pip", "--python", environment.python]
    compiled = (
        "--compile" if SCALE == 1 else "--no-compile"
    )  # two seconds of processor time, where figures mean nothing
    environment.run(*pip, "install", "--quiet", "--no-input", compiled, *needs, *wheels)
    listed = environment.run(environment.orcha, "ls")
    if listed.count("orcha-hello-") != PLUGINS:
        raise RuntimeError(listed)
    return environment


# --- measuring -------------------------------------------------------------------------------------------------------


def until_exit(environment: Environment, *command: str) -> float:
    """Give the seconds from a program's start to its successful end."""
    begun = time.perf_counter()
    code = environment.start([*command]).wait()
    taken = time.perf_counter() - begun
    if code:
        raise RuntimeError(f"{command}: exit code {code}")
    return taken


def until_connect(environment: Environment, listener: socket.socket, port: int) -> float:
    """Give the seconds from the start of the document's `send` to its connection's arrival."""
    begun = time.perf_counter()
    client = environment.start([environment.orcha, "--port", str(port), "hello-world", "send", "m1"])
    try:
        connection, _ = listener.accept()
        taken = time.perf_counter() - begun
        connection.close()
    finally:
        client.kill()
        client.wait()
    return taken


@contextlib.contextmanager
def unix_listener(environment: Environment, port: int) -> Iterator[socket.socket]:
    """Listen where a service's Unix socket is."""
    folder = Path(environment.variables["ORCHA_HOME"]) / f"127.0.0.1-{port}"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "orcha.sock"))
        listener.listen()
        yield listener


@contextlib.contextmanager
def tcp_listener(_: Environment, port: int) -> Iterator[socket.socket]:
    """Listen where a service's port is."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        yield listener


def compare(what: str, runs: int, measured: Callable[[], float], baseline: Callable[[], float], wanted: str) -> None:
    """Measure both in turn, print them beside each other."""
    for _ in range(WARM_UP):
        measured()
        baseline()
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(runs):
        pair = [(measured, ours), (baseline, theirs)]
        for time_it, kept in pair if number % 2 else reversed(pair):
            kept.append(time_it())
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    mine, other = statistics.median(ours), statistics.median(theirs)
    ratio = f"{mine / other:.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"
    row(what, f"{mine * 1e3:.1f} ms", f"{other * 1e3:.1f} ms", ratio, wanted)


def measure(environment: Environment, runs: int) -> None:
    """Measure what is promised."""

    def imports(what: str) -> float:
        return until_exit(environment, environment.python, "-I", "-c", what)

    compare(
        f"`orcha ls` / `{LS_IMPORTS}`",
        runs,
        lambda: until_exit(environment, environment.orcha, "ls"),
        lambda: imports(LS_IMPORTS),
        "≤ 1.5x",
    )
    for way, listen in {"Unix socket": unix_listener, "TCP": tcp_listener}.items():
        port = free_port()
        with listen(environment, port) as listener:
            listener.settimeout(60)
            compare(
                f"the document's `send` until its connect(), {way} / `{SEND_IMPORTS}`",
                runs,
                functools.partial(until_connect, environment, listener, port),
                lambda: imports(SEND_IMPORTS),
                "≤ 1.6x",
            )


def main() -> None:
    """Measure all, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=scaled(41))
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        environment = install(Path(made), bare=options.bare)
        title = f"{PLUGINS} plugins, {options.runs} runs ({machine()})"
        row(title, "median", "only the imports", "ratio (min to max)", "wanted")
        row("---", "---", "---", "---", "---")
        measure(environment, options.runs)


if __name__ == "__main__":
    main()
