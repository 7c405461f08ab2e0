"""Elements of arrays that a selector means and that are no petitions: some are cancelled, some run once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from orcha._core.array_items import spec_of
from orcha._core.arrays import outcome_at
from orcha._core.selector import Described
from orcha._core.state import State
from orcha._protocol.identities import new_identity
from orcha._service.reports.command_text import listed
from orcha._service.submissions import Asked
from orcha._service.verbs.retry import array_of_these

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orcha._core.array_items import Spec
    from orcha._service.arrays.array_book import LiveArray
    from orcha._service.engine import Engine
    from orcha._service.submissions import Asker
    from orcha._service.verbs.selected_rows import Search
    from orcha._store.contract import Row

CHANGES = frozenset(("set", "priority"))
"""Verbs that change what elements become."""
_QUEUED = "queued"
_ENDED = "ended"


class MetElements(NamedTuple):
    """Elements of one array that meet a selector."""

    row: Row
    """The array's own."""
    spec: Spec
    entry: LiveArray | None
    """The array; None where it has ended."""
    positions: list[int]
    are_all: bool = False
    """Whether no other element of the array is to become a petition."""

    def ids(self) -> Iterator[str]:
        """Give their ids."""
        return (f"{self.row.id}.{self.spec.number_of(position)}" for position in self.positions)

    def change(self, engine: Engine, change: Callable[[Engine, LiveArray, Row], str | None]) -> str | None:
        """Change what they become, as the array's row says; give why not, where that cannot be."""
        if self.entry is None or not self.are_all:
            them = f"{len(self.positions)} elements that are no petitions yet"
            return f"of {self.row.id!r} {them} cannot be changed alone: orcha set {self.row.id} changes all that wait"
        return change(engine, self.entry, self.row)


class Teller(Protocol):
    """Who is told what could not be done."""

    def refuse(self, identity: str, reason: str | None) -> None:
        """Take why nothing was done to a petition; None where it was done."""

    def wait(self) -> None:
        """Wait for one more petition."""

    def done(self) -> None:
        """Wait for one petition less."""

    def asker(self, identity: str) -> Asker:
        """Give who is told about a petition that is asked for again."""


def elements_met(engine: Engine, search: Search, verb: str | None) -> list[MetElements]:
    """Give which elements that are no petitions a verb means: `retry` means ended elements, other verbs the rest."""
    if verb not in {"cancel", "retry", *CHANGES}:
        return []
    found = []
    for row in engine.store.rows(search.arrays):
        if search.owner not in {None, row.owner}:
            continue
        entry = engine.arrays.get(row.seq)
        kept = engine.store.arrays([row.seq]).get(row.seq)
        if kept is None or (verb != "retry" and entry is None):
            continue
        spec = spec_of(kept.spec) if entry is None else entry.spec
        ends = engine.store.array_ends(row.seq) if entry is None else entry.array.ends
        group, label = engine.store.groups([row.seq]).get(row.seq), listed(row, None).label
        live = {} if entry is None else entry.array.live
        positions = [
            position
            for position in range(spec.total)
            if position not in live
            and ((outcome := outcome_at(ends, position)) is None) == (verb != "retry")
            and search.selector.meets(
                Described(
                    f"{row.id}.{spec.number_of(position)}",
                    group,
                    label,
                    row.owner,
                    _QUEUED if outcome is None else _ENDED,
                    None if outcome is None else outcome.name.lower(),
                )
            )
        ]
        if positions:
            are_all = verb in CHANGES and len(positions) == _unmade(spec, ends, live)
            found.append(MetElements(row, spec, entry, positions, are_all))
    return found


def _unmade(spec: Spec, ends: bytes, live: Mapping[int, int]) -> int:
    """Count the elements of an array that are no petitions yet."""
    return sum(each not in live and outcome_at(ends, each) is None for each in range(spec.total))


def do_to_elements(engine: Engine, elements: MetElements, verb: str | None, told: Teller) -> None:
    """Cancel elements that are no petitions yet, or have ended elements run once more."""
    row, entry, positions = elements.row, elements.entry, elements.positions
    if verb == "cancel" and entry is not None:
        engine.arrays.cancel_unmade(entry, positions)
    elif entry is not None:
        if entry.array.stop is not None:
            told.refuse(row.id, f"{row.id!r} starts no more elements, and has not ended: wait for its end")
        else:
            engine.arrays.again(entry, positions)
    elif row.state is State.ENDED and row.id in engine.petitions.live:
        told.refuse(row.id, f"another petition {row.id!r} waits or runs: wait for it, or cancel it")
    else:
        told.wait()
        asker = told.asker(row.id)
        refusal = array_of_these(engine, Asked(asker, 0, None), row, new_identity(), positions)
        if refusal is not None:
            told.refuse(row.id, refusal[1])
            told.done()


__all__ = ["CHANGES", "MetElements", "do_to_elements", "elements_met"]
