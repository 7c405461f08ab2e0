"""Forks the processes that a service starts for itself: the resource tracker, the supervisor of commands, the watcher.

A new interpreter for the resource tracker costs 30 ms of processor time, for the watcher 25, and for the supervisor 50.
The kernel's part is as in a new interpreter, since each of them is forked from the service itself: parent, limits, tag,
folder, group, cgroup. The Python part of supervisor and watcher is as in a new interpreter as well: they find modules
of Orcha that were imported for them alone before the service began, and beside these the standard library only.

What a new interpreter would do otherwise is shown by tests that have one: all of `tests/supervisor`, and each service
that is started with ``warm=False``.
"""

from __future__ import annotations

import _posixsubprocess
import faulthandler
import gc
import importlib
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NoReturn

from support.warm_surroundings import exchange, make_stream, shown, take_environment

TRACKER = re.compile(r"from multiprocessing\.resource_tracker import main;main\((\d+)\)")
"""What multiprocessing has a new interpreter execute as its resource tracker."""
OPTIONS = (["-I", "-S", "-X", "utf8"], ["-I", "-S"])
"""The options of the interpreter with which a service starts a program of its own."""
SUPERVISOR, WATCHER = "orcha._supervisor.main", "orcha._processes.watcher"
IMPORTED = (
    *(SUPERVISOR, "orcha._supervisor.shim", "orcha._supervisor.link", "orcha._supervisor.secret_files"),
    *(WATCHER, "orcha._processes.sweep", "fcntl", "pwd", "resource", "termios"),
)
"""What supervisors and watchers import."""
COLLECTION_OBJECTS = 700, 10, 10
"""When a new interpreter collects garbage."""
SIGNALS = signal.valid_signals()

_signal: Any = importlib.import_module("_signal")
"""Does what `signal` does, without a look at its enumerations, which costs 0.4 ms for all signals."""
_execute: Callable[..., int] = _posixsubprocess.fork_exec
_spawn: Callable[..., int] = os.posix_spawn
_modules: dict[str, ModuleType] = {}
"""The modules that supervisors and watchers find."""
_programs: dict[str, ModuleType] = {}
"""The module of each program, by the path of its file."""
_path: list[str] = []
_kept: list[object] = []
"""What is not to be taken down in a forked process."""


def prepare() -> None:
    """Import what supervisors and watchers find, and forget it: a service imports modules of its own."""
    _forget_orcha()
    for name in IMPORTED:
        importlib.import_module(name)
    _programs.update((str(sys.modules[name].__file__), sys.modules[name]) for name in (SUPERVISOR, WATCHER))
    allowed = sys.stdlib_module_names | {"orcha"}
    _modules.update((name, module) for name, module in sys.modules.items() if name.partition(".")[0] in allowed)
    _modules["__main__"] = ModuleType("__main__")
    _forget_orcha()
    _path.extend(entry for entry in sys.path if entry.startswith(sys.base_prefix) and "site-packages" not in entry)


def _forget_orcha() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "orcha"]:
        del sys.modules[name]


def install() -> None:
    """Fork what this program starts for itself from now on."""
    setattr(_posixsubprocess, "fork_exec", _fork_exec)  # noqa: B010 - its type says that it is always the same
    os.posix_spawn = _posix_spawn


def _fork_exec(*arguments: Any) -> int:
    """Fork multiprocessing's resource tracker; execute all else."""
    words = [os.fsdecode(word) for word in arguments[0]]
    match = TRACKER.fullmatch(words[-1])
    if match is None:
        return _execute(*arguments)
    kept: list[int] = sorted(arguments[3])
    leads_group = arguments[16] == 0
    pid = os.fork()
    if not pid:
        _track(words, kept, int(match[1]), leads_group=leads_group)
    if leads_group:
        os.setpgid(pid, pid)
    return pid


def _track(words: list[str], kept: list[int], descriptor: int, *, leads_group: bool) -> NoReturn:
    """Be the resource tracker that reads from this descriptor."""
    code = 1
    try:
        if leads_group:
            os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        _forget_handlers()
        for low, high in zip([2, *kept], [*kept, 1 << 16], strict=True):
            if low + 1 < high:
                os.closerange(low + 1, high)
        shown.show(words, dict(os.environ))
        from multiprocessing import resource_tracker

        resource_tracker.main(descriptor)
        code = 0
    finally:
        os._exit(code)


def _posix_spawn(path: Any, words: Sequence[Any], variables: Mapping[Any, Any], **options: Any) -> int:
    """Fork a supervisor or a watcher; execute all else."""
    program = next((len(each) + 1 for each in OPTIONS if list(words[1 : len(each) + 1]) == each), 0)
    if (
        not program
        or path != sys.executable
        or words[program : program + 1][0] not in _programs
        or options.keys() - {"file_actions", "setsigmask"}
    ):
        return _spawn(path, words, variables, **options)
    pid = os.fork()  # the child runs no line of Python before the interpreter has made itself ready
    if not pid:
        _be(program, [*words], dict(variables), **options)
    return pid


def _be(
    program: int,
    words: list[str],
    variables: dict[str, str],
    *,
    file_actions: Sequence[tuple[Any, ...]],
    setsigmask: Sequence[int],
) -> NoReturn:
    """Be the program whose path is the word of this number."""
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        gc.freeze()  # what the service has made is looked at no more
        gc.set_threshold(*COLLECTION_OBJECTS)
        gc.enable()
        _forget_service()
        _take_files(file_actions)
        _take_streams()
        take_environment(variables)
        shown.show(words, variables)
        sys.orig_argv[:], sys.argv[:], sys.path[:] = words, words[program:], _path
        exchange(sys.modules, _modules)
        signal.pthread_sigmask(signal.SIG_SETMASK, setsigmask)
        module = _programs[words[program]]
        arguments = words[program + 1 :]
        module.main(*(arguments if module.__name__ == SUPERVISOR else map(int, arguments)))
        code = 0
    except BaseException:  # noqa: BLE001 - a child never returns into its parent's code
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _forget_service() -> None:
    """Take back what a service has changed in this interpreter, and its signal handlers."""
    signal.set_wakeup_fd(-1)
    _forget_handlers()
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_IGN)
    faulthandler.disable()
    sys.excepthook = sys.__excepthook__
    tracking = sys.modules.get("orcha._processes.attempt_tracking")
    if tracking is not None:
        tracking.uninstall()
    os.posix_spawn = _spawn
    setattr(_posixsubprocess, "fork_exec", _execute)  # noqa: B010 - as above


def _forget_handlers() -> None:
    for number in SIGNALS:
        if callable(_signal.getsignal(number)):
            _signal.signal(number, _signal.SIG_DFL)


def _take_files(actions: Sequence[tuple[Any, ...]]) -> None:
    """Do the file actions of posix_spawn(3), and close all other descriptors."""
    for kind, number, *more in actions:
        if kind == os.POSIX_SPAWN_DUP2:
            os.dup2(number, more[0], inheritable=True)
        else:
            opened = os.open(*more)
            os.dup2(opened, number, inheritable=True)
            if opened != number:
                os.close(opened)
    os.closerange(3, 1 << 16)


def _take_streams() -> None:
    """Have the standard streams of the descriptors."""
    _kept.extend((sys.stdin, sys.stdout, sys.stderr))  # they would write what they hold
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        setattr(sys, name, getattr(sys, f"__{name}__"))
        stream = make_stream(number, mode)
        _kept.append(getattr(sys, f"__{name}__"))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


__all__ = ["install", "prepare"]
