"""A real service in a process, a folder and on a port of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orcha.plugins.record import TOO_SLOW
from support import warm
from support.ports import free_port
from support.processes import command_line, kill_all, processes_of
from support.waiting import DEADLINE, wait_for

TESTS = Path(__file__).resolve().parent.parent
READY = "orcha: serving "
"""How the line begins with which a service says that it accepts connections."""
_plugins_known: dict[str, bytes] = {}
"""What services of earlier tests found out about plugins, by the cache's file: a search takes a tenth of a second."""


class RunningService:
    """A service process; made by the fixtures `serve` and `service`.

    Attributes: `address`, `port`, `home` (its ORCHA_HOME), `process` (the current `subprocess.Popen`), `environment`
    (of the service, and right for its clients too).
    """

    def __init__(
        self, command: list[str], home: Path, port: int, environment: dict[str, str], logs: Path, *, warm: bool = True
    ) -> None:
        """Prepare; `start` starts."""
        self.address = "127.0.0.1"
        self.port = port
        self.home = home
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self.command = command
        self._logs = logs
        self._warm = warm
        self._starts = 0
        self._expected_end = True
        self._clients: list[subprocess.Popen[Any]] = []

    # --- the service -------------------------------------------------------------------------------------------------

    def start(self, *, ready: bool = True, environment: Mapping[str, str] | None = None) -> None:
        """Start it (again), with these additions to its environment; with `ready` wait until it serves."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        self._starts += 1
        with self._log("stdout").open("wb") as stdout, self._log("stderr").open("wb") as stderr:
            self.process = warm.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=self.environment | dict(environment or {}),
                start_new_session=True,
                warm=self._warm,
            )
        self._expected_end = False
        if ready:
            self.wait_until_ready()

    def wait_until_ready(self, deadline: float = DEADLINE) -> None:
        """Wait for its ready line; fail at once when it ends instead."""

        def ready() -> bool:
            assert self._running().poll() is None, f"the service ended with {self.pid_and_code()}:\n{self.stderr()}"
            return any(line.startswith(READY) for line in self.stderr().splitlines())

        wait_for(ready, deadline, what="the service's ready line")

    def stop(self, deadline: float = DEADLINE) -> int:
        """Ask it to stop (SIGTERM) and give its exit code."""
        self._expected_end = True
        self._running().terminate()
        return self._running().wait(deadline)

    def kill(self) -> None:
        """Kill -9 the service itself, nothing else, and wait until it is gone."""
        self._expected_end = True
        self._running().kill()
        self._running().wait(DEADLINE)

    def wait_for_end(self, deadline: float = DEADLINE) -> int:
        """Wait until it ends by itself, which is then no failure, and give its exit code."""
        self._expected_end = True
        return self._running().wait(deadline)

    @property
    def pid(self) -> int:
        """The pid of the current process."""
        return self._running().pid

    def pid_and_code(self) -> str:
        """Tell the process and how it ended, for messages."""
        return f"pid {self.pid}, code {self._running().poll()}"

    def stderr(self) -> str:
        """Give what the current process wrote to stderr."""
        return self._log("stderr").read_text(errors="replace")

    def stdout(self) -> str:
        """Give what the current process wrote to stdout."""
        return self._log("stdout").read_text(errors="replace")

    def all_stderr(self) -> str:
        """Give what all its starts wrote to stderr, for a failure's report."""
        return "".join(
            f"--- start {number} ---\n{path.read_text(errors='replace')}"
            for number in range(1, self._starts + 1)
            if (path := self._logs / f"service-{self.port}-{number}.stderr").exists()
        )

    def threads(self) -> int:
        """Count the threads of the service's own process."""
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def processes(self) -> list[int]:
        """Give the pids of all that carry this service's ORCHA_HOME: itself, helpers, its children, clients."""
        return processes_of(self.home)

    # --- clients -----------------------------------------------------------------------------------------------------

    def orcha(self, *arguments: str) -> list[str]:
        """Give the command line of an orcha command that talks to this service."""
        return [sys.executable, "-m", "orcha", "--listen-address", self.address, "--port", str(self.port), *arguments]

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run an orcha command against this service to its end; text in, text out."""
        defaults: dict[str, Any] = {"capture_output": True, "text": True, "timeout": DEADLINE, "env": self.environment}
        if "input" not in options:
            defaults["stdin"] = subprocess.DEVNULL
        return warm.run(self.orcha(*arguments), **defaults | options)

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Do as `run` does, in this process, which costs a tenth: for commands that a test gives, and is not about."""
        from support import in_process  # which imports pytest: a warm interpreter does without it

        if not in_process.can_run(self.environment):
            return self.run(*arguments)
        return in_process.run(self.orcha(*arguments)[3:], self.environment)

    def spawn(self, *command: str, **options: Any) -> subprocess.Popen[Any]:
        """Start any command line in this service's environment; what still runs at the end of the test is killed."""
        defaults: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": self.environment}
        client = warm.Popen(command, **defaults | options)
        self._clients.append(client)
        return client

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> list[str]:
        """End everything; give what is wrong: an unexpected death, processes that outlived an orderly stop."""
        problems = []
        self.end_clients()
        if self.process is not None:
            if self.process.poll() is not None and not self._expected_end:
                problems.append(f"the service died unexpectedly ({self.pid_and_code()})")
            elif self.process.poll() is None:
                problems += self._end()
        problems += self._leftovers()
        return problems

    def end_clients(self) -> None:
        """Kill the clients that still run."""
        for client in self._clients:
            if client.poll() is None:
                client.kill()
            client.wait(DEADLINE)
            for stream in (client.stdin, client.stdout, client.stderr):
                if stream is not None:
                    stream.close()
        self._clients.clear()

    def _end(self) -> list[str]:
        """Stop the running process, by force where it does not stop."""
        try:
            self.stop(deadline=1)
        except subprocess.TimeoutExpired:
            self._running().terminate()  # the second signal: running actions get no grace
        try:
            self._running().wait(DEADLINE)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGABRT)  # faulthandler prints where it hangs
            self._running().wait(DEADLINE)
            return [f"the service did not stop within {DEADLINE:g} s of SIGTERM"]
        return []

    def _leftovers(self) -> list[str]:
        """Kill what is still there a while after the service's end; give it, where the service could have ended it."""
        killed = self.process is not None and self.process.returncode == -signal.SIGKILL
        deadline = 5 if killed else DEADLINE  # the next start would end what a kill before its watcher's start left
        try:
            wait_for(lambda: not self.processes(), deadline, what="the end of all its processes", interval=0.02)
        except AssertionError:
            left = self.processes()
            descriptions = [f"process {pid} outlived the service: {command_line(pid)}" for pid in left]
            kill_all(left)
            return [] if killed else descriptions
        return []

    def _running(self) -> subprocess.Popen[bytes]:
        """Give the process; fail before the first start."""
        assert self.process is not None, "not started"
        return self.process

    def _log(self, stream: str) -> Path:
        """Where this start's output goes."""
        return self._logs / f"service-{self.port}-{self._starts}.{stream}"


