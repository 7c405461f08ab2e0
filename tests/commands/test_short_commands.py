"""Short commands: where the service dies, each is executed once, and none before its start is kept."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
from collections import Counter
from threading import Thread

import pytest

from orcha._core.codes import INTERRUPTED_CODE
from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Item
from orcha._store.sqlite import SqliteStore
from orcha.interfaces import Message
from support.changes import ANY_STATE
from support.commands import COMMANDS, everything, run
from support.plugins_served import install
from support.processes import kill_all, processes_of
from support.waiting import wait_for

SHORT = 'echo "$ORCHA_ID start $ORCHA_ATTEMPT" >> "$1"; echo "$ORCHA_ID"; echo "$ORCHA_ID end" >> "$1"; exit 3'
"""Notes its start and its end in the ledger $1."""
COUNT = 30
POINTS = [f"{kind}.{when}-commit" for kind in ("start", "end") for when in ("before", "after")]


def noted(ledger, word):
    """Give the ids that the ledger has with this word, in order."""
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return [line.split()[0] for line in lines if line.split()[1] == word]


def short_ones(client, ledger, count=COUNT):
    """Give messages for short commands, and their channels."""
    queues = [client.manager.Queue() for _ in range(count)]
    argv = ["sh", "-c", SHORT, "short", str(ledger)]
    return [Message(f"s{n}", {"argv": argv, "queue": queue}) for n, queue in enumerate(queues)], queues


def send_short(client, ledger, count=COUNT):
    """Send short commands, on a thread: the service may die before it has answered."""
    messages, queues = short_ones(client, ledger, count)
    Thread(target=client.send_many, args=(messages,)).start()
    return queues


def check_short(queues, ledger):
    """Each was executed once, and everything came of it."""
    for number, queue in enumerate(queues):
        result = everything(queue)
        assert result == (b"s%d\n" % number, b"", [], 3)
    started = noted(ledger, "start")
    assert Counter(started) == Counter(noted(ledger, "end")) == Counter(f"s{n}" for n in range(len(queues)))


def rows(service):
    """Give what a service that has ended has kept, by id."""
    store = SqliteStore(service.home / f"{service.address}-{service.port}")
    try:
        return {row.id: row for row in store.page(states=ANY_STATE, limit=500)}
    finally:
        store.close()


def queued(service):
    return {name for name, row in rows(service).items() if row.state is State.QUEUED}


@pytest.mark.slow
@pytest.mark.parametrize("nth", [2, 5])
@pytest.mark.parametrize("point", POINTS)
def test_killed_where_something_is_kept_each_is_executed_once(serve, connect, tmp_path, latch, point, nth):
    ledger = tmp_path / "ledger"
    service = serve(COMMANDS, environment={"ORCHA_COMMANDS": "2"})
    client = connect(service)
    blockers = [run(client, f"b{n}", "sh", "-c", latch.wait) for n in range(2)]
    queues = send_short(client, ledger)
    service.kill()
    service.start(environment={"ORCHA_CRASH": f"{point}:{nth}"})
    latch.open()
    assert service.wait_for_end() == -signal.SIGKILL, point
    service.start()
    check_short(queues, ledger)
    assert [everything(queue).code for queue in blockers] == [0, 0]


def killed_before_a_start(serve, connect, ledger):
    """Give a service that died where a start was about to be kept, its channels, and which petitions are queued."""
    environment = {"ORCHA_COMMANDS": "1", "ORCHA_CRASH": "start.before-commit:5"}
    service = serve(COMMANDS, environment=environment)
    queues = send_short(connect(service), ledger, 20)
    assert service.wait_for_end() == -signal.SIGKILL
    service.environment.pop("ORCHA_CRASH")
    return service, queues, queued(service)


@pytest.mark.slow
def test_where_the_service_dies_before_a_start_is_kept_nothing_of_it_was_executed(serve, connect, tmp_path):
    ledger = tmp_path / "ledger"
    service, queues, waiting = killed_before_a_start(serve, connect, ledger)
    kill_all(processes_of(service.home))
    assert waiting
    assert not waiting & set(noted(ledger, "start"))
    service.start()
    codes = {f"s{number}": everything(queue).code for number, queue in enumerate(queues)}
    assert {codes[name] for name in waiting} == {3}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments_each_is_executed_once(serve, connect, tmp_path, seed):
    chance = random.Random(seed)
    ledger = tmp_path / "ledger"
    service = serve(COMMANDS, environment={"ORCHA_COMMANDS": "3"})
    queues = send_short(connect(service), ledger, 120)
    for _ in range(8):
        enough = len(noted(ledger, "end")) + chance.randrange(1, 12)
        wait_for(lambda enough=enough: len(noted(ledger, "end")) >= min(enough, 120), what="ends", interval=0.0005)
        service.kill()
        service.start()
    check_short(queues, ledger)


@pytest.mark.slow
def test_beside_a_plugin_s_petitions_each_is_executed_once(serve, connect, tmp_path):
    install(tmp_path, "alpha")
    ledger = tmp_path / "ledger"
    environment = {"ORCHA_COMMANDS": "2", "ORCHA_CRASH": "start.before-commit:10"}
    service = serve(arguments=("serve",), environment=environment)
    client = connect(service)
    service.environment.pop("ORCHA_CRASH")
    queues = [client.manager.Queue() for _ in range(COUNT)]
    argv = ["sh", "-c", SHORT, "short", str(ledger)]
    extras = [values.encode({"argv": argv, "queue": queue}) for queue in queues]
    wire = client.manager.client
    others = [Item(new_identity(), f"a{n}", values.encode({"most": 1}), None) for n in range(COUNT)]
    pairs = zip(extras, queues, strict=True)
    items = [Item(new_identity(), f"s{n}", text, queue.__orcha_channel__) for n, (text, queue) in enumerate(pairs)]
    senders = [Thread(target=wire.submit, args=named) for named in ((others, "alpha"), (items, "commands"))]
    for sender in senders:  # the service may die before it has answered
        sender.start()
    assert service.wait_for_end() == -signal.SIGKILL
    service.start()
    for sender in senders:
        sender.join()
    check_short(queues, ledger)


@pytest.mark.slow
def test_after_a_power_cut_what_was_queued_is_known_not_to_have_been_executed(serve, connect, tmp_path):
    ledger = tmp_path / "ledger"
    service, queues, waiting = killed_before_a_start(serve, connect, ledger)
    assert waiting
    cut_power(service)
    service.start()
    codes = {f"s{number}": everything(queue).code for number, queue in enumerate(queues)}
    interrupted = {name for name, code in codes.items() if code == INTERRUPTED_CODE}
    assert not waiting & interrupted
    assert all(codes[name] == 3 for name in codes.keys() - interrupted)
    assert max(Counter(noted(ledger, "start")).values()) == 1


def cut_power(service):
    """Have nothing left but what is on the disk, of another start of the system."""
    folder = service.home / f"{service.address}-{service.port}"
    kill_all(processes_of(service.home))
    for path in (folder / "shims").iterdir():
        path.unlink()
    with contextlib.closing(sqlite3.connect(folder / "orcha.db")) as connection:
        connection.execute("UPDATE incarnation SET boot_id = 'another'")
        connection.commit()
    if (clean := folder / "orcha.db.clean").exists():
        clean.write_bytes(b"")  # nobody compares the database with what it was
