"""Channels whose follower, file or petition is not where it was."""

from __future__ import annotations

import queue
import signal

import pytest

from durability.history import read_channel, read_kept
from orcha._core.state import Outcome
from orcha._output.log import OutputLog
from orcha._store.sqlite import SqliteStore
from orcha.interfaces import Message
from support.waiting import wait_for

MANAGER = "support.ledger:LedgerManager"
FORGETFUL = {"ORCHA_KEEP_LEAST": "0", "ORCHA_KEEP_COUNT": "0"}


def endpoint(service):
    return service.home / f"{service.address}-{service.port}"


def large(tmp_path, identity="large", **script):
    return Message(identity, {"ledger": str(tmp_path / "ledger"), "lines": 6, "width": 40_000, "code": 3, **script})


def read_all(channel):
    got = [channel.get()]
    while not (got[-1] is None or isinstance(got[-1], int)):
        got.append(channel.get())
    return got


@pytest.fixture
def finished(serve, connect, tmp_path):
    """Give a service that has stopped, and the channel of a petition with output in a file."""
    service = serve(MANAGER)
    client = connect(service)
    channel = client.manager.Queue()
    message = large(tmp_path)
    message.extras["queue"] = channel
    client.send(message)
    assert len(read_all(channel)) == 7
    assert service.stop() == 0
    assert list((endpoint(service) / "output").iterdir())
    return service, client, channel.__orcha_channel__


def follow(client, identity, index):
    return client.manager.client.channel(identity, own=True, index=index)


def test_a_follower_may_come_at_any_index(finished):
    service, client, identity = finished
    service.start()
    assert len(read_all(follow(client, identity, 0))) == 7
    assert len(read_all(follow(client, identity, 4))) == 3
    assert read_all(follow(client, identity, 6)) == [3]


def test_a_follower_beyond_the_end_goes_on_at_the_end(serve, connect, tmp_path, gate):
    service = serve(MANAGER)
    client = connect(service)
    channel = client.manager.Queue()
    message = Message("few", {"ledger": str(tmp_path / "ledger"), "lines": 1, "gate": gate.path, "queue": channel})
    client.send(message)
    gate.wait_until_reached()
    other = connect(service)
    beyond = follow(other, channel.__orcha_channel__, 50)
    with pytest.raises(queue.Empty):
        beyond.get(timeout=0.2)
    gate.open()
    assert read_all(beyond) == ["few/1/0", None]


def test_what_is_lost_of_a_file_is_told_and_the_end_still_comes(finished):
    service, client, identity = finished
    (file,) = (endpoint(service) / "output").iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    service.start()
    got = read_all(follow(client, identity, 0))
    assert got[-1] == 3
    assert any("no longer kept" in value for value in got[:-1])
    assert [value[:9] for value in got if str(value).startswith("large/")] == [f"large/1/{n}" for n in range(5)]


def test_a_file_that_is_gone_is_told_and_the_end_still_comes(finished):
    service, client, identity = finished
    for file in (endpoint(service) / "output").iterdir():
        file.unlink()
    service.start()
    got = read_all(follow(client, identity, 0))
    assert got[-1] == 3
    assert any("no longer kept" in value for value in got[:-1])


def test_a_forgotten_channel_ends_with_a_line_and_75(finished):
    service, client, identity = finished
    service.start(environment=FORGETFUL)
    wait_for(lambda: not client.manager.client.rows(0b1000000, 10), what="that it is forgotten")
    got = read_all(follow(client, identity, 0))
    assert got[-1] == 75
    assert "the service knows no such channel" in got[0]
    assert not list((endpoint(service) / "output").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("point", ["prune.before-commit", "prune.after-commit", "prune.before-unlink"])
def test_killed_while_it_forgets_it_has_all_or_nothing_of_a_petition(finished, point):
    service, _, identity = finished
    service.start(environment=FORGETFUL | {"ORCHA_CRASH": point})
    assert service.wait_for_end() == -signal.SIGKILL
    service.start()
    assert service.stop() == 0
    kept = read_kept(endpoint(service))
    if kept.rows:
        assert point == "prune.before-commit"
        assert len(kept.channels[identity]) == 7
    else:
        assert point != "prune.before-commit"
        assert not list((endpoint(service) / "output").iterdir())


def test_a_reason_and_its_final_are_kept_together(serve, connect, tmp_path):
    """Beyond the store's share too, where values go to a file and the end does not."""
    service = serve(MANAGER)
    client = connect(service)
    channel = client.manager.Queue()
    client.send(large(tmp_path, lines=400, pause=0.01, width=20_000, queue=channel))
    output = endpoint(service) / "output"
    wait_for(lambda: list(output.iterdir()), what="output in a file")
    service.kill()
    service.start(environment={"ORCHA_CRASH": "recover.before-commit"}, ready=False)
    assert service.wait_for_end() == -signal.SIGKILL
    service.start()
    assert read_all(channel)[-2:] == ["interrupted: the service ended while it ran\n", 75]
    assert service.stop() == 0
    store, log = SqliteStore(endpoint(service)), OutputLog(output)
    (row,) = store.page(states=0b1111110, limit=10)
    records = read_channel(store, log, row.channel)
    store.close()
    log.close()
    assert row.outcome is Outcome.INTERRUPTED
    assert [record.kind for record in records[-2:]] == [1, 2]
    assert sum(record.kind == 1 for record in records) == 1
