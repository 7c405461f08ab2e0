"""What tests do in a machine with a real systemd, whichever way that machine was made."""

from __future__ import annotations

from abc import ABC, abstractmethod

from support.waiting import DEADLINE

GUEST_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class Guest(ABC):
    """A machine that can be booted, asked, and switched off."""

    seconds = DEADLINE
    """For so long a program may run in it."""

    @abstractmethod
    def prepare(self, script: str) -> None:
        """Run lines of shell in it, before it is booted for the first time."""

    @abstractmethod
    def boot(self) -> None:
        """Start systemd, and wait until it has started everything; the same again after it was switched off."""

    @abstractmethod
    def wait_until_off(self) -> None:
        """Wait until it is switched off."""

    @abstractmethod
    def close(self) -> None:
        """End all of its processes; its folder is left."""

    @abstractmethod
    def ask(self, *words: str, seconds: float = DEADLINE) -> tuple[int, str]:
        """Run a program as root to its end; give its code, and all that it wrote."""

    def run(self, *words: str, fails: bool = False) -> str:
        """Run a program as root to its end, and give what it wrote, without the last newline.

        It must end with 0, or with something else where it `fails`.
        """
        code, text = self.ask(*words, seconds=self.seconds)
        assert bool(code) == fails, f"{' '.join(words)}: {code}: {text}"
        return text.removesuffix("\n")

    def said(self, *words: str) -> str:
        """Run a program as root; give what it wrote, whatever its code is."""
        return self.ask(*words, seconds=self.seconds)[1].strip()

    def run_as(self, user: str, script: str, *, fails: bool = False) -> str:
        """Run a line of shell as a user who is not logged in; else as `run`."""
        return self.run(
            "runuser", "-u", user, "--", "env", f"HOME=/home/{user}", "sh", "-c", f"cd; {script}", fails=fails
        )

    def log_in(self, user: str, script: str) -> str:
        """Log a user in, run a line of shell in that session, log the user out; else as `run`."""
        session = ("--property=PAMName=login", f"--property=User={user}", f"--property=WorkingDirectory=/home/{user}")
        return self.run("systemd-run", "--quiet", "--pipe", "--wait", "--collect", *session, "bash", "-lc", script)

    def write(self, path: str, text: str) -> None:
        """Write a file, and the folders above it."""
        script = 'mkdir -p "$(dirname "$1")"; printf %s "$2" >"$1"'
        self.run("sh", "-c", script, "sh", path, text)

    def processes(self, name: str) -> list[int]:
        """Give the pids, as the container has them, of the processes with this name."""
        return [int(word) for word in self.said("pgrep", "--exact", name).split()]

    def running(self, words: str) -> list[int]:
        """Give the pids of the processes in whose command line these words stand."""
        return [int(word) for word in self.said("pgrep", "--full", words).split()]
