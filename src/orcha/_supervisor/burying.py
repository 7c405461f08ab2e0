"""What a dead shim left: its processes, its groups, and what its black box says."""

from __future__ import annotations

import contextlib
import os

from orcha._processes.identity import boot_id
from orcha._processes.sweep import sweep
from orcha._processes.tag import exactly, tag_of
from orcha._supervisor import box as boxes
from orcha._supervisor.contract import LOST, Ended, Found, Usage
from orcha._supervisor.groups import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_DEADLINE = 5.0
_EXECUTED = frozenset({boxes.TAKEN, boxes.STARTED, boxes.ENDED, boxes.DONE})


def bury(folder: Path, shim: str, report: Callable[[int, str], None], level: int) -> Found | None:
    """Kill what is left of a shim, and of its command; give what it was doing, None where that was nothing.

    After a reboot nothing is signalled: its pids and its tag are others' by now. The box stays until :func:`forget`.
    """
    word = boxes.read(str(folder / "shims" / f"{shim}.box"))
    with contextlib.suppress(FileNotFoundError):
        (folder / "shims" / f"{shim}.sock").unlink()
    if word is None or not word.nonce:
        forget(folder, shim)
        return None
    same_boot = word.boot_id == boot_id()
    if same_boot:
        _kill(word, shim, report, level)
    if word.phase == boxes.IDLE:
        forget(folder, shim)
        return None
    return Found(
        word.seq,
        word.attempt,
        word.channel,
        LOST,
        shim,
        word.leader,
        word.started,
        word.boot_id,
        word.last_chunk,
        word.last_took,
        word.phase in _EXECUTED,
        _end(word),
        same_boot,
    )


def forget(folder: Path, shim: str) -> None:
    """Remove the box of a dead shim."""
    with contextlib.suppress(FileNotFoundError):
        (folder / "shims" / f"{shim}.box").unlink()


def _kill(word: boxes.Box, shim: str, report: Callable[[int, str], None], level: int) -> None:
    try:
        swept = sweep(exactly(tag_of(word.nonce, word.ordinal)), deadline=_DEADLINE)
    except OSError as error:
        report(level, f"what shim {shim} left could not be looked for: {error}")
        return
    if swept.survivors:
        report(level, f"shim {shim} left processes that cannot be killed: {swept.survivors}")
    Places().remove(shim)


def _end(word: boxes.Box) -> Ended | None:
    """Give the leader's end, where the shim had written it down."""
    if word.phase not in {boxes.ENDED, boxes.DONE}:
        return None
    signalled = os.WIFSIGNALED(word.status)
    return Ended(
        word.seq,
        word.attempt,
        None if signalled else os.WEXITSTATUS(word.status),
        os.WTERMSIG(word.status) if signalled else None,
        word.why or None,
        [],
        Usage(wall=max(0.0, word.ended - word.started)),
        word.last_chunk,
        word.dropped,
        [],
    )
