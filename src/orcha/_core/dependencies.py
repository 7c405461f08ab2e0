"""Which petitions wait for the end of which others, and what becomes of them when a petition that must succeed fails.

A petition names others when it is accepted, and each of those is live or has ended then: so no two petitions wait for
each other. Where people change later what a petition waits for, `way` tells whether that would make a circle. A
dependency is met when the other petition has ended; where that must succeed, only by that outcome.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orcha._core.reasons import AfterOthers
from orcha._core.state import IfFails, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# Looked up once: an attribute of an enumeration costs ten times a global name.
_SUCCEEDED = Outcome.SUCCEEDED

MAX_NAMED_DEPENDENCIES = 3
"""Ids that a reason names; it counts the others."""


class Dependency(NamedTuple):
    """One petition that another petition waits for."""

    seq: int
    """The sequence number of the petition that is waited for."""
    id: str
    must_succeed: bool
    """Whether any other end than success makes the waiting petition fail, too."""


class FailedDependency(NamedTuple):
    """A dependency that is not met any more, since the other petition did not succeed."""

    petition: int
    """The sequence number of the petition that waited."""
    on: Dependency
    if_fails: IfFails


class Dependencies:
    """What each petition waits for, by sequence numbers; the engine writes, the hook thread asks `blocks`.

    >>> dependencies = Dependencies()
    >>> dependencies.add(2, [Dependency(1, "build", must_succeed=True)], IfFails.CANCEL)
    >>> dependencies.blocks(2).text()
    'it waits for build to succeed'
    >>> [(failed.petition, failed.on.id) for failed in dependencies.ended(1, Outcome.FAILED)]
    [(2, 'build')]
    """

    def __init__(self) -> None:
        """Know no petition that waits for another one."""
        self._unmet: dict[int, dict[int, Dependency]] = {}
        self._if_fails: dict[int, IfFails] = {}
        self._dependents: dict[int, dict[int, None]] = {}
        """The petitions that wait for one, in the order in which they came."""
        self._failing: dict[int, Dependency] = {}
        """What did not succeed, by the sequence number of each petition that is to be cancelled or held for it."""
        self.held: dict[int, str] = {}
        """The id of the petition that failed, by the sequence number of the petition that is paused for that."""
        self.are_used = False
        """Whether any petition has waited for another one, or was paused since another one failed."""

    def add(self, seq: int, unmet: Iterable[Dependency], if_fails: IfFails) -> None:
        """Have a petition wait for others that have not ended."""
        others = {dependency.seq: dependency for dependency in unmet}
        if not others:
            return
        self.are_used = True
        self._unmet[seq] = others
        self._if_fails[seq] = if_fails
        for other in others:
            self._dependents.setdefault(other, {})[seq] = None

    def blocks(self, seq: int) -> AfterOthers | None:
        """Give why a petition may not start, as far as others have not ended; None where nothing of this blocks it."""
        failing = self._failing.get(seq)
        if failing is not None:  # it is blocked until it is cancelled or held
            return waits_for({failing.id: True})
        unmet = self.unmet(seq)
        return waits_for(unmet) if unmet else None

    def unmet(self, seq: int) -> dict[str, bool]:
        """Give the ids of the petitions that this one waits for, and whether each must succeed."""
        return {each.id: each.must_succeed for each in list(self._unmet.get(seq, {}).values())}

    def first(self, seq: int) -> int | None:
        """Give the sequence number of a petition that this one waits for; None where it waits for none."""
        failing = self._failing.get(seq)
        return next(iter(self._unmet.get(seq, ())), None) if failing is None else failing.seq

    def has_dependents(self, seq: int) -> bool:
        """Tell whether petitions wait for the end of this one."""
        return seq in self._dependents

    def ended(self, seq: int, outcome: Outcome | None) -> list[FailedDependency]:
        """Note the end of a petition; give what fails by that. The outcome is None where nobody knows it any more.

        A petition that fails is blocked until it is dropped or held: any number may fail, and not all in one batch.
        """
        failed: list[FailedDependency] = []
        for dependent in self._dependents.pop(seq, ()):
            dependency = self._unmet[dependent].pop(seq)
            if_fails = self._if_fails[dependent]
            if dependency.must_succeed and outcome is not _SUCCEEDED and if_fails in {IfFails.CANCEL, IfFails.HOLD}:
                failed.append(FailedDependency(dependent, dependency, if_fails))
                self._failing[dependent] = dependency
            if not self._unmet[dependent]:
                self._forget(dependent)
        return failed

    def way(self, begin: int, end: int, elements_of: Callable[[int], Iterable[int]]) -> list[str] | None:
        """Give the ids over which a petition waits for another one in the end; None where it does not.

        An array also waits for its elements, which `elements_of` gives.

        >>> dependencies = Dependencies()
        >>> dependencies.add(2, [Dependency(1, "build", must_succeed=True)], IfFails.CANCEL)
        >>> dependencies.add(3, [Dependency(2, "test", must_succeed=True)], IfFails.CANCEL)
        >>> dependencies.way(3, 1, lambda array: ()), dependencies.way(1, 3, lambda array: ())
        (['test', 'build'], None)
        """
        reached: dict[int, list[str]] = {begin: []}
        left = [begin]
        while left:
            seq = left.pop()
            if seq == end:
                return reached[seq]
            others = {dependency.seq: [dependency.id] for dependency in self._unmet.get(seq, {}).values()}
            others |= {element: [] for element in elements_of(seq)}
            for other, step in others.items():
                if other not in reached:
                    reached[other] = [*reached[seq], *step]
                    left.append(other)
        return None

    def hold(self, seq: int, failed: str) -> None:
        """Note that a petition is paused since another one, of the id `failed`, did not succeed."""
        self.are_used = True
        self.held[seq] = failed
        self._failing.pop(seq, None)
        if seq in self._if_fails:
            self._if_fails[seq] = IfFails.HELD

    def drop(self, seq: int) -> None:
        """Forget a petition that waits no more."""
        self.held.pop(seq, None)
        self._failing.pop(seq, None)
        for other in self._unmet.get(seq, ()):
            dependents = self._dependents[other]
            del dependents[seq]
            if not dependents:
                del self._dependents[other]
        self._forget(seq)

    def _forget(self, seq: int) -> None:
        self._unmet.pop(seq, None)
        self._if_fails.pop(seq, None)


def waits_for(others: Mapping[str, bool]) -> AfterOthers:
    """Give the reason of a petition that waits for others: their ids, and whether each must succeed.

    >>> waits_for({"a": False, "b": False, "c": False, "d": True}).text()
    'it waits for a, b, c and 1 more to end'
    """
    named = tuple(others)[:MAX_NAMED_DEPENDENCIES]
    return AfterOthers(named, len(others) - len(named), must_succeed=all(others.values()))


__all__ = ["MAX_NAMED_DEPENDENCIES", "Dependencies", "Dependency", "FailedDependency", "waits_for"]
