"""A service that keeps nothing: it says so, works the same, and forgets with its process."""

from __future__ import annotations

import sys

import pytest

from orcha._processes.identity import identify, is_alive
from support.commands import COMMANDS, run
from support.document import Document, lines, states, wait_for_state
from support.waiting import wait_for


@pytest.mark.parametrize("way", ["option", "environment"])
def test_it_says_so_serves_and_leaves_nothing(serve, observer, orcha_home, way):
    document = Document(serve, start=False, **({"ORCHA_STORE": "memory"} if way == "environment" else {}))
    if way == "option":
        place = document.service.orcha("--no-store", "hello-variant", "serve")
        document.service.command = [sys.executable, *place[1:]]
    document.restart()
    assert document.service.stderr().splitlines()[0] == "orcha: nothing is kept: petitions end with this process"
    client = document.send("m1", counter=3, sleep_time=0.01)
    assert client.ended() == (lines(3), "", 0)
    assert states(observer(document)) == {"m1": "succeeded"}
    assert not list(orcha_home.rglob("*.db*"))
    assert document.service.stop() == 0
    document.restart()
    assert states(observer(document)) == {}


def test_followers_of_what_it_forgot_end_with_75(serve, observer, tmp_path):
    (tmp_path / "hold").touch()
    document = Document(serve, ORCHA_STORE="memory", TEST_HOLD=str(tmp_path / "hold"))
    client = document.send("m1")
    wait_for_state(observer(document), "m1", "queued")
    document.service.kill()
    document.restart()
    out, _, code = client.ended()
    assert (out.count(b"\n"), code) == (1, 75)
    assert out.startswith(b"orcha: ")


def test_its_commands_end_with_it(serve, connect, tmp_path):
    service = serve(COMMANDS, environment={"ORCHA_STORE": "memory"})
    pid = tmp_path / "pid"
    run(connect(service), "m1", "sh", "-c", f"echo $$ > {pid}.new && mv {pid}.new {pid} && exec sleep 1000")
    wait_for(pid.exists, what="it runs")
    known = identify(int(pid.read_text()))
    service.kill()
    wait_for(lambda: not is_alive(known), what="it ends, since nobody can come back for it")
