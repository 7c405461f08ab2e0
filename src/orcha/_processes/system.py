"""System calls that keep the interpreter's lock (GIL).

Python releases that lock around each call that might wait. The calls here never wait, and beside a thread that computes
it takes 5 ms to get the lock back: reading the limits of 80 processes took 516 ms with such a thread, else 1.5 ms.
:func:`prepare` looks the calls up through ctypes; before that, and without ctypes, the os module makes them.
"""

from __future__ import annotations

import functools
import operator
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

_OWN_THREAD_ONLY = 0x20000000  # __WNOTHREAD of <linux/wait.h>
_CHILDREN = os.WEXITED | os.WNOHANG | os.WNOWAIT | _OWN_THREAD_ONLY
_READ = os.O_RDONLY | os.O_CLOEXEC
_READ_BYTES = 65536

_waitid: Callable[[int, int, None, int], int] | None = None
_read_file: Callable[[bytes], bytes] | None = None
_call_under: Callable[[int, int, Callable[[], Any]], Any] | None = None


def prepare() -> None:
    """Look the calls up in the C library; takes some milliseconds the first time."""
    global _waitid, _read_file, _call_under
    try:
        import ctypes

        library = ctypes.PyDLL(None, use_errno=True)
        waitid = library.waitid
        waitid.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_void_p, ctypes.c_int]
        _waitid, _read_file, _call_under = waitid, _make_reader(ctypes, library), _make_caller(ctypes, library)
    except (ImportError, OSError, AttributeError):
        return


def thread_has_no_children() -> bool:
    """Return whether the current thread has no child, not even a zombie; reaps none. Takes 0.9 us."""
    if _waitid is not None:
        return _waitid(os.P_ALL, 0, None, _CHILDREN) != 0
    try:
        os.waitid(os.P_ALL, 0, _CHILDREN)
    except OSError:
        return True
    return False


def read_small(path: str) -> bytes:
    """Read the first 64 KiB of a file of /proc; raises OSError."""
    if _read_file is not None:
        return _read_file(os.fsencode(path))
    descriptor = os.open(path, _READ)
    try:
        return os.read(descriptor, _READ_BYTES)
    finally:
        os.close(descriptor)


def call_under_limit(resource: int, soft: int, call: Callable[[], T]) -> T:
    """Call a function while this process has another soft limit, which processes that it starts inherit.

    Setting the limit, the call, and setting the limit back happen without a step of Python in between, so that no other
    thread runs meanwhile. So `call` must be of C and keep the lock, like a partial of ``_posixsubprocess.fork_exec``.
    Without ctypes the call is made under the present limit.
    """
    return call() if _call_under is None else _call_under(resource, soft, call)


def _make_caller(ctypes: Any, library: Any) -> Callable[[int, int, Callable[[], Any]], Any]:
    prlimit = library.prlimit64 if hasattr(library, "prlimit64") else library.prlimit
    limits = ctypes.c_uint64 * 2
    prlimit.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.POINTER(limits), ctypes.POINTER(limits)]

    def call_under(resource: int, soft: int, call: Callable[[], Any]) -> Any:
        before = limits()
        if prlimit(0, resource, None, before) != 0:
            return call()
        go = functools.partial(prlimit, 0, resource, limits(soft, before[1]), None)
        back = functools.partial(prlimit, 0, resource, before, None)
        steps: tuple[Callable[[], Any], ...] = (go, call, back)
        try:
            return list(map(operator.call, steps))[1]
        except BaseException:
            back()
            raise

    return call_under


def _make_reader(ctypes: Any, library: Any) -> Callable[[bytes], bytes]:
    open_, read, close = library.open, library.read, library.close
    read.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    read.restype = ctypes.c_ssize_t

    def read_file(path: bytes) -> bytes:
        descriptor = open_(path, _READ)
        if descriptor < 0:
            raise _error(ctypes.get_errno(), path)
        buffer = ctypes.create_string_buffer(4096)
        parts = []
        while True:
            count = read(descriptor, buffer, 4096)
            if count > 0:
                parts.append(buffer.raw[:count])
            if count < 4096:  # also at an error: a process that ended while it was read
                break
        failure = ctypes.get_errno() if count < 0 else 0
        close(descriptor)
        if failure:
            raise _error(failure, path)
        return b"".join(parts)

    return read_file


def _error(number: int, path: bytes) -> OSError:
    return OSError(number, os.strerror(number), os.fsdecode(path))
