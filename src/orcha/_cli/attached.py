"""A client that is attached to a petition: it shows the petition's output and end, and passes on keys and signals."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import signal

from orcha._cli import keys
from orcha._cli.streams import is_hung_up
from orcha._cli.terminal_input import Typing
from orcha._cli.waiting_line import WaitingLine, waiting
from orcha._protocol import losses
from orcha.exceptions import OrchaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    from orcha._cli.array_output import ArrayChannel
    from orcha._cli.session import Session
    from orcha._cli.streams import Streams
    from orcha._client.channel import ClientChannel
    from orcha._client.pending import Request

INTERRUPTED_CODE = 75
MIN_CODE_OF_ANOTHER_CAUSE = 124
"""From here on codes say that something else has ended the command: a limit, Orcha, a signal."""
OWN_FAILURE_CODE = 125
CANCELLED_CODE = 130
HUNG_UP_CODE = 129
BROKEN_PIPE_CODE = 141
_LOOK_INTERVALS_SECONDS = (0.2, 0.3, 0.5, 1.0, 2.0)
"""Seconds between looks at what a petition waits for."""
_SILENCE_SECONDS = 2.0
"""Seconds after which a line says that the petition waits, where no line can be updated in place."""
_CANCEL_ANSWER_SECONDS = 2.0
_INTERRUPT_ANSWER_SECONDS = 1.0
"""Seconds after which Ctrl+C is answered by a line, where nothing else comes. No wait is longer than this: a signal
that comes just before the main thread sleeps, or that the kernel hands to another thread, does not wake that thread."""


class Detached(BaseException):
    """The keys were typed that detach the client and leave the petition running."""


class Left(BaseException):
    """The client ends without having seen the petition's end."""

    def __init__(self, code: int, line: str = "") -> None:
        """Take the exit code, and the line for people."""
        super().__init__(code, line)
        self.code = code
        self.line = line


