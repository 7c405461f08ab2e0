"""Tracks for which attempt each thread works, so that processes it starts are known to belong to that attempt.

Five mechanisms work together, each where the others are blind:

- `os.register_at_fork`: a forked child puts itself under the tag of its thread's attempt before any other code runs,
  and closes all that belongs to the service.
- `subprocess.Popen`, `os.posix_spawn` and `os.system` start a program under the tag, from its first instruction on.
  After `subprocess.Popen` and `multiprocessing.Process.start` the new process is tagged where it has no tag yet.
- A thread that an attempt's thread starts works for the same attempt until the attempt ends, also a thread of
  `_thread.start_new_thread`. A function that is submitted to a ThreadPoolExecutor or a
  `multiprocessing.pool.ThreadPool` runs for the attempt that submits it, whichever attempt has started the pool's
  threads.
- An audit hook (PEP 578) notes other ways to start a process.
- One waitid(2) at the attempt's end notes processes that C code has started.

Beside them `reaping` notes whether SIGTERM has ended a process that the attempt has reaped.

The notes make the end cheap: an attempt that started no process needs no look at /proc. A process that a thread without
an attempt starts belongs to the service: it ends with the service, or earlier where :func:`adopt` assigns it.
"""

from __future__ import annotations

import _posixsubprocess
import _thread
import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing import process
from typing import Any, Self, TypeVar

from orcha._processes import at_fork, reaping, system
from orcha._processes.attempt_processes import AttemptProcesses
from orcha._processes.own_group import group, ignore_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

_POOL_MODULE = "multiprocessing.pool"
_CALLBACKS = frozenset({"callback", "error_callback"})
STARTS_A_PROCESS = frozenset(
    {"os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn", "subprocess.Popen"}
)
"""Audit events after which a new process may exist."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The resources of the service process that its children must not keep."""

    population: AttemptProcesses
    """Knows the processes of the service's attempts."""
    descriptors: Callable[[], Iterable[int]] = tuple
    """Returns the descriptors that a forked child closes: listening and client sockets, the lock, epoll.

    Called in the child, where locks of other threads may be held for ever: the function must take none.
    """
    forget: tuple[Callable[[], None], ...] = ()
    """Called in a forked child to drop secrets and leave the store alone; they take no lock, and an error ends it."""
    on_child: Callable[[], None] = lambda: None
    """Called in the service when a process may have been started; it must be quick and must not raise."""


class TrackedAttempt:
    """An attempt while a thread works for it; made by :func:`working_for`."""

    __slots__ = ("ended_by_sigterm", "may_have_processes", "ordinal", "thread")

    def __init__(self, ordinal: int) -> None:
        self.ordinal = ordinal
        self.thread = 0
        self.may_have_processes = False
        """Whether the attempt's end needs a look at /proc. Final after the ``with`` statement."""
        self.ended_by_sigterm = False
        """Whether SIGTERM has ended a process that the attempt has reaped, since `take_ended_by_sigterm` was called."""

    def __enter__(self) -> Self:
        self.thread = threading.get_native_id()  # not kept with the thread: a child that is forked has another number
        _this_thread.own = _working[self.ordinal] = self
        _in_context.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if not system.thread_has_no_children():
            _claim_children(self)
        _this_thread.own = None
        _in_context.set(None)
        _working.pop(self.ordinal, None)
        if self.may_have_processes:
            with_processes.discard(self.ordinal)


class _ThreadState(threading.local):
    """For which attempt the current thread works."""

    def __init__(self) -> None:
        self.own: TrackedAttempt | None = None
        self.follows: TrackedAttempt | None = None
        """The attempt of the thread that started this one."""
        self.apart = False

    @property
    def attempt(self) -> TrackedAttempt | None:
        """The attempt that the thread works for; None where that attempt is over."""
        if self.own is not None:
            return self.own
        follows = _in_context.get() or self.follows
        return follows if follows is not None and _working.get(follows.ordinal) is follows else None


_in_context: ContextVar[TrackedAttempt | None] = ContextVar("orcha-attempt", default=None)
"""The attempt whose thread made the current context: event loops run what they are given in a copy of that."""
_this_thread = _ThreadState()
_working: dict[int, TrackedAttempt] = {}
with_processes: set[int] = set()
"""The ordinals of the attempts that a thread works for and that may have started a process."""
_state: ServiceState | None = None
_audited = False
_pool_is_followed = False
_replaced: list[tuple[object, str, object]] = []


