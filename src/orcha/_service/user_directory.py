"""What the machine says of users, their names and groups, as data: the engine never asks the machine itself."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._core.authority import uid_of
from orcha._service.reports import user_names
from orcha.utils.threads import NoThreadError, guarded, ignore_death, start
from orcha.utils.users import groups_of, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from orcha._service.lookups import Lookups
    from orcha._service.timers import Timers

MEMBERSHIP_SECONDS = 60.0
"""How long the name and the groups of a user are taken as they were looked up."""
NAME_SECONDS = 0.5
"""How long an answer waits for the names in it."""
RETRY_SECONDS = 10.0
"""How long nobody waits for a lookup after a lookup that gave no answer."""


class KnownUser(NamedTuple):
    """What was looked up of a user."""

    name: str
    """Empty where the machine has no name for the user, or gave no answer."""
    groups: tuple[str, ...]
    due: float
    """When this may be looked up again, on the steady clock."""
    is_answered: bool = True


_NOTHING_KNOWN = KnownUser("", (), 0.0)


class UserDirectory:
    """Knows users; the engine's, but for `known` and `is_due`, which every thread may call."""

    def __init__(self, lookups: Lookups, timers: Timers) -> None:
        """Know nobody yet."""
        self._lookups = lookups
        self._timers = timers
        self._look_up = _look_up
        self._known: dict[str, KnownUser] = {}
        self.answered: set[str] = set()
        """The users of whom the machine has answered what it knows."""
        self._asked: dict[str, list[Callable[[], None]]] = {}
        """What is called when a user has been looked up."""
        self._hanging: set[str] = set()
        """The users whose lookup was given up, and has not come back."""
        self._slow: set[str] = set()
        """The users whose names no answer waits for any more."""
        self.renewed_for: set[str] = set()
        """For what groups count: then users are looked up again."""
        self.on_news: list[Callable[[str], None]] = []
        """Each is told of a user of whom something else is known than before."""

    def renew_for(self, what: str, *, wanted: bool) -> None:
        """Have users looked up again and again for something for which their groups count, or no more for that."""
        if wanted:
            self.renewed_for.add(what)
        else:
            self.renewed_for.discard(what)

    def known(self, owner: str) -> KnownUser | None:
        """Give what is known of an owner of petitions."""
        return self._known.get(owner)

    def is_due(self, owner: str) -> bool:
        """Tell whether an owner should be looked up before something is decided about the owner."""
        known = self._known.get(owner)
        if known is None:
            return uid_of(owner) is not None
        return (bool(self.renewed_for) or not known.is_answered) and known.due <= time.monotonic()

    def ask(self, owner: str, then: Callable[[], None]) -> None:
        """Have an owner looked up, and `then` called: with an answer, or when none has come in time."""
        uid = uid_of(owner)
        if uid is None or owner in self._hanging:
            self._give_up(owner)
            then()
            return
        waiting = self._asked.setdefault(owner, [])
        waiting.append(then)
        if len(waiting) == 1:
            self._lookups.begin(
                partial(self._look_up, uid), partial(self._take, owner), late=partial(self._take_late, owner)
            )

    def when_known(self, owners: Iterable[str], then: Callable[[], None]) -> bool:
        """Have `then` called when each of these owners was looked up, or soon; False where all are known already.

        It is for names in answers, which are not waited for as long as what a decision needs.
        """
        known = self._known.keys() | self._slow
        unknown = {owner for owner in owners if owner not in known and uid_of(owner) is not None}
        if not unknown:
            return False
        calls = [then]

        def is_known(owner: str) -> None:
            unknown.discard(owner)
            if not unknown and calls:
                calls.pop()()

        def give_up() -> None:
            self._slow |= unknown
            if calls:
                calls.pop()()

        self._timers.at(time.monotonic() + NAME_SECONDS, give_up)
        for owner in tuple(unknown):
            self.ask(owner, partial(is_known, owner))
        return True

    def look_up_now(self, owners: Collection[str], seconds: float) -> None:
        """Look these owners up before the engine starts, for `seconds` at most in all, and then as the engine."""
        found: dict[str, tuple[str, tuple[str, ...]]] = {}
        uids = {owner: uid for owner in owners if (uid := uid_of(owner)) is not None}

        def look() -> None:
            for owner, uid in uids.items():
                found[owner] = self._look_up(uid)

        if uids:
            thread = guarded("orcha-lookup", look, ignore_death)
            with contextlib.suppress(NoThreadError):  # then all are asked about below
                start(thread)
                thread.join(seconds)
        for owner, answer in tuple(found.items()):
            self._note(owner, *answer)
        for owner in uids:
            if owner not in self._known:
                self.ask(owner, _do_nothing)

    def _take(self, owner: str, found: Any) -> None:
        if isinstance(found, Exception):
            if isinstance(found, TimeoutError):
                self._hanging.add(owner)
            self._give_up(owner)
        else:
            self._note(owner, *found)
        self._slow.discard(owner)
        for then in self._asked.pop(owner, ()):
            then()

    def _take_late(self, owner: str, found: Any) -> None:
        self._hanging.discard(owner)
        if not isinstance(found, Exception):
            self._note(owner, *found)

    def _note(self, owner: str, name: str, groups: tuple[str, ...]) -> None:
        before = self._known.get(owner, _NOTHING_KNOWN)
        self._known[owner] = known = KnownUser(name, groups, time.monotonic() + MEMBERSHIP_SECONDS)
        self.answered.add(owner)
        user_names.note(owner, name)
        if (before.name, before.groups) != (known.name, known.groups):
            for tell in self.on_news:
                tell(owner)

    def _give_up(self, owner: str) -> None:
        """Go on with what was known before, for a while."""
        before = self._known.get(owner, _NOTHING_KNOWN)
        self._known[owner] = before._replace(due=time.monotonic() + RETRY_SECONDS, is_answered=False)
        self.answered.discard(owner)


def _do_nothing() -> None:
    """Do nothing: nobody waits for this user."""


def _look_up(uid: int) -> tuple[str, tuple[str, ...]]:
    return name_of(uid), groups_of(uid)


__all__ = ["MEMBERSHIP_SECONDS", "RETRY_SECONDS", "KnownUser", "UserDirectory"]
