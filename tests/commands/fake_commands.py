"""Commands without a supervisor: the test says what becomes of each, or (`RealProcesses`) a thread runs it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from typing import Any

from orcha._supervisor.contract import (
    CommandEnded,
    CommandOutput,
    CommandSpec,
    CommandStarted,
    Event,
    FoundAttempt,
    OutputChunk,
    ResourceUsage,
)
from orcha._supervisor.protocol import to_bytes


class FakeCommands:
    """Takes what the service asks for, and tells it what the test says."""

    def __init__(self, on_events: Callable[[list[Event]], None]) -> None:
        """Tell `on_events` what happens."""
        self.tell: Callable[..., None] = lambda *events: on_events(list(events))
        self.specs: list[CommandSpec] = []
        self.found: list[FoundAttempt] = []
        self.calls: list[tuple[Any, ...]] = []
        self.unproven = False
        """Whether nothing proves of what is not found that it was never executed."""
        self.closed: bool | None = None
        """What `keep` was."""

    def spec(self, attempt: int = 1) -> CommandSpec | None:
        """Give what was started last, if that is this attempt."""
        return self.specs[-1] if self.specs and self.specs[-1].attempt == attempt else None

    def made(self, verb: str) -> list[tuple[Any, ...]]:
        """Give the arguments of all calls of a verb."""
        return [call[1:] for call in list(self.calls) if call[0] == verb]

    def start(self, spec: CommandSpec) -> None:
        """Start."""
        self.specs.append(spec)

    def more(self, timeout: float = 0.0, age: float = 0.0) -> list[Event]:
        """Have told all."""
        return []

    def adopt(self) -> list[FoundAttempt]:
        """Find what the test put there."""
        return self.found

    def may_have_run(self, seq: int, attempt: int, *, epoch: int) -> bool:
        """Say what the test says."""
        return self.unproven

    def recovered(self) -> None:
        """Hold nothing back."""

    def descriptors(self) -> list[int]:
        """Have none."""
        return []

    def settle(self) -> None:
        """Hold nothing back."""

    def __getattr__(self, verb: str) -> Any:
        """Note any other call."""
        if verb.startswith("_"):
            raise AttributeError(verb)
        return lambda *args, **named: self.calls.append((verb, *args, *named.values()))

    def close(self, *, keep: bool) -> None:
        """Close."""
        self.closed = keep


def started(spec: CommandSpec, pid: int = 4711) -> CommandStarted:
    """Give the event of a start."""
    return CommandStarted(spec.seq, spec.attempt, pid, 123.5, "boot", "shim-1")


def output(spec: CommandSpec, *pieces: Any, first: int = 1, stream: int = 1) -> CommandOutput:
    """Give the event of output, numbered from `first`."""
    return CommandOutput(
        spec.seq, spec.attempt, [OutputChunk(number, stream, piece) for number, piece in enumerate(pieces, first)]
    )


def ended(spec: CommandSpec, code: int | None = 0, **fields: Any) -> CommandEnded:
    """Give the event of an end."""
    given: dict[str, Any] = {"signal": None, "why": None, "signals": [], "usage": ResourceUsage(), "last_chunk": 0}
    given |= {"dropped": 0, "survivors": []} | fields
    return CommandEnded(spec.seq, spec.attempt, code, **given)


class RealProcesses(FakeCommands):
    """Runs each command by itself, on a thread."""

    def start(self, spec: CommandSpec) -> None:
        """Run it to its end."""
        super().start(spec)
        thread = threading.Thread(target=self._run, args=(spec,), daemon=True)
        thread.start()

    def _run(self, spec: CommandSpec) -> None:
        env = {to_bytes(name): value for name, value in spec.env.items()}
        process = subprocess.Popen(spec.argv, cwd=spec.cwd, env=env, stdout=subprocess.PIPE)
        self.tell(started(spec, process.pid))
        text, _ = process.communicate()
        self.tell(output(spec, text))
        self.tell(ended(spec, process.returncode, last_chunk=1))
