"""A shim: runs one attempt at a time, with or without a service.

It has one thread and one poll(2), and does nothing while nothing happens. It is the subreaper of its descendants
(prctl(2)), so that every process that loses its parent becomes a child of the shim.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time

from orcha._processes.sweep import keep_newest_open
from orcha._supervisor import black_box as boxes
from orcha._supervisor import shim_failures
from orcha._supervisor.cgroups import AttemptCgroup, CgroupPlaces, NotAvailableError
from orcha._supervisor.contract import CommandSpec
from orcha._supervisor.link import ProtocolError, ShimLink, peer_may
from orcha._supervisor.process_tree import ProcessTree
from orcha._supervisor.protocol import common_version, unpack_spec
from orcha._supervisor.shim_attempt import ShimAttempt
from orcha._supervisor.shim_secrets import ShimSecrets
from orcha.utils.private import unlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from orcha._supervisor.link import Frame, Head

IDLE_SECONDS = 30.0
"""How long a shim without an attempt waits for a service."""
SOCKET_LOOK_SECONDS = 60.0
"""Seconds between looks whether a service can still find a shim that keeps an attempt's end for an absent service."""
HOLD_SECONDS = 0.005
"""How long the report of a start waits, to be sent together with the first output or the end."""
MAX_WAIT_SECONDS = 86_400.0
"""The longest sleep: poll(2) counts milliseconds in 31 bits, which is less than 25 days."""
_NEVER = float("inf")
_TERM = int(signal.SIGTERM)
_HOME = int(signal.SIGUSR1)
"""The supervisor says so that no service will connect."""
_LIVE = frozenset({boxes.TAKEN, boxes.STARTED, boxes.ENDED})
_PHASES = {
    boxes.IDLE: "idle",
    boxes.TAKEN: "waiting",
    boxes.STARTED: "running",
    boxes.ENDED: "running",
    boxes.DONE: "ended",
    boxes.NOT_STARTED: "ended",
}


