"""A machine that qemu emulates, with a kernel of its own: so it has all cgroup controllers and all capabilities.

It is emulated in software, also where the machine around has KVM: KVM within a machine of a cloud may fail. So it is
slow: it boots in a minute, and starts a service in 15 s. It has no network.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from itertools import count
from pathlib import Path

from real_systemd.guest import GUEST_ENVIRONMENT, Guest
from support.waiting import DEADLINE, wait_for

_AGENT = Path(__file__).with_name("guest_agent.py")
_UNIT = """
[Unit]
After=basic.target
[Service]
ExecStart=/usr/local/sbin/guest-agent
Restart=always
RestartSec=1
"""
_DISK_BYTES = 2 << 30
_BOOT_SECONDS = 300.0
_PROGRAM = "qemu-system-x86_64"
_MACHINE = (
    *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536"),
    *("-nographic", "-nodefaults", "-no-reboot", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
    *("-device", "virtserialport,chardev=agent,name=orcha"),
)


def cannot_be_emulated() -> str | None:
    """Say why this machine can emulate none; None where it can."""
    if os.geteuid():
        return "its disk is made as root"
    return None if shutil.which(_PROGRAM) else "it needs qemu: apt-get install qemu-system-x86"


class VirtualMachine(Guest):
    """A machine of qemu; used as `Container`."""

    seconds = 5 * DEADLINE

    def __init__(self, root: Path, folder: Path) -> None:
        """Take a root file system that belongs to this machine alone; keep disk and sockets in a folder."""
        self._root = root
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._numbers = count()

    def prepare(self, script: str) -> None:
        """Run lines of shell in it, before it is booted for the first time; then its disk is made."""
        agent = self._root / "usr" / "local" / "sbin" / "guest-agent"
        agent.write_text(f"#!/usr/bin/python3\n{_AGENT.read_text()}")
        agent.chmod(0o755)
        units = self._root / "etc" / "systemd" / "system"
        (units / "guest-agent.service").write_text(_UNIT)
        (units / "multi-user.target.wants").mkdir(exist_ok=True)
        (units / "multi-user.target.wants" / "guest-agent.service").symlink_to("../guest-agent.service")
        mounted = 'mount -t proc proc "$1/proc" && exec chroot "$1" sh -ec "$2"'
        enter = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", mounted, "sh")
        subprocess.run((*enter, self._root, script), check=True, env=GUEST_ENVIRONMENT, timeout=DEADLINE)
        disk = ("mke2fs", "-q", "-t", "ext4", "-d", self._root, self._disk, str(_DISK_BYTES // 1024))
        subprocess.run(disk, check=True, timeout=2 * DEADLINE)

    @property
    def _disk(self) -> Path:
        return self._folder / "disk"

    def boot(self) -> None:
        """Start qemu, and wait until systemd has started everything."""
        (kernel,) = (self._root / "boot").glob("vmlinuz-*")
        (initial,) = (self._root / "boot").glob("initrd.img-*")
        place = self._folder / "agent"
        place.unlink(missing_ok=True)
        files = (
            *("-kernel", kernel, "-initrd", initial, "-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1"),
            *("-drive", f"file={self._disk},if=virtio,format=raw,cache=unsafe"),
            *("-serial", f"file:{self._folder / 'console'}"),
            *("-chardev", f"socket,id=agent,path={place},server=on,wait=off"),
        )
        self._process = subprocess.Popen(
            (_PROGRAM, *_MACHINE, *map(str, files)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        wait_for(place.exists, what="the socket of qemu")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(place))
        asked = ("systemctl", "is-system-running", "--wait")
        code, text = self.ask(*asked, seconds=_BOOT_SECONDS)  # it lies in the port until the agent reads there
        assert text.strip() in {"running", "degraded"}, (code, text)

    def wait_until_off(self) -> None:
        """Wait until it is switched off, and so qemu has ended."""
        assert self._process is not None
        self._process.wait(5 * DEADLINE)
        self._forget()

    def close(self) -> None:
        """Switch it off at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE)
            self._forget()

    def _forget(self) -> None:
        self._process = None
        if self._socket is not None:
            self._socket.close()

    def ask(self, *words: str, seconds: float = DEADLINE) -> tuple[int, str]:
        """Run a program as root to its end; give its code, and all that it wrote."""
        assert self._socket is not None
        number = next(self._numbers)
        environment = GUEST_ENVIRONMENT | {"HOME": "/root"}
        order = json.dumps({"id": number, "words": words, "environment": environment})
        self._socket.settimeout(seconds)
        self._socket.sendall(f"{order}\n".encode())
        said = b""
        while not said.endswith(b"\n"):
            data = self._socket.recv(1 << 16)
            assert data, "the machine is off"
            said += data
        answer = json.loads(said)
        assert answer["id"] == number, "an earlier program was given up"
        return answer["code"], answer["output"]
