"""An engine in this process whose answers are kept, by the client that got them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from orcha._protocol import values
from orcha._protocol.frames import MAX_FRAME_BYTES, FrameReader, decode_service_message
from orcha._protocol.messages import Error, Item, Kind, Ping, Reply, Rows, Submit, Submitted
from support.engine import Connected, EngineUnderTest
from support.waiting import wait_for


class Client(Connected):
    """A client of an `AnsweringEngine`."""

    def __init__(self, engine: AnsweringEngine) -> None:
        """Have got nothing."""
        super().__init__()
        self.got: list[Any] = []
        self._engine = engine

    def ask(self, message: Any) -> Any:
        """Send a message; give its answer, or an Error."""
        self.say(message)
        return self.answer_of(message.request)

    def say(self, message: Any) -> None:
        """Send a message."""
        self._engine.engine.receive(self, message)  # type: ignore[arg-type]

    def answer_of(self, request: int) -> Any:
        """Wait for the answer to a request, or an Error."""

        def found() -> Any:
            assert not self._engine.engine.stopped.is_set(), f"the engine ended: {self._engine.engine.failure!r}"
            answers = (
                each for each in self.got if isinstance(each, Error) or getattr(each, "request", None) == request
            )
            return next(answers, None)

        wait_for(found, what=f"the answer to {request}")
        return found()

    def is_served(self) -> bool:
        """Tell whether the service answers this client."""
        answer = self.ask(Ping(next(self._engine.numbers)))
        return isinstance(answer, Reply) and answer.verdict == 0

    def submit(self, identity: str | int, extras: Any, *, credit: int = 1 << 20) -> Submitted:
        """Ask for a petition whose channel is its own; give what became of it."""
        number = next(self._engine.numbers)
        token = number.to_bytes(16, "big")
        answer: Submitted = self.ask(Submit(number, None, credit, [Item(token, identity, values.encode(extras), None)]))
        return answer

    def values(self, identity: bytes) -> list[Any]:
        """Give what has come on a channel so far, the final value last."""
        records: dict[int, Any] = {}
        for message in list(self.got):
            if getattr(message, "channel", None) == identity and hasattr(message, "records"):
                records |= {message.index + at: record for at, record in enumerate(message.records)}
        return [values.decode(records[at].payload) for at in sorted(records) if records[at].kind != Kind.CLOSED]

    def final(self, submitted: Submitted) -> list[Any]:
        """Wait until a petition has ended; give its lines and its final value."""
        channel = submitted.results[0].channel
        assert channel is not None, submitted

        def ended() -> bool:
            assert not self._engine.engine.stopped.is_set(), f"the engine ended: {self._engine.engine.failure!r}"
            return any(
                record.kind == Kind.FINAL
                for message in list(self.got)
                if getattr(message, "channel", None) == channel and hasattr(message, "records")
                for record in message.records
            )

        wait_for(ended, what="the final value")
        return self.values(channel)

    def rows(self) -> list[dict[str, Any]]:
        """List everything, page by page."""
        from orcha._protocol.messages import List

        rows: list[dict[str, Any]] = []
        before: int | None = None
        while True:
            answer = self.ask(List(next(self._engine.numbers), 0b1111110, 1_000, before))
            assert isinstance(answer, Rows), answer
            if not answer.rows:
                return rows
            rows += answer.rows
            before = int(answer.rows[-1]["seq"])  # type: ignore[arg-type]


class AnsweringEngine(EngineUnderTest):
    """An engine with clients; each frame it sends must be one that a client takes."""

    def __init__(self, folder: Path, **options: Any) -> None:
        """Prepare; `start` starts."""
        self.numbers = itertools.count(1)
        super().__init__(folder, **options)

    def client(self) -> Client:
        """Give another client."""
        return Client(self)

    def stop(self) -> None:
        """End its threads, that of the log too, and close."""
        super().stop()
        self.engine.reporter.stop(30)

    def _send(self, batch: list[tuple[Any, bytes]]) -> None:
        for peer, data in batch:
            for body in FrameReader(MAX_FRAME_BYTES).feed(data):
                peer.got.append(decode_service_message(body))
