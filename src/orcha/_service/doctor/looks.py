"""The looks of `orcha doctor` at an endpoint and at the machine: nothing is changed, and nothing is made there."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import time
from functools import partial
from pathlib import Path

from orcha._configuration.files import load
from orcha._configuration.named_accounts import notes_on_accounts
from orcha._output.sizes import sizes_of
from orcha._processes.hidden_processes import hidden
from orcha._processes.identity import read_stat, since_boot
from orcha._processes.lock import owner_problem
from orcha._protocol import keys
from orcha._protocol.endpoint import KEY_VARIABLE, configuration_path, key_path, unusable
from orcha._server.listening import refuse_taken
from orcha._service.doctor.facts import DoctorFacts, RunningProgram
from orcha._service.lifecycle.process_limits import check_limits
from orcha._service.lifecycle.settings import from_environment
from orcha._store.examining import examine
from orcha._store.last_start import refuse_moved
from orcha._store.opening import refuse_network
from orcha._supervisor import pam_session
from orcha._supervisor.cgroups import CgroupPlaces
from orcha._supervisor.supervisor_process import PROGRAM
from orcha.exceptions import ConfigurationError, OrchaError
from orcha.exceptions.store import StoreDamaged, StoreNewer
from orcha.utils.event_log import wanted_kind
from orcha.utils.lock_holders import described, lasting_holder
from orcha.utils.packages import own_version
from orcha.utils.private import check_folder, open_file
from orcha.utils.system_paths import system_configuration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orcha._configuration.files import Loaded
    from orcha._protocol.endpoint import Endpoint

_START_MARGIN_SECONDS = 5.0
"""How exactly the start of a process is known."""
_PROGRAM_END = "/_supervisor/main.py"
_GONE = " (deleted)"
"""What proc(5) puts behind the path of a file that was removed."""
_KEPT = ("orcha.db", "orcha.db-wal")
_BLOCK_BYTES = 512
"""What `st_blocks` counts: stat(2)."""
_LISTENS = "00010000"
"""The flags of a listening socket in /proc/net/unix: __SO_ACCEPTCON."""


def look(
    endpoint: Endpoint,
    *,
    key: str | None,
    plugins: tuple[tuple[str, str], ...],
    statvfs: Callable[[str], os.statvfs_result] = os.statvfs,
    inotify: Callable[[], bool] | None = None,
) -> DoctorFacts:
    """Look at everything but the answer of the service.

    Args:
        endpoint: where a service is, or would be.
        key: what was given as --key; None for the key file.
        plugins: module and problem of each plugin that cannot be used.
        statvfs: looks at a file system.
        inotify: tells whether one more inotify instance can be had.

    """
    folder = endpoint.folder
    found = _status(folder)
    holder = holder_of(endpoint)
    refusals = dict(_refusals(endpoint, key, found, holder))
    written, written_name = _newest(folder)
    return DoctorFacts(
        folder,
        os.geteuid(),
        time.time(),
        own_version(),
        found=found,
        owner_is_known=found is None or _is_user(found.st_uid),
        space=_space(folder, statvfs),
        database_bytes=sum(_size(f"{folder}/{name}") for name in _KEPT),
        output_bytes=_output_bytes(endpoint.output_folder),
        written=written,
        written_name=written_name,
        dead_socket=endpoint.socket_path if _is_dead_socket(endpoint.socket_path) else "",
        holder=holder,
        holder_text="" if holder is None else described(holder),
        holders=tuple(_holders(endpoint.lock_path)),
        refusals=refusals,
        nobodys_settings=tuple(_nobodys_settings(endpoint)),
        service=_program(holder, []) if holder else None,
        supervisors=tuple(_supervisors(folder)),
        plugins=plugins,
        limits=CgroupPlaces(own=f"/proc/{holder or 'self'}/cgroup", changes=False).available,
        no_login_limits=pam_session.missing() if endpoint.is_system else None,
        hidden=hidden(),
        has_inotify=(inotify or _has_inotify)(),
        max_inotify=_text("/proc/sys/fs/inotify/max_user_instances").strip(),
    )


def holder_of(endpoint: Endpoint) -> int | None:
    """Give the process that holds the endpoint's lock; None where nobody does, 0 for one of another namespace."""
    try:
        descriptor = open_file(endpoint.lock_path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return lasting_holder(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_blocks * _BLOCK_BYTES
    except OSError:
        return 0


def _output_bytes(folder: str) -> int:
    try:
        return sum(sizes_of(folder).values())
    except OSError:  # what may not be read is told of by another check
        return 0


def _is_dead_socket(path: str) -> bool:
    found = _status(path)
    return found is not None and stat.S_ISSOCK(found.st_mode) and not _is_listened_to(path)


def _is_listened_to(path: str) -> bool:
    """Tell whether a process listens on a Unix socket, as systemd does for a service: /proc/net/unix, proc(5)."""
    for line in _text("/proc/net/unix").splitlines():
        words = line.split(maxsplit=7)
        if len(words) == 8 and words[7] == path and words[3] == _LISTENS:
            return True
    return False


# --- what a start would be refused for -------------------------------------------------------------------------------


def _refusals(
    endpoint: Endpoint, key: str | None, found: os.stat_result | None, holder: int | None
) -> Iterator[tuple[str, str]]:
    """Give the names of checks, and what a start or a client would be told."""
    folder = endpoint.folder
    looks: dict[str, Callable[[], object]] = {
        "settings": partial(_look_at_settings, endpoint),
        "configuration": lambda: _files_of(endpoint).sound(),
        "certificate": partial(_look_at_certificate, endpoint),
        "limits": check_limits,
    }
    is_usable = found is not None and owner_problem(found, os.geteuid(), folder) is None
    if is_usable:
        looks["permissions"] = partial(check_folder, folder)
        looks["network disk"] = partial(refuse_network, Path(folder))
    if holder is None and endpoint.has_port and endpoint.port:
        looks["taken port"] = partial(refuse_taken, endpoint)
    if key is None:
        is_used = holder is not None or os.path.lexists(endpoint.database_path)
        looks["key file"] = partial(_look_at_key, endpoint, is_used=is_used and not endpoint.is_system)
    for name, check in looks.items():
        try:
            check()
        except OrchaError as error:
            yield name, str(error)
        except OSError as error:
            yield name, str(unusable(f"{error.filename or folder} cannot be used", error))
    if found is None or is_usable:
        yield from _store_refusals(endpoint, is_there=found is not None)


def _store_refusals(endpoint: Endpoint, *, is_there: bool) -> Iterator[tuple[str, str]]:
    try:
        if is_there:
            examine(Path(endpoint.folder), lambda: holder_of(endpoint) is not None)
        else:
            refuse_moved(Path(endpoint.folder))
    except StoreNewer as error:
        yield "newer schema", str(error)
    except StoreDamaged as error:
        yield "damaged database", f"{error}. Put a copy of orcha.db back, or move orcha.db* away to begin anew"
    except OrchaError as error:
        yield "lost state", str(error)
    except OSError:  # what may not be read is told of by another check
        return


def _look_at_settings(endpoint: Endpoint) -> None:
    """Raise ConfigurationError where a variable of the environment would keep a service from starting."""
    from_environment(endpoint, key=None, look_ahead=None, on_hook_timeout="replace")
    wanted_kind(os.environ)


def _look_at_key(endpoint: Endpoint, *, is_used: bool) -> None:
    path = endpoint.key_path if endpoint.is_system else key_path()
    if os.environ.get(KEY_VARIABLE):
        keys.users_key()
        return
    try:
        keys.load_key(path)
    except FileNotFoundError:
        if is_used:
            raise OrchaError(
                f"the key file {path} is missing, though a service has kept its state in {endpoint.folder}: put that"
                " file back, give the key of the service (--key), or start the service again, which makes a new key"
            ) from None


def _look_at_certificate(endpoint: Endpoint) -> None:
    """Raise ConfigurationError where the certificate of people's own cannot be used, or its time is over, or soon."""
    from orcha._service.lifecycle.certificate import problem_of_settings

    configured = _files_of(endpoint).configured
    settings = from_environment(endpoint, key=None, look_ahead=None, on_hook_timeout="replace", configured=configured)
    problem = problem_of_settings(settings)
    if problem is not None:
        raise ConfigurationError(problem)


def _nobodys_settings(endpoint: Endpoint) -> Iterator[str]:
    try:
        yield from map(str, notes_on_accounts(_files_of(endpoint).configured))
    except OrchaError:  # the directory of users is silent, as another check says
        return


def _files_of(endpoint: Endpoint) -> Loaded:
    return load(system_configuration(), is_system=True) if endpoint.is_system else load(configuration_path())


# --- the folder and the disk -----------------------------------------------------------------------------------------


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _is_user(uid: int) -> bool:
    import pwd

    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _space(folder: str, statvfs: Callable[[str], os.statvfs_result]) -> os.statvfs_result | None:
    path = Path(folder)
    try:
        return statvfs(str(next(each for each in (path, *path.parents) if each.is_dir())))
    except OSError:
        return None


def _newest(folder: str) -> tuple[float, str]:
    """Give when the newest file that tells of the state was written, and its path."""
    paths = [f"{folder}.last-start", *(f"{folder}/{name}" for name in _KEPT)]
    found = [(status.st_mtime, path) for path in paths if (status := _status(path)) is not None]
    return max(found, default=(0.0, ""))


# --- processes -------------------------------------------------------------------------------------------------------


def _holders(lock: str) -> Iterator[int]:
    """Give the processes that hold a lock file of this path, also where the file was removed: proc(5), /proc/locks."""
    lines = [line.split() for line in _text("/proc/locks").splitlines()]
    pids = {
        int(words[4]) for words in lines if words[1:2] == ["POSIX"] and words[3] == "WRITE" and words[4].isdecimal()
    }
    for pid in sorted(pids):
        with contextlib.suppress(OSError):
            if any(_link(str(path)) in {lock, lock + _GONE} for path in Path(f"/proc/{pid}/fd").iterdir()):
                yield pid


def _supervisors(folder: str) -> Iterator[RunningProgram]:
    """Give the supervisors and shims of a folder: their last words are the program and the folder."""
    for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()):
        words = _words(pid)
        if len(words) > 2 and words[-1] == folder and words[-2].endswith(_PROGRAM_END):
            yield _program(pid, words[-2:])


def _program(pid: int, words: list[str]) -> RunningProgram:
    interpreter, program = _link(f"/proc/{pid}/exe"), words[0] if words else ""
    started_as = (_words(pid) or [""])[0]
    moved = Path(started_as).is_absolute() and not os.path.lexists(started_as)
    return RunningProgram(
        pid,
        started_as if moved else interpreter.removesuffix(_GONE),
        interpreter_is_gone=moved or interpreter.endswith(_GONE),
        program=program,
        program_is_other=bool(program) and (program != PROGRAM or _is_newer(program, pid)),
    )


def _is_newer(program: str, pid: int) -> bool:
    """Tell whether a file is missing, or was written after a process was started."""
    found = _status(program)
    if found is None:
        return True
    stat = read_stat(pid)
    if stat is None:
        return False
    age = since_boot() - stat.start_time / os.sysconf("SC_CLK_TCK")
    return found.st_mtime > time.time() - age + _START_MARGIN_SECONDS


def _words(pid: int) -> list[str]:
    return _text(f"/proc/{pid}/cmdline").rstrip("\0").split("\0")


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


# --- the machine -----------------------------------------------------------------------------------------------------


def _has_inotify() -> bool:
    """Make an inotify instance and close it: inotify_init1(2)."""
    made = ctypes.CDLL(None, use_errno=True).inotify_init1(os.O_CLOEXEC)
    if made < 0:
        return ctypes.get_errno() != errno.EMFILE
    os.close(made)
    return True
