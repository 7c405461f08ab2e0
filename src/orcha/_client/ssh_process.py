"""An ssh(1) that runs for a connection: its two streams are one socket, and nothing of it is left when that closes."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import socket
import subprocess
import threading

from orcha.exceptions import ConfigurationError
from orcha.utils import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._protocol.ssh_place import SshPlace

PROGRAM_VARIABLE = "ORCHA_SSH"
"""Names another ssh, with options of its own."""
_CONNECT_SECONDS = 15
_ALIVE_SECONDS, _MAX_UNANSWERED = 15, 3
"""Seconds between the questions of ssh, and how many questions without an answer mean that the network has gone."""
_OPTIONS = {
    "ConnectTimeout": _CONNECT_SECONDS,
    "ServerAliveInterval": _ALIVE_SECONDS,
    "ServerAliveCountMax": _MAX_UNANSWERED,
    "ClearAllForwardings": "yes",  # what a person forwards by configuration is taken by the person's own ssh
    "RemoteCommand": "none",
}
_KEEP_SIGNALS = 'trap "" HUP INT QUIT; exec "$@"'
"""Ctrl+C is for the client, which cancels by this connection. ssh leaves a signal ignored that it finds ignored."""
_MAX_TAIL_BYTES = 4096
_HELD_MILLISECONDS = 300
"""How long a line is held back that may be the last one: what ssh says at its end stands in the error."""


def ssh_command(place: SshPlace, remote: str, *, asks: bool) -> list[str]:
    """Give the words of an ssh that has the shell of a login do `remote`; without `asks` it fails where it would ask.

    Raises:
        ConfigurationError: there is no ssh here.

    """
    try:
        own = shlex.split(os.environ.get(PROGRAM_VARIABLE, "")) or ["ssh"]
    except ValueError as error:
        raise ConfigurationError(f"{PROGRAM_VARIABLE} is no command: {error}: write it as words for a shell") from None
    if shutil.which(own[0]) is None:
        raise ConfigurationError(
            f"there is no program {own[0]!a:.80} here: install the client of OpenSSH, or name another ssh in"
            f" {PROGRAM_VARIABLE}"
        )
    options = _OPTIONS if asks else _OPTIONS | {"BatchMode": "yes"}
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    port = ["-p", str(place.port)] if place.port else []
    return [*own, "-T", "-x", "-a", *given, *port, place.login, remote]


class SshProcess:
    """An ssh, and a thread that reads what it says to people, and waits for its end so that no zombie stays.

    Where `asks`, ssh may ask at the terminal of this process, and its lines are shown. Elsewhere it has a session of
    its own, and so no terminal.

    Example::

        ssh = SshProcess(ssh_command(place, "orcha relay", asks=True), asks=True)
        ssh.socket.recv(4096)
        ssh.end()
    """

    def __init__(self, words: list[str], *, asks: bool) -> None:
        """Start it.

        Raises:
            OSError: no process can be started.
            NoThreadError: no thread can be started.

        """
        self.socket, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(  # the words are the user's own
                ["/bin/sh", "-c", _KEEP_SIGNALS, *words[:1], *words],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=not asks,
            )
        except BaseException:
            self.socket.close()
            raise
        finally:
            theirs.close()
        self._shows = asks
        self._tail = bytearray()
        self._shown = 0
        """Bytes at the beginning of the tail that were shown already."""
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._watch_it, name="orcha-ssh", daemon=True)
        with contextlib.ExitStack() as undo:
            undo.callback(self._abandon)
            self._pidfd = os.pidfd_open(self._process.pid)
            undo.callback(os.close, self._pidfd)
            threads.start(self._watch)
            undo.pop_all()

    @property
    def pid(self) -> int:
        """Of the ssh."""
        return self._process.pid

    def be_quiet(self) -> None:
        """Show no more of what it says."""
        self._shows = False

    def wait(self, seconds: float) -> int | None:
        """Give its exit code, below 0 for a signal; None where it has not ended within `seconds`."""
        return self._process.returncode if self._ended.wait(seconds) else None

    def said(self) -> str:
        """Give the lines that it said last, one beside the other, without what would move a cursor."""
        lines = [_plain(line) for line in self._tail.decode(errors="replace").splitlines()]
        return "; ".join(line for line in (each.strip() for each in lines) if line)

    def end(self, seconds: float = 0.0) -> None:
        """End it, after `seconds` at most in which it may pass on what it was given."""
        if not self._ended.wait(seconds):
            self._process.terminate()

    def _abandon(self) -> None:
        """End an ssh that no thread watches."""
        self.socket.close()
        with self._process:
            self._process.kill()

    # --- its own thread ------------------------------------------------------------------------------------------

    def _watch_it(self) -> None:
        """Read until it has ended: another process that it left behind, as a ControlMaster is, may hold the pipe."""
        pipe = self._process.stderr
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        poller = select.poll()
        poller.register(pipe.fileno(), select.POLLIN)
        poller.register(self._pidfd, select.POLLIN)
        while True:
            ready = dict(poller.poll(_HELD_MILLISECONDS if self._shows and self._shown < len(self._tail) else None))
            if not ready:
                self._show(len(self._tail))
            if pipe.fileno() in ready and not self._read(pipe.fileno()):
                poller.unregister(pipe.fileno())
            if self._pidfd in ready:
                break
        while self._read(pipe.fileno()):
            pass
        self._process.wait()
        pipe.close()
        os.close(self._pidfd)
        self._ended.set()

    def _read(self, pipe: int) -> bool:
        """Take what is there; False for nothing."""
        try:
            data = os.read(pipe, 65_536)
        except BlockingIOError:
            return False
        if self._shows and data:
            self._show(len(self._tail))
        self._tail += data
        too_many = len(self._tail) - _MAX_TAIL_BYTES
        if too_many > 0:
            del self._tail[:too_many]
            self._shown = max(0, self._shown - too_many)
        return bool(data)

    def _show(self, until: int) -> None:
        """Show what was held back."""
        text = bytes(self._tail[self._shown : until]).decode(errors="replace")
        self._shown = until
        if text and self._shows:
            with contextlib.suppress(OSError):
                os.write(2, _plain(text).encode())


def _plain(text: str) -> str:
    return "".join(each for each in text if each.isprintable() or each == "\n")


__all__ = ["PROGRAM_VARIABLE", "SshProcess", "ssh_command"]
