"""What the service makes of a message, and when it may run."""

from __future__ import annotations

from typing import Any

from orcha.exceptions import ConditionFailed
from orcha.interfaces import Message, Petition
from orcha.lib import Manager
from orcha_hello.countdown import Countdown, run


class HelloManager(Manager):
    """Runs at most `at_once` countdowns at the same time."""

    def __init__(self, at_once: int = 2, **options: Any) -> None:
        """Take the limit; everything else is the manager's (address, port, key)."""
        super().__init__(**options)
        self.at_once = at_once
        self.greeted = 0

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make a countdown; None refuses a message that has no name."""
        if "name" not in m.extras:
            return None
        return Countdown(
            id=m.id,
            queue=m.extras.get("queue"),
            action=run,
            condition=self.may_start,
            name=m.extras["name"],
            start=m.extras.get("start", 3),
            pause=m.extras.get("pause", 0.0),
        )

    def may_start(self, _: Petition) -> bool:
        """Say yes below the limit; above it, why not: `orcha ps` shows the reason to whoever waits."""
        if self.running_processes >= self.at_once:
            raise ConditionFailed(f"{self.at_once} at once, and {self.running_processes} are counting")
        return True

    def on_start(self, petition: Petition) -> bool | None:
        """Nothing to prepare."""
        return super().on_start(petition)

    def on_finish(self, petition: Petition) -> bool | None:
        """Count. Orcha calls one hook at a time, so this needs no lock."""
        self.greeted += 1
        return super().on_finish(petition)