def working_for(ordinal: int) -> TrackedAttempt:
    """Say that the current thread works for an attempt until the ``with`` statement ends.

    Costs about 2 us. When it has ended, ``may_have_processes`` says whether the attempt's tag has to be swept.

    Example::

        with working_for(ordinal) as attempt:
            petition.action(callback, petition)
        if attempt.may_have_processes:
            population.sweep(ordinal)
    """
    return TrackedAttempt(ordinal)


@contextmanager
def apart() -> Iterator[None]:
    """Have processes of the current thread started for the service itself, and for no attempt."""
    before, _this_thread.apart = _this_thread.apart, True
    try:
        yield
    finally:
        _this_thread.apart = before


def adopt(ordinal: int, pid: int) -> list[int]:
    """Assign a process that the action has named, and its descendants, to an attempt; return their pids.

    Raises ValueError for a pid that no attempt can own (this process, pids up to 1, the service's helpers), and
    RuntimeError before :func:`install`.
    """
    state = _state
    if state is None:
        raise RuntimeError("the attempts of this process are not followed")
    pids = state.population.claim(ordinal, pid)
    note(ordinal)
    state.on_child()
    return pids


def note(ordinal: int) -> None:
    """Note that an attempt may have a process from now on, for example where its petition is pickled for one."""
    attempt = _working.get(ordinal)
    if attempt is not None:
        _expect(attempt)


def claim_children(ordinal: int) -> list[int]:
    """Assign the unnamed children of an attempt's thread to the attempt; return their pids. Callable from any thread.

    A process that has left such a child by now (double fork) belongs to the service, and ends with it.
    """
    attempt = _working.get(ordinal)
    return [] if attempt is None else _claim_children(attempt)


def take_ended_by_sigterm(ordinal: int) -> bool:
    """Return whether SIGTERM had ended a process that an attempt with a thread has reaped, and forget it."""
    attempt = _working.get(ordinal)
    if attempt is None or not attempt.ended_by_sigterm:
        return False
    attempt.ended_by_sigterm = False
    return True


def _note_ended_by_sigterm() -> None:
    attempt = _this_thread.attempt
    if attempt is not None:
        attempt.ended_by_sigterm = True


def current_ordinal() -> int:
    """Return the ordinal of the attempt that the current thread works for; 0 for none."""
    return 0 if _this_thread.attempt is None else _this_thread.attempt.ordinal


def install(state: ServiceState) -> None:
    """Begin to track the attempts of this process, until :func:`uninstall`.

    Raises RuntimeError where that has begun already.
    """
    global _state, _audited  # noqa: PLW0603 - fork handlers and audit hooks belong to the process
    if _state is not None:
        raise RuntimeError("the attempts of this process are followed already")
    system.prepare()
    _instrument(subprocess.Popen, "__init__", at_fork.SPAWNING)
    _instrument(
        process.BaseProcess, "start", nullcontext()
    )  # it may wait for its child, while other starts must not wait
    if hasattr(subprocess, "_fork_exec"):
        _start_tagged(subprocess, "_fork_exec")
    for name in ("posix_spawn", "posix_spawnp"):
        _start_tagged(os, name)
    _replace_system()
    _follow_threads()
    _start_in_group()
    for owner, name, replacement in reaping.noting(_note_ended_by_sigterm):
        _replace(owner, name, replacement)
    ignore_terminal()
    at_fork.install(_mark, _after_fork_in_child)
    if not _audited:
        sys.addaudithook(_audit)
        _audited = True
    _state = state


def uninstall() -> None:
    """Stop tracking. Fork handlers and audit hook stay, since Python cannot remove them, but do nothing."""
    global _state, _pool_is_followed
    _state, _pool_is_followed = None, False
    at_fork.uninstall()
    group.lead(0)
    while _replaced:
        owner, name, original = _replaced.pop()
        setattr(owner, name, original)


def _note_start() -> None:
    """Note that the current thread may start a process, or has started one."""
    state = _state
    if state is not None and not _this_thread.apart:
        _mark()
        state.on_child()


