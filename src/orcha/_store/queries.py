"""The named queries of `queries.sql`, and how their results become rows."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from orcha._core.changes import ArrayStop, Schedule
from orcha._core.state import IfFails, Missed, OnInterrupt, Outcome, Overlap, State
from orcha._store.checksums import DAMAGED, checksum
from orcha._store.contract import ArrayRow, AttemptRow, Element, KeptDependency, KeptFiring, Row
from orcha.exceptions.store import StoreDamaged

_HERE = Path(__file__).parent
_STATES = {int(state): state for state in State}
_OUTCOMES: dict[int | None, Outcome | None] = {None: None, **{int(outcome): outcome for outcome in Outcome}}
_POLICIES = {int(policy): policy for policy in OnInterrupt}
_decode = msgspec.json.Decoder().decode


@cache
def queries() -> dict[str, str]:
    """Give every query by its name."""
    parts = re.split(r"^-- name: (\w+)$", (_HERE / "queries.sql").read_text("utf-8"), flags=re.MULTILINE)
    named = {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    parts_of = {f"{{{name}}}": named[name] for name in ("row", "sized", "first", "dependency")}
    return {name: _filled(text, parts_of) for name, text in named.items()}


def _filled(text: str, parts: dict[str, str]) -> str:
    for place, part in parts.items():
        text = text.replace(place, part)
    return text


@cache
def commit_statements() -> str:
    """Give the view and the triggers through which a commit is one statement; `{epoch}` is to be replaced."""
    return (_HERE / "commit.sql").read_text("utf-8")


def decode_list(text: str | None) -> list[Any]:
    """Give the JSON values of a query's text: joined by commas, None for none."""
    return _decode(f"[{text}]") if text else []


def decode_rows(text: str | None) -> list[Row]:
    """Give the rows of a query's text.

    Raises:
        StoreDamaged: a row holds what no store has written.
    """
    try:
        return [_row(*values) for values in decode_list(text)]
    except (msgspec.DecodeError, KeyError, ValueError, TypeError) as error:
        raise StoreDamaged(f"a petition's row in orcha.db is damaged: {error!r}") from error


def decode_attempts(text: str | None) -> list[AttemptRow]:
    """Give the rows of a query for attempts."""
    return [
        AttemptRow(
            seq,
            attempt,
            pid,
            _time(start),
            boot_id,
            shim,
            chunk,
            _time(due),
            retries,
            losses,
            history,
            bool(is_command),
        )
        for seq, attempt, pid, start, boot_id, shim, chunk, due, retries, losses, history, is_command in decode_list(
            text
        )
    ]


def decode_needs(text: str | None) -> dict[int, dict[str, int | str]]:
    """Read what petitions need of each resource."""
    found: dict[int, dict[str, int | str]] = {}
    for seq, name, amount in decode_list(text):
        found.setdefault(seq, {})[name] = amount
    return found


def decode_devices(text: str | None) -> dict[int, dict[int, dict[str, tuple[str, ...]]]]:
    """Read the devices of attempts."""
    found: dict[int, dict[int, dict[str, tuple[str, ...]]]] = {}
    for seq, attempt, resource, names in decode_list(text):
        found.setdefault(seq, {}).setdefault(attempt, {})[resource] = tuple(names.split(","))
    return found


def decode_dependencies(text: str | None) -> list[KeptDependency]:
    """Give the rows of a query for dependencies."""
    return [
        KeptDependency(
            petition, after, name, bool(must_succeed), IfFails(if_fails), _OUTCOMES[outcome], state == State.ENDED
        )
        for petition, after, name, must_succeed, if_fails, outcome, state in decode_list(text)
    ]


def decode_schedule(row: Any) -> Schedule:
    """Give a row of the query for schedules."""
    name, owner, manager, expression, zone, overlap, missed, extras, made, fired_until, is_paused = row
    kinds = Overlap(overlap), Missed(missed)
    return Schedule(name, owner, manager, expression, zone, *kinds, extras, made, fired_until, bool(is_paused))


def decode_firing(row: Any) -> KeptFiring:
    """Give a row of the query for firings."""
    instant, decided, petition, identity, note, state, outcome, code, ended = row
    kept = _STATES[state] if state is not None else None
    return KeptFiring(instant, decided, petition, identity, note, kept, _OUTCOMES[outcome], code, ended)


def decode_arrays(text: str | None) -> list[ArrayRow]:
    """Give the rows of a query for arrays."""
    return [
        ArrayRow(petition, total, spec, None if outcome is None else ArrayStop(Outcome(outcome), code, reason))
        for petition, total, spec, outcome, code, reason in decode_list(text)
    ]


def decode_elements(text: str | None) -> list[Element]:
    """Give the rows of a query for elements of arrays."""
    return [Element(*values) for values in decode_list(text)]


def decode_ends(text: str | None, size: int) -> bytes:
    """Give the ends of an array's elements whose parts have `size` bytes each, a part in which none ended as zeros."""
    parts = {number: bytes.fromhex(data) for number, data in decode_list(text)}
    return b"".join(parts.get(number, bytes(size)) for number in range(max(parts, default=-1) + 1))


def number(literal: str) -> int | float:
    """Give the number of an SQL literal: an int without, a float with a point or an exponent."""
    return int(literal) if literal.lstrip("-").isdigit() else float(literal)


def _time(literal: str) -> float | None:
    return None if literal == "NULL" else float(literal)


def _row(  # noqa: PLR0913, PLR0917 - the columns of the query `row`, in their order
    seq: int,
    token: str,
    id: str,  # noqa: A002 - the column's name
    id_is_int: int,
    manager: str,
    owner: str,
    channel: str,
    state: int,
    attempt: int,
    epoch: int,
    priority: str,
    extras: str,
    on_interrupt: int,
    submitted: str,
    started: str,
    ended: str,
    outcome: int | None,
    code: int | None,
    reason: str | None,
    hook_pending: int,
    slot_held: int,
    kept: int | None,
) -> Row:
    token_bytes, channel_bytes, message = bytes.fromhex(token), bytes.fromhex(channel), bytes.fromhex(extras)
    if kept is not None and kept != checksum(token_bytes, id, id_is_int, manager, owner, channel_bytes, message):
        message = DAMAGED
    return Row(
        seq,
        token_bytes,
        id,
        bool(id_is_int),
        manager,
        owner,
        channel_bytes,
        _STATES[state],
        attempt,
        epoch,
        number(priority),
        message,
        _POLICIES[on_interrupt],
        float(submitted),
        _time(started),
        _time(ended),
        _OUTCOMES[outcome],
        code,
        reason,
        bool(hook_pending),
        bool(slot_held),
    )
