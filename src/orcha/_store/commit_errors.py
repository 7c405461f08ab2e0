"""Errors of SQLite at a commit as errors of the contract. The transaction has been rolled back by then."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import apsw

from orcha._core.changes import Changes
from orcha._core.state import State
from orcha._store.queries import decode_list
from orcha.exceptions.store import ChannelKnown, FencedError, TokenKnown

_ANY_STATE = sum(1 << state for state in State)


def result_code(error: apsw.Error) -> int:
    """Give SQLite's extended result code."""
    return int(getattr(error, "extendedresult", 0))


def explained(error: apsw.ConstraintError, changes: Changes, ask: Callable[..., Any]) -> Exception:
    """Give what the contract says for a constraint that did not hold; `ask` runs a named query."""
    code = result_code(error)
    if code == apsw.SQLITE_CONSTRAINT_TRIGGER and str(error).endswith("fenced"):
        return FencedError(_not_allowed(changes, ask))
    if code == apsw.SQLITE_CONSTRAINT_UNIQUE and "petition.token" in str(error):
        tokens = Counter(petition.token for petition in changes.petitions)
        known = set(decode_list(ask("known_tokens", json.dumps([token.hex() for token in tokens]))))
        return TokenKnown(token for token, times in tokens.items() if times > 1 or token.hex() in known)
    if code == apsw.SQLITE_CONSTRAINT_PRIMARYKEY and "channel.id" in str(error):
        channels = Counter(channel.id for channel in changes.channels)
        there = [channel for channel, times in channels.items() if times > 1 or _is_known(channel, ask)]
        return ChannelKnown(there)
    return ValueError(f"these changes cannot be kept: {error}")


def _is_known(channel: bytes, ask: Callable[..., Any]) -> bool:
    return ask("channel", channel) is not None


def _not_allowed(changes: Changes, ask: Callable[..., Any]) -> list[int]:
    new = {petition.seq: petition for petition in changes.petitions}
    ending = {seq for seq, step in changes.transitions.items() if step.state == State.ENDED}
    asked: list[tuple[int, int | None, int]] = [
        (step.seq, step.from_attempt, step.from_states) for step in changes.transitions.values()
    ]
    asked += [(seq, None, 1 << State.ENDED) for seq in changes.flags if seq not in ending]
    moving = {seq: step.attempt for seq, step in changes.transitions.items()}
    asked += [(seq, step.attempt, _ANY_STATE) for seq, step in changes.attempts.items() if seq not in moving]
    wrong = {seq for seq, step in changes.attempts.items() if moving.get(seq, step.attempt) != step.attempt}
    wrong |= set(decode_list(ask("steps_not_allowed", json.dumps([step for step in asked if step[0] not in new]))))
    for seq, attempt, states in asked:
        if (row := new.get(seq)) and not (attempt in {None, row.attempt} and states >> row.state & 1):
            wrong.add(seq)
    return sorted(wrong)