class Attached:
    """Follows one petition to its end.

    Ctrl+C and SIGTERM cancel it, whatever it is doing; the second time it is killed at once; and where the service is
    away the client leaves. The keys of ``ORCHA_DETACH_KEYS`` leave it running.
    """

    def __init__(
        self,
        service: Session,
        streams: Streams,
        name: str,
        *,
        token: bytes | None = None,
        command: bool = True,
        ours: bool = True,
        again: bool = False,
        on_disconnect: str | None = None,
    ) -> None:
        """Prepare.

        Args:
            service: a client.
            streams: where output goes.
            name: the petition's id.
            token: the petition's, where this client asked for it.
            command: whether it is a command, whose lines are the service's; else lines are its output.
            ours: whether it was started here, and so ends when nobody reads its output here any more.
            again: whether it may wait once more after it has run: nothing on the channel tells when it does.
            on_disconnect: `cancel` or `keep` where its output cannot be passed on any more, since the reader, the
                terminal or the connection has gone; None to cancel what is ours where a pipe's reader has left.

        """
        self._service = service
        self._streams = streams
        self._name = name
        self._token = token
        self._command = command
        self._ours = ours
        self._again = again
        self._on_disconnect = on_disconnect
        self._interrupts = 0
        self._asked: Request | None = None
        self._looks = 0
        self._lacks = False
        """Whether some of its output is lost to this reader."""
        self._waits = True
        self._has_told = self._has_told_of_parent = False
        self._line = WaitingLine(name)
        self._typing: Typing | None = None
        self._before: dict[int, Any] = {}

    # --- signals --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Handle Ctrl+C, SIGTERM, SIGHUP and the signals of the terminal."""
        handlers: dict[int, Callable[[int, FrameType | None], Any]] = {
            signal.SIGINT: self._interrupt,
            signal.SIGTERM: self._interrupt,
            signal.SIGHUP: _hang_up,
        }
        for number, handler in handlers.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup(1) and some shells want it
                self._before[number] = signal.signal(number, handler)
        try:
            yield
        finally:
            for number, before in self._before.items():
                signal.signal(number, before)

    def _interrupt(self, number: int, _: FrameType | None) -> None:
        """Cancel the petition without waiting, since a signal may come at any moment."""
        self._interrupts += 1
        if number == signal.SIGINT and self._typing is not None:
            self._typing.forget()
        known = self._asked is not None and self._asked.finished
        is_away = not self._service.is_connected and not known
        if self._interrupts > 2 or (self._interrupts > 1 and is_away):
            raise Left(128 + number, f"{self._name} may go on: orcha cancel {self._name}")
        self.cancel(f"its client got {signal.Signals(number).name}", at_once=self._interrupts > 1)
        if is_away:
            self._streams.tell(f"{self._name} is cancelled when the service is back: Ctrl+C again leaves it")
        self._looks = 0

    def cancel(self, why: str, *, at_once: bool = False) -> None:
        """Ask the service to cancel the petition, without waiting for the answer."""
        identity = None if self._token is not None else self._name
        self._asked = self._service.ask_to_cancel(
            token=self._token, identity=identity, why=why, at_once=at_once, tell=self._streams.tell
        )

    def _abandon(self, why: str) -> None:
        """Cancel the petition, and detach.

        A moment for the answer: a service that writes to a connection closed meanwhile may never read the request.
        """
        self.cancel(why)
        assert self._asked is not None
        self._asked.wait(_CANCEL_ANSWER_SECONDS)

    def _unwritable(self, error: OSError) -> int:
        """Cancel or keep the petition, as was asked for, where its output cannot be written here; give the exit code.

        Raises:
            OSError: the output cannot be written although its reader is there.

        """
        hung_up = is_hung_up(error, self._streams.target)
        if hung_up is None:
            if self._ours:
                self._abandon("its output cannot be written")
            raise error
        if self._on_disconnect == "cancel" or (self._on_disconnect is None and self._ours and not hung_up):
            self._abandon("its terminal or connection is gone" if hung_up else "nobody reads its output any more")
        elif self._ours:
            self._streams.tell(f"nobody reads its output here any more, it goes on: orcha attach {self._name}")
        return BROKEN_PIPE_CODE if error.errno == errno.EPIPE else HUNG_UP_CODE

    # --- following ------------------------------------------------------------------------------------------------

    def follow(self, channel: ClientChannel | ArrayChannel, typing: Typing | None = None) -> int:
        """Write what comes until the end; give the exit code.

        Raises:
            OSError: the output cannot be written, for another reason than that nobody reads it.

        """
        self._typing = typing
        try:
            with typing.attached() if typing is not None else contextlib.nullcontext():
                code = self._to_the_end(channel)
                if code == CANCELLED_CODE and self._asked is None:
                    self._tell_who(channel)
                return code
        except Detached:
            if typing is not None and typing.undelivered > 0:
                self._streams.tell(f"{self._name} has not taken all that was typed before")
            self._streams.tell(f"detached, it goes on: orcha attach {self._name}, or orcha cancel {self._name}")
            return 0
        except Left as left:
            if left.code == HUNG_UP_CODE and self._on_disconnect == "cancel":
                self._abandon("its terminal or connection is gone")
            if left.line:
                self._streams.tell(left.line)
            return left.code
        except OSError as error:
            return self._unwritable(error)
        finally:
            self._streams.erase()

    def _tell_who(self, channel: ClientChannel | ArrayChannel) -> None:
        """Tell who cancelled the petition, and why, where it was not cancelled from here."""
        from orcha._cli import descriptions

        try:
            details = self._service.details(self._name)
        except OrchaError:
            return  # the service has gone, or it was forgotten since
        line = descriptions.cancelled(details) if bytes(details["channel"]) == channel.__orcha_channel__ else None
        if line is not None:
            self._streams.tell(line)

    def _to_the_end(self, channel: ClientChannel | ArrayChannel) -> int:
        """Follow the petition; where the command did not end by itself, undo what it has changed in the terminal."""
        code = OWN_FAILURE_CODE
        try:
            code = self._follow(channel)
        finally:
            if code == INTERRUPTED_CODE or code >= MIN_CODE_OF_ANOTHER_CAUSE:
                self._streams.leave()
        return code

    def _follow(self, channel: ClientChannel | ArrayChannel) -> int:
        while True:
            try:
                value = channel.get(timeout=self._until_look())
            except queue.Empty:
                self._look()
                continue
            if value is None or (isinstance(value, int) and not isinstance(value, bool)):
                return OWN_FAILURE_CODE if channel.ended_here else value or (OWN_FAILURE_CODE if self._lacks else 0)
            self._take(value)

    def _take(self, value: Any) -> None:
        """Write one value."""
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], bytes):
            self._waits = False
            if self._typing is not None:
                self._typing.has_begun = True
            self._streams.write(value[0], value[1])
        elif isinstance(value, str) and self._command:
            self._streams.tell(value)
            self._lacks = self._lacks or losses.is_loss(value)
            self._waits, self._looks = True, 0  # it may be tried again
        else:
            self._waits = False
            self._streams.write(1, value if isinstance(value, bytes) else str(value).encode("utf-8", "replace"))

    # --- what it waits for ----------------------------------------------------------------------------------------

    def _until_look(self) -> float:
        """Give the seconds until the next look at the reason why the petition waits."""
        if not self._streams.has_status:
            return _SILENCE_SECONDS if self._waits and not self._has_told else _INTERRUPT_ANSWER_SECONDS
        return (
            _LOOK_INTERVALS_SECONDS[min(self._looks, len(_LOOK_INTERVALS_SECONDS) - 1)]
            if self._waits or self._interrupts
            else _INTERRUPT_ANSWER_SECONDS
        )

    def _look(self) -> None:
        """Show why the petition waits, if it waits."""
        is_silent = not self._streams.has_status and (self._has_told or self._interrupts)
        if is_silent or not (self._waits or self._interrupts or self._again):
            return
        self._looks += 1
        try:
            row = self._service.details(self._name)
            self._waits = row["state"] in {"queued", "held"}
            self._tell_of_parent(row)
        except OrchaError:
            return  # the channel tells
        if not self._streams.has_status:
            if self._waits:
                self._streams.tell(f"{self._name} is {row['state']}, {waiting(row)}")
            self._has_told = True
        elif self._interrupts:
            again = "" if self._interrupts > 1 else ": Ctrl+C again kills it"
            self._streams.status(f"{self._name} is being cancelled{again}")
        elif self._waits:
            self._streams.status(self._line.text(row), self._hint())
            if self._line.is_news(row):
                self._line.reckon(self._service, row)
                self._streams.status(self._line.text(row), self._hint())
        else:
            self._streams.erase()

    def _tell_of_parent(self, row: dict[str, Any]) -> None:
        """Tell once that the petition waits for something that the command around this client holds: maybe for ever."""
        parent = os.environ.get("ORCHA_ID")
        if parent is None or not self._waits or parent == self._name or self._has_told_of_parent:
            return
        if self._service.far is not None:  # what is around it is of a service here
            return
        self._has_told_of_parent = True
        try:
            around = self._service.details(parent)
        except OrchaError:
            return  # it is of another service, or another user's
        what = held_around(row, around)
        if what is not None and str(around["attempt"]) == os.environ.get("ORCHA_ATTEMPT"):
            cure = "let it need none, or run the command without orcha there"
            self._streams.tell(f"{self._name} waits for {what}, which {parent}, around it, holds until it ends: {cure}")

    def _hint(self) -> str:
        """Give the keys that detach the client, where they can be typed."""
        if self._typing is None or not self._typing.can_detach:
            return ""
        return f" ({keys.spoken(self._typing.keys)} leaves)"


def held_around(row: dict[str, Any], around: dict[str, Any]) -> str | None:
    """Give what a petition waits for and the command around the client holds; None for nothing.

    >>> command = {"state": "running", "command": {}, "group": None, "needs": {"gpu": 1}}
    >>> held_around(command | {"why": "2 of 2 slots of the machine are in use"}, command)
    'a slot of the machine'
    >>> held_around(command | {"why": "it needs 1 gpu, 0 of 1 are free"}, command)
    'gpu'
    """
    why = row.get("why") or ""
    if around["state"] not in {"starting", "running"}:
        return None
    if "slots of the machine" in why or "slot of the machine" in why:
        return "a slot of the machine" if row.get("command") is not None and around.get("command") is not None else None
    if row.get("group") is not None and row["group"] == around.get("group") and "its group" in why:
        return f"a slot of the group {row['group']}"
    common = [name for name in row.get("needs") or () if name in (around.get("needs") or ()) and name in why]
    return common[0] if common else None


def _hang_up(_: int, __: FrameType | None) -> None:
    """Detach, and leave the petition running: the terminal is gone."""
    raise Left(HUNG_UP_CODE)
