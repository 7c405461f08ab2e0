"""Service and shim make the same frames of the same messages, each with its own JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._supervisor.contract import CommandSpec
from orcha._supervisor.link import STANDARD_CODEC, Decoder, Frame, ProtocolError, encode
from orcha._supervisor.protocol import pack_spec, unpack_spec
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


def test_what_a_specification_does_not_say_does_not_travel_and_is_read_from_builds_that_send_it():
    spec = CommandSpec(1, 2, b"c" * 16, ("true",), "/", {"PATH": "/bin"}, umask=0o22, processors=(0, 1))
    head = pack_spec(spec)
    assert None not in head.values()
    assert unpack_spec(head) == spec
    assert unpack_spec(dict.fromkeys(CommandSpec._fields) | head) == spec


@pytest.mark.parametrize("name", ["seq", "attempt", "channel", "argv", "cwd", "env"])
def test_a_specification_without_what_each_command_has_is_refused(name):
    head = pack_spec(CommandSpec(1, 2, b"c" * 16, ("true",), "/", {}))
    with pytest.raises(ValueError, match=r"KeyError|TypeError"):
        unpack_spec(head | {name: None})


@pytest.mark.parametrize(
    ("name", "value"), [("umask", 0o1000), ("grace", -1), ("stop_signal", "INT"), ("uid", 1 << 32)]
)
def test_a_number_that_makes_no_sense_is_refused(name, value):
    head = pack_spec(CommandSpec(1, 2, b"c" * 16, ("true",), "/", {}))
    with pytest.raises(ValueError, match=name):
        unpack_spec(head | {name: value})
