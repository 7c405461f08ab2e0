"""Quotas of users: what the configuration says of each user who has petitions, and of the user's groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.quota_rules import NO_RULES, accounts_of
from orcha._service.reports.user_names import user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orcha._core.admission import Admission
    from orcha._core.petitions import Petitions
    from orcha._core.quotas import Account
    from orcha._service.lifecycle.settings import Settings
    from orcha._service.user_directory import KnownUser, UserDirectory


class UserQuotas:
    """Has the quotas of the configuration hold; the engine's, but the hook thread calls `accounts_of`, too."""

    def __init__(
        self,
        admission: Admission,
        petitions: Petitions,
        go_on: Callable[[], None],
        directory: UserDirectory,
    ) -> None:
        """Have no quota yet.

        Args:
            admission: decides.
            petitions: what waits and runs.
            go_on: lets petitions wait with the others again that waited for a quota.
            directory: knows names and groups of users.

        """
        self._admission = admission
        self._petitions = petitions
        self._go_on = go_on
        self._directory = directory
        directory.on_news.append(self._renew)
        self.unmade: Callable[[], Iterable[tuple[str, int]]] = lambda: ()
        """Gives the owner of each array, and how many of its elements are no petitions yet."""
        self.rules = NO_RULES
        self._known: dict[str, tuple[KnownUser | None, tuple[Account, ...]]] = {}
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
        self._directory.renew_for("quotas", wanted=rules != NO_RULES)
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
        """Give the accounts of an owner, as its user's groups were looked up last."""
        known, of_these_rules = self._directory.known(owner), self._known  # others may come to hold meanwhile
        made_of, found = of_these_rules.get(owner, (None, None))
        if found is None or made_of is not known:
            found = accounts_of(self.rules, (user(owner), owner), () if known is None else known.groups)
            of_these_rules[owner] = known, found
        return found

    def _renew(self, owner: str) -> None:
        """Have an owner's petitions count for the accounts of the groups that the user is in by now."""
        self._admission.renew_accounts(owner)
        self._go_on()


__all__ = ["UserQuotas"]
