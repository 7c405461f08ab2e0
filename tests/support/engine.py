"""An engine of its own in this process, on a disk of which a test knows what a power cut would leave."""

from __future__ import annotations

import itertools
import os
import queue
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from orcha._output.log import OutputLog
from orcha._protocol import messages, values
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.frames import MAX_FRAME_BYTES, FrameReader, decode_service_message
from orcha._protocol.messages import Item, Kind, Submit, Verdict
from orcha._service.engine import Engine
from orcha._service.lifecycle.recovery import recover_all
from orcha._service.lifecycle.settings import Settings
from orcha._store.disk_reserve import Limits
from orcha._store.sqlite import SqliteStore
from orcha.interfaces import Message, Petition
from support.waiting import wait_for

LIMITS = Limits(log=96 << 10, checkpoint=64 << 10, ballast=64 << 10, watermark=1 << 10)
"""Small, so that a run sees many checkpoints and restarts of the log."""
MANAGER = "tests:Manager"


class Connected:
    """A client's connection, reduced to what the engine sees of it."""

    role = "admin"
    door = "socket"
    key = host = ""
    is_other = is_lost = False
    backlog = 0
    identity = "uid:0"
    _ids = itertools.count(1)

    def __init__(self) -> None:
        """Be another one."""
        self.id = next(self._ids)


