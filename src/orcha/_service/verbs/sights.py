"""What the client of a message sees of petitions: all, their metadata, or not even that they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.permissions import Sight, Whose, sight
from orcha._core.record import Record
from orcha.interfaces.built_in import LEASE_MANAGER

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine

SOME_OTHER = "another petition"


class Sights:
    """What one client sees."""

    def __init__(self, engine: Engine, peer: Peer) -> None:
        """Take who looks."""
        self._live = engine.petitions.live
        self._identity = peer.identity
        self.of_others = sight(peer.role, Whose.OTHERS, engine.settings.visibility)
        """How much the client sees of the petitions of others."""

    def of(self, owner: str) -> Sight:
        """Give how much the client sees of a petition of this owner."""
        return Sight.ALL if owner == self._identity else self.of_others

    def sees(self, owner: str) -> bool:
        """Tell whether the client may know of a petition of this owner."""
        return self.of(owner) is not Sight.NOTHING

    def named(self, identity: str) -> str:
        """Give the id of a live petition; words in its place where the client may not know of the petition."""
        if self.of_others is not Sight.NOTHING:
            return identity
        record = self._live.get(identity)
        is_known = isinstance(record, Record) and (record.manager == LEASE_MANAGER or self.sees(record.owner))
        return identity if is_known else SOME_OTHER


__all__ = ["SOME_OTHER", "Sights"]
