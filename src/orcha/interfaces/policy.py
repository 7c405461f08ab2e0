"""What a petition asks of the service beside running once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from orcha.interfaces.command import Retry
    from orcha.interfaces.when import When

IF_EXISTS = ("reject", "attach", "replace")
IF_DEPENDENCY_FAILS = ("cancel", "hold", "run")
MAX_DEPENDENCIES = 10_000
"""Other petitions that one petition can wait for."""
MAX_MOMENT_SECONDS = 253_402_300_800
"""Seconds since 1970 at the end of the year 9999, beyond which there are no dates."""
MAX_NAME_CHARACTERS = 200
_MAX_SHOWN_NUMBER_BITS = 256
"""Bits of a number that is written out where it is refused."""
MAX_DURATION_SECONDS = 100 * 365 * 86_400
"""Seconds of the longest duration that can be asked for: a hundred years, which every clock here counts to."""
MAX_NEED_COUNT = 2**53
"""Most of one resource that can be asked for: every reader of numbers has that many exactly."""
PREEMPTIBLE = ("pause", "requeue")
"""How a command gives its place to a more urgent one."""
RUN_AS = ("service", "submitter")
ON_INTERRUPT = ("fail", "rerun", "ask")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How the service treats one petition. Every field has a default and is given by name.

    Example::

        MyPetition(..., policy=Policy(timeout=3600, on_interrupt="rerun"))

    Raises:
        ValueError: a limit or a need is not above zero, or `on_interrupt` is none of its words.
        TypeError: a limit is not a number, `needs` is not a mapping of names to amounts, `retry` no
            :class:`~orcha.interfaces.Retry`, or `when` no text.

    """

    on_interrupt: Literal["fail", "rerun", "ask"] = "fail"
    """What happens when the service died while the petition ran: it ends interrupted, runs again as a new attempt, or
    is held until somebody decides."""
    timeout: float | None = None
    """Seconds one attempt may run, above zero and at most a hundred years; None for no limit. It ends timed out, with
    code 124."""
    queue_timeout: float | None = None
    """Seconds it may wait to start, above zero and at most a hundred years; None for no limit. It ends timed out, with
    code 124."""
    expect: float | None = None
    """Seconds that an attempt will probably take, above zero and at most a hundred years; None where nobody knows. It
    limits nothing."""
    retry: Retry | None = None
    """When it is tried again after it failed, as a new attempt; None for never. Of an action `codes` are its final
    values, and there are no `signals` and no `output`. No attempt begins before the action of the last one has returned
    and its processes are gone, nor before the on_finish of that is back; and each has a petition of its own, made anew
    of the message. For a :class:`~orcha.interfaces.CommandPetition` it is the same as its field `retry`."""
    at: datetime | float | None = None
    """When it may start at the earliest: a time, or seconds since 1970; None for at once. A time without a zone is one
    of the service's own zone. It is the time of the clock on the wall: where that clock is set, the start moves too."""
    delay: float | None = None
    """Seconds after its acceptance before which it does not start, at most a hundred years; None for none. No clock
    that is set changes that, unless the service is started anew meanwhile. Only one of `at` and `delay` is given."""
    group: str | None = None
    """The group it belongs to, which has slots of its own and can be paused; None for none. The first petition that
    names a group makes it, unless the service was started with ``orcha serve --new-groups refuse``."""
    needs: Mapping[str, int | float | str] | None = None
    """The amounts it holds from its start until nothing of it is left: names of resources to amounts above zero, as
    in ``{"gpu": 1, "ram_gb": 16}``. It starts when that much of each is free of what the service has (``orcha serve
    --resource gpu=2``), and is refused where the service never has that much. An amount may have decimals, as in
    ``{"gpu": 0.5}``, which are counted exactly; and a text may say what the devices must have, as in ``{"gpu":
    "1@mem>=20G"}``. None, or an empty one, for none. The mapping is copied, and cannot be changed afterwards."""

    once: str | None = None
    """A key: only one petition with this key, of the same user and manager, waits or runs at a time; None for none."""
    if_exists: Literal["reject", "attach", "replace"] = "reject"
    """What becomes of it where there is another one of its `once` key: it is refused; or the other one is meant, and
    followed instead; or the other one is cancelled, and it starts when that has gone."""

    after: Collection[str | int] | None = None
    """Ids of petitions that have to end, however, before this petition may start; None for none. Each petition has to
    be there when this one is accepted: it waits, runs, or has ended and is kept."""
    after_ok: Collection[str | int] | None = None
    """The same of petitions that have to succeed."""
    if_dependency_fails: Literal["cancel", "hold", "run"] = "cancel"
    """What becomes of the petition when one of `after_ok` ends otherwise: the petition is cancelled, or paused until
    somebody decides, or it starts all the same."""

    run_as: Literal["service", "submitter"] = "service"
    """As whom a :class:`~orcha.interfaces.CommandPetition` runs: as the user of the service, or as the user who sent
    the message, which only a service of root can do for another user. An action always runs as the user of the
    service."""

    when: When | str | None = None
    """A condition in text that has to be true for each of its attempts to start, beside its own `condition`; None for
    none. See :class:`~orcha.interfaces.When`."""

    preemptible: Literal["pause", "requeue"] | None = None
    """Whether a command of a strictly more urgent priority that waits for a slot or resources may take its place, and
    how: its processes stand still until the place is free again, or they are ended as by a cancel and it waits for
    another attempt; None where it keeps its place. Only a :class:`~orcha.interfaces.CommandPetition` may say so."""

    def __post_init__(self) -> None:
        """Check each field."""
        if self.preemptible is not None:
            _check_choice("preemptible", self.preemptible, PREEMPTIBLE)
        _check_choice("on_interrupt", self.on_interrupt, ON_INTERRUPT)
        _check_choice("run_as", self.run_as, RUN_AS)
        _check_choice("if_exists", self.if_exists, IF_EXISTS)
        _check_choice("if_dependency_fails", self.if_dependency_fails, IF_DEPENDENCY_FAILS)
        self._keep_seconds()
        if self.at is not None:
            object.__setattr__(self, "at", _checked_time(self.at))
        if self.at is not None and self.delay is not None:
            error = "at and delay both say when it may start: give one of them"
            raise ValueError(error)
        for name, ids in (("after", self.after), ("after_ok", self.after_ok)):
            if ids is not None:
                object.__setattr__(self, name, _checked_ids(name, ids))
        _check_name("group", self.group)
        _check_name("once", self.once)
        if self.needs is not None:
            object.__setattr__(self, "needs", Needs(self.needs))
        if self.retry is not None:
            _check_retry(self.retry)
        if self.when is not None:
            object.__setattr__(self, "when", _condition(self.when))

    def _keep_seconds(self) -> None:
        """Check each number of seconds, and keep a plain one."""
        for name, value in (
            ("timeout", self.timeout),
            ("queue_timeout", self.queue_timeout),
            ("expect", self.expect),
            ("delay", self.delay),
        ):
            seconds = _checked_seconds(name, value)
            if seconds is not value:
                object.__setattr__(self, name, seconds)


