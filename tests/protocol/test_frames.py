"""Frames divide a stream, whatever its pieces, and never hold more than was announced and allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._protocol.frames import HEADER_BYTES, FrameError, FrameReader, frame

BODIES = st.lists(st.binary(min_size=1, max_size=300), max_size=12)


@given(BODIES, st.data())
def test_bodies_come_out_as_they_went_in_however_the_stream_is_cut(bodies, data):
    stream = b"".join(map(frame, bodies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader, found = FrameReader(300), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += [bytes(body) for body in reader.feed(stream[start:end])]
    assert found == bodies
    assert reader.kept == 0


@given(st.binary(max_size=200), st.data())
def test_garbage_gives_frames_or_an_error_and_is_never_kept_beyond_the_limit(garbage, data):
    reader = FrameReader(50)
    try:
        while garbage:
            size = data.draw(st.integers(1, len(garbage)))
            for body in reader.feed(garbage[:size]):
                assert 0 < len(body) <= 50
            assert reader.kept < HEADER_BYTES + 50
            garbage = garbage[size:]
    except FrameError:
        pass


@pytest.mark.parametrize("length", [0, 101, 2**31, 2**32 - 1])
def test_a_length_outside_the_limit_is_refused_with_its_header_before_any_byte_of_the_body(length):
    reader = FrameReader(100)
    assert reader.feed(length.to_bytes(4, "big")[:3]) == []
    with pytest.raises(FrameError, match=f"{length} bytes"):
        reader.feed(length.to_bytes(4, "big")[3:])


def test_a_length_of_2_to_the_63_is_refused():
    with pytest.raises(FrameError):
        FrameReader(100).feed((2**63).to_bytes(8, "big"))


def test_a_frame_of_exactly_the_limit_is_taken_byte_by_byte():
    reader = FrameReader(100)
    stream = frame(bytes(100))
    assert [reader.feed(stream[i : i + 1]) for i in range(len(stream) - 1)] == [[]] * (len(stream) - 1)
    assert [bytes(body) for body in reader.feed(stream[-1:])] == [bytes(100)]


def test_the_limit_can_be_raised_between_two_frames():
    reader = FrameReader(4)
    assert len(reader.feed(frame(b"abcd"))) == 1
    reader.limit = 5
    assert len(reader.feed(frame(b"abcde"))) == 1


def test_many_bytes_of_one_frame_in_small_pieces_cost_no_more_than_their_number():
    reader = FrameReader(1 << 22)
    stream = frame(bytes(1 << 22))
    fed = [reader.feed(stream[i : i + 1000]) for i in range(0, len(stream), 1000)]
    assert sum(map(len, fed)) == 1
