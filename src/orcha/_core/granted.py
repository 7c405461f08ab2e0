"""The book of granted slots: which petitions may run, and what they hold."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.inventory import Inventory
from orcha._core.tuples import new_tuple
from orcha.interfaces.needs import WHOLE, read

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from contextlib import AbstractContextManager

    from orcha._core.converted import Candidate
    from orcha._core.devices import Devices
    from orcha._core.fairness import Fairness
    from orcha._core.past_use import PastUse, Seconds
    from orcha._core.quotas import Quotas
    from orcha._core.record import Record
    from orcha._core.start_log import StartLog
    from orcha._core.weights import OwnerWeight
    from orcha.interfaces.needs import Amount


LENT = "lent"
"""Stands for the manager of a petition that stands still, and holds no slot."""
KEPT_WHILE_LENT = ("memory",)
"""Resources that are amounts and that a petition keeps while it stands still: its processes keep their memory."""


class Grant(NamedTuple):
    """The grant of one petition; the petition's record may say something else by now."""

    seq: int
    manager: str
    group: str | None
    needs: Mapping[str, int | str] | None
    devices: Devices | None = None
    """The devices that the petition got, by resource."""
    owner: str = ""
    seconds: float | None = None
    """How long it takes, as far as that was known when it was granted this."""


