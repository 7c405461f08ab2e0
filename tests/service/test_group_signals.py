"""What a terminal or a person sends to the service's whole process group: no part of some work is told as all of it."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from orcha.interfaces import Message
from support.interpreters import newest_too
from support.processes import command_line
from support.waiting import wait_for

SOURCE = """
import multiprocessing, os, subprocess, sys
from orcha.interfaces import Petition
from orcha.lib import Manager
from orcha.utils import run_command

LONG = ["sleep", "1234"]

def work(petition):
    petition.communicate("3 of 100")
    subprocess.run(LONG)

def fork():
    pid = os.fork()
    if not pid:
        os.execvp(LONG[0], LONG)
    return os.waitpid(pid, 0)

def session(**options):
    process = subprocess.Popen(LONG, **options)
    assert os.getsid(process.pid) == process.pid
    return process.wait()

HOWS = {
    "Popen": lambda: subprocess.Popen(LONG).wait(),
    "run": lambda: subprocess.run(LONG),
    "shell": lambda: subprocess.run("sleep 1234; true", shell=True),
    "check_output": lambda: subprocess.check_output(LONG),
    "preexec_fn": lambda: session(preexec_fn=os.setsid),
    "new session": lambda: session(start_new_session=True),
    "close_fds": lambda: subprocess.Popen(["/bin/sleep", "1234"], close_fds=False).wait(),
    "system": lambda: os.system("sleep 1234; true"),
    "popen": lambda: os.popen("sleep 1234").read(),
    "spawnvp": lambda: os.spawnvp(os.P_WAIT, LONG[0], LONG),
    "posix_spawn": lambda: os.waitpid(os.posix_spawn("/bin/sleep", LONG, os.environ), 0),
    "posix_spawnp": lambda: os.waitpid(os.posix_spawnp("sleep", LONG, os.environ), 0),
    "fork": fork,
    "run_command": lambda: run_command(LONG),
}

def act(callback, petition):
    how = petition.how
    if how in ("plain fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(how.removeprefix("plain "))
        process = context.Process(target=work, args=(petition,))
        process.start()
        callback(process)
        process.join()
    else:
        petition.communicate("3 of 100")
        HOWS[how]()
    petition.finish()

class Made(Petition):
    how = ""

class One(Manager):
    def convert_to_petition(self, m):
        petition = Made(m.id, m.extras["queue"], act, lambda _: self.running_processes < 1)
        petition.how = m.extras["how"]
        return petition
    def on_start(self, petition): ...
    def on_finish(self, petition): ...
"""
HOWS = (
    *("plain fork", "spawn", "forkserver", "Popen", "run", "shell", "check_output", "preexec_fn", "new session"),
    *("close_fds", "system", "popen", "spawnvp", "posix_spawn", "posix_spawnp", "fork", "run_command"),
)
ON_NEWEST = ("plain fork", "spawn", "forkserver", "Popen", "run", "system", "popen", "posix_spawn", "fork")
"""Each of the ways in which an interpreter starts a process, by one of the functions that take it."""


def sleeps(service):
    """Give the pids of what the action started to wait for."""
    return [pid for pid in service.processes() if command_line(pid).startswith(("sleep 1234", "/bin/sleep 1234"))]


@pytest.mark.parametrize("how", newest_too(HOWS, *ON_NEWEST))
@pytest.mark.parametrize("number", [signal.SIGINT], ids=lambda number: signal.Signals(number).name)
def test_what_runs_is_interrupted_and_what_waits_is_kept(serve, connect, how, number):
    check(serve, connect, how, number)


@pytest.mark.once
@pytest.mark.parametrize("how", ["plain fork", "Popen", "system"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: signal.Signals(number).name)
def test_so_it_is_by_the_other_signals_that_end_a_service(serve, connect, how, number):
    check(serve, connect, how, number)


def check(serve, connect, how, number):
    service = serve("one:One", source=SOURCE, environment={"ORCHA_STOP_GRACE": "0.3"})
    client = connect(service)
    queue, waiting = client.manager.Queue(), client.manager.Queue()
    client.send(Message("runs", {"queue": queue, "how": how}))
    client.send(Message("waits", {"queue": waiting, "how": how}))
    assert queue.get() == "3 of 100"
    wait_for(lambda: sleeps(service), what="what the action waits for")
    assert {os.getpgid(pid) for pid in sleeps(service)}.isdisjoint({service.pid})
    os.killpg(service.pid, number)
    values = [queue.get()]
    while isinstance(values[-1], str):
        values.append(queue.get())
    assert values[-1] == 75
    assert service.wait_for_end() == 0
    if number == signal.SIGHUP:
        assert "hung up" in service.stderr()
    wait_for(lambda: not sleeps(service), what="the end of what it started")
    service.start()
    assert waiting.get() == "3 of 100"
    client.finish("waits")


def test_what_reads_from_the_terminal_fails_and_does_not_stand_still(serve, connect):
    source = SOURCE.replace('LONG = ["sleep", "1234"]', 'LONG = ["sh", "-c", "read _ </dev/tty; exit 7"]')
    service = serve("one:One", source=source)
    client = connect(service)
    queue = client.manager.Queue()
    client.send(Message("reads", {"queue": queue, "how": "Popen"}))
    assert [queue.get(), queue.get()] == ["3 of 100", None]


# --- SIGTERM to each process, as where systemd stops a unit ---------------------------------------------------------


def terminate_all(service):
    """Send SIGTERM to the service first, as to a unit's main process, then to all others."""
    everything = [service.pid, *(pid for pid in service.processes() if pid != service.pid)]
    for pid in everything:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def begin_two(serve, connect, how):
    """Give a service whose action waits for a process of its own, and the queues of that petition and of the next."""
    service = serve("one:One", source=SOURCE)
    client = connect(service)
    queue, waiting = client.manager.Queue(), client.manager.Queue()
    client.send(Message("runs", {"queue": queue, "how": how}))
    client.send(Message("waits", {"queue": waiting, "how": how}))
    assert queue.get() == "3 of 100"
    wait_for(lambda: sleeps(service), what="what the action waits for")
    wait_for(lambda: any("watcher.py" in command_line(pid) for pid in service.processes()), what="the watcher")
    return service, queue, waiting


def until_final(queue):
    values = [queue.get()]
    while isinstance(values[-1], str):
        values.append(queue.get())
    return values


@pytest.mark.parametrize(
    "how", newest_too(["plain fork", "spawn", "Popen", "system", "posix_spawn", "fork"], "plain fork", "Popen")
)
def test_an_action_whose_child_died_by_a_sigterm_to_each_process_is_interrupted(serve, connect, how):
    service, queue, waiting = begin_two(serve, connect, how)
    terminate_all(service)
    *lines, final = until_final(queue)
    assert final == 75
    assert "SIGTERM was sent to each process of the service" in "".join(lines)
    assert service.wait_for_end() == 0
    service.start()
    assert waiting.get() == "3 of 100"


@pytest.mark.parametrize("how", ["Popen", "plain fork"])
def test_an_action_whose_child_ends_after_a_sigterm_to_the_service_alone_ends_as_it_ends(serve, connect, how):
    service, queue, _ = begin_two(serve, connect, how)
    service.process.terminate()
    wait_for(lambda: "stopping" in service.ask("show", "waits").stdout, what="that the service stops")
    for pid in sleeps(service):
        os.kill(pid, signal.SIGUSR1)
    assert until_final(queue)[-1] in (None, 0)
    assert service.wait_for_end() == 0
