"""What becomes of a petition, or of a caller, whose hook does not return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.record import Phase
from orcha._protocol.messages import Reply, Verdict
from orcha._service.hooks.visit import Hook

if TYPE_CHECKING:
    from orcha._service.engine import Engine
    from orcha._service.hooks.visit import Call

WEDGED = "the plugin does not answer: try again later"
STALE_ALLOWED = 3
"""Given-up hook threads with which the service goes on."""


_TOO_LONG = {
    Hook.CONVERT: "to read the message",
    Hook.CONDITION: "to tell whether it may start",
    Hook.ON_START: "to prepare its start",
    Hook.ON_FINISH: "to tidy up after its end",
    Hook.CALL: "to answer",
}


def told(hook: Hook, deadline: float) -> str:
    """Tell people what took too long.

    >>> told(Hook.CONDITION, 10.0)
    'the plugin took longer than 10 s to tell whether it may start'
    """
    return f"the plugin took longer than {deadline:g} s {_TOO_LONG[hook]}"


def decide(engine: Engine, call: Call, reason: str) -> None:
    """End what waits for this call; what is owed to a stuck on_start, and a stuck conversion, are the caller's."""
    record, machine = call.record, engine.machine
    if call.hook is Hook.ON_START:
        machine.start_failed(record.seq, record.attempt, reason, hung=True)
    elif call.hook is Hook.CONDITION:
        if record.phase is Phase.WAITING:
            machine.break_(record, reason)
    elif call.hook is Hook.ON_FINISH:
        machine.hook_done(record.seq)
    elif call.hook is Hook.CALL:
        peer, request, _ = record.submitter
        engine.reply(peer, Reply(request, Verdict.RAISED, None, reason))
