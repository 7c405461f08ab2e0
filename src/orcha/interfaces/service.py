"""Running a manager as a service, in the foreground or as a daemon."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Never

    from daemon import DaemonContext

    from orcha.interfaces.running import Serving


@dataclass(frozen=True, eq=False)
class ServiceWrapper:
    """A manager, and the daemon it shall run in."""

    manager: Serving
    """The manager that serves."""
    context: DaemonContext | None = None
    """The daemon to become; None to serve in the foreground."""


_TERMINATE = "terminate"
"""What python-daemon maps a signal to that shall end the daemon."""
_CLOCK_TOLERANCE_SECONDS = 2.0
"""Seconds by which a process may seem to have begun after the pidfile that it wrote."""


def register_service(
    manager: Serving,
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
        pidfile: where the daemon writes its process id, and what keeps a second one out; None for no such file. The
            daemon holds a lock on it (fcntl(2)): a file that nobody holds is replaced, whatever process it names.
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

    from orcha.utils.pidfile import Pidfile

    uid, gid = _identity(user, group)
    context = daemon.DaemonContext(
        working_directory=cwd,
        umask=0o022,
        pidfile=None if pidfile is None else Pidfile(pidfile),
        files_preserve=list(fds or ()),
        uid=uid,
        gid=gid,
        detach_process=os.getppid() != 1,  # init minds its own; left to itself python-daemon loses a descriptor
        signal_map={**make_default_signal_map(), stop_signal: _TERMINATE},
    )
    return ServiceWrapper(manager, context)


def start_service(service: ServiceWrapper, do_notify: bool = True) -> Never:
    """Serve until SIGTERM, SIGINT or SIGHUP, and leave the process; a second signal stops at once.

    SIGHUP, which a terminal sends when it goes, is left alone where it is ignored, as nohup(1) has it, and by a daemon.
    A service of ``orcha serve`` in the background or under systemd reads its configuration again for SIGHUP.

    Once it serves, one line on stderr says so: ``orcha: serving ServiceManager on 127.0.0.1:50000``. Systemd is told
    READY and STOPPING: `sd_notify(3)`.

    Args:
        service: what to run, from :class:`ServiceWrapper` or :func:`register_service`.
        do_notify: whether to tell systemd, where ``NOTIFY_SOCKET`` is set; ``orcha --systemd`` does in any case.

    Raises:
        SystemExit: always. 0 after an orderly stop, otherwise the code of the error, after one line on stderr.

    """
    from orcha import properties
    from orcha.interfaces.running import ServiceRun

    _fix_paths()
    run = ServiceRun(service.manager, notifies=do_notify or properties.systemd)
    if service.context is None:
        if run.reloads and properties.systemd:
            run.serve({signal.SIGTERM, signal.SIGINT}, reload_signal=signal.SIGHUP)
        run.serve({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    _check_pidfile(service.context)
    with service.context:
        _hold_pidfile(service.context)
        stops = _stop_signals(service.context)
        reload_signal = signal.SIGHUP if run.reloads and signal.SIGHUP not in stops else None
        run.serve(stops, reload_signal=reload_signal)


def _fix_paths() -> None:
    """Read the paths of the environment while they mean what they were set for; leave where that cannot be."""
    from orcha.exceptions import OrchaError
    from orcha.interfaces.running import say
    from orcha.utils.paths import fix_paths

    try:
        fix_paths()
    except OrchaError as error:
        say(f"orcha: {error}")
        raise SystemExit(error.exit_code) from None


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
    """Leave with a line where the pidfile cannot be had, before the forks: nobody hears what a daemon says."""
    from orcha.exceptions import OrchaError
    from orcha.interfaces.running import say
    from orcha.utils.pidfile import Pidfile

    pidfile = context.pidfile
    if isinstance(pidfile, Pidfile):
        try:
            pidfile.check()
        except OrchaError as error:
            say(f"orcha: {error}")
            raise SystemExit(error.exit_code) from None
    elif pidfile is not None and hasattr(pidfile, "read_pid") and pidfile.is_locked():
        _check_foreign(pidfile)


def _hold_pidfile(context: DaemonContext) -> None:
    """Lock the pidfile of a context of the plugin's own, so that the next start need not compare clocks."""
    from orcha.utils.pidfile import Pidfile, hold

    path = getattr(context.pidfile, "path", None)
    if isinstance(path, str) and not isinstance(context.pidfile, Pidfile):
        hold(path)


def _check_foreign(pidfile: Any) -> None:
    """Leave where a process holds a pidfile of lockfile's, which a context of the plugin's own may have."""
    from orcha.interfaces.running import say
    from orcha.utils.pidfile import holder_of

    pid = pidfile.read_pid()
    try:
        is_held = holder_of(pidfile.path) is not None
    except OSError:  # another user's: nobody but the clocks can tell
        is_held = False
    if pid is not None and pid != os.getpid() and (is_held or _lives(pid, pidfile.path)):
        say(f"orcha: {pidfile.path} is held by process {pid}: stop it first, or use another pidfile")
        raise SystemExit(69)
    pidfile.break_lock()


def _lives(pid: int, path: str) -> bool:
    """Whether there is such a process still, and it did not get its number after the pidfile was written.

    For a pidfile that nobody has locked, as of a daemon that has another program, or is about to serve: what is left to
    compare are clocks.
    """
    from pathlib import Path

    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return False
    running = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    try:
        written = Path(path).stat().st_mtime
    except FileNotFoundError:  # let go of meanwhile
        return False
    return fields[0] not in "ZX" and time.time() - running <= written + _CLOCK_TOLERANCE_SECONDS


__all__ = ["ServiceWrapper", "register_service", "start_service"]