class Shim:
    """The state of one shim."""

    def __init__(self, name: str, listener: socket.socket, box: int, first: boxes.BlackBox, folder: str) -> None:
        """Take the listening socket, the black box and its content; `folder` is the endpoint's."""
        self.name = name
        self._folder = folder
        self._listener = listener
        self._box = box
        self._word = first
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._link: ShimLink | None = None
        self._strangers: dict[int, ShimLink] = {}
        self._attempt: ShimAttempt | None = None
        self._tree = ProcessTree(first.nonce << 32 | first.ordinal)
        self._place = self._socket_file()
        self._abandoned = False
        """Whether the attempt was ended since no service can come back for it."""
        self._flowing = True
        """Whether events are sent: after a reconnect the service first says from which chunk on."""
        self._reported = False
        self._idle_since = time.monotonic()
        self._wanted = True
        self._wake = -1
        self._exit_code = 0

    def run(self) -> NoReturn:
        """Serve until nobody needs this shim."""
        reading, writing = os.pipe()
        for descriptor in (reading, writing):
            os.set_blocking(descriptor, False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, _note)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self._listener.setblocking(False)
        keep_newest_open()
        self._wake = reading
        self._handle(reading, self._signalled)
        self._handle(self._listener.fileno(), self._accept)
        try:
            self._watch()
        except BaseException as error:
            shim_failures.note(self._folder, self.name, error)
            if self._link is not None:
                self._link.send({"t": "failed", "why": shim_failures.described(error)})
            raise
        self._leave()

    def _watch(self) -> None:
        while self._is_needed():
            ready = self._poll.poll(self._timeout())
            if not ready and self._link is not None and self._link.holds:
                self._link.release()
            for descriptor, events in ready:
                handler = self._handlers.get(descriptor)
                if handler is not None:
                    handler(events)
                elif self._attempt is not None:
                    self._pipe_ready(descriptor, events)
            self._step()

    def _step(self) -> None:
        """Do what is due for the attempt, and report to the service."""
        attempt = self._attempt
        if attempt is not None:
            attempt.step()
            if self._link is not None and self._flowing:
                self._tell(attempt, self._link)

    def _tell(self, attempt: ShimAttempt, link: ShimLink) -> None:
        seq, number = attempt.key
        while (message := attempt.output.give()) is not None:
            link.send({**message[0], "s": seq, "a": number}, message[1])
        if attempt.pipes.is_input_unreported:
            link.send({"t": "wrote", "s": seq, "a": number, **attempt.pipes.tell()})
        if attempt.is_over and not self._reported and attempt.output.all_given:
            self._reported = True
            link.send(attempt.report())
        if attempt.is_end_of_survivors_unreported and self._reported:
            attempt.is_end_of_survivors_unreported = False
            link.send({"t": "gone", "s": seq, "a": number})

    def _timeout(self) -> int | None:
        due = self._idle_since + IDLE_SECONDS if self._attempt is None and self._link is None else _NEVER
        if self._attempt is not None:
            due = self._attempt.due()
            if self._attempt.is_over and self._link is None:
                due = min(due, time.monotonic() + SOCKET_LOOK_SECONDS)
        if self._link is not None and self._link.holds:
            due = min(due, time.monotonic() + HOLD_SECONDS)
        if due == _NEVER:
            return None
        return max(0, int(min(due - time.monotonic(), MAX_WAIT_SECONDS) * 1000) + 1)

    def _is_needed(self) -> bool:
        attempt = self._attempt
        if attempt is not None and not attempt.is_over:
            return True
        if not self._wanted:
            return False
        if attempt is not None:
            return self._link is not None or not (self._abandoned or self._is_out_of_reach())
        return self._link is not None or time.monotonic() < self._idle_since + IDLE_SECONDS

    def _leave(self) -> NoReturn:
        """Exit. The black box stays, unless the service has acknowledged everything in it."""
        suffixes = ("sock", "box") if self._attempt is None and not self._wanted else ("sock",)
        for suffix in suffixes:
            with contextlib.suppress(OSError):
                unlink(f"{self._folder}/shims/{self.name}.{suffix}")
        os._exit(self._exit_code)

    def _signalled(self, _: int) -> None:
        signals = b""
        with contextlib.suppress(BlockingIOError):
            signals = os.read(self._wake, 512)
        if _TERM in signals or _HOME in signals:
            self._idle_since = -_NEVER  # nobody will come for it
        if self._attempt is not None:
            if _TERM in signals:
                self._attempt.note_shutdown()
            self._attempt.reap()

    def _pipe_ready(self, descriptor: int, events: int) -> None:
        assert self._attempt is not None
        pipes = self._attempt.pipes
        if events & (select.POLLIN | select.POLLHUP):
            self._attempt.readable(descriptor)
        if events & (select.POLLOUT | select.POLLERR) and pipes.wants(descriptor):
            pipes.flush()

    # --- the service ------------------------------------------------------------------------------------------------

    def _accept(self, _: int) -> None:
        try:
            connection, _address = self._listener.accept()
        except OSError:
            return
        if not peer_may(connection):
            connection.close()
            return
        link = ShimLink(connection)
        self._strangers[link.descriptor] = link
        self._handle(link.descriptor, lambda events: self._serve(link, events))

    def _serve(self, link: ShimLink, events: int) -> None:
        if events & select.POLLOUT:
            link.flush()
        try:
            for frame in link.receive():
                self._take(link, frame)
            if self._attempt is None and self._word.phase != boxes.IDLE:
                self._write(self._word._replace(phase=boxes.IDLE))  # nothing else was to be done instead
        except (ProtocolError, KeyError, TypeError, ValueError) as error:
            link.send({"t": "refused", "why": f"{type(error).__name__}: {error}"})
            link.is_open = False
        if not link.is_open:
            self._drop(link)

    def _drop(self, link: ShimLink) -> None:
        self._unhandle(link.descriptor)
        self._strangers.pop(link.descriptor, None)
        link.close()
        if link is self._link:
            self._link = None
            self._idle_since = -_NEVER  # a service that comes back wants others
            if self._attempt is not None:
                self._attempt.output.connected = False
                self._attempt.output.spill()
                self._go_on_alone(self._attempt)

    def _go_on_alone(self, attempt: ShimAttempt) -> None:
        """Let the attempt go on without a service; end it where no service can come back for it.

        Where the shim's socket is gone, a service that returns cannot know of this attempt, and may start another one
        soon: so the attempt gets no grace.
        """
        if self._is_out_of_reach():
            self._abandoned = True
            attempt.kill("abandoned")
        elif not attempt.spec.outlives:
            self._abandoned = True
            attempt.cancel("abandoned")

    def _is_out_of_reach(self) -> bool:
        """Return whether the shim's socket was removed."""
        return self._place is not None and self._socket_file() != self._place

    def _socket_file(self) -> tuple[int, int] | None:
        """Return device and inode of the shim's socket; None where it is gone or cannot be looked at."""
        try:
            found = os.stat(f"{self._folder}/shims/{self.name}.sock")
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _take(self, link: ShimLink, frame: Frame) -> None:
        kind, head = frame.head["t"], frame.head
        if link is not self._link:
            if kind != "hello":
                raise ProtocolError("no hello")
            self._welcome(link, head)
        elif kind == "start":
            self._start(head, frame.raw)
        elif kind == "ping":
            link.send({"t": "pong"})
        elif kind == "leave":
            self._wanted = False
        elif self._attempt is not None and self._attempt.key == (head["s"], head["a"]):
            self._about(self._attempt, kind, frame)

    def _welcome(self, link: ShimLink, head: Head) -> None:
        version, epoch = common_version(head["versions"]), int(head["epoch"])
        if epoch < self._word.epoch:
            raise ProtocolError(f"epoch {epoch} is over: this shim has seen {self._word.epoch}")
        before, self._link = self._link, link
        self._strangers.pop(link.descriptor, None)
        link.watch = self._watch_link
        if before is not None:
            self._unhandle(before.descriptor)
            before.close()
        self._write(self._word._replace(epoch=epoch))
        self._flowing = self._reported = self._abandoned = False
        state: Head = {"t": "state", "shim": self.name, "version": version, "phase": "idle"}
        state |= {"pings": True, "stops": True}
        attempt = self._attempt
        if attempt is not None:
            state |= {"phase": _PHASES[attempt.phase], "s": attempt.spec.seq, "a": attempt.spec.attempt}
            state |= {"channel": attempt.spec.channel.hex(), "pid": attempt.leader, "at": attempt.started}
            state |= {
                "last": attempt.output.last,
                "took": attempt.output.took,
                "survivors": attempt.escalation.survivors,
            }
        link.send(state)

    def _start(self, head: Head, raw: bytes) -> None:
        if self._attempt is not None:
            raise ProtocolError("it has an attempt already")
        found, refusal = head["spec"], None
        try:
            spec = unpack_spec(found, raw)
        except ValueError as error:
            spec, refusal = CommandSpec(found["seq"], found["attempt"], b"", (), "/", {}), f"it makes no sense: {error}"
        stem = f"{self._folder}/output/{spec.channel.hex()}.{spec.seq}.{spec.attempt}"
        secrets = ShimSecrets(self._folder, self.name)
        attempt = self._attempt = ShimAttempt(spec, stem, self._tree, self._poll, self._note_attempt, secrets)
        self._flowing, self._reported = True, False
        if refusal is not None:
            attempt.refuse(125, f"cannot start a command: {refusal}")
            return
        group = None
        if spec.memory is not None or spec.pids is not None or spec.cpu_share is not None:
            try:
                group = AttemptCgroup(CgroupPlaces(), self.name, spec)
            except NotAvailableError as error:
                attempt.refuse(125, str(error))
                return
        attempt.start(group)
        if attempt.phase == boxes.STARTED and self._link is not None:
            started = {"t": "started", "s": spec.seq, "a": spec.attempt, "pid": attempt.leader, "at": attempt.started}
            self._link.hold(started)

    def _about(self, attempt: ShimAttempt, kind: str, frame: Frame) -> None:
        head = frame.head
        match kind:
            case "took" | "read" | "resume":
                self._about_output(attempt, kind, head)
            case "forget":
                self._forget(attempt)
            case "cancel":
                attempt.cancel(head["why"])
            case "kill":
                attempt.kill(head["why"])
            case "signal":
                self._signal(attempt, head)
            case "limit":
                attempt.limit(head)
            case "write":
                attempt.pipes.write(head["n"], frame.raw)
            case "close":
                attempt.pipes.close_stdin(head["n"])
            case "resize":
                attempt.pipes.resize(head["rows"], head["columns"])

    def _signal(self, attempt: ShimAttempt, head: Head) -> None:
        if attempt.signal(head["n"]) and head.get("tell") and self._link is not None:
            self._link.send({"t": "stopped", "s": head["s"], "a": head["a"]})

    def _about_output(self, attempt: ShimAttempt, kind: str, head: Head) -> None:
        match kind:
            case "took":
                attempt.output.acknowledge(head["n"])
            case "read":
                attempt.output.unkept.read_by(anybody=head["by"])
            case "resume":
                attempt.output.rewind(head["n"])
                attempt.output.connected = self._flowing = attempt.pipes.is_input_unreported = True

    def _forget(self, attempt: ShimAttempt) -> None:
        if not attempt.is_over:
            return
        if attempt.escalation.survivors:  # it watches them, and tells when they are gone
            return
        if attempt.leftovers.kept or attempt.secrets.were_there:  # nobody else gets a shim with another's processes
            self._wanted = False  # or with its secrets, which may be in the shim's memory still
        attempt.output.close()
        self._attempt = None

    # --- the black box ----------------------------------------------------------------------------------------------

    def _note_attempt(self, attempt: ShimAttempt) -> None:
        output, spec = attempt.output, attempt.spec
        self._write(
            self._word._replace(
                phase=attempt.phase,
                seq=spec.seq,
                attempt=spec.attempt,
                channel=spec.channel,
                leader=attempt.leader,
                started=attempt.started,
                status=attempt.status,
                last_chunk=output.last,
                last_took=output.took,
                dropped=output.dropped,
                ended=attempt.ended,
                why=attempt.escalation.why or "",
            )
        )

    def _write(self, word: boxes.BlackBox) -> None:
        self._word = word
        boxes.write(self._box, word)

    # --- descriptors ------------------------------------------------------------------------------------------------

    def _handle(self, descriptor: int, handler: Callable[[int], None]) -> None:
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.POLLIN)

    def _unhandle(self, descriptor: int) -> None:
        if self._handlers.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _watch_link(self, link: ShimLink, *, writing: bool) -> None:
        self._poll.register(link.descriptor, select.POLLIN | (select.POLLOUT if writing else 0))


def _note(_number: int, _frame: object) -> None:
    """Handle a signal by nothing: the wakeup descriptor has got a byte."""
