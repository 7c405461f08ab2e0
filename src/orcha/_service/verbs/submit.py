"""Ask for petitions."""

from __future__ import annotations

from os import geteuid
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.authority import may_act_for
from orcha._core.permissions import Deed, Sight
from orcha._core.record import Record
from orcha._core.tuples import new_tuple
from orcha._protocol.messages import Submitted, Verdict
from orcha._service.audit_book import Named
from orcha._service.reports.explanations import outlived
from orcha._service.reports.state_names import state_of
from orcha._service.submissions import SOMEBODY_ELSES, Asked, Submission
from orcha._service.verbs.cancel import BEFORE_IT_CAME
from orcha._service.verbs.give_secrets import settle, take
from orcha._service.verbs.petition_lookup import may_do
from orcha._service.verbs.sights import Sights
from orcha.interfaces.built_in import COMMAND_MANAGER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orcha._protocol.messages import Item, Submit
    from orcha._server.server import Peer
    from orcha._service.arrays.new_arrays import NewArrays
    from orcha._service.beside import Beside
    from orcha._service.engine import Engine
    from orcha._service.submissions import Asker

# Looked up once: an attribute of an enumeration costs ten times a global name.
_REFUSED = Verdict.REFUSED

MAX_ID_BYTES = 1024
ROOTS_ALONE = (
    "this service is root's, and runs commands for root alone: start a service of your own (orcha serve --background)"
)


def submit(engine: Engine, peer: Peer, message: Submit) -> None:
    """Have each message converted; each verdict is answered when it is decided and kept."""
    if not message.items:
        engine.reply(peer, Submitted(message.request, []))
        return
    if message.secrets is not None:
        _take_with_secrets(engine, peer, message, message.secrets)
        return
    take_all(
        engine, Submission(peer, message, engine.outbox, engine.audit.submit_refused), message.items, message.manager
    )


def _take_with_secrets(engine: Engine, peer: Peer, message: Submit, secrets: Mapping[str, bytes]) -> None:
    submission = Submission(peer, message, engine.outbox, engine.audit.submit_refused)
    item = message.items[0]
    if len(message.items) > 1:
        wrong: str | None = "a message with secrets comes alone: send the others apart"
    else:
        wrong = take(engine, peer, item.token, secrets)
    if wrong is not None:
        for position in range(len(message.items)):
            submission.answer(position, _REFUSED, None, wrong)
        return
    take_all(engine, submission, message.items, message.manager)
    settle(engine, item.token)


def take_all(engine: Engine, asker: Asker, items: Sequence[Item], plugin: str | None) -> None:
    """Have messages for a plugin converted, unless none is taken now."""
    refusal = engine.refuses()
    for position, item in enumerate(items):
        _take(engine, new_tuple(Asked, (asker, position, item.channel)), item, plugin, refusal)


def _take(engine: Engine, asked: Asked, item: Item, plugin: str | None, refusal: tuple[int, None, str] | None) -> None:
    peer, token = asked.asker.peer, item.token
    if token in engine.submissions.undecided:
        engine.submissions.join(token, asked)
        return
    if token < engine.born and engine.submissions.is_kept(token, asked):
        return
    if refusal is not None:
        verdict, _, reason = refusal
        _refuse(engine, asked, item, verdict, reason)
        return
    malformed = _malformed(engine, peer, item)
    if malformed is not None:
        asked.asker.answer(asked.position, _REFUSED, None, malformed)
        return
    manager, why = engine.managers.choose(plugin, item.id)
    if manager is None:
        _refuse(engine, asked, item, _REFUSED, why)
        return
    if manager == COMMAND_MANAGER and peer.is_other and not geteuid():
        _refuse(engine, asked, item, _REFUSED, ROOTS_ALONE)
        return
    if engine.schedules.planned and (kept_for := of_somebodys_firing(engine, peer, str(item.id))) is not None:
        _refuse(engine, asked, item, _REFUSED, kept_for)
    elif engine.arrays.entries and engine.arrays.reserves(str(item.id)):
        _refuse(engine, asked, item, _REFUSED, f"the id {item.id!r} is that of an element of an array: choose another")
    elif manager != COMMAND_MANAGER or not (
        _take_apart(engine, asked, item, engine.new_arrays) or _take_apart(engine, asked, item, engine.beside)
    ):
        enter(engine, asked, item, (manager, peer.identity))


