"""Messages come out as they went in; anything else is a FrameError, and nothing but that."""

from __future__ import annotations

import contextlib
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._protocol import messages
from orcha._protocol.frames import (
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    FrameError,
    decode_client_message,
    decode_service_message,
    encode,
)
from orcha._protocol.messages import (
    Cancel,
    ClientMessage,
    Finish,
    Follow,
    Item,
    Ping,
    Put,
    Reply,
    ServiceMessage,
    Submit,
)

COUNT = st.integers(0, 2**63 - 1)
FINAL = st.integers(-(2**63), 2**63 - 1)
ID16, ID8 = st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
ITEM = st.builds(Item, ID16, TEXT | st.integers(-(2**63), 2**64 - 1), st.binary(max_size=50), st.none() | ID16)
RECORD = st.builds(messages.ChannelRecord, st.integers(0, 3), COUNT, st.binary(max_size=50))
RESULT = st.builds(messages.Result, COUNT, COUNT, st.none() | ID16, st.none() | TEXT)
WHICH = (st.none() | TEXT, st.none() | COUNT)
SIDE = st.integers(0, 65_535)
CELL = TEXT | FINAL | st.floats(allow_nan=False) | st.booleans() | st.none()

FROM_CLIENT: dict[type, st.SearchStrategy[Any]] = {
    messages.Submit: st.builds(Submit, COUNT, st.none() | TEXT, COUNT, st.lists(ITEM, max_size=5)),
    messages.Cancel: st.builds(Cancel, COUNT, st.none() | ID16, st.none() | TEXT, TEXT, st.booleans()),
    messages.Follow: st.builds(Follow, ID16, COUNT, COUNT),
    messages.Unfollow: st.builds(messages.Unfollow, ID16),
    messages.Credit: st.builds(messages.Credit, ID16, COUNT),
    messages.Put: st.builds(Put, COUNT, ID16, COUNT, COUNT, ID8, COUNT, st.lists(st.binary(max_size=20), max_size=5)),
    messages.Finish: st.builds(Finish, COUNT, ID16, COUNT, COUNT, st.none() | FINAL),
    messages.List: st.builds(messages.List, COUNT, COUNT, COUNT, st.none() | COUNT, st.none() | TEXT, st.none() | TEXT),
    messages.Call: st.builds(
        messages.Call, COUNT, TEXT, st.binary(max_size=20), st.binary(max_size=20), st.none() | TEXT
    ),
    messages.Ping: st.builds(Ping, COUNT),
    messages.CloseChannel: st.builds(messages.CloseChannel, ID16),
    messages.Show: st.builds(messages.Show, COUNT, *WHICH),
    messages.Select: st.builds(
        messages.Select,
        COUNT,
        st.none() | TEXT,
        st.lists(TEXT, max_size=3),
        *[st.none() | TEXT] * 3,
        st.lists(TEXT, max_size=3),
        st.none() | st.binary(max_size=20),
        st.booleans(),
        st.none() | COUNT,
    ),
    messages.AddSchedule: st.builds(
        messages.AddSchedule, COUNT, TEXT, TEXT, st.binary(max_size=20), st.none() | TEXT, st.none() | TEXT, TEXT, TEXT
    ),
    messages.ListSchedules: st.builds(messages.ListSchedules, COUNT, st.none() | TEXT),
    messages.ChangeSchedule: st.builds(messages.ChangeSchedule, COUNT, TEXT, TEXT),
    messages.FireSchedule: st.builds(messages.FireSchedule, COUNT, ID16, TEXT),
    messages.Signal: st.builds(messages.Signal, COUNT, *WHICH, st.integers(1, 64)),
    messages.ListResources: st.builds(messages.ListResources, COUNT),
    messages.SetResource: st.builds(messages.SetResource, COUNT, st.text()),
    messages.SetGroup: st.builds(messages.SetGroup, COUNT, st.text(), COUNT | st.none()),
    messages.DrainResource: st.builds(messages.DrainResource, COUNT, st.text(), st.booleans(), st.text()),
    messages.ListEvents: st.builds(
        messages.ListEvents, COUNT, COUNT, st.floats(allow_nan=False), st.none() | st.floats(allow_nan=False)
    ),
    messages.Who: st.builds(messages.Who, COUNT),
    messages.Reload: st.builds(messages.Reload, COUNT),
    messages.SetKey: st.builds(
        messages.SetKey,
        COUNT,
        TEXT,
        st.none() | st.binary(max_size=64),
        TEXT,
        st.none() | st.floats(allow_nan=False),
        TEXT,
    ),
    messages.ListKeys: st.builds(messages.ListKeys, COUNT, st.none() | TEXT),
    messages.GiveSecrets: st.builds(
        messages.GiveSecrets, COUNT, *WHICH, st.dictionaries(TEXT, st.binary(max_size=20), max_size=3), st.none() | ID16
    ),
    messages.Unset: st.builds(messages.Unset, COUNT, st.sampled_from(["group", "resource"]), st.text()),
    messages.DrainService: st.builds(
        messages.DrainService, COUNT, st.booleans(), st.text(), st.none() | st.floats(0, allow_nan=False)
    ),
    messages.Set: st.builds(messages.Set, COUNT, *WHICH, st.binary()),
    messages.ChangeLease: st.builds(messages.ChangeLease, COUNT, st.text(), st.none() | st.floats(allow_nan=False)),
    messages.Priority: st.builds(messages.Priority, COUNT, *WHICH, FINAL | st.floats(allow_nan=False)),
    messages.Pause: st.builds(messages.Pause, COUNT, *WHICH, st.none() | TEXT),
    messages.Resume: st.builds(messages.Resume, COUNT, *WHICH, st.none() | TEXT),
    messages.Remove: st.builds(messages.Remove, COUNT, *WHICH),
    messages.Retry: st.builds(messages.Retry, COUNT, ID16, *WHICH),
    messages.Stats: st.builds(messages.Stats, COUNT),
    messages.Stdin: st.builds(messages.Stdin, COUNT, COUNT, COUNT, COUNT, st.binary(max_size=50), st.booleans()),
    messages.Resize: st.builds(messages.Resize, COUNT, COUNT, COUNT, SIDE, SIDE),
    messages.Stop: st.builds(messages.Stop, COUNT, st.booleans(), st.booleans()),
}
FROM_SERVICE: dict[type, st.SearchStrategy[Any]] = {
    messages.Submitted: st.builds(messages.Submitted, COUNT, st.lists(RESULT, max_size=5)),
    messages.Reply: st.builds(Reply, COUNT, COUNT, st.none() | st.binary(max_size=20), st.none() | TEXT),
    messages.Data: st.builds(messages.Data, ID16, COUNT, st.lists(RECORD, max_size=5)),
    messages.Gap: st.builds(messages.Gap, ID16, COUNT),
    messages.Reset: st.builds(messages.Reset, ID16, COUNT),
    messages.Gone: st.builds(messages.Gone, ID16, TEXT),
    messages.Rows: st.builds(messages.Rows, COUNT, st.lists(st.dictionaries(TEXT, CELL, max_size=3), max_size=3)),
    messages.Stopping: st.builds(messages.Stopping, TEXT),
    messages.Error: st.builds(messages.Error, TEXT),
}


