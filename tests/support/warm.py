"""Starts Python programs of Orcha as `subprocess.Popen` does, where it can without a new interpreter's imports.

What `subprocess.Popen` would have executed is forked from an interpreter that has imported Orcha already
(`support.warm_interpreter`): the imports are two thirds of what a service costs to start, and most of what a command
costs. Everything else is the same process: pid, session, descriptors, arguments and environment in /proc, exit status.
"""

from __future__ import annotations

import ctypes
import inspect
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from support.warm_interpreter import LARGEST_JOB, MOST_VARIABLES, MOST_WORDS, is_command, take_terminal

TESTS = Path(__file__).resolve().parent.parent
_START = "import sys; from support.warm_interpreter import main; main(*map(int, sys.argv[1:3]), sys.argv[3])"
_WATCHED = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "OPENSSL_", "SSL_", "UV_", "MSGSPEC")
"""Beginnings of the names of variables that an interpreter reads as it starts."""
_ALLOWED = {"PYTHONPATH", "PYTHONFAULTHANDLER", "PYTHONUNBUFFERED"}
"""Those of them that are made good."""
_SIGNATURE = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]


class WarmInterpreter:
    """The two processes that fork, the second one commands only.

    They serve all tests of this process, and of those that are forked from it later.
    """

    def __init__(self) -> None:
        """Start nothing."""
        self._controls: tuple[socket.socket, ...] = ()
        self._began_in = 0
        """The pid of the process that started them."""
        self.watched: dict[str, str] = {}
        """What they read as they started."""

    def start(self) -> None:
        """Start them; they warm up while this process goes on. With TEST_COLD in the environment nothing is warm."""
        if os.environ.get("TEST_COLD"):
            return
        self.watched = _watched(os.environ)
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        numbers = [its.fileno() for _, its in pairs]
        try:
            subprocess.run(
                [sys.executable, "-c", _START, *map(str, numbers), str(TESTS), "." * MOST_WORDS],
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                env={name: text for name, text in os.environ.items() if not name.startswith("ORCHA_")}
                | {"PYTHONPATH": str(TESTS), "ROOM": "." * MOST_VARIABLES},
                check=True,
            )
        finally:
            for _, its in pairs:
                its.close()
        self._controls, self._began_in = tuple(ours for ours, _ in pairs), os.getpid()

    def stop(self) -> None:
        """End them, or in a process that was forked later let go of them."""
        began_here = self._began_in == os.getpid()
        if began_here:
            for control in self._controls:
                control.shutdown(socket.SHUT_WR)
        for control in self._controls:
            with control:
                if began_here:
                    control.settimeout(60)
                    control.recv(1)  # gives nothing, when it has ended
        self._controls = ()

    @property
    def is_there(self) -> bool:
        """Whether programs can be forked."""
        return bool(self._controls)

    def fork(self, job: dict[str, Any], descriptors: Sequence[int]) -> tuple[int, socket.socket] | None:
        """Have a job done; give its pid, and the socket on which its status comes. None where that cannot be."""
        text = json.dumps(job).encode()
        words = sum(len(os.fsencode(word)) + 1 for word in (sys.executable, *job["words"]))
        variables = sum(len(os.fsencode(name + value)) + 2 for name, value in job["environment"].items())
        if max(words - MOST_WORDS, variables - MOST_VARIABLES, len(text) - LARGEST_JOB) > 0 or not self._controls:
            return None
        control = self._controls[is_command(job["words"])]
        ours, its = socket.socketpair()
        try:
            with its:
                socket.send_fds(control, [text], [its.fileno(), *descriptors])
            with ours.makefile("rb", buffering=0) as answer:
                line = answer.readline()
            assert line, "the warm interpreter is gone"
        except BaseException:
            ours.close()
            raise
        return int(line), ours


WARM = WarmInterpreter()


