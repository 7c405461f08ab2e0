"""The verbs of what executes commands, as the service knows it: `contract` has the data.

A module of its own, since a supervisor does without it.
"""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._supervisor.contract import AttemptLimitValues, CommandSpec, Event, FoundAttempt


class CommandExecutor(Protocol):
    """Executes all commands of one endpoint.

    Every method may be called from any thread, and waits neither for a command nor for a shim. The events of an attempt
    arrive in order, on the reader thread. A verb about an unknown attempt does nothing.
    """

    def adopt(self) -> list[FoundAttempt]:
        """Find the attempts of an earlier service, before the first start; processes of dead shims are ended first.

        No event comes before :meth:`recovered`, or before the first verb about one of these attempts.
        """
        ...

    def may_have_run(self, seq: int, attempt: int, *, epoch: int) -> bool:
        """Tell whether an attempt that is not among the adopted may have been executed; before :meth:`recovered`.

        `epoch` is the start of the service that meant to start it. False needs proof: no shim was ever told of the
        attempt, or the shim that was told is known not to have taken it.
        """
        ...

    def recovered(self) -> None:
        """Note that the outcome of recovery is kept; events may come from now on."""
        ...

    def resume(self, seq: int, attempt: int, *, after_chunk: int) -> None:
        """Ask for the events of an adopted attempt, and for its output after the chunk of this number.

        A shim that lives tells nothing of such an attempt before that. An end is told again where it was told before.
        """
        ...

    def discard(self, seq: int, attempt: int) -> None:
        """Kill and forget an attempt that the store does not know; no event follows."""
        ...

    def start(self, spec: CommandSpec) -> None:
        """Start an attempt, at once or when a shim is there.

        CommandStarted, CommandNotStarted or CommandLost follows.
        """
        ...

    def cancel(self, seq: int, attempt: int, why: str) -> None:
        """Send the stop signal, then SIGTERM, then SIGKILL, each after its grace. A second call changes nothing."""
        ...

    def kill(self, seq: int, attempt: int, why: str) -> None:
        """Send SIGKILL at once."""
        ...

    def signal(self, seq: int, attempt: int, signal: int) -> None:
        """Send a signal to every process of the attempt, as SIGSTOP and SIGCONT to pause and resume it."""
        ...

    def stop(self, seq: int, attempt: int) -> None:
        """Send SIGSTOP to every process of the attempt; CommandStopped follows when that was done."""
        ...

    def limit(self, seq: int, attempt: int, limits: AttemptLimitValues) -> None:
        """Have other limits, the wall time counted from the start of the command.

        A shim of an older build takes the limit of wall time alone.
        """
        ...

    def write(self, seq: int, attempt: int, offset: int, data: bytes) -> None:
        """Write data that belongs `offset` bytes after the beginning to standard input or the terminal.

        Bytes that have arrived before are not written twice. Where bytes are missing before `offset`, nothing is
        written. InputTaken follows.
        """
        ...

    def close_stdin(self, seq: int, attempt: int, offset: int) -> None:
        """Close standard input once `offset` bytes are written in all; a terminal gets an end-of-file character."""
        ...

    def resize(self, seq: int, attempt: int, rows: int, columns: int) -> None:
        """Set the size of the attempt's terminal."""
        ...

    def took(self, seq: int, attempt: int, chunk: int) -> None:
        """Acknowledge the chunks up to this number: the service keeps them."""
        ...

    def read(self, seq: int, attempt: int, *, anybody: bool) -> None:
        """Tell whether anybody reads along. While nobody does, unkept output is dropped at once."""
        ...

    def forget(self, seq: int, attempt: int) -> None:
        """Acknowledge the attempt's end or loss: its shim is free again, and is told so by :meth:`settle` at last."""
        ...

    def prepare(self) -> None:
        """Start what executes commands before the first command comes; where that fails, the log says so."""
        ...

    def more(self, timeout: float = 0.0, age: float = 0.0) -> list[Event]:
        """Return the events that have arrived since the last ones.

        Where there is none, wait `timeout` seconds for events, while an attempt that was started less than `age`
        seconds ago has not ended. May only be called on the reader thread, while it delivers events.
        """
        ...

    def settle(self) -> None:
        """Send messages to shims that were held back to go together with later ones."""
        ...

    def descriptors(self) -> list[int]:
        """Return the descriptors that a forked child of the service must close; takes no lock."""
        ...

    def close(self, *, keep: bool) -> None:
        """Release everything. With `keep` the commands go on, and :meth:`adopt` finds them later."""
        ...
