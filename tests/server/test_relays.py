"""Somebody who listens where a client dials, and passes what it says on to the client's service, gets nowhere.

The service, its client and the one between are three processes; the one between is another user of the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from orcha._protocol.keys import make_key
from server import between
from support import warm
from support.ports import free_port

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two other users")
VICTIM, STRANGER = 61001, 61002


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


PLACES = [
    "another port",
    pytest.param("localhost", marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")),
]


@pytest.fixture
def act():
    """Give a function that acts a relay out, and gives what the client was told and which messages the service got."""
    home = Path(tempfile.mkdtemp(prefix="orcha-relay-"))
    os.chown(home, VICTIM, VICTIM)
    (home / "key").write_text(make_key().text)
    os.chown(home / "key", VICTIM, VICTIM)
    (home / "key").chmod(0o600)

    def acted(**changes):
        given = {"service": VICTIM, "client": VICTIM, "between": STRANGER, "place": "another port", "key": None}
        given |= {"means": "every byte as it is", "home": str(home), "port": free_port(), "other": free_port()}
        given |= {"reached_as": []} | changes
        done = warm.run(
            [sys.executable, between.__file__, json.dumps(given)],
            env=os.environ | {"ORCHA_HOME": str(home), "PYTHONPATH": str(Path(between.__file__).parents[1])},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    yield acted
    shutil.rmtree(home)


@pytest.mark.parametrize("key", [None, "a key that is given by its name"])
def test_nobody_between_is_no_hindrance(act, key):
    assert act(between=None, key=key) == {"told": "in: True", "messages": ["Ping(1)"]}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("means", between.MEANS)
def test_the_users_own_key_is_proved_to_no_other_user(act, place, means):
    came = act(place=place, means=means)
    assert came["messages"] == []
    assert came["told"].startswith("AuthenticationError: what listens on ")
    assert f"belongs to uid {STRANGER}, and not to uid {VICTIM}" in came["told"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("means", between.MEANS)
@pytest.mark.parametrize(
    "who",
    [
        {"key": "a key that is given by its name"},  # the listener may then be another user, and is one
        {"between": VICTIM},  # no difference of users stands in the way
        {"between": 0},
    ],
    ids=["named key", "same user", "root"],
)
def test_whoever_passes_a_handshake_on_says_nothing_and_hears_nothing(act, place, means, who):
    came = act(place=place, means=means, **who)
    assert came["messages"] == []
    assert came["told"].partition(":")[0] in {"AuthenticationError", "OrchaConnectionError"}
    if means == "every byte as it is":
        assert "passes connections on" in came["told"]


def test_in_a_tunnel_that_the_service_knows_nobody_else_says_anything(act):
    """Where the service expects a tunnel its bytes are still between the two ends alone."""
    port = free_port()
    came = act(other=port, reached_as=[f"127.0.0.1:{port}"], between=VICTIM)
    assert came == {"told": "in: True", "messages": ["Ping(1)"]}
    came = act(other=port, reached_as=[f"127.0.0.1:{port}"], between=VICTIM, means="TLS of its own")
    assert came["messages"] == []
    assert came["told"].startswith("AuthenticationError")
