"""What is fuzzed: each target takes any bytes, and raises where the code under test does not keep its word.

An error by which code says that bytes are none of its own is its word kept. `scripts/fuzz` drives the targets with
atheris; `test_corpus.py` plays the kept inputs.
"""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from orcha._cli import moments
from orcha._configuration import reading
from orcha._core.conditions.condition import Condition
from orcha._core.conditions.errors import ConditionTextError
from orcha._core.conditions.kinds import Unknown, ValueKind
from orcha._core.conditions.terms import BUILT_IN
from orcha._core.schedules import ExpressionError, Timetable, due
from orcha._core.state import Missed
from orcha._protocol import values
from orcha._protocol.frames import (
    MAX_FRAME_BYTES_BEFORE_AUTHENTICATION,
    FrameError,
    FrameReader,
    decode_client_message,
    decode_service_message,
    encode,
    frame,
)
from orcha._protocol.handshake import (
    TLS,
    UNIX,
    ClientHandshake,
    ClientHello,
    Door,
    HandshakeError,
    NotAdmittedError,
    ServerHandshake,
    ServerHello,
)
from orcha._protocol.keys import KEY_PREFIX, Key, parse_key, record_of
from orcha._protocol.relay_greeting import FarSide, GreetingError, GreetingReader, greeting
from orcha._supervisor.link import Decoder, ProtocolError
from orcha._supervisor.protocol import unpack_spec
from orcha.exceptions import OrchaError
from orcha.utils import amounts

_KEY = Key("fuzz", bytes(range(32)))
_DOOR = Door({_KEY.id: record_of(_KEY, "admin", bytes(16))}, instance=bytes(16), salts=bytes(32))
_NOW = datetime(2030, 1, 31, 21, 30)  # noqa: DTZ001 - as moments.read takes it
_ZONE = ZoneInfo("Europe/Berlin")
_SHOWN_INSTANTS = 3
_BEGIN = 1_900_000_000.0  # seconds since 1970


def frames(data: bytes) -> None:
    """Bytes give the same frames in pieces and at once, and no frame is larger than may be."""
    whole, by_piece = _fed([data]), _fed([data[place : place + 3] for place in range(0, len(data), 3)])
    assert whole == by_piece
    assert all(0 < len(body) <= MAX_FRAME_BYTES_BEFORE_AUTHENTICATION for body in whole[0])
    if not whole[1]:
        assert data.startswith(b"".join(map(frame, whole[0])))
    decoder = Decoder()  # of the supervisor
    with contextlib.suppress(ProtocolError):
        for found in decoder.feed(data):
            assert isinstance(found.head["t"], str)
            if isinstance(found.head.get("spec"), dict):
                with contextlib.suppress(ValueError):
                    unpack_spec(found.head["spec"], found.raw)


