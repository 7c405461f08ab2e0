"""A service as a daemon: its starter waits until the service serves, and is told why where it does not."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Never

    from orcha._protocol.endpoint import Endpoint
    from orcha.lib.several import Several

PIDFILE, LOG = "service.pid", "service.log"
"""Names in the endpoint's folder."""
_READY_REPORT = b"\n"
"""What the daemon says when it serves; else it says its exit code, a space, and why it does not serve."""
_MAX_START_REPORT_BYTES = 65_536
_DIED_CODE = 70
"""Exit code where the daemon went without a word: EX_SOFTWARE of sysexits.h."""


class Announced:
    """A service that tells its starter once whether it serves; it stops where the starter does not want it any more."""

    def __init__(self, several: Several, writer: int, wanted: int) -> None:
        """Take the descriptor that tells the starter, and the descriptor that says whether it is still wanted."""
        self._several = several
        self._writer = writer
        self._wanted = wanted
        self._told = False
        self.place = several.place
        self.title = several.title

    def start(self) -> None:
        """Start serving, and tell the starter."""
        from orcha.interfaces.running import end_process
        from orcha.utils.threads import guarded, start

        try:
            start(guarded("orcha-wanted", self._obey, end_process))  # it waits for the process that started this one
            _stamp()
            self._several.start()
        except Exception as error:
            self.tell(failure(error))
            raise
        self.tell(_READY_REPORT)

    def join(self) -> None:
        """Wait until the service has stopped."""
        self._several.join()

    def shutdown(self, *, now: bool = False) -> None:
        """Stop the service."""
        self._several.shutdown(now=now)

    @property
    def reloads(self) -> bool:
        """Whether there are configuration files that can be read again."""
        return self._several.reloads

    def reload(self) -> None:
        """Have the configuration files read again."""
        self._several.reload()

    def tell(self, what: bytes) -> None:
        """Tell the starter once, if it still listens. The descriptor stays open: it closes when the daemon ends."""
        if not self._told:
            self._told = True
            with contextlib.suppress(BrokenPipeError):
                os.write(self._writer, what)

    def _obey(self) -> None:
        """Go on where the starter wants the service; where it was interrupted or has gone, stop in good order."""
        if os.read(self._wanted, 1):
            os.close(self._writer)
        else:
            os.kill(os.getpid(), signal.SIGTERM)
        os.close(self._wanted)


def _stamp() -> None:
    """Have each line of the log begin with its time, whichever part prints it."""
    from orcha import properties
    from orcha._cli.stamped import Stamped
    from orcha.utils import event_log

    properties.in_background = True
    if isinstance(sys.stderr, event_log.EventStream):  # its lines have their time, or the journal gives it
        sys.stdout = sys.stderr
        return
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:
            setattr(sys, name, Stamped(stream))


def failure(error: BaseException) -> bytes:
    """Give the exit code and the line that tell of an error."""
    from orcha.exceptions import OrchaError

    code = getattr(error, "exit_code", 1)
    text = " ".join(str(error).split())
    line = text if isinstance(error, OrchaError) else f"{type(error).__name__}: {text}"
    return f"{code if isinstance(code, int) else 1} {line}".encode(errors="replace")


def start(several: Several, pidfile: str | None) -> int:
    """Serve in a daemon; return 0 when it serves, else say why it does not, and return its exit code.

    A starter that is interrupted, or ends in another way, leaves no daemon: the daemon goes on only when it is told to.
    """
    from orcha.utils.pidfile import Pidfile

    endpoint = several.endpoint
    several.check()
    endpoint.make_folder()
    _check_folder(endpoint)
    _check_free(endpoint)
    path = pidfile or f"{endpoint.folder}/{PIDFILE}"
    Pidfile(path).check()
    log = f"{endpoint.folder}/{LOG}"
    reader, writer = os.pipe()
    wanted, wish = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # who waits decides about Ctrl+C, until the daemon has a handler
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(reader)
        os.close(wish)
        _become(several, path, log, (writer, wanted))
    os.close(writer)
    os.close(wanted)
    return _await(_Waiting(child, reader, wish, before), endpoint.name, log)


def _check_folder(endpoint: Endpoint) -> None:
    """Raise ConfigurationError, before any fork, where a file in the folder is not as a service leaves it."""
    from orcha._protocol.endpoint import unusable
    from orcha.utils.private import check_folder

    try:
        check_folder(endpoint.folder)
    except OSError as error:
        raise unusable(f"{error.filename or endpoint.folder} cannot be used", error) from None


