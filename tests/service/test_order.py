"""Priority and condition, as the document defines them."""

from __future__ import annotations

import json
import multiprocessing

import pytest

from orcha.interfaces import Message
from support.document import lines, rows, states, wait_for_state
from support.waiting import wait_for

CORES = multiprocessing.cpu_count()


def message(client, identity, counter=1, sleep_time=0.0):
    """Give the document's message, with a channel of its own."""
    extras = {"queue": client.manager.Queue(), "counter": counter, "sleep_time": sleep_time}
    return Message(identity, extras)


def final(message):
    """Wait for the final value."""
    value = message.extras["queue"].get()
    while isinstance(value, str):
        value = message.extras["queue"].get()
    return value


def test_among_those_that_wait_the_lowest_product_starts_first(variant, observer, gate, ledger):
    document = variant(TEST_LIMIT="1")
    client = observer(document)
    client.send(message(client, "gated-1", 1000, 1000.0))
    gate.wait_until_reached()
    sent = [
        message(client, f"noted-{counter}x{sleep_time}", counter, sleep_time)
        for counter, sleep_time in [(3, 2.0), (1, 0.0), (2, 2.5), (10, 0.1), (4, 0.25), (1, 7.0)]
    ]
    for each in sent:
        client.send(each)
    assert [row["priority"] for row in rows(client)] == [7, 1, 1, 5, 0, 6, 1_000_000]
    gate.open()
    assert [final(each) for each in sent] == [0] * 6
    started = [line.removeprefix("action noted-") for line in ledger() if line.startswith("action")]
    assert started == ["1x0.0", "10x0.1", "4x0.25", "2x2.5", "3x2.0", "1x7.0"]  # equals: first come, first served


def released(gate, client):
    """Let whoever is at the gate through; tell whether nothing runs any more."""
    if gate.reached():
        gate.close()
    return "running" not in states(client).values()


@pytest.mark.parametrize("burst", [CORES + 3, 40])
def test_exactly_cpu_count_run_at_once_however_many_arrive_together(variant, observer, gate, ledger, burst):
    document = variant()
    client = observer(document)
    sent = [message(client, f"gated-{number}") for number in range(burst)]
    client.send_many(sent)
    expected = {f"gated-{n}": "running" if n < CORES else "queued" for n in range(burst)}
    wait_for(lambda: states(client) == expected, what="the first ones run and all others wait")
    assert [line for line in ledger() if line.startswith("on_start")] == [f"on_start gated-{n}" for n in range(CORES)]
    for number in range(CORES, burst):
        assert client.finish(f"gated-{number}")
    wait_for(lambda: released(gate, client), what="the end of those that run")
    assert sorted(states(client).values()) == sorted(["succeeded"] * CORES + ["cancelled"] * (burst - CORES))


def test_never_more_than_cpu_count_run_while_a_burst_is_worked_off(variant, observer, ledger):
    document = variant()
    client = observer(document)
    sent = [message(client, f"tracked-{number}") for number in range(60)]
    client.send_many(sent)
    assert [final(each) for each in sent] == [0] * 60
    running = [int(line.split()[1]) for line in ledger() if line.startswith("running")]
    assert len(running) == 60
    assert max(running) == CORES


def test_a_burst_of_clients_prints_whole_lines_each(variant):
    document = variant()
    clients = [document.send(f"m{number}", counter=3, sleep_time=0.01) for number in range(CORES + 3)]
    assert [client.ended() for client in clients] == [(lines(3), "", 0)] * (CORES + 3)


@pytest.mark.parametrize(
    ("word", "reason"), [("conditionfailed", "waiting for rig 3"), ("conditionreturns", "waiting for rig 4")]
)
def test_the_reason_of_a_condition_is_logged_kept_and_shown(variant, observer, word, reason):
    document = variant()
    client = document.send(f"{word}-1")
    watching = observer(document)
    wait_for_state(watching, f"{word}-1", "queued")
    wait_for(lambda: reason in document.service.stderr(), what="the reason in the log")
    shown = document.service.run("ps")
    assert shown.stdout.splitlines()[0].split() == ["ID", "STATE", "PRIORITY", "ELAPSED", "COMMAND", "WHY"]
    assert reason in shown.stdout
    (row,) = json.loads(document.service.run("ps", "--json").stdout)
    assert (row["id"], row["state"], row["why"]) == (f"{word}-1", "queued", reason)
    assert document.send("m2").ended() == (lines(1), "", 0)  # it hides nobody
    watching.finish(f"{word}-1")
    assert client.ended()[2] == 130
