"""An interpreter that has imported what Orcha imports, and becomes one program after another by forking.

A program starts in it where it starts anywhere: at the first line of a module, a script or ``-c``, with the arguments,
environment, descriptors, folder and session that were asked for. Its /proc shows it as a process of its own.
"""

from __future__ import annotations

import argparse
import atexit
import ctypes
import faulthandler
import gc
import importlib
import json
import multiprocessing.process
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import termios
from collections.abc import Callable, Sequence
from contextlib import suppress
from fcntl import ioctl
from itertools import takewhile
from types import CodeType, ModuleType
from typing import Any, NoReturn

from orcha._cli import VERBS
from support import warm_helpers
from support.warm_surroundings import exchange, make_stream, shown, take_environment

MOST_DESCRIPTORS = 64
MOST_WORDS, MOST_VARIABLES = 8_000, 30_000
"""Bytes of arguments and of variables that this process is started with; those of a program are written over them."""
LARGEST_JOB = 2 * (MOST_WORDS + MOST_VARIABLES)
"""Bytes."""
PROGRAMS = ("orcha.__main__", "orcha._supervisor.main", "orcha._supervisor.shim", "orcha._processes.watcher")
"""Modules that are programs, or the beginnings of the names of packages that are partly."""
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
"""The folder of this file's package."""
AT_START = {"sitecustomize", "usercustomize"}
"""Modules that an interpreter imports as it starts."""
OTHER_VERBS = ("backup", "config", "doctor", "install_units", "relay", "restore", "serve", "simulate")
"""Verbs that import what a service does, and which the interpreter for commands does not know."""
COMMANDS = frozenset(VERBS) - {verb.replace("_", "-") for verb in OTHER_VERBS}
"""Verbs that an interpreter with half as many modules forks."""
BEFORE_COMMAND = frozenset(("--listen-address", "--port", "--service", "--key"))
"""Options before the verb that are followed by a value."""
COMMAND_PACKAGES = (
    *("orcha.bin", "orcha._cli", "orcha._client", "orcha._protocol", "orcha.exceptions", "orcha.interfaces"),
    *("orcha.lib", "orcha.plugins", "orcha.utils"),
)
"""What these verbs import, but for `HEAVY`."""
HEAVY = tuple(f"orcha._cli.{name}" for name in OTHER_VERBS)
ALSO_IMPORTED = ("uvloop", "support.managers")
"""What Orcha imports where it needs it, and what most services under test import."""
BASIC_MODULES = ("sys", "builtins", "__main__")
"""Modules that are taken down wherever a program runs."""
OF_TESTS: list[str] = []
"""Names of the modules among them that only programs of tests can import."""
SCRIPTS = ("serve.py", "as_user.py", "machine_users.py")
"""Scripts beside this file that many tests start."""
LARGE_PAGE = 2 << 20
"""Bytes."""
MADV_COLLAPSE = 25
"""Of madvise(2): pages are joined to large ones at once, of Linux 6.1 and later."""
_compiled: dict[tuple[str, bytes], CodeType] = {}
"""The code of scripts, by path and text."""
WARM_MODULES: dict[str, ModuleType] = {}
"""What was imported while this interpreter was warmed up, by name."""


def is_command(words: Sequence[str]) -> bool:
    """Tell whether these words after ``python`` are an orcha command of `COMMANDS`."""
    rest = iter(words[words[:1] == ["-P"] :])
    if [next(rest, ""), next(rest, "")] != ["-m", "orcha"]:
        return False
    for word in rest:
        if word in BEFORE_COMMAND:
            next(rest, None)
        elif not word.startswith("-"):
            return word in COMMANDS
    return False


def warm_up_for_commands() -> None:
    """Import what commands import."""
    warm_helpers.prepare()
    for name in COMMAND_PACKAGES:
        _import_all_of(name, but=(*PROGRAMS, *HEAVY))
    importlib.import_module("encodings.ascii")
    _parse_arguments()
    os.environ.pop("ROOM", None)
    os.environ.update(os.environ.copy())  # the C library keeps copies then: `_Shown` overwrites what it began with
    shown.look()


def warm_up() -> None:
    """Import the rest of Orcha."""
    from orcha._protocol.tls import server_tls
    from orcha._service.lifecycle import preloading
    from orcha._store import migrating, opening, queries

    preloading.preload()
    _import_all_of("orcha", but=PROGRAMS)
    for name in ALSO_IMPORTED:
        importlib.import_module(name)
    server_tls()  # which imports a hundred modules
    migrating.empty_database(opening.APPLICATION)  # it is made once, as modules are read once
    queries.queries()
    queries.commit_statements()
    _compile_scripts()
    vars(preloading).update(PACKAGES=(), STANDARD_MODULES=())  # a service looks for their files once more


def _import_all_of(package: str, *, but: tuple[str, ...]) -> None:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not module.name.startswith(but):
            importlib.import_module(module.name)


