"""The bytes of unkept output stay in the service until every follower that keeps up has received them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orcha._protocol import values
from orcha._protocol.messages import ChannelRecord, Kind
from orcha._service.channels import output_pieces as spans
from orcha._service.channels.channel_book import Channel, Follower
from orcha._service.channels.unkept_output import LOOK_INTERVAL_SECONDS, UnkeptOutput
from orcha._supervisor.contract import UnkeptPiece

SEQ, ATTEMPT = 7, 2


class Scene:
    """One channel, its followers, and a shim that notes what it is told."""

    def __init__(self) -> None:
        self.channel = Channel(bytes(16), "owner", own=False)
        self.told: list[tuple[object, ...]] = []
        self.calls: list[tuple[float, object]] = []
        self.records: list[ChannelRecord] = []
        self.dropped: int | None = None
        self.unkept = UnkeptOutput(lambda _: self.channel, lambda *call: self.calls.append(call), lambda *_: None)
        self.unkept.connect(lambda: self, lambda *_: self.dropped)

    def took(self, seq: int, attempt: int, chunk: int) -> None:
        self.told.append(("took", seq, attempt, chunk))

    def read(self, seq: int, attempt: int, *, anybody: bool) -> None:
        self.told.append(("read", seq, attempt, anybody))

    def follower(self, peer: int) -> Follower:
        follower = Follower(SimpleNamespace(id=peer), self.channel.next, 1)
        follower.reads_along = True
        self.channel.followers[peer] = follower
        self.unkept.followed(self.channel.id)
        return follower

    def write(self, number: int, offset: int, data: bytes | None, length: int = 0) -> None:
        """Have a chunk come from the shim, and its record be kept."""
        piece = UnkeptPiece(offset, length or len(data or b""), data)
        payload = self.unkept.add(self.channel, SEQ, ATTEMPT, number, 1, piece)
        self.records.append(ChannelRecord(spans.PASSED, SEQ, payload))
        self.channel.next += 1
        assert self.unkept.delays(self.channel.id, SEQ, ATTEMPT, number)

    def got(self, follower: Follower, index: int) -> tuple[int, object]:
        """Give the kind and the value of a record as a follower gets it."""
        record = self.unkept.expanded(self.channel.id, self.records[index], follower)
        return record.kind, values.decode(record.payload)

    def look(self) -> None:
        ((seconds, call),) = self.calls
        assert seconds == LOOK_INTERVAL_SECONDS
        self.calls.clear()
        call()


@pytest.fixture
def scene():
    return Scene()


def test_a_chunk_is_acknowledged_when_every_follower_has_it(scene):
    one, other = scene.follower(1), scene.follower(2)
    scene.write(5, 0, b"abc")
    one.next = scene.channel.next
    scene.unkept.settle()
    assert scene.told == []
    assert scene.got(other, 0) == (Kind.VALUE, (1, b"abc"))
    other.next = scene.channel.next
    scene.unkept.settle()
    assert scene.told == [("took", SEQ, ATTEMPT, 5)]


def test_a_chunk_whose_record_is_not_kept_yet_is_not_acknowledged(scene):
    scene.follower(1)
    scene.unkept.add(scene.channel, SEQ, ATTEMPT, 5, 1, UnkeptPiece(0, 3, b"abc"))
    scene.unkept.settle()
    assert scene.told == []


def test_a_follower_that_got_nothing_between_two_looks_is_waited_for_no_longer(scene):
    follower = scene.follower(1)
    scene.write(5, 0, b"abc")
    scene.unkept.settle()
    scene.look()
    assert scene.told == []
    scene.look()
    assert scene.told == [("took", SEQ, ATTEMPT, 5)]
    assert scene.got(follower, 0)[0] == Kind.NOTICE
    scene.write(6, 3, b"def")
    scene.unkept.settle()
    assert scene.told[-1] == ("took", SEQ, ATTEMPT, 6)


def test_a_slow_follower_that_gets_something_between_two_looks_is_waited_for(scene):
    follower = scene.follower(1)
    for number in range(4):
        scene.write(5 + number, 3 * number, b"abc")
    scene.unkept.settle()
    for _ in range(3):
        scene.look()
        follower.next += 1
    assert scene.told == []
    assert scene.got(follower, 3) == (Kind.VALUE, (1, b"abc"))


def test_a_loss_is_counted_once_and_from_where_it_begins(scene):
    scene.write(5, 0, b"abc")
    scene.write(6, 3, None, length=100)
    scene.write(7, 103, b"def")
    scene.unkept.settle()
    scene.write(8, 106, b"ghi")
    late = Follower(SimpleNamespace(id=9), 0, 1)
    assert scene.got(late, 0)[0] == Kind.NOTICE
    assert scene.got(late, 0) == (Kind.VALUE, (1, b""))
    fresh = Follower(SimpleNamespace(id=10), 0, 1)
    kind, line = scene.got(fresh, 1)
    assert kind == Kind.NOTICE
    assert line.startswith("orcha: 103 bytes of output are lost: ")
    assert scene.got(fresh, 2) == (Kind.VALUE, (1, b""))
    assert scene.got(fresh, 3) == (Kind.VALUE, (1, b"ghi"))


@pytest.mark.parametrize(
    ("dropped", "line"), [(50, "orcha: 47 bytes of output are lost: "), (None, "orcha: some of its output is missing")]
)
def test_of_an_ended_attempt_the_loss_is_what_its_history_says(scene, dropped, line):
    scene.write(5, 0, b"abc")
    scene.write(6, 3, b"def")
    scene.unkept.over(scene.channel.id, SEQ, ATTEMPT)
    scene.unkept.settle()
    assert scene.told == []
    scene.dropped = dropped
    late = Follower(SimpleNamespace(id=9), 0, 1)
    kind, told = scene.got(late, 1)
    assert kind == Kind.NOTICE
    assert told.startswith(line)


def test_the_shim_is_told_when_nobody_follows_and_when_somebody_does_again(scene):
    scene.follower(1)
    scene.write(5, 0, b"abc")
    scene.channel.followers.clear()
    scene.unkept.settle()
    assert scene.told == [("took", SEQ, ATTEMPT, 5), ("read", SEQ, ATTEMPT, False)]
    scene.follower(2)
    assert scene.told[-1] == ("read", SEQ, ATTEMPT, True)
