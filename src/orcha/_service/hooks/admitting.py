"""The service's side of admission: stored pauses and groups, and the records of petitions that leave lots."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from orcha._core import groups as core
from orcha._core.admission import ALL
from orcha._core.petitions import STARTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.admission import Admission
    from orcha._core.groups import GroupRules
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._core.start_log import StartRate
    from orcha._service.lifecycle.settings import Settings
    from orcha._service.lifecycle.stored_records import StoredPetitions
    from orcha._service.mailbox import Mailbox
    from orcha._store.contract import Store

_GIVEN = "slots at the start"
"""Kind of what is kept of the groups that the service was started with."""
_PAUSED = "paused by"
"""Kind of what is kept of pauses beside their names."""
_RULES = "rules of a group"
"""Kind of what people set for a group beside its slots."""


class Admitting:
    """Keeps people's decisions, and reads from the store what the core needs; the engine thread's."""

    def __init__(
        self,
        admission: Admission,
        petitions: Petitions,
        stored: StoredPetitions,
        store: Store,
        mailbox: Mailbox,
        settings: Settings,
        report: Callable[..., None],
        pause_all: Callable[[bool], None],
    ) -> None:
        """Prepare.

        Args:
            admission: decides.
            petitions: the petitions, and the changes to keep.
            stored: loads the records of petitions that leave lots.
            store: what was kept of pauses, groups and keys.
            mailbox: has the rest done later, where much is to be done.
            settings: the groups as they are set.
            report: writes to the log.
            pause_all: told whether everything is paused.

        """
        self._admission = admission
        self._petitions = petitions
        self._stored = stored
        self._store = store
        self._mailbox = mailbox
        self._settings = settings
        self._report = report
        self._pause_all = pause_all
        self.paused_by: dict[str, tuple[str | None, float]] = {}
        """Who paused what is paused, and when, by the names under which pauses are kept."""
        self.resumed: Callable[[], None] = lambda: None
        """Told when something goes on that was paused."""
        self.ages_changed: Callable[[], None] = lambda: None
        """Told when a group ages otherwise than before."""
        self.tell: Callable[[Record, str], None] = lambda *_: None
        """Tells the submitter of a petition something about it."""

    def load(self) -> None:
        """Take over what is kept as paused, and the groups as they were set, where they are not set anew."""
        paused = self._store.pauses()
        self._pause_all(ALL in paused)
        for name, text in self._store.decided(_PAUSED).items():
            if name in paused:
                self.paused_by[name] = tuple(json.loads(text))
            else:  # it was a petition, which has gone
                self._petitions.keep_decided(_PAUSED, name, None)
        kept, settings = self._store.slots(), self._settings
        given = self._set_anew()
        groups = core.declared(
            kept,
            {name: count for name, count in settings.slots.items() if name in given},
            settings.forgotten_groups & given,
        )
        rules = {name: core.rules_of(text) for name, text in self._store.decided(_RULES).items()}
        for name in rules.keys() - groups.keys():
            self._petitions.keep_decided(_RULES, name, None)
        self._admission.load(paused, groups, {name: each for name, each in rules.items() if name in groups})
        if groups != kept:
            self._petitions.keep_slots(groups)
        before = {name: count for name, count in groups.items() if name not in settings.slots}
        if before:
            self._report(logging.INFO, "groups are as they were set before: %s", core.spelled(before))
        self._admission.of_groups.new_slots = settings.new_group_slots
        self._admission.of_groups.takes_new = settings.takes_new_groups
        self._admission.of_groups.load_starts(self._kept_starts(), self._petitions.now)
        self._admission.keys.load(self._store.once())

    def _kept_starts(self) -> dict[str, dict[int, float]]:
        """Give the last starts of groups with a rate, by their places; forget starts that no rate counts any more."""
        found: dict[str, dict[int, float]] = {}
        for name, text in self._store.decided(STARTS).items():
            place, _, group = name.partition(":")
            rate = self._admission.of_groups.rules.get(group, core.NO_RULES).rate
            if rate is not None and int(place) < rate.starts:
                found.setdefault(group, {})[int(place)] = float(text)
            else:
                self._petitions.keep_decided(STARTS, name, None)
        return found

    def _set_anew(self) -> set[str]:
        """Give the groups that this start of the service sets otherwise than the start before; keep that."""
        given = {name: "none" if count is None else str(count) for name, count in self._settings.slots.items()}
        given |= dict.fromkeys(self._settings.forgotten_groups, "forget")
        before = self._store.decided(_GIVEN)
        changed = {name for name in {*given, *before} if given.get(name) != before.get(name)}
        for name in changed:
            self._petitions.keep_decided(_GIVEN, name, given.get(name))
        return changed & {*given}

    def appear(self, group: str, record: Record) -> None:
        """Make the group that an accepted petition names, where there is none, and tell who asks for the petition."""
        groups = self._admission.of_groups
        if group not in groups.slots and groups.takes_new:
            self.tell(record, core.told_of_new(group, groups.new_slots, groups.slots))
            self.set_group(group, groups.new_slots, core.NO_RULES)

    def set_group(self, group: str, slots: int | None, rules: GroupRules) -> None:
        """Have this hold for the petitions of a group from now on, also after a restart; None for any number."""
        had = self._admission.of_groups.rules.get(group, core.NO_RULES)
        self._admission.set_group(group, slots, rules)
        if rules.rate != had.rate:
            self._change_rate(group, had.rate, rules.rate)
        if rules.age != had.age:
            self.ages_changed()
        self._petitions.keep_slots(self._admission.groups)
        self._petitions.keep_decided(_RULES, group, rules.text())
        self.go_on()

    def _change_rate(self, group: str, had: StartRate | None, rate: StartRate | None) -> None:
        """Have another rate hold, over the starts that the rate before counted."""
        granted, now = self._petitions.granted, self._petitions.now
        known = granted.start_logs[group].walls(now) if had is not None else []
        kept = {place: f"{place}:{group}" for place in range(had.starts if had is not None else 0)}
        for name in kept.values():
            self._petitions.keep_decided(STARTS, name, None)
        last = known[-rate.starts :] if rate is not None else []
        for place, wall in enumerate(last):
            self._petitions.keep_decided(STARTS, f"{place}:{group}", repr(wall))
        self._admission.of_groups.change_rate(group, rate, last, now)

    def pause(self, name: str, who: str | None = None) -> None:
        """Pause what the name stands for, also after a restart of the service; `who` wants that."""
        self._admission.pause(name)
        if name not in self.paused_by:
            self.paused_by[name] = who, self._petitions.now.wall
            self._petitions.keep_decided(_PAUSED, name, json.dumps(self.paused_by[name]))
        if name == ALL:
            self._pause_all(True)

    def resume(self, name: str) -> None:
        """Undo the pause of a name."""
        self._admission.resume(name)
        if self.paused_by.pop(name, None) is not None:
            self._petitions.keep_decided(_PAUSED, name, None)
        if name == ALL:
            self._pause_all(False)
        else:
            self.go_on()
        self.resumed()

    def go_on(self) -> None:
        """Let resumed petitions wait with the others again, a part at a time."""
        unloaded, are_more = self._admission.unpark_resumed()
        self._stored.load(unloaded)
        if are_more:
            self._mailbox.post(self.go_on)

    def park(self, record: Record) -> None:
        """Park a petition that may not start, where something that the service knows holds it back."""
        self._stored.load(self._admission.park(record))

    def unpark(self) -> None:
        """Let those wait with the others again that can go now."""
        self._stored.load(self._admission.unpark())
