"""List petitions, and why each waits."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING

from orcha._core.admission import ALL, is_petition_name
from orcha._core.authority import may_act_for_all
from orcha._core.permissions import Sight
from orcha._core.reasons import (
    ConditionSaidNo,
    EverythingPaused,
    GroupTextIsFalse,
    HeldAfterInterruption,
    InOrder,
    MachineFull,
    MachineTaken,
    ManagerNotServed,
    ServiceStops,
    TextIsFalse,
    with_names,
)
from orcha._core.record import Phase, Record
from orcha._core.redaction import redacted
from orcha._core.state import State
from orcha._core.transitions.retry import is_decided
from orcha._protocol.messages import List, Rows
from orcha._protocol.shown_reasons import SILENT
from orcha._service.reports.command_text import listed
from orcha._service.reports.explanations import cleaned, outlived
from orcha._service.reports.lease_text import lent_to
from orcha._service.reports.state_names import BEGUN_STATES, word
from orcha._service.reports.user_names import user
from orcha._service.verbs import answer_size as fitting
from orcha._service.verbs import array_rows, lease_rows, preempted_rows
from orcha._service.verbs.sights import Sights
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.interfaces.needs import WHOLE

if TYPE_CHECKING:
    from orcha._core.reasons import Reason
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._store.contract import Row

MAX_ROWS = 1_000
"""Rows of one answer."""
MAX_NAMED_DEPENDENCIES = 100
"""Petitions that one petition waits for and that are named in its row."""
MAX_NAMED_LEASES = 3
"""Leases that are named in the reason why a petition waits."""
MAX_NAMED_PAUSES = 100
"""Pauses that are named in one answer."""


def list_petitions(engine: Engine, peer: Peer, message: List) -> None:
    """Answer with rows, newest first: as many as are asked for, or as fit into one answer."""
    sights = Sights(engine, peer)
    rows = _rows(engine, message, None if sights.of_others is not Sight.NOTHING else peer.identity)
    again = partial(engine.handle, list_petitions, peer, message)
    if engine.users.when_known((row.owner for row in rows), again):
        return
    seqs = [row.seq for row in rows]
    groups, needs, expected = engine.store.groups(seqs), engine.store.needs(seqs), engine.store.expected(seqs)
    after = _others_first(engine, rows)
    described = [
        describe_row(engine, row, groups.get(row.seq), sights)
        | {
            "after": after.get(row.seq),
            "needs": json.dumps(needs[row.seq]) if row.seq in needs else None,
            "expect": expected.get(row.seq),
            "timeout": _timeout(engine, row),
        }
        | lease_rows.in_row(engine, row)
        for row in rows
    ]
    if message.id is not None or message.array is not None:
        elements = engine.store.elements(seqs)
        for row, known in zip(rows, described, strict=True):
            known["array"] = array_rows.array_of(row) if row.seq in elements else None
    described = [
        known if sights.of(row.owner) is Sight.ALL else redacted(known)
        for row, known in zip(rows, described, strict=True)
    ]
    other = engine.statistics.build.other(time.monotonic())
    drained = None if engine.drains.drained is None else engine.drains.drained.reason.text()
    line = None if engine.reloading is None else engine.reloading.line()
    engine.reply(peer, Rows(message.request, fitting.rows(described), paused(engine, peer), other, drained, line))


def _preemptible(engine: Engine, row: Row) -> str | None:
    """Give how a petition gives its place to a more urgent one; None also where only its key is in memory."""
    record = engine.petitions.records.get(row.seq)
    return None if record is None or row.state is State.ENDED else record.preemptible


def _due(engine: Engine, seq: int) -> float | None:
    """Give when a petition begins to wait for its turn; None where it does already, or does not wait."""
    record = engine.petitions.records.get(seq)
    return record.due if record is not None and record.state is State.QUEUED else None


def paused(engine: Engine, peer: Peer) -> list[str]:
    """Give what more than one petition waits for: `all` where everything is paused, and for operators each group."""
    names = sorted(cleaned(name) for name in engine.admission.paused if not is_petition_name(name))
    return names[:MAX_NAMED_PAUSES] if may_act_for_all(peer) else [name for name in names if name == ALL]


def _rows(engine: Engine, message: List, owner: str | None) -> list[Row]:
    """Give the rows to list. STARTING and RUNNING are stored alike, so rows of the state not meant are left out."""
    states, limit, before = message.states, max(1, min(message.limit, MAX_ROWS)), message.before
    meant = {state.name.lower() for state in State if states >> state & 1}
    either = sum(1 << state for state in BEGUN_STATES)
    array = None if message.array is None else array_rows.seq_of(engine, message.array)
    if message.array is not None and array is None:
        return []
    narrows = bool(states & either) and states & either != either
    found: list[Row] = []
    while len(found) < limit:
        rows = engine.store.page(
            states=states | either if narrows else states,
            limit=limit - len(found),
            before=before,
            id=message.id,
            group=message.group,
            owner=owner,
            array=array,
        )
        found += (row for row in rows if not narrows or word(row.state, engine.petitions.records.get(row.seq)) in meant)
        if not rows or not narrows:
            break
        before = rows[-1].seq
    if message.before is None and either & states and not states >> State.ENDED & 1:
        found = _outlived(engine, message, owner) + found
    if message.before is None and array is None:
        arrays = engine.store.rows(array_rows.that_run(engine, states))
        found = [row for row in arrays if _is_asked_for(engine, row, message, owner)] + found
    return found


def _others_first(engine: Engine, rows: list[Row]) -> dict[int, str]:
    """Give the sequence numbers of the petitions that each petition waits for, or waited for, in one text."""
    found: dict[int, list[str]] = {}
    for kept in engine.store.dependencies([row.seq for row in rows]):
        found.setdefault(kept.petition, []).append(str(kept.after))
    return {seq: " ".join(others[:MAX_NAMED_DEPENDENCIES]) for seq, others in found.items()}


def _outlived(engine: Engine, message: List, owner: str | None) -> list[Row]:
    """Give the ended petitions that a process has outlived: each holds a slot as a running petition does."""
    seqs = [record.seq for record in list(engine.petitions.records.values()) if record.is_outlived]
    rows = engine.store.rows([seq for seq in seqs if engine.petitions.records[seq].state is State.ENDED])
    return [row for row in rows if _is_asked_for(engine, row, message, owner)]


def _is_asked_for(engine: Engine, row: Row, message: List, owner: str | None) -> bool:
    """Tell whether a row is asked for, whatever its state."""
    return (
        (owner is None or row.owner == owner)
        and (message.id is None or row.id == message.id)
        and (message.group is None or engine.store.groups([row.seq]).get(row.seq) == message.group)
    )


def describe_row(
    engine: Engine, row: Row, group: str | None, sights: Sights
) -> dict[str, str | int | float | bool | None]:
    """Give a petition's row for people."""
    command, label = listed(row, engine.petitions.records.get(row.seq))
    why, asked, kinds = explain(engine, row, group, sights)
    stands_still = row.seq in engine.petitions.lent
    if engine.petitions.preempted:
        why = preempted_rows.and_why(engine, row, why, sights.named)
    return {
        "seq": row.seq,
        "id": row.id,
        "state": word(row.state, engine.petitions.records.get(row.seq)),
        "priority": row.priority,
        "aged": _aged(engine, row),
        "manager": row.manager,
        "owner": row.owner,
        "user": user(row.owner),
        "attempt": row.attempt,
        "submitted": row.submitted,
        "started": row.started,
        "ended": row.ended,
        "outcome": row.outcome.name.lower() if row.outcome is not None and row.state is State.ENDED else None,
        "code": row.code if row.state is State.ENDED else None,
        "reason": row.reason,
        "why": why,
        "asked_ago": asked,
        **({"kinds": kinds} if kinds else {}),
        "group": group,
        "paused": stands_still or engine.admission.is_paused(row.seq, group, row.state),
        "preemptible": _preemptible(engine, row),
        "stands_still": stands_still,
        "due": _due(engine, row.seq),
        "command": command,
        "label": label,
        **array_rows.described(engine, row),
    }


