"""A login elsewhere, made up on this machine: a program that stands in for ssh, and a real sshd where there is one."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Self

from support.ports import free_port
from support.service import RunningService
from support.waiting import wait_for

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
SSHD = shutil.which("sshd", path=_PATH) if shutil.which("ssh") and shutil.which("ssh-keygen") else None
"""The real one; None where there is none, and only the program that stands in for ssh can be asked."""
_SSH = """\
#!/bin/sh
echo "$$ $*" >> {folder}/logins
while :; do
  case "$1" in
    -o|-p|-l|-F|-i) shift 2 ;;
    -*) shift ;;
    *) break ;;
  esac
done
shift
[ -e {folder}/refusal ] && {{ cat {folder}/refusal >&2; exit 255; }}
if [ -e {folder}/turned_away ]; then
  rm {folder}/turned_away
  echo "kex_exchange_identification: read: Connection reset by peer" >&2
  exit 255
fi
cd {home}
[ -e {folder}/noise ] && cat {folder}/noise
exec env -i HOME={home} USER=far PATH={folder}/bin:/usr/bin:/bin ORCHA_HOME={orcha_home} FAR=yes /bin/sh -c "exec $*"
"""
_ORCHA = """\
#!/bin/sh
exec {python} -P -m orcha "$@"
"""


class FarLogin:
    """A login on which a service is found as ``ssh://box``, through a program that stands in for ssh.

    Attributes: `home` (the login's), `environment` (of clients here, who have an ORCHA_HOME of their own), `folder`
    (where `noise` holds what the startup files write, `refusal` what ssh says in place of a login, and where a file
    `turned_away` has the next login turned away, as a host does that has too many).
    """

    def __init__(self, folder: Path, service: RunningService) -> None:
        """Write the programs."""
        self.folder = folder / "far"
        self.home = self.folder / "home"
        self.here = self.folder / "here"
        for each in (self.home, self.here, self.folder / "bin"):
            each.mkdir(parents=True)
        place = f"{service.home}/127.0.0.1-{service.port}"
        self.ssh = self.folder / "ssh"
        self._write(self.ssh, _SSH.format(folder=self.folder, home=self.home, orcha_home=service.home))
        self._write(self.folder / "bin" / "orcha", _ORCHA.format(python=shlex.quote(sys.executable)))
        self.url = f"ssh://box{place}"
        own = {"ORCHA_HOME": str(self.here), "ORCHA_SSH": str(self.ssh), "ORCHA_SERVICE": self.url, "HERE": "yes"}
        self.environment = service.environment | own
        (self.folder / "logins").touch()

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def orcha(self, *words: str) -> list[str]:
        """Give the words of a command that finds the service by the environment."""
        return [sys.executable, "-m", "orcha", *words]

    def logins(self) -> list[int]:
        """Give the processes of all logins so far; each is an ssh, and the relay at its other end."""
        return [int(line.partition(" ")[0]) for line in (self.folder / "logins").read_text().splitlines()]

    def asked(self) -> list[str]:
        """Give the words of each ssh so far."""
        return [line.partition(" ")[2] for line in (self.folder / "logins").read_text().splitlines()]


class RealSshd:
    """A real sshd on a port of loopback, with keys of its own, for the user of this process.

    Example::

        with RealSshd(tmp_path) as sshd:
            environment = {"ORCHA_SSH": sshd.command}
    """

    def __init__(self, folder: Path) -> None:
        """Make the keys and the configuration."""
        self.folder = folder / "sshd"
        self.folder.mkdir(mode=0o700)
        self.port = free_port()
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)
        shutil.copy(self.folder / "user.pub", self.folder / "authorized")
        config = self.folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\nPidFile {self.folder}/pid\n"
            f"AuthorizedKeysFile {self.folder}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin yes\nPermitUserEnvironment no\nAcceptEnv FAR_*\n"
        )
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True) if os.geteuid() == 0 else None
        self._log = (self.folder / "log").open("wb")
        self._process = subprocess.Popen(
            [str(SSHD), "-D", "-e", "-f", config], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        wait_for(self._listens, what="sshd")
        options = {
            "IdentityFile": self.folder / "user",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": self.folder / "known",
            "LogLevel": "ERROR",
        }
        self.command = " ".join(["ssh", "-F", "none", *(f"-o {name}={value}" for name, value in options.items())])
        """What ORCHA_SSH has to be."""
        self.url = f"ssh://127.0.0.1:{self.port}"

    def why_refused(self) -> str:
        """Give why this user cannot log in, as where the account is locked; empty where that can be done."""
        words = [*self.command.split(), "-p", str(self.port), "127.0.0.1", "true"]
        tried = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return f"{tried.returncode}: {tried.stderr}" if tried.returncode else ""

    def sessions(self) -> list[int]:
        """Give the processes of all logins that go on, once there is one."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return wait_for(lambda: [int(pid) for pid in children.read_text().split()], what="a login")

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()
        return b"listening" in (self.folder / "log").read_bytes()

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        self._log.close()
