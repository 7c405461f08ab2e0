"""Weights of users and groups of users: what the configuration says of each user who has petitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.weights import NO_WEIGHTS, OwnerWeight, weight_of
from orcha._service.reports.user_names import user

if TYPE_CHECKING:
    from orcha._core.petitions import Petitions
    from orcha._service.lifecycle.settings import Settings
    from orcha._service.user_directory import KnownUser, UserDirectory


class UserWeights:
    """Has what users have in use compared by the weights of the configuration; the engine thread's."""

    def __init__(self, petitions: Petitions, directory: UserDirectory) -> None:
        """Have all users alike."""
        self._petitions = petitions
        self._directory = directory
        directory.on_news.append(petitions.renew_weight)
        self.rules = NO_WEIGHTS
        self._known: dict[str, tuple[KnownUser | None, OwnerWeight]] = {}

    def configure(self, settings: Settings) -> None:
        """Have what the configuration files say hold from now on."""
        rules = settings.configured.weights
        if rules != self.rules:
            self.rules = rules
            self._directory.renew_for("weights", wanted=rules != NO_WEIGHTS)
            self._known = {}
            self._petitions.use_weights(self._weight_of if rules != NO_WEIGHTS else None)
            self._petitions.note_change()

    def _weight_of(self, owner: str) -> OwnerWeight:
        """Give by what an owner's use is compared, as its user's groups were looked up last."""
        known = self._directory.known(owner)
        found = self._known.get(owner)
        if found is None or found[0] is not known:
            groups = () if known is None else known.groups
            found = self._known[owner] = known, weight_of(self.rules, (user(owner), owner), groups)
        return found[1]


__all__ = ["UserWeights"]
