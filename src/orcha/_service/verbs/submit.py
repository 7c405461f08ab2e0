"""Ask for petitions."""

from __future__ import annotations

from os import geteuid
from typing import TYPE_CHECKING, NamedTuple

from orcha._core import transitions
from orcha._core.record import Record
from orcha._core.tuples import new_tuple
from orcha._protocol.messages import Result, Submit, Submitted, Verdict
from orcha._service.channels.channel_book import may_follow
from orcha._service.reports.explanations import outlived
from orcha._service.reports.state_names import state_of
from orcha._service.verbs.cancel import BEFORE_IT_CAME, cancelled_before
from orcha.interfaces.built_in import COMMAND_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._protocol.messages import Item
    from orcha._server.server import Peer
    from orcha._service.engine import Engine

# Looked up once: an attribute of an enumeration costs ten times a global name.
_ACCEPTED, _KNOWN, _REFUSED = Verdict.ACCEPTED, Verdict.KNOWN, Verdict.REFUSED

LONGEST_ID = 1024
SOMEBODY_ELSES = "this token is somebody else's"
ROOTS_ALONE = (
    "this service is root's, and runs commands for root alone: start a service of your own (orcha serve --background)"
)


class Submission:
    """Who waits for the answer of one Submit, and what has been answered so far."""

    __slots__ = ("credit", "due", "peer", "plugin", "request", "results")

    def __init__(self, peer: Peer, message: Submit) -> None:
        """Gather answers for a message."""
        self.peer = peer
        self.request = message.request
        self.plugin = message.manager
        self.credit = message.credit
        self.results: list[Result] = []
        self.due = False

    def answer(self, engine: Engine, position: int, verdict: int, channel: bytes | None, reason: str | None) -> None:
        """Add an answer; those of one batch go out together."""
        self.results.append(Result(position, verdict, channel, reason))
        if not self.due:
            self.due = True
            engine.after_batch(lambda: self._send(engine))

    def _send(self, engine: Engine) -> None:
        results, self.results = self.results, []
        self.due = False
        engine.reply(self.peer, Submitted(self.request, results))


class Asked(NamedTuple):
    """One message of a submit, which is to be answered."""

    submission: Submission
    position: int
    """Where the message stands in the submit."""
    channel: bytes | None
    """The channel that the message names; None where its petition has its own."""


class Undecided(NamedTuple):
    """A petition that is neither kept nor refused yet."""

    record: Record
    asked: list[Asked]
    """The submits of its token that are to be answered, the first one first."""


def submit(engine: Engine, peer: Peer, message: Submit) -> None:
    """Have each message converted; what becomes of each is answered when it is decided, and kept."""
    if not message.items:
        engine.reply(peer, Submitted(message.request, []))
        return
    submission = Submission(peer, message)
    refusal = engine.refuses()
    for position, item in enumerate(message.items):
        take(engine, submission, position, item, refusal)


def take(
    engine: Engine, submission: Submission, position: int, item: Item, refusal: tuple[int, None, str] | None
) -> None:
    """Have one message converted, unless `refusal` says that none is taken now."""
    peer = submission.peer
    token, identity, _, channel = item
    undecided = engine.undecided.get(token)
    if undecided is not None:
        if may_follow(peer, undecided.record.owner):
            undecided.asked.append(Asked(submission, position, channel))
        else:
            submission.answer(engine, position, _REFUSED, None, SOMEBODY_ELSES)
        return
    if token < engine.born and _is_known(engine, submission, position, item):
        return
    if refusal is not None:
        verdict, _, reason = refusal
        _refuse(engine, submission, position, item, verdict, reason)
        return
    malformed = _malformed(engine, peer, item)
    if malformed is not None:
        submission.answer(engine, position, _REFUSED, None, malformed)
        return
    manager, why = engine.managers.choose(submission.plugin, identity)
    if manager is None:
        _refuse(engine, submission, position, item, _REFUSED, why)
        return
    if manager == COMMAND_MANAGER and peer.is_other and not geteuid():
        _refuse(engine, submission, position, item, _REFUSED, ROOTS_ALONE)
        return
    enter(engine, submission, position, item, (manager, peer.identity))