def test_every_message_of_the_table_is_drawn_below():
    assert set(FROM_CLIENT) == set(get_args(ClientMessage))
    assert set(FROM_SERVICE) == set(get_args(ServiceMessage))


@given(st.one_of(*FROM_CLIENT.values()))
def test_a_clients_message_comes_out_as_it_went_in(message):
    assert decode_client_message(encode(message)[HEADER_BYTES:]) == message


@given(st.one_of(*FROM_SERVICE.values()))
def test_a_services_message_comes_out_as_it_went_in(message):
    assert decode_service_message(encode(message)[HEADER_BYTES:]) == message


@given(st.one_of(*FROM_CLIENT.values()))
def test_what_a_client_says_is_no_message_of_a_service(message):
    with pytest.raises(FrameError):
        decode_service_message(encode(message)[HEADER_BYTES:])


@pytest.mark.parametrize("decode", [decode_client_message, decode_service_message])
@given(body=st.binary(max_size=80))
def test_garbage_is_a_message_or_a_frame_error(decode, body):
    with contextlib.suppress(FrameError):
        decode(body)


@given(message=st.one_of(*FROM_CLIENT.values()), data=st.data())
def test_a_damaged_message_is_a_message_or_a_frame_error(message, data):
    body = bytearray(encode(message)[HEADER_BYTES:])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    del body[data.draw(st.integers(0, len(body))) :]
    with contextlib.suppress(FrameError):
        decode_client_message(bytes(body))


@pytest.mark.parametrize(
    "fields",
    [
        [3, b"short", 0, 0],
        [3, bytes(17), 0, 0],
        [3, bytes(16), -1, 0],
        [3, bytes(16), 2**63, 0],
        [7, 1, bytes(16), 1, 1, 2**63],
        [6, 1, bytes(16), 1, 1, bytes(7), 1, []],
        [1, 1, None, 0, [[bytes(15), "id", b"", None]]],
        [12, 1],
        [10],
        ["10", 1],
        {},
    ],
)
def test_fields_outside_their_bounds_are_refused(fields):
    with pytest.raises(FrameError):
        decode_client_message(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize(
    "bomb",
    [b"\x91" * 1_000_000, b"\x81\x01" * 1_000_000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"],
    ids=["arrays", "maps", "long array", "long bytes"],
)
def test_a_bomb_of_depth_or_length_is_a_frame_error(bomb):
    with pytest.raises(FrameError):
        decode_client_message(bomb)


def test_bytes_after_a_message_are_refused():
    with pytest.raises(FrameError):
        decode_client_message(encode(Ping(1))[HEADER_BYTES:] + b"\x00")


def test_fields_that_a_later_version_adds_at_the_end_are_not_looked_at():
    assert decode_client_message(msgspec.msgpack.encode([10, 7, "later"])) == Ping(7)


def test_what_a_frame_cannot_hold_is_refused_where_it_is_sent():
    with pytest.raises(FrameError, match="longer"):
        encode(Reply(1, 0, bytes(MAX_FRAME_BYTES)))
    with pytest.raises(FrameError, match="cannot be sent"):
        encode(Reply(2**64, 0))
    with pytest.raises(FrameError, match="cannot be sent"):
        encode(Reply(1, 0, None, "\ud800"))
