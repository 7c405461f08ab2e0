"""Looks a user up as at a login: the account, the groups, and the limits that PAM gives.

A process of its own does this, and ends. A directory server or a module of PAM that hangs costs the shim
`LOOK_UP_SECONDS` at most; and what a module does to its process (limits, cgroup, descriptors) reaches no command, and
not the shim. What comes back is data.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time

from orcha._processes.tag import RLIMIT_LOCKS
from orcha._supervisor import pam_session
from orcha._supervisor.other_user import NoSuchUserError, find_account
from orcha.utils.named_tuple import NamedTuple

LOOK_UP_SECONDS = 20.0
"""A shim that does not answer for longer is ended (`shim_heartbeats.SILENCE_SECONDS`)."""
_RESOURCES = tuple(number for number in range(16) if number != RLIMIT_LOCKS)
"""The limits that Linux has: setrlimit(2). The limit of locks carries the tag of the attempt."""
_END = b"\n"
"""Ends an answer: a process that a module left behind may keep the pipe open."""


class Login(NamedTuple):
    """What a command of a user is started with."""

    uid: int
    gid: int
    name: str
    home: str
    shell: str
    groups: list[int]
    limits: list[tuple[int, int, int]]
    """Number, soft and hard limit of each resource for which the login has other limits than the service."""
    priority: int
    """The nice value: setpriority(2)."""


def look_up(uid: int, seconds: float = LOOK_UP_SECONDS) -> Login:
    """Look a user up, for `seconds` at most; raises NoSuchUserError, OSError."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = _answer(uid)
            os.write(writing, json.dumps(answer if isinstance(answer, str) else answer._asdict()).encode() + _END)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        text = _read(reading, time.monotonic() + seconds)
    finally:
        os.close(reading)
    if text is None:
        os.kill(pid, signal.SIGKILL)  # reaped with the other children: where the kernel holds it, that takes a while
        raise NoSuchUserError(
            f"the account and the limits of this user were not found within {seconds:g} s: the directory of users, or"
            " a module of PAM, does not answer"
        )
    os.waitpid(pid, 0)
    found = json.loads(text if text.endswith(_END) else b'"the process that looked the user up has ended"')
    if isinstance(found, str):
        raise NoSuchUserError(found)
    limits = [(number, soft, hard) for number, soft, hard in found["limits"]]
    return Login(**{**found, "limits": limits})


def _read(descriptor: int, until: float) -> bytes | None:
    """Read an answer, or all that comes; None where the end has not come by that moment."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    text = b""
    while (left := until - time.monotonic()) > 0:
        if poller.poll(left * 1000):
            more = os.read(descriptor, 65536)
            text += more
            if not more or text.endswith(_END):
                return text
    return None


def _answer(uid: int) -> Login | str:
    """Give the login of a user, or why there is none; in the process that looks."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    try:
        account = find_account(uid)
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        limits = _limits_of(account.pw_name)
    except (NoSuchUserError, pam_session.SessionRefusedError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - the shim hears of it, whatever it is
        return f"{getattr(error, 'strerror', None) or error}"
    return Login(
        account.pw_uid,
        account.pw_gid,
        account.pw_name,
        account.pw_dir or "/",
        account.pw_shell or "/bin/sh",
        groups,
        limits,
        os.getpriority(os.PRIO_PROCESS, 0),
    )


def _limits_of(user: str) -> list[tuple[int, int, int]]:
    """Give the limits that this user's login has, and the service has not; raises SessionRefusedError."""
    if pam_session.missing() is not None:
        return []
    before, root = _own_limits(), os.stat("/")
    pam_session.open_session(user)
    there = os.stat("/")
    if (there.st_dev, there.st_ino) != (root.st_dev, root.st_ino):  # limits.conf(5) of Debian has `chroot`
        raise pam_session.SessionRefusedError("the session has another root folder, and Orcha changes to none")
    return [(number, *own) for number, own in _own_limits().items() if own != before[number]]


def _own_limits() -> dict[int, tuple[int, int]]:
    return {number: resource.getrlimit(number) for number in _RESOURCES}


__all__ = ["LOOK_UP_SECONDS", "Login", "look_up"]
