"""Starts a command's first process: in a session of its own, with three descriptors, no signal blocked or ignored.

The common case is one posix_spawn(3), which is a vfork: it copies nothing of this process, and tells at once that an
exec fails. A terminal, a cgroup or another user needs steps in the child, so these cases fork.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import stat

from orcha._supervisor import other_user
from orcha._supervisor.protocol import readable, to_bytes
from orcha.utils.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import NoReturn

    from orcha._supervisor.contract import CommandSpec
    from orcha._supervisor.login import Login

BESIDE_HAS_ENDED = "the command beside which it was to run has ended"
_DEFAULTED = sorted(int(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""The signals that a command finds as no program has changed them; exec(2) would keep those that are ignored. They are
named one and all, since the C library asks the system about each signal that is not named."""
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_SHELL = b"/bin/sh"
_MAX_DESCRIPTOR_NUMBER = 1 << 16
"""Descriptors above are not looked for: Python opens each one so that it ends at the exec."""
_TRY_NEXT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES})


class NotExecutedError(Exception):
    """The program was not executed; `code` is the exit code that a shell would give."""

    def __init__(self, code: int, reason: str) -> None:
        """Take the exit code and the reason."""
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Descriptors(NamedTuple):
    """The descriptors that become the command's standard input, output and error."""

    stdin: int
    stdout: int
    stderr: int


class _Program(NamedTuple):
    """The program to execute."""

    arguments: list[bytes]
    environment: Mapping[str, str]
    """Text, since the system calls make bytes of many words sooner than to_bytes() does: a shim has UTF-8 mode."""
    has_terminal: bool


def spawn(spec: CommandSpec, descriptors: Descriptors, groups: Sequence[str] = (), login: Login | None = None) -> int:
    """Start a command and return its pid; raises NotExecutedError.

    The process enters the `cgroup.procs` files `groups` before its first instruction. For a moment this process has
    the command's folder, umask and processors: it has one thread, so that nothing else happens meanwhile. A command of
    another user gets all of that in the child, which is the user of `login` by then.
    """
    if spec.uid is not None:
        if login is None or login.uid != spec.uid:
            raise NotExecutedError(125, f"cannot run as uid {spec.uid}: nobody has looked that user up")
        return _fork_as_user(spec, descriptors, groups, login)
    before = own_processors = None
    try:
        _change_folder(spec.cwd)
        if spec.umask is not None:
            before = os.umask(spec.umask)
        if spec.processors is not None or spec.beside_pid is not None:
            own_processors = os.sched_getaffinity(0)
            _bind(spec)
        arguments = [to_bytes(one) for one in spec.argv]
        program = _Program(arguments, spec.env, spec.tty is not None)
        return _execute(program, lambda path, program: _start(path, program, descriptors, groups))
    except ValueError as error:  # a NUL in an argument, "=" in a variable's name
        named = readable(spec.argv[0]) if spec.argv else "nothing"
        raise NotExecutedError(125, f"cannot execute {named}: {error}") from error
    finally:
        if before is not None:
            os.umask(before)
        if own_processors is not None:
            os.sched_setaffinity(0, own_processors)
        os.chdir("/")


def _bind(spec: CommandSpec) -> None:
    """Bind this process, and so its next children, to the processors of a command, or of the command beside it."""
    try:
        wanted = {*(os.sched_getaffinity(spec.beside_pid or 0) if spec.processors is None else spec.processors)}
    except ProcessLookupError as error:
        raise NotExecutedError(125, BESIDE_HAS_ENDED) from error
    named = ",".join(map(str, sorted(wanted))) or "without a number"
    try:
        os.sched_setaffinity(0, wanted)
    except (OSError, ValueError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise NotExecutedError(125, f"cannot pin the command to processors {named}: {why}") from error
    if os.sched_getaffinity(0) != wanted:  # Linux leaves out the processors that there are not
        raise NotExecutedError(125, f"cannot pin the command to processors {named}: not all of them can be used")


def _change_folder(folder: str | bytes) -> None:
    try:
        os.chdir(to_bytes(folder))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise NotExecutedError(125, f"cannot change to the folder {readable(folder)}: {why}") from error


def _execute(program: _Program, start: Callable[[bytes, _Program], int]) -> int:
    arguments = program.arguments
    if not arguments:
        raise NotExecutedError(125, "cannot execute: there is no program")
    denied: OSError | None = None
    for path in _candidates(arguments[0], to_bytes(program.environment.get("PATH", _DEFAULT_PATH))):
        try:
            return start(path, program)
        except OSError as error:
            if error.errno == errno.ENOEXEC:  # a script without a first line: as execvp(3)
                script = program._replace(arguments=[_SHELL, path, *arguments[1:]])
                return start(_SHELL, script)
            if error.errno not in _TRY_NEXT or os.path.isfile(path):
                raise _failure(program, error, exists=os.path.exists(path)) from error
            denied = error if error.errno == errno.EACCES else denied
    raise _failure(program, denied or OSError(errno.ENOENT, os.strerror(errno.ENOENT)), exists=denied is not None)


def _candidates(program: bytes, path: bytes) -> Iterator[bytes]:
    """Yield the paths to try; a file without execute permission comes last."""
    if b"/" in program:
        yield program
        return
    found = None
    for folder in path.split(b":") if program else ():
        candidate = (folder or b".") + b"/" + program
        try:
            mode = os.stat(candidate).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode):
            if os.access(candidate, os.X_OK):
                yield candidate
                return
            found = found or candidate
    if found:
        yield found


