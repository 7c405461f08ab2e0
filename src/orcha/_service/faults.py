"""Switches for tests of crashes: they do nothing unless the environment names them.

``ORCHA_CRASH=point[:n]``
    kills this process (SIGKILL) when it reaches the named point for the n-th time, 1 by default.
``ORCHA_HOLD_STARTING=path``
    holds petitions in STARTING, before their on_start, while that file exists.

The points are ``<kind>.before-commit`` and ``<kind>.after-commit`` of a transaction that keeps something of a kind:
``accept``, ``start``, ``cancel``, ``end``, ``again`` (an interrupted one waits again), ``put``, ``hook``,
``tombstone``, ``prune``, ``alter``, ``recover``, ``begin`` (a start of the service).
Beside them: ``begin.after-sweep``, ``begin.after-forget``;
``output.before-write`` and ``output.after-write`` of output beyond the store's share; ``prune.before-unlink``;
``stdin.`` with ``before-keep``, ``after-keep``, ``after-write``, ``before-end``, ``after-end`` and ``after-close``, of
the standard input of a command;
``reply.after-send``, when replies have been handed to the loop thread; ``stop.begin``, ``stop.before-close`` and
``stop.after-close``.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from orcha._core.state import State
from orcha.utils.paths import named_path

if TYPE_CHECKING:
    from orcha._core.changes import Changes

_point, _, _count = os.environ.get("ORCHA_CRASH", "").partition(":")
_left = int(_count or 1)
CRASHES = bool(_point)
"""Whether a crash is asked for: asked before anything is computed for it."""
HOLD = named_path("ORCHA_HOLD_STARTING")
"""The file that holds petitions in STARTING, where one is named: asked before the file is looked for."""


def reach(point: str) -> None:
    """Die here, if this is where."""
    global _left  # noqa: PLW0603 - one process dies once
    if point != _point:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


def reach_commit(changes: Changes, when: str) -> None:
    """Reach the points of all kinds that are in a transaction."""
    for kind in kinds_of(changes):
        reach(f"{kind}.{when}-commit")


def kinds_of(changes: Changes) -> list[str]:
    """Name the kinds of changes that a transaction keeps."""
    states = {step.state for step in changes.transitions.values()} | {new.state for new in changes.petitions}
    found = {
        "accept": bool(changes.petitions),
        "start": State.STARTING in states,
        "cancel": State.CANCELLING in states,
        "end": State.ENDED in states,
        "again": any(step.state in (State.QUEUED, State.HELD) for step in changes.transitions.values()),
        "put": bool(changes.appends),
        "hook": bool(changes.flags),
        "tombstone": bool(changes.tombstones),
        "prune": bool(changes.deleted),
        "alter": bool(changes.altered),
    }
    return [kind for kind, there in found.items() if there]


def is_held(hold: str) -> bool:
    """Tell whether petitions are to be held in STARTING, by the file that `HOLD` names."""
    return os.path.exists(hold)  # noqa: PTH110 - a test's switch, asked often
