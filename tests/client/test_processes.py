"""Channels and clients across fork, spawn and forkserver, through the real door."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import traceback
import warnings

import pytest

from client import putting
from client.scripted import ServedService
from orcha._client import attempt_channel
from orcha._client import client as client_module
from orcha._client.attempt_channel import AttemptChannel
from orcha._client.client import Client
from orcha._client.dial import dial
from orcha._protocol import values
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Item

CHANNEL = bytes(range(16))
METHODS = ["fork", "spawn", "forkserver"]
DEADLINE_SECONDS = 60
"""Of a forked child, which hangs where it has not ended by then."""
LINES = [f"line {number}\n" for number in range(20)]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
    pytest.mark.may_leave("children", "descriptors"),  # forkserver and resource tracker stay for the next one
]


@pytest.fixture
def served(orcha_home, tmp_path):
    services = []

    def start(**arguments):
        services.append(ServedService(str(orcha_home / "endpoint"), os.urandom(32), **arguments))
        return services[-1]

    (orcha_home / "endpoint").mkdir(mode=0o700)
    yield start
    for service in services:
        service.close()


@pytest.fixture
def bound(served):
    """Give a service and the channel as its own process has it; what is put here goes to the same log."""
    service = served()

    class Port:
        def put(self, seq, number, payloads):
            service.put(CHANNEL, *(values.decode(payload) for payload in payloads))
            return True

        def finish(self, seq, number, value):
            service.put(CHANNEL, value)

        def access(self, seq, number):
            return service.endpoint, service.capability, 12345

    channel = AttemptChannel(CHANNEL, Port())
    channel.bind(7, 2)
    service.channel = channel
    return service


def run(method, target, *arguments):
    process = multiprocessing.get_context(method).Process(target=target, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_child_puts_before_its_parent_goes_on(bound, method):
    bound.channel.put("before\n")
    run(method, putting.put_lines, bound.channel, LINES)
    bound.channel.put("after\n")
    bound.channel.finish(3)
    assert bound.values_of(CHANNEL) == ["before\n", *LINES, "after\n", 3]
    assert bound.identities == [f"uid:{os.geteuid()}"]  # the kernel's word; the key is for where that is not enough


@pytest.mark.parametrize("method", METHODS)
def test_what_a_child_put_without_waiting_is_sent_before_it_ends(bound, method):
    run(method, putting.put_lines_later, bound.channel, LINES)
    assert bound.values_of(CHANNEL) == LINES


@pytest.mark.parametrize("method", METHODS)
def test_a_child_may_finish(bound, method):
    run(method, putting.finish, bound.channel, 5)
    assert bound.values_of(CHANNEL) == ["last words", 5]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_that_unpickles_the_channel_bears_its_tag(bound, method):
    before = resource.getrlimit(attempt_channel.TAG_LIMIT_NUMBER)
    run(method, putting.put_tag, bound.channel)
    assert bound.values_of(CHANNEL) == [12345]
    assert resource.getrlimit(attempt_channel.TAG_LIMIT_NUMBER) == before


@pytest.mark.parametrize("method", METHODS)
def test_a_fork_of_a_process_with_a_connection_makes_its_own(bound, method):
    run(method, putting.put_and_fork, bound.channel, LINES)
    assert bound.values_of(CHANNEL) == LINES
    assert len(bound.identities) == 2


def test_a_put_imports_nothing_that_was_not_prepared(bound):
    """A fork would wait for ever for a module that another thread imports at that moment."""
    run("spawn", putting.put_what_is_imported, bound.channel)
    assert bound.values_of(CHANNEL) == ["a line", []]


def test_forks_while_other_threads_put_do_not_hang(bound):
    run("spawn", putting.put_while_forking, bound.channel, 10)
    kept = bound.values_of(CHANNEL)
    assert [line for line in kept if line != "thread"] == [f"fork {number}" for number in range(10)]


def test_a_child_whose_service_is_gone_ends_quietly(bound, monkeypatch):
    bound.stop()
    run("fork", putting.put_lines, bound.channel, LINES[:2])
    bound.start()
    assert bound.values_of(CHANNEL) == []


@pytest.fixture
def client(served):
    service = served(script=lambda item: LINES if item.id == "open" else [*LINES, 0])
    client = Client(service.endpoint, None, notify=lambda line: None, dial=dial)
    client.service = service
    yield client
    client.close()


def test_a_client_comes_in_by_the_real_door_and_goes_on_after_a_restart(client):
    client.connect()
    channel = client.channel()
    client.submit([Item(new_identity(), "open", values.encode({}), channel.__orcha_channel__)])
    assert [channel.get() for _ in LINES] == LINES
    client.service.stop()
    client.service.start()
    client.service.put(channel.__orcha_channel__, "more\n", 3)
    assert [channel.get(), channel.get(), channel.get()] == ["more\n", 3, 3]


def forked(call):
    """Fork, and have the child do something; give its exit code: 0, 1 where that raised, below 0 where it hung.

    A child that hangs writes the stacks of its threads to standard error, and ends.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.register(signal.SIGALRM, file=2, chain=True)
        signal.alarm(DEADLINE_SECONDS)
        call()
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is: the child must not go on as the test run
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def test_a_fork_leaves_its_parents_connection_alone_and_reads_by_its_own(client):
    client.connect()
    channel = client.channel()
    client.submit([Item(new_identity(), "open", values.encode({}), channel.__orcha_channel__)])
    assert channel.get() == LINES[0]

    def read():
        assert [channel.get(timeout=30) for _ in LINES[1:]] == LINES[1:]
        client.ping()

    assert forked(read) == 0
    client.ping()
    assert [channel.get() for _ in LINES[1:]] == LINES[1:]
    assert len(client.service.identities) == 2


def test_a_fork_leaves_the_connections_of_clients_without_a_handshake_alone(client, client_of, scripted):
    """The doubles of other tests live on until they are collected: they must not keep a client from its own."""
    others = [client_of(scripted()) for _ in range(3)]
    client.connect()

    def ping():
        for each in (client, *others):
            each.ping()

    assert forked(ping) == 0
    ping()


def test_what_one_client_raises_after_a_fork_keeps_no_other_client_from_its_own_threads(monkeypatch):
    class Other:
        def after_fork(self):
            called.append(self)
            raise OSError("no")

    called, others = [], [Other(), Other(), Other()]
    monkeypatch.setattr(client_module, "_clients", others)
    with pytest.raises(OSError, match="no"):
        client_module._after_fork()
    assert set(called) == set(others)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        (
            "orcha._client.client",
            ["msgspec", "multiprocessing", "logging", "asyncio", "inspect", "ssl", "random", "hashlib"],
        ),
        (
            "orcha._client.attempt_channel",
            ["msgspec", "multiprocessing", "logging", "asyncio", "inspect", "ssl", "socket"],
        ),
    ],
)
def test_an_import_costs_nothing_heavy(module, heavy):
    code = f"import {module}, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