class Needs(Mapping[str, int | str]):
    """Names of resources, and how much of each: checked, and as fixed as a tuple.

    Args:
        given: a mapping, which is copied.

    Raises:
        TypeError: it is no mapping, a name is no text, or an amount neither a number nor a text.
        ValueError: a name is empty or too long, or an amount is not above zero and at most 2**53.

    Example::

        Policy(needs={"gpu": 1}).needs["gpu"]  # 1

    """

    __slots__ = ("_amounts",)

    def __init__(self, given: object) -> None:
        """Check and copy it."""
        if not isinstance(given, Mapping):
            error = f"needs is a mapping of resources to amounts or None, not {type(given).__name__}"
            raise TypeError(error)
        self._amounts = {_checked_resource(name): _checked_need(name, amount) for name, amount in given.items()}

    def __getitem__(self, name: str) -> int | str:
        """Give how much of a resource."""
        return self._amounts[name]

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        return iter(self._amounts)

    def __len__(self) -> int:
        """Count the names."""
        return len(self._amounts)

    def __hash__(self) -> int:
        """Be the same as whatever is equal."""
        return hash(frozenset(self._amounts.items()))

    def __repr__(self) -> str:
        """Look as it was given."""
        return repr(self._amounts)


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise where `value` is none of the words that there are."""
    if value not in choices:
        error = f"{name} is one of {', '.join(choices)}, not {value!r:.80}"
        raise ValueError(error)


def _checked_time(value: object) -> float:
    """Give a time as seconds since 1970.

    Raises:
        TypeError: it is neither a time nor a number.
        ValueError: it is no time between 1970 and 9999.

    """
    seconds = value
    if isinstance(value, datetime):
        try:
            seconds = value.timestamp()
        except (OverflowError, ValueError, OSError):
            seconds = -1
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        error = f"at is a datetime or a number of seconds since 1970, not {value!r:.80}"
        raise TypeError(error)
    if not 0 <= seconds < MAX_MOMENT_SECONDS:
        error = f"at is a time between the years 1970 and 9999, not {shortened(value)}"
        raise ValueError(error)
    return float(seconds)


def _checked_ids(name: str, given: object) -> tuple[str, ...]:
    """Give ids as text, each once.

    Raises:
        TypeError: it is no collection, or an id is neither text nor a whole number.
        ValueError: there are too many, or an id holds what is no character.

    """
    if isinstance(given, str | bytes) or not isinstance(given, Collection):
        error = f"{name} is a collection of ids, not {given!r:.80}"
        raise TypeError(error)
    if len(given) > MAX_DEPENDENCIES:
        error = f"{name} names {len(given)} petitions: name {MAX_DEPENDENCIES} at most"
        raise ValueError(error)
    for identity in given:
        if isinstance(identity, bool) or not isinstance(identity, str | int):
            error = f"{name} names petitions by their ids, which are texts or whole numbers, not by {identity!r:.80}"
            raise TypeError(error)
        if isinstance(identity, str) and any("\ud800" <= character <= "\udfff" for character in identity):
            error = f"{name} names petitions by text, and {identity!a:.80} holds what is no character"
            raise ValueError(error)
    return tuple(dict.fromkeys(map(str, given)))


def shortened(value: object) -> str:
    """Write a number for people: one of thousands of digits is not written out."""
    if isinstance(value, int) and value.bit_length() > _MAX_SHOWN_NUMBER_BITS:
        return f"a number of {value.bit_length()} bits"
    return f"{value!r:.80}"


def _checked_resource(name: object) -> str:
    """Give the name of a resource; raise where it is none."""
    if not isinstance(name, str):
        error = f"needs names resources by text, not by {type(name).__name__}"
        raise TypeError(error)
    if not 0 < len(name) <= MAX_NAME_CHARACTERS:
        error = f"needs names resources by 1 to {MAX_NAME_CHARACTERS} characters, not {name!r:.80}"
        raise ValueError(error)
    if not _is_text(name):
        error = f"needs names resources by text, and {name!a:.80} holds what is no character"
        raise ValueError(error)
    return str.__str__(name)


def _checked_need(name: object, amount: object) -> int | str:
    """Give how much of a resource is needed; raise where that is no amount."""
    if isinstance(amount, bool) or not isinstance(amount, int | float | str):
        error = f"needs[{name!r}] is a number or a text, not {type(amount).__name__}"
        raise TypeError(error)
    if isinstance(amount, str):
        return _need_of(name, str.__str__(amount))
    if not 0 < amount <= MAX_NEED_COUNT:
        error = f"needs[{name!r}] is a number above 0 and at most 2**53, not {shortened(amount)}"
        raise ValueError(error)
    return int.__int__(amount) if isinstance(amount, int) else _need_of(name, float.__float__(amount))


def _need_of(name: object, amount: float | str) -> int | str:
    from orcha.interfaces.needs import kept

    try:
        return kept(amount)
    except ValueError as error:
        message = f"needs[{name!r}]: {error}"
        raise ValueError(message) from None


def _condition(value: object) -> When:
    """Give a condition in text; raise where `value` is none."""
    from orcha.interfaces.when import When

    if not isinstance(value, When | str):
        error = f"when is a When, a text or None, not {type(value).__name__}"
        raise TypeError(error)
    return value if isinstance(value, When) else When(value)


def _check_retry(value: object) -> None:
    """Raise where `value` is no Retry."""
    from orcha.interfaces.command import Retry

    if not isinstance(value, Retry):
        error = f"retry is a Retry or None, not {type(value).__name__}"
        raise TypeError(error)


def is_name(value: str) -> bool:
    """Tell whether a text can be the name of a group, a resource or a key."""
    return 0 < len(value) <= MAX_NAME_CHARACTERS and _is_text(value)


def _check_name(name: str, value: object) -> None:
    """Raise where `value` is neither None nor a name."""
    if value is not None and (not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARACTERS):
        error = f"{name} is a text of 1 to {MAX_NAME_CHARACTERS} characters, not {value!r:.80}"
        raise ValueError(error)
    if isinstance(value, str) and not _is_text(value):
        error = f"{name} is a text, and {value!a:.80} holds what is no character"
        raise ValueError(error)


def _is_text(value: str) -> bool:
    """Tell whether it can be kept and sent: no lone surrogate, and no NUL, with which texts end elsewhere."""
    return "\0" not in value and (value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value))


def _checked_seconds(name: str, value: object) -> float | None:
    """Give seconds as a plain number, which a number of NumPy's is not: no listing could send that.

    Raises where `value` is neither None nor a finite number of seconds above zero.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        error = f"{name} is a number of seconds, not {value!r:.80}"
        raise TypeError(error)
    if not 0 < value <= MAX_DURATION_SECONDS:
        error = (
            f"{name} is a finite number of seconds above zero and at most {MAX_DURATION_SECONDS} (100 years), "
            f"or None for no limit, not {shortened(value)}"
        )
        raise ValueError(error)
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


NOTHING_SAID = Policy()
"""The policy of every built-in command that names no field of one: its fields need not be checked for each command."""


__all__ = ["Policy"]