def settle() -> None:
    """Let what is there by now stay as it is."""
    importlib.invalidate_caches()  # a finder looks again where its folder has changed since
    WARM_MODULES.update((name, module) for name, module in sys.modules.items() if name not in BASIC_MODULES)
    OF_TESTS.extend(name for name in WARM_MODULES if name.partition(".")[0] == "support")
    gc.collect()
    gc.freeze()
    _take_large_pages()


def _parse_arguments() -> None:
    """Have argparse compile its regular expressions once: the module `re` keeps them for each program."""
    for count in (None, "?", "*", "+", argparse.REMAINDER, argparse.PARSER):
        parser = argparse.ArgumentParser(add_help=False)
        parser.add_argument("--option", nargs=count)
        parser.add_argument("--flag", action="store_true")
        parser.add_argument("words", nargs=count)
        parser.parse_known_args(["--flag", "word"])
        parser.parse_known_args(["--option", "word", "--", "word"])


def _compile_scripts() -> None:
    """Compile the scripts that most programs are."""
    for name in SCRIPTS:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)  # noqa: PTH100, PTH118, PTH120
        with open(path, "rb") as file:  # noqa: PTH123
            text = file.read()
        _compiled[path, text] = compile(text, path, "exec")


def _take_large_pages() -> None:
    """Have the kernel join pages: a fork copies one entry of a page table then, where it copied 512.

    With ordinary pages alone, the fork and the end of a program together cost 1 ms of processor time more. Where the
    kernel has no such pages to give, everything stays as it is.
    """
    advise = ctypes.CDLL(None).madvise
    with open("/proc/self/maps", encoding="ascii", errors="replace") as file:  # noqa: PTH123
        places = [line.split() for line in file]
    for place, access, _, _, _, *name in places:
        if access != "rw-p" or name not in ([], ["[heap]"]):
            continue
        start, end = (int(number, 16) for number in place.split("-"))
        for address in range(-(-start // LARGE_PAGE) * LARGE_PAGE, end - LARGE_PAGE + 1, LARGE_PAGE):
            advise(ctypes.c_void_p(address), ctypes.c_size_t(LARGE_PAGE), MADV_COLLAPSE)


def serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each job that comes; give it in the child, and None in the parent at the end of all jobs."""
    wakes, wakened = os.pipe()
    for descriptor in (wakes, wakened):
        os.set_blocking(descriptor, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is sent to the group of the tests is not for this process
    signal.set_wakeup_fd(wakened, warn_on_full_buffer=False)
    waited: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), wakes], [], [])
        if wakes in ready:
            os.read(wakes, 4096)
            _tell_ends(waited)
        if control.fileno() in ready:
            text, descriptors, _, _ = socket.recv_fds(control, LARGEST_JOB, MOST_DESCRIPTORS)
            if not text:
                return None
            job: dict[str, Any] = json.loads(text)
            job["received"] = descriptors
            pid = os.fork()
            if not pid:
                return job
            end = socket.socket(fileno=descriptors[0])
            for descriptor in descriptors[1:]:
                os.close(descriptor)
            waited[pid] = end
            _tell(end, pid)


def _tell_ends(waited: dict[int, socket.socket]) -> None:
    """Tell those who wait for the processes that have ended how the processes did."""
    while waited:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        if (end := waited.pop(pid, None)) is not None:  # else it is the interpreter for commands
            with end:
                _tell(end, status)


def _tell(end: socket.socket, number: int) -> None:
    with suppress(OSError):  # nobody listens any more
        end.sendall(f"{number}\n".encode())


def become(job: dict[str, Any]) -> None:
    """Be a process as it is before its program's first line."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in job["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, job["mask"])
    if job["session"]:
        os.setsid()
    if job["group"] is not None:
        os.setpgid(0, job["group"])
    if job["terminal"]:
        take_terminal(job["received"].pop())
    _take_descriptors(job)
    os.umask(job["umask"])
    os.chdir(job["cwd"])
    environment: dict[str, str] = job["environment"]
    take_environment(environment)
    words = [sys.executable, *job["words"]]
    if _imports_others(environment):
        os.execve(sys.executable, words, environment)
    shown.show(words, environment)
    sys.orig_argv[:] = words
    multiprocessing.process.ORIGINAL_DIR = os.getcwd()  # type: ignore[attr-defined]  # noqa: PTH109
    multiprocessing.process.current_process().authkey = os.urandom(32)
    if environment.get("PYTHONFAULTHANDLER"):
        faulthandler.enable(2)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = make_stream(number, mode)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    faults = sys.modules.get("orcha._service.faults")
    if faults is not None and any(name.startswith(("ORCHA_CRASH", "ORCHA_HOLD")) for name in environment):
        importlib.reload(faults)  # the only module that reads them at its import
    warm_helpers.install()


class _Exit:
    """Ends the process when the interpreter takes down `sys`, which is the last thing that a program can notice."""

    __slots__ = ("_code",)

    def __init__(self, code: int) -> None:
        self._code = code

    def __del__(self, leave: Callable[[int], NoReturn] = os._exit) -> None:
        leave(self._code)


def _leave_warm_modules() -> None:
    """Have the interpreter end without taking the modules down that it had before the program's first line.

    That would write to each page that holds one of their objects, and so copy all these pages: this cost three times as
    much as the fork. What the program made is taken down as ever.
    """
    if _ending.code is None:  # the interpreter that forks, or an end by a signal
        return
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except (OSError, ValueError):
            return  # the interpreter has an exit code of its own for this
    later = takewhile(lambda name: sys.modules[name] is not WARM_MODULES.get(name), reversed(sys.modules))
    own = {name: sys.modules[name] for name in (*BASIC_MODULES, *reversed([*later]))}
    exchange(sys.modules, own)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(own))
    vars(sys)["_warm_exit"] = _Exit(_ending.code)


class _Ending:
    """How the program has ended."""

    code: int | None = None


_ending = _Ending()
atexit.register(_leave_warm_modules)  # the first one to be registered is the last one to be called


def _take_descriptors(job: dict[str, Any]) -> None:
    """Have the descriptors that the process is given under their numbers, and no other one."""
    received: list[int] = job["received"][1:]
    numbers: list[int] = job["numbers"]
    above = max([2, *numbers, *job["received"]]) + 1
    parked = [os.dup2(descriptor, above + position) for position, descriptor in enumerate(received)]
    for descriptor, number in zip(parked, numbers, strict=True):
        os.dup2(descriptor, number, inheritable=True)
    kept = sorted({*numbers})
    for low, high in zip([-1, *kept], [*kept, 1 << 16], strict=True):
        if low + 1 < high:  # where there is nothing between the two, all would be closed
            os.closerange(low + 1, high)


def take_terminal(terminal: int) -> None:
    """Make a terminal this session's, and be its foreground."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    ioctl(terminal, termios.TIOCSCTTY, 0)
    os.tcsetpgrp(terminal, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)


def _imports_others(environment: dict[str, str]) -> bool:
    """Tell whether a new interpreter would find other modules than those that are imported here."""
    for folder in _given(environment):
        if folder == TESTS:  # nothing in it has the name of another module
            continue
        with suppress(OSError):
            for entry in os.scandir(folder):
                name, _, rest = entry.name.partition(".")
                if name in AT_START:
                    return True
                known = None if name == "support" else sys.modules.get(name)
                if known is None or not (rest or os.path.exists(f"{entry.path}/__init__.py")):  # noqa: PTH110
                    continue
                if not (getattr(known, "__file__", None) or "").startswith(f"{folder}/{name}"):
                    return True
    return False


def _given(environment: dict[str, str]) -> list[str]:
    """Give the folders of PYTHONPATH."""
    listed = environment.get("PYTHONPATH", "")
    return [os.path.abspath(part) for part in listed.split(os.pathsep)] if listed else []  # noqa: PTH100


def run(job: dict[str, Any], path: list[str]) -> NoReturn:
    """Run the job's program in the main module, to its end."""
    try:
        _run(job, path)
    except SystemExit as exit_:
        _ending.code = exit_.code & 0xFF if isinstance(exit_.code, int) else int(exit_.code is not None)
        raise
    except Exception:
        _ending.code = 1
        raise
    _ending.code = 0
    sys.exit()


def _run(job: dict[str, Any], path: list[str]) -> None:
    words: list[str] = job["words"]
    is_safe = words[0] == "-P"
    words = words[is_safe:]
    main = sys.modules["__main__"].__dict__
    for name in [name for name in main if not name.startswith("__")]:
        del main[name]
    given = _given(job["environment"])
    if TESTS not in given:
        for name in OF_TESTS:
            del sys.modules[name]
    if words[0] == "-m":
        sys.path[:] = [*([] if is_safe else [os.getcwd()]), *given, *path]  # noqa: PTH109
        sys.argv[:] = ["-m", *words[2:]]
        runpy._run_module_as_main(words[1])  # type: ignore[attr-defined]
    elif words[0] == "-c":
        sys.path[:] = [*([] if is_safe else [""]), *given, *path]
        sys.argv[:] = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), main)
    else:
        script = words[0]
        sys.path[:] = [*([] if is_safe else [os.path.dirname(os.path.realpath(script))]), *given, *path]  # noqa: PTH120
        sys.argv[:] = words
        main |= {"__file__": os.path.abspath(script), "__cached__": None}  # noqa: PTH100
        with open(script, "rb") as file:  # noqa: PTH123
            text = file.read()
        code = _compiled.get((script, text)) or compile(text, script, "exec")
        exec(code, main)


def main(descriptor: int, for_commands: int, first: str) -> None:
    """Serve on two sockets, commands of `COMMANDS` in a process of their own; in a child of one be its program.

    `first` is the folder of this file's package, which is no program's. The process that was started leaves at once,
    and what serves is not its parent's child: tests end their children.
    """
    if os.fork():
        os._exit(0)
    path = [entry for entry in sys.path if entry not in {"", first}]
    warm_up_for_commands()
    if os.fork():
        os.close(for_commands)
        warm_up()
    else:
        os.close(descriptor)
        descriptor = for_commands
    settle()
    control = socket.socket(fileno=descriptor)
    job = serve(control)
    if job is None:
        os._exit(0)
    control.detach()
    become(job)
    run(job, path)
