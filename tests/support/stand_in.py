"""A service whose manager "commands" runs commands in action threads: ``python stand_in.py ADDRESS PORT``.

It stands for the built-in manager where a test is about clients: messages, channel values and finals are the same.
How many run at once says the environment's TEST_LIMIT (default 8).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import IO, Any

from orcha.interfaces import Message, Petition, ServiceWrapper, start_service
from orcha.lib import Manager


@dataclass(eq=False)
class Command(Petition):
    """A petition that runs the command of its message."""

    extras: dict[str, Any] = field(compare=False, default_factory=dict)


def _pump(petition: Command, stream: int, pipe: IO[bytes]) -> None:
    while data := os.read(pipe.fileno(), 65_536):
        petition.communicate((stream, data))
    pipe.close()


def run(callback: Any, petition: Command) -> None:
    """Run it, and put what it writes."""
    extras = petition.extras
    try:
        process = subprocess.Popen(
            extras["argv"],
            cwd=extras["cwd"],
            env=extras["env"],
            umask=extras["umask"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        petition.communicate(f"cannot execute {extras['argv'][0]!r}: {error.strerror}")
        petition.finish(127 if isinstance(error, FileNotFoundError) else 126)
        return
    callback(process.pid)
    assert process.stdout is not None
    assert process.stderr is not None
    pumps = [
        threading.Thread(target=_pump, args=(petition, stream, pipe))
        for stream, pipe in ((1, process.stdout), (2, process.stderr))
    ]
    for pump in pumps:
        pump.start()
    for pump in pumps:
        pump.join()
    code = process.wait()
    petition.finish(code if code >= 0 else 128 - code)


class StandIn(Manager):
    """Runs commands as the built-in manager does, seen from a client."""

    limit = int(os.environ.get("TEST_LIMIT", "8"))

    def on_start(self, *args: Any) -> Any:
        """Do what the base does."""
        return super().on_start(*args)

    def on_finish(self, *args: Any) -> Any:
        """Do what the base does."""
        return super().on_finish(*args)

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make a petition that runs the message's command."""
        made = Command(m.id, m.extras.get("queue"), run, self.below_limit, extras=m.extras)
        made.priority = m.extras.get("priority", 0)
        return made

    def below_limit(self, *_: Any) -> bool:
        """Allow `limit` at once."""
        return self.running_processes < self.limit


def main(address: str, port: str) -> None:
    """Serve until SIGTERM."""
    from orcha import properties

    properties.plugin = "commands"
    start_service(ServiceWrapper(StandIn(listen_address=address, port=int(port))))


if __name__ == "__main__":
    main(*sys.argv[1:])
