"""Whether a petition whose attempt ended is tried again, and when."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._core.codes import FAILED_CODE, TIMED_OUT_CODE
from orcha._core.state import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha.interfaces.command import Retry

SIGNAL_CODES = 128
"""What shells add to the number of a signal to make an exit code."""
TIME_LIMITS = frozenset({"timeout", "idle", "cpu"})
"""Why a command was ended that took too long."""
SIZE_LIMITS = frozenset({"memory", "output", "input"})
"""Why a command was ended that used or wrote too much, or would not get what an earlier attempt got."""
MAX_HISTORY_ATTEMPTS = 50
"""Ended attempts that are remembered of one petition."""


class Ended(NamedTuple):
    """What is known of the end of an attempt."""

    outcome: Outcome
    code: int | None
    """The final value of an action, the exit code of a command's first process; None where a signal ended that."""
    signal: int | None = None
    found: bool = False
    """Whether the pattern of its retry was found at the end of what it wrote; that is looked for elsewhere."""


def wants_retry(retry: Retry, ended: Ended) -> bool:
    """Tell whether this end is one after which it is tried again.

    >>> from orcha.interfaces.command import Retry
    >>> wants_retry(Retry(times=1, codes=[75]), Ended(Outcome.FAILED, 75))
    True
    """
    if ended.outcome not in (Outcome.FAILED, Outcome.TIMED_OUT):
        return False
    if not (retry.codes or retry.signals or retry.timeout or retry.output is not None):
        return True
    if ended.outcome is Outcome.TIMED_OUT:
        return retry.timeout
    if ended.code in retry.codes or (ended.signal is not None and ended.signal in retry.signals):
        return True
    return retry.output is not None and ended.found


def depends_on_output(retry: Retry | None, ended: Ended, *, retries: int) -> bool:
    """Tell whether it is tried again if its pattern is found, and only then.

    >>> from orcha.interfaces.command import Retry
    >>> failed = Ended(Outcome.FAILED, 1)
    >>> [depends_on_output(Retry(times=1, output="busy"), failed, retries=retries) for retries in (0, 1)]
    [True, False]
    """
    if retry is None or retry.output is None or retries >= retry.times:
        return False
    return not wants_retry(retry, ended._replace(found=False)) and wants_retry(retry, ended._replace(found=True))


def pause(retry: Retry, number: int, chance: float) -> float:
    """Give the seconds before retry `number` (from 1); `chance`, from 0 to 1, is where in the jitter it lies.

    >>> from orcha.interfaces.command import Retry
    >>> [pause(Retry(times=9, delay=1, longest=5), number, 0.5) for number in (1, 2, 3, 4)]
    [1.0, 2.0, 4.0, 5.0]
    """
    try:
        seconds = retry.delay * retry.factor ** (number - 1)
    except OverflowError:
        seconds = retry.longest if retry.delay else 0.0
    return min(seconds, retry.longest) * (1 + retry.jitter * (2 * chance - 1))


def retry_due(retry: Retry | None, ended: Ended, *, retries: int, now: float, chance: float) -> float | None:
    """Give the time of the next attempt after `retries` retries; None where there is none."""
    if retry is None or retries >= retry.times or not wants_retry(retry, ended):
        return None
    return now + pause(retry, retries + 1, chance)


def remaining(due: float, now: float, decided: float | None) -> float:
    """Give the seconds until `due`, times being of a clock that may have been set since.

    They are no more than there were when that was `decided`, if that is known.

    >>> remaining(110.0, 104.0, 100.0), remaining(110.0, 200.0, 100.0), remaining(110.0, -3500.0, 100.0)
    (6.0, 0.0, 10.0)
    """
    left = max(0.0, due - now)
    return left if decided is None else min(left, max(0.0, due - decided))


def decided_at(history: str | None) -> float | None:
    """Give when the last of the ended attempts was over, and so what follows on it decided; None where nobody knows.

    >>> decided_at('[{"attempt": 1, "started": 5.0, "ended": 7.0}]'), decided_at(None)
    (7.0, None)

    The clock may have been set back while the attempt ran:

    >>> decided_at('[{"attempt": 1, "started": 5.0, "ended": 2.0}]'), decided_at('[{"attempt": 1, "started": 5.0}]')
    (2.0, 5.0)
    """
    attempts = json.loads(history or "[]")
    if not attempts:
        return None
    ended: float | None = attempts[-1].get("ended")
    started: float | None = attempts[-1].get("started")
    return started if ended is None else ended


def ended_value(code: int | None, signal: int | None, why: str | None) -> int | None:
    """Give the final value of an attempt as shells tell it, by what ended its first process.

    `why` says why it was ended by a limit. None where people ended it, the service stopped, or nobody knows.

    >>> ended_value(3, None, None), ended_value(None, 9, None), ended_value(None, 15, "timeout")
    (3, 137, 124)
    >>> ended_value(0, None, "memory"), ended_value(None, 2, "cancelled")
    (1, None)
    """
    value = SIGNAL_CODES + signal if code is None and signal else code
    if why is None:
        return value
    if why in TIME_LIMITS:
        return TIMED_OUT_CODE
    return (value or FAILED_CODE) if why in SIZE_LIMITS else None


def final_value(history: str | None, attempt: int) -> int | None:
    """Give the final value of an ended attempt as shells tell it; None where nobody knows.

    >>> final_value('[{"attempt": 1, "code": 3}, {"attempt": 2, "code": null, "signal": 9}]', 1)
    3
    >>> final_value('[{"attempt": 1, "code": 3}, {"attempt": 2, "code": null, "signal": 9}]', 2)
    137
    >>> final_value('[{"attempt": 1, "code": 0, "why": "idle"}]', 1), final_value(None, 1)
    (124, None)
    """
    known: dict[str, Any] = next((ended for ended in json.loads(history or "[]") if ended["attempt"] == attempt), {})
    return ended_value(known.get("code"), known.get("signal"), known.get("why"))


class Tries(NamedTuple):
    """What decides whether an attempt is followed by another one."""

    retry: Retry
    retries: int = 0
    """How often the petition has been tried again."""
    history: str | None = None
    """What is kept of its ended attempts."""
    chance: float = 0.5
    """Where in the jitter the next pause lies, from 0 to 1."""


def remembered(history: str | None, attempt: int, encode: Callable[[object], str] = json.dumps, **known: Any) -> str:
    """Add an ended attempt to what is kept of those; what is known of it already is replaced. `encode` makes JSON.

    >>> remembered('[{"attempt": 1, "code": 3}]', 2, code=4)
    '[{"attempt": 1, "code": 3}, {"attempt": 2, "code": 4}]'
    """
    earlier = [each for each in json.loads(history) if each["attempt"] != attempt] if history else []
    return encode([*earlier[1 - MAX_HISTORY_ATTEMPTS :], {"attempt": attempt, **known}])
