"""An engine whose commands are the test's."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from commands.fake_commands import FakeCommands
from orcha._output.raw import RawFiles
from orcha._protocol import messages, values
from orcha._protocol.messages import Item, Kind, Submit
from orcha.interfaces import CommandPetition, Message, Policy, Retry
from support.engine import Asked, EngineUnderTest
from support.waiting import wait_for


class CommandsManager:
    """Makes a command of every message; notes its hooks."""

    def __init__(self) -> None:
        self.hooks: list[tuple[str, str]] = []
        self.converts = True
        self.blocked: set[str] = set()
        """The ids of the petitions whose conditions say no."""

    def convert_to_petition(self, m: Message) -> CommandPetition | None:
        if not self.converts:
            return None
        given = m.extras.get("policy", {})
        policy = Policy(**given | ({"retry": Retry(**given["retry"])} if "retry" in given else {}))
        fields = {"argv": ["true"], **m.extras.get("fields", {})}
        if "retry" in fields:
            fields["retry"] = Retry(**fields["retry"])
        return CommandPetition(m.id, m.extras["queue"], lambda _: m.id not in self.blocked, policy=policy, **fields)

    def on_start(self, petition: Any) -> bool:
        self.hooks.append(("start", str(petition.id)))
        return True

    def on_finish(self, petition: Any) -> bool:
        self.hooks.append(("finish", str(petition.id)))
        return True


class CommandsUnderTest(EngineUnderTest):
    """An engine for commands; `values` is what clients were sent."""

    _seqs = itertools.count(1)

    def __init__(
        self,
        folder: Path,
        make: Callable[..., FakeCommands] = FakeCommands,
        found: Any = (),
        *,
        rebooted: bool = False,
        unproven: bool = False,
        **options: Any,
    ) -> None:
        self.sent: dict[bytes, list[tuple[int, Any]]] = {}
        self.commands: Any = None
        self.open_another: Any = None
        self.closed = False
        self.folder = folder
        self._make, self._found, self._rebooted, self._unproven = make, found, rebooted, unproven
        super().__init__(folder, **{"manager": CommandsManager(), "prepare": self._prepare, **options})

    def _prepare(self, engine: Any) -> None:
        def make(on_events: Any) -> Any:
            self.commands = self._make(on_events)
            self.commands.found = list(self._found)
            self.commands.unproven = self._unproven
            return self.commands

        (self.folder / "shims").mkdir(exist_ok=True)
        engine.shims.connect(make)
        raw = RawFiles(self.folder / "output")
        engine.commands_output.keep_in(raw)
        engine.standard_input.keep_in(raw)
        engine.shims.rebooted = self._rebooted
        engine.rebooted = self._rebooted

    def stop(self) -> None:
        self.closed = True
        self.engine.post(self.engine.halt)
        assert self.engine.stopped.wait(30)
        self.engine.commands.close(failed=self.engine.failure is not None)
        self.engine.commands_output.close()
        self.engine.reporter.stop(5.0)
        super().stop()

    def run(self, name: str = "a", sent_secrets: dict[str, bytes] | None = None, **fields: Any) -> Asked:
        """Ask for a command with these fields; the petition's policy is `policy`, `sent_secrets` come beside it."""
        asked = Asked(next(self._seqs).to_bytes(6, "big") + bytes(10), name)
        policy = fields.pop("policy", {})
        number = next(self._numbers)
        self._submits[number] = [asked.token]
        extras = values.encode({"fields": fields, "policy": policy, "queue": Channel(asked.token)})
        item = Item(asked.token, asked.id, extras, asked.token)
        self.engine.receive(self.peer, Submit(number, None, 1 << 20, [item], sent_secrets))
        return asked

    def _take(self, message: Any) -> None:
        super()._take(message)
        if isinstance(message, messages.Data):
            self.sent.setdefault(message.channel, []).extend(
                (record.kind, values.decode(record.payload)) for record in message.records
            )

    def values(self, asked: Asked) -> list[Any]:
        """Give everything that was sent of a petition, the final value last."""
        return [value for kind, value in self.sent.get(asked.token, []) if kind != Kind.CLOSED]

    def row(self, asked: Asked) -> Any:
        """Give what is kept of it."""
        return self.row_in(self.store, asked)

    def row_in(self, store: Any, asked: Asked) -> Any:
        """Give what a store keeps of it."""
        return next(row for row in store.page(states=0xFF, limit=99) if row.token == asked.token)

    def raw_file(self, spec: Any, stream: int, data: bytes) -> None:
        """Write what an attempt wrote to a stream."""
        (self.folder / "output" / f"{spec.channel.hex()}.{spec.seq}.{spec.attempt}.{stream}").write_bytes(data)

    def settle_engine(self) -> None:
        """Wait until the engine has done what it was told before."""
        done = threading.Event()
        self.engine.post(lambda: self.engine.after_batch(done.set))
        assert done.wait(30)

    def again(self, *found: Any, **options: Any) -> CommandsUnderTest:
        """Start another engine in its place, which finds these attempts; `early` events come before it runs."""
        self.stop()
        return self.open_another(found=found, **options)

    def follow(self, asked: Asked, index: int = 0) -> None:
        """Follow its channel again, from that index on; `sent` begins anew."""
        self.sent.pop(asked.token, None)
        self.engine.receive(self.peer, messages.Follow(asked.token, index, 1 << 24))

    def wait_for_spec(self, attempt: int = 1) -> Any:
        """Wait until this attempt was handed over; give it."""
        return wait_for(lambda: self.commands and self.commands.spec(attempt), what=f"the start of attempt {attempt}")

    def wait_for_call(self, verb: str, *arguments: Any) -> None:
        """Wait until a verb was called so."""
        wait_for(lambda: arguments in self.commands.made(verb), what=f"{verb}{arguments}")


class Channel:
    def __init__(self, identity: bytes) -> None:
        self.__orcha_channel__ = identity


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "endpoint"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def open_engine(folder: Path) -> Iterator[Callable[..., CommandsUnderTest]]:
    """Give a function that starts an engine on the folder, its commands made by `make`; `begin` is called before."""
    opened: list[CommandsUnderTest] = []

    def open_one(
        make: Callable[..., FakeCommands] = FakeCommands,
        found: tuple[Any, ...] = (),
        *,
        rebooted: bool = False,
        unproven: bool = False,
        converts: bool = True,
        early: tuple[Any, ...] = (),
    ) -> CommandsUnderTest:
        under_test = CommandsUnderTest(folder, make, found, rebooted=rebooted, unproven=unproven)
        opened.append(under_test)
        under_test.open_another = open_one
        under_test.manager.converts = converts
        for event in early:
            under_test.commands.tell(event)
        under_test.start()
        return under_test

    yield open_one
    for under_test in opened:
        if not under_test.closed:
            under_test.stop()


@pytest.fixture
def engine(open_engine: Callable[..., CommandsUnderTest]) -> CommandsUnderTest:
    """Give an engine whose commands do what the test says."""
    return open_engine()
