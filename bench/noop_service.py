"""The service the benchmarks measure: petitions that only finish.

python bench/noop_service.py PORT LIMIT      (ORCHA_HOME in the environment)
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from orcha.interfaces import Message, Petition, Policy, ServiceWrapper, start_service
from orcha.lib import Manager

if TYPE_CHECKING:
    from orcha.interfaces import ActionCallbackT


def finish_at_once(_: ActionCallbackT, petition: Petition) -> None:
    """Do nothing."""
    petition.finish()


class NoopManager(Manager):
    """Runs up to `limit` petitions at once; with `blocked` in the extras a petition waits for ever.

    With `policy` in the extras, the fields of one, it waits for what these say.
    """

    limit = 64

    def convert_to_petition(self, m: Message) -> Petition:
        """Make the petition."""
        condition = self.never if m.extras.get("blocked") else self.has_room
        fields = m.extras.get("policy")
        policy = None if fields is None else Policy(**fields)
        return Petition(m.id, m.extras.get("queue"), finish_at_once, condition, policy=policy)

    def has_room(self, _: Petition) -> bool:
        """Allow it while fewer than the limit run."""
        return self.running_processes < self.limit

    def never(self, _: Petition) -> bool:
        """Block it."""
        return False

    def on_start(self, petition: Petition) -> Any:
        """Do nothing."""

    def on_finish(self, petition: Petition) -> Any:
        """Do nothing."""


if __name__ == "__main__":
    manager = NoopManager("127.0.0.1", int(sys.argv[1]))
    manager.limit = int(sys.argv[2])
    start_service(ServiceWrapper(manager))
