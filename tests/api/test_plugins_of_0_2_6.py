"""API.md: what plugins written for 0.2.6 rely on: `terminate`, `SignalingPetition`, `PetitionState`, `on_start` False,
`super()` calls, `run_command`; and `StaleCall` for hooks that were given up."""

from __future__ import annotations

import threading

import pytest

from orcha.interfaces import Message
from support.document import wait_for_state
from support.waiting import wait_for

SOURCE = """
import os, signal, subprocess, sys, time
from dataclasses import dataclass, field
from orcha.exceptions import StaleCall
from orcha.interfaces import Message, Petition, PetitionState, SignalingPetition
from orcha.lib import Manager
from orcha.utils import run_command
from support.gates import pass_gate

def note(*words):
    descriptor = os.open(os.environ["TEST_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (" ".join(map(str, words)) + "\\n").encode())
    os.close(descriptor)

CHILD = '''
import signal, sys, time
for name in ("INT", "TERM", "USR1"):
    number = getattr(signal, "SIG" + name)
    def told(*_, name=name):
        print(name, flush=True)
        sys.exit(0)
    signal.signal(number, told)
print("ready", flush=True)
time.sleep(600)
'''

def act(callback, petition):
    note("action", petition.id, petition.state.name)
    petition.communicate("going")
    code = run_command([sys.executable, "-c", CHILD], on_start=callback, on_output=petition.communicate)
    note("back", petition.id, code)
    petition.finish(code)

def sleep(callback, petition):
    petition.communicate("going")
    pass_gate(os.environ["TEST_GATE"])

@dataclass(order=True)
class Own(Petition):
    what: str = field(compare=False)

    def terminate(self, pid):
        note("terminate", self.id, self.state.name, pid is not None)
        if self.what == "terminate raises":
            raise RuntimeError("cannot")
        if self.what == "terminate hangs":
            pass_gate(os.environ["TEST_GATE"])
        if self.what == "terminate forks":
            if (child := os.fork()): os.waitpid(child, 0)
        if self.what == "terminate tells":
            os.kill(pid, signal.SIGUSR1)
        note("super", super().terminate(pid), self.state.name)
        return True

@dataclass
class Signal(SignalingPetition):
    what: str = field(default="", compare=False)

class Legacy(Manager):
    def setup(self):
        super().setup()
        self.register("ping", lambda: "pong")

    def convert_to_petition(self, m):
        what = m.extras["what"]
        arguments = {"id": m.id, "queue": m.extras["queue"], "action": act, "condition": self.condition}
        if what.startswith("signal"):
            petition = Signal(**arguments, signal=signal.SIGUSR1, kill_parent=True, what=what)
        else:
            petition = Own(**arguments, what=what)
        if what == "does nothing":
            petition.action = lambda callback, petition: petition.finish(0)
        if what in ("waits", "signal early"):
            petition.action = sleep
        note("convert", m.id, petition.state.name)
        return super().convert_to_petition(m) or petition

    def condition(self, petition):
        note("condition", petition.id, petition.state.name)
        return petition.what != "never"

    def on_start(self, petition):
        note("on_start", petition.id, super().on_start(petition))
        if petition.what == "refused":
            return False
        if petition.what == "stale":
            pass_gate(os.environ["TEST_GATE"])
            for name, call in {
                "send": lambda: self.send(Message("x", {})), "finish": lambda: self.finish("x"),
                "running": lambda: self.running_processes, "is_running": lambda: self.is_running("x"),
                "wake": self.wake, "communicate": lambda: petition.communicate("x"),
                "petition.finish": petition.finish,
            }.items():
                try:
                    call()
                except StaleCall:
                    note("stale", name)
            note("all asked")

    def on_finish(self, petition):
        note("on_finish", petition.id, petition.state.name, super().on_finish(petition))
"""


@pytest.fixture
def legacy(serve, connect, tmp_path, gate):
    ledger = tmp_path / "ledger"
    environment = {"TEST_LEDGER": str(ledger), "TEST_GATE": gate.path, "ORCHA_HOOK_DEADLINE": "3"}

    class Legacy:
        service = serve("legacy:Legacy", source=SOURCE, environment=environment)
        client = connect(service)

        def send(self, identity, what):
            queue = self.client.manager.Queue()
            self.client.send(Message(identity, {"queue": queue, "what": what}))
            return queue

        def noted(self, word):
            return [line for line in (ledger.read_text().splitlines() if ledger.exists() else []) if word in line]

        def wait_for(self, line):
            wait_for(lambda: line in self.noted(line), what=line)

    return Legacy()


