"""Service and shim make the same frames of the same messages, each with its own JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._supervisor.link import STANDARD_CODEC, Decoder, Frame, ProtocolError, encode
from orcha._supervisor.shim_connection import FAST_CODEC

TEXT = st.text(st.characters(), max_size=8)  # lone surrogates too: bytes of arguments that are no UTF-8
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
HEADS = st.dictionaries(TEXT, VALUES, max_size=4).map(lambda head: {**head, "t": "start"})


@given(head=HEADS, raw=st.binary(max_size=16))
@pytest.mark.parametrize(
    ("writes", "reads"), [(FAST_CODEC, STANDARD_CODEC), (STANDARD_CODEC, FAST_CODEC)], ids=["to the shim", "from it"]
)
def test_what_one_side_writes_the_other_reads(writes, reads, head, raw):
    assert list(Decoder(reads).feed(encode(head, raw, writes))) == [Frame(head, raw)]


@pytest.mark.parametrize("codec", [FAST_CODEC, STANDARD_CODEC], ids=["service", "shim"])
@pytest.mark.parametrize("text", [b"", b"[]", b'{"s":1}', b'{"t":1}', b"{", b'{"t":"\xff"}', b'"start"'])
def test_what_is_no_message_is_no_message_to_either(codec, text):
    frame = len(text).to_bytes(4, "big") * 2 + text
    with pytest.raises(ProtocolError):
        list(Decoder(codec).feed(frame))
