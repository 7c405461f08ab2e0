"""A thread of the service that dies, or cannot be started, is named; nothing that was accepted is lost."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from orcha._processes.identity import identify, is_alive, read_stat
from orcha.interfaces import Message
from support.commands import COMMANDS, everything, run
from support.interpreters import newest_too
from support.ledger import read_ledger
from support.waiting import wait_for

SCRIPT = Path(__file__).parent / "dying_threads.py"
NO_ROOM = "cannot be started: can't start new thread: end some processes of this user, or raise ulimit -u"
OWN_TERMINATE = """
import subprocess
from orcha.interfaces import Petition
from orcha.lib import Manager

class Own(Petition):
    def terminate(self, pid):
        raise AssertionError("without a thread it is not called")

def act(callback, petition):
    process = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
    callback(process)
    petition.communicate("runs")
    process.wait()

class Mine(Manager):
    def on_start(self, *args):
        return super().on_start(*args)

    def on_finish(self, *args):
        return super().on_finish(*args)

    def convert_to_petition(self, m):
        return Own(id=m.id, queue=m.extras["queue"], action=act, condition=lambda _: True)
"""
WAITS = 'while [ ! -e "$1" ]; do sleep 0.05; done; echo done'


@pytest.fixture
def faulty(serve, tmp_path):
    """Give a function that makes a service with a fault that shows as soon as the file `now` is there."""

    def make(fault: dict[str, str], manager: str = COMMANDS, *, start: bool = True):
        given = {"TEST_NOW": str(tmp_path / "now"), "TEST_MANAGER": manager, "TEST_LIMIT": "1", "ORCHA_LOG_RUNS": "1"}
        given["ORCHA_KEEP_COMMANDS"] = "1"
        return serve(script=SCRIPT, environment=given | fault, start=start)

    return make


@pytest.fixture
def dying(faulty):
    """Give a function that starts a service of which that thread dies."""
    return lambda name, *manager: faulty({"TEST_DIES": name}, *manager)


@pytest.mark.parametrize(
    ("name", "ask"),
    newest_too(
        [
            ("orcha-engine", ("ps",)),
            ("orcha-loop", ("ps",)),
            ("orcha-commands", ("run", "--", "true")),
            ("orcha-log", ("run", "--", "true")),
            ("orcha-stopping", ("stop",)),
            ("orcha-stop", None),
        ],
        ("orcha-loop", ("ps",)),
        ("orcha-stop", None),
    ),
)
def test_its_name_is_told_and_commands_go_on(dying, connect, tmp_path, name, ask):
    service = dying(name)
    queue = run(connect(service), "kept", "sh", "-c", WAITS, "sh", str(tmp_path / "go"))
    wait_for(lambda: "running" in service.ask("ps", "--json").stdout, what="it runs")
    (tmp_path / "now").touch()
    if ask is None:
        service.process.terminate()
    else:
        service.spawn(*service.orcha(*ask), env=service.environment | {"ORCHA_RECONNECT": "0.2"})
    assert service.wait_for_end() == 75
    assert service.stderr().splitlines()[-1] == f"orcha: the service failed: its thread {name} died: Died: injected"
    (tmp_path / "now").unlink()
    (tmp_path / "go").touch()
    service.start()
    assert everything(queue) == (b"done\n", b"", [], 0)


@pytest.mark.parametrize("name", ["orcha-hooks", "orcha-ending", "orcha-action"])
def test_its_name_is_told_and_what_waits_is_kept(dying, connect, gate, tmp_path, name):
    service = dying(name, "support.ledger:LedgerManager")
    client, ledger = connect(service), tmp_path / "ledger"
    client.send(Message("runs", {"ledger": str(ledger), "gate": gate.path, "child": True}))
    wait_for(lambda: ("runs", 1) in read_ledger(ledger), what="it runs")
    client.send(Message("waits", {"ledger": str(ledger)}))
    (tmp_path / "now").touch()
    ask = ("cancel", "runs") if name == "orcha-ending" else ("ps", "--why")
    if name != "orcha-ending":
        gate.open()
    service.spawn(*service.orcha(*ask), env=service.environment | {"ORCHA_RECONNECT": "0.2"})
    assert service.wait_for_end() == 75
    assert service.stderr().splitlines()[-1] == f"orcha: the service failed: its thread {name} died: Died: injected"
    (tmp_path / "now").unlink()
    service.start()
    wait_for(lambda: ("waits", 1) in read_ledger(ledger), what="what waited runs")
    assert read_ledger(ledger)["waits", 1].starts == 1


@pytest.mark.parametrize(
    "name",
    newest_too(
        [
            *("orcha-signals", "orcha-stop", "orcha-stop-now", "orcha-log", "orcha-ending", "orcha-hooks"),
            *("orcha-engine", "orcha-loop", "orcha-commands", "orcha-stopping"),
        ],
        "orcha-signals",
        "orcha-loop",
    ),
)
def test_a_start_without_room_for_its_threads_is_refused_with_the_cure(faulty, tmp_path, name):
    service = faulty({"TEST_REFUSES": name}, start=False)
    (tmp_path / "now").touch()
    service.start(ready=False)
    assert service.wait_for_end() == 75
    assert service.stderr().splitlines()[-1] == f"orcha: the thread {name} {NO_ROOM}"
    (tmp_path / "now").unlink()
    service.start()
    assert service.ask("ps").returncode == 0


def test_an_action_without_room_for_its_thread_is_broken_and_the_service_goes_on(faulty, connect, tmp_path):
    service = faulty({"TEST_REFUSES": "orcha-action"}, "support.ledger:LedgerManager")
    client, ledger = connect(service), tmp_path / "ledger"
    (tmp_path / "now").touch()
    client.send(Message("refused", {"ledger": str(ledger)}))
    assert service.ask("wait", "refused").returncode == 1
    assert (
        f"its action could not be started: the thread orcha-action {NO_ROOM}" in service.ask("show", "refused").stdout
    )
    (tmp_path / "now").unlink()
    client.send(Message("runs", {"ledger": str(ledger), "code": 3}))
    assert service.ask("wait", "runs").returncode == 3
    assert ("refused", 1) not in read_ledger(ledger)


def test_a_cancel_without_room_for_its_thread_ends_the_processes_all_the_same(faulty, connect, tmp_path):
    (tmp_path / "own_terminate.py").write_text(OWN_TERMINATE)
    service = faulty({"TEST_REFUSES": "orcha-terminate"}, "own_terminate:Mine")
    client = connect(service)
    queue = client.manager.Queue()
    client.send(Message("one", {"queue": queue}))
    assert queue.get() == "runs"
    (tmp_path / "now").touch()
    assert service.ask("cancel", "one").returncode == 0
    told = f"petition one: its processes are ended without its terminate(): the thread orcha-terminate {NO_ROOM}"
    wait_for(lambda: told in service.stderr(), what="the reason in the log")


def test_a_pattern_without_room_for_its_thread_counts_as_not_found_and_the_service_goes_on(faulty, connect, tmp_path):
    service = faulty({"TEST_REFUSES": "orcha-match"})
    tried = (
        "--retry",
        "1",
        "--retry-delay",
        "10ms",
        "--retry-output",
        "b[u]sy$",
        "--",
        "sh",
        "-c",
        "echo busy; exit 3",
    )
    (tmp_path / "now").touch()
    refused = service.run("run", "--name", "refused", *tried)
    assert refused.returncode == 3
    assert "the pattern of --retry-output" in refused.stderr
    assert service.run("run", "--", "echo", "beside").stdout == "beside\n"
    (tmp_path / "now").unlink()
    assert service.run("run", "--name", "found", *tried).returncode == 3
    shown = {name: json.loads(service.ask("show", name, "--json").stdout)["attempts"] for name in ("refused", "found")}
    assert [len(each) for each in shown.values()] == [1, 2]


def test_a_dead_shim_without_room_for_its_thread_is_cleaned_up_and_the_service_goes_on(faulty, connect, tmp_path):
    service = faulty({"TEST_REFUSES": "orcha-commands-sweep"})
    queue = run(connect(service), "one", "sh", "-c", "echo runs; sleep 600 & wait")
    assert queue.get() == (1, b"runs\n")
    leader = json.loads(service.ask("show", "one", "--json").stdout)["attempts"][-1]["pid"]
    tree = [identify(leader), *map(identify, children_of(leader))]
    (tmp_path / "now").touch()
    os.kill(read_stat(leader).parent, signal.SIGKILL)
    *_, code = everything(queue)
    assert (code, [is_alive(one) for one in tree]) == (75, [False, False])
    assert f"the thread orcha-commands-sweep {NO_ROOM}" in service.stderr()
    assert service.run("run", "--", "echo", "after").stdout == "after\n"


HANGS = """
from orcha.interfaces import Petition
from orcha.lib import Manager
from support.gates import pass_gate

