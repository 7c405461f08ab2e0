"""When a petition will probably start, in words and for programs; `orcha._cli.estimate` reckons it."""

from __future__ import annotations

from typing import NamedTuple

from orcha._cli import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any

    from orcha._cli.session import Session

    Row = dict[str, Any]

MAX_RECKONED_PETITIONS = 5_000
"""With more petitions that wait or run an estimate would cost the service more than it is worth."""
MAX_UNASKED_PETITIONS = 200
"""The same where nobody has asked for an estimate: the verb that tells it must not take longer for it."""
_FORESEEABLE = frozenset(
    {
        "group_full",
        "user_full",
        "quota_in_use",
        "rate_reached",
        "needs_short",
        "share_short",
        "behind_another",
        "held_free",
        "after_others",
        "resting_until",
        "starts_later",
        "in_order",
        "machine_full",
        "owner_first",
        "replaces_another",
        "not_alone",
        "machine_taken",
        "behind_exclusive",
        "behind_preempted",
    }
)
"""Reasons that end by themselves when others end, or with time."""


_CONDITIONS = frozenset(("text_is_false", "group_text_is_false"))
"""Reasons that end when a condition holds, which nobody can foretell: the condition counts as true."""
_QUEUED = "queued"
_RUNNING = "running"
_STANDS_STILL = ["preempted_by"]
"""The kinds of reasons of a command that gave its place: it goes on when it has the place again."""
_HOUR_SECONDS = 3_600


class Estimate(NamedTuple):
    """When a petition starts, in seconds since 1970."""

    earliest: float
    likely: float
    latest: float
    reckoned: int
    """How many petitions the forecast was made of."""
    guessed: int
    """For how many of them no length was said, and petitions of other programs are all that has ended."""
    unknown: int = 0
    """How many petitions take nobody knows how long, where the start hangs on that: it comes at `earliest`, or later.

    What is `likely` and `latest` says nothing then."""
    if_true: bool = False
    """Whether a condition in text, the petition's own or its group's, is false now, and counts as true from now on."""


def foreseeable(state: str, kinds: Collection[str]) -> bool:
    """Tell whether all that keeps a petition from starting, or from going on, ends by itself.

    Conditions in text count as true.

    >>> foreseeable("queued", ("group_full", "text_is_false")), foreseeable("queued", ("condition_said_no",))
    (True, False)
    >>> foreseeable("running", ("preempted_by",)), foreseeable("running", ())
    (True, False)
    """
    if state == _RUNNING:
        return [*kinds] == _STANDS_STILL
    return state == _QUEUED and all(kind in _FORESEEABLE or kind in _CONDITIONS for kind in kinds)


def is_conditional(kinds: Collection[str]) -> bool:
    """Tell whether a condition in text, the petition's own or its group's, is false now."""
    return any(kind in _CONDITIONS for kind in kinds)


def kinds_of(details: Row) -> list[str]:
    """Give the kinds of all that keeps a petition from starting."""
    return [each["kind"] for each in details.get("blocked") or ()]


def row_is_foreseeable(row: Row) -> bool:
    """Tell of a row whether its start can be foretold without a condition; a row of an older service has no kinds."""
    kinds = row.get("kinds")
    if not kinds or row["state"] != _QUEUED:
        return False
    known = kinds.split()
    return foreseeable(_QUEUED, known) and not is_conditional(known)


def estimated(service: Session, details: Row, *, is_asked_for: bool) -> Estimate | None:
    """Give when a petition that waits will probably start; None where that cannot be foretold, or costs too much.

    Of a command that gave its place to a more urgent petition, give when it will probably go on.

    Args:
        service: a client.
        details: of the petition.
        is_asked_for: whether the estimate is what people ask for, which may cost more than an estimate beside others.

    """
    if not foreseeable(details["state"], kinds_of(details)):
        return None
    from orcha._cli import estimate  # only now: what reckons takes its time to be ready

    most = MAX_RECKONED_PETITIONS if is_asked_for else MAX_UNASKED_PETITIONS
    return estimate.estimate(service, details, render.now(), most)


def of_rows(
    service: Session, rows: Iterable[Row], *, is_asked_for: bool, array: int | None = None
) -> dict[int, Estimate]:
    """Give when the petitions of rows will probably start, by sequence number, as far as that can be foretold.

    With `array`, a sequence number, all are elements of that array.
    """
    if array is not None:
        return _of_elements(service, array, rows, is_asked_for=is_asked_for)
    most = MAX_RECKONED_PETITIONS if is_asked_for else MAX_UNASKED_PETITIONS
    wanted = {row["seq"] for row in rows if row_is_foreseeable(row)}
    if not wanted or len(wanted) > most:
        return {}
    from orcha._cli import estimate  # only now: what reckons takes its time to be ready

    return estimate.estimates(service, wanted, render.now(), most)


