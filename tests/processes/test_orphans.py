"""What is left after `kill -9` of the service: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orcha._processes.identity import Identity, identify, is_alive
from processes.fake_services import SCRIPT, FakeService, gone, interpreters, links
from support.waiting import wait_for

METHODS = ("fork", "spawn", "forkserver")
INTERPRETERS = interpreters()


@pytest.fixture(params=[pytest.param(path, id=version) for version, path in INTERPRETERS.items()])
def python(request):
    return request.param


def helpers_of(ready) -> list[Identity]:
    return [identity for pid in ready["helpers"] if (identity := identify(pid))]


@pytest.mark.parametrize("method", METHODS)
def test_the_watcher_ends_everything_when_the_service_is_killed(fake: FakeService, method, python) -> None:
    ready = fake.start(method, python)
    bystander = fake.bystander(1)
    everything = [*fake.start_tree(1), *fake.start_tree(2), *helpers_of(ready), fake.watcher()]
    fake.kill()
    wait_for(lambda: gone(everything), what="the end of all processes")
    assert is_alive(bystander)

    again = fake.start(method, python)  # the lock and the port are free
    assert again["killed"] == []
    assert is_alive(bystander)


@pytest.mark.parametrize("method", METHODS)
def test_the_next_start_ends_everything_when_the_watcher_was_killed_too(fake: FakeService, method, python) -> None:
    ready = fake.start(method, python)
    bystander = fake.bystander(1)
    tree = [*fake.start_tree(1), *fake.start_tree(2)]
    everything = [*tree, *helpers_of(ready)]
    watcher = fake.watcher()
    fake.say("ping")
    os.kill(fake.process.pid, signal.SIGSTOP)  # so that it cannot start another watcher
    os.kill(watcher.pid, signal.SIGKILL)
    fake.kill()
    wait_for(lambda: not is_alive(watcher), what="the end of the watcher")
    assert all(map(is_alive, tree))

    again = fake.start(method, python)
    assert gone(everything)
    assert {one.pid for one in tree} <= set(again["killed"])
    assert is_alive(bystander)


def test_a_watcher_that_dies_is_replaced_at_the_next_need(fake: FakeService) -> None:
    fake.start("fork")
    first_tree = fake.start_tree(1)
    first = fake.watcher()
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(first))

    def no_watcher() -> bool:
        fake.say("ping")
        return fake.hear("pong")["watcher"] is None

    wait_for(no_watcher, what="the service to see that its watcher is gone")
    tree = fake.start_tree(2)
    second = fake.watcher()
    assert second != first
    fake.kill()
    wait_for(lambda: gone([*first_tree, *tree, second]), what="the end of all processes")


def test_the_watcher_stands_signals_and_keeps_nothing_of_the_service(fake: FakeService) -> None:
    fake.start("fork")
    tree = fake.start_tree(1)
    watcher = fake.watcher()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        os.kill(watcher.pid, number)
    assert {link for link in links(watcher.pid) if "pidfd" not in link} == {"/dev/null"}
    assert os.getsid(watcher.pid) == watcher.pid
    fake.kill()
    wait_for(lambda: gone([*tree, watcher]), what="the end of all processes")


def test_a_child_of_a_killed_service_holds_neither_its_lock_nor_its_port(fake: FakeService) -> None:
    fake.start("fork")
    tree = fake.start_tree(1)
    child = fake.role(1, "child")
    held = links(child.pid)
    assert child in tree
    assert not any(link.endswith("/lock") for link in held)
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {fields[9] for fields in sockets if fields[1].endswith(f":{fake.port:04X}")}
    assert listening
    assert not listening & {link.removeprefix("socket:[").removesuffix("]") for link in held}


def test_a_second_service_on_the_endpoint_is_refused_and_changes_nothing(fake: FakeService) -> None:
    ready = fake.start("fork")
    tree = fake.start_tree(1)
    other = subprocess.run(
        [sys.executable, str(SCRIPT), str(fake.folder), str(fake.port), "fork", fake.mark],
        env=fake.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert other.returncode == 69
    assert f"pid {ready['ready']}" in other.stderr
    assert str(fake.folder / "endpoint") in other.stderr
    assert "Traceback" not in other.stderr
    assert all(map(is_alive, tree))