def _fed(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    """Give the bodies of the frames, and whether the bytes were none."""
    reader = FrameReader(MAX_FRAME_BYTES_BEFORE_AUTHENTICATION)
    bodies: list[bytes] = []
    try:
        for piece in pieces:
            bodies += [bytes(body) for body in reader.feed(piece)]
    except FrameError:
        # Of one piece that ends in what is no frame no body is handed out, of more pieces the first ones are.
        return [], True
    return bodies, False


def handshake(data: bytes) -> None:
    """Nobody without the key is admitted, only errors of a handshake are raised, and a relay is heard by piece too."""
    assert _greeted([data]) == _greeted([data[place : place + 3] for place in range(0, len(data), 3)])
    for unpack in (ClientHello.unpack, ServerHello.unpack):
        with contextlib.suppress(HandshakeError):
            hello = unpack(data)
            assert unpack(hello.pack()) == hello or isinstance(hello, ClientHello)
    bodies = _cut(data)
    for transport in (TLS, UNIX):
        server = ServerHandshake(_DOOR, transport, certificate_hash=bytes(32), uid=lambda: None)
        with contextlib.suppress(HandshakeError, NotAdmittedError):
            for body in bodies:
                server.receive(body)
        assert server.admission is None
        client = ClientHandshake(transport, "127.0.0.1:1", _KEY, certificate_hash=bytes(32))
        client.start()
        with contextlib.suppress(OrchaError):
            for body in bodies:
                client.receive(body)
        assert not client.done


def _greeted(pieces: list[bytes]) -> FarSide | str | None:
    """Give what a relay says, or why this is no relay's line; None where more has to come."""
    reader = GreetingReader()
    try:
        for piece in pieces:
            if (far := reader.feed(piece)) is not None:
                assert greeting(far).isascii()
                return far
    except GreetingError as error:
        return str(error)
    return None


def _cut(data: bytes) -> list[bytes]:
    """Give the parts of a handshake: the first byte of each says how long it is."""
    found = []
    while data:
        found.append(data[1 : data[0] + 1])
        data = data[data[0] + 1 :]
    return found


def messages(data: bytes) -> None:
    """A message that can be read can be sent, and is the same then; what it carries are values, or a ValueError."""
    for decode in (decode_client_message, decode_service_message):
        try:
            found: Any = decode(data)
        except FrameError:
            continue
        with contextlib.suppress(FrameError):
            sent = encode(found)
            again = decode(sent[4:])
            assert encode(again) == sent
    for read in (lambda: values.decode(data, channel=_Channel), lambda: values.fields_of(data)):
        with contextlib.suppress(ValueError):
            found = read()
            with contextlib.suppress(TypeError, ValueError):
                values.encode(found)
    if data.startswith(KEY_PREFIX.encode()):  # else it is a key of any text, which costs 60 ms on purpose
        with contextlib.suppress(ValueError):
            parse_key(data.decode("utf-8", "replace"))


class _Channel:
    """What stands in the place of a channel."""

    def __init__(self, identity: bytes) -> None:
        self.__orcha_channel__ = identity


class _Everything:
    """Knows a value of each name, or that it is unknown."""

    def __init__(self, number: int) -> None:
        self._number = number

    def get(self, reading: Any, /) -> Any:
        """Give it."""
        term = BUILT_IN[reading.name]
        if self._number % 3 == 0:
            return Unknown("nobody has looked")
        if self._number % 3 == 1:
            return None
        return "mon" if term.kind is ValueKind.TEXT else term.kind is ValueKind.TRUTH or self._number


def conditions(data: bytes) -> None:
    """A text is a condition, which can be answered with whatever is known, or what is wrong with it is pointed at."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = Condition(text, BUILT_IN)
    except ConditionTextError as error:
        str(error)
        return
    for number in range(3):
        seen = _Everything(number)
        holds = found.holds(seen)
        assert holds is not bool(found.false_parts(seen)) or number < 2
    assert Condition(found.text, BUILT_IN).readings == found.readings


def configuration(data: bytes) -> None:
    """Of any file each setting has a place, and each fault is one line with one."""
    found = reading.read(data, "orcha.toml")
    lines = data.count(b"\n") + data.count(b"\r") + 1
    for given in found.given.values():
        assert 1 <= given.place.line <= lines
        assert given.place.column >= 1
    for fault in found.faults:
        assert 1 <= fault.line <= lines + 1
        assert "\n" not in fault.text
        str(fault)


def times(data: bytes) -> None:
    """Texts for times are times, or what is wrong is said; the instants of a schedule come in order, and are fired."""
    text = data.decode("utf-8", "surrogateescape")
    for zone in (UTC, _ZONE):
        with contextlib.suppress(ExpressionError):
            timetable = Timetable(text, zone)
            timetable.check_comes_after(_BEGIN)
            instants = list(islice(timetable.after(_BEGIN), _SHOWN_INSTANTS))
            assert instants == sorted(set(instants))
            assert instants[0] > _BEGIN
            timetable.name_of(instants[0])
            for missed in Missed:
                assert due(timetable, missed, _BEGIN, instants[-1]).next > instants[-1]
    with contextlib.suppress(ValueError, OverflowError):
        moments.read(text, _NOW)
    with contextlib.suppress(argparse.ArgumentTypeError):
        assert math.isfinite(moments.moment(text))
    with contextlib.suppress(ValueError):
        assert 0 <= amounts.read_duration(text) <= amounts.MAX_DURATION_SECONDS
    with contextlib.suppress(ValueError):
        assert 1 <= amounts.read_size(text) < amounts.MAX_SIZE_BYTES


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (frames, handshake, messages, conditions, configuration, times)
}

__all__ = ["TARGETS"]
