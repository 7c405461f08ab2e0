"""Running a manager as a service, in the foreground or as a daemon."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType
    from typing import Any, Never, Protocol

    from daemon import DaemonContext

    class _Manager(Protocol):
        """What a service needs of a manager: this module starts, awaits and stops it, and knows nothing else of it."""

        def start(self) -> object: ...
        def join(self) -> object: ...
        def shutdown(self) -> object: ...


@dataclass(frozen=True)
class ServiceWrapper:
    """A manager, and the daemon it shall run in."""

    manager: _Manager = field(compare=False)
    """The manager that serves."""
    context: DaemonContext | None = field(default=None, compare=False)
    """The daemon to become; None to serve in the foreground."""


def register_service(
    manager: _Manager,
    *,
    pidfile: str | None = None,
    fds: Iterable[int] | None = None,
    user: str | None = None,
    group: str | None = None,
    cwd: str = "/",
    stop_signal: int = signal.SIGTERM,
) -> ServiceWrapper:
    """Prepare a service that becomes a daemon when it is started: PEP 3143.

    Nothing happens before :func:`start_service`: the manager starts, and with it every thread and socket, after the
    daemon's forks. The daemon closes every file descriptor it was not told to keep.

    Args:
        manager: the manager that serves.
        pidfile: where the daemon writes its process id, and what keeps a second one out; None for no such file.
        fds: file descriptors to keep open.
        user: name of the user to run as; None for the present one.
        group: name of the group to run as; None for the primary group of `user`, or the present one.
        cwd: the daemon's working directory.
        stop_signal: a signal that stops it, beside SIGTERM and SIGINT.

    Raises:
        ValueError: there is no such user or group.

    Example::

        start_service(register_service(ServiceManager(), pidfile="/run/hello-world.pid", user="hello"))

    """
    import daemon
    from daemon.daemon import make_default_signal_map
    from daemon.pidfile import TimeoutPIDLockFile

    uid, gid = _identity(user, group)
    context = daemon.DaemonContext(
        working_directory=cwd,
        umask=0o022,
        pidfile=None if pidfile is None else TimeoutPIDLockFile(pidfile, acquire_timeout=0),
        files_preserve=list(fds or ()),
        uid=uid,
        gid=gid,
        signal_map={**make_default_signal_map(), stop_signal: _TERMINATE},
    )
    return ServiceWrapper(manager, context)


def start_service(service: ServiceWrapper, do_notify: bool = True) -> Never:
    """Serve until SIGTERM or SIGINT, and leave the process; a second signal stops at once.

    Once it serves, one line on stderr says so: ``orcha: serving ServiceManager on 127.0.0.1:50000``. Systemd is told
    READY and STOPPING: `sd_notify(3)`.

    Args:
        service: what to run, from :class:`ServiceWrapper` or :func:`register_service`.
        do_notify: whether to tell systemd, where ``NOTIFY_SOCKET`` is set; ``orcha --systemd`` does in any case.

    Raises:
        SystemExit: always. 0 after an orderly stop, otherwise the code of the error, after one line on stderr.

    """
    from orcha import properties

    run = _Run(service.manager, notifies=do_notify or properties.systemd)
    if service.context is None:
        run.serve({signal.SIGTERM, signal.SIGINT})
    _check_pidfile(service.context)
    with service.context:
        run.serve(_stop_signals(service.context))


_TERMINATE = "terminate"
"""What python-daemon maps a signal to that shall end the daemon."""


class _Run:
    """One service from its start to the end of the process."""

    def __init__(self, manager: _Manager, *, notifies: bool) -> None:
        """Hold still until `serve`."""
        self._manager = manager
        self._notifies = notifies
        self._started = threading.Event()

    def serve(self, signals: Iterable[int]) -> Never:
        """Start, wait until it has stopped, exit."""
        if threading.current_thread() is threading.main_thread():
            self._watch(signals)
        try:
            self._manager.start()
            self._started.set()
            self._say_ready()
            self._manager.join()
        except Exception as error:  # noqa: BLE001 - whatever it is, the document discards it: this is where it ends
            self._fail(error)
        raise SystemExit(0)

    def _say_ready(self) -> None:
        """Tell people and systemd that it serves."""
        address, port = getattr(self._manager, "listen_address", None), getattr(self._manager, "port", None)
        place = f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"
        _say(f"orcha: serving {type(self._manager).__name__} on {place}")
        self._notify("READY=1")

    def _fail(self, error: Exception) -> Never:
        """Leave with one line and the error's code."""
        from orcha.exceptions import OrchaError
        from orcha.utils.logging_utils import get_logger

        get_logger().debug("%s failed", type(self._manager).__name__, exc_info=error)
        text = " ".join(str(error).split())
        if not isinstance(error, OrchaError):
            text = f"{type(error).__name__}: {text}"
        _say(f"orcha: {text}")
        self._notify(f"STATUS={text}")
        code = getattr(error, "exit_code", 1)
        raise SystemExit(code if isinstance(code, int) and code else 1)

    def _notify(self, state: str) -> None:
        """Tell systemd, where it wants to know."""
        if self._notifies:
            from orcha.utils.systemd import notify

            notify(state)

    def _watch(self, signals: Iterable[int]) -> None:
        """Let a thread stop the manager for signals: a handler must not take locks, so it only writes to a pipe."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        process = os.getpid()

        def note(number: int, _: FrameType | None) -> None:
            if os.getpid() != process:  # a forked child that has not got handlers of its own yet
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
                return
            try:
                os.write(writer, bytes((number,)))
            except BlockingIOError:
                return  # the pipe holds thousands of signals that say the same

        for number in signals:
            signal.signal(number, note)
        threading.Thread(target=self._obey, args=(reader,), name="orcha-signals", daemon=True).start()

    def _obey(self, reader: int) -> None:
        """First signal: an orderly stop. Second: at once. Third, or second before it serves: leave the process."""
        _read_signal(reader)
        threading.Thread(target=self._stop, name="orcha-stop", daemon=True).start()
        second = _read_signal(reader)
        if not self._started.is_set():
            os._exit(128 + second)
        hurried = _hurried(self._manager)
        if hurried is not None:
            threading.Thread(target=hurried, name="orcha-stop-now", daemon=True).start()
        os._exit(128 + _read_signal(reader))

    def _stop(self) -> None:
        """Stop in good order what has been started."""
        self._started.wait()
        self._notify("STOPPING=1")
        self._manager.shutdown()


def _read_signal(reader: int) -> int:
    """Wait for the next signal's number."""
    return os.read(reader, 1)[0]


