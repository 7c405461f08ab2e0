"""Ended petitions and their output are forgotten by age and count, never what is live, followed or young."""

from __future__ import annotations

import pytest

from orcha.interfaces import Message
from support.document import states
from support.waiting import wait_for


def run(client, identity, **extras):
    """Run a petition to its end."""
    queue = client.manager.Queue()
    client.send(Message(identity, {"queue": queue, **extras}))
    while isinstance(queue.get(), str):
        pass
    return queue


@pytest.mark.parametrize("limit", [{"ORCHA_KEEP_AGE": "0"}, {"ORCHA_KEEP_COUNT": "0"}])
def test_what_ended_is_forgotten_by_age_or_count_and_what_lives_or_is_followed_is_not(serve, connect, gate, limit):
    service = serve(environment={"ORCHA_KEEP_LEAST": "1", **limit})
    client, other = connect(service), connect(service)
    followed = run(client, "followed", lines=["a\n"])
    run(other, "gone", lines=["b\n"])
    other.shutdown()
    living = client.manager.Queue()
    client.send(Message("lives", {"queue": living, "gate": gate.path}))
    gate.wait_until_reached()
    wait_for(lambda: "gone" not in states(client), what="it is forgotten")
    assert states(client) == {"followed": "succeeded", "lives": "running"}
    gate.open()
    assert living.get() is None
    assert followed.get() is None


@pytest.mark.slow
def test_the_newest_are_kept(serve, connect):
    service = serve(environment={"ORCHA_KEEP_COUNT": "2", "ORCHA_KEEP_LEAST": "1"})
    client = connect(service)
    for number in range(5):
        run(client, str(number))
    client.shutdown()
    watching = connect(service)
    wait_for(lambda: list(states(watching)) == ["3", "4"], what="the last two are left")


def test_nothing_younger_than_the_least_age_is_forgotten(serve, connect):
    service = serve(environment={"ORCHA_KEEP_AGE": "0", "ORCHA_KEEP_COUNT": "0"})
    run(connect(service), "young")
    service.stop()
    service.start()
    assert states(connect(service)) == {"young": "succeeded"}


@pytest.mark.slow
def test_a_forgotten_petitions_output_is_gone_from_the_disk(serve, connect, orcha_home):
    service = serve(environment={"ORCHA_KEEP_AGE": "0", "ORCHA_KEEP_LEAST": "1"})
    client = connect(service)
    run(client, "large", lines=["x" * 50_000 + "\n"] * 5)  # beyond the database's share
    files = [path for path in orcha_home.rglob("output/*") if path.is_file()]
    assert files
    client.shutdown()
    wait_for(lambda: not any(path.exists() for path in files), what="the log is deleted")