class GrantedSlots:
    """The petitions that may run, by str(id), counted by manager, by group, and by what they hold of each resource.

    This book is the one exception to the rule that petitions are changed by transitions only, on the engine's thread.
    When a condition says yes, the hook thread enters the petition here by itself, because that yes must count before
    the next condition is asked. So two threads write into the book, and each change is made under its lock.

    >>> from orcha._core.record import Record
    >>> slots, petition = GrantedSlots(), Record(1, b"", "a", "manager", "me", b"", None, 0.0)
    >>> petition.group = "rig"
    >>> slots.take(petition), slots.in_group("rig"), "a" in slots
    (None, 1, True)
    >>> slots.give_back(petition), slots.in_group("rig"), len(slots)
    (True, 0, 0)
    """

    def __init__(self, lock: AbstractContextManager[object] | None = None) -> None:
        """Start empty. Where several threads use the book, `lock` keeps their changes apart."""
        self._lock = lock if lock is not None else nullcontext()
        self._grants: dict[str, Grant] = {}
        self.keys: Collection[str] = self._grants.keys()
        """The str(id) of the petitions that may run, as they are at any time."""
        self.key_of: dict[int, str] = {}
        """The same by sequence. Only this book changes it; who asks whether a petition has a slot may look here."""
        self._of_manager: dict[str, dict[str, int]] = {}
        self._in_group: dict[str, int] = {}
        self._in_group_of: dict[tuple[str, str], int] = {}
        """The same by group and owner."""
        self._held: dict[str, Amount] = {}
        self._used: dict[str, dict[str, Amount]] = {}
        """Which share of each device is in use, by resource and name."""
        self.start_logs: Mapping[str, StartLog] = {}
        """When petitions of a group started, for each group that has a rate."""
        self.inventory = Inventory({})
        """The resources whose devices are chosen."""
        self.whole = False
        """Whether a petition has the whole machine."""
        self._fairness: Fairness | None = None
        """Counts what each owner has in use; None while all petitions are of one owner."""
        self._quotas: Quotas | None = None
        """Counts what is granted for the quotas of users; None where there are none."""

    def count_for_quotas(self, quotas: Quotas | None) -> None:
        """Have what is granted counted for these quotas from now on."""
        with self._lock:
            if quotas is not None:
                for grant in self._grants.values():
                    quotas.count(grant)
            self._quotas = quotas

    def count_for(self, fairness: Fairness) -> None:
        """Have what each owner has in use counted from now on."""
        with self._lock:
            for grant in self._grants.values():
                fairness.count(grant.owner, grant.needs, 1)
            self._fairness = fairness

    def count_anew(self) -> None:
        """Have the shares of the owners reckoned again, since there is more or less, or time has passed."""
        if self._fairness is not None:
            with self._lock:
                self._fairness.count_anew()

    def pass_time(self) -> None:
        """Have the shares of the owners reckoned again, where time has passed and what was used before counts."""
        assert self._fairness is not None
        with self._lock:
            self._fairness.pass_time()

    def weigh_past(self, past: PastUse | None) -> None:
        """Have what each owner used before count, or with None count nothing; what they have in use is counted."""
        assert self._fairness is not None
        with self._lock:
            self._fairness.weigh_past(past)

    def use_weights(self, weights: Mapping[str, OwnerWeight] | None) -> None:
        """Have what the owners have in use compared by these weights; None has all owners alike."""
        assert self._fairness is not None
        with self._lock:
            self._fairness.use_weights(weights)

    def used_before(self) -> dict[str, Seconds]:
        """Give what each owner has used until now, as far as that counts."""
        if self._fairness is None or not self._fairness.counts_past:
            return {}
        with self._lock:
            return self._fairness.used_before()

    def take(self, candidate: Candidate, devices: Devices | None = None) -> None:
        """Grant a petition its slot in its group, and what it needs.

        That is these devices, else the devices that the petition has already, else devices that are chosen now.
        """
        key, needs = candidate.key, candidate.needs
        with self._lock:
            earlier = self._grants.get(key)
            if earlier is not None:
                self._uncount(key, earlier)
            if needs:
                devices = devices or candidate.devices or self.inventory.choose(needs, self._used)
            seconds = candidate.timeout if candidate.expect is None else candidate.expect
            whose = (candidate.seq, candidate.manager, candidate.group)
            self._enter(key, new_tuple(Grant, (*whose, needs, devices, candidate.owner, seconds)))
            if self._quotas is not None:
                self._quotas.count(candidate)

    def copy(self) -> GrantedSlots:
        """Give a book that says the same now, and that nobody else uses; the starts of groups are not in it."""
        book = GrantedSlots()
        book.inventory = self.inventory
        with self._lock:
            for key, grant in self._grants.items():
                book._enter(key, grant)
        return book

    def lend(self, seq: int) -> None:
        """Have a petition that stands still hold its devices and its memory alone, until it takes the rest again."""
        with self._lock:
            key = self.key_of[seq]
            grant = self._grants[key]
            self._uncount(key, grant)
            devices = grant.devices or {}
            needs = {
                name: amount
                for name, amount in (grant.needs or {}).items()
                if name in devices or name in KEPT_WHILE_LENT
            }
            self._enter(key, Grant(seq, LENT, None, needs or None, grant.devices, grant.owner))

    def kept(self, key: str) -> Collection[str]:
        """Name the resources that a petition holds which stands still; none for any other petition."""
        grant = self._grants.get(key)
        return (grant.needs or ()) if grant is not None and grant.manager == LENT else ()

    def _enter(self, key: str, grant: Grant) -> None:
        seq, manager, group, needs, _, owner, _ = grant
        self._grants[key] = grant
        self.key_of[seq] = key
        self._of_manager.setdefault(manager, {})[key] = seq
        if group is not None:
            self._in_group[group] = self._in_group.get(group, 0) + 1
            line = group, owner
            self._in_group_of[line] = self._in_group_of.get(line, 0) + 1
        if needs:
            self._count_needs(grant, 1)
        if self._fairness is not None:
            self._fairness.count(owner, needs, 1)

    def note_yes(self, candidate: Candidate) -> None:
        """Note that a petition of a group with a rate has just been let start."""
        if candidate.group is not None and (log := self.start_logs.get(candidate.group)) is not None:
            log.said_yes(candidate.seq)

    def give_back(self, record: Record) -> bool:
        """Free what a petition was granted; False where it was granted nothing."""
        with self._lock:
            key = self.key_of.get(record.seq)
            if key is None:
                return False
            grant = self._grants.pop(key)
            self._uncount(key, grant)
            if self._quotas is not None:
                self._quotas.uncount(grant.seq)
            if self.start_logs and grant.group is not None and grant.group in self.start_logs:
                self.start_logs[grant.group].drop_yes(grant.seq)
        return True

    def _uncount(self, key: str, grant: Grant) -> None:
        seq, manager, group, needs, _, owner, _ = grant
        del self.key_of[seq]
        del self._of_manager[manager][key]
        if group is not None:
            self._in_group[group] -= 1
            if not self._in_group[group]:
                del self._in_group[group]
            line = group, owner
            self._in_group_of[line] -= 1
            if not self._in_group_of[line]:
                del self._in_group_of[line]
        if needs:
            self._count_needs(grant, -1)
        if self._fairness is not None:
            self._fairness.count(owner, needs, -1)

    def _count_needs(self, grant: Grant, sign: int) -> None:
        """Count what a grant holds as in use, or with the sign -1 as in use no more."""
        for name, wanted in (grant.needs or {}).items():
            amount = sign * read(wanted).amount
            if name == WHOLE:
                self.whole = sign > 0
            _add(self._held, name, amount)
            if grant.devices and name in grant.devices:
                used = self._used.setdefault(name, {})
                for device in grant.devices[name]:
                    _add(used, device, max(-1, min(1, amount)))

    # --- who has a slot -----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Count the petitions that may run."""
        return len(self._grants)

    def __iter__(self) -> Iterator[str]:
        """Give their str(id)."""
        return iter(list(self._grants))

    def __contains__(self, key: object) -> bool:
        """Tell whether the petition of this str(id) may run."""
        return key in self._grants

    def has(self, seq: int) -> bool:
        """Tell whether the petition of this sequence has a slot, and not an earlier one with its id."""
        return seq in self.key_of

    def seqs(self) -> list[int]:
        """Give the sequences of the petitions that may run."""
        return list(self.key_of)

    def of_manager(self, manager: str) -> Collection[str]:
        """Give the str(id) of the granted petitions of one manager; the set changes with them."""
        return self._of_manager.setdefault(manager, {})

    def grants(self) -> list[Grant]:
        """Give what each petition that may run was granted."""
        return list(self._grants.values())

    # --- what is in use -----------------------------------------------------------------------------------------

    def in_group(self, group: str) -> int:
        """Count the granted petitions of one group."""
        return self._in_group.get(group, 0)

    def in_group_of(self, group: str, owner: str) -> int:
        """Count the granted petitions of one owner in one group."""
        return self._in_group_of.get((group, owner), 0)

    def holders(
        self,
        *,
        group: str | None = None,
        resource: str | None = None,
        owner: str | None = None,
        need: int | str | None = None,
    ) -> list[str]:
        """Give the str(id) of petitions that hold a slot of a group, or units of a resource, in order of grants.

        With `owner` only the petitions of one owner. With `need` only petitions that hold a device which a petition
        with such a need could get, where the resource consists of devices.
        """
        grants = [(key, grant) for key, grant in list(self._grants.items()) if owner is None or grant.owner == owner]
        if group is not None:
            return [key for key, grant in grants if grant.group == group]
        found = [(key, grant) for key, grant in grants if resource in (grant.needs or ())]
        if resource is not None and need is not None and self.inventory.devices(resource) is not None:
            fitting = self.inventory.fitting(resource, read(need))
            found = [each for each in found if not {*(each[1].devices or {}).get(resource, ())}.isdisjoint(fitting)]
        return [key for key, _ in found]

    def groups(self) -> list[str]:
        """Give the groups that have granted slots."""
        return list(self._in_group)

    def held(self, resource: str) -> Amount:
        """Give how much of a resource they hold."""
        return self._held.get(resource, 0)

    def used(self, resource: str) -> Mapping[str, Amount]:
        """Give the share that petitions hold of each device of a resource, for devices that any petition holds."""
        return self._used.get(resource, {})

    def devices(self, key: str) -> Devices | None:
        """Give the devices that a petition holds."""
        grant = self._grants.get(key)
        return None if grant is None else grant.devices

    def resources(self) -> list[str]:
        """Give the resources that granted petitions hold."""
        return list(self._held)


def _add(sums: dict[str, Amount], name: str, amount: Amount) -> None:
    """Add to one of several sums; a sum of zero is not kept."""
    total = sums.get(name, 0) + amount
    if total:
        sums[name] = total
    else:
        del sums[name]


__all__ = ["LENT", "Grant", "GrantedSlots"]
