"""Standard input of running commands: each byte once, in order, and no more than they take.

Where a command may be executed again its input is kept first (`_output.kept_input`), and another attempt gets it from
its first byte on. Where it could not be kept, no other attempt follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orcha._core.preempted import REQUEUE
from orcha._core.state import OnInterrupt, State
from orcha._output.kept_input import KeptInput, find
from orcha._protocol import values
from orcha._protocol.messages import Reply, Verdict
from orcha._service import faults
from orcha._supervisor.contract import InputTaken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.record import Record
    from orcha._output.raw import RawFiles
    from orcha._protocol.messages import Stdin
    from orcha._server.server import Peer
    from orcha._service.execution.shims import Shims
    from orcha._service.outbox import Outbox

MAX_UNACKNOWLEDGED_BYTES = 256 * 1024
"""Bytes that may be on their way to one command before its clients have to wait."""
REPLAY_PIECE_BYTES = 64 * 1024
"""Bytes of a kept input that are handed over at once."""
LOST = "input"
"""Why a command is killed that would not get what an earlier attempt got."""


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

    def __init__(self, attempt: int, *, known: bool, kept: KeptInput | None = None) -> None:
        """Begin with nothing handed over; where it is not `known` how much was, wait for the word of who has it."""
        self.attempt = attempt
        self.known = known
        self.kept = kept
        self.sent = 0
        self.ended = kept is not None and kept.has_ended
        """Whether nothing comes any more."""
        self.closed = False
        """Whether its end was handed over."""
        self.got = InputTaken(0, attempt, 0, 0, ended=False)
        self.waiting: list[Brought] = []
        self.early: list[tuple[Peer, Stdin]] = []
        """Messages that came before the shim told how much it has."""

    @property
    def total(self) -> int:
        """How many bytes have been taken from clients."""
        return self.sent if self.kept is None else max(self.sent, self.kept.size)


class StandardInput:
    """All commands' standard inputs; the engine thread's.

    A client hears of bytes only when they have arrived at the command's shim, which outlives the service: what it has
    not heard of it brings again, and what the shim has by then is not taken twice.
    """

    def __init__(self, records: Mapping[int, Record], shims: Shims, outbox: Outbox, keep_most: int) -> None:
        """Hand to `shims` what clients bring for petitions of `records`, and answer by `outbox`.

        Of input that another attempt may need `keep_most` bytes are kept.
        """
        self._records = records
        self._shims = shims
        self._outbox = outbox
        self.keep_most = keep_most
        self._pipes: dict[int, Pipe] = {}
        self._files: RawFiles | None = None
        self._inputs: dict[int, KeptInput] = {}
        """What is kept, by sequence."""

    def keep_in(self, files: RawFiles) -> None:
        """Keep the input of commands that may be executed again there."""
        self._files = files

    # --- attempts -----------------------------------------------------------------------------------------------

    def adopted(self, record: Record) -> None:
        """Know that an earlier start of the service handed over what its shim is about to tell."""
        self._pipes[record.seq] = Pipe(record.attempt, known=False, kept=self._kept(record))

    def began(self, record: Record) -> None:
        """Give another attempt the input that the earlier attempts got."""
        if record.seq not in self._pipes and (kept := self._kept(record)) is not None:
            pipe = self._pipes[record.seq] = Pipe(record.attempt, known=True, kept=kept)
            if kept.why_not_again is None:
                self._pump(pipe, record)
            else:
                self._shims.kill(record, LOST)

    def over(self, record: Record, *, is_last: bool) -> None:
        """Note that an attempt has ended, perhaps the last one: a client that waits for room is answered."""
        if is_last and (self._inputs or (self._files is not None and self._files.attempts)):
            self._forget(record)
        pipe = self._pipes.pop(record.seq, None) if self._pipes else None
        if pipe is None:
            return
        waiting = [(brought.peer, brought.request) for brought in pipe.waiting]
        for peer, request in [*waiting, *((peer, message.request) for peer, message in pipe.early)]:
            self._outbox.reply(peer, Reply(request, Verdict.GONE, None, "the command has ended"))

    def _forget(self, record: Record) -> None:
        """Forget the input that is kept for further attempts."""
        self._inputs.pop(record.seq, None)
        files, channel, seq = self._files, record.channel, record.seq
        if files is not None and files.has_input(channel, seq):
            self._outbox.after(lambda: files.delete_input(channel, seq))

    def note_reboot(self) -> None:
        """Note that the system was started again since the last start of the service."""
        for channel, seq in self._files.inputs() if self._files is not None else ():
            if (kept := self._find(channel, seq)) is not None:
                kept.note_reboot()

    def why_not_again(self, record: Record) -> str | None:
        """Tell why no other attempt may follow the ended one: it would not get all the input that this one got."""
        kept = self._kept(record)
        if kept is None:
            return None
        kept.compare()
        return kept.why_not_again

    def may_be_given_again(self, record: Record) -> bool:
        """Tell whether another attempt may get the input, as far as is known without a look at all of its bytes."""
        kept = self._kept(record)
        return kept is None or kept.why_not_again is None

    def _kept(self, record: Record) -> KeptInput | None:
        if record.seq not in self._inputs and (kept := self._find(record.channel, record.seq)) is not None:
            self._inputs[record.seq] = kept
        return self._inputs.get(record.seq)

    def _find(self, channel: bytes, seq: int) -> KeptInput | None:
        if self._files is None or not self._files.has_input(channel, seq):
            return None
        return find(self._files, channel, seq, self.keep_most)

    def _begin_to_keep(self, record: Record) -> KeptInput | None:
        """Keep the input of a command that may have another attempt; what is typed at a terminal is not kept."""
        may_follow = record.retry is not None or record.on_interrupt is not OnInterrupt.FAIL
        may_follow = may_follow or record.preemptible == REQUEUE
        if self._files is None or not may_follow or getattr(record.petition, "tty", None):
            return None
        kept = self._kept(record)
        if kept is None:
            kept = KeptInput(self._files, record.channel, record.seq, self.keep_most)
            self._inputs[record.seq] = kept
            kept.begin()
        return kept

    # --- clients ------------------------------------------------------------------------------------------------

    def take(self, peer: Peer, message: Stdin, record: Record) -> None:
        """Hand over new bytes; nothing where bytes are missing before them: the answer says where to go on."""
        if has_not(record, "stdin") and has_not(record, "tty"):
            reason = f"{record.key!r} reads no standard input: start it with --stdin"
            self._outbox.reply(peer, Reply(message.request, Verdict.REFUSED, None, reason))
            return
        pipe = self._pipes.get(record.seq)
        if pipe is None or pipe.attempt != record.attempt:
            pipe = self._pipes[record.seq] = Pipe(record.attempt, known=True)
        if not pipe.known:
            pipe.early.append((peer, message))
            return
        if pipe.ended and message.offset + len(message.data) > pipe.total:
            refused = Reply(message.request, Verdict.REFUSED, None, f"the standard input of {record.key!r} has ended")
            self._outbox.reply(peer, refused)
            return
        self._take_in(pipe, message, record)
        pipe.waiting.append(Brought(peer, message.request, pipe.total, message.end and pipe.ended))
        self._answer(pipe)

    def _take_in(self, pipe: Pipe, message: Stdin, record: Record) -> None:
        known = pipe.total - message.offset
        if pipe.ended or not 0 <= known <= len(message.data):
            return
        new = message.data[known:]
        if new and not self._bring(pipe, new, record):
            return
        if message.end:
            faults.reach("stdin.before-end")
            pipe.ended = True
            if pipe.kept is not None:
                pipe.kept.end()
            faults.reach("stdin.after-end")
        self._pump(pipe, record)

    def _bring(self, pipe: Pipe, new: bytes, record: Record) -> bool:
        """Keep new bytes, where input is kept, and hand them over, unless earlier bytes come first."""
        if pipe.kept is None and not pipe.sent:
            pipe.kept = self._begin_to_keep(record)
        behind = pipe.sent < pipe.total
        faults.reach("stdin.before-keep")
        if pipe.kept is not None and not pipe.kept.add(new) and behind:
            return False
        faults.reach("stdin.after-keep")
        if not behind:
            self._shims.write(record, pipe.sent, new)
            pipe.sent += len(new)
        faults.reach("stdin.after-write")
        return True

    # --- the command --------------------------------------------------------------------------------------------

    def _pump(self, pipe: Pipe, record: Record) -> None:
        """Hand over what is kept and was not handed to this attempt yet, as far as there is room, and the end."""
        kept = pipe.kept
        while kept is not None and pipe.sent < kept.size and pipe.sent - pipe.got.taken <= MAX_UNACKNOWLEDGED_BYTES:
            data = kept.read(pipe.sent, REPLAY_PIECE_BYTES)
            if not data:  # it cannot be read: the attempt must not take what it has got for all
                self._shims.kill(record, LOST)
                return
            self._shims.write(record, pipe.sent, data)
            pipe.sent += len(data)
        if pipe.ended and not pipe.closed and pipe.sent == pipe.total:
            pipe.closed = True
            self._shims.close_stdin(record, pipe.sent)
            faults.reach("stdin.after-close")

    def wrote(self, word: InputTaken) -> None:
        """Note how much has arrived at a command's shim, and how much the command has taken."""
        pipe = self._pipes.get(word.seq)
        if pipe is None or pipe.attempt != word.attempt:
            return
        pipe.got = word
        record = self._records.get(word.seq)
        early: list[tuple[Peer, Stdin]] = []
        if not pipe.known:
            pipe.known, pipe.sent, pipe.closed = True, word.received, word.ended
            pipe.ended = pipe.ended or word.ended
            early, pipe.early = pipe.early, []
        if record is not None:
            self._pump(pipe, record)
        for peer, message in early:
            if record is None or record.attempt != word.attempt or record.state is not State.RUNNING:
                self._outbox.reply(peer, Reply(message.request, Verdict.GONE, None, "the command has ended"))
            else:
                self.take(peer, message, record)
        self._answer(pipe)

    def _answer(self, pipe: Pipe) -> None:
        """Answer the messages whose bytes have arrived, where there is room for more."""
        got = pipe.got
        if pipe.sent - got.taken > MAX_UNACKNOWLEDGED_BYTES:
            return
        waiting, pipe.waiting = pipe.waiting, []
        for brought in waiting:
            if brought.until <= got.received and (got.ended or not brought.end):
                self._outbox.reply(brought.peer, Reply(brought.request, Verdict.OK, values.encode(got.received)))
            else:
                pipe.waiting.append(brought)


def has_not(record: Record, what: str) -> bool:
    """Tell whether a command is known to be without it; a petition that is not made again yet tells nothing."""
    return record.petition is not None and not getattr(record.petition, what, None)
