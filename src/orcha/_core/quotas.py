"""Quotas: what all petitions of a user, or of all members of a group of users, may have together.

A petition that its owner's quota keeps from starting is parked in a lot of the quota that is used up. It stands in no
line for a resource then, so it keeps nobody else waiting. Where no quota is set there is no `Quotas` at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orcha._core.group_admission import Known
from orcha._core.reasons import InOrder, QuotaInUse, QuotaSpent, QuotaTooSmall
from orcha._core.transitions import hold, wait
from orcha.interfaces.built_in import ARRAY_MANAGER, BESIDE_MANAGER
from orcha.interfaces.needs import read, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from orcha._core.converted import Candidate
    from orcha._core.granted import Grant
    from orcha._core.petitions import Petitions
    from orcha._core.record import Key, Record
    from orcha._core.resource_lines import Waiter
    from orcha.interfaces.needs import Amount

QUEUED, RUNNING, SLOTS, OUTPUT = "queued", "running", "slots", "output"
"""What a quota limits beside resources."""
BESIDE = "beside"
"""Commands beside others: as many may run as petitions may (RUNNING), and they are counted apart."""
QUOTA_LOT = "quota:"
"""Begin of the name of a lot whose petitions wait for a quota."""
_PART = "\0"
"""Parts an account from what is limited in the name of a lot: no name of a user holds it."""
_NEVER = f"{_PART}never"
"""End of the name of a lot whose petitions want more than the quota ever gives."""
MAX_UNPARKED_PETITIONS = 100
"""Petitions of one lot that leave it in one batch, at most: a million may wait there."""


class Limit(NamedTuple):
    """The most of something, and who set that."""

    most: int
    key: str = ""
    """The setting, as the configuration names it."""
    origin: str = ""
    """The file and the line where it stands."""


class Account(NamedTuple):
    """A user, or all members of a group of users: what their petitions have is counted together."""

    name: str
    """As people know it: ``alice``; a group begins with an ``@``."""
    limits: Mapping[str, Limit]
    """The limits of QUEUED, RUNNING, SLOTS and OUTPUT that are set."""
    resources: Mapping[str, Limit]
    """The limits of resources that are set."""


class Used(NamedTuple):
    """What the petitions of an account have."""

    queued: int
    running: int
    slots: int
    """How many of them hold a slot of a manager that has a number of slots, as commands do."""
    held: Mapping[str, int | float]
    """How much of each resource they hold."""
    beside: int = 0
    """How many commands run beside others; they are not among those that run."""


class _AccountUse:
    """What runs of an account."""

    __slots__ = ("beside", "held", "running", "slots")

    def __init__(self) -> None:
        self.running = 0
        self.beside = 0
        self.slots = 0
        self.held: dict[str, Amount] = {}


class _Granted(NamedTuple):
    """What a petition that may run counts for, and where."""

    accounts: tuple[Account, ...]
    slots: int
    beside: int
    needs: Mapping[str, int | str]


class _Lot(NamedTuple):
    """What the petitions of a lot wait for."""

    account: Account
    what: str
    """RUNNING or SLOTS, or a resource."""
    is_resource: bool

    @property
    def name(self) -> str:
        return f"{QUOTA_LOT}{self.account.name}{_PART}{'=' * self.is_resource}{self.what}"


class _Short(NamedTuple):
    """A quota that keeps a petition from starting."""

    lot: _Lot
    used: Amount
    amount: Amount
    """How much the petition wants."""
    most: int

    def why(self) -> QuotaInUse | QuotaTooSmall | InOrder:
        """Give the reason for which the petition waits."""
        whose, what = self.lot.account.name, self.lot.what
        if self.amount > self.most:
            return QuotaTooSmall(whose, what, shown(self.amount), self.most)
        if self.used + self.amount > self.most:
            return QuotaInUse(whose, what, shown(self.used), self.most, shown(self.amount))
        return InOrder(1)


class _Parked(NamedTuple):
    """What is known of a parked petition, whose record need not be in memory."""

    manager: str
    group: str | None
    needs: Mapping[str, int | str]


_NO_USE = _AccountUse()


class Quotas:
    """What each owner's petitions have, what they may have, and which petitions wait for that.

    The hook thread asks `blocked_by`, and counts what it grants under the lock of the book of granted slots; all else
    is the engine's.
    """

    def __init__(
        self,
        petitions: Petitions,
        accounts_of: Callable[[str], tuple[Account, ...]],
        *,
        is_paused: Callable[[int, str | None], bool] = lambda *_: False,
        unmade: Callable[[], Iterable[tuple[str, int]]] = lambda: (),
    ) -> None:
        """Count nothing yet.

        Args:
            petitions: what waits and runs.
            accounts_of: gives the accounts of an owner that have a limit.
            is_paused: tells of a sequence and a group whether people hold the petition back.
            unmade: gives the owner of each array, and how many of its elements are no petitions yet.

        """
        self._petitions = petitions
        self._accounts_of = accounts_of
        self._is_paused = is_paused
        self._unmade = unmade
        self._accounts: dict[str, tuple[Account, ...]] = {}
        """The accounts of each owner who has live petitions."""
        self._live: dict[str, set[int]] = {}
        """The live petitions of each owner, by sequence."""
        self._owners: dict[int, str] = {}
        """The owner of each of them."""
        self._granted: dict[int, _Granted] = {}
        self._uses: dict[str, _AccountUse] = {}
        """What runs, by the name of the account."""
        self._output: dict[str, int] = {}
        """Bytes of output that were kept when they were measured last, by the name of the account."""
        self._lots: dict[str, _Lot] = {}
        self._parked: dict[int, _Parked] = {}
        self.are_more = False
        """Whether more petitions may leave the lots at once than have left them."""

    # --- whose petitions there are ------------------------------------------------------------------------------

    def enter(self, seq: int, owner: str, manager: str = "") -> None:
        """Count a live petition; an array is no petition of its own here, its elements are."""
        if owner not in self._accounts:
            self._accounts[owner] = self._accounts_of(owner)
        if manager != ARRAY_MANAGER:
            self._live.setdefault(owner, set()).add(seq)
            self._owners[seq] = owner

    def renew(self, owner: str) -> tuple[Account, ...]:
        """Look the accounts of an owner up anew: the user may have entered or left a group.

        Gives the accounts that the owner had, where the owner has others by now.
        """
        had = self._accounts.get(owner)
        if had is None:
            return ()
        found = self._accounts[owner] = self._accounts_of(owner)
        return had if found != had else ()

    def forget(self, seq: int, owner: str) -> None:
        """Count a petition no more that is not live any more."""
        self._parked.pop(seq, None)
        self._owners.pop(seq, None)
        live = self._live.get(owner)
        if live is not None:
            live.discard(seq)
            if not live:
                del self._live[owner]
                self._accounts.pop(owner, None)

    def accounts(self, owner: str) -> tuple[Account, ...]:
        """Give the accounts of an owner, who need not have any petition."""
        known = self._accounts.get(owner)
        return self._accounts_of(owner) if known is None else known

    def all_accounts(self) -> dict[str, tuple[Account, ...]]:
        """Give the accounts of each owner who has live petitions."""
        return dict(self._accounts)

    # --- what runs, counted under the lock of the granted slots -------------------------------------------------

    def count(self, grant: Candidate | Grant) -> None:
        """Count a petition as running, with what it needs; what stands still meanwhile keeps all of that."""
        self.uncount(grant.seq)
        accounts = self._accounts.get(grant.owner)
        if accounts is None:
            accounts = self._accounts_of(grant.owner)
        granted = _Granted(
            accounts,
            int(self._petitions.slots_of.get(grant.manager) is not None),
            int(grant.manager == BESIDE_MANAGER),
            dict(grant.needs or {}),
        )
        self._granted[grant.seq] = granted
        self._count(granted, 1)

    def uncount(self, seq: int) -> None:
        """Count a petition as running no more."""
        granted = self._granted.pop(seq, None)
        if granted is not None:
            self._count(granted, -1)

    def _count(self, granted: _Granted, sign: int) -> None:
        for account in granted.accounts:
            use = self._uses.setdefault(account.name, _AccountUse())
            use.running += sign * (1 - granted.beside)
            use.beside += sign * granted.beside
            use.slots += sign * granted.slots
            for name, wanted in granted.needs.items():
                use.held[name] = use.held.get(name, 0) + sign * read(wanted).amount

    # --- may it start? ------------------------------------------------------------------------------------------

    def blocked_by(self, petition: Candidate | Known) -> QuotaInUse | QuotaTooSmall | InOrder | None:
        """Give why a petition may not start, as far as its owner's quotas are used up; None where they are not.

        A petition that waits for the same and comes before it has the right to what is left.
        """
        place = None if isinstance(petition, Known) else petition.place
        needs, manager = petition.needs, petition.manager
        if needs is None and place is None and (parked := self._parked.get(petition.seq)) is not None:
            needs, manager = parked.needs, parked.manager
        found = self._short(petition.owner, place, manager, needs)
        return None if found is None else found.why()

    def holds_back(self, waiter: Waiter) -> bool:
        """Tell whether the quotas of its owner keep a petition from starting that stands in line for a resource."""
        owner = self._owners.get(waiter.place[1])
        return owner is not None and self._short(owner, waiter.place, waiter.manager, waiter.needs) is not None

    def _short(
        self, owner: str, place: Key | None, manager: str, needs: Mapping[str, int | str] | None
    ) -> _Short | None:
        """Give the first quota that has no room for a petition, or an earlier petition before it."""
        for account in self._accounts.get(owner, ()):
            use = self._uses.get(account.name, _NO_USE)
            for lot, used, amount, most in self._wanted(account, use, manager, needs or {}):
                if used + amount > most or (place is not None and self._is_behind(lot.name, place)):
                    return _Short(lot, used, amount, most)
        return None

    def _wanted(
        self, account: Account, use: _AccountUse, manager: str, needs: Mapping[str, int | str]
    ) -> Iterator[tuple[_Lot, Amount, Amount, int]]:
        """Give what a petition would take of what is limited: how much there is in use, how much more, how much may."""
        limits = account.limits
        if RUNNING in limits:
            yield _Lot(account, RUNNING, is_resource=False), use.running, 1, limits[RUNNING].most
        if SLOTS in limits and self._petitions.slots_of.get(manager) is not None:
            yield _Lot(account, SLOTS, is_resource=False), use.slots, 1, limits[SLOTS].most
        for name, wanted in needs.items():
            if name in account.resources:
                most = account.resources[name].most
                yield _Lot(account, name, is_resource=True), use.held.get(name, 0), read(wanted).amount, most

    def wanted(self, owner: str, manager: str, needs: Mapping[str, int | str]) -> Iterator[tuple[str, Amount, Amount]]:
        """Name each quota of which a petition of an owner takes a part, with how much, and how much of it is left."""
        for account in self._accounts.get(owner, ()):
            use = self._uses.get(account.name, _NO_USE)
            for lot, used, amount, most in self._wanted(account, use, manager, needs):
                yield lot.name, amount, most - used

    def _is_behind(self, lot: str, place: Key) -> bool:
        """Tell whether a petition of a lot comes before a place in the queue, and may go as far as people say."""
        if lot not in self._lots:
            return False
        first = self._petitions.waiting.first_parked(lot)
        return first is not None and self._petitions.is_before(first, place) and not self._is_held(first)

    def _is_held(self, key: Key) -> bool:
        parked = self._parked.get(key[1])
        return self._is_paused(key[1], None if parked is None else parked.group)

    def never(self, owner: str, manager: str, needs: Mapping[str, int | str] | None) -> QuotaTooSmall | None:
        """Give why no petition of an owner that needs this can ever start, if that is so."""
        for account in self.accounts(owner):
            for lot, _, amount, most in self._wanted(account, _NO_USE, manager, needs or {}):
                if amount > most:
                    return QuotaTooSmall(account.name, lot.what, shown(amount), most)
        return None

    # --- may it be asked for? -----------------------------------------------------------------------------------

    def refusal(self, owner: str, more: int = 1) -> QuotaSpent | None:
        """Give why `more` petitions of an owner are not accepted, if that is so.

        The accounts of the owner are looked up anew: the user may have entered or left a group.
        """
        self.renew(owner)
        for account in self.accounts(owner):
            limit = account.limits.get(QUEUED)
            if limit is not None and (queued := self.queued(account.name)) + more > limit.most:
                return QuotaSpent(account.name, QUEUED, queued, limit.most, more, limit.key, limit.origin)
            if (spent := self._output_spent(account, more)) is not None:
                return spent
        return None

    def refusal_beside(self, owner: str) -> QuotaSpent | None:
        """Give why no further command of an owner may run beside another one, which never waits, if that is so.

        The quota of what runs may be used up all the same: people look at what runs just then.
        """
        self.renew(owner)
        for account in self.accounts(owner):
            limit = account.limits.get(RUNNING)
            if limit is not None and (count := self._uses.get(account.name, _NO_USE).beside) >= limit.most:
                return QuotaSpent(account.name, BESIDE, count, limit.most, 1, limit.key, limit.origin)
            if (spent := self._output_spent(account, 1)) is not None:
                return spent
        return None

    def _output_spent(self, account: Account, more: int) -> QuotaSpent | None:
        limit = account.limits.get(OUTPUT)
        if limit is None or (size := self._output.get(account.name, 0)) < limit.most:
            return None
        return QuotaSpent(account.name, OUTPUT, size, limit.most, more, limit.key, limit.origin)

    def queued(self, account: str) -> int:
        """Count the petitions of an account that wait, and the elements of arrays that are no petitions yet."""
        live = sum(len(seqs) for owner, seqs in self._live.items() if self._is_of(owner, account))
        unmade = sum(count for owner, count in self._unmade() if self._is_of(owner, account))
        use = self._uses.get(account, _NO_USE)
        return max(0, live - use.running - use.beside) + unmade

    def _is_of(self, owner: str, account: str) -> bool:
        return any(each.name == account for each in self.accounts(owner))

    def note_output(self, sizes: Mapping[str, int]) -> None:
        """Take how many bytes of output are kept of each owner."""
        self._output = {}
        for owner, size in sizes.items():
            for account in self.accounts(owner):
                self._output[account.name] = self._output.get(account.name, 0) + size

    def output(self, account: str) -> int:
        """Give how many bytes of output of an account were kept when they were measured last."""
        return self._output.get(account, 0)

    # --- lots ---------------------------------------------------------------------------------------------------

    def park(self, record: Record, now: float | None = None) -> bool:
        """Park a petition that its owner's quotas keep from starting, at a wall-clock time; tell whether it is parked.

        What people hold back is parked for that: it would leave a lot of quotas at once, and come back, without end.
        The petition waits for the quota from then on, whatever its own condition said: where the condition says the
        same no after the petition has left the lot, that is news, and another petition may go instead.
        """
        if self._is_paused(record.seq, record.group):
            return False
        found = self._short(record.owner, record.place, record.manager, record.needs)
        if found is None:
            return False
        lot, _, amount, most = found
        wait.note_no(record, found.why(), record.asked, now)
        self._parked[record.seq] = _Parked(record.manager, record.group, record.needs or {})
        if amount > most:  # it must not keep back what comes after it
            return hold.park(self._petitions, record, f"{lot.name}{_NEVER}")
        self._lots[lot.name] = lot
        return hold.park(self._petitions, record, lot.name)

    def lots_of(self, accounts: Iterable[Account]) -> list[str]:
        """Name the lots in which petitions wait for these accounts."""
        begins = tuple(f"{QUOTA_LOT}{account.name}{_PART}" for account in accounts)
        return [lot for lot in self._petitions.waiting.lots() if lot.startswith(begins)]

    def unpark(self) -> list[Key]:
        """Let as many wait with the others again as may start; give the keys whose records are to be loaded."""
        unloaded: list[Key] = []
        self.are_more = False
        for name, lot in list(self._lots.items()):
            keys = list(self._going(name, lot))
            self.are_more |= len(keys) == MAX_UNPARKED_PETITIONS
            for key in keys:
                self._parked.pop(key[1], None)
            unloaded += hold.unpark_these(self._petitions, keys)
            if not self._petitions.waiting.parked_in(name):
                del self._lots[name]
        return unloaded

    def unpark_one(self, owner: str) -> list[Key]:
        """Let another petition wait with the others for each quota of an owner, where a condition says no.

        Gives the keys whose records are to be loaded.
        """
        mine = {account.name for account in self.accounts(owner)}
        firsts = (next(self._going(name, lot), None) for name, lot in self._lots.items() if lot.account.name in mine)
        keys = [key for key in firsts if key is not None]
        for key in keys:
            self._parked.pop(key[1], None)
        return hold.unpark_these(self._petitions, keys) if keys else []

    def _going(self, name: str, lot: _Lot) -> Iterator[Key]:
        """Give the first petitions of a lot that its quota has room for, or does not hold back any more."""
        use = self._uses.get(lot.account.name, _NO_USE)
        left: Amount = (
            lot.account.resources[lot.what].most - use.held.get(lot.what, 0)
            if lot.is_resource
            else lot.account.limits[lot.what].most - (use.running if lot.what == RUNNING else use.slots)
        )
        for key in self._petitions.waiting.first_parked_in(name, MAX_UNPARKED_PETITIONS):
            if self._is_held(key) or not self._counts_for(key[1], lot.account.name):
                yield key
                continue
            parked = self._parked.get(key[1])
            wanted = parked.needs.get(lot.what) if parked is not None and lot.is_resource else 1
            amount = 0 if wanted is None else read(wanted).amount
            if amount > left:
                return
            left -= amount
            yield key

    def _counts_for(self, seq: int, account: str) -> bool:
        """Tell whether a parked petition would count for an account still."""
        owner = self._owners.get(seq)
        return owner is None or self._is_of(owner, account)

    # --- for people ---------------------------------------------------------------------------------------------

    def counted(self, account: str) -> list[tuple[int, Mapping[str, int | str]]]:
        """Give the petitions of an account that run, by sequence, each with what it needs."""
        return [
            (seq, granted.needs)
            for seq, granted in list(self._granted.items())
            if any(each.name == account for each in granted.accounts)
        ]

    def used(self, account: str) -> Used:
        """Tell what the petitions of an account have."""
        use = self._uses.get(account, _NO_USE)
        held = {name: shown(amount) for name, amount in use.held.items() if amount}
        return Used(self.queued(account), use.running, use.slots, held, use.beside)


__all__ = ["BESIDE", "OUTPUT", "QUEUED", "QUOTA_LOT", "RUNNING", "SLOTS", "Account", "Limit", "Quotas", "Used"]
