"""Whether a command that ended is tried again, and when."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.state import Outcome

if TYPE_CHECKING:
    from orcha.interfaces.command import Retry


class Ended(NamedTuple):
    """What is known of the end of an attempt."""

    outcome: Outcome
    code: int | None
    """The exit code of its first process; None where a signal ended that."""
    signal: int | None = None
    output: tuple[bytes, ...] = ()
    """The last of what it wrote, by stream."""


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
    if retry.output is None:
        return False
    pattern = re.compile(retry.output.encode())
    return any(pattern.search(text) for text in ended.output)


def pause(retry: Retry, number: int, chance: float) -> float:
    """Give the seconds before retry `number` (from 1); `chance`, from 0 to 1, is where in the jitter it lies.

    >>> from orcha.interfaces.command import Retry
    >>> [pause(Retry(times=9, delay=1, longest=5), number, 0.5) for number in (1, 2, 3, 4)]
    [1.0, 2.0, 4.0, 5.0]
    """
    try:
        seconds = retry.delay * retry.factor ** (number - 1)
    except OverflowError:
        seconds = retry.longest
    return min(seconds, retry.longest) * (1 + retry.jitter * (2 * chance - 1))


def retry_due(retry: Retry | None, ended: Ended, *, retries: int, now: float, chance: float) -> float | None:
    """Give the time of the next attempt after `retries` retries; None where there is none."""
    if retry is None or retries >= retry.times or not wants_retry(retry, ended):
        return None
    return now + pause(retry, retries + 1, chance)
