"""Ask for petitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.record import Record
from orcha._service.verbs.cancel import cancelled_before
from orcha._service.verbs.follow import may_follow
from orcha._wire.messages import Result, Submit, Submitted, Verdict

if TYPE_CHECKING:
    from orcha._service.engine import Engine
    from orcha._wire.messages import Item
    from orcha._wire.server import Peer

LONGEST_ID = 1024


class Submission:
    """Who waits for the answer of one Submit, and what has been answered so far."""

    __slots__ = ("credit", "due", "peer", "request", "results")

    def __init__(self, peer: Peer, message: Submit) -> None:
        """Gather answers for a message."""
        self.peer = peer
        self.request = message.request
        self.credit = message.credit
        self.results: list[Result] = []
        self.due = False

    def answer(self, engine: Engine, position: int, verdict: int, channel: bytes | None, reason: str | None) -> None:
        """Add an answer; those of one batch go out together."""
        self.results.append(Result(position, verdict, channel, reason))
        if not self.due:
            self.due = True
            engine.after_batch(self._send)

    def _send(self, engine: Engine) -> None:
        results, self.results = self.results, []
        self.due = False
        engine.reply(self.peer, Submitted(self.request, results))


def submit(engine: Engine, peer: Peer, message: Submit) -> None:
    """Have each message converted; what becomes of each is answered when it is decided, and kept."""
    submission = Submission(peer, message)
    for position, item in enumerate(message.items):
        _take(engine, submission, position, item)


def _take(engine: Engine, submission: Submission, position: int, item: Item) -> None:
    peer = submission.peer
    token, identity, extras, channel = item
    refusal = engine.refuses()
    if refusal is not None:
        submission.answer(engine, position, *refusal)
        return
    reason = _malformed(engine, peer, item)
    if reason is not None:
        submission.answer(engine, position, Verdict.REFUSED, None, reason)
        return
    machine = engine.machine
    record = Record(
        machine.take_seq(),
        token,
        identity,
        engine.manager_name,
        peer.identity,
        token if channel is None else channel,
        extras,
        machine.now,
    )
    record.submitter = (submission, position, channel)
    if token in engine.tombstones:
        record.cancellation = cancelled_before()
    known = machine.receive(record)
    if known is None:
        engine.visits.convert(record)
        return
    other = engine.find(record.key)
    if other is not None and other.token == token:
        _again(engine, record, other)
    else:
        state = other.state.name.lower() if other is not None else "live"
        reason = f"the id {record.key!r} is taken by a petition that is {state}: wait for it, cancel it, or choose another"
        submission.answer(engine, position, Verdict.REFUSED, None, reason)


def _malformed(engine: Engine, peer: Peer, item: Item) -> str | None:
    token, identity, _, channel = item
    if len(token) != 16 or (channel is not None and len(channel) != 16):  # noqa: PLR2004 - docs/wire.md
        return "tokens and channels are 16 bytes"
    if len(str(identity).encode("utf-8", "surrogatepass")) > LONGEST_ID:
        return f"an id is at most {LONGEST_ID} bytes"
    if channel is not None:
        known = engine.channels.known(channel) or engine.channels.create(channel, peer.identity, own=False)
        if not may_follow(peer, known.owner):
            return "this channel belongs to somebody else"
    if peer.role == "attempt":
        return "an attempt may only write to its own channel"
    return None


def _again(engine: Engine, record: Record, other: Record) -> None:
    """Answer a resend of a petition that lives."""
    submission, position, named = record.submitter
    if other.submitter is not None and other.phase == 1:
        other.submitter = record.submitter
        return
    _follow(engine, submission, other.channel, named)
    submission.answer(engine, position, Verdict.KNOWN, None if named else other.channel, None)


def accepted(engine: Engine, record: Record) -> None:
    """Tell the client that it is kept, and send it what comes."""
    submission, position, named = record.submitter
    record.submitter = None
    record.extras = None
    _follow(engine, submission, record.channel, named)
    submission.answer(engine, position, Verdict.ACCEPTED, None if named else record.channel, None)


def _follow(engine: Engine, submission: Submission, channel: bytes, named: bytes | None) -> None:
    known = engine.channels.get(channel)
    peer = submission.peer
    if submission.credit > 0 and known is not None and peer.id in engine.peers and peer.id not in known.followers:
        engine.channels.follow(peer, known, 0, submission.credit)
    del named


def refused(engine: Engine, record: Record, verdict: int, reason: str) -> None:
    """Tell the client that it is not kept, or (KNOWN) that it was before."""
    submission, position, named = record.submitter
    record.submitter = None
    if verdict != Verdict.KNOWN:
        engine.channels.drop_unused(record.channel)
        submission.answer(engine, position, verdict, None, reason)
        return
    row = engine.store.tokens([record.token])[record.token]
    _follow(engine, submission, row.channel, named)
    submission.answer(engine, position, Verdict.KNOWN, None if named else row.channel, None)
