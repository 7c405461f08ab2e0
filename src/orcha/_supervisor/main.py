"""The supervisor: forks shims when the service asks for them, and waits for their ends. It does nothing else.

Run as ``python -I -S main.py FOLDER`` with a socket as its standard input. All shims share the memory of the modules
that it has imported. The supervisor outlives the service as long as one of its shims lives.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys

_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
HOME_SIGNAL = signal.SIGUSR1
"""Tells a shim that no service has connected to, and that none will. SIGTERM comes from outside only."""
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>
_LISTEN_BACKLOG_CONNECTIONS = 8
"""Connections that may wait until a shim accepts them."""


def main(folder: str) -> None:
    """Serve until the service is gone and no shim is left."""
    connection = socket.socket(fileno=os.dup(0))
    os.closerange(connection.fileno() + 1, 1 << 16)
    os.dup2(1, 0)
    os.setsid()
    # `-I -S` leaves this package out of the path. It goes last, so that nothing beside it hides the standard library.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    # No module is imported later: another build, or another Python, may lie here by then.
    import fcntl  # noqa: F401
    import pwd  # noqa: F401
    import resource  # noqa: F401
    import termios  # noqa: F401

    from orcha._processes.tag import new_nonce, tag_of, tag_self
    from orcha._supervisor import shim  # noqa: F401 - for the shims, which share it
    from orcha._supervisor.cgroups import enter_commands_group
    from orcha.utils.private import make_folder

    place = make_folder(f"{folder}/shims")
    os.fchdir(place)
    os.close(place)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM, HOME_SIGNAL})  # a shim takes them once it can
    enter_commands_group()
    nonce = new_nonce()
    tag_self(tag_of(nonce, 0))
    Supervisor(folder, nonce, connection).run()


class Supervisor:
    """The state of the supervisor."""

    def __init__(self, folder: str, nonce: int, connection: socket.socket) -> None:
        """Take the endpoint's folder, the nonce of all tags, and the connection to the service."""
        import ctypes

        from orcha._processes.identity import boot_id

        self._folder = folder
        self._nonce = nonce
        self._ordinal = 0
        self._connection: socket.socket | None = connection
        self._shims: dict[int, tuple[int, str]] = {}
        """Ordinals and names of the living shims, by pid."""
        self._boot_id = boot_id()
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl
        self._prctl(_SUBREAPER, 0, 0, 0, 0)
        self._wake, self._woken = os.pipe()

    def run(self) -> None:
        """Serve until the service is gone and every shim has ended."""
        from orcha._supervisor.link import Decoder

        for descriptor in (self._wake, self._woken):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, _note)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        decoder = Decoder()
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        assert self._connection is not None
        poller.register(self._connection, select.POLLIN)
        gc.collect()
        gc.freeze()
        while self._connection is not None or self._shims:
            for descriptor, _ in poller.poll():
                if descriptor == self._wake:
                    self._reap()
                elif self._connection is not None:
                    data = _received(self._connection)
                    if not data:
                        poller.unregister(descriptor)
                        self._connection.close()
                        self._connection = None
                        self._send_home()
                    for frame in decoder.feed(data):
                        self._fork_all(int(frame.head["n"]))

    def _fork_all(self, count: int) -> None:
        from orcha._supervisor.link import encode

        shims = []
        for _ in range(count):
            try:
                shims.append(self._fork())
            except OSError as error:
                self._answer(encode({"t": "forked", "shims": shims, "left": count - len(shims), "why": str(error)}))
                return
        self._answer(encode({"t": "forked", "shims": shims, "left": 0}))

    def _answer(self, data: bytes) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.sendall(data)

    def _fork(self) -> str:
        name = os.urandom(6).hex()
        self._ordinal += 1
        before = os.umask(0o177)
        try:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(f"{name}.sock")  # relative to the shims' folder, since the whole path may be too long
            listener.listen(_LISTEN_BACKLOG_CONNECTIONS)
            box = os.open(f"{name}.box", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        finally:
            os.umask(before)
        pid = os.fork()
        if pid == 0:
            self._become(name, listener, box)
        self._shims[pid] = self._ordinal, name
        listener.close()
        os.close(box)
        return name

    def _become(self, name: str, listener: socket.socket, box: int) -> None:
        """Turn this child into a shim."""
        try:
            signal.set_wakeup_fd(-1)
            os.close(self._wake)
            os.close(self._woken)
            if self._connection is not None:
                self._connection.close()
            self._serve(name, listener, box)
        except BaseException:  # noqa: BLE001 - a child never returns into its parent's loop
            sys.excepthook(*sys.exc_info())  # `traceback` prints the same, and needs five more modules
        finally:
            os._exit(70)

    def _serve(self, name: str, listener: socket.socket, box: int) -> None:
        from orcha._processes.identity import identify
        from orcha._processes.tag import tag_of, tag_self
        from orcha._supervisor.black_box import BlackBox, write
        from orcha._supervisor.shim import Shim

        tag_self(tag_of(self._nonce, self._ordinal))
        if self._prctl(_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError("prctl(PR_SET_CHILD_SUBREAPER)")
        os.chdir("/")
        own = identify(os.getpid())
        ticks = "" if own is None else str(own.start_time)
        first = BlackBox(
            nonce=self._nonce, ordinal=self._ordinal, boot_id=self._boot_id, pid=os.getpid(), start_ticks=ticks
        )
        write(box, first)
        gc.freeze()
        Shim(name, listener, box, first, self._folder).run()

    def _send_home(self) -> None:
        """Tell shims that no service has connected to that none will."""
        for pid in self._shims:
            os.kill(pid, HOME_SIGNAL)  # a child that is not reaped yet: its pid is its own

    def _reap(self) -> None:
        """Reap ended shims; kill the processes of a shim that did not end by itself."""
        from orcha._processes.sweep import sweep
        from orcha._processes.tag import exactly, tag_of
        from orcha._supervisor import secret_files

        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 512)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = self._shims.pop(pid, None)
            if status and ended is not None:
                ordinal, name = ended
                secret_files.remove(self._folder, name)
                sweep(exactly(tag_of(self._nonce, ordinal)), deadline=1.0, since=pid)


def _received(connection: socket.socket) -> bytes:
    """Return what arrived; empty where the service is gone, however it ended."""
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def _note(_number: int, _frame: object) -> None:
    """Handle a signal by nothing: the wakeup descriptor has got a byte."""


if __name__ == "__main__":
    main(sys.argv[1])
