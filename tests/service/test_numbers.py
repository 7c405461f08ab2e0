"""Whatever a client says once it is in, whatever numbers it gives: it is answered, and the service goes on."""

from __future__ import annotations

import select
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orcha._client.client import Client
from orcha._client.dial import dial
from orcha._protocol import messages, values
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.frames import decode_service_message, encode, frame
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Credit, Error, Follow, Item, Ping, Reply, Verdict
from support.waiting import DEADLINE

MIB = 1 << 20
MOST = (1 << 63) - 1

LOUD = """
from orcha.interfaces import Petition
from support.managers import ScriptManager

class LoudManager(ScriptManager):
    def convert_to_petition(self, m):
        if "count" not in m.extras:
            return super().convert_to_petition(m)
        def act(callback, petition):
            for number in range(m.extras["count"]):
                petition.communicate_nw(b"." * m.extras["size"])
            petition.finish()
        return Petition(m.id, m.extras["queue"], act, lambda p: True)
"""


def peak(pid: int) -> int:
    """Bytes of memory a process had at most."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def endpoint_of(service) -> Endpoint:
    return Endpoint(service.address, service.port, f"{service.home}/{service.address}-{service.port}")


@pytest.fixture
def loud(serve):
    """Give a service with a channel of 96 MiB, and that channel."""
    service = serve("loud:LoudManager", source=LOUD)
    client = Client(endpoint_of(service), None)
    client.connect()
    channel = client.channel()
    extras = values.encode({"queue": channel, "count": 96, "size": MIB})
    client.submit([Item(bytes(16), "loud", extras, channel.__orcha_channel__)])
    while channel.get() is not None:
        pass
    client.close()
    return service, channel.__orcha_channel__


def answered(endpoint: Endpoint) -> bool:
    """Tell whether a client comes in and is answered: what came to the engine before has been done then."""
    link = dial(endpoint, timeout=DEADLINE)
    link.sock.settimeout(DEADLINE)
    link.send(encode(Ping(1)))
    reply = decode_service_message(link.read_frames()[0])
    link.close()
    return isinstance(reply, Reply) and reply.verdict == Verdict.OK


@pytest.mark.parametrize(
    "asked",
    [
        [Follow(bytes(16), 0, 1 << 62)],
        [Follow(bytes(16), 0, MOST), Credit(bytes(16), MOST), Credit(bytes(16), MOST)],
        [Follow(bytes(16), 0, 1), *[Credit(bytes(16), 1 << 40)] * 20],
        [Follow(bytes(16), 0, MOST)] * 30,
    ],
    ids=["much", "more and more", "little, then much", "again and again"],
)
def test_no_more_is_read_for_a_follower_than_the_window_whatever_room_it_says_it_has(loud, asked):
    service, channel = loud
    endpoint = endpoint_of(service)
    before = peak(service.pid)
    link = dial(endpoint, timeout=DEADLINE)
    link.send(b"".join(encode(msgspec.structs.replace(each, channel=channel)) for each in asked))
    assert select.select([link], [], [], DEADLINE)[0]  # it begins to come, and nobody takes it
    assert answered(endpoint)
    assert peak(service.pid) - before < 64 * MIB
    link.close()


def test_who_asks_again_and_again_without_reading_gets_no_more_ahead_than_others(loud):
    """Each Follow asks for a window's worth from the beginning on; the last one holds, and is served to its end."""
    service, channel = loud
    endpoint = endpoint_of(service)
    before = peak(service.pid)
    link = dial(endpoint, timeout=DEADLINE)
    link.sock.settimeout(DEADLINE)
    for _ in range(4):  # pieces this large fit into the buffers of a socket that nobody reads
        link.send(encode(Follow(channel, 0, MOST)) * 500)
    assert select.select([link], [], [], DEADLINE)[0]
    assert answered(endpoint)
    assert peak(service.pid) - before < 64 * MIB
    last = -1
    while last < 96:  # the final value comes behind the 96 others
        for body in link.read_frames():
            data = decode_service_message(body)
            last = data.index + len(data.records) - 1
            if select.select([], [link], [], 0)[1]:  # else the service reads again once more is taken here
                link.send(encode(Credit(channel, MOST)))
    link.close()
    assert peak(service.pid) - before < 64 * MIB


# --- typed messages, with every number at its edges ------------------------------------------------------------------

