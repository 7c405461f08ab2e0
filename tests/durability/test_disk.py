"""A running service whose disk fails, fills up, or was tampered with."""

from __future__ import annotations

import os
import re

import apsw
import pytest

from durability.history import read_kept
from orcha._output import segment
from orcha._protocol.messages import Verdict
from orcha._service.channels import channel_book as channels
from orcha._store.disk_reserve import Limits
from orcha.exceptions.store import StoreBroken, StoreFull
from support.engine import Asked, EngineUnderTest
from support.powercut_vfs import Disk, io_error
from support.waiting import wait_for

pytestmark = pytest.mark.may_leave("threads")  # idle threads of the action pools
MANAGER = "support.ledger:LedgerManager"
ROOM = Limits(log=96 << 10, checkpoint=64 << 10, ballast=256 << 10, watermark=64 << 10)


def asked(number):
    return Asked(number.to_bytes(16, "big"), f"p{number}")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "endpoint"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def disk():
    with Disk("engine-faults") as disk:
        yield disk
        disk.before = None


@pytest.fixture
def under_test(folder, disk):
    under_test = EngineUnderTest(folder, vfs=disk.name, limits=ROOM)
    under_test.start()
    yield under_test
    disk.before = None
    under_test.stop()


@pytest.fixture
def full(monkeypatch, folder):
    """Give a function that says whether the disk has room."""
    real = os.statvfs
    state = {"full": False}

    def statvfs(path):
        found = real(path)
        return os.statvfs_result([*found[:4], 1, *found[5:]]) if state["full"] else found

    monkeypatch.setattr(os, "statvfs", statvfs)
    return lambda value: state.update(full=value)


# --- it fails --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        lambda operation: fail(io_error(apsw.SQLITE_IOERR_FSYNC)) if operation.kind == "sync" else None,
        lambda operation: fail(io_error(apsw.SQLITE_IOERR_WRITE)) if operation.kind == "write" else None,
        lambda operation: 100 if operation.kind == "write" else None,
    ],
    ids=["sync", "write", "short write"],
)
def test_after_an_io_error_nothing_is_told_and_the_engine_ends(folder, disk, under_test, fault):
    under_test.submit(asked(1))
    under_test.settle(asked(1))
    disk.before = fault
    under_test.submit(asked(2))
    assert under_test.engine.stopped.wait(30)
    assert isinstance(under_test.engine.failure, StoreBroken)
    assert asked(2).token not in under_test.told.accepted
    disk.before = None
    under_test.store.close()
    kept = read_kept(folder)
    assert asked(1).token.hex() in kept.rows


def fail(error):
    raise error


FAULTY = """
import sys
from pathlib import Path
import apsw
from orcha._service.lifecycle import compose
from orcha._store.sqlite import SqliteStore
from support.powercut_vfs import Disk, io_error
from support.serve import main

disk = Disk("faulty", really_sync=True)

def before(operation):
    if operation.kind == "sync" and Path({flag!r}).exists():
        raise io_error(apsw.SQLITE_IOERR_FSYNC)

disk.before = before
compose.SqliteStore = lambda folder: SqliteStore(folder, vfs=disk.name)
main("support.ledger:LedgerManager", *sys.argv[1:])
"""


def test_a_service_whose_disk_fails_leaves_with_a_line_and_the_next_start_verifies(serve, connect, tmp_path, capfd):
    flag, script = tmp_path / "broken", tmp_path / "faulty.py"
    script.write_text(FAULTY.format(flag=str(flag)))
    service = serve(script=script)
    client = connect(service)
    ledger = str(tmp_path / "ledger")
    client.send(message("kept", ledger))
    flag.touch()
    process = service.spawn(*sending(service, "unknown", ledger), env=service.environment | {"ORCHA_RECONNECT": "0.2"})
    assert service.wait_for_end() == 75
    assert re.search(r"orcha: the service failed: .*orcha.db cannot be used any more: injected", service.stderr())
    assert "cannot be used any more" in service.stderr()
    assert process.wait(30) != 0
    folder = service.home / f"{service.address}-{service.port}"
    assert (folder / "orcha.db.damaged").exists()
    flag.unlink()
    service.start()
    assert not (folder / "orcha.db.damaged").exists()
    client.send(message("later", ledger))
    ids = {row["id"] for row in client.manager.client.rows(0b1111110, 10)}
    assert {"kept", "later"} <= ids


def message(identity, ledger, **script):
    from orcha.interfaces import Message

    return Message(identity, {"ledger": ledger, **script})


def sending(service, identity, ledger):
    program = (
        "import sys\nfrom orcha.lib import ClientManager\nfrom orcha.interfaces import Message\n"
        "client = ClientManager(listen_address=sys.argv[1], port=int(sys.argv[2]))\nclient.connect()\n"
        "client.send(Message(sys.argv[3], {'ledger': sys.argv[4]}))\n"
    )
    import sys

    return [sys.executable, "-c", program, service.address, str(service.port), identity, ledger]


# --- it is full ------------------------------------------------------------------------------------------------------