def enter(engine: Engine, submission: Submission, position: int, item: Item, whose: tuple[str, str]) -> None:
    """Have a message converted by a manager, as a petition of an owner, unless its id is taken."""
    token, identity, extras, channel = item
    petitions = engine.petitions
    manager, owner = whose
    mine = token if channel is None else channel
    record = Record(petitions.take_seq(), token, identity, manager, owner, mine, extras, petitions.now.wall)
    cancellation = cancelled_before(BEFORE_IT_CAME) if token in engine.tombstones else None
    known = transitions.submit.receive(petitions, record, cancellation)
    if known is None:
        asked = new_tuple(Asked, (submission, position, channel))
        engine.undecided[token] = new_tuple(Undecided, (record, [asked]))
        engine.visits.convert(record)
        return
    other = engine.find(record.key)
    state = state_of(other) if other is not None else "live"
    if other is not None and other.survivors:
        state = f"outlived by a process: {outlived(other.survivors)}"
    reason = f"the id {record.key!r} is taken by a petition that is {state}: wait for it, cancel it, or choose another"
    _refuse(engine, submission, position, item, _REFUSED, reason)


def _refuse(engine: Engine, submission: Submission, position: int, item: Item, verdict: int, reason: str) -> None:
    """Refuse a message, unless its token is a petition that is kept: that one is meant, whatever is refused now."""
    if _is_known(engine, submission, position, item):
        return
    if item.channel is not None:
        engine.channels.drop_unused(item.channel)
    submission.answer(engine, position, verdict, None, reason)


def _is_known(engine: Engine, submission: Submission, position: int, item: Item) -> bool:
    """Answer a resend of what is kept, be it another manager's; False where the token is new, or somebody else's."""
    row = engine.store.tokens([item.token]).get(item.token)
    if row is None or not may_follow(submission.peer, row.owner):
        return False
    _known(engine, Asked(submission, position, item.channel), row.channel)
    return True


def _malformed(engine: Engine, peer: Peer, item: Item) -> str | None:
    token, identity, _, channel = item
    if len(token) != 16 or (channel is not None and len(channel) != 16):
        return "tokens and channels are 16 bytes"
    if _is_long(identity):
        return f"an id is at most {LONGEST_ID} bytes"
    if peer.role == "attempt":
        return "an attempt may only write to its own channel"
    if channel is not None:
        known = engine.channels.known(channel) or engine.channels.create(channel, peer.identity, own=False)
        if not may_follow(peer, known.owner):
            return "this channel belongs to somebody else"
    return None


def _is_long(identity: str | int) -> bool:
    """Tell whether an id is too long; nothing of a quarter of the limit is, whatever its characters are."""
    text = str(identity)
    return len(text) > LONGEST_ID // 4 and len(text.encode("utf-8", "surrogatepass")) > LONGEST_ID


def _known(engine: Engine, asked: Asked, channel: bytes) -> None:
    """Answer a resend of a petition that is kept."""
    submission, position, named = asked
    _follow(engine, submission, channel)
    submission.answer(engine, position, _KNOWN, None if named else channel, None)


def accepted(engine: Engine, record: Record) -> None:
    """Tell the client that it is kept, and send it what comes."""
    (submission, position, named), *others = engine.undecided.pop(record.token).asked
    _follow(engine, submission, record.channel)
    submission.answer(engine, position, _ACCEPTED, None if named else record.channel, None)
    for asked in others:
        _known(engine, asked, record.channel)


def may_name(engine: Engine, record: Record) -> Callable[[str], bool]:
    """Give what tells of an owner whether the client that asks for a petition may have it wait for theirs."""
    peer = engine.undecided[record.token].asked[0].submission.peer
    return lambda owner: may_follow(peer, owner)


def _follow(engine: Engine, submission: Submission, channel: bytes) -> None:
    known = engine.channels.get(channel)
    peer = submission.peer
    if (
        submission.credit > 0
        and known is not None
        and peer.id in engine.outbox.peers
        and peer.id not in known.followers
    ):
        engine.channels.follow(peer, known, 0, submission.credit)


def refused(engine: Engine, record: Record, verdict: int, reason: str) -> None:
    """Tell the client that it is not kept, or (KNOWN) that it was before."""
    engine.dependents.refused(record)
    everyone = engine.undecided.pop(record.token).asked
    row = engine.store.tokens([record.token]).get(record.token)
    if row is None:
        engine.channels.drop_unused(record.channel)
    there = engine.once.attached.pop(record.token, None)
    if there is not None:
        for submission, position, _ in everyone:
            _follow(engine, submission, there[0])
            submission.answer(engine, position, _KNOWN, *there)
        return
    for asked in everyone:
        submission, position, _ = asked
        if row is not None and may_follow(submission.peer, row.owner):
            _known(engine, asked, row.channel)
        else:
            reason = reason if verdict != _KNOWN else SOMEBODY_ELSES
            submission.answer(engine, position, verdict if verdict != _KNOWN else _REFUSED, None, reason)