def _mark() -> None:
    """Mark the thread's attempt; without one mark every attempt, since any of them may name the process later."""
    attempt = _this_thread.attempt
    if not _this_thread.apart:
        for noted in (attempt,) if attempt is not None else tuple(_working.values()):
            _expect(noted)


def _expect(attempt: TrackedAttempt) -> None:
    """Note that an attempt may have processes from now on."""
    if not attempt.may_have_processes:
        attempt.may_have_processes = True
        with_processes.add(attempt.ordinal)
        if _state is not None:
            _state.population.expect(attempt.ordinal)


def _audit(event: str, _: tuple[object, ...]) -> None:
    if event in STARTS_A_PROCESS:
        _note_start()


def _instrument(owner: type, name: str, guard: AbstractContextManager[object]) -> None:
    """Have each new process tagged right after the method that starts it; the method runs under `guard`."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def start(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _state is None or kwargs.get("preexec_fn") is not None:  # the plugin's function may take its time
            result = original(self, *args, **kwargs)
        else:
            with guard:
                result = original(self, *args, **kwargs)
        state, attempt = _state, _this_thread.attempt
        if state is not None and not _this_thread.apart:
            _note_start()
            if attempt is not None and self.pid is not None:
                state.population.claim(attempt.ordinal, self.pid)
        return result

    _replace(owner, name, start)


def _start_tagged(owner: object, name: str) -> None:
    """Have a function of C start programs that carry their attempt's tag before their first instruction."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def start(*args: Any, **kwargs: Any) -> Any:
        state, attempt = _state, _this_thread.attempt
        if state is None or attempt is None or _this_thread.apart or any(map(callable, args)):
            return original(*args, **kwargs)  # with a preexec_fn it forks, and the child tags itself
        with at_fork.SPAWNING:
            return state.population.start(attempt.ordinal, functools.partial(original, *args, **kwargs))

    _replace(owner, name, start)


def _replace_system() -> None:
    """Have the shell of `os.system` carry its attempt's tag.

    system(3) itself lets other threads run before the shell is tagged, and ignores SIGINT in the whole service until
    the shell has ended.
    """
    original = os.system

    @functools.wraps(original)
    def system_tagged(command: Any) -> int:
        if _state is None or _this_thread.apart:
            return original(command)
        sys.audit("os.system", command)
        words = [b"sh", b"-c", os.fsencode(command)]
        pid = os.posix_spawn("/bin/sh", words, os.environ, setsigdef=(signal.SIGINT, signal.SIGQUIT))
        return os.waitpid(pid, 0)[1]

    _replace(os, "system", system_tagged)


def _start_in_group() -> None:
    """Start every process in the attempts' process group, unless the caller names a group or a session of its own."""
    for owner, name in ((subprocess, "_fork_exec"), (_posixsubprocess, "fork_exec")):
        if hasattr(owner, name):
            _replace(owner, name, _in_group(getattr(owner, name)))
    for name in ("posix_spawn", "posix_spawnp"):
        _replace(os, name, _spawned_in_group(getattr(os, name)))


