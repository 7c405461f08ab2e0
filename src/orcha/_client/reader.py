"""How a client stays connected: its reading thread reads, and connects again when the connection is lost."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from functools import partial

from orcha._client.channel import UNREACHABLE_CODE
from orcha._client.login_delay import login_delay
from orcha._client.read_turn import ReadTurn
from orcha._protocol.frames import FrameError
from orcha.exceptions import AuthenticationError, ConfigurationError, OrchaConnectionError
from orcha.utils import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._client.connection import ServiceConnection
    from orcha._client.incoming import Incoming
    from orcha._client.sender import ClientSender

DIAL_TIMEOUT_SECONDS = 5.0
"""For a connection and its handshake."""
NOT_ACCEPTED_CODE = 77
"""Final value where the service does not accept the key (sysexits.h EX_NOPERM)."""
RECONNECT_SECONDS = 30.0
"""How long to wait for a service that is away, where ORCHA_RECONNECT says nothing else."""
_MAX_RECONNECT_SECONDS = 100 * 365 * 86_400
_DELAYS_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


def delay(attempt: int) -> float:
    """Give the seconds before this attempt (from 0) to connect again: 10 to 50 ms at first, 0.45 s at most.

    A service that is ended again and again may be there for moments only, and a client has to try in one of them.
    """
    chance = os.urandom(1)[0] / 255
    if attempt < 3:
        return 0.01 + 0.04 * chance
    return _DELAYS_SECONDS[min(attempt, len(_DELAYS_SECONDS) - 1)] * (0.5 + chance)


class ClientReader:
    """Keeps a connection to the service as long as somebody waits for something."""

    def __init__(
        self,
        dial: Callable[[float], ServiceConnection],
        incoming: Incoming,
        *,
        reconnect: float,
        notify: Callable[[str], None],
    ) -> None:
        """Read nothing yet.

        Args:
            dial: gives a new connection, within the seconds of its argument.
            incoming: handles messages.
            reconnect: seconds without the service after which waiting threads are told. A service that was started anew
                is there, however soon it is gone again: from then on the time starts anew.
            notify: told when the service went away and when it is back.

        """
        self._dial = dial
        self._incoming = incoming
        self._reconnect = reconnect
        self._notify = notify
        self.by_login = False
        """A connection costs a login elsewhere."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._awake = threading.Lock()  # released by stop()
        self._awake.acquire()
        self._stopped = False
        self._lost_at: float | None = None
        """When the service was lost; None until it was, and after it has said something."""
        self._began = -math.inf
        """When the last attempt to connect began."""
        self._instance: object = None
        """Which start of the service was reached last."""
        self._told = False
        """People were told that the service is away."""
        self._cause = ""
        """Why the service is away."""
        self.on_return: Callable[[], None] = _do_nothing
        """Called on the reading thread when a service is reached again."""
        self.turn = ReadTurn(incoming.take_plain)
        self.connection: ServiceConnection | None = None
        self.sender: ClientSender

    # --- any thread ----------------------------------------------------------------------------------------------

    def begin(self, connection: ServiceConnection) -> None:
        """Read from a new connection; close it where there is one already.

        Raises:
            NoThreadError: the system has no room for a thread.

        """
        with self._lock:
            if self._thread is None and not self._stopped:
                self.connection, self._instance = connection, connection.instance
                self.sender.post(partial(self.sender.resume, connection, proven=True))  # before the caller's next job
                try:
                    self._start(connection)
                except threads.NoThreadError as error:
                    connection.close()
                    self.sender.post(self.sender.lost, connection, error)
                    raise
                return
        connection.close()

    def need(self) -> None:
        """Make a connection, unless the reading thread runs: it has one, or makes one."""
        with self._lock:
            if self._thread is None and not self._stopped:
                self._lost_at = None
                try:
                    self._start(None)
                except threads.NoThreadError as error:  # on the sending thread: waiting threads are told
                    self.sender.surrender(error, UNREACHABLE_CODE)

    def _start(self, connection: ServiceConnection | None) -> None:
        """Start the reading thread; the caller has the lock."""
        self._thread = threading.Thread(target=self._run, args=(connection,), name="orcha-client-read", daemon=True)
        try:
            threads.start(self._thread)
        except threads.NoThreadError:
            self._thread = self.connection = None
            raise

    def stop(self, timeout: float) -> None:
        """End the reading thread, with its connection."""
        self._stopped = True
        if self._awake.locked():
            self._awake.release()
        connection, thread = self.connection, self._thread
        if connection is not None:
            connection.close()
        self.turn.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    # --- the reading thread ----------------------------------------------------------------------------------------

    def _run(self, connection: ServiceConnection | None) -> None:
        """Read, connect again, read; end where nobody needs a connection or the service stays away."""
        try:
            while connection is not None or (connection := self._dial_again()) is not None:
                self.connection = connection
                if not self._stopped:  # stop() looks at the connection after it has set this
                    self._read(connection)
                self.connection = None
                connection.close()
                error = OrchaConnectionError("the service went away before it answered; it may have done it")
                self.sender.post(self.sender.lost, connection, error)
                connection = None
                if self._lost_at is None:
                    self._lost_at = time.monotonic()
                if self._stopped or not self.sender.needed():
                    return
        except Exception as error:
            self._fail(error)
            raise
        finally:
            with self._lock:
                self._thread = None
            if not self._stopped:
                self.sender.post(self.sender.look_again)  # for requests that came after `needed` was read

    def _fail(self, cause: Exception) -> None:
        """Tell everybody who waits that this thread ends by a fault: nobody would read their answers any more."""
        connection, self.connection = self.connection, None
        error = OrchaConnectionError(
            f"the client cannot read on, by a fault of its own ({cause!r}): start the program again, and report this"
        )
        error.__cause__ = cause
        self.sender.post(self.sender.surrender, error, UNREACHABLE_CODE)
        if connection is not None:
            connection.close()
            self.sender.post(self.sender.lost, connection, error)

    def _read(self, connection: ServiceConnection) -> None:
        """Handle messages until the connection ends, and give the turn to waiting threads."""
        incoming, turn = self._incoming, self.turn
        incoming.load()
        incoming.stopping, incoming.proven, incoming.problem = "", False, self._cause
        try:
            turn.open(connection)
            while not turn.is_torn:
                if not turn.unread:
                    turn.unread.extend(connection.read_frames())
                if not turn.unread:
                    return
                while turn.unread:
                    if not incoming.take(turn.unread[0]):
                        return
                    turn.unread.popleft()
                turn.rest()
            incoming.problem = turn.problem
        except (OSError, FrameError) as error:
            if connection.fileno() >= 0 or not incoming.problem:  # else it was closed here, and that is no cause
                incoming.problem = str(error)
        finally:
            turn.close()
            self._cause = incoming.problem
            if incoming.proven:
                self._lost_at = None

    # --- connecting again -------------------------------------------------------------------------------------------

    def _dial_again(self) -> ServiceConnection | None:
        """Give a new connection; None where the client gives up, or nobody needs one any more."""
        if self._lost_at is None:
            self._lost_at = time.monotonic()
        if self._incoming.stopping:
            self._tell_gone(f"{self._incoming.stopping}: waiting {self._reconnect:g} s for the service to come back")
        until = self._lost_at + self._reconnect
        if self._began >= until:  # the service that was reached after that has not said a word
            self._give_up()
            return None
        attempt = 0
        while not self._stopped and self.sender.needed():
            left = max(0.0, until - time.monotonic())
            if self._awake.acquire(timeout=min((login_delay if self.by_login else delay)(attempt), left)):
                self._awake.release()
                return None
            self._began = time.monotonic()
            try:
                connection = self._dial(DIAL_TIMEOUT_SECONDS)
            except AuthenticationError as error:
                self._told = False
                self.sender.post(self.sender.surrender, error, NOT_ACCEPTED_CODE)
                return None
            except Exception as error:  # noqa: BLE001 - whatever a service says that ends: it may be back the next time
                self._cause = self._cause or str(error)
                self._tell_gone(f"the service is away, trying again for {self._reconnect:g} s")
                if self._began >= until:  # one attempt after the time: this process may have stood still until then
                    self._give_up()
                    return None
            else:
                self._reached(connection)
                return connection
            attempt += 1
        return None

    def _reached(self, connection: ServiceConnection) -> None:
        """Go on over a new connection."""
        self.connection = connection
        if connection.instance != self._instance:
            self._instance, self._lost_at = connection.instance, time.monotonic()
        if self._told:
            self._told = False
            self._notify("orcha: the service is back")
        self.on_return()
        self.sender.post(partial(self.sender.resume, connection, proven=False))

    def _give_up(self) -> None:
        """Tell everybody that there is no service."""
        cause = f" ({self._cause})" if self._cause else ""
        advice = "orcha ps tells more when it is back"
        error = OrchaConnectionError(f"no service for {self._reconnect:g} s{cause}: {advice}")
        self._told = False
        self.sender.post(self.sender.surrender, error, UNREACHABLE_CODE)

    def _tell_gone(self, what: str) -> None:
        """Say once that the service is away."""
        if not self._told:
            self._told = True
            self._notify(f"orcha: {what}")


def _do_nothing() -> None:
    """Ask for nothing more."""


def reconnect_seconds(reconnect: float | None) -> float:
    """Give the seconds to wait for a service that is away; None stands for what ORCHA_RECONNECT says.

    Raises:
        ConfigurationError: ORCHA_RECONNECT is not a number of seconds.

    """
    if reconnect is not None:
        return reconnect
    text = os.environ.get("ORCHA_RECONNECT")
    try:
        seconds = float(text) if text else RECONNECT_SECONDS
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MAX_RECONNECT_SECONDS:
        raise ConfigurationError(
            f"ORCHA_RECONNECT is {text!r:.80}: set it to a number of seconds, 0 or larger, and at most"
            f" {_MAX_RECONNECT_SECONDS}"
        )
    return seconds


def tell_on_stderr(line: str) -> None:
    """Say something to people on stderr, where that is open."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # no stderr, or a closed one
        return
