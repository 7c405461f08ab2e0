"""Standard input of running commands: each byte once, in order, and no more than they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orcha._service.verbs.stdin import answer, stdin
from orcha._supervisor.contract import Wrote
from orcha._wire.messages import Reply, Verdict

if TYPE_CHECKING:
    from orcha._core.record import Record
    from orcha._service.engine import Engine
    from orcha._wire.messages import Stdin
    from orcha._wire.server import Peer

WINDOW = 256 * 1024
"""Bytes that may be on their way to one command before its clients have to wait."""


class Brought(NamedTuple):
    """A request that waits for its answer."""

    peer: Peer
    request: int
    until: int
    """How many bytes have arrived at the command's side when all of it has."""
    end: bool
    """Whether the end has to arrive, too."""


class Pipe:
    """One attempt's standard input."""

    def __init__(self, attempt: int, *, known: bool) -> None:
        """Begin with nothing handed over; where it is not `known` how much was, wait for the word of who has it."""
        self.attempt = attempt
        self.known = known
        self.sent = 0
        self.ended = False
        """Whether its end was handed over."""
        self.got = Wrote(0, attempt, 0, 0, ended=False)
        self.waiting: list[Brought] = []
        self.early: list[tuple[Peer, Stdin]] = []
        """What was brought before anything was known."""


class StandardInput:
    """All commands' standard inputs; the engine thread's.

    A client hears of bytes only when they have arrived at the command's shim, which outlives the service: what it has
    not heard of it brings again, and what the shim has by then is not taken twice.
    """

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self._pipes: dict[int, Pipe] = {}

    def adopted(self, record: Record) -> None:
        """Know that an earlier start of the service handed over what its shim is about to tell."""
        self._pipes[record.seq] = Pipe(record.attempt, known=False)

    def take(self, peer: Peer, message: Stdin, record: Record) -> None:
        """Hand over what is new; where bytes are missing before it, nothing: the answer says where to go on."""
        pipe = self._pipes.get(record.seq)
        if pipe is None or pipe.attempt != record.attempt:
            pipe = self._pipes[record.seq] = Pipe(record.attempt, known=True)
        if not pipe.known:
            pipe.early.append((peer, message))
            return
        if pipe.ended and message.offset + len(message.data) > pipe.sent:
            refused = Reply(message.request, Verdict.REFUSED, None, f"the standard input of {record.key!r} has ended")
            self._engine.reply(peer, refused)
            return
        self._hand_over(pipe, message, record)
        pipe.waiting.append(Brought(peer, message.request, pipe.sent, message.end and pipe.ended))
        self._answer(pipe)

    def _hand_over(self, pipe: Pipe, message: Stdin, record: Record) -> None:
        known = pipe.sent - message.offset
        if pipe.ended or not 0 <= known <= len(message.data):
            return
        if new := message.data[known:]:
            self._engine.commands.write(record, pipe.sent, new)
            pipe.sent += len(new)
        if message.end:
            pipe.ended = True
            self._engine.commands.close_stdin(record, pipe.sent)

    def wrote(self, word: Wrote) -> None:
        """Note how much has arrived at a command's shim, and how much the command has taken."""
        pipe = self._pipes.get(word.seq)
        if pipe is None or pipe.attempt != word.attempt:
            return
        pipe.got = word
        if not pipe.known:
            pipe.known, pipe.sent, pipe.ended = True, word.received, word.ended
            early, pipe.early = pipe.early, []
            for peer, message in early:
                stdin(self._engine, peer, message)
        self._answer(pipe)

    def over(self, seq: int) -> None:
        """Note that an attempt has ended: whoever waits for room waits for nothing."""
        pipe = self._pipes.pop(seq, None)
        if pipe is None:
            return
        waiting = [(brought.peer, brought.request) for brought in pipe.waiting]
        for peer, request in [*waiting, *((peer, message.request) for peer, message in pipe.early)]:
            self._engine.reply(peer, Reply(request, Verdict.GONE, None, "the command has ended"))

    def _answer(self, pipe: Pipe) -> None:
        """Answer those whose bytes have arrived, where there is room for more."""
        got = pipe.got
        if pipe.sent - got.taken > WINDOW:
            return
        waiting, pipe.waiting = pipe.waiting, []
        for brought in waiting:
            if brought.until <= got.received and (got.ended or not brought.end):
                answer(self._engine, brought.peer, brought.request, got.received)
            else:
                pipe.waiting.append(brought)
