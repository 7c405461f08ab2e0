"""Everything about one petition."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from orcha._core.permissions import Sight
from orcha._core.record import Phase
from orcha._core.redaction import redacted
from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.messages import Reply, Show, Verdict
from orcha._service.reports.state_names import word
from orcha._service.verbs import answer_size as fitting
from orcha._service.verbs import array_rows, lease_rows, preempted_rows
from orcha._service.verbs.blocking import blocking
from orcha._service.verbs.list import describe_row
from orcha._service.verbs.petition_lookup import find
from orcha._service.verbs.sights import Sights
from orcha._supervisor.protocol import to_bytes
from orcha.interfaces.built_in import ARRAY_MANAGER, COMMAND_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.record import Record
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._service.verbs.petition_lookup import Found
    from orcha._store.contract import Row
    from orcha.interfaces.command import Retry

MAX_NAMED_DEPENDENTS = 100
"""Petitions that wait for one and that are named in an answer."""
_COMMAND_MANAGERS = frozenset((ARRAY_MANAGER, COMMAND_MANAGER))
_COMMAND_FIELDS = (
    *("argv", "cwd", "umask", "stdin", "tty", "merge", "stop_signal", "grace", "idle_timeout", "warn"),
    *("pin", "preemptible"),
    *("cpu_timeout", "memory", "pids", "cpu_share", "output_limit", "output_policy", "drain", "leftovers"),
    *("ok_codes", "retry", "label", "once", "secrets"),
)
"""Fields of a command that are shown; of its environment and its secrets only the names."""


def show(engine: Engine, peer: Peer, message: Show) -> None:
    """Answer with a map; when this batch is kept, so that it is not older than what was answered before."""
    found = find(engine, peer, message)
    if found is not None:
        sights = Sights(engine, peer)
        known = describe(engine, found, sights)
        if sights.of(found.row.owner) is not Sight.ALL:
            known = redacted(known)
        engine.reply(peer, Reply(message.request, Verdict.OK, fitting.answer(known)))


def describe(engine: Engine, found: Found, sights: Sights) -> dict[str, Any]:
    """Give what is known of a petition, by the names of `docs/wire.md`; other petitions if the client may see them."""
    row, record = found
    kept = engine.store.attempts([row.seq]).get(row.seq)
    history = json.loads(kept.history or "[]") if kept is not None else []
    expect = engine.store.expected([row.seq]).get(row.seq)
    waits = record is not None and record.phase is Phase.WAITING and record.state is State.QUEUED
    group = engine.store.groups([row.seq]).get(row.seq)
    return describe_row(engine, row, group, sights) | {
        "channel": row.channel,
        "array": array_rows.array_of(row) if engine.store.elements([row.seq]) else None,
        "place": engine.admission.before(record, group) if record is not None and waits else None,
        "preempted": preempted_rows.of(engine, row, sights.named) if engine.petitions.preempted else None,
        "blocked": blocking(engine, row, record, sights) or None,
        "on_interrupt": row.on_interrupt.name.lower(),
        "needs": engine.store.needs([row.seq]).get(row.seq),
        "when": _when(engine, row, record),
        "after": _others_first(engine, row),
        "dependents": _dependents(engine, row, sights.sees),
        "timeout": record.timeout if record is not None else None,
        "queue_timeout": record.queue_timeout if record is not None else None,
        "expect": expect,
        "expect_source": _expect_source(row, expect),
        "changes": _changes(engine, row) or None,
        "attempts": _with_devices(engine, row, _attempts(row, history, kept.pid if kept is not None else None)),
        "retry": _retry(record),
        "command": _command(row, record),
        "lease": lease_rows.of(engine, row),
        **lease_rows.in_row(engine, row),
    }


def _when(engine: Engine, row: Row, record: Record | None) -> str | None:
    """Give a petition's condition in text; that of a plugin's petition is known while it waits or runs."""
    if record is not None and record.when is not None:
        return record.when.text
    if row.manager in _COMMAND_MANAGERS:
        text = values.fields_of(row.extras).get("when")
        return text if isinstance(text, str) else None
    return engine.admission.text_of(row.seq)


def _expect_source(row: Row, expect: float | None) -> str | None:
    """Give what the expectation of a command was found out from; None where somebody said it, or has changed it."""
    if expect is None or row.manager not in _COMMAND_MANAGERS:
        return None
    fields = values.fields_of(row.extras)
    source = fields.get("expect_source")
    return source if isinstance(source, str) and fields.get("expect") == expect else None


def _others_first(engine: Engine, row: Row) -> list[dict[str, Any]] | None:
    """Give the petitions that this one waits for, or waited for."""
    found = []
    for kept in engine.store.dependencies([row.seq]):
        there = engine.store.rows([kept.after])
        state = word(there[0].state, engine.petitions.records.get(kept.after)) if there else "forgotten"
        if kept.has_ended and kept.outcome is not None:
            state = kept.outcome.name.lower()
        known = {"id": kept.id, "seq": kept.after, "state": state, "must_succeed": kept.must_succeed}
        found.append(known | {"if_fails": kept.if_fails.name.lower()})
    return found or None


def _dependents(engine: Engine, row: Row, may_see: Callable[[str], bool]) -> list[str] | None:
    """Give the ids of petitions that wait for this one, or waited for it; of many the oldest."""
    seqs = [kept.petition for kept in engine.store.dependents(row.seq, MAX_NAMED_DEPENDENTS)]
    return [other.id for other in engine.store.rows(seqs) if may_see(other.owner)] or None


def _changes(engine: Engine, row: Row) -> list[dict[str, Any]]:
    """Give what people changed of a petition since it was accepted: when, who, and of each field what it was and is."""
    return [
        {"at": at, "who": who, "what": {name: list(pair) for name, pair in json.loads(what).items()}}
        for at, who, what in engine.store.alterations(row.seq)
    ]


def _attempts(row: Row, history: list[dict[str, Any]], pid: int | None) -> list[dict[str, Any]]:
    """Give all attempts that are remembered; the last one has the petition's end where it has ended."""
    if row.state is State.QUEUED:
        return history
    last: dict[str, Any] = {"attempt": row.attempt, "started": row.started, "ended": row.ended, "pid": pid}
    if row.state is State.ENDED:
        last["outcome"] = row.outcome.name.lower() if row.outcome is not None else None
        last["reason"] = row.reason
        last.setdefault("code", row.code)
    earlier = [each for each in history if each.get("attempt") != row.attempt]
    known = next((each for each in history if each.get("attempt") == row.attempt), {})
    return [*earlier, *([last | known] if row.attempt else [])]


