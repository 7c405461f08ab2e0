"""A service as a daemon: whoever starts it waits until it serves, and is told why where it does not."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Never

    from orcha.lib.several import Several

PIDFILE, LOG = "service.pid", "service.log"
"""Names in the endpoint's folder."""
_READY = b"\n"
"""What the daemon says when it serves; anything else is its exit code, a space, and why it does not."""
_DIED = 70
"""Exit code where the daemon went without a word: EX_SOFTWARE of sysexits.h."""


class Announced:
    """A service that tells who started it, once, whether it serves."""

    def __init__(self, several: Several, writer: int) -> None:
        """Tell it through this descriptor."""
        self._several = several
        self._writer = writer
        self.listen_address = several.listen_address
        self.title = several.title

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._several.port

    def start(self) -> None:
        """Start serving, and say so."""
        try:
            self._several.start()
        except Exception as error:
            self.tell(failure(error))
            raise
        self.tell(_READY)

    def join(self) -> None:
        """Wait until the service has stopped."""
        self._several.join()

    def shutdown(self, *, now: bool = False) -> None:
        """Stop the service."""
        self._several.shutdown(now=now)

    def tell(self, what: bytes) -> None:
        """Say something once; nobody may be listening any more."""
        writer, self._writer = self._writer, -1
        if writer >= 0:
            try:
                os.write(writer, what)
            except BrokenPipeError:
                return
            finally:
                os.close(writer)


def failure(error: BaseException) -> bytes:
    """Give what is told of an error: the exit code, and one line."""
    from orcha.exceptions import OrchaError

    code = getattr(error, "exit_code", 1)
    text = " ".join(str(error).split())
    line = text if isinstance(error, OrchaError) else f"{type(error).__name__}: {text}"
    return f"{code if isinstance(code, int) else 1} {line}".encode(errors="replace")


def start(several: Several, pidfile: str | None) -> int:
    """Serve in a daemon, and return 0 when it does; else say why not, and give the code of that."""
    from orcha._cli import render
    from orcha._wire.endpoint import Endpoint

    endpoint = Endpoint(several.listen_address, several.port)
    endpoint.make_folder()
    path = os.path.abspath(pidfile) if pidfile else f"{endpoint.folder}/{PIDFILE}"  # noqa: PTH100
    log = f"{endpoint.folder}/{LOG}"
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _become(several, path, log, writer)
    os.close(writer)
    said = _read(reader)
    _, status = os.waitpid(child, 0)
    if said == _READY:
        render.note(f"serving in the background on {endpoint.name}; its log is {log}")
        return 0
    code, _, line = said.decode(errors="replace").partition(" ")
    if not line:
        render.note(f"the service went before it served ({os.waitstatus_to_exitcode(status)}): see {log}")
        return _DIED
    render.note(line)
    return int(code)


def _read(reader: int) -> bytes:
    with open(reader, "rb") as stream:
        return stream.read()


def _become(several: Several, pidfile: str, log: str, writer: int) -> Never:
    """Become the daemon, in a child of the process that waits; never returns to its caller's code."""
    announced = Announced(several, writer)
    try:
        _serve(announced, pidfile, log, writer)
    except SystemExit as left:
        announced.tell(f"{left.code or 1} {_last_word(left)}".encode())
        _leave(left.code if isinstance(left.code, int) else 1)
    except BaseException as error:  # noqa: BLE001 - whatever it is: who waits is told
        announced.tell(failure(error))
        _leave(1)
    _leave(0)


def _serve(announced: Announced, pidfile: str, log: str, writer: int) -> None:
    from orcha.interfaces import register_service, start_service

    with open(log, "ab", buffering=0, opener=_private) as stream:
        service = register_service(announced, pidfile=pidfile, fds=[writer, stream.fileno()])
        assert service.context is not None
        service.context.stdout = service.context.stderr = stream
        service.context.umask = 0o077
        start_service(service)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _last_word(left: SystemExit) -> str:
    return "another daemon holds the pidfile" if left.code == os.EX_UNAVAILABLE else "it left at once"


def _leave(code: int) -> Never:
    for stream in (sys.stdout, sys.stderr):
        flush: Callable[[], object] | None = getattr(stream, "flush", None)
        if flush is not None:
            flush()
    os._exit(code)
