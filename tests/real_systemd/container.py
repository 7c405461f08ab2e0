"""A machine of its own with a real systemd: a root file system, and namespaces in which systemd is the first process.

It needs root, and cgroups of version 2. What it may see and do is said in `container.sh`; before systemd is started,
`Container.boot` looks with a harmless program whether that is so.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from real_systemd.guest import GUEST_ENVIRONMENT, Guest
from support.waiting import DEADLINE, wait_for

_START = Path(__file__).with_suffix(".sh")
_KEPT_BACK = (
    "sys_time,sys_module,sys_rawio,syslog,mac_admin,mac_override,audit_control,audit_read,wake_alarm,block_suspend"
    ",mknod,linux_immutable,bpf,perfmon"
)
"""Capabilities that reach beyond the namespaces."""
_BOUNDS = ",".join(f"-{name}" for name in _KEPT_BACK.split(","))
_NAMESPACES = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net")
_KINDS = ("mnt", "pid", "cgroup", "uts", "ipc", "net")
"""Their names below /proc/PID/ns, in the same order (namespaces(7))."""
_OWN_FILE_SYSTEMS = frozenset({"overlay", "proc", "sysfs", "cgroup2", "tmpfs", "devpts"})
_MOUNTED = 3
"""Column of /proc/self/mountinfo (proc(5)): which folder or file of a file system is mounted."""
_OWN_DEVICES = frozenset({"/null", "/zero", "/full", "/random", "/urandom", "/tty"})
_LOOK = """
import json, os
with open("/proc/self/cgroup") as groups, open("/proc/self/mountinfo") as mounts:
    print(json.dumps({
        "pid": os.getpid(),
        "processes": [name for name in os.listdir("/proc") if name.isdecimal()],
        "cgroup": groups.read().rpartition("0::")[2].strip(),
        "tmp": os.listdir("/tmp"),
        "run": sorted(set(os.listdir("/run")) - {"mount"}),
        "others": sorted({"work", ".outside"} & set(os.listdir("/"))),
        "mounts": [line.split() for line in mounts],
    }))
"""


def cannot_be_made() -> str | None:
    """Say why this machine can have no container; None where it can."""
    if os.geteuid():
        return "a container needs root"
    try:
        group = _make_group("orcha-try")
    except (OSError, StopIteration) as error:
        return f"a container needs a writable cgroup of version 2: {error!r}"
    group.rmdir()
    made = subprocess.run(("unshare", *_NAMESPACES, "--fork", "true"), capture_output=True, text=True, check=False)
    return f"no namespaces can be made here: {made.stderr.strip()}" if made.returncode else None


class Container(Guest):
    """A machine that can be booted, asked, and switched off.

    Example::

        container = Container([wheel, root], folder)
        container.boot()
        container.run("systemctl", "start", "orcha.service")
        container.close()

    """

    def __init__(self, lower: Sequence[Path], folder: Path) -> None:
        """Take the folders that lie one below the other as its root, the upper ones first; keep changes in a folder."""
        self._lower = ":".join(map(str, lower))
        self._folder = folder
        self._group = _make_group(f"orcha-{os.getpid()}-{folder.name}")
        self._process: subprocess.Popen[str] | None = None
        self._entries: list[int] = []
        """Descriptors of its namespaces: a pid could be that of a process of the machine around it by now."""

    # --- its life ------------------------------------------------------------------------------------------------

    def prepare(self, script: str) -> None:
        """Run lines of shell in it, before it is booted for the first time."""
        assert self._start("sh", "-ec", script).wait(DEADLINE) == 0

    def boot(self) -> None:
        """Start systemd, and wait until it has started everything; the same again after it was switched off."""
        self._look()
        self._process = self._start("/lib/systemd/systemd", "--log-target=journal", "--show-status=no")
        pid = wait_for(self._first_process, what="the first process of the container")
        self._entries = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in _KINDS]
        wait_for(lambda: self.said("systemctl", "is-system-running") in {"running", "degraded"}, what="the boot")

    def wait_until_off(self) -> None:
        """Wait until its first process has ended, and so all of its processes."""
        assert self._process is not None
        process = self._process
        wait_for(lambda: process.poll() is not None, 3 * DEADLINE, what="the end of the container")
        self._process = None
        while self._entries:
            os.close(self._entries.pop())

    def close(self) -> None:
        """End all of its processes, and remove its cgroups; its folder is left."""
        if self._process is not None:
            self._process.kill()  # and so its first process, by --kill-child
            self.wait_until_off()
        wait_for(lambda: "populated 0" in (self._group / "cgroup.events").read_text(), what="the end of its processes")
        for folder, _, _ in os.walk(self._group, topdown=False):
            Path(folder).rmdir()

    # --- what is done in it --------------------------------------------------------------------------------------

    def ask(self, *words: str, seconds: float = DEADLINE) -> tuple[int, str]:
        """Run a program as root to its end; give its code, and all that it wrote."""
        done = subprocess.run(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        return done.returncode, done.stdout

    def command(self, *words: str) -> list[str]:
        """Give the words that start a program in it as root, with standard streams of the machine around it."""
        assert self._entries, "the container is off"
        paths = [f"/proc/{os.getpid()}/fd/{descriptor}" for descriptor in self._entries]
        enter = ("nsenter", *(f"{option}={path}" for option, path in zip(_NAMESPACES, paths, strict=True)))
        bounded = ("setpriv", f"--bounding-set={_BOUNDS}")
        variables = [f"{name}={value}" for name, value in (GUEST_ENVIRONMENT | {"HOME": "/root"}).items()]
        return [*enter, "env", "--ignore-environment", *variables, *bounded, *words]

    # --- how it is made ------------------------------------------------------------------------------------------

    def _start(self, *words: str, output: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start a program as the first process of new namespaces."""
        enter = f'echo $$ >"{self._group}/cgroup.procs" && exec "$@"'
        made = ("unshare", *_NAMESPACES, "--fork", "--kill-child", "bash", _START, self._folder, self._lower)
        return subprocess.Popen(
            ("sh", "-c", enter, "sh", *map(str, made), *words),
            env=GUEST_ENVIRONMENT | {"container": "orcha", "CONTAINER_BOUNDS": _BOUNDS},
            stdin=subprocess.DEVNULL,
            stdout=output,
            text=True,
        )

    def _look(self) -> None:
        """Fail where a program in the container sees anything of the machine around it."""
        said, _ = self._start("/usr/bin/python3", "-c", _LOOK, output=subprocess.PIPE).communicate(timeout=DEADLINE)
        found = json.loads(said)
        mounts = found.pop("mounts")
        assert found == {"pid": 1, "processes": ["1"], "cgroup": "/", "tmp": [], "run": [], "others": []}
        others = [each for each in mounts if each[each.index("-") + 1] not in _OWN_FILE_SYSTEMS]
        files = {each[_MOUNTED] for each in others} - _OWN_DEVICES
        assert files == {f"{self._folder}/boot_id"}

    def _first_process(self) -> int:
        """Give the pid of the first process in the namespaces; 0 before it is there."""
        assert self._process is not None
        assert self._process.poll() is None, "the container has ended"
        text = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().strip()
        if not text or Path(f"/proc/{text}/comm").read_text() != "systemd\n":
            return 0
        return int(text)


def _make_group(name: str) -> Path:
    """Make a cgroup of version 2 below that of this process."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    point = next(each[1] for each in mounts if each[2] == "cgroup2")
    own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    group = Path(f"{point}{own}", name)
    with contextlib.suppress(FileExistsError):
        group.mkdir()
    return group
