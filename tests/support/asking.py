"""An engine of its own in this process, and several people who ask it things."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from orcha._output.log import MemoryLog
from orcha._protocol import values
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.frames import MAX_FRAME_BYTES, FrameReader, decode_service_message
from orcha._protocol.messages import ChannelRecord, Data, Item, List, Reply, Rows, Submit, Submitted, Verdict
from orcha._service.engine import Engine
from orcha._service.hooks.managers import Managers, Served
from orcha._service.lifecycle.recovery import recover_all
from orcha._service.lifecycle.settings import Settings
from orcha._store.memory import MemoryStore
from orcha._store.sqlite import SqliteStore
from orcha.interfaces import Message, Petition, Policy, Retry
from orcha.interfaces.built_in import LEASE_MANAGER, LEASES, WATCHDOG, WATCHDOG_MANAGER
from orcha.lib.leases import LeaseManager
from orcha.lib.watchdog import WatchdogManager
from support.waiting import wait_for

EVERY = 0b1111110


class Person:
    """Somebody's connection, as the engine sees it."""

    _ids = itertools.count(1)

    def __init__(self, role: str, identity: str) -> None:
        """Be another connection."""
        self.id = next(self._ids)
        self.role = role
        self.identity = identity
        self.door = "attempt" if role == "attempt" else "socket"
        self.since = 0.0
        self.is_other = self.is_lost = False
        self.key = self.host = ""
        self.backlog = 0
        self.heard: list[Any] = []