def _timeout(engine: Engine, row: Row) -> float | None:
    """Give the limit of a live petition; None where there is none, or where it is not known since a restart."""
    record = engine.petitions.records.get(row.seq)
    return None if record is None else record.timeout


def _aged(engine: Engine, row: Row) -> float | None:
    """Give the priority that a waiting petition has by waiting, where that is not the priority that it was given."""
    known = engine.petitions.live.get(row.id) if engine.petitions.ageing is not None else None
    if isinstance(known, tuple):
        return known[0] if known[1] == row.seq and known[0] != row.priority else None
    if known is None or known.seq != row.seq or known.unaged is None or row.state not in {State.QUEUED, State.HELD}:
        return None
    return known.priority


def explain(engine: Engine, row: Row, group: str | None, sights: Sights) -> tuple[str | None, float | None, str]:
    """Tell people why a petition waits, or what keeps an ended one from going.

    Where a petition waits for what its condition said when it was asked last, or for what the machine was like when it
    was looked at last, given is also how many seconds ago that was. The third is the kind of the reason, and of what
    else the petition's condition said, for programs.
    """
    record = engine.petitions.records.get(row.seq)
    survivors = record.survivors if record is not None else ()
    may_be_outlived = record is not None and record.may_be_outlived
    if survivors or (row.state is State.ENDED and not may_be_outlived):
        return outlived(survivors) if survivors else None, None, ""
    if may_be_outlived or engine.running_commands.is_silent(row.seq):
        return SILENT, None, ""
    if engine.petitions.preempted and (stands := preempted_rows.why(engine, row)) is not None:
        return with_names(stands, sights.named).text(), None, stands.kind()
    reason = reason_of(engine, row, group)
    if reason is None:
        return None, None, ""
    if isinstance(reason, TextIsFalse | GroupTextIsFalse):
        age = engine.sampling.age_of(reason)
        return reason.text(), None if age is None else round(age, 3), reason.kind()
    asked = record.asked if record is not None and reason is record.why else None
    ago = None if asked is None else round(time.monotonic() - asked, 3)
    return (
        f"{with_names(reason, sights.named).text()}{_lent(engine, reason, record)}",
        ago,
        _kinds(row, reason, None if record is None else record.why),
    )


