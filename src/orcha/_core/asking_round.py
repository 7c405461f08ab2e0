"""One round of asking waiting petitions whether they may start: in which order, when asking stops, and who starts.

A round decides and calls nothing. It yields each petition whose own condition is to be asked, and receives what that
said; the driver of the round makes the call. What a condition said is kept with the petition it was asked about, so
the decision and its explanation are the same.
"""

from __future__ import annotations

from enum import IntEnum
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.converted import Converted
from orcha._core.fairness import Turns
from orcha._core.reasons import InOrder
from orcha._core.tuples import new_tuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Generator, Iterable, Sequence

    from orcha._core.admission import Admission
    from orcha._core.converted import Candidate
    from orcha._core.fairness import Fairness, Lane
    from orcha._core.granted import GrantedSlots
    from orcha._core.reasons import Reason
    from orcha._core.record import Record

MAX_REFUSALS_PER_ROUND = 32
"""How many of the first waiting petitions may say no before a round ends."""
MAX_REPEATS_PER_ROUND = 8
"""How often a round asks petitions that said no again, because something ended meanwhile."""


class Answer(IntEnum):
    """What a condition said."""

    YES = 1
    NO = 2
    BROKEN = 3


# Bound once: an attribute of an enumeration costs ten times a global name.
YES, NO, BROKEN = Answer.YES, Answer.NO, Answer.BROKEN


class Said(NamedTuple):
    """What a petition's own condition said."""

    answer: Answer
    why: Reason | None = None
    """The reason of a no."""
    error: str | None = None
    """What went wrong, where the condition is broken."""
    for_all: bool = False
    """Whether each other petition of the same manager would hear the same no."""
    at: float | None = None
    """When it was asked, on the steady clock; None where its answer depends on nothing but the service."""


class Answered(NamedTuple):
    """The result of a round for one petition."""

    record: Record
    answer: Answer
    why: Reason | None = None
    error: str | None = None
    asked: float | None = None
    """When its own condition was asked; None where what it declares blocks it."""


