"""The unit of the machine's service in a machine with a real systemd."""

from __future__ import annotations

import json
from typing import Any

from real_systemd.guest import Guest
from support.waiting import wait_for

_FOLDER = "/etc/systemd/system"
_GROUP = "/sys/fs/cgroup/system.slice/orcha.service"
ALL = f"{_FOLDER}/orcha.service {_FOLDER}/orcha.socket {_FOLDER}/orcha.service.d /etc/orcha /var/lib/orcha /run/orcha"


class MachineUnit:
    """`orcha.service` as `orcha install-units --system` writes it."""

    def __init__(self, machine: Guest) -> None:
        """Know the machine."""
        self.machine = machine
        self._cursor = machine.run("journalctl", "--lines=0", "--show-cursor", "--quiet").rpartition("cursor: ")[2]

    def install(self, *options: str) -> None:
        """Write the units."""
        self.machine.run("orcha", "install-units", "--system", *options)
        self._read_again()

    def drop_in(self, *lines: str) -> None:
        """Have these lines in the section [Service]; only those of the last call hold."""
        self.machine.write(f"{_FOLDER}/orcha.service.d/test.conf", "\n".join(("[Service]", *lines, "")))
        self._read_again()

    def _read_again(self) -> None:
        self.machine.run("systemctl", "daemon-reload")

    def systemctl(self, *words: str, fails: bool = False) -> str:
        """Say something of the service to systemctl, as in `systemctl("restart")`; give what it says."""
        return self.machine.run("systemctl", *words, "orcha.service", fails=fails)

    def start(self) -> None:
        """Start it; returns when it serves."""
        self.systemctl("start")

    @property
    def pid(self) -> int:
        """Of the service, as the container has it; 0 where it does not run."""
        return int(self.systemctl("show", "--property=MainPID", "--value"))

    @property
    def status(self) -> str:
        """The line that the service has told."""
        return self.systemctl("show", "--property=StatusText", "--value")

    def restarted(self, pid: int) -> int:
        """Wait until it serves with another pid than this one; give it."""

        def serves_anew() -> int:
            state = self.systemctl("show", "--property=ActiveState", "--value")
            found = self.pid
            return found if state == "active" and found not in {0, pid} else 0

        return wait_for(serves_anew, what="another main process", interval=0.2)

    def log(self) -> str:
        """Give what the journal has of this unit since it was installed."""
        which = ("--unit=orcha.service", f"--after-cursor={self._cursor}")
        return self.machine.run("journalctl", "--no-pager", "--output=cat", *which)

    def rows(self) -> dict[str, Any]:
        """Give what is known of all petitions, by their ids."""
        text = self.machine.run("orcha", "--service", "/run/orcha/orcha.sock", "ps", "--all", "--json")
        return {row["id"]: row for row in json.loads(text)}

    def remove(self) -> None:
        """End the service and its commands, and remove all that they left.

        The group goes, too: once cgroup.kill was used of a group, Linux (seen with 6.18) kills each process that is
        cloned into it from elsewhere (clone3(2), CLONE_INTO_CGROUP), as systemd 257 starts a service. A service that
        was started in this group again would die at once, by SIGKILL.
        """
        kill = f"! test -d {_GROUP} || echo 1 >{_GROUP}/cgroup.kill"
        go = f"while test -d {_GROUP}; do find {_GROUP} -depth -type d -exec rmdir {{}} + 2>/dev/null; sleep 0.05; done"
        units = "orcha.socket orcha.service"
        end = f"systemctl stop --no-block {units}; {kill}; systemctl disable --now {units}; {kill}; {go}"
        self.machine.run("sh", "-c", f"{end}; rm -rf {ALL}; systemctl daemon-reload; systemctl reset-failed")