class Popen(subprocess.Popen[Any]):
    """Starts ``python [-P]`` with ``-m orcha``, ``SCRIPT.py`` or ``-c CODE`` warm, and all else as its base does."""

    _status: socket.socket | None = None

    def __init__(self, args: Any, *, warm: bool = True, terminal: int | None = None, **options: Any) -> None:
        """Start it.

        Args:
            args: the command line.
            warm: False has it executed by a new interpreter, whatever it is.
            terminal: the descriptor of a terminal, which becomes that of its new session.
            options: as `subprocess.Popen` takes them.

        """
        self._warm = warm
        self._terminal = terminal
        if terminal is not None:
            options["start_new_session"] = True
        super().__init__(args, **options)

    def _execute_child(self, *given: Any, **named: Any) -> None:
        bound = _SIGNATURE.bind(self, *given, **named).arguments
        if not (WARM.is_there and self._warm and _is_warm(bound)):
            self._execute_cold(bound)
            return
        streams = {
            number: theirs if theirs != -1 else number
            for number, theirs in enumerate((bound["p2cread"], bound["c2pwrite"], bound["errwrite"]))
        } | {int(number): int(number) for number in bound["pass_fds"]}
        numbers = [number for number, theirs in streams.items() if _is_open(theirs)]
        job = {
            "words": [os.fspath(word) for word in bound["args"][1:]],
            "environment": dict(bound["env"] if bound["env"] is not None else _variables()),
            "numbers": numbers,
            "session": bound["start_new_session"],
            "group": None if bound["process_group"] == -1 else bound["process_group"],
            "terminal": self._terminal is not None,
            "umask": bound["umask"] if bound["umask"] >= 0 else _umask(),
            "cwd": os.fspath(bound["cwd"]) if bound["cwd"] is not None else os.getcwd(),  # noqa: PTH109
            "mask": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
            "ignored": [int(number) for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN],
        }
        descriptors = [streams[number] for number in numbers]
        forked = WARM.fork(job, descriptors if self._terminal is None else [*descriptors, self._terminal])
        if forked is None:
            self._execute_cold(bound)
            return
        self.pid, self._status = forked
        self._child_created = True
        self._close_pipe_fds(  # type: ignore[attr-defined]
            *(bound[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"))
        )

    def _execute_cold(self, bound: dict[str, Any]) -> None:
        if self._terminal is not None:
            bound["preexec_fn"] = partial(take_terminal, self._terminal)
        super()._execute_child(**{name: value for name, value in bound.items() if name != "self"})  # type: ignore[misc]

    def _waitpid(self, pid: int, flags: int) -> tuple[int, int]:
        """Do what waitpid(2) does, of a process that another one waits for."""
        if self._status is None:
            return os.waitpid(pid, flags)
        self._status.settimeout(0 if flags & os.WNOHANG else None)
        try:
            text = self._status.recv(64)
        except BlockingIOError:
            return 0, 0
        assert text, "the warm interpreter is gone"
        self._status.close()
        return pid, int(text)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        try:
            return self._waitpid(self.pid, wait_flags)
        except ChildProcessError:
            return self.pid, 0

    def _internal_poll(self, _deadstate: int | None = None, *_: Any) -> int | None:
        if self._status is None:
            polled: int | None = super()._internal_poll(_deadstate)  # type: ignore[misc]
            return polled
        code: int | None = self.returncode
        if code is None and self._waitpid_lock.acquire(blocking=False):  # type: ignore[attr-defined]
            try:
                self._take_status()
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode

    def _take_status(self) -> None:
        """Take the status of a process that has ended; another thread may have."""
        pid, status = (0, 0) if self.returncode is not None else self._waitpid(self.pid, os.WNOHANG)
        if pid:
            self._handle_exitstatus(status)  # type: ignore[attr-defined]


def run(
    command: Sequence[Any],
    *,
    input: Any = None,  # noqa: A002 - its name there
    timeout: float | None = None,
    check: bool = False,
    warm: bool = True,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Do what `subprocess.run` does."""
    if options.pop("capture_output", False):
        options["stdout"] = options["stderr"] = subprocess.PIPE
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with Popen(command, warm=warm, **options) as process:
        try:
            stdout, stderr = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(list(command), process.returncode, stdout, stderr)
    if check:
        done.check_returncode()
    return done


def _is_warm(bound: Mapping[str, Any]) -> bool:
    """Tell whether what is to be executed would be the same when it is forked."""
    args, env = bound["args"], bound["env"] if bound["env"] is not None else os.environ
    if isinstance(args, str | bytes) or bound["shell"] or bound["executable"] or bound["preexec_fn"] is not None:
        return False
    if any(bound[name] is not None for name in ("gid", "gids", "uid")) or not bound["close_fds"]:
        return False
    words = [os.fspath(word) for word in args]
    if not all(isinstance(text, str) for text in (*words, *env, *env.values())) or words[0] != sys.executable:
        return False
    program = words[2:] if words[1:2] == ["-P"] else words[1:]
    if not (program[:2] == ["-m", "orcha"] or program[:1] == ["-c"] or (program and Path(program[0]).suffix == ".py")):
        return False
    return _watched(env) == WARM.watched


def _variables() -> dict[str, str]:
    """Give the variables that a program gets for which none are named: environ(7).

    `os.environ` does not have what a library has set, as readline sets COLUMNS and LINES.
    """
    entries = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    each = map(entries.__getitem__, itertools.count())
    texts = map(os.fsdecode, itertools.takewhile(lambda entry: entry is not None, each))
    return {name: text for name, _, text in (entry.partition("=") for entry in texts)}


def _watched(environment: Mapping[str, str]) -> dict[str, str]:
    """Give what an interpreter would read as it starts."""
    return {
        name: text for name, text in environment.items() if text and name.startswith(_WATCHED) and name not in _ALLOWED
    }


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _umask() -> int:
    """Give this process's umask, which can be read by itself only where the kernel shows it."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("\nUmask:")[2].split()[0], 8)
