"""Ended petitions and their output are forgotten by age and count, never what is live, followed or young."""

from __future__ import annotations

import pytest

from orcha._output.sizes import sizes_of
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


def test_the_oldest_output_is_forgotten_where_all_has_no_room(serve, connect, orcha_home):
    service = serve()
    client = connect(service)
    run(client, "small", lines=["a\n"])
    for name in ("old", "new", "newest"):
        run(client, name, lines=["x" * 50_000 + "\n"] * 5)  # beyond the database's share
    client.shutdown()
    assert service.stop() == 0
    sizes = sizes_of(str(orcha_home / f"127.0.0.1-{service.port}" / "output"))
    assert len(sizes) == 3
    most = sum(sizes.values()) - 1
    service.start(environment={"ORCHA_KEEP_BYTES": str(most), "ORCHA_KEEP_LEAST": "1"})
    watching = connect(service)
    wait_for(lambda: list(states(watching)) == ["small", "new", "newest"], what="the oldest is forgotten")
    assert f"{most} may be kept: 1 ended petitions are forgotten" in service.stderr()


def test_the_output_of_no_folder_and_of_strange_files_has_no_size(tmp_path):
    (tmp_path / "trash.00.1").write_text("x")
    (tmp_path / "0aff.1").write_text("x" * 10_000)
    (tmp_path / "0aff.2").write_text("x")
    sizes = sizes_of(str(tmp_path))
    assert list(sizes) == [b"\x0a\xff"]
    assert sizes[b"\x0a\xff"] >= 10_001
    assert sizes_of(str(tmp_path / "none")) == {}