def _start(path: bytes, program: _Program, descriptors: Descriptors, groups: Sequence[str]) -> int:
    if program.has_terminal or groups:
        return _fork(path, program, descriptors, groups)
    actions = [(os.POSIX_SPAWN_DUP2, one, number) for number, one in enumerate(descriptors) if one != number]
    given = program.arguments, program.environment
    return os.posix_spawn(path, *given, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_DEFAULTED)


def _fork(path: bytes, program: _Program, descriptors: Descriptors, groups: Sequence[str]) -> int:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become(path, program, descriptors, groups)
        except BaseException as error:  # noqa: BLE001 - the parent hears of it, whatever it is
            os.write(writing, b"%d" % (getattr(error, "errno", None) or errno.EINVAL))
        finally:
            os._exit(127)
    os.close(writing)
    try:
        text = os.read(reading, 16)
    finally:
        os.close(reading)
    if text:
        os.waitpid(pid, 0)
        raise OSError(int(text), os.strerror(int(text)))
    return pid


def _become(path: bytes, program: _Program, descriptors: Descriptors, groups: Sequence[str]) -> None:
    """Turn this child into the command."""
    _settle(descriptors, groups, has_terminal=program.has_terminal)
    os.execve(path, program.arguments, program.environment)  # noqa: S606 - the command, as it was given


def _settle(descriptors: Descriptors, groups: Sequence[str], *, has_terminal: bool) -> None:
    """Give this child cgroups, a session, its terminal and its three descriptors, and no handler of the shim's."""
    for group in groups:
        with open(group, "w", encoding="ascii") as file:
            file.write("0")
    os.setsid()
    if has_terminal:
        import fcntl
        import termios

        fcntl.ioctl(descriptors.stdin, termios.TIOCSCTTY, 0)
    for number, one in enumerate(descriptors):
        os.dup2(one, number) if one != number else os.set_inheritable(one, True)
    signal.set_wakeup_fd(-1)
    for number in _DEFAULTED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _fork_as_user(spec: CommandSpec, descriptors: Descriptors, groups: Sequence[str], login: Login) -> int:
    """Start a command as another user; raises NotExecutedError."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become_as_user(spec, descriptors, groups, login, writing)
        except NotExecutedError as error:
            os.write(writing, json.dumps([error.code, error.reason]).encode())
        except BaseException as error:  # noqa: BLE001 - the parent hears of it, whatever it is
            why = f"cannot run as uid {spec.uid}: {getattr(error, 'strerror', None) or error}"
            os.write(writing, json.dumps([125, why]).encode())
        finally:
            os._exit(127)
    os.close(writing)
    with os.fdopen(reading, "rb") as report:
        text = report.read()
    if text:
        os.waitpid(pid, 0)
        code, reason = json.loads(text)
        raise NotExecutedError(code, reason)
    return pid


def _become_as_user(
    spec: CommandSpec, descriptors: Descriptors, groups: Sequence[str], login: Login, writing: int
) -> NoReturn:
    """Turn this child into the command of another user."""
    _settle(descriptors, groups, has_terminal=spec.tty is not None)
    os.closerange(len(descriptors), writing)
    os.closerange(writing + 1, _MAX_DESCRIPTOR_NUMBER)
    if spec.processors is not None or spec.beside_pid is not None:
        _bind(spec)
    os.umask(other_user.DEFAULT_UMASK_BITS if spec.umask is None else spec.umask)
    other_user.become(login)
    _change_folder(spec.cwd)
    environment = other_user.environment_of(login, spec.env)

    def execute(path: bytes, program: _Program) -> NoReturn:
        other_user.limit_at_last(login)
        os.execve(path, program.arguments, program.environment)  # noqa: S606 - the command, as it was given

    try:
        _execute(_Program([to_bytes(one) for one in spec.argv], environment, spec.tty is not None), execute)
    except ValueError as error:  # a NUL in an argument, "=" in a variable's name
        named = readable(spec.argv[0]) if spec.argv else "nothing"
        raise NotExecutedError(125, f"cannot execute {named}: {error}") from error
    raise AssertionError("execve returned")  # pragma: no cover - it does not


def _failure(program: _Program, error: OSError, *, exists: bool) -> NotExecutedError:
    ours = error.errno in {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
    code = 125 if ours else 126 if exists else 127
    named = program.arguments[0]
    looked_for = error.errno == errno.ENOENT and b"/" not in named
    why = "there is no such program in the folders of PATH" if looked_for else error.strerror
    return NotExecutedError(code, f"cannot execute {readable(named)}: {why}")
