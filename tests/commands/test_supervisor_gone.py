"""What watches over commands dies, alone or with the service: commands go on, or are told lost."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from orcha._supervisor import black_box
from support.commands import COMMANDS, everything, run
from support.processes import command_line
from support.waiting import wait_for

SLEEPER = "echo $$; sleep 600 & exec sleep 600"


def shims(service):
    """Give the pids of this service's shims, by what their boxes say."""
    found = [black_box.read(str(path)) for path in service.home.glob("*/shims/*.box")]
    return {word.seq: word.pid for word in found if word is not None and word.phase == black_box.STARTED}


def supervisor(service):
    """Give the supervisor's pid: it is what forked the shims."""
    stat = Path(f"/proc/{next(iter(shims(service).values()))}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: command_line(pid) in {"", "(ended)"}, what=f"the end of {pid}")


@pytest.fixture
def sleeping(serve, connect):
    """A service with a command that sleeps: (service, client, queue, pid of the command)."""
    service = serve(COMMANDS, environment={"ORCHA_COMMANDS": "2"})
    client = connect(service)
    queue = run(client, "m1", "sh", "-c", SLEEPER)
    _, data = queue.get()
    wait_for(lambda: 1 in shims(service), what="the shim's box")
    return service, client, queue, int(data)


def test_the_supervisor_alone_is_killed(sleeping):
    service, client, queue, pid = sleeping
    kill(supervisor(service))
    result = everything(run(client, "m2", "echo", "still"))
    assert (result.out, result.code) == (b"still\n", 0)
    assert "sleep" in command_line(pid)
    assert client.finish("m1")
    assert everything(queue).code == 130


STOPS_THE_SUPERVISOR = 'kill -STOP "$(ps -o ppid= -p $PPID)" && echo $$; exec sleep 600'


@pytest.mark.parametrize("stop", [("stop", "--now", "--end-commands"), ("stop", "--end-commands")])
def test_where_a_command_stops_the_supervisor_others_start_all_the_same(serve, connect, stop):
    service = serve(COMMANDS, environment={"ORCHA_SHIM_SILENCE": "0.2", "ORCHA_COMMANDS": "9"})
    client = connect(service)
    assert run(client, "m0", "sh", "-c", STOPS_THE_SUPERVISOR).get()
    for number in range(1, 5):  # more than there are spare shims
        assert run(client, f"m{number}", "sh", "-c", SLEEPER).get()
    assert "the supervisor of commands was stopped: it is told to go on" in service.stderr()
    assert run(client, "m9", "sh", "-c", STOPS_THE_SUPERVISOR).get()
    assert service.run(*stop).returncode == 0
    assert service.wait_for_end() == 0


def test_a_shim_is_killed(sleeping):
    service, _, queue, pid = sleeping
    os.kill(shims(service)[1], signal.SIGKILL)
    result = everything(queue)
    assert result.code == 75
    assert "interrupted" in result.lines[0]
    assert command_line(pid) in {"", "(ended)"}


def test_a_shim_dies_with_the_service(sleeping):
    service, _, queue, pid = sleeping
    shim = shims(service)[1]
    os.kill(service.pid, signal.SIGSTOP)
    os.kill(shim, signal.SIGKILL)
    service.kill()
    service.start()
    assert everything(queue).code == 75
    assert command_line(pid) in {"", "(ended)"}


def test_everything_dies_at_once_and_what_may_run_again_does(serve, connect, tmp_path):
    service = serve(COMMANDS)
    marker = tmp_path / "marker"
    script = f'echo $$; if [ -e "{marker}" ]; then exit 3; fi; touch "{marker}"; exec sleep 600'
    queue = run(connect(service), "m1", "sh", "-c", script, on_interrupt="rerun")
    _, data = queue.get()
    wait_for(lambda: 1 in shims(service), what="the shim's box")
    watching = [supervisor(service), *shims(service).values()]
    for pid in [service.pid, *watching]:
        os.kill(pid, signal.SIGSTOP)  # nobody sees another's end
    service.kill()
    for pid in watching:
        os.kill(pid, signal.SIGKILL)
    service.start()
    assert everything(queue).code == 3
    assert command_line(int(data)) in {"", "(ended)"}


@pytest.mark.parametrize("when", ["while the service runs", "after its death"])
def test_with_the_folder_of_shims_removed_nothing_runs_twice(serve, connect, when):
    service = serve(COMMANDS)
    queue = run(connect(service), "m1", "sh", "-c", "echo $$; exec sleep 600", on_interrupt="rerun")
    first = int(queue.get()[1])
    wait_for(lambda: 1 in shims(service), what="the shim's box")
    shim = shims(service)[1]
    (folder,) = service.home.glob("*/shims")
    if when == "after its death":
        service.kill()
        shutil.rmtree(folder)
    else:
        shutil.rmtree(folder)
        service.kill()
    service.start()
    second = int(queue.get()[1])
    assert second != first
    assert not is_alive_here(first)
    wait_for(lambda: not is_alive_here(shim), what="the end of its shim")
    assert connect(service).finish("m1")
    assert everything(queue).code == 130


def is_alive_here(pid):
    return command_line(pid) not in {"", "(ended)"}
