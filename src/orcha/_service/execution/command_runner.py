"""Commands: between the engine, which owns their petitions, and the supervisor's side, which owns their processes.

One file, since all it does is about the attempts that run now, and each event of one changes what is known of it.
"""

from __future__ import annotations

import logging
import random
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orcha._core import transitions
from orcha._core.admission import petition_name
from orcha._core.reasons import RestingUntil
from orcha._core.record import Phase
from orcha._core.retry import Ended as RetryEnded
from orcha._core.retry import depends_on_output, retry_due
from orcha._core.state import Outcome, State
from orcha._core.transitions.command import CommandEnd
from orcha._protocol import losses, values
from orcha._protocol.messages import Kind
from orcha._protocol.shown_reasons import SILENT
from orcha._service.channels import output_pieces as spans
from orcha._service.execution import command_attempt as attempts
from orcha._service.execution.output_patterns import Matching
from orcha._service.lifecycle.stored_records import record_of
from orcha._service.reports.explanations import explain, outlived
from orcha._supervisor.contract import (
    FOREIGN,
    LOST,
    OUTSIDE,
    CommandEnded,
    CommandLost,
    CommandNotStarted,
    CommandOutput,
    CommandStarted,
    FileSpan,
    InputTaken,
    Silent,
    SurvivorsGone,
    UnkeptPiece,
)
from orcha._supervisor.dead_shim_output import unreported_chunks

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.record import Record
    from orcha._output.raw import RawFiles
    from orcha._service.engine import Engine
    from orcha._service.execution.command_attempt import Attempt
    from orcha._store.contract import AttemptRow, Row
    from orcha._supervisor.contract import Event, FoundAttempt, OutputChunk

CANCELLED, SHUTDOWN, HURRIED = "cancelled", "shutdown", "cancelled at once"
"""Why a command is ended from here."""
APART_LINE = "orcha: it goes on under another build of Orcha: what it writes from now on is not passed on, its end is\n"
CANNOT = 125
"""Code of a command that could not be handed over."""


