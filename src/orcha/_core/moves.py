"""What each event makes of a petition, by the situation that it is in.

A walk through all that can happen (tests/simulation/test_situations.py) finds each move of this table, and no other.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from orcha._core.situations import Situation

if TYPE_CHECKING:
    from collections.abc import Mapping


class Event(Enum):
    """What can happen to a petition."""

    ACCEPTED = "it is accepted"
    REFUSED = "it is refused, or its transaction is not kept"
    CANCEL = "a client cancels it"
    LIMIT = "it takes too long"
    SHUTDOWN = "the service stops"
    KEPT_AHEAD = "its start is kept ahead"
    PUT_BACK = "nothing came of a start that was kept ahead, or people look"
    PREEMPTED = "a more urgent petition takes its place, and it is to run anew"
    YES = "its condition says yes"
    BREAKS = "its condition or conversion breaks"
    ACTION_GOING = "on_start said yes"
    START_FAILED = "on_start said no, raised, hung, or was not called"
    FINISH = "the attempt gives its final value"
    RETURNED = "the action returns"
    PROCESS_NAMED = "the action names a process"
    PROCESSES_GONE = "no process of the action is left"
    PROCESSES_SURVIVE = "processes of the action cannot be killed"
    ABANDONED = "the grace of the action's thread is over"
    COMMAND_RUNS = "the shim reports the first process"
    COMMAND_ENDED = "the shim reports the end"
    COMMAND_LOST = "the shim died, or the command was never executed"
    SURVIVORS_GONE = "what nothing could kill has ended"
    ON_FINISH_BACK = "on_finish comes back"
    TIME_CAME = "the time of its attempt comes"
    RELEASED = "a person lets it go on"
    REPRIORITIZED = "a person gives it another priority"
    PARKED = "it is paused, or its group or a resource is full"
    UNPARKED = "what it was parked for is over"
    CRASH = "the service dies, and starts again"


MOVES: Mapping[Situation, Mapping[Event, tuple[Situation, ...]]] = {
    Situation.CONVERTING: {
        Event.ACCEPTED: (
            Situation.WAITING,
            Situation.RESTING,
            Situation.STARTING,
        ),
        Event.REFUSED: (Situation.REFUSED,),
        Event.CANCEL: (Situation.CONVERTING_CANCELLED,),
        Event.CRASH: (Situation.REFUSED,),
    },
    Situation.CONVERTING_CANCELLED: {
        Event.ACCEPTED: (Situation.ENDED,),
        Event.REFUSED: (Situation.REFUSED,),
        Event.CRASH: (Situation.REFUSED,),
    },
    Situation.WAITING: {
        Event.CANCEL: (Situation.ENDED,),
        Event.LIMIT: (Situation.ENDED,),
        Event.KEPT_AHEAD: (Situation.AHEAD,),
        Event.YES: (Situation.STARTING,),
        Event.BREAKS: (Situation.ENDED,),
        Event.CRASH: (
            Situation.RESTING,
            Situation.WAITING,
        ),
    },
    Situation.AHEAD: {
        Event.CANCEL: (Situation.ENDED,),
        Event.LIMIT: (Situation.ENDED,),
        Event.PUT_BACK: (Situation.WAITING,),
        Event.YES: (Situation.STARTING,),
        Event.BREAKS: (Situation.ENDED,),
        Event.CRASH: (
            Situation.WAITING,
            Situation.HELD,
            Situation.ENDED,
            Situation.EXECUTING,
        ),
    },
    Situation.RESTING: {
        Event.CANCEL: (Situation.ENDED,),
        Event.TIME_CAME: (Situation.WAITING,),
    },
    Situation.OWING_ON_FINISH: {
        Event.CANCEL: (Situation.ENDED,),
        Event.ON_FINISH_BACK: (
            Situation.WAITING,
            Situation.RESTING,
        ),
        Event.CRASH: (
            Situation.WAITING,
            Situation.OWING_ON_FINISH,
        ),
    },
    Situation.HELD: {
        Event.CANCEL: (Situation.ENDED,),
        Event.BREAKS: (Situation.ENDED,),
        Event.RELEASED: (Situation.WAITING,),
    },
    Situation.HELD_OWING_ON_FINISH: {
        Event.CANCEL: (Situation.ENDED,),
        Event.ON_FINISH_BACK: (Situation.HELD,),
        Event.RELEASED: (Situation.OWING_ON_FINISH,),
        Event.CRASH: (Situation.HELD,),
    },
    Situation.STARTING: {
        Event.CANCEL: (Situation.CANCELLING_ON_START,),
        Event.LIMIT: (Situation.CANCELLING_ON_START,),
        Event.SHUTDOWN: (Situation.CANCELLING_ON_START,),
        Event.ACTION_GOING: (Situation.EXECUTING,),
        Event.START_FAILED: (Situation.ENDED,),
        Event.FINISH: (
            Situation.RETRY_UNRETURNED,
            Situation.ENDED_UNRETURNED,
        ),
        Event.RETURNED: (
            Situation.OWING_ON_FINISH,
            Situation.RETRY_SWEEPING,
            Situation.ENDED_SWEEPING,
            Situation.ENDED,
        ),
        Event.COMMAND_RUNS: (Situation.RUNNING,),
        Event.COMMAND_ENDED: (
            Situation.OWING_ON_FINISH,
            Situation.ENDED_OUTLIVED,
            Situation.ENDED,
        ),
        Event.COMMAND_LOST: (
            Situation.OWING_ON_FINISH,
            Situation.HELD_OWING_ON_FINISH,
            Situation.ENDED_OUTLIVED,
            Situation.ENDED,
            Situation.STARTING,
        ),
        Event.SURVIVORS_GONE: (
            Situation.OWING_ON_FINISH,
            Situation.HELD_OWING_ON_FINISH,
        ),
        Event.CRASH: (
            Situation.WAITING,
            Situation.HELD,
            Situation.EXECUTING,
            Situation.ENDED,
            Situation.ENDED_SWEEPING,
        ),
    },
    Situation.EXECUTING: {
        Event.CANCEL: (Situation.CANCELLING,),
        Event.LIMIT: (Situation.CANCELLING,),
        Event.SHUTDOWN: (Situation.CANCELLING,),
        Event.FINISH: (
            Situation.RETRY_UNRETURNED,
            Situation.ENDED_UNRETURNED,
        ),
        Event.RETURNED: (
            Situation.OWING_ON_FINISH,
            Situation.RETRY_SWEEPING,
            Situation.ENDED_SWEEPING,
            Situation.ENDED,
        ),
        Event.COMMAND_RUNS: (Situation.RUNNING,),
        Event.COMMAND_ENDED: (
            Situation.OWING_ON_FINISH,
            Situation.ENDED_OUTLIVED,
            Situation.ENDED,
        ),
        Event.COMMAND_LOST: (
            Situation.OWING_ON_FINISH,
            Situation.HELD_OWING_ON_FINISH,
            Situation.ENDED_OUTLIVED,
            Situation.ENDED,
            Situation.EXECUTING,
        ),
        Event.SURVIVORS_GONE: (
            Situation.OWING_ON_FINISH,
            Situation.HELD_OWING_ON_FINISH,
        ),
        Event.CRASH: (
            Situation.WAITING,
            Situation.HELD,
            Situation.ENDED,
            Situation.EXECUTING,
            Situation.ENDED_SWEEPING,
        ),
    },
    Situation.RUNNING: {
        Event.CANCEL: (Situation.CANCELLING,),
        Event.SHUTDOWN: (Situation.CANCELLING,),
        Event.PREEMPTED: (Situation.CANCELLING,),
        Event.COMMAND_ENDED: (
            Situation.OWING_ON_FINISH,
            Situation.ENDED_OUTLIVED,
            Situation.ENDED,
        ),
        Event.COMMAND_LOST: (
            Situation.OWING_ON_FINISH,
            Situation.HELD_OWING_ON_FINISH,
            Situation.ENDED_OUTLIVED,
            Situation.ENDED,
            Situation.RUNNING,
        ),
        Event.SURVIVORS_GONE: (
            Situation.OWING_ON_FINISH,
            Situation.HELD_OWING_ON_FINISH,
        ),
        Event.CRASH: (
            Situation.WAITING,
            Situation.HELD,
            Situation.ENDED,
            Situation.RUNNING,
        ),
    },
    Situation.RETRY_UNRETURNED: {
        Event.CANCEL: (Situation.CANCELLING,),
        Event.LIMIT: (Situation.CANCELLING,),
        Event.RETURNED: (
            Situation.OWING_ON_FINISH,
            Situation.RETRY_SWEEPING,
        ),
        Event.PROCESSES_SURVIVE: (
            Situation.ENDED_UNRETURNED,
            Situation.RETRY_UNRETURNED,
        ),
        Event.CRASH: (
            Situation.OWING_ON_FINISH,
            Situation.ENDED_SWEEPING,
        ),
    },
    Situation.RETRY_SWEEPING: {
        Event.CANCEL: (Situation.CANCELLING_SWEEPING,),
        Event.LIMIT: (Situation.CANCELLING_SWEEPING,),
        Event.PROCESSES_GONE: (Situation.OWING_ON_FINISH,),
        Event.PROCESSES_SURVIVE: (Situation.ENDED_SWEEPING,),
        Event.CRASH: (
            Situation.OWING_ON_FINISH,
            Situation.ENDED_SWEEPING,
        ),
    },
    Situation.CANCELLING_ON_START: {
        Event.ACTION_GOING: (Situation.CANCELLING,),
        Event.START_FAILED: (
            Situation.WAITING,
            Situation.OWING_ON_FINISH,
            Situation.HELD,
            Situation.LEAVING,
            Situation.ENDED,
        ),
        Event.RETURNED: (
            Situation.OWING_ON_FINISH,
            Situation.CANCELLING_SWEEPING,
            Situation.LEAVING,
            Situation.ENDED,
        ),
        Event.PROCESSES_SURVIVE: (
            Situation.ENDED_UNRETURNED,
            Situation.CANCELLING_ON_START,
        ),
        Event.COMMAND_ENDED: (
            Situation.LEAVING,
            Situation.ENDED_OUTLIVED,
            Situation.ENDED,
        ),
        Event.COMMAND_LOST: (
            Situation.LEAVING,
            Situation.ENDED_OUTLIVED,
            Situation.ENDED,
            Situation.CANCELLING_ON_START,
        ),
        Event.SURVIVORS_GONE: (
            Situation.LEAVING,
            Situation.ENDED,
        ),
        Event.CRASH: (
            Situation.WAITING,
            Situation.OWING_ON_FINISH,
            Situation.HELD,
            Situation.CANCELLING,
            Situation.ENDED,
            Situation.ENDED_SWEEPING,
        ),
    },
    Situation.CANCELLING: {
        Event.RETURNED: (Situation.CANCELLING_SWEEPING,),
        Event.PROCESSES_GONE: (Situation.CANCELLING_UNRETURNED,),
        Event.PROCESSES_SURVIVE: (
            Situation.ENDED_UNRETURNED,
            Situation.ENDED_SWEEPING,
            Situation.CANCELLING,
        ),
        Event.COMMAND_ENDED: (
            Situation.OWING_ON_FINISH,
            Situation.LEAVING,
            Situation.ENDED_OUTLIVED,
            Situation.ENDED,
        ),
        Event.COMMAND_LOST: (
            Situation.OWING_ON_FINISH,
            Situation.LEAVING,
            Situation.ENDED_OUTLIVED,
            Situation.ENDED,
            Situation.CANCELLING,
        ),
        Event.SURVIVORS_GONE: (
            Situation.OWING_ON_FINISH,
            Situation.LEAVING,
            Situation.ENDED,
        ),
        Event.CRASH: (
            Situation.WAITING,
            Situation.OWING_ON_FINISH,
            Situation.HELD,
            Situation.ENDED,
            Situation.CANCELLING,
            Situation.ENDED_SWEEPING,
        ),
    },
    Situation.CANCELLING_UNRETURNED: {
        Event.RETURNED: (
            Situation.OWING_ON_FINISH,
            Situation.CANCELLING_SWEEPING,
            Situation.LEAVING,
            Situation.ENDED,
        ),
        Event.PROCESS_NAMED: (Situation.CANCELLING,),
        Event.ABANDONED: (
            Situation.ENDED_UNRETURNED,
            Situation.CANCELLING_UNRETURNED,
        ),
        Event.CRASH: (
            Situation.WAITING,
            Situation.OWING_ON_FINISH,
            Situation.HELD,
            Situation.ENDED,
            Situation.CANCELLING,
            Situation.ENDED_SWEEPING,
        ),
    },
    Situation.CANCELLING_SWEEPING: {
        Event.PROCESSES_GONE: (
            Situation.OWING_ON_FINISH,
            Situation.LEAVING,
            Situation.ENDED,
        ),
        Event.PROCESSES_SURVIVE: (Situation.ENDED_SWEEPING,),
        Event.CRASH: (
            Situation.WAITING,
            Situation.OWING_ON_FINISH,
            Situation.HELD,
            Situation.ENDED,
            Situation.CANCELLING,
            Situation.ENDED_SWEEPING,
        ),
    },
    Situation.LEAVING: {
        Event.CANCEL: (Situation.ENDED,),
        Event.ON_FINISH_BACK: (
            Situation.WAITING,
            Situation.HELD,
        ),
        Event.CRASH: (
            Situation.WAITING,
            Situation.HELD,
            Situation.CANCELLING,
        ),
    },
    Situation.ENDED_UNRETURNED: {
        Event.RETURNED: (
            Situation.ENDED_SWEEPING,
            Situation.ENDED,
        ),
        Event.CRASH: (
            Situation.ENDED,
            Situation.ENDED_SWEEPING,
        ),
    },
    Situation.ENDED_SWEEPING: {
        Event.PROCESSES_GONE: (Situation.ENDED,),
        Event.SURVIVORS_GONE: (Situation.ENDED,),
        Event.CRASH: (
            Situation.ENDED,
            Situation.ENDED_SWEEPING,
        ),
    },
    Situation.ENDED_OUTLIVED: {
        Event.SURVIVORS_GONE: (Situation.ENDED,),
        Event.CRASH: (
            Situation.ENDED,
            Situation.ENDED_OUTLIVED,
        ),
    },
    Situation.ENDED: {},
    Situation.REFUSED: {},
}
"""Where an event leads from a situation; an event that is not named leaves a petition where it is.

An event with several ends depends on the policies of the petition, and on what the event reports.
"""
