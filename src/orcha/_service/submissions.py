"""Messages that are not decided yet, and the submit that is answered about each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from orcha._core.authority import may_act_for
from orcha._core.permissions import Entrance
from orcha._core.tuples import new_tuple
from orcha._protocol.messages import Result, Submitted, Verdict

if TYPE_CHECKING:
    from orcha._core.changes import NewPetition
    from orcha._core.record import Record
    from orcha._protocol.messages import Submit
    from orcha._server.peer import Peer
    from orcha._service.channels.channel_book import ChannelBook
    from orcha._service.hooks.exclusive_keys import Once
    from orcha._service.outbox import Outbox
    from orcha._store.contract import Store

# Looked up once: an attribute of an enumeration costs ten times a global name.
_ACCEPTED, _KNOWN, _REFUSED = Verdict.ACCEPTED, Verdict.KNOWN, Verdict.REFUSED

_SOCKET = Entrance.SOCKET.value
_OF_SCHEDULES = "@"
"""The sign in the ids of petitions that a schedule asks for: by it a row tells that no client did."""

SOMEBODY_ELSES = "this token is somebody else's"

Tells = Callable[[Any, Any, str], None]
"""Takes a client, the item of a submit that was refused, and the reason."""


class Asker(Protocol):
    """A source of messages that is answered about each: a client's submit or retry, or code that runs here."""

    @property
    def peer(self) -> Any:
        """The client; code that runs here has no connection, and stands for the owner of the service."""

    @property
    def credit(self) -> int:
        """How much of a new petition's channel may be sent at once; 0 where its records are not to be sent."""

    def answer(self, position: int, verdict: int, channel: bytes | None, reason: str | None) -> None:
        """Take the verdict of the message at a position."""


class Submission:
    """The submit of a client, and what has been answered so far."""

    __slots__ = ("_due", "_items", "_notes", "_outbox", "_request", "_results", "_tells", "credit", "peer")

    def __init__(self, peer: Peer, message: Submit, outbox: Outbox, tells: Tells) -> None:
        """Gather answers for a message; `tells` takes each refusal."""
        self._items = message.items
        self._tells = tells
        self.peer = peer
        self.credit = message.credit
        self._request = message.request
        self._outbox = outbox
        self._results: list[Result] = []
        self._notes: list[str] = []
        self._due = False

    def answer(self, position: int, verdict: int, channel: bytes | None, reason: str | None) -> None:
        """Add an answer; the answers of one batch go out together."""
        self._results.append(Result(position, verdict, channel, reason))
        if verdict == _REFUSED:
            self._tells(self.peer, self._items[position], reason or "")
        if not self._due:
            self._due = True
            self._outbox.after(self._send)

    def _send(self) -> None:
        results, self._results = self._results, []
        notes, self._notes = self._notes, []
        self._due = False
        self._outbox.reply(self.peer, Submitted(self._request, results, notes))

    def note(self, text: str) -> None:
        """Tell people something with the next answers."""
        self._notes.append(text)


class Asked(NamedTuple):
    """One message that somebody asks to be taken, and is answered about."""

    asker: Asker
    position: int
    """Where the message stands in the submit."""
    channel: bytes | None
    """The channel that the message names; None where its petition has its own."""


class Undecided(NamedTuple):
    """A petition that is neither kept nor refused yet."""

    record: Record
    asked: list[Asked]
    """Who asked for it by its token and is to be answered, the first one first."""