class Mine(Manager):
    def on_start(self, *args):
        return super().on_start(*args)

    def on_finish(self, *args):
        return super().on_finish(*args)

    def convert_to_petition(self, m):
        if "gate" in m.extras:
            pass_gate(m.extras["gate"])
        return Petition(id=m.id, queue=m.extras["queue"], action=lambda *_: None, condition=lambda _: True)
"""


def test_a_hook_that_hangs_without_room_for_another_thread_is_given_up_later(faulty, connect, gate, tmp_path):
    (tmp_path / "hangs.py").write_text(HANGS)
    service = faulty({"TEST_REFUSES": "orcha-hooks", "ORCHA_HOOK_DEADLINE": "1"}, "hangs:Mine")
    (tmp_path / "now").touch()
    hung = threading.Thread(target=send, args=(connect(service), "hangs", gate.path), daemon=True)
    hung.start()
    gate.wait_until_reached()
    wait_for(lambda: f"cannot be given up yet: the thread orcha-hooks {NO_ROOM}" in service.stderr(), what="the reason")
    assert service.ask("ps").returncode == 0
    (tmp_path / "now").unlink()
    assert send(connect(service), "beside").get() is None  # its final value: the action gave none
    wait_for(lambda: "did not return in 1 s" in service.stderr(), what="the end of the hook that hangs")
    gate.open()
    hung.join()


def send(client, name, gate=None):
    """Send a message, whose conversion waits at the gate if there is one; give its queue."""
    queue = client.manager.Queue()
    client.send(Message(name, {"queue": queue} | ({"gate": gate} if gate else {})))
    return queue


def children_of(pid):
    return map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
