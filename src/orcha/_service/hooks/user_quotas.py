"""Quotas of users: what the configuration says, looked up for each user who has petitions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orcha._core.quota_rules import NO_RULES, accounts_of
from orcha._service.reports.user_names import user
from orcha.utils.users import groups_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orcha._core.admission import Admission
    from orcha._core.petitions import Petitions
    from orcha._core.quotas import Account
    from orcha._service.lifecycle.settings import Settings

MEMBERSHIP_SECONDS = 60.0
"""For so long the Unix groups of a user are taken as they were looked up."""
_UID = "uid:"


class UserQuotas:
    """Has the quotas of the configuration hold; the engine thread's, but for looking up accounts."""

    def __init__(
        self,
        admission: Admission,
        petitions: Petitions,
        go_on: Callable[[], None],
    ) -> None:
        """Have no quota yet.

        Args:
            admission: decides.
            petitions: what waits and runs.
            go_on: lets petitions wait with the others again that waited for a quota.

        """
        self._admission = admission
        self._petitions = petitions
        self._go_on = go_on
        self.unmade: Callable[[], Iterable[tuple[str, int]]] = lambda: ()
        """Gives the owner of each array, and how many of its elements are no petitions yet."""
        self.rules = NO_RULES
        self._known: dict[str, tuple[float, tuple[Account, ...]]] = {}
        self.output: Mapping[str, int] = {}
        """Bytes of output that are kept of each owner, as they were measured last."""
        self.is_measured = False
        """Whether they were measured since the service started."""

    def configure(self, settings: Settings) -> None:
        """Have what the configuration files say hold from now on."""
        rules = settings.configured.quotas
        if rules == self.rules:
            return
        self.rules = rules
        self._known = {}
        self._admission.set_quotas(self.accounts_of if rules != NO_RULES else None, self.unmade)
        self._go_on()
        if self._petitions.quotas is not None:
            self._petitions.quotas.note_output(self.output)

    def note_output(self, sizes: Mapping[str, int]) -> None:
        """Take how many bytes of output are kept of each owner."""
        self.output, self.is_measured = sizes, True
        if self._petitions.quotas is not None:
            self._petitions.quotas.note_output(sizes)

    def accounts_of(self, owner: str) -> tuple[Account, ...]:
        """Give the accounts of an owner, as its user's groups are now."""
        now = time.monotonic()
        due, found = self._known.get(owner, (0.0, ()))
        if due <= now:
            number = owner.removeprefix(_UID)
            groups = groups_of(int(number)) if number != owner and number.isdecimal() else ()
            found = accounts_of(self.rules, (user(owner), owner), groups)
            self._known[owner] = now + MEMBERSHIP_SECONDS, found
        return found


__all__ = ["UserQuotas"]
