"""What would be free if some petitions that run held nothing, and others had started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha.interfaces.needs import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.converted import Candidate
    from orcha._core.granted import GrantedSlots
    from orcha._core.group_admission import GroupAdmission
    from orcha._core.record import Record

SLOTS = "slots"
"""What a petition lacks for which its manager has no slot."""
GROUP = "group"
"""What a petition lacks for which its group has no slot."""
EVERYTHING = frozenset(("everything",))
"""Stands for all that a petition needs."""
_RESOURCE = "resource "


class Room:
    """Tells what petitions lack, by a book of granted slots: the book itself, or a copy in which others hold less."""

    def __init__(self, book: GrantedSlots, groups: GroupAdmission, slots: Mapping[str, int | None]) -> None:
        """Look into `book`.

        Args:
            book: what petitions hold.
            groups: how many petitions of each group may run.
            slots: how many petitions of each manager may run; any number of a manager that is not named.

        """
        self.book = book
        self._groups = groups
        self._slots = slots

    def lacks(self, record: Record) -> frozenset[str]:
        """Name what a petition lacks: SLOTS, GROUP, and resources; what it holds already it does not lack."""
        book, found = self.book, set()
        slots = self._slots.get(record.manager)
        if slots is not None and len(book.of_manager(record.manager)) >= slots:
            found.add(SLOTS)
        if record.group is not None and self._is_full(record.group, record.owner):
            found.add(GROUP)
        kept = book.kept(record.key)
        for name, wanted in (record.needs or {}).items():
            need = read(wanted)
            if name not in kept and book.inventory.room(name, need, book.held(name), book.used(name)) < need.amount:
                found.add(f"{_RESOURCE}{name}")
        return frozenset(found)

    def _is_full(self, group: str, owner: str) -> bool:
        slots, rules = self._groups.slots.get(group), self._groups.rules.get(group)
        if slots is not None and self.book.in_group(group) >= slots:
            return True
        most = None if rules is None else rules.per_user
        return most is not None and self.book.in_group_of(group, owner) >= most


def takes(candidate: Candidate, other: Record, lacked: frozenset[str]) -> bool:
    """Tell whether a petition would take any of what another one lacks, or with EVERYTHING of what that one needs."""
    is_all = lacked is EVERYTHING
    if candidate.manager == other.manager and (is_all or SLOTS in lacked):
        return True
    if candidate.group is not None and candidate.group == other.group and (is_all or GROUP in lacked):
        return True
    needed = other.needs or ()
    return any(name in needed and (is_all or f"{_RESOURCE}{name}" in lacked) for name in candidate.needs or ())


def in_words(record: Record, lacked: frozenset[str]) -> tuple[str, ...]:
    """Tell people what a petition lacks."""
    found = ["a slot of the machine"] if SLOTS in lacked else []
    if GROUP in lacked:
        found.append(f"a slot of its group {record.group}")
    needs = record.needs or {}
    return (*found, *(f"{needs[name]} {name}" for name in needs if f"{_RESOURCE}{name}" in lacked))


__all__ = ["EVERYTHING", "GROUP", "SLOTS", "Room", "in_words", "takes"]
