"""A manager whose petitions fail as their message says, attempt by attempt, and are tried again."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orcha.exceptions import ConditionFailed
from orcha.interfaces import Message, Petition, Policy, Retry
from orcha.lib import Manager
from support.gates import pass_gate
from support.ledger import note


@dataclass
class RetryPetition(Petition):
    """A petition that follows the script of its attempt."""

    script: dict[str, Any] = field(compare=False, default_factory=dict)


def attempt_of(petition: Petition) -> int:
    """Give the number of the attempt that runs."""
    number: int = petition.__dict__["_orcha_attempt"].attempt
    return number


def perform(callback: Any, petition: RetryPetition) -> None:
    """Follow the script of this execution; those beyond the last one follow that."""
    scripts, ledger = petition.script["attempts"], petition.script["ledger"]
    note(ledger, "action", attempt_of(petition))
    script = scripts[min(_executions(ledger), len(scripts)) - 1]
    if "leaves" in script:
        child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
        Path(script["leaves"]).write_text(str(child.pid))
    if "writes_late" in script:
        threading.Thread(target=_write_late, args=(petition, script["writes_late"]), daemon=True).start()
    for line in script.get("lines", ()):
        petition.communicate(line)
    if "runs" in script:
        child = subprocess.Popen(script["runs"], stdin=subprocess.DEVNULL)
        callback(child)
        child.wait()
    if "gate" in script:
        pass_gate(script["gate"])
    if "raises" in script:
        raise RuntimeError(script["raises"])
    petition.finish(script.get("code"))
    if "gate_after" in script:
        pass_gate(script["gate_after"])


def _executions(ledger: str) -> int:
    """Count how often an action was called."""
    path = Path(ledger)
    return sum(line.startswith("action") for line in path.read_text().splitlines()) if path.exists() else 0


def _write_late(petition: RetryPetition, gate: str) -> None:
    """Write and finish when the attempt that began this is over, as what it has of its petition allows."""
    pass_gate(gate)
    petition.communicate("late\n")
    petition.finish(0)
    note(petition.script["ledger"], "late", 1)


class RetryManager(Manager):
    """Runs all that come, as soon as the file of their condition is there.

    Extras: ``queue``; ``attempts``, a list of dicts with ``lines``, ``code``, ``raises``, ``gate`` (path) and
    ``gate_after`` (the same, after its finish), ``runs`` (a program that it waits for), ``leaves`` (path: for the pid
    of a process that it leaves behind), ``writes_late`` (path of a gate, after which a thread of it writes);
    ``ledger`` (path: a line for each hook and action); ``retry`` and ``policy``, dicts; ``limit`` (seconds that the
    first action may take); ``condition`` (path).
    """

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make a petition that follows the message's script."""
        script = {key: value for key, value in m.extras.items() if key != "queue"}
        codes = dict.fromkeys(script["retry"].get("codes", ())).keys()  # any collection will do
        retry = Retry(**{"jitter": 0, "delay": 0, **script["retry"], "codes": codes})
        limit = None if _executions(script["ledger"]) else script.get("limit")
        policy = Policy(retry=retry, timeout=limit, **script.get("policy", {}))
        return RetryPetition(m.id, m.extras["queue"], perform, self.may_run, script=script, policy=policy)

    def may_run(self, petition: RetryPetition) -> bool | ConditionFailed:
        """Tell whether the file is there, where there is to be one."""
        path = petition.script.get("condition")
        return path is None or Path(path).exists() or ConditionFailed("the file is not there")

    def on_start(self, *args: Any) -> Any:
        """Note it, and whether a process that an attempt left behind lives."""
        petition = args[0]
        note(petition.script["ledger"], "on_start", attempt_of(petition), *_left(petition))
        return super().on_start(*args)

    def on_finish(self, *args: Any) -> Any:
        """Note it."""
        note(args[0].script["ledger"], "on_finish", "-")
        return super().on_finish(*args)


def _left(petition: RetryPetition) -> list[str]:
    """Tell of what earlier attempts left behind whether it lives."""
    paths = [Path(each["leaves"]) for each in petition.script["attempts"] if "leaves" in each]
    pids = [path.read_text() for path in paths if path.exists()]
    return ["lives" if _lives(pid) else "gone" for pid in pids]


def _lives(pid: str) -> bool:
    """Tell whether a process is there, and no zombie, which stays until its Popen is looked at."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