def _hurried(manager: _Manager) -> Callable[[], object] | None:
    """Give what stops a manager at once, None where its shutdown takes no ``now``."""
    import inspect

    shutdown: Callable[..., Any] = manager.shutdown
    parameters = inspect.signature(shutdown).parameters.values()
    if any(each.name == "now" or each.kind is each.VAR_KEYWORD for each in parameters):
        return lambda: shutdown(now=True)
    return None


def _say(line: str) -> None:
    """Write a line to stderr, where there is one."""
    if sys.stderr is not None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _identity(user: str | None, group: str | None) -> tuple[int | None, int | None]:
    """Give the numbers of a user and a group; None for what stays as it is."""
    import grp
    import pwd

    try:
        account = None if user is None else pwd.getpwnam(user)
        members = None if group is None else grp.getgrnam(group)
    except KeyError as error:
        raise ValueError(*error.args) from None
    uid = None if account is None else account.pw_uid
    if members is not None:
        return uid, members.gr_gid
    return uid, None if account is None else account.pw_gid


def _stop_signals(context: DaemonContext) -> set[int]:
    """Give the signals that stop a daemon: those its context ends it for, SIGTERM and SIGINT where it says nothing."""
    mapped: dict[int, object] = dict(context.signal_map or {})
    signals = {number for number, action in mapped.items() if action == _TERMINATE}
    return signals | {number for number in (signal.SIGTERM, signal.SIGINT) if number not in mapped}


def _check_pidfile(context: DaemonContext) -> None:
    """Leave with a line where a daemon holds the pidfile, before the forks; drop one whose process is gone."""
    pidfile = context.pidfile
    if pidfile is None or not hasattr(pidfile, "read_pid") or not pidfile.is_locked():
        return
    pid = pidfile.read_pid()
    if pid is not None and pid != os.getpid() and _lives(pid):
        _say(f"orcha: {pidfile.path} is held by process {pid}: stop it first, or use another pidfile")
        raise SystemExit(69)
    pidfile.break_lock()


def _lives(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


__all__ = ["ServiceWrapper", "register_service", "start_service"]