def _take_apart(engine: Engine, asked: Asked, item: Item, kind: NewArrays | Beside) -> bool:
    """Take a message that asks for an array, or for a command beside another one; False where it does not."""
    fields = kind.fields_of(item.extras)
    if fields is None:
        return False
    is_cancelled = item.token in engine.tombstones  # what would begin at once is refused: it has no end to be given
    wrong = BEFORE_IT_CAME if is_cancelled else taken_by(engine, str(item.id), asked.asker.peer)
    wrong = wrong or kind.take(asked, item, asked.asker.peer.identity, fields)
    if wrong is not None:
        _refuse(engine, asked, item, _REFUSED, wrong)
    elif kind is engine.beside:
        other = engine.find(str(fields["beside"]))
        owners = [] if other is None else [other.owner]
        engine.audit.note(asked.asker.peer, Named("exec", [str(fields["beside"])], owners))
    return True


def enter(
    engine: Engine, asked: Asked, item: Item, whose: tuple[str, str], after: Mapping[str, bool] | None = None
) -> None:
    """Have a message converted by a manager, as a petition of an owner, unless its id is taken.

    It waits for the petitions whose ids are in `after`, beside the petitions that it names itself.
    """
    token, identity, extras, channel = item
    petitions = engine.petitions
    manager, owner = whose
    mine = token if channel is None else channel
    record = Record(petitions.take_seq(), token, identity, manager, owner, mine, extras, petitions.now.wall)
    cancellation = transitions.cancel.cancelled(BEFORE_IT_CAME) if token in engine.tombstones else None
    if petitions.quotas is not None and (spent := petitions.quotas.refusal(owner)) is not None:
        _refuse(engine, asked, item, _REFUSED, spent.text())
        return
    known = transitions.submit.receive(petitions, record, cancellation, after)
    if known is None:
        engine.submissions.add(record, asked)
        engine.visits.convert(record)
        return
    _refuse(engine, asked, item, _REFUSED, taken_by(engine, record.key, asked.asker.peer) or "")


def of_somebodys_firing(engine: Engine, peer: Peer, key: str) -> str | None:
    """Say that an id is kept for a schedule of another user, whose firing would be refused if it were taken."""
    name, at, _ = key.partition("@")
    planned = engine.schedules.planned.get(name) if at else None
    if planned is None or may_act_for(peer, planned.schedule.owner):
        return None
    return f"the id {key!r} is that of a firing of somebody else's schedule: choose another"


def taken_by(engine: Engine, key: str, peer: Peer) -> str | None:
    """Say that an id is taken, where it is; by what, as far as the client may know."""
    if key not in engine.petitions.live:
        return None
    other = engine.find(key)
    if other is not None and Sights(engine, peer).of(other.owner) is not Sight.ALL:
        return f"the id {key!r} is taken by a petition of another user: choose another"
    state = state_of(other) if other is not None else "live"
    if other is not None and other.survivors:
        state = f"outlived by a process: {outlived(other.survivors)}"
    return f"the id {key!r} is taken by a petition that is {state}: wait for it, cancel it, or choose another"


def _refuse(engine: Engine, asked: Asked, item: Item, verdict: int, reason: str) -> None:
    """Refuse a message, unless its token is a petition that is kept: that one is meant, whatever is refused now."""
    if engine.submissions.is_kept(item.token, asked):
        return
    if item.channel is not None:
        engine.channels.drop_unused(item.channel)
    asked.asker.answer(asked.position, verdict, None, reason)


def _malformed(engine: Engine, peer: Peer, item: Item) -> str | None:
    token, identity, _, channel = item
    if len(token) != 16 or (channel is not None and len(channel) != 16):
        return "tokens and channels are 16 bytes"
    if len(str(identity)) > MAX_ID_BYTES // 4 and _is_long(identity):  # a character has four bytes at most
        return f"an id is at most {MAX_ID_BYTES} bytes"
    known = engine.channels.known(token if channel is None else channel)
    if known is None and channel is not None:
        engine.channels.create(channel, peer.identity, own=False)
    elif known is not None and known.owner != peer.identity and not may_do(engine, peer, Deed.SUBMIT, known.owner):
        return SOMEBODY_ELSES if channel is None else "this channel belongs to somebody else"
    return None


def _is_long(identity: str | int) -> bool:
    """Tell whether an id is too long."""
    return len(str(identity).encode("utf-8", "surrogatepass")) > MAX_ID_BYTES
