"""Limits on an attempt's memory, processes and share of the processors, by cgroups where they are writable.

Version 2 where the controllers are handed to this process's group, else version 1 (cgroups(7)).
"""

from __future__ import annotations

import contextlib
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._supervisor.contract import CommandSpec

_PREFIX = "orcha-"
SERVICE_GROUP, COMMANDS_GROUP = "orcha-service", "orcha-commands"
"""Below the group that systemd hands to a service (Delegate=yes): where the service is (DelegateSubgroup= of its unit),
and where the supervisor is, its shims, and commands without limits of their own.
"""
_CONTROLLERS = {"memory": "memory", "pids": "pids", "cpu_share": "cpu"}
_PERIOD_MICROSECONDS = 100_000  # microseconds
_GROUP_MODE_BITS = 0o755
"""As of the groups that systemd makes."""


class NotAvailableError(Exception):
    """A limit that cannot be set on this system."""


class CgroupPlaces:
    """The folders in which cgroups can be made, by controller."""

    def __init__(
        self, mounts: str = "/proc/self/mounts", own: str = "/proc/self/cgroup", *, changes: bool = True
    ) -> None:
        """Look which cgroup file systems are mounted, and in which cgroups this process is.

        With `changes` the controllers that are handed to this process's group are handed on to the groups below.
        """
        self._changes = changes
        self.unified: str | None = None
        self.bases: dict[str, str] = {}
        with contextlib.suppress(OSError):
            self._find(_lines(mounts), [line.split(":", 2) for line in _lines(own)])

    @property
    def available(self) -> frozenset[str]:
        """The limits of a specification that can be set here."""
        return frozenset(name for name, controller in _CONTROLLERS.items() if controller in self.bases)

    def _find(self, mounts: list[str], own: list[list[str]]) -> None:
        paths = {name: entry[2] for entry in own if len(entry) == 3 for name in entry[1].split(",")}
        for line in mounts:
            _, point, kind, options, *_ = line.split(" ")
            if kind == "cgroup2" and "" in paths:
                self._find_unified(os.path.normpath(point + paths[""]))
            elif kind == "cgroup":
                for name in set(options.split(",")) & set(_CONTROLLERS.values()) & set(paths):
                    self._add(name, os.path.normpath(point + paths[name]))

    def _find_unified(self, own: str) -> None:
        base = _handed_to_service(own)
        if not os.access(base, os.W_OK) or not os.access(f"{base}/cgroup.procs", os.W_OK):
            return
        wanted = set(_read(f"{base}/cgroup.controllers").split()) & set(_CONTROLLERS.values())
        if not self._changes:  # whether they can be handed on is not known before it is tried
            self.bases |= dict.fromkeys(wanted, base)
            return
        for name in sorted(wanted - set(_read(f"{base}/cgroup.subtree_control").split())):
            with contextlib.suppress(OSError):
                _write(f"{base}/cgroup.subtree_control", f"+{name}")
        for name in wanted & set(_read(f"{base}/cgroup.subtree_control").split()):
            self.unified = base
            self.bases[name] = base

    def _add(self, name: str, base: str) -> None:
        if name not in self.bases and os.access(base, os.W_OK):
            self.bases[name] = base

    def remove(self, shim: str) -> None:
        """Remove the cgroups of a dead shim, whose processes have ended."""
        for base in set(self.bases.values()):
            with contextlib.suppress(OSError):
                os.rmdir(f"{base}/{_PREFIX}{shim}")


def enter_commands_group(mounts: str = "/proc/self/mounts", own: str = "/proc/self/cgroup") -> bool:
    """Leave the group of a service to which systemd has handed a group; False where none was, or it is not writable.

    The group of the service then holds the service alone, and what happens to that group happens to no command.
    """
    entries = [line.split(":", 2) for line in _lines(own)]
    path = next((entry[2] for entry in entries if len(entry) == 3 and not entry[1]), "")
    for line in _lines(mounts):
        _, point, kind, *_ = line.split(" ")
        inside = os.path.normpath(point + path)
        base = _handed_to_service(inside)
        if kind != "cgroup2" or base == inside:
            continue
        try:
            _make_group(f"{base}/{COMMANDS_GROUP}")
            _write(f"{base}/{COMMANDS_GROUP}/cgroup.procs", "0")
        except OSError:
            return False
        return True
    return False


def _handed_to_service(own: str) -> str:
    """Return the group that systemd has handed to the service, where a process's own group lies below that group."""
    folder, name = os.path.split(own)
    return folder if name in {SERVICE_GROUP, COMMANDS_GROUP} else own


