"""Petitions that wait for the ends of others: which others they mean, and what becomes of them when those end."""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from orcha._core import transitions
from orcha._core.admission import petition_name
from orcha._core.changes import NewDependency
from orcha._core.dependencies import Dependency
from orcha._core.record import Phase, Record
from orcha._core.state import IfFails, Outcome, State
from orcha._protocol.messages import Verdict
from orcha._service.reports.command_text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from orcha._core.admission import Admission
    from orcha._core.dependencies import FailedDependency
    from orcha._core.effects import Final
    from orcha._core.petitions import Petitions
    from orcha._service.hooks.admitting import Admitting
    from orcha._service.lifecycle.stored_records import StoredPetitions
    from orcha._service.mailbox import Mailbox
    from orcha._store.contract import Store

MAX_FAILED_DEPENDENTS_PER_BATCH = 500
"""Petitions that end or are paused in one batch, since another one failed: any number may wait for that one."""

_ANY_STATE = sum(1 << state for state in State)
_WHEN_FAILS = {"cancel": IfFails.CANCEL, "hold": IfFails.HOLD, "run": IfFails.RUN}


class Change(NamedTuple):
    """What somebody wants of a petition's dependencies."""

    keeps: bool
    """Whether the petition goes on waiting for what it waited for before."""
    may_name: Callable[[str], bool]
    """Tells whether the petitions of an owner may be named by the client."""
    elements_of: Callable[[int], Iterable[int]]
    """Gives the elements of an array, for whose ends the array waits."""


class ChangedDependencies(NamedTuple):
    """What a petition waits for from now on."""

    kept: list[NewDependency]
    unmet: list[Dependency]
    if_fails: IfFails
    over: dict[int, Outcome | None]
    """Petitions that must succeed and have ended, and how."""


