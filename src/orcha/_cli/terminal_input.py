"""What is typed or piped into an attached client: the keys that detach it, and standard input for the command."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading  # noqa: TID251 - a read that waits must not keep the output waiting
from queue import Queue

from orcha._cli import keys, type_ahead
from orcha._cli.terminal import Terminal
from orcha._cli.type_ahead import KeySignals
from orcha.exceptions import OrchaError
from orcha.utils import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    from orcha._cli.session import Session
    from orcha._cli.streams import Streams
    from orcha._protocol.messages import Reply

    Handler = Callable[[int, FrameType | None], Any] | signal.Handlers

_READ_BYTES = 64 * 1024
_MAX_AHEAD_PIECES = 64
"""Pieces read before the command has taken them."""
_INTERRUPT_KEY = b"\x03"
_BACKGROUND_LOOK_SECONDS = 0.5
"""Seconds between looks whether this process is in the foreground again: no event tells it."""
_FIRST_RETRY_SECONDS, _MAX_RETRY_SECONDS = 0.02, 0.5
_GONE_VERDICT = 6  # messages.Verdict
_DELIVERY_SECONDS = 10.0
"""Seconds in which the bytes typed before the detach keys have to reach the command."""
_QUEUED_DELIVERY_SECONDS = 2.0
"""The same where the command still waits for its turn, which may take long."""


class Typing:
    """Standard input of an attached client."""

    def __init__(
        self,
        service: Session,
        streams: Streams,
        name: str,
        *,
        forward: bool,
        tty: bool,
        detach: Callable[[], BaseException],
    ) -> None:
        """Look at what standard input is; nothing is read before `attached`.

        Args:
            service: a client.
            streams: where output goes.
            name: the petition's id.
            forward: whether it is the command's standard input.
            tty: whether the command has a terminal, for which this one stands.
            detach: makes the exception that is raised in the main thread when the detach keys were typed.

        Raises:
            ValueError: ORCHA_DETACH_KEYS names no keys.

        """
        self.keys = os.environ.get(keys.DETACH_KEYS_VARIABLE, keys.DEFAULT_DETACH_KEYS)
        sequence = keys.parse(self.keys)
        self._sequence = sequence
        self._detector = keys.Detector(sequence)
        self._service = service
        self._streams = streams
        self._name = name
        self._forward = forward
        self._tty = tty
        self._detach = detach
        self._is_terminal = sys.stdin is not None and os.isatty(0)
        self._alone = self._is_terminal and sys.stdout is not None and os.isatty(1)
        self._idle = self._alone and not forward
        """Whether everything that is typed, but the detach keys, belongs to the shell afterwards."""
        self._reads = forward or (self._idle and bool(sequence))
        self._signals: KeySignals | None = None
        if self._idle and sequence and type_ahead.is_alone() and not type_ahead.can_give_back(0):
            self._reads = False
            self._terminal = Terminal(0, raw=False, keys=sequence, signals=True)
            self._signals = KeySignals(sequence, self._terminal.quit_with, _alarm)
        else:
            self._terminal = Terminal(0, raw=tty, keys=sequence)
        self._typed_ahead = bytearray()
        self._reading = threading.RLock()
        """Held while the terminal is read, and where that must not happen."""
        self._ahead: Queue[bytes | None] = Queue(maxsize=0 if self._is_terminal else _MAX_AHEAD_PIECES)
        self._over = threading.Event()
        self._moved = threading.Condition()
        self._piece: bytes | None = b""
        """The pieces to send next; None for the end."""
        self._offset: int | None = None
        """How many bytes come before these pieces."""
        self.undelivered = 0
        """Bytes typed that the command has not got."""
        self._runs = False
        self._place: tuple[int, int] | None = None
        self.has_begun = False
        """Whether the command is known to run: from then on Ctrl+C is a key for its terminal."""
        self._changes = self._is_terminal and (tty or self._idle)

    @property
    def can_detach(self) -> bool:
        """Whether the keys can be typed."""
        return (self._reads or self._signals is not None) and self._is_terminal and bool(self._sequence)

    def size(self) -> tuple[int, int]:
        """Give the terminal's rows and columns."""
        return self._terminal.size()

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Read it; the terminal's mode is restored afterwards, whatever happens."""
        if not (self._reads or self._changes):
            yield
            return
        handlers: dict[int, Handler] = {signal.SIGUSR1: self._raise_detached}
        if self._is_terminal:
            handlers[signal.SIGTTIN] = signal.SIG_IGN  # a read where it is not ours fails instead
        if self._changes:
            handlers |= {signal.SIGTSTP: self._stop, signal.SIGCONT: self._continue}
            if self._signals is not None:
                handlers |= {signal.SIGQUIT: self._key, signal.SIGALRM: self._first_key}
            elif signal.getsignal(signal.SIGQUIT) is not signal.SIG_IGN:
                handlers[signal.SIGQUIT] = self._quit
        if self._tty:
            handlers[signal.SIGWINCH] = self._resize
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            self._enter()
            for target in (self._read, self._send) if self._forward else (self._watch,) if self._reads else ():
                threads.start(threading.Thread(target=target, name=f"orcha-stdin{target.__name__}", daemon=True))
            yield
        finally:
            self._over.set()
            if self._signals is not None:
                _alarm(0)
            with self._reading:
                self._leave()
            for number, handler in before.items():
                signal.signal(number, handler if number != signal.SIGUSR1 else signal.SIG_IGN)  # it may be on its way

    # --- signals, in the main thread ------------------------------------------------------------------------------

    def _raise_detached(self, _: int, __: FrameType | None) -> None:
        """Detach the client."""
        if not self._over.is_set():
            raise self._detach()

    def _stop(self, _: int, __: FrameType | None) -> None:
        """Stop as Ctrl+Z says, with the terminal as it was; go on with it as it has to be."""
        self._streams.leave()
        with self._reading:
            self.forget()
            self._leave()
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)  # returns when it goes on: at once, where nobody could continue it
        self._continue(0, None)

    def _quit(self, _: int, __: FrameType | None) -> None:
        """Die as the signal says, with the terminal as it was; the command goes on, as for a client that is killed."""
        self._over.set()
        self._streams.leave()
        with self._reading:
            self.forget()
            self._leave()
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGQUIT)

    def _continue(self, _: int, __: FrameType | None) -> None:
        """Go on after a stop."""
        signal.signal(signal.SIGTSTP, self._stop)
        self._enter()
        self._streams.enter()
        if self._tty:
            self._resize(0, None)

    def _key(self, _: int, __: FrameType | None) -> None:
        """Take one of the detach keys; detach at the last one."""
        if self._signals is not None and self._signals.typed() and not self._over.is_set():
            raise self._detach()

    def _first_key(self, _: int, __: FrameType | None) -> None:
        """Wait for the first key again, since the next key has not followed."""
        if self._signals is not None:
            self._signals.begin()

    def forget(self) -> None:
        """Drop what was typed for the shell, as a terminal does at Ctrl+C and Ctrl+Z; in the main thread."""
        if self._idle:
            with self._reading:
                self._typed_ahead.clear()
                self._detector.rest()
                if self._signals is not None:  # else the terminal has done so itself
                    self._terminal.forget_input()

    # --- the terminal, in the main thread -------------------------------------------------------------------------

    def _enter(self) -> None:
        """Put the terminal into the mode that the attached command needs."""
        if self._changes and (self._reads or self._signals is not None):
            if self._signals is not None:
                self._signals.begin()
            self._terminal.enter()

    def _leave(self) -> None:
        """Restore the terminal, and give the shell its input; called with `_reading` held: nobody reads again."""
        ours = self._terminal.is_ours()
        if self._reads and self._idle and ours:
            self._typed_ahead += self._detector.rest()
            while _has_input(0) and (data := _read()):
                self._typed_ahead += data
        typed, self._typed_ahead = bytes(self._typed_ahead), bytearray()
        self._terminal.leave()
        if typed and ours:
            type_ahead.give_back(0, typed)

    def _resize(self, _: int, __: FrameType | None) -> None:
        """Tell the command's terminal the size of this one."""
        if self._place is not None:
            self._service.ask_to_resize(*self._place, *self.size())

    # --- the reading thread ---------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Read the shell's input, to give it back later, until the detach keys are typed."""
        while not self._over.is_set():
            if not self._terminal.is_ours():
                self._over.wait(_BACKGROUND_LOOK_SECONDS)
                continue
            with self._reading:
                if not self._over.is_set():
                    self._terminal.enter()
            _has_input(0, for_ever=True)
            with self._reading:
                if self._over.is_set() or not self._terminal.is_ours() or not _has_input(0):
                    continue
                data = _read()
                passed, left = self._detector.feed(data)
                room = type_ahead.MAX_TYPE_AHEAD_BYTES - len(self._typed_ahead)
                self._typed_ahead += passed[:room]  # as a terminal does
            if left:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            if left or not data:
                return

    def _read(self) -> None:
        """Read until the end of the input, or until the detach keys are typed."""
        while not self._over.is_set():
            if self._is_terminal and not self._terminal.is_ours():
                self._over.wait(_BACKGROUND_LOOK_SECONDS)
                continue
            if self._changes:
                self._terminal.enter()
            try:
                data = os.read(0, _READ_BYTES)
            except BlockingIOError:
                _wait_for_input()
                continue
            except OSError:
                if self._is_terminal and not self._over.wait(_BACKGROUND_LOOK_SECONDS) and os.isatty(0):
                    continue  # it was not ours any more
                data = b""
            if not self._typed(data):
                return

    def _typed(self, data: bytes) -> bool:
        """Pass on bytes that were read; False after the end."""
        passed, left = self._detector.feed(data) if self._is_terminal else (data, False)
        if self._tty and self._place is None and not self.has_begun and _INTERRUPT_KEY in passed:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            passed = passed.replace(_INTERRUPT_KEY, b"")
        if self._forward and passed:
            self._move(len(passed))
            self._ahead.put(passed)
        if left:
            self._deliver()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            return False
        if not data:
            self._ahead.put(None)
            return False
        return True

    def _deliver(self) -> None:
        """Wait until the command has the bytes that were typed before the detach keys."""
        with self._moved:
            if not self._moved.wait_for(self._is_delivered, _QUEUED_DELIVERY_SECONDS) and self._runs:
                self._moved.wait_for(self._is_delivered, _DELIVERY_SECONDS - _QUEUED_DELIVERY_SECONDS)

    def _is_delivered(self) -> bool:
        return self.undelivered <= 0 or self._over.is_set()

    def _move(self, count: int) -> None:
        """Count bytes that are on their way; a negative number for bytes that arrived."""
        with self._moved:
            self.undelivered += count
            self._moved.notify_all()

    # --- the sending thread ---------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Bring the command the bytes that were read, once it runs."""
        self._piece = b"" if self._tty else self._ahead.get()
        try:
            while not self._over.is_set() and (place := self._wait_for_start()) is not None:
                self._place = place
                if self._tty:
                    self._service.ask_to_resize(*place, *self.size())
                if self._send_to(place):
                    return
        except OrchaError:
            return  # the output's end tells why

    def _send_to(self, place: tuple[int, int]) -> bool:
        """Bring one attempt the bytes that were read; False where the attempt ends before it has got all, and the end.

        The service keeps what other attempts got, so each goes on where the last one stopped; a terminal begins anew.
        """
        got = self._got(self._service.stdin(*place, 0, b""))
        if self._offset is None or self._tty:
            self._offset = got or 0  # another client may have brought something
        while True:
            piece = self._piece or b""
            reply = self._service.stdin(*place, self._offset, piece, end=self._piece is None)
            got = self._got(reply)
            if got is None:
                if self._is_over(place):
                    return False
                continue  # a service that was started again had not found the command yet
            if got < self._offset:
                self._give_up(self._offset - got)
                return True
            rest, complete = piece[got - self._offset :], got == self._offset + len(piece)
            self._offset = got
            self._move(len(rest) - len(piece))
            if self._piece is not None:
                self._piece = rest or self._ahead.get()
            elif complete:
                return True

    def _give_up(self, count: int) -> None:
        """End the petition: the command must not take a part of its input for the whole."""
        self._service.cancel(id=self._name, why=f"{count} bytes of its standard input are lost")

    def _is_over(self, place: tuple[int, int]) -> bool:
        """Tell whether an attempt takes no more input; where it may, wait a moment."""
        row = self._service.look(self._name)
        if row is None or (row["seq"], row["attempt"]) != place or row["state"] not in {"starting", "running"}:
            return True
        return self._over.wait(_FIRST_RETRY_SECONDS)

    def _got(self, reply: Reply) -> int | None:
        """Give how many bytes an attempt got; None where the service knows of no such attempt that runs."""
        got = self._service.done(reply) if reply.verdict != _GONE_VERDICT else None
        return got if isinstance(got, int) else None

    def _wait_for_start(self) -> tuple[int, int] | None:
        """Give the sequence number and the attempt once it runs; None where it never will."""
        pause, known = _FIRST_RETRY_SECONDS, self._place
        while not self._over.is_set():
            row = self._service.look(self._name)
            if row is None:
                return None
            self._runs = row["state"] in {"starting", "running"}
            if row["state"] == "running" and (row["seq"], row["attempt"]) != known:
                return row["seq"], row["attempt"]
            self._over.wait(pause)
            pause = min(pause * 1.5, _MAX_RETRY_SECONDS)
        return None


def _wait_for_input() -> None:
    _has_input(0, for_ever=True)


def _has_input(descriptor: int, *, for_ever: bool = False) -> bool:
    """Tell whether input can be read; wait for it, where wanted."""
    from select import POLLIN, poll

    poller = poll()
    poller.register(descriptor, POLLIN)
    return bool(poller.poll(None if for_ever else 0))


def _read() -> bytes:
    """Read the input that a terminal has now; none where the terminal is gone."""
    try:
        return os.read(0, _READ_BYTES)
    except OSError:
        return b""


def _alarm(seconds: float) -> None:
    """Have SIGALRM sent after these seconds; never, for 0."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