class Round:
    """Some waiting petitions, in order, and what became of asking them.

    The engine makes a round and hands it to the hook thread, which drives it. Each yes is entered into the book of
    granted slots before the next petition is yielded. When the round is over, or was given up, the engine takes what
    it found out.
    """

    __slots__ = (
        "_asked_at",
        "_closed",
        "again",
        "always",
        "answers",
        "by_time",
        "cut",
        "fairness",
        "heard",
        "is_sampling",
        "left_out",
        "look_ahead",
        "may_start",
        "new",
        "noes",
        "opaque",
        "repeats",
        "sample",
        "sampled",
        "unchanged",
        "version",
        "waiting",
        "yeses",
    )

    def __init__(
        self,
        waiting: list[Record],
        sample: Sequence[Record] = (),
        *,
        look_ahead: int | None = None,
        by_time: bool = False,
        version: int = 0,
        always: Collection[int] = (),
        fairness: Fairness | None = None,
        cut: Container[Lane] = (),
    ) -> None:
        """Take the first waiting petitions in order, then some further ones.

        Args:
            waiting: petitions that are asked in order.
            sample: petitions far behind the first; each is asked, whatever the others say.
            look_ahead: how many of the first ones may be considered at all; None for any number.
            by_time: whether nothing has happened, and only time has passed since they were asked last.
            version: of the petitions, when the round is handed over.
            always: sequences of the petitions that are asked however many before them say no.
            fairness: what each owner has in use, where there are petitions of several.
            cut: the owners that have more petitions than are among the first ones.

        """
        self.waiting = waiting
        self.sample = sample
        self.look_ahead = look_ahead
        self.by_time = by_time
        self.version = version
        self.always = always
        self.fairness = fairness
        self.cut = cut
        self.may_start = True
        """Whether a yes counts. It does not while people hold everything back: the round knows nothing of the petitions
        that wait then, and these go first where everything goes on before the round is over."""
        self.new: list[Converted] = []
        """Petitions that have just come, and are asked with the others for the first time."""
        self.again: dict[int, Converted] = {}
        """What was found out in this visit about petitions whose object had to be made again, by sequence."""
        self.answers: list[Answered] = []
        """New results, in the order in which the petitions were asked."""
        self.unchanged: list[tuple[Record, float | None]] = []
        """Petitions that said the same no as before, and when they were asked."""
        self.noes = 0
        """How many said no since asking began, or began anew."""
        self.yeses = 0
        """How many said yes and may start."""
        self.repeats = 0
        self.heard: tuple[str, Reason] | None = None
        """The manager whose petitions all hear the same no, with that no, where that was found out and nothing has
        been let start since."""
        self.opaque = False
        """Whether a plugin's condition said no: nobody knows what such a condition depends on."""
        self.left_out = False
        """Whether a petition was not asked, or may not start yet, since the next round asks one before it first."""
        self.is_sampling = False
        self.sampled = 0
        """How many of the sample were asked."""
        self._closed: dict[str, Reason] = {}
        """Managers whose petitions may not start now, with the reason."""
        self._asked_at: float | None = None

    def ask(  # noqa: C901, PLR0912, PLR0915 - one loop, since each call for a petition costs as much as its condition
        self, admission: Admission, granted: GrantedSlots, version: Callable[[], int]
    ) -> Generator[Candidate, Said, None]:
        """Yield each petition whose condition is to be asked, in order; each yes counts before the next is yielded.

        Of several owners the order is that of what each of them has in use when the next petition is yielded.

        Of the petitions that waited before, `MAX_REFUSALS_PER_ROUND` may say no. A petition that has just come is asked
        once in any case, so that a queue of blocked petitions hides nobody. With `look_ahead` only that many of the
        first petitions are considered.

        With several owners a start may bring a petition forward in its line for a resource. That petition is asked in
        the next round, and a later petition, which might take its slot, is asked after it.

        A yes counts where nothing has ended since others said no. Else the others are asked once more first,
        from the first one on: otherwise a later petition would take what an earlier one waits for. `version` gives the
        number that rises whenever something ends.
        """
        blocked_by = admission.blocked_by
        fresh = {converted.seq for converted in self.new}
        if self.always:
            fresh.update(self.always)
        candidates = self._firsts(fresh)
        while candidates:
            refused: list[Candidate] = []
            patience, again = MAX_REFUSALS_PER_ROUND, candidates[:0]
            closed, closed_by, is_over = "", None, False
            turns: Iterable[Candidate] = candidates
            fair: Turns | None = None
            if self.fairness is not None and not self.is_sampling:
                turns = fair = Turns(self.fairness, candidates, cut=self.cut, fresh=fresh)
            for position, candidate in enumerate(turns):
                if closed and candidate.why is closed_by and candidate.manager == closed and patience > 0:
                    self.noes += 1  # as below, in a fifth of the steps: most that wait hear what they heard before
                    refused.append(candidate)
                    patience -= 1
                    continue
                is_new = candidate.seq in fresh
                if self.is_sampling:
                    self.sampled = len(self.sample) - (len(candidates) - position - 1)
                elif patience <= 0 and not is_new:
                    if not fresh:
                        break
                    continue
                if candidate.petition is None:
                    continue
                record = candidate.record if isinstance(candidate, Converted) else candidate
                if self._closed and self._is_closed(record):
                    pass
                elif fair is not None and self.yeses and admission.resources.goes_before(candidate.place):
                    self.answers.append(new_tuple(Answered, (record, NO, InOrder(1), None, None)))
                    self.left_out, is_over = True, not fresh
                elif (blocked := blocked_by(candidate)) is not None:
                    self.answers.append(new_tuple(Answered, (record, NO, blocked, None, None)))
                else:
                    answer, why, error, for_all, at = yield candidate
                    if answer is YES:
                        if not self.may_start:
                            continue  # it is asked again, with the petitions that wait
                        if self.noes and self._something_ended(version()):
                            left = candidates[position:] if fair is None else [candidate, *fair.rest()]
                            again = [*refused, *left]
                            break
                        granted.take(candidate)
                        if granted.start_logs:
                            granted.note_yes(candidate)
                        if fair is not None and candidate.needs:
                            admission.resources.note_taken(candidate.place, candidate.needs)
                        self.yeses += 1
                        self.heard = None
                    if answer is not NO:
                        self.answers.append(new_tuple(Answered, (record, answer, None, error, at)))
                        continue
                    if at is not None:
                        self.opaque = True
                    if for_all and why is not None:
                        self._closed[record.manager] = why
                        self._asked_at = at
                        if at is None and not self.is_sampling:
                            closed, closed_by = self.heard = record.manager, why
                            if fair is None and not fresh:
                                is_over = self._heard(why, closed, candidates[position + 1 : position + patience])
                    known = record.why
                    if (
                        known is not None
                        and (known is why or known == why)
                        and candidate.group is None
                        and not candidate.needs
                    ):
                        self.unchanged.append((record, at))
                    else:
                        self.answers.append(new_tuple(Answered, (record, NO, why, None, at)))
                self.noes += 1
                if is_over:
                    break
                refused.append(candidate)
                patience -= not is_new
            candidates = again or (self._next_sample() if self.sample else again)

    def _firsts(self, fresh: set[int]) -> Sequence[Candidate]:
        """Give the first waiting petitions, merged in order with the petitions that have just come."""
        waiting = self._as_converted(self.waiting) if self.again else self.waiting
        candidates = in_order(waiting, self.new)
        if self.look_ahead is not None:
            candidates = [candidate for candidate in candidates if candidate.petition is not None]
            if self.fairness is not None:
                candidates = list(Turns(self.fairness, candidates))
            self.left_out = not fresh.isdisjoint(candidate.seq for candidate in candidates[self.look_ahead :])
            candidates = candidates[: self.look_ahead]
        return candidates or self._next_sample()

    def _next_sample(self) -> Sequence[Candidate]:
        """Give the petitions far behind the first, once."""
        if self.is_sampling:
            return []
        self.is_sampling = True
        return self._as_converted(self.sample) if self.again else self.sample

    def _as_converted(self, records: Iterable[Record]) -> Sequence[Candidate]:
        return [self.again.get(record.seq, record) for record in records]

    def stop_sampling(self) -> None:
        """End early, where enough of the sample was asked: the petition that was yielded last is not asked."""
        self.sampled -= 1

    def _is_closed(self, record: Record) -> bool:
        """Tell whether a petition hears the no that all of its manager hear, which is noted then."""
        closed = self._closed.get(record.manager)
        if closed is None:
            return False
        if record.why is closed or (record.why is not None and record.why == closed):
            self.unchanged.append((record, self._asked_at))
        else:
            self.answers.append(new_tuple(Answered, (record, NO, closed, None, self._asked_at)))
        return True

    def _heard(self, why: Reason, manager: str, others: Sequence[Candidate]) -> bool:
        """Count the noes of the petitions that a round would ask next, where all heard the same no before.

        Of a deep queue they did, and are not looked at one by one: that took half of a round.
        """
        if [each for each in others if each.why is not why or each.manager != manager]:
            return False
        self.noes += len(others)
        return True

    def _something_ended(self, version: int) -> bool:
        """Tell whether petitions that said no may say yes by now; then they are asked anew.

        That happens a few times only. A yes is never lost: a petition that has just come would not be asked again
        behind many that are blocked.
        """
        if version == self.version or self.repeats >= MAX_REPEATS_PER_ROUND:
            return False
        self.version = version
        self.repeats += 1
        self.noes = 0
        self._closed.clear()
        return True


def in_order(waiting: Sequence[Candidate], new: Sequence[Candidate]) -> Sequence[Candidate]:
    """Merge what waits, in order, with what has just come, by (priority, sequence): lower first."""
    if not waiting and len(new) == 1:
        return new
    return sorted([*waiting, *new], key=_place) if new else waiting


_place = attrgetter("priority", "seq")


__all__ = [
    "BROKEN",
    "MAX_REFUSALS_PER_ROUND",
    "MAX_REPEATS_PER_ROUND",
    "NO",
    "YES",
    "Answer",
    "Answered",
    "Round",
    "Said",
    "in_order",
]
