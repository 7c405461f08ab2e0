"""Output of commands: from the reports of shims into the channels; shims are told when it is kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orcha._protocol import losses, values
from orcha._protocol.messages import Kind
from orcha._service.channels import output_pieces as spans
from orcha._service.execution import command_attempt as attempts
from orcha._supervisor.contract import FileSpan, UnkeptPiece
from orcha._supervisor.dead_shim_output import unreported_chunks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._output.raw import RawFiles
    from orcha._service.channels.channel_book import Channel, ChannelBook
    from orcha._service.execution.command_attempt import Attempt
    from orcha._service.execution.shims import Shims
    from orcha._service.outbox import Outbox
    from orcha._store.contract import Store
    from orcha._supervisor.contract import CommandEnded, CommandOutput, OutputChunk

# Looked up once: an attribute of an enumeration costs ten times a global name.
_NOTICE, _VALUE = Kind.NOTICE, Kind.VALUE


class CommandsOutput:
    """Appends the output of all commands to their channels; the engine thread's."""

    def __init__(
        self,
        petitions: Petitions,
        channels: ChannelBook,
        shims: Shims,
        outbox: Outbox,
        store: Store,
        folder: Path,
        report: Callable[..., None],
    ) -> None:
        """Take no output yet.

        Args:
            petitions: keep the number of an attempt's last chunk in the transaction of its records.
            channels: get the records.
            shims: are told what is kept.
            outbox: calls what is to happen once this batch is kept.
            store: has what is kept of attempts that are over.
            folder: where shims write what no service took.
            report: writes to the log.

        """
        self._petitions = petitions
        self._channels = channels
        self._shims = shims
        self._outbox = outbox
        self._store = store
        self._folder = folder
        self._report = report
        self._raw: RawFiles | None = None
        self._appended: dict[int, tuple[int, int, bytes]] = {}
        """Attempts with the last chunk that the transaction in the making keeps, and its channel, by sequence."""

    def keep_in(self, raw: RawFiles) -> None:
        """Know the folder of output that is not passed on in memory."""
        self._raw = raw
        self._channels.unkept.connect(self._shims.reach, self._not_kept)
        self._channels.expander = spans.Expander(
            lambda channel, piece: raw.read(channel, piece.seq, piece.attempt, piece.stream, *piece[3:])
        )

    def _not_kept(self, seq: int, attempt: int) -> int | None:
        """Give how much output of an attempt that is over was not kept."""
        row = self._store.attempts([seq]).get(seq)
        return attempts.not_kept(row, attempt) if row is not None else None

    def forget(self, channel: bytes) -> None:
        """Delete the output files of a channel that is not kept any more."""
        if self._raw is not None:
            self._raw.delete(channel)

    def close(self) -> None:
        """Close the files."""
        if self._raw is not None:
            self._raw.close()

    # --- what a shim reports ------------------------------------------------------------------------------------

    def take(self, record: Record, attempt: Attempt, event: CommandOutput) -> None:
        """Append the chunks that are not kept yet, and acknowledge them once they are."""
        known = attempt.step.last_chunk
        new = [chunk for chunk in event.chunks if chunk.number > known]
        if new:
            if attempt.pattern:
                attempt.note_output(new)
            self._append(record, new)
            attempt.step = attempt.step._replace(last_chunk=new[-1].number)
            self._petitions.keep_attempt(attempt.step)
        if not self._appended:
            self._outbox.after(self._acknowledge)
        self._appended[event.seq] = event.attempt, attempt.step.last_chunk, record.channel

    def _acknowledge(self) -> None:
        """Tell shims what is kept now."""
        kept, self._appended = self._appended, {}
        executor, unkept = self._shims.executor, self._channels.unkept
        if executor is None:
            return
        for seq, (attempt, chunk, channel) in kept.items():
            if not (unkept.attempts and unkept.delays(channel, seq, attempt, chunk)):
                executor.took(seq, attempt, chunk)

    def over(self, record: Record) -> None:
        """Acknowledge nothing of an attempt that is over: a shim that may forget all need not be told of a part."""
        self._appended.pop(record.seq, None)

    def is_kept(self, channel: bytes, seq: int, attempt: int) -> None:
        """Note that the end of an attempt is kept."""
        if self._channels.unkept.attempts:
            self._channels.unkept.over(channel, seq, attempt)

    # --- into the channel ---------------------------------------------------------------------------------------

    def _append(self, record: Record, chunks: list[OutputChunk]) -> None:
        channel = self._channels.get(record.channel)
        if channel is None:
            return
        channel.bounded = False
        append = self._channels.append
        pieces: spans.Pieces | None = None
        unkept: list[OutputChunk] = []
        for chunk in chunks:
            data = chunk.data
            if isinstance(data, UnkeptPiece):
                unkept.append(chunk)
            elif isinstance(data, FileSpan):
                if pieces is None:
                    pieces = spans.Pieces(record.seq, record.attempt)
                pieces.add(chunk.stream, data.offset, data.length)
            else:
                if pieces is not None:
                    self._append_pieces(channel, record, pieces)
                append(channel, _VALUE, record.seq, values.encode((chunk.stream, data)))
        if pieces is not None:
            self._append_pieces(channel, record, pieces)
        for chunk in unkept:  # they come after all that is kept
            channel.names_pieces = True
            assert isinstance(chunk.data, UnkeptPiece)
            place = record.seq, record.attempt, chunk.number, chunk.stream
            append(channel, spans.PASSED, record.seq, self._channels.unkept.add(channel, *place, chunk.data))

    def _append_pieces(self, channel: Channel, record: Record, pieces: spans.Pieces) -> None:
        if self._raw is not None:
            self._raw.note(record.channel, record.seq, record.attempt)
        channel.names_pieces = True
        for payload in pieces.take():
            self._channels.append(channel, spans.SPAN, record.seq, payload)

    def say(self, record: Record, line: str) -> None:
        """Add a line for people."""
        channel = self._channels.get(record.channel)
        if channel is not None:
            self._channels.append(channel, _NOTICE, record.seq, values.encode(line))

    def tell_losses(self, record: Record, event: CommandEnded) -> None:
        """Tell people which output of an attempt that has ended is lost, and which processes it left."""
        if event.dropped > event.placed:
            self.say(record, attempts.dropped(record, event.dropped - event.placed))
        if event.left:
            self.say(record, f"{attempts.left_behind(event)}\n")
        if event.survivors:
            text = "petition %s: nothing could kill these of its processes: %s"
            self._report(logging.ERROR, text, record.key, event.survivors)

    def last_of(self, record: Record, attempt: Attempt) -> tuple[bytes, ...]:
        """Give the last of what an attempt wrote, by stream, where a retry depends on that."""
        if not attempt.pattern or self._raw is None:
            return ()
        place = record.channel, record.seq, record.attempt
        tails = (
            attempt.tails.get(stream, b"") + self._raw.tail(*place, stream, attempts.TAIL_BYTES) for stream in (1, 2)
        )
        return tuple(tail[-attempts.TAIL_BYTES :] for tail in tails)

    # --- what a dead shim left ----------------------------------------------------------------------------------

    def pass_on_left(self, record: Record, attempt: Attempt) -> bool:
        """Take the output that a dead shim left in files; tell whether output is missing before it, and tell people."""
        known = attempt.step.last_chunk
        name = f"{record.channel.hex()}.{record.seq}.{record.attempt}"
        chunks = unreported_chunks(self._folder / "output", name, after=known)
        if not chunks:
            return False
        gap = chunks[0].number > known + 1
        if gap:
            self.say(record, losses.GAP)
        self._append(record, chunks)
        attempt.step = attempt.step._replace(last_chunk=chunks[-1].number)
        return gap

    def look_for_gaps(self, record: Record, attempt: Attempt, last: int) -> None:
        """Note whether some of the output of an attempt, whose end a dead shim saw, is missing, and tell people so.

        `last` is the number of its last chunk; negative where the shim did not live to know that.
        """
        gap = self.pass_on_left(record, attempt)
        cut = last < 0 or last > attempt.step.last_chunk
        if cut and not gap:
            self.say(record, losses.GAP)
        attempt.is_cut = gap or cut


__all__ = ["CommandsOutput"]