def test_below_the_watermark_submits_are_refused_ends_recorded_and_it_heals(under_test, full):
    under_test.submit(asked(1), waits=True)
    wait_for(lambda: asked(1).token in under_test.told.accepted, what="the acceptance")
    full(True)
    refused = wait_for_refusal(under_test, 2)
    assert under_test.told.refused[refused.token][0] == Verdict.BUSY
    assert "disk is full" in under_test.told.refused[refused.token][1]
    under_test.allow(asked(1))
    under_test.settle(asked(1))
    assert under_test.told.finals[asked(1).token] == 0
    under_test.submit(asked(1))
    full(False)
    accepted = wait_for_acceptance(under_test, refused)
    under_test.settle(accepted)
    assert under_test.told.finals[refused.token] == 0


def wait_for_refusal(under_test, first):
    """Ask again and again, until the service has noticed."""
    for number in range(first, first + 1000):
        one = asked(number)
        under_test.submit(one)
        wait_for(lambda one=one: one.token in under_test.told.refused | dict.fromkeys(under_test.told.accepted))
        if one.token in under_test.told.refused:
            return one
    raise AssertionError("nothing is refused")


def wait_for_acceptance(under_test, one):
    def accepted():
        under_test.told.refused.pop(one.token, None)
        under_test.submit(one)
        wait_for(lambda: one.token in under_test.told.refused | dict.fromkeys(under_test.told.accepted))
        return one.token in under_test.told.accepted

    wait_for(accepted, what="an acceptance")
    return one


class Full:
    """No room for anything, or for nothing but what the reserve had taken."""

    def __init__(self, folder, *, for_good):
        self._ballast = folder / "ballast"
        self._for_good = for_good

    def __call__(self, operation):
        if operation.kind == "write" and (self._for_good or self._ballast.exists()):
            raise apsw.FullError


def test_what_finds_no_room_is_refused_and_accepted_when_there_is_room_again(folder, disk, under_test):
    disk.before = Full(folder, for_good=True)
    under_test.submit(asked(1), asked(2))
    wait_for(lambda: len(under_test.told.refused) == 2, what="the refusals")
    assert {verdict for verdict, _ in under_test.told.refused.values()} == {Verdict.BUSY}
    disk.before = None
    wait_for_acceptance(under_test, asked(1))
    under_test.settle(asked(1))
    assert under_test.told.finals == {asked(1).token: 0}
    assert under_test.engine.failure is None


def test_with_the_reserve_in_use_ends_are_kept_and_values_dropped_with_one_line(folder, disk, under_test, full):
    under_test.submit(asked(1), waits=True, lines=5)
    under_test.submit(asked(2), waits=True, lines=5)
    wait_for(lambda: len(under_test.told.accepted) == 2, what="the acceptances")
    full(True)
    disk.before = Full(folder, for_good=False)
    under_test.allow(asked(1))
    under_test.settle(asked(1))
    assert not (folder / "ballast").exists()
    under_test.allow(asked(2))
    under_test.settle(asked(2))
    assert under_test.told.finals == {asked(1).token: 0, asked(2).token: 0}
    assert under_test.told.notices == ["orcha: values were dropped (5): the service's disk was full\n"] * 2
    disk.before = None
    full(False)
    wait_for_acceptance(under_test, asked(3))
    under_test.settle(asked(3))
    assert under_test.told.records[asked(3).token] == 2
    assert (folder / "ballast").exists()


def test_output_that_finds_no_room_is_dropped_and_counted(under_test, monkeypatch):
    def no_room(self, descriptor, parts, offset):
        raise StoreFull("no room on the disk")

    monkeypatch.setattr(segment.Segment, "_write", no_room)
    under_test.submit(asked(1), lines=6, width=40_000, code=3)
    under_test.settle(asked(1))
    assert under_test.told.finals == {asked(1).token: 3}
    assert len([line for line in under_test.told.notices if "values were dropped" in line]) >= 1
    assert under_test.engine.failure is None


def test_a_channel_that_has_its_fill_takes_no_more_values_and_ends_all_the_same(under_test, monkeypatch):
    monkeypatch.setattr(channels, "MAX_CHANNEL_BYTES", 100_000)
    under_test.submit(asked(1), lines=20, width=40_000, code=3)
    under_test.settle(asked(1))
    assert under_test.told.finals == {asked(1).token: 3}
    (line,) = under_test.told.notices
    assert "values were dropped (17): a channel takes 100000 bytes" in line


# --- it was tampered with --------------------------------------------------------------------------------------------


def flip(path):
    content = bytearray(path.read_bytes())
    for page in range(4096 * 20, len(content), 4096):
        content[page : page + 8] = b"\xff" * 8
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8192), "damaged|malformed|cut short"),
        (flip, "damaged|malformed"),
        (lambda path: path.unlink(), "is missing"),
    ],
    ids=["empty", "overwritten", "bits", "missing"],
)
def test_a_start_on_a_damaged_database_is_refused_and_changes_nothing(serve, connect, tmp_path, damage, line):
    import re

    service = serve(MANAGER)
    client = connect(service)
    client.send_many([message(f"m{number}", str(tmp_path / "ledger"), note="x" * 1000) for number in range(200)])
    assert service.stop() == 0
    path = service.home / f"{service.address}-{service.port}" / "orcha.db"
    damage(path)
    left = path.read_bytes() if path.exists() else None
    service.start(ready=False)
    assert service.wait_for_end() == 78
    assert re.search(rf"orcha: .*orcha\.db.*({line})", service.stderr()), service.stderr()
    assert (path.read_bytes() if path.exists() else None) == left