def groups_of(pid: int, mounts: str = "/proc/self/mounts") -> list[str]:
    """Return the `cgroup.procs` files through which a process enters the cgroups of another one, where they differ."""
    found = set()
    own = set(_lines("/proc/self/cgroup"))
    theirs = [line.split(":", 2) for line in _lines(f"/proc/{pid}/cgroup") if line not in own]
    paths = {name: entry[2] for entry in theirs if len(entry) == 3 for name in entry[1].split(",")}
    for line in _lines(mounts):
        _, point, kind, options, *_ = line.split(" ")
        names = {""} if kind == "cgroup2" else set(options.split(",")) if kind == "cgroup" else set()
        found |= {os.path.normpath(f"{point}/{paths[name]}") for name in names & set(paths)}
    return [f"{folder}/cgroup.procs" for folder in sorted(found) if os.access(f"{folder}/cgroup.procs", os.W_OK)]


class AttemptCgroup:
    """The cgroups of one attempt."""

    def __init__(self, places: CgroupPlaces, shim: str, spec: CommandSpec) -> None:
        """Make the cgroups with the limits of the specification; raises NotAvailableError."""
        self._places = places
        self._folders: dict[str, str] = {}
        for field, controller in _CONTROLLERS.items():
            value = getattr(spec, field)
            if value is not None:
                try:
                    self._limit(field, controller, value, shim)
                except OSError as error:
                    self.remove()
                    raise NotAvailableError(f"the limit '{field}' is not available here: {error.strerror}") from error

    @property
    def procs(self) -> list[str]:
        """The files through which a process enters the cgroups."""
        return [f"{folder}/cgroup.procs" for folder in sorted(set(self._folders.values()))]

    def members(self) -> list[int]:
        """Return the pids of all processes in the cgroups."""
        return sorted({int(word) for path in self.procs for word in _read(path).split()})

    def ran_out(self) -> bool:
        """Return whether the kernel killed a process for want of memory."""
        folder = self._folders.get("memory")
        if folder is None:
            return False
        text = _read(f"{folder}/memory.events") or _read(f"{folder}/memory.oom_control")
        counts = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        return int(counts.get("oom_kill", "0")) > 0

    def peak(self) -> int:
        """Return the most memory that all processes had at once, in bytes; 0 where it is unknown."""
        folder = self._folders.get("memory")
        if folder is None:
            return 0
        return int(_read(f"{folder}/memory.peak") or _read(f"{folder}/memory.max_usage_in_bytes") or 0)

    def remove(self) -> None:
        """Remove the cgroups, which have no processes any more."""
        for folder in set(self._folders.values()):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        self._folders = {}

    def _limit(self, field: str, controller: str, value: int, shim: str) -> None:
        base = self._places.bases.get(controller)
        if base is None:
            raise OSError(errno.EACCES, f"no writable cgroup with the controller '{controller}'")
        folder = f"{base}/{_PREFIX}{shim}"
        _make_group(folder)
        self._folders[controller] = folder
        for name, text, needed in _settings(field, value, unified=base == self._places.unified):
            try:
                _write(f"{folder}/{name}", text)
            except OSError:
                if needed:
                    raise


def _settings(field: str, value: int, *, unified: bool) -> list[tuple[str, str, bool]]:
    """Return for each setting: the file, the text, and whether the limit fails without it."""
    if field == "pids":
        return [("pids.max", str(value), True)]
    if field == "memory":
        if unified:
            return [("memory.max", str(value), True), ("memory.swap.max", "0", False)]
        return [("memory.limit_in_bytes", str(value), True), ("memory.memsw.limit_in_bytes", str(value), False)]
    quota = str(max(1000, value * _PERIOD_MICROSECONDS // 100))
    if unified:
        return [("cpu.max", f"{quota} {_PERIOD_MICROSECONDS}", True)]
    return [("cpu.cfs_period_us", str(_PERIOD_MICROSECONDS), True), ("cpu.cfs_quota_us", quota, True)]


def _make_group(folder: str) -> None:
    """Make a cgroup, where it is not there, which everybody may read and only the user of the service may write.

    A command of the machine's service belongs to another user, and looks there for its limits.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    os.chmod(folder, _GROUP_MODE_BITS)  # whatever the umask of the service is


def _lines(path: str) -> list[str]:
    return _read(path).splitlines()


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # the file is never created: a missing limit is an error
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)
