"""Standard input of running commands: each byte once, in order, and no more than they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._service.verbs.stdin import answer
from orcha._wire.messages import Reply, Verdict

if TYPE_CHECKING:
    from orcha._core.record import Record
    from orcha._service.engine import Engine
    from orcha._wire.messages import Stdin
    from orcha._wire.server import Peer

WINDOW = 256 * 1024
"""Bytes that may be on their way to one command before its clients have to wait."""


class Pipe:
    """One attempt's standard input."""

    def __init__(self, attempt: int, sent: int) -> None:
        """Begin where so many bytes have been handed over already."""
        self.attempt = attempt
        self.sent = sent
        self.taken = sent
        self.ended = False
        self.waiting: list[tuple[Peer, int]] = []
        """Who is answered when there is room: connection and number of the request."""


class StandardInput:
    """All commands' standard inputs; the engine thread's."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self._pipes: dict[int, Pipe] = {}

    def take(self, peer: Peer, message: Stdin, record: Record) -> None:
        """Hand over what is new; where bytes are missing before it, nothing: the answer says where to go on."""
        pipe = self._pipes.get(record.seq)
        if pipe is None or pipe.attempt != record.attempt:
            pipe = self._pipes[record.seq] = Pipe(record.attempt, message.offset)
        known = pipe.sent - message.offset
        if 0 <= known <= len(message.data):
            new = message.data[known:]
            if new and not pipe.ended:
                pipe.sent += len(new)
                self._engine.commands.write(record, new)
            if message.end and not pipe.ended:
                pipe.ended = True
                self._engine.commands.close_stdin(record)
        pipe.waiting.append((peer, message.request))
        self._answer(pipe)

    def wrote(self, seq: int, attempt: int, taken: int) -> None:
        """Note how much a command has taken since its start."""
        pipe = self._pipes.get(seq)
        if pipe is not None and pipe.attempt == attempt:
            pipe.taken = max(pipe.taken, taken)
            self._answer(pipe)

    def over(self, seq: int) -> None:
        """Note that an attempt has ended: whoever waits for room waits for nothing."""
        pipe = self._pipes.pop(seq, None)
        for peer, request in pipe.waiting if pipe is not None else ():
            self._engine.reply(peer, Reply(request, Verdict.GONE, None, "the command has ended"))

    def _answer(self, pipe: Pipe) -> None:
        if pipe.sent - pipe.taken <= WINDOW:
            waiting, pipe.waiting = pipe.waiting, []
            for peer, request in waiting:
                answer(self._engine, peer, request, pipe.sent)