def until_ready(queue):
    assert [queue.get(), queue.get().strip()] == ["going", "ready"]


def rest(queue):
    found = [queue.get()]
    while isinstance(found[-1], str):
        found.append(queue.get())
    return [value.strip() if isinstance(value, str) else value for value in found]


def test_petition_state_is_where_it_is(legacy):
    assert rest(legacy.send("a", "does nothing")) == [0]
    legacy.wait_for("on_finish a FINISHED True")
    assert legacy.noted("convert") == ["convert a PENDING"]
    until_ready(legacy.send("b", "terminate tells"))
    assert legacy.noted("action") == ["action b RUNNING"]
    assert legacy.client.finish("b")
    legacy.wait_for("on_finish b CANCELLED True")
    waiting = legacy.send("c", "never")
    legacy.client.send(Message("d", {"queue": legacy.client.manager.Queue(), "what": "does nothing"}))
    legacy.wait_for("condition c ENQUEUED")  # asked again when another has ended
    assert legacy.client.finish("c")
    assert waiting.get() == 130


def test_on_start_that_gives_false_breaks_it_without_its_action_and_with_on_finish(legacy):
    line, code = rest(legacy.send("a", "refused"))
    assert (line, code) == ("its plugin does not let it start", 1)
    legacy.wait_for("on_finish a BROKEN True")
    assert legacy.noted("on_start") == ["on_start a True"]
    assert legacy.noted("action") == []


def test_an_override_of_terminate_goes_first_and_may_call_super(legacy):
    queue = legacy.send("a", "terminate tells")
    until_ready(queue)
    assert legacy.client.finish("a")
    assert rest(queue)[-1] == 130
    assert legacy.noted("terminate") == ["terminate a RUNNING True"]
    assert legacy.noted("super") == ["super True CANCELLED"]
    legacy.wait_for("back a 0")  # it ended by the override's signal, in its own way


@pytest.mark.parametrize("what", ["terminate raises", "terminate does nothing", "terminate forks"])
def test_whatever_an_override_does_what_lives_gets_the_signals(legacy, what):
    queue = legacy.send("a", what)
    until_ready(queue)
    assert legacy.client.finish("a")
    assert rest(queue)[-1] == 130
    assert len(legacy.noted("terminate a")) == 1
    legacy.wait_for("on_finish a CANCELLED True")
    legacy.client.register("ping")
    assert legacy.client.ping() == "pong"


@pytest.mark.slow
def test_an_override_of_terminate_that_hangs_has_a_deadline(legacy, gate):
    queue = legacy.send("a", "terminate hangs")
    until_ready(queue)
    assert legacy.client.finish("a")
    assert rest(queue)[-1] == 130
    gate.open()


def test_terminate_is_not_called_for_one_that_never_started(legacy):
    queue = legacy.send("a", "never")
    assert legacy.client.finish("a")
    assert rest(queue) == [130]
    assert legacy.noted("terminate") == []
    assert legacy.noted("on_finish") == []


def test_a_signaling_petition_gets_its_signal(legacy):
    queue = legacy.send("a", "signal")
    until_ready(queue)
    assert legacy.client.finish("a")
    assert rest(queue)[-1] == 130
    legacy.wait_for("back a 0")


def test_a_signaling_petition_without_a_process_signals_nobody(legacy, gate):
    queue = legacy.send("a", "signal early")
    assert queue.get() == "going"
    gate.wait_until_reached()
    ended = []
    thread = threading.Thread(target=lambda: ended.append(legacy.client.finish("a")))
    thread.start()
    wait_for_state(legacy.client, "a", "cancelling")
    gate.open()
    thread.join(30)
    assert ended == [True]
    assert rest(queue) == [130]
    assert legacy.service.process.poll() is None


@pytest.mark.slow
def test_every_call_of_a_hook_that_was_given_up_raises_stale_call(legacy, gate):
    queue = legacy.send("a", "stale")
    assert rest(queue) == ["the plugin took longer than 3 s to prepare its start", 1]
    gate.open()
    legacy.wait_for("all asked")
    assert [line.split()[1] for line in legacy.noted("stale ")] == [
        "send",
        "finish",
        "running",
        "is_running",
        "wake",
        "communicate",
        "petition.finish",
    ]
    legacy.wait_for("on_finish a BROKEN True")
