"""Processes that /proc hides, ended as a service ends those of its attempts: ``python hiding.py UID FOLDER WHO``.

Run by root where /proc is mounted with hidepid=2. `WHO` is `action`, `orphan` or `command`, or a service that is killed
together with its watcher and started again: `restart` or `restart too late`. Prints what came of it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

from orcha.interfaces import Message, Petition
from orcha.lib import Manager
from support.ports import free_port
from support.waiting import wait_for

HIDES = """
import ctypes, os, signal, sys
if sys.argv[1] == "orphan":
    if os.fork():
        os._exit(0)
    os.setsid()
PR_SET_DUMPABLE = 4
assert ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
sys.stdout.write(f"{os.getpid()}\\n")
sys.stdout.flush()
os.close(1)
os.close(2)
while True:
    signal.pause()
"""


def python() -> str:
    """Give an interpreter that every user may execute."""
    return "/usr/bin/python3"


def of_an_action(how: str) -> str:
    """Have an attempt's terminator end it, when the attempt's thread has started it."""
    from orcha._processes import attempt_tracking, tag
    from orcha._processes.attempt_processes import TaggedProcesses
    from orcha._processes.identity import read_stat
    from orcha._processes.terminator import AttemptTerminator

    population = TaggedProcesses(tag.new_nonce())
    attempt_tracking.install(attempt_tracking.ServiceState(population))
    with attempt_tracking.working_for(7) as attempt:
        process = subprocess.Popen(
            [python(), "-c", HIDES, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        pid = int(process.stdout.readline())
    assert attempt.may_have_processes
    assert read_stat(pid) is None, "it is shown: nothing is tested"
    descriptor = os.pidfd_open(pid)
    done: list[object] = []
    over = threading.Event()

    def note(_ordinal: int, survivors: tuple[int, ...], number: int | None) -> None:
        done.extend((survivors, number and int(number)))
        over.set()

    ending = AttemptTerminator(population, attempt_tracking.claim_children, note)
    ending.begin(7)
    assert over.wait(60), "it is not ended"
    ending.stop()
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return f"{'ended' if poller.poll(10_000) else 'lives'} {done}"


def of_a_command(folder: str) -> str:
    """Have a shim end what a command leaves behind."""
    from orcha._processes.identity import read_stat
    from orcha._supervisor.contract import CommandEnded, CommandOutput, CommandSpec
    from orcha._supervisor.shim_executor import ShimExecutor

    events: list[object] = []
    arrived = threading.Condition()

    def take(new: list[object]) -> None:
        with arrived:
            events.extend(new)
            arrived.notify_all()

    def first(kind: type) -> object:
        with arrived:
            assert arrived.wait_for(lambda: any(isinstance(one, kind) for one in events), 60), (kind, events)
            return next(one for one in events if isinstance(one, kind))

    commands = ShimExecutor(Path(folder), epoch=1, on_events=take, report=lambda *_: None)
    commands.adopt()
    commands.recovered()
    words = (python(), "-c", HIDES, "orphan")
    commands.start(CommandSpec(1, 1, bytes(16), words, "/", dict(os.environ), grace=0.5, drain=60.0))
    output = first(CommandOutput)
    pid = int(output.chunks[0].data)
    assert read_stat(pid) is None, "it is shown: nothing is tested"
    descriptor = os.pidfd_open(pid)
    commands.cancel(1, 1, "cancelled")
    ended = first(CommandEnded)
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    commands.forget(1, 1)
    commands.close(keep=False)
    return f"{'ended' if poller.poll(10_000) else 'lives'} {ended.survivors}"


class Hiding(Manager):
    """Starts a process that hides, and puts its pid."""

    def convert_to_petition(self, message: Message) -> Petition:
        """Make a petition of the message."""
        return Petition(id=message.id, queue=message.extras["queue"], action=_hide, condition=lambda _: True)

    def on_start(self, petition: Petition) -> bool:
        """Let it start."""
        return True

    def on_finish(self, petition: Petition) -> None:
        """Do nothing."""


def _hide(callback: object, petition: Petition) -> None:
    process = subprocess.Popen([python(), "-c", HIDES, "stays"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    petition.queue.put(int(process.stdout.readline()))
    process.wait()


def serve(port: int) -> None:
    """Serve the manager above."""
    from orcha._processes import sweep
    from orcha.interfaces import ServiceWrapper, start_service

    if os.environ.get("TEST_TOO_LATE"):
        sweep._MAX_HIDDEN_PIDS = 1
    start_service(ServiceWrapper(Hiding(listen_address="127.0.0.1", port=port)))


class Start:
    """One start of the service, as the user."""

    def __init__(self, uid: str, folder: str, port: int, **environment: str) -> None:
        command = [sys.executable, __file__, uid, folder, f"serve {port}"]
        given = os.environ | environment
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=given)
        self.lines: list[str] = []
        assert self.process.stderr is not None
        while not (self.lines and self.lines[-1].startswith("orcha: serving")):
            self.lines.append(self.process.stderr.readline())
            assert self.lines[-1], self.lines

    def kill_with_its_watcher(self) -> None:
        """Leave nobody who ends what it has started."""
        own = self.process.pid
        found = wait_for(lambda: [one for one in _children(own) if b"watcher" in command_of(one)], what="its watcher")
        os.kill(own, signal.SIGSTOP)
        for pid in (*found, own):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def command_of(pid: int) -> bytes:
    """Give a process's command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def restarted(uid: str, folder: str, *, too_late: bool) -> str:
    """Kill a service with its watcher, and start it again."""
    from orcha import ClientManager, Message

    os.environ["ORCHA_HOME"] = folder
    port = free_port()
    first = Start(uid, folder, port)
    client = ClientManager(port=port, auth_key=Path(folder, "key").read_text().strip())
    assert client.connect()
    queue = client.manager.Queue()
    client.send(Message("hides", {"queue": queue}))
    pid = queue.get()
    assert isinstance(pid, int), pid
    descriptor = os.pidfd_open(pid)
    first.kill_with_its_watcher()
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    before = "ended" if poller.poll(0) else "lives"
    second = Start(uid, folder, port, **({"TEST_TOO_LATE": "1"} if too_late else {}))
    after = "ended" if poller.poll(0) else "lives"
    line = "a line" if any("may live on unseen" in each for each in second.lines) else "no line"
    second.process.terminate()
    second.process.wait()
    return f"{before}, {after}, {line}"


if __name__ == "__main__":
    if sys.argv[3].startswith("restart"):
        print(restarted(sys.argv[1], sys.argv[2], too_late=sys.argv[3] != "restart"))
        sys.exit()
    from support.as_user import become

    become(int(sys.argv[1]), sys.argv[2])
    if sys.argv[3].startswith("serve"):
        serve(int(sys.argv[3].split()[1]))
    else:
        print(of_a_command(sys.argv[2]) if sys.argv[3] == "command" else of_an_action(sys.argv[3]))
