"""A service's side of commands for tests: keeps all events, and acknowledges them as a service does."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orcha._processes.identity import Identity, is_alive, open_pidfd
from orcha._supervisor import black_box
from orcha._supervisor.contract import (
    CommandEnded,
    CommandLost,
    CommandNotStarted,
    CommandOutput,
    CommandSpec,
    Event,
    UnkeptPiece,
)
from orcha._supervisor.shim_executor import ShimExecutor
from support.processes import each_process
from support.waiting import DEADLINE, wait_for

CHANNEL = bytes(range(16))
ENDS = (CommandEnded, CommandNotStarted, CommandLost)
Key = tuple[int, int]


class Start:
    """One start of a service."""

    def __init__(self, folder: Path, epoch: int = 1, *, acknowledge: bool = True) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.reports: list[str] = []
        self._acknowledge = acknowledge
        self._changed = threading.Condition()
        self._next = 0
        self._is_open = True
        self.commands = ShimExecutor(
            folder, epoch=epoch, on_events=self._hear_all, report=lambda _level, line: self.reports.append(line)
        )

    def _hear_all(self, events: list[Event]) -> None:
        for event in events:
            self._heard(event)

    def _heard(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()
        if self._acknowledge and isinstance(event, CommandOutput):
            self.commands.took(event.seq, event.attempt, event.chunks[-1].number)
        elif self._acknowledge and isinstance(event, ENDS):
            self.commands.forget(event.seq, event.attempt)
            self.commands.settle()

    def spec(self, *argv: str | bytes, **fields: Any) -> CommandSpec:
        self._next += 1
        given = {"cwd": "/", "env": dict(os.environ), "grace": 0.6, "drain": 1.0, **fields}
        return CommandSpec(self._next, 1, CHANNEL, argv, **given)

    def start(self, *argv: str | bytes, **fields: Any) -> Key:
        spec = self.spec(*argv, **fields)
        self.commands.start(spec)
        return spec.seq, spec.attempt

    def run(self, *argv: str | bytes, **fields: Any) -> Key:
        key = self.start(*argv, **fields)
        self.end(key)
        return key

    def of(self, key: Key) -> list[Event]:
        return [event for event in list(self.events) if (event.seq, event.attempt) == key]

    def wait(self, key: Key, *kinds: type, deadline: float = DEADLINE) -> Any:
        """Give the attempt's first event of these kinds."""
        return self.until(lambda: next((event for event in self.of(key) if isinstance(event, kinds)), None), deadline)

    def until(self, fact: Callable[[], Any], deadline: float = DEADLINE) -> Any:
        with self._changed:
            assert self._changed.wait_for(fact, deadline), (self.events[-5:], self.reports, self.errors())
            return fact()

    def end(self, key: Key) -> Any:
        return self.wait(key, *ENDS)

    def said(self, key: Key, text: bytes, stream: int = 1) -> None:
        """Wait until the command has written this."""
        self.until(lambda: text in self.output(key, stream))

    def output(self, key: Key, stream: int = 1) -> bytes:
        parts = []
        for event in self.of(key):
            if isinstance(event, CommandOutput):
                parts += [self.bytes_of(key, chunk) for chunk in event.chunks if chunk.stream == stream]
        return b"".join(parts)

    def bytes_of(self, key: Key, chunk: Any) -> bytes:
        if isinstance(chunk.data, bytes):
            return chunk.data
        if isinstance(chunk.data, UnkeptPiece):
            return b""
        with self.file(key, chunk.stream).open("rb") as file:
            file.seek(chunk.data.offset)
            return file.read(chunk.data.length)

    def file(self, key: Key, suffix: int | str) -> Path:
        return self.folder / "output" / f"{CHANNEL.hex()}.{key[0]}.{key[1]}.{suffix}"

    def shim_of(self, key: Key) -> black_box.BlackBox:
        """Give what the box of the attempt's shim says."""

        def found() -> black_box.BlackBox | None:
            return next((one for one in boxes(self.folder) if (one.seq, one.attempt) == key and one.phase), None)

        return wait_for(found, what=f"a shim with {key}")

    def errors(self) -> str:
        log = self.folder / "shims" / "errors"
        return log.read_text() if log.exists() else ""

    def close(self, *, keep: bool = False) -> None:
        if self._is_open:
            self._is_open = False
            self.commands.close(keep=keep)


def boxes(folder: Path) -> list[black_box.BlackBox]:
    found = [black_box.read(str(path)) for path in (folder / "shims").glob("*.box")]
    return [one for one in found if one is not None]


def living(folder: Path) -> list[black_box.BlackBox]:
    """Give what the boxes of the shims say that are there: a box outlives its shim."""
    return [one for one in boxes(folder) if is_alive(shim_identity(one))]


def box_path(folder: Path, key: Key) -> Path:
    """Give the path of the box of an attempt's shim."""

    def found() -> Path | None:
        for path in (folder / "shims").glob("*.box"):
            word = black_box.read(str(path))
            if word is not None and word.phase and (word.seq, word.attempt) == key:
                return path
        return None

    return wait_for(found, what=f"a box with {key}")


def shim_identity(word: black_box.BlackBox) -> Identity:
    return Identity(word.pid, int(word.start_ticks))


def kill_shim(word: black_box.BlackBox) -> None:
    """End a shim, and have it gone."""
    descriptor = open_pidfd(shim_identity(word))
    if descriptor is None:
        return
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)
    wait_for(lambda: not is_alive(shim_identity(word)), what="the shim's end")


def running_from(folder: Path) -> list[int]:
    """Give the pids of all processes, zombies left out, whose command line names something in this folder."""
    mark = os.fsencode(folder)
    return [pid for pid, text in each_process("cmdline") if mark in text]


def executing(program: str) -> list[int]:
    """Give the pids of all processes that execute this program: a fork that is to execute it is none yet."""
    found = []
    for pid, _ in each_process("comm"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if Path(f"/proc/{pid}/exe").readlink() == Path(program):
                found.append(pid)
    return found