def _in_group(original: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(original)
    def start(*args: Any) -> int:
        return original(*(args if _state is None or _this_thread.apart else group.started_in(args)))

    return start


def _spawned_in_group(original: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(original)
    def start(*args: Any, **options: Any) -> int:
        if _state is not None and not _this_thread.apart and "setpgroup" not in options and not options.get("setsid"):
            number = group.number
            if number:
                options["setpgroup"] = number
        return original(*args, **options)

    return start


def _follow_threads() -> None:
    """Have the threads and pool calls that an attempt's thread starts work for that attempt."""
    original = threading.Thread.start

    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        attempt = _this_thread.attempt
        if not _pool_is_followed and _POOL_MODULE in sys.modules:  # each pool begins with a thread
            _follow_pool()
        if _state is not None and attempt is not None and not _this_thread.apart:
            self.run = functools.partial(_run_for, attempt, self, self.run)  # type: ignore[method-assign]
        original(self)

    _replace(threading.Thread, "start", start)
    for name in ("start_new_thread", "start_new"):
        if hasattr(_thread, name):
            _replace(_thread, name, _started_for(getattr(_thread, name)))
    _replace(ThreadPoolExecutor, "submit", _submitted_for(ThreadPoolExecutor.submit))
    if _POOL_MODULE in sys.modules:
        _follow_pool()


def _follow_pool() -> None:
    """Have what is given to a ThreadPool run for the attempt that gives it; to import that module here takes 20 ms."""
    global _pool_is_followed  # noqa: PLW0603 - see install
    pool = getattr(sys.modules[_POOL_MODULE], "ThreadPool", None)
    if pool is None:  # the module is being imported
        return
    _pool_is_followed = True
    for name in ("apply_async", "map", "map_async", "starmap", "starmap_async", "imap", "imap_unordered"):
        _replace(pool, name, _given_for(getattr(pool, name)))


def _started_for(original: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(original)
    def start(function: Callable[..., object], *args: Any) -> int:
        attempt = _this_thread.attempt
        if _state is not None and attempt is not None and not _this_thread.apart and callable(function):
            function = functools.partial(_call_for, attempt, function)
        return original(function, *args)

    return start


def _submitted_for(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def submit(self: ThreadPoolExecutor, function: Callable[..., object], /, *args: Any, **kwargs: Any) -> Any:
        attempt = _this_thread.attempt
        if _state is not None and attempt is not None and not _this_thread.apart:
            function = functools.partial(_call_for, attempt, function)
        return original(self, function, *args, **kwargs)

    return submit


def _given_for(original: Callable[..., Any]) -> Callable[..., Any]:
    """Give a method of a ThreadPool whose function, callbacks and lazy items belong to the attempt of the caller."""
    is_lazy = original.__name__.startswith("imap")

    @functools.wraps(original)
    def give(self: object, func: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
        attempt = _this_thread.attempt
        if _state is None or attempt is None or _this_thread.apart:
            return original(self, func, *args, **kwargs)
        if is_lazy and args:
            args = (_items_for(attempt, args[0]), *args[1:])
        elif is_lazy and "iterable" in kwargs:
            kwargs["iterable"] = _items_for(attempt, kwargs["iterable"])
        callbacks = [functools.partial(_call_for, attempt, one) if callable(one) else one for one in args[1:]]
        for name in _CALLBACKS.intersection(kwargs):
            if callable(kwargs[name]):
                kwargs[name] = functools.partial(_call_for, attempt, kwargs[name])
        return original(self, functools.partial(_call_for, attempt, func), *args[:1], *callbacks, **kwargs)

    return give


def _items_for(attempt: TrackedAttempt, items: Iterable[T]) -> Iterator[T]:
    """Yield items that a thread of the pool asks for, each for the attempt."""
    iterator, end = iter(items), object()
    while (item := _call_for(attempt, next, iterator, end)) is not end:
        yield item


def _call_for(attempt: TrackedAttempt, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call a function on another thread for an attempt, whatever that thread did before."""
    before, _this_thread.follows = _this_thread.follows, attempt
    try:
        return function(*args, **kwargs)
    finally:
        _this_thread.follows = before


def _run_for(attempt: TrackedAttempt, thread: threading.Thread, run: Callable[[], None]) -> None:
    with contextlib.suppress(AttributeError):
        del thread.run  # its own again
    _this_thread.follows = attempt
    try:
        run()
    finally:
        _this_thread.follows = None


def _replace(owner: object, name: str, new: object) -> None:
    _replaced.append((owner, name, getattr(owner, name)))
    setattr(owner, name, new)


def _claim_children(attempt: TrackedAttempt) -> list[int]:
    state = _state
    if state is None:
        return []
    pids = state.population.claim_children(attempt.ordinal, attempt.thread)
    if pids:
        attempt.may_have_processes = True
        state.on_child()
    return pids


def _after_fork_in_child() -> tuple[Iterable[int], tuple[Callable[[], None], ...]]:
    """Put this child under the attempt's tag; return the descriptors to close and the functions to call."""
    global _state
    state, attempt = _state, _this_thread.attempt
    _state, _this_thread.own, _this_thread.follows = None, None, None
    _working.clear()
    with_processes.clear()
    if state is None:
        return (), ()
    if not _this_thread.apart:
        group.enter()
    if attempt is not None and not _this_thread.apart:
        state.population.claim_self(attempt.ordinal)
    return state.descriptors(), state.forget
