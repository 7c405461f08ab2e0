"""A manager whose actions keep a ledger, and the ledger.

Each step of an action is one short append to a file opened with O_APPEND: it is whole, and stays, whatever is killed
next. The lines are ``start ID ATTEMPT NONCE PID``, ``put ID ATTEMPT NUMBER`` after that put returned, and
``end ID ATTEMPT``.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from orcha.interfaces import Message, Petition, Policy
from orcha.lib import Manager
from support.gates import pass_gate


@dataclass
class LedgerPetition(Petition):
    """A petition that follows the script in its message."""

    script: dict[str, Any] = field(compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Take the priority from the script."""
        self.priority = self.script.get("priority", 0)


def note(path: str, *words: object) -> None:
    """Append a line to a ledger."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    finally:
        os.close(descriptor)


def line_of(identity: object, attempt: int, number: int, width: int = 0) -> str:
    """Give what an attempt puts as its value of this number."""
    return f"{identity}/{attempt}/{number}" + "." * width


def _nap() -> subprocess.Popen[bytes]:
    """Start a process that stays until it is ended."""
    return subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)


def perform(callback: Any, petition: LedgerPetition) -> None:
    """Follow the script."""
    script = petition.script
    attempt = petition.__dict__["_orcha_attempt"].attempt
    ledger = script["ledger"]
    note(ledger, "start", petition.id, attempt, secrets.token_hex(4), os.getpid())
    if script.get("child"):
        callback(_nap())
    stays = _nap() if script.get("stays") and attempt == 1 else None
    if stays is not None:
        callback(stays)
    if "gate" in script:
        pass_gate(script["gate"])
    for number in range(script.get("lines", 0)):
        petition.communicate(line_of(petition.id, attempt, number, script.get("width", 0)))
        note(ledger, "put", petition.id, attempt, number)
        if stays is not None and number == 0:
            stays.wait()
        if script.get("pause"):
            time.sleep(script["pause"])
    note(ledger, "end", petition.id, attempt)
    petition.finish(script.get("code"))


class LedgerManager(Manager):
    """Runs at most `limit` petitions at once (environment ``TEST_LIMIT``, default 4).

    Extras: ``ledger`` (path), ``lines`` (how many), ``width`` (bytes more a line), ``pause`` (seconds after each),
    ``stays`` (True: after its first line the first attempt waits until it is interrupted), ``code``, ``policy``
    (on_interrupt), ``child`` (True: starts a process that it leaves behind), ``gate`` (path), ``priority``, ``queue``.
    """

    limit = int(os.environ.get("TEST_LIMIT", "4"))

    def on_start(self, *args: Any) -> Any:
        """Do what the base does."""
        return super().on_start(*args)

    def on_finish(self, *args: Any) -> Any:
        """Do what the base does."""
        return super().on_finish(*args)

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make a petition that follows the message's script."""
        script = {key: value for key, value in m.extras.items() if key != "queue"}
        return LedgerPetition(
            id=m.id,
            queue=m.extras.get("queue"),
            action=perform,
            condition=lambda *_: self.running_processes < self.limit,
            script=script,
            policy=Policy(on_interrupt=script.get("policy", "fail")),
        )


class OtherLedgerManager(LedgerManager):
    """Another manager on the same endpoint."""


class Execution(NamedTuple):
    """What the ledger says of one attempt."""

    starts: int
    puts: tuple[int, ...]
    """The numbers of the puts that returned, in order."""
    ended: bool


def read_ledger(path: Path) -> dict[tuple[str, int], Execution]:
    """Give what was executed, by (id, attempt), in the order of the first starts."""
    starts: dict[tuple[str, int], int] = defaultdict(int)
    puts: dict[tuple[str, int], list[int]] = defaultdict(list)
    ended: set[tuple[str, int]] = set()
    for line in path.read_text().splitlines() if path.exists() else ():
        what, identity, attempt, *rest = line.split()
        key = (identity, int(attempt))
        if what == "start":
            starts[key] += 1
        elif what == "put":
            puts[key].append(int(rest[0]))
        else:
            ended.add(key)
    return {key: Execution(count, tuple(puts[key]), key in ended) for key, count in starts.items()}