EDGES = [0, 1, 2, 31, 63, 64, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 53, 1 << 62, MOST - 1, MOST]
COUNTS = st.one_of(st.sampled_from(EDGES), st.integers(0, MOST))
TEXTS = st.one_of(st.sampled_from(["", "open", "ended", "commands", "all", "\0", "x" * 5_000]), st.text(max_size=20))
TOKENS = st.one_of(st.sampled_from([bytes(16), b"\xff" * 16]), st.binary(min_size=16, max_size=16))
PRIORITIES = st.one_of(COUNTS, st.integers(-(1 << 63), -1), st.floats())
ODD = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.floats(), TEXTS, st.binary(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
NAMES = ("queue", "lines", "priority", "timeout", "final", "needs", "group", "retry", "hold", "gate")
EXTRAS = st.one_of(
    st.binary(max_size=30),
    ODD.map(values.encode),
    st.dictionaries(st.one_of(st.sampled_from(NAMES), TEXTS), ODD, max_size=4).map(values.encode),
)
MAYBE = {str | None: st.none() | TEXTS, messages.Count | None: st.none() | COUNTS}
FIELDS = {
    "request": COUNTS,
    "manager": st.none() | TEXTS,
    "credit": COUNTS,
    "items": st.lists(
        st.builds(Item, TOKENS, TEXTS | st.integers(-(1 << 63), (1 << 64) - 1), EXTRAS, st.none() | TOKENS), max_size=3
    ),
    "token": TOKENS,
    "id": st.none() | TEXTS,
    "why": TEXTS,
    "at_once": st.booleans(),
    "channel": TOKENS,
    "index": COUNTS,
    "size": COUNTS,
    "seq": st.none() | COUNTS,
    "attempt": COUNTS,
    "writer": st.binary(min_size=8, max_size=8),
    "number": COUNTS,
    "values": st.lists(EXTRAS, max_size=5),
    "value": st.none() | st.integers(-(1 << 63), MOST),
    "states": COUNTS,
    "limit": COUNTS,
    "before": st.none() | COUNTS,
    "group": st.none() | TEXTS,
    "name": TEXTS,
    "args": EXTRAS,
    "kwargs": EXTRAS,
    "priority": PRIORITIES,
    "signal": st.integers(1, 64),
    "offset": COUNTS,
    "data": st.binary(max_size=50),
    "end": st.booleans(),
    "rows": st.integers(0, 65_535),
    "columns": st.integers(0, 65_535),
    "array": st.none() | TEXTS,
    "failed": st.booleans(),
    "verb": st.none() | st.sampled_from(["cancel", "pause", "resume", "priority", "signal", "rm", "retry"]) | TEXTS,
    "ids": st.lists(st.sampled_from(["*", "x*", "[", "?"]) | TEXTS, max_size=3),
    "label": st.none() | TEXTS,
    "owner": st.none() | TEXTS,
    "arguments": st.none() | EXTRAS,
    "dry_run": st.booleans(),
    "expression": st.sampled_from(["*/5 * * * *", "0 0 31 2 *", "* * * * * *", "@daily"]) | TEXTS,
    "extras": EXTRAS,
    "zone": st.none() | st.sampled_from(["Europe/Berlin", "UTC", "../etc/passwd"]) | TEXTS,
    "overlap": st.sampled_from(["skip", "queue", "replace"]) | TEXTS,
    "missed": st.sampled_from(["skip", "last", "all"]) | TEXTS,
    "change": st.sampled_from(["pause", "resume", "remove", "rm"]) | TEXTS,
    "resources": st.sampled_from(["gpu=2", "gpu=0,1", "gpu=forget", "gpu=0@mem=24G,1"]) | TEXTS,
    "drained": st.booleans(),
    "slots": st.none() | COUNTS,
    "rules": st.none() | EXTRAS,
    "keeps_slots": st.booleans(),
    "renews": st.booleans(),
    "seconds": st.none() | PRIORITIES,
    "kind": st.sampled_from(["group", "resource"]),
    "verifier": st.none() | st.binary(max_size=65) | st.binary(min_size=64, max_size=64),
    "role": st.sampled_from(["viewer", "submitter", "admin", "owner"]) | TEXTS,
    "since": PRIORITIES,
    "who": st.none() | st.sampled_from(["root", "uid:0", "key:ci"]) | TEXTS,
    "secrets": st.none()
    | st.dictionaries(
        st.sampled_from(["TOKEN", "A_B", ""]) | TEXTS.map(lambda text: text[:256]), st.binary(max_size=20), max_size=3
    ),
    "user": st.none() | st.sampled_from(["root", "0", "nobody", "9" * 40]) | TEXTS,
    "certificate": st.none() | st.sampled_from(["dns:a.example", "cn:a", "dns:*", "SHA256:" + "a" * 43]) | TEXTS,
}
OWN_FIELDS = {
    (messages.Select, "states"): st.lists(st.sampled_from(["queued", "running", "failed"]) | TEXTS, max_size=3),
    (messages.SetGroup, "group"): TEXTS,
    (messages.Set, "arguments"): EXTRAS,
    (messages.GiveSecrets, "secrets"): st.dictionaries(
        TEXTS.map(lambda text: text[:256]), st.binary(max_size=20), max_size=3
    ),
}
"""Fields that one kind of message has with a type of its own."""
KINDS = [kind for kind in messages.ClientMessage.__args__ if kind is not messages.Stop]
NUMBERED = {messages.Put, messages.Finish, messages.Stdin, messages.Resize}
"""Those whose `seq` may not be left out."""


@st.composite
def typed(draw):
    """Give a message of the table, with fields of the right types."""
    kind = draw(st.sampled_from(KINDS))
    fields = {name: draw(OWN_FIELDS.get((kind, name), FIELDS[name])) for name in kind.__struct_fields__}
    if kind in NUMBERED:
        fields["seq"] = draw(COUNTS)
    return kind(**fields)


@st.composite
def mistyped(draw):
    """Give the body of a message one field of which is anything, or which has too many, or too few."""
    body = msgspec.msgpack.decode(encode(draw(typed()))[4:])
    at = draw(st.integers(0, len(body) - 1))
    act = draw(st.sampled_from(["replace", "cut", "append"]))
    anything = draw(ODD.filter(_fits))
    if act == "replace":
        body[at] = anything
    elif act == "cut":
        body = body[:at]
    else:
        body.append(anything)
    return frame(msgspec.msgpack.encode(body)) if body else frame(b"\x90")


def _fits(value) -> bool:
    """Tell whether msgpack can say this."""
    try:
        msgspec.msgpack.encode(value)
    except (OverflowError, msgspec.MsgspecError):
        return False
    return True


def spoken(endpoint: Endpoint, said: bytes, request: int | None) -> list:
    """Say something, and a Ping with another number behind it; give all that comes up to its answer, or the end."""
    last = 4_711 if request != 4_711 else 4_712
    link = dial(endpoint, timeout=DEADLINE)
    link.sock.settimeout(DEADLINE)
    heard = []
    waits = {last} | ({request} if request is not None else set())
    try:
        link.send(said + encode(Ping(last)))
        while waits and (bodies := link.read_frames()):
            for body in bodies:
                heard.append(decode_service_message(body))
                waits.discard(getattr(heard[-1], "request", None))
                if isinstance(heard[-1], Error):
                    waits.clear()
    except (ConnectionResetError, BrokenPipeError):
        pass
    finally:
        link.close()
    assert heard, "nothing was answered"
    return heard


@pytest.fixture
def served(service):
    """Give a service with a petition that runs until the end of the test, one that waits, and one that has ended."""
    client = Client(endpoint_of(service), None)
    client.connect()
    channel = client.channel()
    extras = {"queue": channel, "lines": ["x"]}
    client.submit([Item(bytes(16), "ended", values.encode(extras), channel.__orcha_channel__)])
    while channel.get() is not None:
        pass
    yield service
    client.close()


FUZZ = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@FUZZ
@given(message=typed())
def test_every_message_is_answered_whatever_its_numbers(served, message):
    request = getattr(message, "request", None)
    heard = spoken(endpoint_of(served), encode(message), request)
    assert not any(isinstance(answer, Error) for answer in heard)
    assert not any(
        getattr(answer, "verdict", None) == Verdict.RAISED and "the service failed" in (answer.reason or "")
        for answer in heard
    )
    assert served.process.poll() is None


@FUZZ
@given(said=mistyped())
def test_what_is_no_message_ends_that_connection_alone(served, said):
    spoken(endpoint_of(served), said, None)
    assert answered(endpoint_of(served))
    assert served.process.poll() is None


def test_a_message_whose_extras_are_no_dict_is_refused_with_the_cure(service):
    client = Client(endpoint_of(service), None)
    client.connect()
    for extras in (1.5, 7, ["argv"], "argv", None):
        (result,) = client.submit([Item(new_identity(), "odd", values.encode(extras), None)])
        assert result.verdict == Verdict.REFUSED
        assert result.reason.startswith(f"the message is refused: its extras are {extras!r}, and no dict")
    client.close()
