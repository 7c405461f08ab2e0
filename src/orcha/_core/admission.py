"""Whether what a petition declares lets it start now: pauses, its key, the slots of its group, and what it needs.

A petition's own condition is asked only where nothing of this blocks it. What blocks a petition here is known to the
service at every moment, so the petition is parked in a lot named after that, is asked no more, and hides nobody, until
that is gone.
One file, since all that blocks a petition, and the lots that it leads to, are put in order here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from orcha._core.conditions.book import ConditionBook
from orcha._core.conditions.kinds import Unknown
from orcha._core.conditions.terms import BUILT_IN
from orcha._core.converted import known_seconds
from orcha._core.dependencies import Dependencies, waits_for
from orcha._core.group_admission import GroupAdmission, GroupUse, Known, group_name, group_of
from orcha._core.groups import NO_RULES
from orcha._core.moment import Moment
from orcha._core.once_keys import OnceKeys
from orcha._core.quotas import QUOTA_LOT, Quotas
from orcha._core.reasons import (
    BehindExclusive,
    BehindPreempted,
    ConditionSaidNo,
    DependencyFailed,
    GroupFull,
    GroupPaused,
    GroupTextIsFalse,
    InOrder,
    MachineTaken,
    PetitionPaused,
    QuotaInUse,
    RateReached,
    ReplacesAnother,
    StartsLater,
    TextIsFalse,
    UserFull,
)
from orcha._core.record import Phase, Record
from orcha._core.resources import Resources
from orcha._core.room import EVERYTHING, Room, takes
from orcha._core.secrets import Secrets
from orcha._core.state import State
from orcha._core.transitions import hold, wait
from orcha._core.waiting_queue import MAX_READY_PETITIONS
from orcha.interfaces.built_in import ARRAY_MANAGER
from orcha.interfaces.needs import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    from orcha._core.conditions.book import ServiceValues
    from orcha._core.conditions.terms import Vocabulary
    from orcha._core.converted import Candidate
    from orcha._core.dependencies import FailedDependency
    from orcha._core.groups import GroupRules, Slots
    from orcha._core.inventory import Stock
    from orcha._core.petitions import Petitions
    from orcha._core.quotas import Account
    from orcha._core.reasons import GroupUnknown, Reason
    from orcha._core.record import Key
    from orcha._core.state import Outcome

# Looked up once: an attribute of an enumeration costs ten times a global name.
_CONVERTING = Phase.CONVERTING

_WAITS_FOR_ITS_LIKE = (GroupFull, UserFull, RateReached, InOrder, QuotaInUse)
"""Reasons that are over when petitions of the same group, or of the same quota, are done."""
_OVER_UNNOTICED = (RateReached, GroupTextIsFalse)
"""Reasons of petitions of a group that may be over though nothing has started or ended."""
_FOR_THE_WHOLE = (MachineTaken, BehindExclusive)
"""Reasons that end when the petition that has the whole machine, or waits for that, is done."""
ALL = "all"
"""The name under which the pause of the whole service is kept."""
_PETITION = "petition:"
_TEXT = "when:"
MAX_UNPARKED_PETITIONS = 1_000
"""Petitions that leave a lot in one batch when a pause ends: a million may wait there."""
MIN_READY_PETITIONS_OF_A_TEXT = 96
"""Petitions of a condition that has come to hold, at least, that wait with the others: a round asks this many."""
MAX_LOOKED_AT_PETITIONS = 1_000
"""Ready petitions that are looked at for others of the same group, to tell how many are before one."""


def petition_name(seq: int) -> str:
    """Give the name under which the pause of a petition is kept, and of its lot."""
    return f"{_PETITION}{seq}"


def _replacing_name(seq: int) -> str:
    """Give the lot of a petition that waits until what it replaces has gone."""
    return f"replaces:{seq}"


def _secrets_name(seq: int) -> str:
    """Give the lot of a petition that waits until it is given secrets again."""
    return f"secrets:{seq}"


def _after_name(seq: int) -> str:
    """Give the lot of petitions that wait for the end of another one."""
    return f"after:{seq}"


def text_name(text: str) -> str:
    """Give the lot of petitions that wait until a condition in text holds."""
    return f"{_TEXT}{text}"


def is_petition_name(name: str) -> bool:
    """Tell whether a pause holds back one petition alone."""
    return name.startswith(_PETITION)


def _starts_later(petition: Candidate | Known) -> Reason | None:
    """Give why a new petition may not start that names a time; whether that has come is known once it is accepted."""
    if petition.phase is not _CONVERTING or isinstance(petition, Known) or petition.at is petition.delay is None:
        return None
    return StartsLater(petition.starts_after)


class Admission:
    """Pauses, groups, keys and resources, over the petitions there are and the book of granted slots.

    The hook thread asks `blocked_by`; all else is the engine's.
    """

    def __init__(
        self,
        petitions: Petitions,
        *,
        resources: Mapping[str, Stock] | None = None,
        lock: AbstractContextManager[object] | None = None,
        vocabulary: Vocabulary = BUILT_IN,
        now: Callable[[], Moment] = lambda: Moment(0.0, 0.0),
        clock: Callable[[], Moment] | None = None,
    ) -> None:
        """Pause nothing, and know no group; `resources` has how much there is of each resource, or its devices.

        Conditions in text are read with the `vocabulary`. `now` gives the time, by which rates of groups are counted.
        `clock` gives the time of the very moment, by which starts are foretold: where conditions take long, a petition
        is asked long after its batch began. Without it that is `now`.
        """
        self._petitions = petitions
        self._granted = petitions.granted
        self.paused: frozenset[str] = frozenset()
        """What is paused: `all`, `group:<name>`, `petition:<seq>`."""
        self.keys = OnceKeys(petitions.granted)
        self.dependencies = Dependencies()
        self.secrets = Secrets()
        self.conditions = ConditionBook(self._service_values(), vocabulary)
        self.of_groups = GroupAdmission(petitions, lambda name: name in self.paused, self.conditions, now)
        self.resources = Resources(
            petitions,
            resources or {},
            self._is_paused,
            self.of_groups,
            lock,
            clock or now,
            lambda: bool(self.paused),
        )
        self._holding: set[str] = set()
        """Conditions that hold, and for which petitions are parked still."""
        self._seen_counts = (-1, -1, -1)
        self._opening: set[str] = set()
        """Lots whose pause has ended."""
        self._replacing: set[int] = set()
        """Petitions that are parked until what they replace has gone, by sequence."""
        self._seen_version = -1
        self._seen_parkings = 0
        self._terms: tuple[Callable[[Candidate | Known], Reason | None], ...] = (
            self._replaces,
            self._lacks_secrets,
            self._petition_paused,
            self._group_paused,
            _starts_later,
            self._others_first,
            self._text_blocks,
            self._quota_blocks,
            self._whole_blocks,
            self.of_groups.text_blocks,
            self.of_groups.user_full,
            self.of_groups.full,
            self.of_groups.too_soon,
        )
        """All that can block a petition before what it needs is looked at, in the order in which people are told."""
        self._group_terms = self._terms[-6:]
        """The last ones, of a petition that declares its group alone."""

    def load(
        self, paused: Iterable[str], groups: Slots, rules: Mapping[str, GroupRules] = MappingProxyType({})
    ) -> None:
        """Take over what is paused, which groups there are, and what people set for them."""
        self.paused = frozenset(paused)
        self.of_groups.slots, self.of_groups.rules = groups, rules
        self.of_groups.note_ages()

    @property
    def groups(self) -> Slots:
        """How many petitions of each group may run at once; None for any number."""
        return self.of_groups.slots

    # --- may it start? ------------------------------------------------------------------------------------------

    def refusal(
        self,
        group: str | None,
        needs: Mapping[str, int | str] | None,
        timeout: float | None = None,
        of: tuple[str, str] | None = None,
    ) -> Reason | None:
        """Give why a petition that declares this can never start, if that is so.

        `of` is its owner and its manager, where the quotas of that owner are to be asked.
        """
        never: Reason | None = self.resources.refusal(needs) if needs else None
        quotas = self._petitions.quotas
        if never is None and quotas is not None and of is not None:
            never = quotas.never(*of, needs)
        if never is not None or group is None:
            return never
        return self.of_groups.refusal(group) or self.of_groups.too_long(group, timeout)

    def unknown(self, group: str) -> GroupUnknown | None:
        """Give why nothing of a group can start, where there is no such group."""
        return self.of_groups.unknown(group)

    def blocked_by(self, record: Candidate) -> Reason | None:
        """Give why a petition may not start, whatever its condition says; None where its condition decides."""
        petitions = self._petitions
        if record.is_plain and not (
            self.paused
            or self.secrets.lacking
            or self._granted.whole
            or self.resources.whole_waits
            or petitions.lent
            or petitions.quotas is not None
        ):
            return None
        blocked = self._before_needs(record)
        if record.needs:
            if blocked is None:
                blocked = self.resources.blocked_by(record)
            elif isinstance(blocked, _WAITS_FOR_ITS_LIKE):
                self.resources.waits_elsewhere(record)
            else:
                self.resources.waits_for_others(record.seq)
        return self._preempted_first(record) if blocked is None and petitions.lent else blocked

    def _before_needs(self, record: Candidate) -> Reason | None:
        terms = self._terms
        if (
            not self.paused
            and not self.secrets.lacking
            and record.once is None
            and record.when is None
            and record.after is None
            and record.at is record.delay is None
        ):
            terms = self._group_terms
        for term in terms:
            if (reason := term(record)) is not None:
                return reason
        return self.of_groups.in_line(record)

    def held_by(self, seq: int, group: str | None, owner: str = "") -> Reason | None:
        """Give what holds back a petition now, whose record need not be in memory: it enters no line for that."""
        text = self.text_of(seq)
        known = Known(seq, owner, group, None if text is None else self.conditions.read_again(text))
        found = (reason for term in self._terms if (reason := term(known)) is not None)
        return next(found, None) or self.resources.held_by(seq) or self._preempted_first(known)

    def reasons(
        self, record: Record, group: str | None = None, needs: Mapping[str, int | str] | None = None
    ) -> list[Reason]:
        """Give all that blocks a waiting petition now, whatever its condition says; it enters no line for that.

        Of a petition that was not converted since the service started its group and its needs are given.
        """
        needs = needs or record.needs
        known: Record | Known = record
        if group is not None:
            known = Known(record.seq, record.owner, group, record.when, needs=needs, manager=record.manager)
        found = [reason for term in self._terms if (reason := term(known)) is not None]
        found += self.resources.reasons(record.place, needs, known_seconds(record)) if needs else []
        behind = self._preempted_first(known)
        return found if behind is None else [*found, behind]

    # Each of these gives one reason why a petition may not start, or None; a petition that declares nothing of the
    # kind costs one look.

    def _replaces(self, petition: Candidate | Known) -> Reason | None:
        is_blocked = petition.once is not None and self.keys.replaces(petition.seq)
        return ReplacesAnother() if is_blocked else None

    def _lacks_secrets(self, petition: Candidate | Known) -> Reason | None:
        return self.secrets.lacks(petition.seq) if self.secrets.lacking else None

    def _petition_paused(self, petition: Candidate | Known) -> Reason | None:
        if not self.paused or petition_name(petition.seq) not in self.paused:
            return None
        failed = self.dependencies.held.get(petition.seq)
        return PetitionPaused() if failed is None else DependencyFailed(failed)

    def _group_paused(self, petition: Candidate | Known) -> Reason | None:
        group = petition.group
        is_paused = self.paused and group is not None and group_name(group) in self.paused
        return GroupPaused(group) if is_paused and group is not None else None

    def _others_first(self, petition: Candidate | Known) -> Reason | None:
        """Look at what others have come to; of a new petition that is known once it is accepted."""
        if petition.phase is _CONVERTING:
            return waits_for(petition.after) if petition.after else None
        return self.dependencies.blocks(petition.seq) if self.dependencies.are_used else None

    def _text_blocks(self, petition: Candidate | Known) -> Reason | None:
        return None if petition.when is None else self.conditions.blocked_by(petition.when)

    def is_waited_for(self, text: str) -> bool:
        """Tell whether petitions are parked until a condition in text holds, their own or their group's."""
        return bool(self._petitions.waiting.parked_in(text_name(text))) or self.of_groups.is_waited_for(text)

    def _quota_blocks(self, petition: Candidate | Known) -> Reason | None:
        quotas = self._petitions.quotas
        return None if quotas is None else quotas.blocked_by(petition)

    def _whole_blocks(self, petition: Candidate | Known) -> Reason | None:
        """Look whether another petition has, or is the first that waits for, the whole machine."""
        if not (self._granted.whole or self.resources.whole_waits):
            return None
        found = self._petitions.records.get(petition.seq) if isinstance(petition, Known) else petition
        return None if found is None else self.resources.whole_blocks(found)

    def _preempted_first(self, petition: Candidate | Known) -> BehindPreempted | None:
        """Look whether a preempted command that is as urgent comes back to what the petition would take."""
        lent = self._petitions.lent
        if not lent:
            return None
        found = self._petitions.records.get(petition.seq) if isinstance(petition, Known) else petition
        if found is None or found.manager == ARRAY_MANAGER:  # its elements wait, and not the array
            return None
        priority = found.given_priority if isinstance(found, Record) else found.priority
        for other in list(lent.values()):
            if priority < other.given_priority:
                continue
            lacked = self.room.lacks(other) or EVERYTHING
            if takes(found, other, lacked):
                return BehindPreempted(other.key)
        return None

    @property
    def room(self) -> Room:
        """What is free by the book of granted slots."""
        return Room(self._granted, self.of_groups, self._petitions.slots_of)

    def text_of(self, seq: int) -> str | None:
        """Give the condition that a petition is parked for, if it is."""
        lot = self._petitions.waiting.lot_of((0, seq, ""))
        return lot.removeprefix(_TEXT) if lot is not None and lot.startswith(_TEXT) else None

    def _is_paused(self, seq: int, group: str | None) -> bool:
        paused = self.paused
        return bool(paused) and (petition_name(seq) in paused or (group is not None and group_name(group) in paused))

    # --- lots ---------------------------------------------------------------------------------------------------

    def park(self, record: Record, now: float | None = None) -> list[Key]:
        """Park a petition that may not start, where something of this blocks it, at a wall-clock time.

        Where its own condition said no, another petition of its group, or of its owner's quotas, may go instead. Gives
        the keys of the petitions whose records are to be loaded.
        """
        petitions, why = self._petitions, record.why
        freed: list[Key] = []
        if (
            record.is_plain
            and isinstance(why, ConditionSaidNo)
            and not self.paused
            and not self.secrets.lacking
            and petitions.quotas is None
        ):
            return freed  # nothing holds it back but its own condition, and no other petition may go instead
        if isinstance(why, BehindPreempted):
            return freed  # what it waits for may be free: out of a lot it would come back at once
        if isinstance(why, _FOR_THE_WHOLE) and WHOLE not in (record.needs or ()):
            return freed  # nothing that comes after it goes either: it stays where it is in the queue
        if not self._park_apart(record, now) and record.group is not None:
            freed = self._park_with_group(record, record.group, now)
        if record.needs:
            freed += self.resources.park(record)
        if petitions.quotas is not None and not petitions.waiting.is_parked(record.place):
            freed += petitions.quotas.unpark_one(record.owner)
        return freed

    def _park_with_group(self, record: Record, group: str, now: float | None) -> list[Key]:
        """Park a petition of a group where what blocks it is told; where nothing does, let another of the group go."""
        blocked = self._before_needs(record)
        if blocked is None:
            if isinstance(record.why, _OVER_UNNOTICED):  # since it was asked, and nothing told that
                self._petitions.note_change()
            return self.of_groups.unpark_one(group)
        if isinstance(blocked, _FOR_THE_WHOLE):  # its group has room: it would not stay there
            return []
        wait.note_no(record, blocked, record.asked, now)  # what its own condition says is news later
        if not (isinstance(blocked, TextIsFalse) and self._park_apart(record, now)):
            hold.park(self._petitions, record, self.of_groups.lot(group, record.owner))
            self.of_groups.note_parked(group)
        if isinstance(blocked, InOrder) and self._petitions.fairness is not None:
            return self.of_groups.unpark_one(group)  # another owner's turn has come since it left
        return []

    def _park_apart(self, record: Record, now: float | None) -> bool:
        """Park a petition that waits for neither group nor resource; tell whether it is parked."""
        petitions, seq = self._petitions, record.seq
        if record.once is not None and self.keys.replaces(seq):
            self._replacing.add(seq)
            name = _replacing_name(seq)
        elif self.secrets.lacks(seq) is not None:
            name = _secrets_name(seq)
        elif petition_name(seq) in self.paused:
            name = petition_name(seq)
        elif (other := self.dependencies.first(seq)) is not None:
            name = _after_name(other)
        elif record.when is not None and isinstance(record.why, TextIsFalse):
            if record.when.holds(self.conditions):  # since it was asked: nobody would notice that in the lot
                petitions.note_change()
                return False
            self.conditions.waits(record.when)
            name = text_name(record.when.text)
        else:
            return petitions.quotas is not None and petitions.quotas.park(record, now)
        hold.park(petitions, record, name)
        if petitions.waiting.parked > MAX_READY_PETITIONS:  # each of a million may wait for a text of its own
            petitions.unload([record.place])
        return True

    def may_unpark(self) -> bool:
        """Tell whether something has changed since `unpark` looked at parked petitions, and there are some.

        What has changed, and surely lets nobody in line go, is not looked at again.
        """
        petitions, resources = self._petitions, self.resources
        if petitions.version == self._seen_version or not petitions.waiting.parked:
            return False
        has_parked_alone = petitions.version - resources.line_parkings == self._seen_version - self._seen_parkings
        if has_parked_alone and resources.nobody_follows():
            self._note_seen()
            return False
        return True

    def unpark(self) -> list[Key]:
        """Let as many wait with the others again as there are slots and resources for; called often.

        Gives the keys of the petitions whose records are to be loaded.
        """
        petitions = self._petitions
        if not petitions.waiting.parked:
            self.of_groups.due = None
            return []
        if self.of_groups.are_due:
            petitions.note_change()
        fairness = petitions.fairness
        shares = fairness.changes if fairness is not None and fairness.counts_past else 0  # they change with time alone
        counts = (petitions.starts, len(petitions.waiting), shares)
        if petitions.version == self._seen_version and counts == self._seen_counts:
            return []
        starts_before, _, shares_before = self._seen_counts
        may_another_be_first = fairness is not None and (petitions.starts, shares) != (starts_before, shares_before)
        self._seen_counts = counts
        unloaded = self._unpark_true()
        if petitions.version == self._seen_version:
            if may_another_be_first:  # in a line for a resource, by what the owners have in use now
                unloaded += self.resources.unpark()
            return unloaded
        unloaded += self.resources.unpark()
        for seq in [seq for seq in self._replacing if not self.keys.replaces(seq)]:
            self._replacing.discard(seq)
            unloaded += hold.unpark(petitions, _replacing_name(seq), 1)
        unloaded += self.of_groups.unpark()
        quotas = petitions.quotas
        if quotas is not None:
            unloaded += quotas.unpark()
        self._note_seen()
        if self.of_groups.are_more or (quotas is not None and quotas.are_more):
            petitions.note_change()
        return unloaded

    def _note_seen(self) -> None:
        """Note that parked petitions have been looked at as things are."""
        self._seen_version, self._seen_parkings = self._petitions.version, self.resources.line_parkings

    def _unpark_true(self) -> list[Key]:
        """Let the first petitions wait with the others again whose conditions in text have come to hold.

        Of many that are parked for one text not all do at once, since the start of one may make it false for the
        others; but none that is parked for a text that holds is among the first that a round asks.
        """
        petitions, conditions = self._petitions, self.conditions
        waiting, unloaded = petitions.waiting, []
        self._holding |= conditions.take_true()
        for text in list(self._holding):
            name, condition = text_name(text), conditions.read_again(text)
            first = waiting.first_parked(name)
            if first is not None and not condition.holds(conditions):
                conditions.waits(condition)
                first = None
            if first is not None and (missing := MIN_READY_PETITIONS_OF_A_TEXT - waiting.index(first)) > 0:
                unloaded += hold.unpark(petitions, name, missing)
                first = waiting.first_parked(name)
            if first is None:
                self._holding.discard(text)
                if self.of_groups.is_waited_for(text):
                    petitions.note_change()
        return unloaded

    def park_stored(self, keys: Iterable[Key]) -> None:
        """Park petitions that wait for the ends of others, and whose keys have just been taken from the store."""
        for key in keys:
            other = self.dependencies.first(key[1])
            if other is not None:
                self._petitions.waiting.park(key, _after_name(other))

    def note_end(self, seq: int, outcome: Outcome | None) -> list[FailedDependency]:
        """Note that a petition ended, for which others wait; give the petitions that fail by that.

        `unpark_resumed` lets the others wait with petitions that may start. The outcome is None where it is unknown.
        """
        failed = self.dependencies.ended(seq, outcome)
        self._opening.add(_after_name(seq))
        self._petitions.note_change()
        return failed

    def hold_failed(self, failed: FailedDependency) -> None:
        """Have a petition that failed by another one's end wait for what people decide; it is to be paused, too."""
        self.dependencies.hold(failed.petition, failed.on.id)
        self._opening.add(_after_name(failed.on.seq))

    def note_secrets(self, seq: int, token: bytes) -> None:
        """Note that a petition was given secrets; `unpark_resumed` lets it wait with the others where it lacks none."""
        if self.secrets.are_found(seq, token):
            self._opening.add(_secrets_name(seq))
            self._petitions.note_change()

    # --- decisions of people ------------------------------------------------------------------------------------

    def pause(self, name: str) -> None:
        """Hold back what this names, from now on, also after a restart of the service."""
        self.paused |= {name}
        self._note_pause(name, paused=True)

    def resume(self, name: str) -> None:
        """Hold it back no more; `unpark_resumed` lets go what waits in its lot."""
        self.paused -= {name}
        if is_petition_name(name):
            self.dependencies.held.pop(int(name.removeprefix(_PETITION)), None)
        self._note_pause(name, paused=False)
        if (group := group_of(name)) is not None:
            self._opening.update(self.of_groups.lots(group))
        elif name != ALL:
            self._opening.add(name)

    def set_group(self, group: str, slots: int | None, rules: GroupRules) -> None:
        """Have this hold for the petitions of a group from now on; None for any number at once."""
        known = self.of_groups
        self._opening.update(known.lots(group))  # where they wait depends on the rules
        known.slots = {**known.slots, group: slots}
        known.rules = {name: each for name, each in {**known.rules, group: rules}.items() if each != NO_RULES}
        known.note_ages()
        self._petitions.note_change()

    def forget_group(self, group: str) -> None:
        """Have no such group any more: its petitions wait, and say so."""
        known = self.of_groups
        self._opening.update(known.lots(group))
        known.slots = {name: count for name, count in known.slots.items() if name != group}
        known.rules = {name: each for name, each in known.rules.items() if name != group}
        known.note_ages()
        self._petitions.note_change()

    def set_quotas(
        self,
        accounts_of: Callable[[str], tuple[Account, ...]] | None,
        unmade: Callable[[], Iterable[tuple[str, int]]] = lambda: (),
    ) -> None:
        """Have other quotas hold from now on; None where there are none. `Quotas` says what the two give."""
        petitions = self._petitions
        self._opening.update(lot for lot in petitions.waiting.lots() if lot.startswith(QUOTA_LOT))
        quotas = None
        if accounts_of is not None:
            quotas = Quotas(petitions, accounts_of, is_paused=self._is_paused, unmade=unmade)
        petitions.use_quotas(quotas)
        petitions.note_change()

    def renew_accounts(self, owner: str) -> None:
        """Have an owner's petitions count for the accounts of the groups that the user is in by now.

        `unpark_resumed` lets wait with the others again what waited for the accounts that the owner had.
        """
        petitions = self._petitions
        quotas = petitions.quotas
        if quotas is not None and (had := quotas.renew(owner)):
            self._opening.update(quotas.lots_of(had))
            petitions.note_change()

    def _note_pause(self, name: str, *, paused: bool) -> None:
        self._petitions.keep_pause(name, paused=paused)
        self._petitions.note_change()

    def unpark_resumed(self) -> tuple[list[Key], bool]:
        """Let a part of what goes on wait with the others again; tell whether there is more.

        Gives the keys of the petitions whose records are to be loaded.
        """
        unloaded = []
        for name in list(self._opening):
            unloaded += hold.unpark(self._petitions, name, MAX_UNPARKED_PETITIONS)
            if name in self.paused or not self._petitions.waiting.parked_in(name):
                self._opening.discard(name)
        return unloaded, bool(self._opening)

    # --- what conditions in text know of the service ------------------------------------------------------------

    def _service_values(self) -> ServiceValues:
        """Give what looks up the names of conditions whose values the service itself knows."""
        petitions, granted = self._petitions, self._petitions.granted
        return {
            "queued": lambda: len(petitions.waiting) + petitions.waiting.parked,
            "running": lambda: len(granted),
            "running_in": lambda group: granted.in_group(group) if group in self.groups else _no_group(group),
            "slots.free": self._free_slots,
            "resource.free": self._free_of,
        }

    def _free_slots(self, group: str) -> int | Unknown:
        if group not in self.groups:
            return _no_group(group)
        slots = self.groups[group]
        if slots is None:
            return Unknown(f"the group {group} has any number of slots")
        return max(0, slots - self._petitions.granted.in_group(group))

    def _free_of(self, resource: str) -> int | float | Unknown:
        free = self.resources.free(resource)
        return Unknown(f"the service has no {resource}") if free is None else free

    # --- for people ---------------------------------------------------------------------------------------------

    def before(self, record: Record, group: str | None) -> int | None:
        """Give how many wait for the same as a petition and come before it; None where nobody has to go first."""
        waiting = self._petitions.waiting
        lot = waiting.lot_of(record.place)
        if petition_name(record.seq) in self.paused or lot in {_replacing_name(record.seq), _secrets_name(record.seq)}:
            return None
        if self.dependencies.first(record.seq) is not None or self.text_of(record.seq) is not None:
            return None
        if lot is None or group is None or group_of(lot) != group:
            in_line = self.resources.before(record.seq)
            never = in_line is None and self.resources.is_lot(lot)
            return waiting.place(record.place) if in_line is None and not never else in_line
        records = self._petitions.records
        others = (records.get(key[1]) for key in waiting.before(record.place, MAX_LOOKED_AT_PETITIONS))
        return waiting.place(record.place) + sum(1 for each in others if each is not None and each.group == group)

    def is_paused(self, seq: int, group: str | None, state: State) -> bool:
        """Tell whether a petition is paused, or lacks a secret, or its group is paused, or everything.

        A pause of more than one petition starts nothing more, and what runs goes on.
        """
        if state in (State.CANCELLING, State.ENDED):
            return False
        if state is State.QUEUED and self.secrets.lacks(seq) is not None:
            return True
        names = {petition_name(seq)}
        if state in (State.QUEUED, State.HELD):
            names |= {ALL} if group is None else {ALL, group_name(group)}
        return not self.paused.isdisjoint(names)

    def groups_in_use(self) -> list[GroupUse]:
        """Give each group that has slots, is paused, or has petitions that run or are held back."""
        return self.of_groups.in_use(self.paused)


def _no_group(group: str) -> Unknown:
    return Unknown(f"there is no group {group}")


__all__ = ["ALL", "Admission", "GroupUse", "group_name", "is_petition_name", "petition_name", "text_name"]
