"""Managers whose petitions are commands, written as a plugin author would."""

from __future__ import annotations

from typing import Any

from orcha.interfaces import CommandPetition, Message, Petition, Policy
from orcha.lib import Manager


class EchoManager(Manager):
    """Runs ``echo`` with the words of its messages."""

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make a command."""
        return CommandPetition(
            m.id, m.extras["queue"], self.may_run, argv=["echo", *m.extras["words"]], policy=Policy(timeout=60)
        )

    def may_run(self, petition: Petition) -> bool:
        """One at a time."""
        return self.running_processes < 1

    def on_start(self, *args: Any) -> Any:
        """Do what the base does."""
        return super().on_start(*args)

    def on_finish(self, *args: Any) -> Any:
        """Do what the base does."""
        return super().on_finish(*args)
