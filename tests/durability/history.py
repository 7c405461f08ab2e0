"""What clients did and were told, and whether it agrees with what is stored and what was executed.

Clients append each operation to a log that they fsync; `check` compares these logs, the actions' ledger
(`support.ledger`) and the store of a service that has stopped.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from orcha._core.state import OnInterrupt, Outcome, State
from orcha._output.log import OutputLog
from orcha._protocol import values
from orcha._protocol.messages import ChannelRecord, Kind
from orcha._store.contract import Row
from orcha._store.sqlite import SqliteStore
from support.changes import ANY_STATE
from support.ledger import Execution, read_ledger

_blocks = msgspec.msgpack.Decoder(list[ChannelRecord])
_STATED = {Outcome.CANCELLED: 130, Outcome.INTERRUPTED: 75, Outcome.TIMED_OUT: 124}


class Journal:
    """One client's log. Each entry is one append; it is fsynced where `durable` says so."""

    def __init__(self, path: Path) -> None:
        """Open it."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note(self, what: str, *, durable: bool = True, **fields: Any) -> None:
        """Append an entry."""
        os.write(self._descriptor, json.dumps({"what": what, **fields}).encode() + b"\n")
        if durable:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


@dataclass
class Story:
    """What clients know of one petition."""

    token: str
    id: str
    channel: str
    """The channel's identity, hexadecimal."""
    policy: str = "fail"
    acked: bool = False
    refused: bool = False
    cancelled: str | None = None
    """The outcome that a cancel was answered with."""
    tombstone: bool = False
    """Its cancel was answered before its submit was sent."""


@dataclass
class History:
    """All clients' logs."""

    stories: dict[str, Story] = field(default_factory=dict)
    got: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    """Values handed out, by channel."""
    read_to_end: set[str] = field(default_factory=set)
    """Channels whose followers saw all their finals."""

    @classmethod
    def read(cls, paths: list[Path]) -> Self:
        """Read logs; a torn last line of a killed client is left out, and one that was killed before its first."""
        history = cls()
        for path in filter(Path.exists, paths):
            for line in path.read_bytes().split(b"\n")[:-1]:
                history._take(json.loads(line))
        return history

    def _take(self, entry: dict[str, Any]) -> None:
        what = entry.pop("what")
        if what == "invoke":
            self.stories.setdefault(entry["token"], Story(**entry))
        elif what == "ok":
            self.stories[entry["token"]].acked = True
        elif what == "fail":
            self.stories[entry["token"]].refused = True
        elif what == "cancelled":
            story = self.stories[entry["token"]]
            story.cancelled, story.tombstone = entry["outcome"], entry["before"]
        elif what == "got":
            self.got[entry["channel"]].append(entry["value"])
        elif what == "end":
            self.read_to_end.add(entry["channel"])


class Kept(NamedTuple):
    """What a stopped service has kept."""

    rows: dict[str, Row]
    """By token."""
    channels: dict[bytes, list[ChannelRecord]]


def read_kept(folder: Path) -> Kept:
    """Read everything out of an endpoint's folder; each channel must be whole, from its first record."""
    store = SqliteStore(folder)
    log = OutputLog(folder / "output")
    try:
        rows: list[Row] = []
        while page := store.page(states=ANY_STATE, limit=500, before=rows[-1].seq if rows else None):
            rows += page
        assert store._connection.execute("PRAGMA integrity_check").get == "ok"
        return Kept(
            {row.token.hex(): row for row in rows},
            {row.channel: read_channel(store, log, row.channel) for row in rows},
        )
    finally:
        store.close()
        log.close()


def read_channel(store: SqliteStore, log: OutputLog, channel: bytes) -> list[ChannelRecord]:
    """Give all records of a channel."""
    blocks = {first: (count, data) for first, count, data in store.records(channel, 0, 1 << 30)}
    blocks |= {first: (count, data) for first, count, data in log.read(channel, 0, 1 << 30)}
    records: list[ChannelRecord] = []
    for first in sorted(blocks):
        count, data = blocks[first]
        decoded = _blocks.decode(data)
        assert first == len(records), f"channel {channel.hex()}: {first} comes after {len(records)}"
        assert count == len(decoded)
        records += decoded
    return records


@dataclass
class Figures:
    """What a run came to."""

    acked: int = 0
    lost: int = 0
    started_twice: int = 0
    reruns: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    values: int = 0
    followed: int = 0

    def __str__(self) -> str:
        """Give one line."""
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        return (
            f"{self.acked} accepted, {self.lost} lost, {self.started_twice} started twice, {self.reruns} further "
            f"attempts, {self.values} values on {self.followed} channels followed; {outcomes}"
        )


def check(history: History, ledger_path: Path, folder: Path, *, stopped: bool = False) -> Figures:
    """Compare all there is to compare; AssertionError tells what does not agree.

    Where the service was `stopped` in good order meanwhile, what an attempt puts while it is ended is dropped.
    """
    kept = read_kept(folder)
    ledger = read_ledger(ledger_path)
    figures = Figures()
    _check_accepted(history, kept, figures)
    _check_executions(history, kept, ledger, figures)
    _check_channels(kept, ledger, stopped=stopped)
    _check_followers(history, kept, figures)
    return figures