class Submissions:
    """The petitions that are undecided, by token; the engine thread's."""

    def __init__(self, channels: ChannelBook, outbox: Outbox, store: Store, once: Once) -> None:
        """Prepare.

        Args:
            channels: what an asker follows from the acceptance on.
            outbox: the clients that are still there.
            store: the petitions that are kept.
            once: the petitions to which others with the same key are attached.

        """
        self._channels = channels
        self._outbox = outbox
        self._store = store
        self._once = once
        self.undecided: dict[bytes, Undecided] = {}
        self._noted: dict[bytes, Peer] = {}
        """The clients that ask for petitions whose rows do not tell of that, by token."""
        self.has_noted = False
        """Whether there has been any such client; most services have none."""
        self._told: dict[bytes, str] = {}
        """Lines for the submitter of a petition when the petition is accepted, by token."""

    def add(self, record: Record, asked: Asked) -> None:
        """Note that a petition is to be decided."""
        self.undecided[record.token] = new_tuple(Undecided, (record, [asked]))
        peer = asked.asker.peer
        if not _is_told_by_row(record, peer):
            self._noted[record.token] = peer
            self.has_noted = True

    def join(self, token: bytes, asked: Asked) -> None:
        """Have somebody else answered too about the petition of this token, which is undecided."""
        undecided = self.undecided[token]
        if may_act_for(asked.asker.peer, undecided.record.owner):
            undecided.asked.append(asked)
        else:
            asked.asker.answer(asked.position, _REFUSED, None, SOMEBODY_ELSES)

    def may_name(self, record: Record) -> Callable[[str], bool]:
        """Give what tells of an owner whether who asks for a petition may have it wait for petitions of that owner."""
        peer = self.undecided[record.token].asked[0].asker.peer
        return lambda owner: may_act_for(peer, owner)

    def noted(self, kept: Iterable[NewPetition]) -> list[tuple[Peer, NewPetition]]:
        """Give the petitions among these whose rows do not tell of their submit, each with the client that asks."""
        return [(peer, new) for new in kept if (peer := self._noted.get(new.token)) is not None]

    def tell(self, record: Record, text: str) -> None:
        """Have who asks for a petition that is undecided told something about it, when it is accepted."""
        if record.token in self.undecided:
            self._told[record.token] = text

    # --- what became of it --------------------------------------------------------------------------------------

    def accepted(self, record: Record, _: object = None) -> None:
        """Tell who asked that a petition is kept, and send what comes on its channel."""
        (asker, position, named), *others = self._decide(record.token)
        self._follow(asker, record.channel)
        if self._told and (told := self._told.pop(record.token, None)) is not None and isinstance(asker, Submission):
            asker.note(told)
        asker.answer(position, _ACCEPTED, None if named else record.channel, None)
        for asked in others:
            self._known(asked, record.channel)

    def refused(self, record: Record, verdict: int, reason: str) -> None:
        """Tell who asked that a petition is not kept, or (KNOWN) that it was kept before."""
        everyone = self._decide(record.token)
        self._told.pop(record.token, None)
        row = self._store.tokens([record.token]).get(record.token)
        if row is None:
            self._channels.drop_unused(record.channel)
        there = self._once.attached.pop(record.token, None)
        for asked in everyone:
            asker, position, _ = asked
            if there is not None:
                self._follow(asker, there[0])
                asker.answer(position, _KNOWN, *there)
            elif row is not None and may_act_for(asker.peer, row.owner):
                self._known(asked, row.channel)
            elif verdict == _KNOWN:
                asker.answer(position, _REFUSED, None, SOMEBODY_ELSES)
            else:
                asker.answer(position, verdict, None, reason)

    def _decide(self, token: bytes) -> list[Asked]:
        """Give who is to be answered about a petition that is undecided no more."""
        if self.has_noted:
            self._noted.pop(token, None)
        return self.undecided.pop(token).asked

    def is_kept(self, token: bytes, asked: Asked) -> bool:
        """Answer where a token is that of a petition that is kept; False where it is new, or somebody else's."""
        row = self._store.tokens([token]).get(token)
        if row is None or not may_act_for(asked.asker.peer, row.owner):
            return False
        self._known(asked, row.channel)
        return True

    def _known(self, asked: Asked, channel: bytes) -> None:
        asker, position, named = asked
        self._follow(asker, channel)
        asker.answer(position, _KNOWN, None if named else channel, None)

    def _follow(self, asker: Asker, channel: bytes) -> None:
        known, peer = self._channels.get(channel), asker.peer
        if asker.credit > 0 and known is not None and peer.id in self._outbox.peers and peer.id not in known.followers:
            self._channels.follow(peer, known, 0, asker.credit)


def _is_told_by_row(record: Record, peer: Any) -> bool:
    """Tell whether the row of a petition tells who asked for the petition, and by which door."""
    if peer.door != _SOCKET:
        return not peer.door  # a schedule, or an array that makes its elements
    return not peer.key and _OF_SCHEDULES not in record.key and bool(peer.identity == record.owner)


__all__ = ["SOMEBODY_ELSES", "Asked", "Asker", "Submission", "Submissions"]