class GateManager:
    """Its petitions wait until they are allowed, put a line, and end with the code in their extras when let go."""

    def __init__(self) -> None:
        """Allow nobody."""
        self.allowed: set[str] = set()
        self.let_go = threading.Event()
        self.let_go.set()
        self.order: list[str] = []
        """What was let start, in this order."""
        self.begun: list[str] = []
        """Whose actions have begun, each on a thread of its own: those that were let start together in any order."""
        self.freed: set[str] = set()

    def free(self, *identities: str) -> None:
        """Let some whose extras say `holds` come to their ends."""
        self.freed.update(identities)

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make a petition."""
        extras = m.extras

        def act(_: Any, petition: Petition) -> None:
            self.begun.append(str(m.id))
            petition.communicate(f"{m.id} runs\n")
            self.let_go.wait(30)
            if extras.get("holds"):
                wait_for(lambda: str(m.id) in self.freed, what=f"{m.id} is freed")
            petition.finish(extras.get("code", 0))

        def may_run(petition: Petition) -> bool:
            return not extras.get("waits") or str(petition.id) in self.allowed

        given: dict[str, Any] = {name: extras[name] for name in _POLICY if name in extras}
        if "retry" in extras:
            given["retry"] = Retry(**extras["retry"])
        petition = Petition(m.id, extras.get("queue"), act, may_run, policy=Policy(**given))
        petition.priority = extras.get("priority", 0)
        return petition

    def on_start(self, petition: Petition) -> bool:
        """Agree, and note what starts."""
        self.order.append(str(petition.id))
        return True

    def on_finish(self, petition: Petition) -> bool:
        """Agree."""
        return True


_POLICY = (
    *("group", "needs", "once", "if_exists", "timeout", "queue_timeout", "expect", "on_interrupt"),
    *("after", "after_ok", "if_dependency_fails", "at", "delay", "when"),
)
"""Extras that are fields of a policy."""


class Asked:
    """An engine, and what people ask of it."""

    def __init__(
        self, folder: Path | None, manager: Any = None, *, leases: bool = False, name: str = "m:M", **set_to: Any
    ) -> None:
        """Open the store, recover, and start; petitions are kept under `name`; with `leases` these are served, too."""
        self.manager = manager or GateManager()
        self.store = MemoryStore() if folder is None else SqliteStore(folder)
        incarnation, _ = self.store.begin(nonce=1, boot_id="test", uid=os.getuid(), now=1.0)
        settings = replace(Settings(Endpoint("127.0.0.1", 1, str(folder or "/nowhere"))), **set_to)
        managers = _with_leases(self.manager) if leases else None
        self.engine = Engine(self.manager, name, self.store, MemoryLog(), incarnation, settings, self._send, managers)
        recover_all(self.engine)
        self.owner = Person("admin", "uid:0")
        self.user = Person("submitter", "uid:7")
        self.stranger = Person("submitter", "uid:8")
        self.attempt = Person("attempt", "attempt")
        self._numbers = itertools.count(1)
        self.engine.start()

    def close(self) -> None:
        """End it."""
        if isinstance(self.manager, GateManager):
            self.manager.let_go.set()
        self.engine.post(self.engine.halt)
        assert self.engine.stopped.wait(30)
        self.engine.visits.hooks.stop()
        self.engine.ending.stop()
        self.engine.sampling.stop(10)
        for thread in self.engine.actions.stop():
            thread.join(30)
        self.engine.reporter.stop(5.0)
        self.store.close()

    def _send(self, batch: list[tuple[Any, bytes]]) -> None:
        for person, frame in batch:
            for body in FrameReader(MAX_FRAME_BYTES).feed(frame):
                person.heard.append(decode_service_message(body))

    def ask(self, person: Person, kind: type, *arguments: Any, **keywords: Any) -> Any:
        """Send a request, and give its answer."""
        return self.answer(person, self.send(person, kind, *arguments, **keywords))

    def send(self, person: Person, kind: type, *arguments: Any, **keywords: Any) -> int:
        """Send a request; give its number."""
        number = next(self._numbers)
        self.engine.receive(person, kind(number, *arguments, **keywords))  # type: ignore[arg-type]
        return number

    def answer(self, person: Person, number: int) -> Any:
        """Give the answer to a request."""

        def answer() -> Any:
            return next((said for said in person.heard if getattr(said, "request", None) == number), None)

        return wait_for(answer, what=f"an answer to request {number}")

    def records(self, person: Person, channel: bytes) -> list[ChannelRecord]:
        """Give what a person was sent of a channel."""
        sent = [said for said in person.heard if isinstance(said, Data) and said.channel == channel]
        return [record for data in sent for record in data.records]

    def lock(self, person: Person, identity: str, **extras: Any) -> Reply:
        """Ask for a lease; give its result."""
        said = self.ask(person, Submit, LEASES, 1 << 20, [item(identity, **extras)])
        assert isinstance(said, Submitted)
        return said.results[0]  # type: ignore[return-value]

    def submit(self, person: Person, identity: str, token: bytes | None = None, **extras: Any) -> Reply:
        """Ask for a petition; give its result."""
        return self.submit_all(person, [(identity, extras)], token=token)[0]

    def submit_all(
        self, person: Person, asked: list[tuple[str, dict[str, Any]]], *, token: bytes | None = None
    ) -> list[Reply]:
        """Ask for several at once, by ids and extras; give their results."""
        items = []
        for identity, extras in asked:
            chosen = token or os.urandom(16)
            items.append(item(identity, chosen, **extras))
        said = self.ask(person, Submit, None, 1 << 20, items)
        assert isinstance(said, Submitted)
        return said.results  # type: ignore[return-value]

    def rows(self, person: Person | None = None, **which: Any) -> dict[str, dict[str, Any]]:
        """Give what is listed, by id; of several the newest, which is listed first."""
        said = self.ask(person or self.owner, List, EVERY, 1000, **which)
        assert isinstance(said, Rows)
        found: dict[str, dict[str, Any]] = {}
        for row in said.rows:
            found.setdefault(str(row["id"]), row)
        return found

    def state(self, identity: str) -> str | None:
        """Give the state of a petition, or its outcome."""
        row = self.rows().get(identity)
        return None if row is None else str(row["outcome"] or row["state"])

    def wait_for(self, identity: str, state: str) -> None:
        """Wait until it is in a state, or ended so; what succeeded or failed has given back its id and slot by then."""
        wait_for(lambda: self._is(identity, state), what=f"{identity} {state}")

    def _is(self, identity: str, state: str) -> bool:
        row = self.rows().get(identity)
        if row is None or (row["outcome"] or row["state"]) != state:
            return False
        return state not in {"succeeded", "failed"} or row["seq"] not in self.engine.petitions.records

    def allow(self, *identities: str) -> None:
        """Let some that wait start."""
        self.manager.allowed.update(identities)
        self.engine.post(self.engine.visits.wake)

    def value(self, reply: Reply) -> Any:
        """Decode the value of a good answer."""
        assert reply.verdict == Verdict.OK, reply
        assert reply.value is not None
        return values.decode(reply.value, channel=bytes)


def _with_leases(manager: Any) -> Managers:
    watchdog = WatchdogManager()
    beside = [Served(LEASES, LEASE_MANAGER, LeaseManager()), Served(WATCHDOG, WATCHDOG_MANAGER, watchdog)]
    return Managers([Served("m", "m:M", manager), *beside])


def item(identity: str, token: bytes | None = None, **extras: Any) -> Item:
    """Give one message of a submit."""
    chosen = token or os.urandom(16)
    return Item(chosen, identity, values.encode({"queue": ExtrasChannel(chosen), **extras}), None)


class ExtrasChannel:
    """What `values.encode` takes for a channel."""

    def __init__(self, identity: bytes) -> None:
        self.__orcha_channel__ = identity


@contextmanager
def asking(folder: Path | None = None, manager: Any = None, **set_to: Any) -> Iterator[Asked]:
    """Give an engine, with another manager or other settings where some are named, and end it."""
    asked = Asked(folder, manager, **set_to)
    try:
        yield asked
    finally:
        asked.close()


__all__ = ["Asked", "Person", "asking"]
