"""Takes over the shims of an earlier service: greets the living ones, and cleans up after the dead ones."""

from __future__ import annotations

import logging
import os
import select
import time
from typing import NamedTuple

from orcha._processes.identity import Identity, boot_id
from orcha._supervisor import black_box as boxes
from orcha._supervisor.contract import ENDED, FOREIGN, RUNNING, WAITING, FoundAttempt
from orcha._supervisor.dead_shims import DeadShim, clean_up, end
from orcha._supervisor.link import ProtocolError
from orcha._supervisor.secret_files import NOTE_SUFFIX
from orcha._supervisor.shim_connection import ShimConnection, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orcha._supervisor.link import Head

ANSWER_SECONDS = 5.0
"""How long the answers of all shims together are waited for."""
_PHASES = {
    boxes.TAKEN: WAITING,
    boxes.STARTED: RUNNING,
    boxes.ENDED: RUNNING,
    boxes.DONE: ENDED,
    boxes.NOT_STARTED: ENDED,
}


class AdoptedShims(NamedTuple):
    """The shims that an earlier start of the service left."""

    found: list[FoundAttempt]
    living: list[ShimConnection]
    """The connected shims; a shim without an attempt is idle."""
    took: dict[str, tuple[int, int]]
    """By shim: the attempt that it took last, (0, 0) for none. Only for shims that are dead or have answered: no other
    attempt that an earlier start of the service handed to them is taken any more."""
    dead: list[str]
    """Dead shims whose attempt needs no report; their black boxes prove that until the outcome of recovery is kept."""
    outlived: list[DeadShim]
    """Dead shims that left processes which cannot be killed."""


def adopt(folder: Path, shims: int, epoch: int, report: Callable[[int, str], None]) -> AdoptedShims:
    """Take over what is there; `shims` is a descriptor of the shims' folder."""
    adopted = AdoptedShims([], [], {}, [], [])
    names = {
        name.rpartition(".")[0] for name in os.listdir(shims) if name.endswith((".box", ".sock", f".{NOTE_SUFFIX}"))
    }
    for name in sorted(names):
        try:
            adopted.living.append(ShimConnection(name, connect(shims, name), epoch))
        except BlockingIOError:
            adopted.found.extend(apart(folder, name, "it takes no connection", report))
        except (ConnectionRefusedError, FileNotFoundError):
            _bury(adopted, folder, name, report)
    states = _states(adopted.living)
    for shim in list(adopted.living):
        _meet(adopted, folder, shim, states.get(shim.name), report)
    return adopted


def _meet(
    adopted: AdoptedShims, folder: Path, shim: ShimConnection, head: Head | None, report: Callable[[int, str], None]
) -> None:
    """Take over a shim in the state that it reports, or that its black box says where it does not answer."""
    word = boxes.read(str(folder / "shims" / f"{shim.name}.box"))
    if head is not None and head["t"] == "refused":
        adopted.found.extend(apart(folder, shim.name, head["why"], report))
        _let_go(adopted, shim)
        return
    if head is not None:
        shim.said(head)
        shim.answered()
        if word is not None:
            adopted.took[shim.name] = word.seq, word.attempt
        one = _from_state(head, shim.name)
    elif not shim.link.is_open:
        _let_go(adopted, shim)
        _bury(adopted, folder, shim.name, report)
        return
    else:
        one = _found_in(word, shim.name)
        if one is None:  # it may still read an order of the earlier service, and carry it out at any time
            report(logging.ERROR, f"shim {shim.name} does not answer, and has no command: it is killed")
            _let_go(adopted, shim)
            if word is not None:
                end(Identity(word.pid, int(word.start_ticks)))
                _bury(adopted, folder, shim.name, report)
            return
        one = one._replace(is_silent=True)
    if one is not None:
        shim.key = (one.seq, one.attempt)
        shim.is_over = one.phase == ENDED
        shim.survivors = bool(one.survivors)
        adopted.found.append(one)


def _let_go(adopted: AdoptedShims, shim: ShimConnection) -> None:
    shim.link.close()
    adopted.living.remove(shim)


def _bury(adopted: AdoptedShims, folder: Path, shim: str, report: Callable[[int, str], None]) -> None:
    dead = clean_up(folder, shim, report, logging.ERROR)
    if dead.took is not None:
        adopted.took[shim] = dead.took
    if dead.survivors:
        adopted.outlived.append(dead)
    if dead.found is None:
        adopted.dead.append(shim)
    else:
        adopted.found.append(dead.found)


def apart(folder: Path, shim: str, why: str, report: Callable[[int, str], None]) -> list[FoundAttempt]:
    """Return the attempt of a shim that this build cannot talk to, if it has one."""
    one = _from_box(folder, shim)
    if one is None:
        report(logging.WARNING, f"shim {shim} has no command, and cannot be used: {why}")
        return []
    text = f"the command of petition {one.seq}, attempt {one.attempt}, is left alone: its shim {shim} cannot be used"
    report(logging.ERROR, f"{text}: {why}")
    return [one._replace(phase=FOREIGN)]


def _states(shims: list[ShimConnection]) -> dict[str, Head]:
    """Wait for the answers of all shims; a shim that closes its connection instead has ended."""
    answers: dict[str, Head] = {}
    waiting = {shim.link.descriptor: shim for shim in shims}
    poller = select.poll()
    for descriptor in waiting:
        poller.register(descriptor, select.POLLIN)
    until = time.monotonic() + ANSWER_SECONDS
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


def _from_state(head: Head, shim: str) -> FoundAttempt | None:
    if head["phase"] == "idle":
        return None
    channel = bytes.fromhex(head["channel"])
    return FoundAttempt(
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
        survivors=tuple(head.get("survivors", ())),
    )


def _from_box(folder: Path, shim: str) -> FoundAttempt | None:
    """Describe the attempt of a shim that cannot be asked."""
    return _found_in(boxes.read(str(folder / "shims" / f"{shim}.box")), shim)


def _found_in(word: boxes.BlackBox | None, shim: str) -> FoundAttempt | None:
    """Describe the attempt that a black box says its shim has."""
    if word is None or word.phase == boxes.IDLE:
        return None
    return FoundAttempt(
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
