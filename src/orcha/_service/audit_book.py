"""What clients do and try, as it is kept and told: each deed once, with the client, the door, and what came of it.

A deed is kept in the transaction that keeps what it changed, where its verb decides at once. An accepted submit needs
no entry where its petition's row says who asked for it and when: `submissions.py` knows where the row does not.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._core.changes import AuditEntry
from orcha._protocol.messages import Reply, Verdict
from orcha._service.reports.explanations import cleaned
from orcha._service.reports.user_names import user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orcha._core.changes import NewPetition
    from orcha._core.petitions import Petitions
    from orcha._protocol.messages import Item
    from orcha._server.client_login import ClientLogin
    from orcha._server.peer import Peer
    from orcha._service.outbox import Outbox

MAX_NAMED_IDS = 20
"""Ids that an entry names at most."""
MAX_REFUSALS_PER_MINUTE = 60
"""Refusals of one client that are kept within a minute: nobody fills the disk with what is not allowed."""
MAX_TEXT_CHARACTERS = 300
LOGIN = "login"
"""The verb of logins, which admins alone are told of."""
DONE, REFUSED, FAILED = "done", "refused", "failed"
_OUTCOMES = {Verdict.OK: DONE, Verdict.RAISED: FAILED}


class Named(NamedTuple):
    """What a message is about, as people name it."""

    verb: str
    ids: Sequence[str] = ()
    owners: Sequence[str] = ()
    why: str = ""
    only_looks: bool = False
    """Whether it is told only where it was refused."""
    is_at_once: bool = False
    """Whether it is done before it is answered: a cancel is answered at the end of the petition."""


class AuditBook:
    """Keeps entries with the changes of petitions, and writes them to the log; the engine thread's."""

    def __init__(
        self,
        petitions: Petitions,
        outbox: Outbox,
        post: Callable[..., None],
        report: Callable[..., None],
    ) -> None:
        """Prepare.

        Args:
            petitions: whose changes are kept next.
            outbox: tells of the answers to clients.
            post: has the engine make a call.
            report: writes to the log.

        """
        self._petitions = petitions
        self._outbox = outbox
        self._post = post
        self._report = report
        self.logs = False
        """Whether entries are written to the log, too."""
        self._open: dict[tuple[int, int], tuple[Peer, Named]] = {}
        """Deeds that have not been answered, by client and request."""
        self._is_handling = False
        self.noted_number = 0
        """Entries since the start."""
        self._refusals: dict[str, tuple[float, int]] = {}
        """Since when the refusals of a client are counted, and how many there were."""

    # --- a message that may be a deed ---------------------------------------------------------------------------

    def begins(self, peer: Peer, message: Any, named: Named) -> None:
        """Note that a verb is about to run."""
        self._open[peer.id, message.request] = peer, named
        self._outbox.told = self.answered
        self._is_handling = True

    def handled(self, peer: Peer, message: Any) -> None:
        """Note that a verb has run, which may not have been answered."""
        self._is_handling = False
        open_one = self._open.get((peer.id, message.request))
        if open_one is not None and open_one[1].only_looks:
            self._close(peer, message.request)
        elif open_one is not None and open_one[1].is_at_once:
            self._close(peer, message.request)
            self.note(peer, open_one[1])

    def answered(self, peer: Peer, message: Any) -> None:
        """Take the answer of a deed."""
        if type(message) is not Reply:
            return
        found = self._close(peer, message.request)
        if found is None:
            return
        outcome = _OUTCOMES.get(message.verdict, REFUSED)
        if found.only_looks and (outcome == DONE or message.verdict == Verdict.UNKNOWN or not found.ids):
            return
        if self._is_handling:
            self.note(peer, found, outcome=outcome, reason=message.reason or "")
        else:
            self._post(lambda: self.note(peer, found, outcome=outcome, reason=message.reason or ""))

    def _close(self, peer: Peer, request: int) -> Named | None:
        found = self._open.pop((peer.id, request), None)
        if not self._open:
            self._outbox.told = None
        return None if found is None else found[1]

    def left(self, peer: Peer) -> None:
        """Note that a client is gone whose deeds have not been answered."""
        for key in [key for key in self._open if key[0] == peer.id]:
            named = self._close(peer, key[1])
            if named is not None:
                self.note(peer, named, reason="the client left before the answer")

    def selected(self, peer: Peer, request: int, ids: Sequence[str], owners: Iterable[str], refused: int) -> None:
        """Note that a verb was done to all petitions that a selector met."""
        found = self._close(peer, request)
        if found is not None:
            reason = f"{refused} of them refused" if refused else ""
            known = found._replace(ids=ids, owners=tuple(dict.fromkeys(owners)))
            self.note(peer, known, count=len(ids) - refused, reason=reason)

    def submit_refused(self, peer: Peer, item: Item, reason: str) -> None:
        """Note that a petition was refused."""
        self._post(self.refused, peer, Named("submit", [str(item.id)], [peer.identity]), reason)

    def submitted(self, peer: Peer, new: NewPetition) -> None:
        """Note that a client has asked for a petition that is about to be kept, and whose row does not tell it."""
        self.note(peer, Named("submit", [new.id], [new.owner]), petition=new.seq)

    # --- what is kept -------------------------------------------------------------------------------------------

    def note(
        self,
        peer: Peer,
        named: Named,
        *,
        count: int | None = None,
        outcome: str = DONE,
        reason: str = "",
        petition: int | None = None,
    ) -> None:
        """Keep what a client did or tried, with the next transaction."""
        if outcome == REFUSED and self._are_many(peer):
            return
        entry = AuditEntry(
            self._petitions.now.wall,
            peer.identity,
            peer.key,
            peer.door,
            peer.host,
            named.verb,
            tuple(_short(each) for each in named.ids[:MAX_NAMED_IDS]),
            len(named.ids) if count is None else count,
            tuple(named.owners[:MAX_NAMED_IDS]),
            _short(named.why),
            outcome,
            _short(reason),
            petition,
        )
        self._keep(entry)

    def logged_in(self, login: ClientLogin, count: int) -> None:
        """Keep that a client came in, or was refused, and how many times since that was kept last."""
        outcome, now = REFUSED if login.reason else DONE, self._petitions.now.wall
        who = login.who, login.key, login.door, login.host
        self._keep(AuditEntry(now, *who, LOGIN, (), count, (), "", outcome, _short(login.reason), None))

    def _keep(self, entry: AuditEntry) -> None:
        self._petitions.changes.audit.append(entry)
        self.noted_number += 1
        if self.logs:
            self._report(logging.INFO, "%s", _Told(entry))

    def refused(self, peer: Peer, named: Named, reason: str) -> None:
        """Keep that a client tried what it may not do, or what cannot be; a look only where it was at something named.

        A command may look at more than its user asked for, and do without that.
        """
        if named.ids or not named.only_looks:
            self.note(peer, named, outcome=REFUSED, reason=reason)

    def _are_many(self, peer: Peer) -> bool:
        """Tell whether as many refusals of a client were kept within this minute as are kept at most."""
        now = self._petitions.now.steady
        begun, count = self._refusals.get(peer.identity, (now, 0))
        if now - begun >= 60:
            begun, count = now, 0
        self._refusals[peer.identity] = begun, count + 1
        if count == MAX_REFUSALS_PER_MINUTE:
            text = "%d refusals of %s are kept within a minute: no more are until it is over"
            self._report(logging.WARNING, text, count, user(peer.identity))
        return count >= MAX_REFUSALS_PER_MINUTE


