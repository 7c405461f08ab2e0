"""The engine as the code of attempts sees it from its own threads: values, final values, processes to tag."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.state import State
from orcha._processes import attempt_tracking
from orcha._processes.tag import ordinal_of_attempt
from orcha._protocol.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.petitions import Petitions
    from orcha._protocol.endpoint import Endpoint
    from orcha._service.channels.channel_book import ChannelBook
    from orcha._service.execution.action_threads import ActionRun
    from orcha._service.execution.attempt_ending import Ending
    from orcha._service.hooks.hook_thread import HookThreadState
    from orcha._service.mailbox import Mailbox
    from orcha._service.outbox import Outbox

# Looked up once: an attribute of an enumeration costs ten times a global name.
_VALUE = Kind.VALUE
STOPPED_OUTSIDE = "interrupted: SIGTERM was sent to each process of the service, as when a machine shuts down"
LOOK_SECONDS = 1.0
"""How long a thread waits for its values to be kept before it looks whether the engine is there."""


class AttemptPort:
    """The engine as an attempt's action, its queue in the service's process, and its hooks see it."""

    def __init__(
        self,
        mailbox: Mailbox,
        petitions: Petitions,
        channels: ChannelBook,
        outbox: Outbox,
        hook_state: HookThreadState,
        ending: Ending,
    ) -> None:
        """Bring events to `mailbox`, and values to `channels` as long as an attempt of the petitions may write."""
        self._mailbox = mailbox
        self._petitions = petitions
        self._channels = channels
        self._outbox = outbox
        self._hook_state = hook_state
        self._ending = ending
        self.is_stopped_outside: Callable[..., bool] = lambda **_: False
        """`OutsideStop.explains`."""
        self.stop_starting: Callable[[], None] = lambda: None
        """Has nothing start any more."""

    # --- from threads of plugins --------------------------------------------------------------------------------

    def put(self, seq: int, attempt: int, payloads: list[bytes]) -> bool:
        """Keep values of an attempt; blocks until they are kept. False where it may not write any more."""
        self._hook_state.check()
        gate = threading.Lock()
        gate.acquire()
        answer: list[bool] = []
        self._mailbox.post(self._on_put, seq, attempt, payloads, answer, gate)
        while not gate.acquire(timeout=LOOK_SECONDS):
            if self._mailbox.stopped.is_set():
                return False
        return answer[0]

    def _on_finish(self, seq: int, attempt: int, value: int | None) -> None:
        transitions.finish.finish(self._petitions, seq, attempt, value, self._petitions.now)

    def finish(self, seq: int, attempt: int, value: int | None) -> None:
        """Take an attempt's final value."""
        self._hook_state.check()
        expected = attempt_tracking.with_processes
        if expected and (ordinal := ordinal_of_attempt(seq, attempt)) in expected:
            self._look_outside(seq, attempt, by_sigterm=attempt_tracking.take_ended_by_sigterm(ordinal))
        self._mailbox.post_without_waking(self._on_finish, seq, attempt, value)
        if not self._hook_state.looks_again:  # read after the event lies there, since the hook thread clears it first
            self._mailbox.wake()

    def access(self, seq: int, attempt: int) -> tuple[Endpoint, bytes, int]:
        """Give how other processes of an attempt reach the service: where, with which key, and the tag that they bear.

        Most actions start no process, so this is asked for when a queue is pickled or forked.
        """
        return self._ending.access(seq, attempt)

    def take_process(self, run: ActionRun, pid: int) -> None:
        """Take a process that an action started: it is tagged, and ended at once where the attempt is over."""
        self._ending.adopt(run, pid)

    def returned(self, run: ActionRun, error: str | None) -> None:
        """Take word that an action returned, with the reason where it raised."""
        if run.processes:
            self._look_outside(run.seq, run.attempt, by_sigterm=run.ended_by_sigterm)
        self._mailbox.run_or_post(self._on_returned, run, error, may_keep=True, ends=True)

    def _look_outside(self, seq: int, attempt: int, *, by_sigterm: bool) -> None:
        """Interrupt an attempt that is about to end, where a SIGTERM to each process explains that end."""
        record = self._petitions.records.get(seq)
        is_being_ended = record is not None and record.state is State.CANCELLING  # then the service sends SIGTERM
        if self.is_stopped_outside(ended_by_sigterm=by_sigterm and not is_being_ended):
            self._mailbox.post(self._on_stop_outside, seq, attempt)

    # --- as the engine ------------------------------------------------------------------------------------------

    def append(self, seq: int, attempt: int, payloads: list[bytes]) -> bool:
        """Add values to the transaction in the making; False where the attempt may not write any more."""
        record = self._petitions.writable(seq, attempt)
        channel = self._channels.get(record.channel) if record is not None else None
        if channel is None:
            return False
        for payload in payloads:
            self._channels.append(channel, _VALUE, seq, payload)
        return True

    def _on_put(self, seq: int, attempt: int, payloads: list[bytes], answer: list[bool], gate: threading.Lock) -> None:
        answer.append(self.append(seq, attempt, payloads))
        self._outbox.after(gate.release)

    def _on_stop_outside(self, seq: int, attempt: int) -> None:
        self.stop_starting()
        record = self._petitions.current(seq, attempt)
        if record is not None and record.state is State.STARTING:
            transitions.cancel.interrupt(self._petitions, record, STOPPED_OUTSIDE, self._petitions.now)

    def _on_returned(self, run: ActionRun, error: str | None) -> None:
        transitions.finish.returned(
            self._petitions, run.seq, run.attempt, error, self._petitions.now, processes=run.processes
        )


__all__ = ["AttemptPort"]
