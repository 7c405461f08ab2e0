"""What an older build has kept, though no message holds it, keeps nobody from being served."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from orcha._protocol.frames import MAX_FRAME_BYTES
from orcha.interfaces import Message
from orcha.lib import ClientManager
from support.commands import COMMANDS
from support.service import Serve
from support.waiting import wait_for

LONG = "x" * (MAX_FRAME_BYTES + 1)
BYTES = b"\xc6" + (MAX_FRAME_BYTES + 16).to_bytes(4, "big") + bytes(MAX_FRAME_BYTES + 16)
GROUP = "INSERT INTO grouping (petition, name) SELECT seq, ?1 FROM petition WHERE id = 'waits'"
NEED = "INSERT INTO need (petition, resource, amount) SELECT seq, ?1, 1 FROM petition WHERE id = 'waits'"
ONCE = "INSERT INTO once (petition, key) SELECT seq, ?1 FROM petition WHERE id = 'waits'"
SET_MESSAGE = "UPDATE petition SET extras = ?1 WHERE id ="
STATEMENTS = {
    "long reason": ("UPDATE petition SET reason = ?1 WHERE id = 'ended'", LONG),
    "nul in a reason": ("UPDATE petition SET reason = ?1 WHERE id = 'ended'", "a\0b"),
    "wide reason": ("UPDATE petition SET reason = ?1 WHERE id = 'ended'", "\U0001f600" * 3_000_000),
    "lines in a reason": ("UPDATE petition SET reason = ?1 WHERE id = 'ended'", "a\nb\x1b[2J\x7f\u2028"),
    "long owner": ("UPDATE petition SET owner = ?1 WHERE id = 'ended'", LONG),
    "long manager": ("UPDATE petition SET manager = ?1 WHERE id = 'ended'", LONG),
    "long id": ("UPDATE petition SET id = ?1 WHERE id = 'ended'", LONG),
    "long group": (GROUP, LONG),
    "long pause": ("INSERT INTO pause (name) VALUES (?1)", f"group:{LONG}"),
    "long key": (ONCE, LONG),
    "long need": (
        NEED,
        LONG,
    ),
    "no message": (f"{SET_MESSAGE} 'waits'", b"\xc1\xc1"),
    "another message": (f"{SET_MESSAGE} 'ended'", b"\x93\x01\x02\x03"),
    "long message": (
        f"{SET_MESSAGE} 'ended'",
        BYTES,
    ),
    "infinite priority": ("UPDATE petition SET priority = ?1 WHERE id = 'waits'", float("-inf")),
    "largest code": ("UPDATE petition SET code = ?1 WHERE id = 'ended'", (1 << 63) - 1),
}


ENVIRONMENT = {"ORCHA_COMMANDS": "1"}


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """Give the folder that a service left in good order, with a petition that has ended and two that wait."""
    home = Path(tempfile.mkdtemp(prefix="orcha-"))
    factory = Serve(home, tmp_path_factory.mktemp("left"))
    service = factory(COMMANDS, environment=ENVIRONMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORCHA_HOME", str(home))
        client = ClientManager(listen_address=service.address, port=service.port)
        assert client.connect()
        client.send(Message("ended", {"argv": ["true"]}))
        wait_for(lambda: not json.loads(service.ask("ps", "--json").stdout), what="its end")
        assert service.ask("pause", "-a").returncode == 0
        client.send(Message("waits", {"argv": ["true"]}))
        client.send(Message("waits too", {"argv": ["true"]}))
        client.shutdown()
    assert service.stop() == 0
    assert factory.close() == []
    yield home / f"127.0.0.1-{service.port}"
    shutil.rmtree(home)


@pytest.mark.parametrize("what", STATEMENTS)
def test_it_starts_and_serves(serve, left, what):
    service = serve(COMMANDS, environment=ENVIRONMENT, start=False)
    shutil.copytree(left, service.home / f"127.0.0.1-{service.port}")
    with closing(apsw.Connection(str(service.home / f"127.0.0.1-{service.port}" / "orcha.db"))) as database:
        database.execute(*(part if position == 0 else (part,) for position, part in enumerate(STATEMENTS[what])))
        assert database.changes() == 1
    (service.home / f"127.0.0.1-{service.port}" / "orcha.db.clean").write_text("")  # a change that is meant
    service.start()
    for asked in (("ps", "-a"), ("ps", "-a", "--json"), ("stats",), ("show", "waits"), ("show", "waits too")):
        done = service.ask(*asked)
        assert done.returncode == 0, (asked, done.stderr)
        assert len(done.stdout) < 1 << 20
    if what != "long id":
        assert service.ask("show", "ended").returncode == 0
    assert service.ask("resume", "-a").returncode == 0
    wait_for(lambda: service.ask("wait", "waits too").returncode == 0, what="the end of what waited")
    assert service.run("run", "--", "true").returncode == 0
    assert service.process.poll() is None
