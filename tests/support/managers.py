"""Managers that services under test run; what a petition does stands in its message's extras."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, field
from typing import Any

from orcha.interfaces import Message, Petition, Policy
from orcha.lib import Manager
from support.gates import pass_gate


@dataclass
class ScriptPetition(Petition):
    """A petition that follows the script in its message."""

    script: dict[str, Any] = field(compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Take the priority from the script."""
        self.priority = self.script.get("priority", 0)


def _say(petition: ScriptPetition) -> None:
    """Pass the gate and put the lines."""
    if "gate" in petition.script:
        pass_gate(petition.script["gate"])
    for line in petition.script.get("lines", ()):
        petition.communicate(line)


def _record(petition: ScriptPetition) -> None:
    """Note in the ledger that this ran: one short append, whole even when the process is killed next."""
    if ledger := petition.script.get("ledger"):
        descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{petition.id}\n".encode())
        os.close(descriptor)


def perform(callback: Any, petition: ScriptPetition) -> None:
    """Follow the script, in this thread or, with ``process``, in a process of its own."""
    _record(petition)
    if "raises" in petition.script:
        raise RuntimeError(petition.script["raises"])
    if petition.script.get("process"):
        process = multiprocessing.Process(target=_say, args=(petition,))
        process.start()
        callback(process.pid)
        process.join()
    else:
        _say(petition)
    if petition.script.get("finish", True):
        petition.finish(petition.script.get("code"))


class ScriptManager(Manager):
    """Runs at most so many petitions at once (environment ``TEST_LIMIT``, default 64).

    Extras: ``queue``, ``lines`` (list of str), ``code`` (what finish gets), ``gate`` (path, see `Gate`), ``process``
    (True: in a child), ``finish`` (False: return without), ``raises`` (text), ``priority``, ``ledger`` (path: a line
    with the id at each execution), ``refuse`` (True: convert gives None), ``on_interrupt`` (the policy's).
    """

    def on_start(self, *args: Any) -> Any:
        """Do what the base does."""
        return super().on_start(*args)

    def on_finish(self, *args: Any) -> Any:
        """Do what the base does."""
        return super().on_finish(*args)

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make a petition that follows the message's script."""
        if m.extras.get("refuse"):
            return None
        script = {key: value for key, value in m.extras.items() if key != "queue"}
        return ScriptPetition(
            id=m.id,
            queue=m.extras.get("queue"),
            action=perform,
            condition=self.below_limit,
            script=script,
            policy=Policy(on_interrupt=script.get("on_interrupt", "fail")),
        )

    def below_limit(self, *_: Any) -> bool:
        """Allow so many at once as the environment says now: a warm interpreter imports this before it is set."""
        return self.running_processes < int(os.environ.get("TEST_LIMIT", "64"))


class KeyedManager(ScriptManager):
    """All its petitions have one `once` key, and attach to the one that is there."""

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make the petition, and give it the key."""
        petition = super().convert_to_petition(m)
        if petition is not None:
            petition.policy = Policy(once="only", if_exists="attach")
        return petition
