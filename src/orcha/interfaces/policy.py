"""What a petition asks of the service beside running once."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from orcha.interfaces.command import Retry

IF_EXISTS = ("reject", "attach", "replace")
LONGEST_NAME = 200
ON_INTERRUPT = ("fail", "rerun", "ask")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How the service treats one petition. Every field has a default and is given by name.

    Example::

        MyPetition(..., policy=Policy(timeout=3600, on_interrupt="rerun"))

    Raises:
        ValueError: a limit is not above zero, or `on_interrupt` is none of its words.
        TypeError: a limit is not a number, or `retry` no :class:`~orcha.interfaces.Retry`.

    """

    on_interrupt: Literal["fail", "rerun", "ask"] = "fail"
    """What happens when the service died while the petition ran: it ends interrupted, runs again as a new attempt, or
    is held until somebody decides."""
    timeout: float | None = None
    """Seconds one attempt may run, finite and above zero; None for no limit. It ends timed out, with code 124."""
    queue_timeout: float | None = None
    """Seconds it may wait to start, finite and above zero; None for no limit. It ends timed out, with code 124."""
    retry: Retry | None = None
    """When it is tried again after it failed, as a new attempt; None for never. Of an action `codes` are its final
    values, and there are no `signals` and no `output`. No attempt begins before the action of the last one has returned
    and its processes are gone, nor before the on_finish of that is back; and each has a petition of its own, made anew
    of the message. For a :class:`~orcha.interfaces.CommandPetition` it is the same as its field `retry`."""
    group: str | None = None
    """The group it belongs to, which has slots of its own (``orcha serve --slots GROUP=N``) and can be paused; None for
    none."""

    once: str | None = None
    """A key of which only one petition of the same user and manager waits or runs at a time; None for none."""
    if_exists: Literal["reject", "attach", "replace"] = "reject"
    """What becomes of it where there is another one of its `once` key: it is refused; or the other one is meant, and
    followed instead; or the other one is cancelled, and it starts when that has gone."""

    def __post_init__(self) -> None:
        """Check each field."""
        if self.on_interrupt not in ON_INTERRUPT:
            error = f"on_interrupt is one of {', '.join(ON_INTERRUPT)}, not {self.on_interrupt!r}"
            raise ValueError(error)
        for name, value in (("timeout", self.timeout), ("queue_timeout", self.queue_timeout)):
            _check_seconds(name, value)
        if self.if_exists not in IF_EXISTS:
            error = f"if_exists is one of {', '.join(IF_EXISTS)}, not {self.if_exists!r}"
            raise ValueError(error)
        _check_name("group", self.group)
        _check_name("once", self.once)
        if self.retry is not None:
            _check_retry(self.retry)


def _check_retry(value: object) -> None:
    """Raise where `value` is no Retry."""
    from orcha.interfaces.command import Retry

    if not isinstance(value, Retry):
        error = f"retry is a Retry or None, not {type(value).__name__}"
        raise TypeError(error)


def _check_name(name: str, value: object) -> None:
    """Raise where `value` is neither None nor a name."""
    if value is not None and (not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME):
        error = f"{name} is a text of 1 to {LONGEST_NAME} characters or None, not {value!r:.80}"
        raise ValueError(error)


def _check_seconds(name: str, value: object) -> None:
    """Raise where `value` is neither None nor a finite number of seconds above zero."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        error = f"{name} is a number of seconds or None, not {type(value).__name__}"
        raise TypeError(error)
    if not 0 < value < float("inf"):
        error = f"{name} is a finite number of seconds above zero, not {value!r}"
        raise ValueError(error)


__all__ = ["Policy"]
