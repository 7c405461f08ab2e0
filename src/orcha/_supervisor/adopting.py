"""Find the shims of an earlier service again: the living are greeted, the dead are buried."""

from __future__ import annotations

import logging
import select
import time

from orcha._processes.identity import boot_id
from orcha._supervisor import box as boxes
from orcha._supervisor.burying import bury
from orcha._supervisor.contract import APART, ENDED, RUNNING, WAITING, Found
from orcha._supervisor.known import Known, connect
from orcha._supervisor.protocol import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orcha._supervisor.protocol import Head

ANSWER = 5.0
"""Seconds that all shims together have to say what they do."""
_PHASES = {
    boxes.TAKEN: WAITING,
    boxes.STARTED: RUNNING,
    boxes.ENDED: RUNNING,
    boxes.DONE: ENDED,
    boxes.NOT_STARTED: ENDED,
}


def adopt(folder: Path, shims: int, epoch: int, report: Callable[[int, str], None]) -> tuple[list[Found], list[Known]]:
    """Give the attempts found and the shims that live; `shims` is their folder, open."""
    found: list[Found] = []
    living: list[Known] = []
    for name in sorted({path.stem for path in (folder / "shims").iterdir() if path.suffix in {".box", ".sock"}}):
        try:
            living.append(Known(name, connect(shims, name), epoch))
        except BlockingIOError:
            found += apart(folder, name, "it takes no connection", report)
        except (ConnectionRefusedError, FileNotFoundError):
            lost = bury(folder, name, report, logging.ERROR)
            if lost is not None:
                found.append(lost)
    states = _states(living)
    for shim in list(living):
        head = states.get(shim.name)
        if head is not None and head["t"] == "refused":
            found += apart(folder, shim.name, head["why"], report)
            shim.link.close()
            living.remove(shim)
            continue
        one = _from_box(folder, shim.name) if head is None else _from_state(head, shim.name)
        if one is not None:
            shim.key = (one.seq, one.attempt)
            shim.is_over = one.phase == ENDED
            found.append(one)
    return found, living


def apart(folder: Path, shim: str, why: str, report: Callable[[int, str], None]) -> list[Found]:
    """Give the attempt of a shim with which nobody here can talk, if it has one."""
    one = _from_box(folder, shim)
    if one is None:
        report(logging.WARNING, f"shim {shim} has no command, and cannot be used: {why}")
        return []
    text = f"the command of petition {one.seq}, attempt {one.attempt}, is left alone: its shim {shim} cannot be used"
    report(logging.ERROR, f"{text}: {why}")
    return [one._replace(phase=APART)]


def _states(shims: list[Known]) -> dict[str, Head]:
    """Wait for the answers of all; those that close the connection instead have ended."""
    answers: dict[str, Head] = {}
    waiting = {shim.link.descriptor: shim for shim in shims}
    poller = select.poll()
    for descriptor in waiting:
        poller.register(descriptor, select.POLLIN)
    until = time.monotonic() + ANSWER
    while waiting and (left := until - time.monotonic()) > 0:
        for descriptor, _ in poller.poll(left * 1000):
            shim = waiting[descriptor]
            try:
                frames = list(shim.link.receive())
            except ProtocolError as error:
                answers[shim.name] = {"t": "refused", "why": str(error)}
            else:
                answers.update((shim.name, frame.head) for frame in frames)
            if shim.name in answers or not shim.link.is_open:
                del waiting[descriptor]
                poller.unregister(descriptor)
    return answers


def _from_state(head: Head, shim: str) -> Found | None:
    if head["phase"] == "idle":
        return None
    channel = bytes.fromhex(head["channel"])
    return Found(
        head["s"],
        head["a"],
        channel,
        head["phase"],
        shim,
        head["pid"],
        head["at"],
        boot_id(),
        head["last"],
        head["took"],
    )


def _from_box(folder: Path, shim: str) -> Found | None:
    """Describe an attempt whose shim does not answer yet."""
    word = boxes.read(str(folder / "shims" / f"{shim}.box"))
    if word is None or word.phase == boxes.IDLE:
        return None
    return Found(
        word.seq,
        word.attempt,
        word.channel,
        _PHASES[word.phase],
        shim,
        word.leader,
        word.started,
        word.boot_id,
        word.last_chunk,
        word.last_took,
    )