def _has_modules(folder: Path) -> bool:
    """Tell whether programs could import anything from a folder, or find a distribution in it."""
    return any(
        entry.suffix in {".py", ".dist-info", ".egg-info"} or (entry / "__init__.py").exists()
        for entry in folder.iterdir()
    )


class Serve:
    """Starts services; the fixture `serve`."""

    def __init__(self, home: Path, folder: Path) -> None:
        """Services share this ORCHA_HOME; sources and logs go into `folder`."""
        self.home = home
        self.services: list[RunningService] = []
        self.folder = folder

    def __call__(
        self,
        manager: str = "support.managers:ScriptManager",
        *,
        source: str | None = None,
        script: Path | None = None,
        arguments: Sequence[str] = (),
        start_method: str = "",
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        start: bool = True,
        ready: bool = True,
        python: str = sys.executable,
        warm: bool = True,
    ) -> RunningService:
        """Start a service and wait until it serves.

        `manager` is ``module:Class``. With `source` that module is written first (so that children can import it):
        ``serve("my_plugin:MyManager", source=...)``. With `script` that file is run instead, with the address and
        the port as its arguments; with `arguments` the ``orcha`` command with these, as in ``("hello", "serve")``.
        Without `warm` it is a new interpreter that imports all by itself (see `support.warm`).
        """
        port = port or free_port()
        if source is not None:
            (self.folder / f"{manager.partition(':')[0]}.py").write_text(source)
        if script is not None:
            command = [python, str(script), "127.0.0.1", str(port)]
        elif arguments:
            command = [python, "-m", "orcha", "--listen-address", "127.0.0.1", "--port", str(port), *arguments]
        else:
            command = [python, str(TESTS / "support" / "serve.py"), manager, "127.0.0.1", str(port), start_method]
        self.know_plugins()
        own = self.environment() | dict(environment or {})
        service = RunningService(command, self.home, port, own, self.folder, warm=warm)
        self.services.append(service)
        if start:
            service.start(ready=ready)
        return service

    def know_plugins(self) -> None:
        """Have the programs of this home know what services of earlier tests found out about plugins."""
        if _plugins_known and not (self.home / "cache").exists():
            (self.home / "cache").mkdir(mode=0o700)
            for name, known in _plugins_known.items():
                (self.home / "cache" / name).write_bytes(known)

    def environment(self, *, modules: bool = False) -> dict[str, str]:
        """Give the environment of a service and its clients: nothing of the caller's Orcha in it.

        PYTHONPATH holds the test's folder where modules lie in it by now, or where `modules` says that some will. Not
        always: with a folder of this test alone each program looks for plugins anew, which takes a tenth of a second.
        """
        folders = [self.folder, TESTS] if modules or _has_modules(self.folder) else [TESTS]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ORCHA_")}
        return inherited | {
            "ORCHA_HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join(map(str, folders)),
            "PYTHONFAULTHANDLER": "1",
            "ORCHA_KEEP_COMMANDS": "0",  # nothing of one test is left when the next one begins
        }

    def close(self) -> list[str]:
        """End all services; give what was wrong."""
        problems = [problem for service in self.services for problem in service.close()]
        for known in (self.home / "cache").glob("plugins-????????"):
            if TOO_SLOW.encode() not in (found := known.read_bytes()):  # on a loaded machine
                _plugins_known[known.name] = found
        return problems