def _check_free(endpoint: Endpoint) -> None:
    """Raise EndpointInUseError, before any fork, where a service holds the endpoint's lock."""
    from orcha.exceptions import EndpointInUseError
    from orcha.utils.lock_holders import described
    from orcha.utils.pidfile import holder_of

    process = holder_of(endpoint.lock_path)
    if process is not None:
        whose = f"another service ({described(process)})"
        raise EndpointInUseError(f"{whose} serves {endpoint.name} already: orcha stop ends it")


class _Waiting:
    """The process that started a daemon, until the daemon serves; Ctrl+C is answered when the daemon has gone."""

    def __init__(self, child: int, reader: int, wish: int, mask: Iterable[int]) -> None:
        self._child = child
        self._reader = reader
        self._wish = wish
        self._interrupted = False
        signal.signal(signal.SIGINT, self._interrupt)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _interrupt(self, *_: object) -> None:
        """Tell the daemon that it is not wanted; at the second call do not wait for its end."""
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        os.close(self._wish)

    def result(self) -> bytes:
        """Give what the daemon said: nothing where it ended without a word.

        Where the daemon does not serve, this waits for its end: it has the endpoint's lock until then, and the next
        start would be told that another service serves.

        Raises:
            KeyboardInterrupt: Ctrl+C came first, and the daemon has gone.

        """
        said = os.read(self._reader, _MAX_START_REPORT_BYTES)
        if said == _READY_REPORT:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # from here on it is decided, and this process ends at once
        elif said:
            self._wait_for_end()
        if not self._interrupted:
            with contextlib.suppress(BrokenPipeError):  # it has gone, and said why
                os.write(self._wish, _READY_REPORT)
            return said
        self._wait_for_end()
        raise KeyboardInterrupt

    def _wait_for_end(self) -> None:
        """Wait until the daemon has ended: it keeps its end of the pipe open until then."""
        while os.read(self._reader, _MAX_START_REPORT_BYTES):
            pass

    def status(self) -> int:
        """Give the exit code of the child that made the daemon."""
        return os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])


def _await(waiting: _Waiting, name: str, log: str) -> int:
    """Wait until a daemon serves or has ended, print what it said, and give the exit code."""
    from orcha._cli import render

    said = waiting.result()
    if said == _READY_REPORT:
        render.note(f"serving in the background on {name}; its log is {log}")
        return 0
    code, _, line = said.decode(errors="replace").partition(" ")
    if not said:
        render.note(f"the service went before it served ({waiting.status()}): see {log}")
        return _DIED_CODE
    if line:
        render.note(line)
    return int(code)


def _become(several: Several, pidfile: str, log: str, descriptors: tuple[int, int]) -> Never:
    """Become the daemon, in a child of the process that waits; this never returns to the caller's code."""
    announced = Announced(several, *descriptors)
    try:
        _serve(announced, pidfile, log, descriptors)
    except SystemExit as left:
        announced.tell(f"{left.code or 1} ".encode())  # why, it has said itself: its stderr was still that of who waits
        _leave(left.code if isinstance(left.code, int) else 1)
    except BaseException as error:  # noqa: BLE001 - whatever it is: who waits is told
        announced.tell(failure(error))
        _leave(1)
    _leave(0)


def _serve(announced: Announced, pidfile: str, log: str, descriptors: Iterable[int]) -> None:
    from orcha._protocol.endpoint import unusable
    from orcha.interfaces import register_service, start_service

    try:
        stream = open(log, "ab", buffering=0, opener=_private)  # noqa: SIM115 - the daemon has it until its end
    except OSError as error:
        raise unusable(f"the log {log} cannot be written", error) from None
    with stream:
        service = register_service(announced, pidfile=pidfile, fds=[*descriptors, stream.fileno()])
        assert service.context is not None
        service.context.stdout = service.context.stderr = stream
        service.context.umask = 0o077
        start_service(service)


def _private(path: str, flags: int) -> int:
    from orcha.utils.private import open_file

    return open_file(path, flags)


def _leave(code: int) -> Never:
    for stream in (sys.stdout, sys.stderr):
        flush: Callable[[], object] | None = getattr(stream, "flush", None)
        if flush is not None:
            flush()
    os._exit(code)
