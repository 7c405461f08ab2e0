"""Becomes another user for good: what a child of root's shim does before it executes a user's command.

The order matters. Groups, priority and higher limits are root's to set, so they come first; the user id comes last, and
what is looked at afterwards (the folder, the program) is looked at as the user. Nothing of root is left: no
supplementary group, no capability in any set, no keyring of root's session, no memory of the shim that the user could
read.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pwd
import resource
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._supervisor.login import Login

DEFAULT_UMASK_BITS = 0o022
_MAX_UID = (1 << 32) - 2
"""The largest user id: one more means "leave it as it is" to setresuid(2)."""
_NOBODY_UID = 65534
"""What the kernel shows in place of a user that this user namespace does not have."""
_PR_SET_DUMPABLE = 4
_CAPABILITY_VERSION_3 = 0x20080522
_KEYCTL_JOIN_SESSION_KEYRING = 1
_KEYCTL_NUMBERS = {"x86_64": 250, "i386": 288, "i686": 288, "ppc64le": 271, "s390x": 280, "armv7l": 311, "armv6l": 311}
_KEYCTL_NUMBER = _KEYCTL_NUMBERS.get(os.uname().machine, 219)
"""keyctl(2) has no function in the C library; 219 is its number on every newer architecture."""
_NO_KEYRINGS = frozenset((errno.ENOSYS, errno.EPERM))
"""The kernel, or a container, has no keyrings: then the command cannot reach one either."""
_LIBC = ctypes.CDLL(None, use_errno=True)
_LAST = frozenset((resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_NOFILE))
"""Limits that could hinder this process itself before it executes the command, so that they are lowered last."""
_BOUNDLESS = (1 << 64) - 1


class NoSuchUserError(Exception):
    """Nobody can be this user here, or nothing is known of the user; the text says why."""


def find_account(uid: int) -> pwd.struct_passwd:
    """Give the account of a user, as the machine knows it at this moment; raises NoSuchUserError."""
    if not 0 < uid <= _MAX_UID or uid == _NOBODY_UID:
        raise NoSuchUserError(f"uid {uid} can be no user's")
    try:
        return pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        raise NoSuchUserError(f"this machine has no user with the uid {uid} (any more)") from None


def environment_of(login: Login, given: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of a user's command: what came with it, and the user's own HOME, USER, LOGNAME and SHELL."""
    own = {"HOME": login.home, "USER": login.name, "LOGNAME": login.name}
    return {**given, **own, "SHELL": login.shell}


def become(login: Login) -> None:
    """Be this user from now on, with the user's groups, priority and limits; raises OSError.

    The process is root's before. Afterwards the user may send it signals, but may neither trace it nor read its memory,
    until it executes something. :func:`limit_at_last` has to follow.
    """
    _be_killed_as_others()
    os.setpriority(os.PRIO_PROCESS, 0, login.priority)
    for number, *limits in login.limits:
        soft, hard = map(_larger, resource.getrlimit(number), limits) if number in _LAST else limits
        resource.setrlimit(number, (soft, hard))
    os.setgroups(login.groups)
    os.setresgid(login.gid, login.gid, login.gid)
    os.setresuid(login.uid, login.uid, login.uid)
    _LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # the kernel does so too, unless fs.suid_dumpable says otherwise
    _drop_capabilities()
    _leave_keyring()
    if os.getresuid() != (login.uid,) * 3 or os.getresgid() != (login.gid,) * 3:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def limit_at_last(login: Login) -> None:
    """Have those limits, too, that could hinder this process, which executes the command now; raises OSError."""
    for number, soft, hard in login.limits:
        if number in _LAST:
            resource.setrlimit(number, (soft, hard))


def _larger(one: int, other: int) -> int:
    """Give the larger of two limits.

    >>> _larger(5, resource.RLIM_INFINITY) == resource.RLIM_INFINITY, _larger(5, 7)
    (True, 7)
    """
    return max(one, other, key=lambda limit: _BOUNDLESS if limit == resource.RLIM_INFINITY else limit)


def _be_killed_as_others() -> None:
    """Be no harder to kill than others when memory runs out, where the service is: proc(5), oom_score_adj."""
    with contextlib.suppress(OSError, ValueError), open("/proc/self/oom_score_adj", "r+", encoding="ascii") as file:
        if int(file.read()) < 0:
            file.seek(0)
            file.write("0")


def _drop_capabilities() -> None:
    """Have no capability in any set: setresuid(2) clears all sets but the inheritable one. Raises OSError."""
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0))
    if _LIBC.capset(header, ctypes.create_string_buffer(24)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _leave_keyring() -> None:
    """Leave root's session keyring, whose keys everybody in it may use, for an empty one. Raises OSError."""
    if _LIBC.syscall(ctypes.c_long(_KEYCTL_NUMBER), ctypes.c_long(_KEYCTL_JOIN_SESSION_KEYRING), None) < 0:
        number = ctypes.get_errno()
        if number not in _NO_KEYRINGS:
            raise OSError(number, os.strerror(number))


__all__ = ["DEFAULT_UMASK_BITS", "NoSuchUserError", "become", "environment_of", "find_account", "limit_at_last"]