class Dependents:
    """Finds the petitions that a new one names, and follows up their ends; the engine thread's."""

    def __init__(
        self,
        petitions: Petitions,
        admission: Admission,
        admitting: Admitting,
        stored: StoredPetitions,
        store: Store,
        mailbox: Mailbox,
        after_batch: Callable[[Callable[[], None]], None],
        report: Callable[..., None],
    ) -> None:
        """Prepare.

        Args:
            petitions: the petitions.
            admission: holds back petitions that wait for others.
            admitting: lets petitions wait with the others again, and pauses them.
            stored: brings back the records of petitions that are only kept.
            store: what is kept of dependencies, and how petitions ended.
            mailbox: has the rest done later, where much is to be done.
            after_batch: has a call made once a batch is kept.
            report: writes to the log.

        """
        self._petitions = petitions
        self._admission = admission
        self._admitting = admitting
        self._stored = stored
        self._store = store
        self._mailbox = mailbox
        self._after_batch = after_batch
        self._report = report
        self.freed: Callable[[], None] = lambda: None
        """Told when petitions may go on that waited for others."""
        self._failed: deque[FailedDependency] = deque()

    # --- a new petition -----------------------------------------------------------------------------------------

    def admits(self, record: Record, may_name: Callable[[str], bool]) -> bool:
        """Tell whether a new petition is kept, as far as the petitions go that it waits for; else it is refused.

        `may_name` tells whether the petitions of an owner may be named by the client.
        """
        policy = getattr(record.petition, "policy", None)
        if not record.after or record.cancellation is not None:
            return True
        if_fails = IfFails.CANCEL if policy is None else _WHEN_FAILS[policy.if_dependency_fails]
        unmet: list[Dependency] = []
        kept: dict[int, NewDependency] = {}
        for name, must_succeed in record.after.items():
            found = self._find(name, may_name)
            if found is None or found[0] == record.seq:
                transitions.submit.refuse(self._petitions, record, Verdict.REFUSED, _unknown(name))
                return False
            seq, has_ended, outcome = found
            kept[seq] = NewDependency(seq, name, must_succeed, if_fails)
            if not has_ended or must_succeed:
                unmet.append(Dependency(seq, name, must_succeed))
            if has_ended and must_succeed:  # told once the petition is kept
                self._after_batch(partial(self.note_end, seq, outcome))
        self._petitions.keep_dependencies(record.seq, list(kept.values()))
        self._admission.dependencies.add(record.seq, unmet, if_fails)
        self._petitions.note_change()  # where all have ended the petition is to be asked
        return True

    # --- a petition that people change --------------------------------------------------------------------------

    def plan(
        self, seqs: Collection[int], named: Mapping[str, bool], policy: str | None, change: Change
    ) -> ChangedDependencies | str:
        """Give what a petition would wait for, or why it cannot wait for that; nothing is changed yet.

        Args:
            seqs: the petition, and where it is an array the elements that are petitions: none may come before itself.
            named: the petitions that it is to wait for as well, by id, and whether each must succeed.
            policy: what its policy says of a dependency that fails.
            change: which of the petition's dependencies stay, and for whom this is.

        """
        seq = next(iter(seqs))
        before = self._store.dependencies([seq]) if change.keeps else []
        if_fails = _WHEN_FAILS.get(policy or "cancel", IfFails.CANCEL)
        if any(each.if_fails is IfFails.HELD for each in before):
            if_fails = IfFails.HELD  # it was paused since one failed: no failure counts any more
        kept = {each.after: NewDependency(each.after, each.id, each.must_succeed, if_fails) for each in before}
        unmet = {
            each.after: Dependency(each.after, each.id, each.must_succeed) for each in before if not each.has_ended
        }
        over: dict[int, Outcome | None] = {}
        for name, must_succeed in named.items():
            found = self._find(name, change.may_name)
            if found is None:
                return _unknown(name)
            other, has_ended, outcome = found
            if (circle := self._circle(other, name, seqs, change)) is not None:
                return circle
            kept[other] = NewDependency(other, name, must_succeed, if_fails)
            unmet.pop(other, None)
            if not has_ended or must_succeed:
                unmet[other] = Dependency(other, name, must_succeed)
            if has_ended and must_succeed:
                over[other] = outcome
        return ChangedDependencies(list(kept.values()), list(unmet.values()), if_fails, over)

    def _circle(self, other: int, name: str, seqs: Collection[int], change: Change) -> str | None:
        """Give why a petition cannot wait for another one: that one waits for the petition, or is the petition."""
        for seq in seqs:
            way = self._admission.dependencies.way(other, seq, change.elements_of)
            if way == [] and other == seq:
                return f"{name!r} cannot wait for itself"
            if way is not None:
                over = " after ".join(map(repr, [name, *way]))
                return f"it cannot wait for {name!r}, which waits for it already ({over}): take that back first"
        return None

    def change(self, seq: int, changed: ChangedDependencies) -> None:
        """Have a petition wait for what was planned."""
        dependencies = self._admission.dependencies
        held = dependencies.held.get(seq)
        dependencies.drop(seq)
        dependencies.add(seq, changed.unmet, changed.if_fails)
        if held is not None and changed.if_fails is IfFails.HELD:
            dependencies.hold(seq, held)
        for other, outcome in changed.over.items():  # told once that is kept
            self._after_batch(partial(self.note_end, other, outcome))

    def _find(self, name: str, may_name: Callable[[str], bool]) -> tuple[int, bool, Outcome | None] | None:
        """Give a petition by its id, the live one or else the newest: its seq, and whether and how it has ended."""
        known = self._petitions.live.get(name)
        record = known if known is None or isinstance(known, Record) else self._stored.find(name)
        if record is not None and record.phase is not Phase.CONVERTING:
            found = record.seq, record.state is State.ENDED, record.outcome
            return found if may_name(record.owner) else None
        row = next(iter(self._store.page(states=_ANY_STATE, limit=1, id=name)), None)
        if row is None or not may_name(row.owner):
            return None
        return row.seq, row.state is State.ENDED, row.outcome

    # --- an end -------------------------------------------------------------------------------------------------

    def ended(self, finals: Iterable[Final]) -> None:
        """Note which petitions ended, so that dependents are asked together with others for what that left free.

        What these become is kept with the ends, or later.
        """
        dependencies = self._admission.dependencies
        for final in finals:
            dependencies.drop(final.record.seq)
            if dependencies.has_dependents(final.record.seq):
                self.note_end(final.record.seq, final.record.outcome)

    def note_end(self, seq: int, outcome: Outcome | None) -> None:
        """Follow up the end of a petition; the outcome is None where nobody knows it any more."""
        self._failed += self._admission.note_end(seq, outcome)
        self._go_on()

    def refused(self, record: Record) -> None:
        """Forget a petition that was not kept after all; others that name it wait for nothing that can still end."""
        dependencies = self._admission.dependencies
        dependencies.drop(record.seq)
        if dependencies.has_dependents(record.seq):
            self.note_end(record.seq, None)

    def _go_on(self) -> None:
        """End or pause a part of what fails; after the last part let what is free wait with the others."""
        part = [self._failed.popleft() for _ in range(min(len(self._failed), MAX_FAILED_DEPENDENTS_PER_BATCH))]
        names = {row.seq: row.id for row in self._store.rows([failed.petition for failed in part])}
        later = [each for each in part if each.petition not in names and each.petition in self._petitions.records]
        for failed in part:
            if failed.petition in names:
                self._fail(failed, names[failed.petition])
        if later:  # they are accepted in this batch, and are not kept yet
            self._after_batch(partial(self._fail_later, later))
        if self._failed:
            self._mailbox.post(self._go_on)
        else:
            self._admitting.go_on()
            self.freed()

    def _fail_later(self, failed: list[FailedDependency]) -> None:
        self._failed += failed
        self._go_on()

    def _fail(self, failed: FailedDependency, name: str) -> None:
        record = self._stored.find(name)
        if record is None or record.seq != failed.petition or record.state not in {State.QUEUED, State.HELD}:
            return
        if failed.if_fails is IfFails.HOLD:
            self._admission.hold_failed(failed)
            self._petitions.keep_held(record.seq)
            self._admitting.pause(petition_name(record.seq))
            self._report(logging.INFO, "petition %s is paused: %s did not succeed", record.key, failed.on.id)
            return
        reason = f"cancelled: it comes after {failed.on.id!r}, which did not succeed"
        transitions.cancel.cancel(self._petitions, record, transitions.cancel.cancelled(reason), self._petitions.now)

    # --- the start of a service ---------------------------------------------------------------------------------

    def load(self) -> None:
        """Take over what is kept: what waits for what, and what ended while nobody followed it up."""
        dependencies = self._admission.dependencies
        unmet: dict[int, list[Dependency]] = {}
        policies: dict[int, IfFails] = {}
        over: dict[int, Outcome | None] = {}
        for kept in self._store.dependencies_of_live():
            policies[kept.petition] = kept.if_fails
            has_failed = kept.has_ended and kept.must_succeed and kept.outcome is not Outcome.SUCCEEDED
            if has_failed and kept.if_fails is IfFails.HELD:
                dependencies.hold(kept.petition, kept.id)
            if not kept.has_ended or kept.must_succeed:
                unmet.setdefault(kept.petition, []).append(Dependency(kept.after, kept.id, kept.must_succeed))
            if kept.has_ended and kept.must_succeed:
                over[kept.after] = kept.outcome
        for petition, waits_for in unmet.items():
            dependencies.add(petition, waits_for, policies[petition])
        for seq, outcome in over.items():
            self._mailbox.post(self.note_end, seq, outcome)


def _unknown(name: str) -> str:
    which = quoted(name)
    return f"there is no petition {which} to wait for: orcha ps --all shows the petitions that wait, run or are kept"