def _kinds(row: Row, reason: Reason, said: Reason | None) -> str:
    """Give the kind of a reason, and of what else the petition's condition said; a command's knows one reason alone."""
    if row.manager == COMMAND_MANAGER:
        return MachineFull.kind() if isinstance(reason, ConditionSaidNo) else reason.kind()
    if reason is not said and isinstance(said, ConditionSaidNo):
        return f"{reason.kind()} {said.kind()}"
    return reason.kind()


def _lent(engine: Engine, reason: Reason, record: Record | None) -> str:
    """Name the leases that hold what a petition waits for."""
    if not engine.leases.held:
        return ""
    resource = WHOLE if isinstance(reason, MachineTaken) else getattr(reason, "resource", None)
    need = None if record is None or resource is None else (record.needs or {}).get(resource)
    holders = engine.granted.holders(resource=resource, need=need)
    lent = [each for each in engine.leases.held.values() if resource in (each.needs or ()) and each.key in holders]
    return "".join(f"; {lent_to(each)}" for each in lent[:MAX_NAMED_LEASES])


def reason_of(engine: Engine, row: Row, group: str | None) -> Reason | None:
    """Give why a live petition waits; None where it does not wait."""
    record = engine.petitions.records.get(row.seq)
    if (entry := engine.arrays.get(row.seq)) is not None:
        return array_rows.why(engine, entry)
    if not engine.managers.serves(row.manager):
        return ManagerNotServed(row.manager)
    if record is not None and record.phase not in {Phase.WAITING, Phase.RESTING} and not is_decided(record):
        return None
    if record is not None and record.state is State.HELD:
        return HeldAfterInterruption()
    held = _everything_waits(engine) or engine.admission.held_by(row.seq, group, row.owner)
    if (
        held is None
        and record is not None
        and record.why is not None
        and not isinstance(record.why, TextIsFalse | GroupTextIsFalse)
    ):
        return record.why
    return held or _in_order(engine, record)


def _everything_waits(engine: Engine) -> Reason | None:
    """Give why no petition starts at all; None where petitions start."""
    if engine.draining:
        return ServiceStops(engine.draining)
    if engine.drains.drained is not None:
        return engine.drains.drained.reason
    return EverythingPaused() if engine.paused else None


def _in_order(engine: Engine, record: Record | None) -> InOrder:
    """Tell how many petitions are asked before this petition."""
    if record is None:
        return InOrder(engine.petitions.waiting.ready, at_least=True)
    return InOrder(engine.petitions.waiting.place(record.place))