def _check_accepted(history: History, kept: Kept, figures: Figures) -> None:
    """Compare what clients were told with the rows."""
    by_id = Counter(row.id for row in kept.rows.values())
    doubled = [identity for identity, count in by_id.items() if count > 1]
    assert not doubled, f"several petitions of one submit: {doubled[:5]}"
    lost = [story.id for token, story in history.stories.items() if story.acked and token not in kept.rows]
    assert not lost, f"accepted and lost: {len(lost)}, as {lost[:5]}"
    figures.acked = sum(story.acked for story in history.stories.values())
    for token, story in history.stories.items():
        row = kept.rows.get(token)
        if row is None:
            continue
        assert not story.refused, f"{story.id} was refused, and is there: {row}"
        if story.cancelled is not None and row.outcome is not None:
            outcome = row.outcome.name.lower().replace("_", " ")
            assert outcome == story.cancelled, f"{story.id}: its cancel was answered {story.cancelled}, it is {outcome}"
        if story.tombstone:
            assert row.outcome is Outcome.CANCELLED, f"{story.id} was cancelled before its submit: {row}"


def _check_executions(history: History, kept: Kept, ledger: dict[tuple[str, int], Execution], figures: Figures) -> None:
    """Compare what was executed with what was decided."""
    rows = {row.id: row for row in kept.rows.values()}
    tombstones = {story.id for story in history.stories.values() if story.tombstone}
    attempts = Counter(identity for identity, _ in ledger)
    for (identity, attempt), execution in ledger.items():
        row = rows.get(identity)
        assert row is not None, f"{identity} was executed, and is not kept"
        assert execution.starts == 1, f"{identity} attempt {attempt} was started {execution.starts} times"
        assert attempt <= row.attempt, f"{identity} attempt {attempt} ran, {row.attempt} is the last one kept"
        assert identity not in tombstones, f"{identity} was cancelled before its submit, and ran"
        if row.on_interrupt is not OnInterrupt.RERUN:
            assert attempts[identity] == 1, f"{identity} ({row.on_interrupt.name}) ran {attempts[identity]} times"
    figures.reruns = sum(count - 1 for count in attempts.values())
    for row in rows.values():
        figures.outcomes[row.outcome.name.lower() if row.outcome is not None else row.state.name.lower()] += 1
        if row.outcome is Outcome.SUCCEEDED:
            done = ledger.get((row.id, row.attempt))
            assert done is not None, f"{row.id} succeeded without having run"
            assert done.ended, f"{row.id} succeeded before its end"


def _check_channels(kept: Kept, ledger: dict[tuple[str, int], Execution], *, stopped: bool) -> None:
    """Compare the channels with outcomes and puts."""
    for row in kept.rows.values():
        records = [record for record in kept.channels[row.channel] if record.seq == row.seq]
        finals = [record for record in records if record.kind == Kind.FINAL]
        assert len(finals) == (row.state is State.ENDED), f"{row.id} ({row.state.name}) has {len(finals)} finals"
        if finals:
            final = values.decode(finals[0].payload)
            assert final == row.code, f"{row.id}: final value {final}, stored {row.code}"
            assert row.outcome not in _STATED or final == _STATED[row.outcome], f"{row.id}: {row.outcome}, {final}"
            after = records[records.index(finals[0]) + 1 :]
            assert not [record for record in after if record.kind != Kind.CLOSED], f"{row.id} has values after its end"
        put = [values.decode(record.payload) for record in records if record.kind == Kind.VALUE]
        _check_puts(row, [value.rstrip(".") for value in put], ledger, stopped=stopped)


def _check_puts(row: Row, put: list[str], ledger: dict[tuple[str, int], Execution], *, stopped: bool) -> None:
    """Check that each attempt's values are there from the first on, and all whose put returned."""
    by_attempt: dict[int, list[int]] = {}
    for value in put:
        identity, of_attempt, number = value.split("/")
        assert identity == row.id, f"{value} among the values of {row.id}"
        assert not by_attempt or int(of_attempt) >= max(by_attempt), f"{row.id}: {value} after a later attempt's"
        by_attempt.setdefault(int(of_attempt), []).append(int(number))
    for attempt, numbers in by_attempt.items():
        assert numbers == list(range(len(numbers))), f"{row.id} attempt {attempt}: {numbers}"
    if row.outcome is Outcome.CANCELLED:
        return  # what is put after a cancel is dropped
    for attempt in range(1, row.attempt + 1):
        if stopped and (attempt < row.attempt or row.outcome is Outcome.INTERRUPTED):
            continue
        execution = ledger.get((row.id, attempt))
        returned = len(execution.puts) if execution is not None else 0
        assert len(by_attempt.get(attempt, ())) >= returned, f"{row.id} attempt {attempt}: {returned} puts returned"


def _check_followers(history: History, kept: Kept, figures: Figures) -> None:
    """Check that what each follower was handed out is the channel, from its beginning, each value once."""
    for name, got in history.got.items():
        records = kept.channels.get(bytes.fromhex(name))
        assert records is not None, f"values came on the channel {name}, which is not kept"
        stored = [values.decode(record.payload) for record in records if record.kind != Kind.CLOSED]
        assert got == stored[: len(got)], _difference(name, got, stored)
        if name in history.read_to_end:
            assert got == stored, _difference(name, got, stored)
        figures.values += len(got)
        figures.followed += 1


def _difference(name: str, got: list[Any], stored: list[Any]) -> str:
    """Tell where a follower's values and the channel part."""
    at = next((i for i, (mine, kept) in enumerate(zip(got, stored, strict=False)) if mine != kept), len(got))
    return f"channel {name}: from {at} a follower got {got[at : at + 5]}, stored is {stored[at : at + 5]}"