class SimpleManager:
    """Its petitions put as many lines as their extras say, and end with the code there; some wait for `allowed`."""

    def __init__(self) -> None:
        """Allow nothing that waits."""
        self.allowed: set[str] = set()

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make a petition."""
        lines, code = m.extras["lines"], m.extras["code"]

        def act(_: Any, petition: Petition) -> None:
            for number in range(lines):
                petition.communicate(f"{petition.id} {number}\n" + "." * m.extras.get("width", 0))
            petition.finish(code)

        waits = m.extras.get("waits", False)
        return Petition(m.id, m.extras["queue"], act, lambda p: not waits or str(p.id) in self.allowed)

    def on_start(self, petition: Petition) -> bool:
        """Agree."""
        return True

    def on_finish(self, petition: Petition) -> bool:
        """Agree."""
        return True


@dataclass
class Told:
    """What clients have been told so far."""

    accepted: set[bytes] = field(default_factory=set)
    """Tokens."""
    finals: dict[bytes, int | None] = field(default_factory=dict)
    """By channel."""
    records: dict[bytes, int] = field(default_factory=dict)
    """How many records of each channel were sent."""
    cancelled: dict[bytes, str] = field(default_factory=dict)
    """What cancels were answered with, by token."""
    refused: dict[bytes, tuple[int, str | None]] = field(default_factory=dict)
    """Verdict and reason, by token."""
    notices: list[str] = field(default_factory=list)

    def copy(self) -> Told:
        """Give what it is now."""
        return Told(
            set(self.accepted),
            dict(self.finals),
            dict(self.records),
            dict(self.cancelled),
            dict(self.refused),
            list(self.notices),
        )


class Asked(NamedTuple):
    """A petition that a test asked for."""

    token: bytes
    id: str


class EngineUnderTest:
    """An engine with its threads; what it sends is read at once, on its own thread."""

    def __init__(
        self,
        folder: Path,
        *,
        vfs: str | None = None,
        limits: Limits = LIMITS,
        manager: Any = None,
        manager_name: str | None = None,
        prepare: Callable[[Engine], None] | None = None,
    ) -> None:
        """Open the store, `prepare` the engine, and recover; `start` starts."""
        self.told = Told()
        self.peer = Connected()
        self.manager = manager or SimpleManager()
        self.store = SqliteStore(folder, limits=limits, vfs=vfs)
        self.log = OutputLog(folder / "output")
        incarnation, _ = self.store.begin(nonce=1, boot_id="test", uid=os.getuid(), now=1.0)
        settings = Settings(Endpoint("127.0.0.1", 1, str(folder)))
        self.engine = Engine(
            self.manager, manager_name or MANAGER, self.store, self.log, incarnation, settings, self._send
        )
        if prepare is not None:
            prepare(self.engine)
        recover_all(self.engine)
        self.before_send: Callable[[], None] = lambda: None
        self._numbers = itertools.count(1)
        self._submits: dict[int, list[bytes]] = {}
        self._cancels: dict[int, bytes] = {}

    def start(self) -> None:
        """Start its threads."""
        self.engine.start()

    def stop(self) -> None:
        """End its threads, and close."""
        self.engine.post(self.engine.halt)
        assert self.engine.stopped.wait(30)
        self.engine.visits.hooks.stop()
        self.engine.ending.stop()
        for thread in self.engine.actions.stop():
            thread.join(30)
        self.engine.reporter.stop(30)
        self.store.close()
        self.log.close()

    # --- what clients do ---------------------------------------------------------------------------------------------

    def submit(self, *asked: Asked, **extras: Any) -> None:
        """Ask for petitions with these extras."""
        number = next(self._numbers)
        self._submits[number] = [one.token for one in asked]
        encoded = values.encode({"lines": 1, "code": 0, **extras})
        items = [
            Item(one.token, one.id, values.encode({"queue": _Channel(one.token), **values.decode(encoded)}), one.token)
            for one in asked
        ]
        self.engine.receive(self.peer, Submit(number, None, 1 << 20, items))  # type: ignore[arg-type]

    def cancel(self, asked: Asked) -> None:
        """Cancel a petition."""
        number = next(self._numbers)
        self._cancels[number] = asked.token
        self.engine.receive(self.peer, messages.Cancel(number, asked.token, None))  # type: ignore[arg-type]

    def allow(self, asked: Asked) -> None:
        """Let one that waits start."""
        self.manager.allowed.add(asked.id)
        self.engine.post(self.engine.visits.wake)

    def settle(self, *asked: Asked) -> None:
        """Wait until these have ended, or were refused."""
        wanted = {one.token for one in asked}
        wait_for(lambda: wanted <= self.told.finals.keys() | self.told.refused.keys(), what="the final values")

    # --- what clients are told ---------------------------------------------------------------------------------------

    def _send(self, batch: list[tuple[Any, bytes]]) -> None:
        self.before_send()
        for _, frame in batch:
            for body in FrameReader(MAX_FRAME_BYTES).feed(frame):
                self._take(decode_service_message(body))

    def _take(self, message: Any) -> None:
        if isinstance(message, messages.Submitted):
            for result in message.results:
                token = self._submits[message.request][result.position]
                if result.verdict in {Verdict.ACCEPTED, Verdict.KNOWN}:
                    self.told.accepted.add(token)
                else:
                    self.told.refused[token] = (result.verdict, result.reason)
        elif isinstance(message, messages.Data):
            self.told.records[message.channel] = message.index + len(message.records)
            for record in message.records:
                if record.kind == Kind.FINAL:
                    self.told.finals[message.channel] = values.decode(record.payload)
                elif record.kind == Kind.NOTICE:
                    self.told.notices.append(values.decode(record.payload))
        elif isinstance(message, messages.Reply) and message.request in self._cancels and message.value is not None:
            self.told.cancelled[self._cancels[message.request]] = values.decode(message.value)


class _Channel:
    """What `values.encode` takes for a channel."""

    def __init__(self, identity: bytes) -> None:
        self.__orcha_channel__ = identity


def random_work(under_test: EngineUnderTest, source: random.Random, count: int) -> None:
    """Ask for petitions, cancel and allow some, until all have ended."""
    waiting: list[Asked] = []
    done: list[Asked] = []
    for number in range(count):
        asked = Asked(number.to_bytes(6, "big") + source.randbytes(10), f"p{number}")
        waits = source.random() < 0.4
        if source.random() < 0.1:
            under_test.cancel(asked)
        under_test.submit(asked, lines=source.choice([0, 1, 5]), code=source.choice([0, 3]), waits=waits)
        (waiting if waits else done).append(asked)
        if source.random() < 0.1:
            under_test.submit(source.choice(waiting + done))
        if waiting and source.random() < 0.6:
            chosen = waiting.pop(source.randrange(len(waiting)))
            (under_test.cancel if source.random() < 0.3 else under_test.allow)(chosen)
            done.append(chosen)
        if source.random() < 0.3:
            under_test.settle(*done)
    for one in waiting:
        under_test.allow(one)
    under_test.settle(*waiting, *done)


__all__ = ["LIMITS", "Asked", "EngineUnderTest", "Told", "queue", "random_work"]