class _Told:
    """An entry as the log has it."""

    __slots__ = ("_entry",)

    def __init__(self, entry: AuditEntry) -> None:
        self._entry = entry

    def __str__(self) -> str:
        entry = self._entry
        by = ", ".join(filter(None, (f"key {entry.key}" * bool(entry.key), entry.door, entry.host)))
        what = " ".join((entry.verb, *entry.ids[:1]))
        more = f" and {entry.total - 1} more" if entry.total > 1 else ""
        if entry.verb == LOGIN:
            more = f" {entry.total} times" if entry.total > 1 else ""
        end = "" if entry.outcome == DONE else f": {entry.outcome}"
        said = f" ({entry.why})" if entry.why else ""
        reason = f": {entry.reason}" if entry.reason else ""
        return cleaned(f"deed of {user(entry.who)} ({by}): {what}{more}{said}{end}{reason}")

    def event_fields(self) -> dict[str, object]:
        """Give what programs want to know."""
        entry = self._entry
        known = {
            "event": "deed",
            "user": user(entry.who),
            "verb": entry.verb,
            "id": entry.ids[0] if len(entry.ids) == 1 else None,
            "count": entry.total,
            "door": entry.door,
            "key": entry.key,
            "host": entry.host,
            "why": entry.why,
            "outcome": entry.outcome,
            "reason": entry.reason,
        }
        return {name: value for name, value in known.items() if value not in {None, ""}}


def _short(text: str) -> str:
    """Give a text that a store takes, no longer than people read."""
    return cleaned(text)[:MAX_TEXT_CHARACTERS] if text else ""


__all__ = ["DONE", "FAILED", "LOGIN", "REFUSED", "AuditBook", "Named"]