def _with_devices(engine: Engine, row: Row, attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the devices of attempts that got any."""
    got = engine.store.devices([row.seq]).get(row.seq, {})
    named = {attempt: {name: list(each) for name, each in devices.items()} for attempt, devices in got.items()}
    return [{**each, "devices": named[each["attempt"]]} if each.get("attempt") in named else each for each in attempts]


def _retry(record: Record | None) -> dict[str, Any] | None:
    """Give when a live petition is tried again, where its attempts are actions."""
    return None if record is None or record.retry is None or record.command else _fields(record.retry)


def _fields(retry: Retry) -> dict[str, Any]:
    """Give a retry as it can be sent: its numbers may stand in any collection."""
    given = {field.name: getattr(retry, field.name) for field in fields(retry)}
    return given | {"codes": list(retry.codes), "signals": list(retry.signals)}


def _command(row: Row, record: Record | None) -> dict[str, Any] | None:
    """Give what is executed, where it is a command."""
    if row.manager in _COMMAND_MANAGERS:
        return sent(row.extras)
    petition = record.petition if record is not None else None
    if getattr(petition, "argv", None) is None or not record or not record.command:
        return None
    known = {name: getattr(petition, name, None) for name in (*_COMMAND_FIELDS, "env")}
    return _shown(known | {"retry": record.retry})


def sent(extras: bytes) -> dict[str, Any] | None:
    """Give what a message to the built-in manager holds; None for a message of another manager."""
    fields = values.fields_of(extras)
    return _shown(fields) if isinstance(fields.get("argv"), list | tuple) else None


def _shown(fields: dict[str, Any]) -> dict[str, Any]:
    shown = {name: fields.get(name) for name in _COMMAND_FIELDS}
    retry = shown["retry"]
    if retry is not None and not isinstance(retry, dict):
        shown["retry"] = _fields(retry)
    shown["argv"] = [_sendable(word) for word in shown["argv"] or ()]
    shown["secrets"] = [str(name) for name in fields.get("secrets") or ()] or None  # of a plugin's petition no values
    shown["cwd"] = None if shown["cwd"] is None else _sendable(shown["cwd"])
    return shown | {"env": sorted(_name(name) for name in fields.get("env") or ())}


def _sendable(word: str | bytes) -> str | bytes:
    """Give a word as it can be sent: text that stands for bytes as those."""
    try:
        to_bytes(word).decode()
    except UnicodeDecodeError:
        return to_bytes(word)
    return word


def _name(word: str | bytes) -> str:
    """Give a variable's name for people and programs, what is no text in it as its escape."""
    return to_bytes(word).decode("utf-8", "backslashreplace")
