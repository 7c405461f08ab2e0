"""The service's side of admission: stored pauses and groups, and the records of petitions that leave lots."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from orcha._core import group_limits
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
_LIMITS = "limits of a group"
"""Kind of the limits of time that a group gave, and gives."""
_SET = "group set by"
"""Kind of the groups that people set: the configuration files say nothing of such a group until it is unset."""
_CONFIGURED = "configured group"
"""Kind of the groups that the configuration files held when they were read last."""


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
        self._set_by_people: set[str] = set()
        """Groups that people have set while the service ran."""
        self._configured: set[str] = set()
        """Groups of the configuration files."""
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
        self._set_by_people = {*self._store.decided(_SET), *rules} & groups.keys()
        self._configured = {*self._store.decided(_CONFIGURED)}
        for name, said in self._said().items():
            groups.pop(name, None)
            rules.pop(name, None)
            if said is not None:
                groups[name], rules[name] = said
        self._note_configured()
        rules = {name: each for name, each in rules.items() if each != core.NO_RULES}
        self._admission.load(paused, groups, {name: each for name, each in rules.items() if name in groups})
        self._load_limits()
        if groups != kept:
            self._petitions.keep_slots(groups)
        before = {
            name: count for name, count in groups.items() if name not in settings.slots and name not in self._configured
        }
        if before:
            self._report(logging.INFO, "groups are as they were set before: %s", core.spelled(before))
        self._take_new()
        self._admission.of_groups.load_starts(self._kept_starts(), self._petitions.now)
        self._admission.keys.load(self._store.once())

    def _load_limits(self) -> None:
        """Take over the limits of time that groups gave; what this start gives holds for new petitions."""
        known = self._admission.of_groups
        known.limits = {name: group_limits.limits_of(text) for name, text in self._store.decided(_LIMITS).items()}
        for group in {*known.limits, *known.rules}:
            self._note_limit(group)

    def _note_limit(self, group: str) -> None:
        """Keep which limit of time a group gives to petitions that come from now on, where that is another one."""
        known, rules = self._admission.of_groups, self._admission.of_groups.rules.get(group, core.NO_RULES)
        had = known.limits.get(group, ())
        changes = group_limits.changed(had, self._petitions.next_seq, rules.given_timeout)
        if changes is not had:
            known.limits = {**known.limits, group: changes}
            self._petitions.keep_decided(_LIMITS, group, group_limits.limits_text(changes))

    def _take_new(self) -> None:
        self._admission.of_groups.new_slots = self._settings.new_group_slots
        self._admission.of_groups.takes_new = self._settings.takes_new_groups

    # --- the configuration files --------------------------------------------------------------------------------

    def configure(self, settings: Settings) -> list[str]:
        """Have other configuration files hold; give the groups of them that people have set otherwise."""
        self._settings = settings
        self._take_new()
        for name, said in self._said().items():
            self._hold(name, said)
        self._note_configured()
        return sorted(settings.configured.groups.keys() & self._set_by_people)

    def _said(self) -> dict[str, tuple[int | None, GroupRules] | None]:
        """Give what holds for each group that the files hold, or held before; None where there is to be no such group.

        A group that people have set is not among them.
        """
        names = {*self._settings.configured.groups, *self._configured} - self._set_by_people
        return {name: self.base_of(name) for name in names}

    def base_of(self, name: str) -> tuple[int | None, GroupRules] | None:
        """Give slots and rules of a group that nobody sets while the service runs; None where there is no such group.

        A group that neither the files nor this start of the service names is as if a petition had named it first.
        """
        settings = self._settings
        if name in settings.forgotten_groups:
            return None
        configured = settings.configured.groups.get(name)
        if name in settings.slots:
            return settings.slots[name], core.NO_RULES if configured is None else configured[1]
        if configured is not None:
            return configured
        return (settings.new_group_slots, core.NO_RULES) if settings.takes_new_groups else None

    def _note_configured(self) -> None:
        """Keep which groups the files hold."""
        now = {*self._settings.configured.groups}
        for name in now ^ self._configured:
            self._petitions.keep_decided(_CONFIGURED, name, "" if name in now else None)
        self._configured = now

    def unset(self, group: str) -> bool:
        """Have the configuration hold again for a group that people have set; tell whether they had."""
        if group not in self._set_by_people:
            return False
        self._set_by_people.discard(group)
        self._petitions.keep_decided(_SET, group, None)
        self._petitions.keep_decided(_RULES, group, None)
        self._hold(group, self.base_of(group))
        return True

    def origin_of(self, group: str) -> str:
        """Tell where slots and rules of a group come from."""
        settings = self._settings
        if group in self._set_by_people:
            return "set"
        if group in settings.configured.groups:
            return settings.configured.origin("groups", group) or "configuration"
        return "start" if group in settings.slots else "petition"

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
            self._hold(group, (groups.new_slots, core.NO_RULES))

    def set_group(self, group: str, slots: int | None, rules: GroupRules, who: str = "") -> None:
        """Have this hold for the petitions of a group from now on, also after a restart; None for any number.

        What the configuration files say of the group does not hold until the group is unset. `who` wants that.
        """
        self._set_by_people.add(group)
        self._petitions.keep_decided(_SET, group, json.dumps([who, self._petitions.now.wall]))
        self._petitions.keep_decided(_RULES, group, rules.text())
        self._hold(group, (slots, rules))

    def _hold(self, group: str, said: tuple[int | None, GroupRules] | None) -> None:
        """Have this hold for a group from now on, where it is not so yet; None for no such group."""
        known = self._admission.of_groups
        had = known.rules.get(group, core.NO_RULES)
        if said is None:
            if group not in known.slots:
                return
            rules = core.NO_RULES
            self._admission.forget_group(group)
        else:
            slots, rules = said
            if group in known.slots and (known.slots[group], had) == said:
                return
            self._admission.set_group(group, slots, rules)
        if rules.rate != had.rate:
            self._change_rate(group, had.rate, rules.rate)
        if rules.age != had.age:
            self.ages_changed()
        self._note_limit(group)
        self._petitions.keep_slots(self._admission.groups)
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
        self._stored.load(self._admission.park(record, self._petitions.now.wall))