def _of_elements(service: Session, array: int, rows: Iterable[Row], *, is_asked_for: bool) -> dict[int, Estimate]:
    """Give when the elements of an array will probably start that have rows and wait; as for `of_rows`."""
    most = MAX_RECKONED_PETITIONS if is_asked_for else MAX_UNASKED_PETITIONS
    waiting = [row for row in rows if row["state"] == _QUEUED]
    foreseen = {row["seq"] for row in waiting if row_is_foreseeable(row)}
    if not foreseen or len(waiting) > most:
        return {}
    from orcha._cli import estimate  # only now: what reckons takes its time to be ready

    waiting.sort(key=lambda row: (row["priority"], row["seq"]))
    found = estimate.estimates_of_elements(service, array, [row["seq"] for row in waiting], render.now(), most)
    return {seq: each for seq, each in found.items() if seq in foreseen}


def words(estimate: Estimate, now: float) -> str:
    """Tell people when a petition will probably start, and what that was reckoned from."""
    earliest, likely, latest = (max(0.0, time - now) for time in estimate[:3])
    if estimate.unknown:
        return _at_the_earliest(estimate, earliest)
    between = f"between {render.elapsed(earliest)} and {render.elapsed(latest)}"
    about = f"in about {render.elapsed(likely)}" if latest >= 1 else "in a moment"
    when = about + (f" ({between})" if latest - earliest >= 1 else "")
    when += ", if its condition holds by then" if estimate.if_true else ""
    return f"{when}, {_basis(estimate)}"


def _at_the_earliest(estimate: Estimate, earliest: float) -> str:
    """Tell of a start that hangs on lengths that nobody knows.

    >>> _at_the_earliest(Estimate(0.0, 0.0, 0.0, 2, 0, unknown=1), 0.0)
    'when others have ended: nobody knows how long 1 petition takes (--expect and --timeout tell)'
    >>> _at_the_earliest(Estimate(60.0, 60.0, 60.0, 4, 0, unknown=2), 60.0)
    'in 1 min at the earliest: nobody knows how long 2 petitions take (--expect and --timeout tell)'
    """
    takes = "1 petition takes" if estimate.unknown == 1 else f"{estimate.unknown} petitions take"
    when = f"in {render.elapsed(earliest)} at the earliest" if earliest >= 1 else "when others have ended"
    when += ", if its condition holds by then" if estimate.if_true else ""
    return f"{when}: nobody knows how long {takes} (--expect and --timeout tell)"


def _basis(estimate: Estimate) -> str:
    """Tell what an estimate was reckoned from.

    >>> _basis(Estimate(0.0, 0.0, 0.0, 4, 1))
    'reckoned from how long 4 petitions probably take; 1 of these lengths is a guess, since no such petition has ended'
    >>> _basis(Estimate(0.0, 0.0, 0.0, 1, 0))
    'reckoned from how long 1 petition probably takes'
    """
    count = estimate.reckoned
    known = f"reckoned from how long {count} petition{' probably takes' if count == 1 else 's probably take'}"
    if not estimate.guessed:
        return known
    some = (
        f"{estimate.guessed} of these lengths is"
        if estimate.guessed == 1
        else f"{estimate.guessed} of these lengths are"
    )
    return f"{known}; {some} a guess, since no such petition has ended"


def brief(estimate: Estimate, now: float) -> str:
    """Tell in a few letters when a petition will probably start; nothing where that needs more words.

    That is so where a condition must hold by then, or a length is a guess or not known: no such petition has ended.

    >>> [brief(Estimate(0.0, likely, likely, 2, 0), 0.0) for likely in (0.2, 42.0, 751.0, 5_400.0)]
    ['in a moment', 'in ~42 s', 'in ~12 min', 'in ~1 h 30 min']
    >>> brief(Estimate(0.0, 42.0, 42.0, 2, 1), 0.0), brief(Estimate(0.0, 42.0, 42.0, 2, 0, if_true=True), 0.0)
    ('', '')
    """
    if estimate.if_true or estimate.guessed or estimate.unknown:
        return ""
    seconds = estimate.likely - now
    if seconds < 1:
        return "in a moment"
    return f"in ~{render.age(seconds) if seconds < _HOUR_SECONDS else render.elapsed(seconds // 60 * 60)}"


def as_json(estimate: Estimate | None) -> Row | None:
    """Give an estimate for programs: the times in ISO 8601, in UTC; None for times that hang on unknown lengths."""
    if estimate is None:
        return None
    known: Row = estimate._asdict()
    times: Row = {name: render.iso(known[name]) for name in ("earliest", "likely", "latest")}
    return known | times | ({"likely": None, "latest": None} if estimate.unknown else {})


__all__ = [
    "MAX_RECKONED_PETITIONS",
    "MAX_UNASKED_PETITIONS",
    "Estimate",
    "as_json",
    "brief",
    "estimated",
    "foreseeable",
    "is_conditional",
    "kinds_of",
    "of_rows",
    "row_is_foreseeable",
    "words",
]
