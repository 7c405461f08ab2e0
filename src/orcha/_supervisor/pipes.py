"""The shim's ends of a command's standard streams."""

from __future__ import annotations

import contextlib
import os
from select import POLLIN, POLLOUT

from orcha._supervisor.attempt_output import END, MORE
from orcha._supervisor.spawn import Descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from orcha._supervisor.attempt_output import AttemptOutput
    from orcha._supervisor.contract import CommandSpec

    class Watch(Protocol):
        """Watches descriptors for events, as :class:`select.poll` does."""

        def register(self, descriptor: int, events: int, /) -> object:
            """Watch a descriptor for these events."""

        def unregister(self, descriptor: int, /) -> object:
            """Stop watching a descriptor."""


BIG_PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of <linux/fcntl.h>
_END_OF_FILE = b"\x04"  # what a terminal takes for it
_MAX_LAST_READS = 64


class Pipes:
    """Reads the command's two output pipes or its terminal, and writes its standard input as far as it takes it."""

    def __init__(self, output: AttemptOutput, watch: Watch) -> None:
        """Prepare; :meth:`open` opens the pipes."""
        self._output = output
        self._watch = watch
        self._streams: dict[int, int] = {}
        self._stdin = -1
        self._terminal = -1
        self._kept: list[int] = []
        """The command's ends of its output: while these are open here, its exit wakes the shim, and no end of file."""
        self._pending = bytearray()
        self._closing = False
        self._grown = False
        self._is_held = False
        """Whether no output is taken, so that the command has to wait."""
        self.is_input_unreported = False
        """Whether the state of standard input has to be reported."""
        self._taken = 0
        """Bytes of standard input that the command's pipe has taken."""
        self._received = 0
        self._ended = False

    @property
    def is_open(self) -> bool:
        """Whether more output may come."""
        return bool(self._streams)

    def open(self, spec: CommandSpec) -> Descriptors:
        """Open the pipes; return the command's ends, which `close_theirs` closes here once the command has them."""
        if spec.tty is not None:
            return self._handed_over(spec, self._open_terminal(*spec.tty))
        stdin = 0
        if spec.stdin == "pipe":
            stdin, self._stdin = os.pipe()
            os.set_blocking(self._stdin, False)
        self._kept = [self._open_stream(1)] if spec.merge else [self._open_stream(1), self._open_stream(2)]
        return self._handed_over(spec, Descriptors(stdin, self._kept[0], self._kept[-1]))

    @staticmethod
    def _handed_over(spec: CommandSpec, descriptors: Descriptors) -> Descriptors:
        """Let the command's user open these again by their names, as /dev/stderr or /dev/pts/3; not /dev/null (0)."""
        if spec.uid is not None:
            for descriptor in set(descriptors) - {0}:
                os.fchown(descriptor, spec.uid, -1)
        return descriptors

    def close_theirs(self, descriptors: Descriptors) -> None:
        """Close the command's ends in this process, except those of its output."""
        for descriptor in set(descriptors) - {0, *self._kept}:
            os.close(descriptor)

    def release(self) -> None:
        """Close the command's ends of its output: from now on the pipes end when no other process has them open."""
        for descriptor in self._kept:
            os.close(descriptor)
        self._kept = []

    def take(self, descriptor: int) -> bool:
        """Take output from a pipe; False where the pipe has ended."""
        stream = self._streams.get(descriptor)
        if stream is None:
            return False
        state = self._output.take(stream, descriptor)
        if state == END:
            self._end(descriptor)
        elif self._output.files is not None and not self._grown:
            self._grow()
        return state != END

    def hold(self, *, held: bool) -> None:
        """Take no output while `held`."""
        if held == self._is_held:
            return
        self._is_held = held
        for descriptor in self._streams:
            events = (0 if held else POLLIN) | (POLLOUT if descriptor == self._terminal and self._pending else 0)
            if events:
                self._watch.register(descriptor, events)
            else:
                self._unwatch(descriptor)

    def wants(self, descriptor: int) -> bool:
        """Return whether this is the descriptor of standard input."""
        return descriptor == self._input

    def drain(self) -> None:
        """Take the rest of the output, once no process writes any more."""
        self._output.unkept.finish()
        if self._terminal >= 0:
            self._streams[self._terminal] = 1
        for descriptor, stream in list(self._streams.items()):
            for _ in range(_MAX_LAST_READS):
                if self._output.take(stream, descriptor) != MORE:
                    break

    def tell(self) -> dict[str, int | bool]:
        """Return how much standard input was taken and has arrived."""
        self.is_input_unreported = False
        return {"n": self._taken, "got": self._received, "end": self._ended}

    def write(self, offset: int, data: bytes) -> None:
        """Add those bytes of the data, which begins at this offset, that have not arrived before."""
        self.is_input_unreported = True
        if self._ended or offset > self._received:
            return
        new = data[self._received - offset :]
        self._received += len(new)
        self._add(new)

    def close_stdin(self, offset: int) -> None:
        """End standard input after `offset` bytes, once all of them are written."""
        self.is_input_unreported = True
        if self._ended or offset != self._received:
            return
        self._ended = True
        if self._terminal >= 0:
            self._add(_END_OF_FILE)
        elif self._input >= 0 and not self._closing:
            self._closing = True
            self.flush()

    def _add(self, data: bytes) -> None:
        if self._input >= 0 and not self._closing and data:
            self._pending += data
            self.flush()

    def flush(self) -> None:
        """Write as much standard input as the command takes now."""
        target = self._input
        try:
            while self._pending:
                done = os.write(target, self._pending)
                self._taken += done
                self.is_input_unreported = True
                del self._pending[:done]
        except BlockingIOError:
            reads = target == self._terminal and not self._is_held
            self._watch.register(target, POLLOUT | (POLLIN if reads else 0))
            return
        except OSError:  # the command reads no more
            self._pending.clear()
            self._closing = self._terminal < 0
        if target == self._terminal:
            if self._is_held:
                self._unwatch(target)
            else:
                self._watch.register(target, POLLIN)
        elif self._closing:
            self._close_input()
        else:
            self._unwatch(target)

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal."""
        if self._terminal >= 0:
            with contextlib.suppress(OSError):
                _set_size(self._terminal, rows, columns)

    def close(self) -> None:
        """Close every descriptor."""
        self.release()
        terminal, self._terminal = self._terminal, -1
        if terminal >= 0:
            self._streams[terminal] = 1
        for descriptor in list(self._streams):
            self._end(descriptor)
        if self._stdin >= 0:
            self._close_input()

    @property
    def _input(self) -> int:
        return self._terminal if self._terminal >= 0 else self._stdin

    def _open_stream(self, stream: int) -> int:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self._streams[reading] = stream
        self._watch.register(reading, POLLIN)
        return writing

    def _open_terminal(self, rows: int, columns: int) -> Descriptors:
        own, theirs = os.openpty()
        _set_size(own, rows, columns)
        os.set_blocking(own, False)
        self._terminal = own
        self._streams[own] = 1
        self._watch.register(own, POLLIN)
        return Descriptors(theirs, theirs, theirs)

    def _grow(self) -> None:
        """Make the pipes larger for bulk output."""
        import fcntl

        self._grown = True
        for descriptor in self._streams:
            if descriptor != self._terminal:
                with contextlib.suppress(OSError):  # this user's share of pipe buffers is used up
                    fcntl.fcntl(descriptor, _SET_PIPE_SIZE, BIG_PIPE_BYTES)

    def _end(self, descriptor: int) -> None:
        del self._streams[descriptor]
        self._unwatch(descriptor)
        if descriptor != self._terminal:  # closing that one hangs up, and the leader may be about to exit
            os.close(descriptor)

    def _close_input(self) -> None:
        self._unwatch(self._stdin)
        os.close(self._stdin)
        self._stdin = -1

    def _unwatch(self, descriptor: int) -> None:
        with contextlib.suppress(KeyError):
            self._watch.unregister(descriptor)


def _set_size(terminal: int, rows: int, columns: int) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
