"""`make demo`: a service, a petition that streams, a kill -9, and what was queued surviving it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXAMPLES = Path(sys.prefix) / "examples"
PATIENCE = 30.0
STARTED = time.monotonic()


def say(text: str) -> None:
    """Narrate."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def show(who: str, line: str) -> None:
    """Print one line of somebody's output with the time since the start of the demo."""
    print(f"  {time.monotonic() - STARTED:5.1f} s  {who:<8}| {line}", flush=True)


def until(fact: Callable[[], object], what: str) -> None:
    """Wait until a fact holds; give the demo up when it does not."""
    end = time.monotonic() + PATIENCE
    while not fact():
        if time.monotonic() > end:
            sys.exit(f"demo: {what} did not happen within {PATIENCE:g} s")
        time.sleep(0.05)


class Program:
    """A program whose lines are shown as they come; it is stopped by its pid at the end of the demo."""

    def __init__(self, who: str, command: list[str], environment: dict[str, str]) -> None:
        """Start it."""
        self.who = who
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        """Show each line when it comes."""
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self.lines.append(line.rstrip())
                show(self.who, line.rstrip())

    def says(self, text: str) -> bool:
        """Tell whether one of its lines so far has this in it."""
        return any(text in line for line in self.lines)

    def end(self) -> int:
        """Wait for its end and give its exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop(self) -> None:
        """Make sure that it has ended."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.end()


class Demo:
    """The scenes, and what they share."""

    def __init__(self, home: str) -> None:
        """Choose a port; everything else lives in `home`."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        path = os.pathsep.join(filter(None, [str(EXAMPLES), os.environ.get("PYTHONPATH")]))
        self.environment = os.environ | {"ORCHA_HOME": home, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        self.programs: list[Program] = []

    def orcha(self, *arguments: str) -> list[str]:
        """Give an orcha command line for this demo's port."""
        return [sys.executable, "-m", "orcha", "--port", str(self.port), *arguments]

    def start(self, who: str, *arguments: str) -> Program:
        """Start an orcha command in the background."""
        program = Program(who, self.orcha(*arguments), self.environment)
        self.programs.append(program)
        return program

    def serve(self) -> Program:
        """Start the service and wait until it serves."""
        service = self.start("service", "hello", "serve", "--at-once", "1")
        until(lambda: service.says("orcha: serving") or service.process.poll() is not None, "the start of the service")
        if service.process.poll() is not None:
            sys.exit("demo: the service did not start")
        return service

    def run(self, *arguments: str) -> None:
        """Run an orcha command and show what it prints."""
        print(f"  $ orcha {' '.join(arguments)}", flush=True)
        done = subprocess.run(self.orcha(*arguments), env=self.environment, capture_output=True, text=True, check=True)
        print("".join(f"  {line}\n" for line in done.stdout.splitlines()), end="", flush=True)

    def states(self) -> dict[str, str]:
        """Give the state of each petition by its id."""
        command = self.orcha("ps", "--all", "--json")
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return {row["id"]: row["state"] for row in rows}

    def play(self) -> None:
        """Show it."""
        say("An example plugin is installed. It adds the command `orcha hello`.")
        self.run("ls")

        say("A service runs it, one petition at a time. A client's lines arrive as they are said.")
        service = self.serve()
        ada = self.start("ada", "hello", "send", "Ada", "--id", "ada", "--start", "3", "--pause", "0.5")
        assert ada.end() == 0, "the first greeting failed"

        say("A long petition runs; two more are accepted and wait for their turn.")
        grace = self.start("grace", "hello", "send", "Grace", "--id", "grace", "--start", "600", "--pause", "1")
        until(lambda: grace.says("Grace in"), "the first line of the long petition")
        alan = self.start("alan", "hello", "send", "Alan", "--id", "alan", "--start", "3", "--pause", "0.7")
        until(lambda: self.states().get("alan") == "queued", "the acceptance of the second petition")
        edith = self.start("edith", "hello", "send", "Edith", "--id", "edith", "--start", "3", "--pause", "0.8")
        until(lambda: self.states().get("edith") == "queued", "the acceptance of the third petition")
        self.run("ps")

        say(f"kill -9 {service.process.pid}: the service is gone, without a chance to put anything in order.")
        service.process.kill()
        service.end()

        say("It starts again. What ran was interrupted and says so; what was queued is still there and runs.")
        self.serve()
        until(lambda: alan.says("Alan in"), "the start of what was queued")
        self.run("ps", "--all")
        codes = {client.who: client.end() for client in (grace, alan, edith)}
        assert codes["grace"] == 75, f"the interrupted petition ended with {codes['grace']}"
        assert codes["alan"] == codes["edith"] == 0, f"a queued petition was lost: {codes}"
        say("Both clients that waited got every line and exited with 0; the interrupted one exited with 75.")

    def stop(self) -> None:
        """Stop what the demo started."""
        for program in reversed(self.programs):
            program.stop()


def main() -> int:
    """Play the demo in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="orcha-demo-") as home:
        demo = Demo(home)
        try:
            demo.play()
        finally:
            demo.stop()
    print(f"\nDone in {time.monotonic() - STARTED:.0f} s; nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