class CommandRunner:
    """Starts, follows and ends commands for the engine; everything but `go` is called on its thread."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine; nothing is started before the first command."""
        self._engine = engine
        self._shims = engine.shims
        self._shims.on_events = self._take
        self._attempts: dict[int, Attempt] = {}
        self._matching = Matching(engine.end_with)
        self._outlived: dict[tuple[int, int], CommandLost] = {}
        """Losses whose consequence waits until nothing of the attempt lives."""
        self._kept: dict[int, tuple[int, int, bytes]] = {}
        """Attempts with the last chunk that the transaction in the making keeps, and its channel, by sequence."""
        self._raw: RawFiles | None = None
        self._looked = False
        """Whether this batch has what shims had said when it began."""
        self._adopted: dict[int, tuple[AttemptRow, FoundAttempt]] = {}
        self.keep = engine.settings.keep_commands
        """Whether commands go on when the service stops."""
        self.rebooted = False
        """Whether the system was started again since the last start of the service."""
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            CommandStarted: self._started,
            CommandOutput: self._output,
            InputTaken: self._wrote,
            CommandEnded: self._ended,
            CommandNotStarted: self._not_started,
            CommandLost: self._lost,
            SurvivorsGone: self._gone,
            Silent: self._silent,
        }

    def keep_in(self, raw: RawFiles) -> None:
        """Know where output lies beyond what is passed on in memory."""
        self._raw = raw
        self._engine.channels.unkept.connect(self._shims.reach, self._dropped)
        self._engine.channels.expander = spans.Expander(
            lambda channel, piece: raw.read(channel, piece.seq, piece.attempt, piece.stream, *piece[3:])
        )

    def _take(self, events: list[Event]) -> None:
        self._looked = False
        self._engine.mailbox.run_or_post(self._handle, events, may_keep=True, ends=True, more=self._more)

    def _more(self) -> bool:
        """Handle what shims have said since, so that it goes into the same transaction; False for nothing."""
        commands = self._shims.reached()
        if commands is None or self._looked:
            return False
        self._looked = True
        events = commands.more()
        self._handle(events)
        return bool(events)

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            self._handlers[type(event)](event)

    # --- start --------------------------------------------------------------------------------------------------

    def go(self, record: Record) -> None:
        """Have a command executed, whose start is durable and whose on_start agreed; on the hook thread."""
        try:
            self._shims.reach().start(attempts.spec_of(record, outlives=self._engine.settings.durable))
        except Exception as error:  # noqa: BLE001 - whatever it is: the petition ends with it, and nobody waits for ever
            self._engine.post(
                self._not_started,
                CommandNotStarted(record.seq, record.attempt, CANNOT, f"its start failed: {explain(error)}"),
            )

    def attempt_of(self, record: Record) -> Attempt:
        """Give what is known of the record's current attempt."""
        known = self._attempts.get(record.seq)
        if known is None or known.attempt != record.attempt:
            row = self._engine.store.attempts([record.seq]).get(record.seq) if record.attempt > 1 else None
            known = self._attempts[record.seq] = attempts.Attempt(record, row)
        return known

    # --- what the supervisor's side tells -----------------------------------------------------------------------

    def _live(
        self, event: CommandStarted | CommandOutput | CommandEnded | CommandNotStarted | CommandLost
    ) -> Record | None:
        """Give the petition that an event is about; where it is over, nothing of that attempt is wanted any more."""
        record = transitions.command.unfinished(self._engine.petitions, event.seq, event.attempt)
        if record is None:  # what ended it may not be kept yet
            self._engine.after_batch(lambda: self._shims.reach().discard(event.seq, event.attempt))
        return record

    def _started(self, event: CommandStarted) -> None:
        record = self._live(event)
        if record is None:
            return
        attempt = self.attempt_of(record)
        attempt.step = attempt.step._replace(
            pid=event.pid, start_time=event.start_time, boot_id=event.boot_id, shim=event.shim
        )
        self._engine.petitions.keep_attempt(attempt.step)
        transitions.command.running(self._engine.petitions, event.seq, event.attempt, self._engine.petitions.now)
        if record.attempt > 1:
            self._engine.standard_input.began(record)
        self.stand_still(record)

    def _output(self, event: CommandOutput) -> None:
        record = self._live(event)
        if record is None:
            return
        attempt = self.attempt_of(record)
        new = [chunk for chunk in event.chunks if chunk.number > attempt.step.last_chunk]
        if new:
            attempt.note_output(new)
            self._append(record, new)
            attempt.step = attempt.step._replace(last_chunk=new[-1].number)
            self._engine.petitions.keep_attempt(attempt.step)
        if not self._kept:
            self._engine.after_batch(self._took)
        self._kept[event.seq] = event.attempt, attempt.step.last_chunk, record.channel

    def _took(self) -> None:
        """Acknowledge what is kept now."""
        kept, self._kept = self._kept, {}
        for seq, (attempt, chunk, channel) in kept.items():
            if not self._engine.channels.unkept.delays(channel, seq, attempt, chunk):
                self._shims.reach().took(seq, attempt, chunk)

    def _append(self, record: Record, chunks: list[OutputChunk]) -> None:
        channels = self._engine.channels
        channel = channels.get(record.channel)
        if channel is None:
            return
        channel.bounded = False
        pieces = spans.Pieces(record.seq, record.attempt)
        unkept: list[OutputChunk] = []
        for chunk in chunks:
            if isinstance(chunk.data, UnkeptPiece):
                unkept.append(chunk)
                continue
            if isinstance(chunk.data, FileSpan):
                self._raw_of(record)
                pieces.add(chunk.stream, chunk.data.offset, chunk.data.length)
                continue
            for payload in pieces.take():
                channels.append(channel, spans.SPAN, record.seq, payload)
            channels.append(channel, Kind.VALUE, record.seq, values.encode((chunk.stream, chunk.data)))
        for payload in pieces.take():
            channels.append(channel, spans.SPAN, record.seq, payload)
        for chunk in unkept:  # they come after all that is kept
            assert isinstance(chunk.data, UnkeptPiece)
            place = record.seq, record.attempt, chunk.number, chunk.stream
            channels.append(channel, spans.PASSED, record.seq, channels.unkept.add(channel, *place, chunk.data))

    def _dropped(self, seq: int, attempt: int) -> int | None:
        """Give how much output of an attempt that is over was not kept."""
        row = self._engine.store.attempts([seq]).get(seq)
        return attempts.not_kept(row, attempt) if row is not None else None

    def _raw_of(self, record: Record) -> None:
        """Know that the attempt has files."""
        if self._raw is not None:
            self._raw.note(record.channel, record.seq, record.attempt)

    def forget_output(self, channel: bytes) -> None:
        """Delete what commands wrote to a channel that is not kept any more."""
        if self._raw is not None:
            self._raw.delete(channel)

    def _wrote(self, event: InputTaken) -> None:
        self._engine.standard_input.wrote(event)

    def _pass_on_left(self, record: Record, attempt: Attempt) -> bool:
        """Take what a dead shim left in files; tell whether something is missing before it, and people so."""
        known = attempt.step.last_chunk
        folder = Path(self._engine.settings.endpoint.folder) / "output"
        chunks = unreported_chunks(folder, f"{record.channel.hex()}.{record.seq}.{record.attempt}", after=known)
        if not chunks:
            return False
        gap = chunks[0].number > known + 1
        if gap:
            self._say(record, losses.GAP)
        self._append(record, chunks)
        attempt.step = attempt.step._replace(last_chunk=chunks[-1].number)
        return gap

    def _look_for_gaps(self, event: CommandLost) -> None:
        """Note whether some of the output of an attempt, whose end a dead shim saw, is missing, and tell people so."""
        record = transitions.command.unfinished(self._engine.petitions, event.seq, event.attempt)
        if record is None or event.ended is None:
            return
        attempt, last = self.attempt_of(record), event.ended.last_chunk
        gap = self._pass_on_left(record, attempt)
        cut = last < 0 or last > attempt.step.last_chunk
        if cut and not gap:
            self._say(record, losses.GAP)
        attempt.is_cut = gap or cut

    def _ended(self, event: CommandEnded) -> None:
        record = self._live(event)
        if record is None:
            return
        attempt = self.attempt_of(record)
        if event.why == OUTSIDE and record.state is not State.CANCELLING:
            self._interrupted(record, event)
            return
        seen = RetryEnded(attempts.end_of(record, event)[0], event.code, event.signal)
        if not depends_on_output(record.retry, seen, retries=attempt.retries):
            self._decide(record, event, found=False)
        elif not attempt.looked:  # else it is told once more
            attempt.looked = True
            assert record.retry is not None
            pattern = (record.retry.output or "").encode()
            told = partial(self._engine.post, self._searched, event)
            self._matching.ask(pattern, self._last_output(record), told)

    def _searched(self, event: CommandEnded, found: bool | None) -> None:
        """Decide what follows on an end, now that it is known whether the pattern was found."""
        record = self._live(event)
        if record is None:
            return
        if found is None:
            self._say(
                record, "orcha: the pattern of --retry-output took too long to look for: it counts as not found\n"
            )
        self._decide(record, event, found=bool(found))

    def _decide(self, record: Record, event: CommandEnded, *, found: bool) -> None:
        outcome, code, reason = attempts.end_of(record, event)
        if outcome is Outcome.SUCCEEDED and self.attempt_of(record).is_cut:
            outcome, code, reason = attempts.CUT
        seen = RetryEnded(outcome, event.code, event.signal, found)
        self._tell_what_is_lost_or_left(record, event)
        due = self._due(record, seen)
        if due is not None and (why := self._engine.standard_input.why_not_again(record)) is not None:
            self._say(record, f"orcha: it is not tried again: {why}\n")
            due = None
        end = CommandEnd(outcome, code, reason, event.why is None, due, tuple(event.survivors))
        self._over(record, attempts.described(event), end)

    def _tell_what_is_lost_or_left(self, record: Record, event: CommandEnded) -> None:
        if event.dropped > event.placed:
            self._say(record, attempts.dropped(record, event.dropped - event.placed))
        if event.left:
            self._say(record, f"{attempts.left_behind(event)}\n")
        if event.survivors:
            text = "petition %s: nothing could kill these of its processes: %s"
            self._engine.report(logging.ERROR, text, record.key, event.survivors)

    def _interrupted(self, record: Record, event: CommandEnded) -> None:
        """Have the policy of interruption decide about a command that a shutdown from outside has ended."""
        petitions, reason = self._engine.petitions, transitions.command.OUTSIDE
        attempt = self.attempt_of(record)
        self._tell_what_is_lost_or_left(record, event)
        self.note_again(record)
        history = attempt.note_end(petitions.now.wall, attempts.described(event))
        petitions.keep_attempt(attempt.step._replace(history=history, losses=0, retries=attempt.retries))
        survivors = tuple(event.survivors)
        if survivors:
            if not transitions.command.outlived(petitions, event.seq, event.attempt, survivors, reason, petitions.now):
                self._outlived[event.seq, event.attempt] = CommandLost(
                    event.seq, event.attempt, executed=True, survivors=survivors
                )
            return
        transitions.command.lost(petitions, event.seq, event.attempt, petitions.now, executed=True, reason=reason)
        self._forget(record)

    def _last_output(self, record: Record) -> tuple[bytes, ...]:
        """Give the last of what an attempt wrote, by stream, where it matters."""
        attempt = self.attempt_of(record)
        if not attempt.pattern or self._raw is None:
            return ()
        place = record.channel, record.seq, record.attempt
        tails = (attempt.tails.get(stream, b"") + self._raw.tail(*place, stream, attempts.TAIL) for stream in (1, 2))
        return tuple(tail[-attempts.TAIL :] for tail in tails)

    def _say(self, record: Record, line: str) -> None:
        """Add a line for people."""
        channel = self._engine.channels.get(record.channel)
        if channel is not None:
            self._engine.channels.append(channel, Kind.NOTICE, record.seq, values.encode(line))

    def _silent(self, event: Silent) -> None:
        """Tell people that what watches over a command does not answer, or answers again."""
        record = transitions.command.unfinished(self._engine.petitions, event.seq, event.attempt)
        if record is not None:
            self.attempt_of(record).is_silent = event.is_silent
            self._say(record, f"orcha: {SILENT if event.is_silent else attempts.ANSWERS_AGAIN}\n")

    def is_silent(self, seq: int) -> bool:
        """Tell whether what watches over a petition's command has not answered for a while."""
        attempt = self._attempts.get(seq)
        return attempt is not None and attempt.is_silent

    def _not_started(self, event: CommandNotStarted) -> None:
        record = self._live(event)
        if record is None:
            return
        reason = attempts.shown(record, event.reason)
        end = CommandEnd(Outcome.BROKEN, attempts.not_started(event.code), reason, by_itself=False)
        self._over(record, {"code": event.code, "why": reason}, end)

    def _over(self, record: Record, known: dict[str, Any], end: CommandEnd) -> None:
        """Keep how an attempt ended, in the transaction of its petition's end or of the decision to try it again."""
        petitions = self._engine.petitions
        attempt = self.attempt_of(record)
        again = end.due is not None and record.state is not State.CANCELLING and not end.survivors
        step = attempt.step._replace(
            history=attempt.note_end(petitions.now.wall, known),
            retries=attempt.retries + again,
            losses=0,
            due=end.due if again else None,
        )
        transitions.command.ended(petitions, record.seq, record.attempt, end, petitions.now)
        petitions.keep_attempt(step)
        if again and end.due is not None:
            record.why = RestingUntil(record.attempt, end.code, end.due)
            self.rise(record)
        self._forget(record)

    def _due(self, record: Record, seen: RetryEnded) -> float | None:
        attempt = self.attempt_of(record)
        chance = random.random()  # noqa: S311 - it spreads load, and guards nothing
        return retry_due(
            record.retry, seen, retries=attempt.retries, now=self._engine.petitions.now.wall, chance=chance
        )

    def _gone(self, event: SurvivorsGone) -> None:
        """Let go of what an attempt held that something outlived."""
        lost = self._outlived.pop((event.seq, event.attempt), None)
        if not transitions.command.gone(self._engine.petitions, event.seq, event.attempt) and lost is not None:
            self._lost(lost._replace(survivors=()))
        self._engine.after_batch(lambda: self._shims.reach().forget(event.seq, event.attempt))
        self._engine.visits.wake()

    def _is_outlived(self, event: CommandLost) -> bool:
        """Tell whether something of a lost attempt lives that nothing can kill; then its end waits for that of this."""
        if not event.survivors:
            return False
        record = self._engine.petitions.records.get(event.seq)
        if record is not None:
            text = "petition %s: nothing can kill these of its processes, it keeps its place until they have ended: %s"
            self._engine.report(logging.ERROR, text, record.key, list(event.survivors))
        if event.ended is not None:
            self._ended(event.ended._replace(survivors=list(event.survivors)))
        elif not transitions.command.outlived(
            self._engine.petitions,
            event.seq,
            event.attempt,
            event.survivors,
            attempts.loss(event.failure),
            self._engine.petitions.now,
        ):
            self._outlived[event.seq, event.attempt] = event
        return True

    def _lost(self, event: CommandLost) -> None:
        self._look_for_gaps(event)
        if self._is_outlived(event):
            return
        record = self._live(event)
        if record is None:
            return
        if event.ended is not None:
            self._ended(event.ended)
            return
        petitions = self._engine.petitions
        attempt = self.attempt_of(record)
        losses = 0 if event.executed else attempt.losses + 1
        if event.executed:
            self._pass_on_left(record, attempt)
            self.note_again(record)
        known = {"why": "lost", "executed": event.executed} | ({"failure": event.failure} if event.failure else {})
        history = attempt.note_end(petitions.now.wall, known)
        step = attempt.step._replace(history=history, losses=losses, retries=attempt.retries)
        transitions.command.lost(
            petitions,
            event.seq,
            event.attempt,
            petitions.now,
            executed=event.executed,
            losses=losses,
            reason=attempts.loss(event.failure),
        )
        petitions.keep_attempt(step)
        self._forget(record)

    def note_again(self, record: Record) -> None:
        """Have an interrupted petition not run again where its next attempt would not get the same standard input."""
        why = self._engine.standard_input.why_not_again(record)
        if why is not None:
            transitions.command.never_again(record)
            self._say(record, f"orcha: it does not run again: {why}\n")

    def _forget(self, record: Record) -> None:
        """Let go of an attempt once its end is kept."""
        seq, number = record.seq, record.attempt
        if record.state is State.ENDED:
            self._engine.standard_input.done(record)
        self._attempts.pop(seq, None)
        self._adopted.pop(seq, None)
        self._kept.pop(seq, None)  # who may forget all need not be told of a part
        self._engine.standard_input.over(seq)
        channel = record.channel
        self._engine.after_batch(lambda: self._engine.channels.unkept.over(channel, seq, number))
        known = self._engine.petitions.records.get(seq)
        if known is None or not known.survivors:  # a shim's box tells a later start what lives on
            self._engine.after_batch(lambda: self._shims.reach().forget(seq, number))

    # --- from an earlier start of the service -------------------------------------------------------------------

    def find(self) -> list[FoundAttempt]:
        """Give the attempts that outlived an earlier start of the service; what dead shims left is swept then."""
        folder = Path(self._engine.settings.endpoint.folder) / "shims"
        return self._shims.reach().adopt() if self._shims.can_be_reached and folder.is_dir() else []

    def may_have_run(self, row: Row, attempt: int) -> bool:
        """Tell whether an attempt that was not found may have been executed; after a reboot nobody knows."""
        return self.rebooted or self._shims.may_have_run(row, attempt)

    def adopted(self, record: Record, row: AttemptRow, there: FoundAttempt) -> None:
        """Go on with a command that an earlier start of the service left, as soon as its petition is made again."""
        self._adopted[record.seq] = row, there
        self._attempts[record.seq] = attempts.Attempt(record, row)
        self._engine.standard_input.adopted(record)
        self._engine.visits.convert_again(record)

    def note_loss(self, row: Row, command: AttemptRow, losses: int) -> None:
        """Keep that nothing is left of a command's attempt."""
        record = record_of(row)
        attempt = attempts.Attempt(record, command)
        if not losses:
            self._pass_on_left(record, attempt)
        history = attempt.note_end(self._engine.petitions.now.wall, {"why": "lost", "executed": not losses})
        self._engine.petitions.keep_attempt(attempt.step._replace(history=history, losses=losses))

    def converted(self, record: Record, reason: str | None = None) -> None:
        """Note that a petition was made again, or why not: then nothing but its command is known of it."""
        if reason is not None:
            text = "petition %s: its command goes on, but it cannot be made again: %s"
            self._engine.report(logging.ERROR, text, record.key, reason)
        if record.seq not in self._adopted:
            return
        row, there = self._adopted.pop(record.seq)
        self._attempts[record.seq] = attempts.Attempt(record, row)
        if there.phase == LOST:
            self._lost(
                CommandLost(record.seq, record.attempt, there.executed, there.ended, there.failure, there.survivors)
            )
            return
        if there.pid and record.state is State.STARTING:  # it was told, and not kept
            self._started(
                CommandStarted(record.seq, record.attempt, there.pid, there.start_time, there.boot_id, there.shim)
            )
        self._engine.journal.found(record)
        if there.phase == FOREIGN:
            self._say(record, APART_LINE)
        else:
            self._shims.reach().resume(record.seq, record.attempt, after_chunk=row.last_chunk)
            self.stand_still(record)

    # --- time ---------------------------------------------------------------------------------------------------

    def rise(self, record: Record) -> None:
        """Have a petition that rests wait again when its time has come."""
        until = record.rests_until
        if until is None:
            return

        def rise() -> None:
            petitions = self._engine.petitions
            begun = petitions.now  # when the batch began: that may have been a moment before
            now = begun._replace(steady=max(until, begun.steady))
            transitions.retry.time_came(petitions, record.seq, now)

        self._engine.timers.at(until, rise)

    # --- the end ------------------------------------------------------------------------------------------------

    def end(self, record: Record) -> None:
        """Send the signals of a cancel; the end is told as any other."""
        cancellation = record.cancellation
        shutdown = cancellation is not None and cancellation.outcome is Outcome.INTERRUPTED
        lost = self._outlived.pop((record.seq, record.attempt), None)
        if lost is not None:
            self._engine.post(self._lost, lost)
            return
        self._shims.reach().cancel(record.seq, record.attempt, SHUTDOWN if shutdown else CANCELLED)

    def hurry(self, record: Record) -> None:
        """Kill a command that is being cancelled, without waiting for its graces."""
        self._shims.reach().kill(record.seq, record.attempt, HURRIED)

    def signal(self, record: Record, number: int) -> None:
        """Send a signal to every process of a running command, as SIGSTOP and SIGCONT to pause and resume it."""
        self._shims.reach().signal(record.seq, record.attempt, number)

    def stand_still(self, record: Record) -> None:
        """Stop every process of a running command whose petition is paused: while it started that came too early."""
        if petition_name(record.seq) in self._engine.admission.paused:
            self.signal(record, signal.SIGSTOP)

    def resize(self, record: Record, rows: int, columns: int) -> None:
        """Give its terminal another size."""
        self._shims.reach().resize(record.seq, record.attempt, rows, columns)

    def goes_on(self, seq: int) -> bool:
        """Tell whether that petition is a command that goes on when the service stops."""
        record = self._engine.petitions.records.get(seq)
        return self.keep and record is not None and record.command and record.phase is Phase.ACTION

    def close(self) -> None:
        """Let go of all; the engine has stopped. Where it failed, commands go on as after a crash."""
        commands = self._shims.let_go()
        for record in list(self._engine.petitions.records.values()):
            if record.survivors:
                text = "petition %s: it stays behind when the service stops: %s"
                self._engine.report(logging.ERROR, text, record.key, outlived(record.survivors))
        if commands is not None:
            commands.close(keep=self.keep or self._engine.failure is not None)
        if self._raw is not None:
            self._raw.close()
