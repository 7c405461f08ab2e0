"""`docs/wire.md` says what is: its tables are the code's, and its vectors come out."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path, PurePosixPath
from typing import get_args
from uuid import UUID

import pytest

from orcha._protocol import frames, handshake, messages, scram, values, wire_types
from orcha._protocol.frames import encode, frame
from orcha._protocol.handshake import ClientHello, ServerHello, binding_of
from orcha._protocol.keys import capability_id, parse_key, record_of
from orcha._protocol.messages import (
    ChannelRecord,
    ClientMessage,
    Finish,
    Item,
    Kind,
    Put,
    Reply,
    ServiceMessage,
    Submit,
    Verdict,
)
from orcha._protocol.wire_types import Code
from orcha._server.limits import ConnectionLimits

DOCUMENT = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
KEY = parse_key("orcha1.kdocument.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")


class Channel:
    __orcha_channel__ = b"C" * 16


def vectors():
    """Give each vector's bytes by its name in the document."""
    client_hello = ClientHello(1, 1, handshake.TLS, KEY.id, "127.0.0.1:50000").pack()
    server_hello = ServerHello(0, 1, 1, b"\xaa" * 16).pack()
    binding = binding_of(client_hello, server_hello, b"\xcc" * 32)
    client = scram.ScramClient(KEY, binding, b"clientnonce")
    record = record_of(KEY, salt=b"\xbb" * 16)
    server = scram.ScramServer({KEY.id: record}.get, record, binding, b"servernonce")
    client_first = client.first()
    server_first = server.first(client_first)
    client_final = client.final(server_first)
    server_final = server.final(client_final)
    client.verify(server_final)
    moment = dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.UTC)
    item = Item(b"T" * 16, "build", values.encode({"counter": 3}), b"C" * 16)
    return {
        "client's hello, frame": frame(client_hello),
        "service's hello, frame": frame(server_hello),
        "channel-binding data": binding,
        "client-first-message": client_first,
        "server-first-message": server_first,
        "client-final-message": client_final,
        "server-final-message": server_final,
        "StoredKey": record.stored_key,
        "ServerKey": record.server_key,
        "id of the text key `correct horse battery staple`": parse_key("correct horse battery staple").id.encode(),
        "its secret": parse_key("correct horse battery staple").secret,
        "id of the key of sequence 7, attempt 2": capability_id(7, 2).encode(),
        "Submit, frame": encode(Submit(1, None, 65536, [item])),
        "Put, frame": encode(Put(2, b"C" * 16, 7, 1, b"W" * 8, 1, [values.encode("Hello\n")])),
        "Finish with null, frame": encode(Finish(3, b"C" * 16, 7, 1, None)),
        "Reply OK, frame": encode(Reply(3, Verdict.OK)),
        "Data, frame": encode(messages.Data(b"C" * 16, 5, [ChannelRecord(Kind.FINAL, 7, values.encode(None))])),
        "`{'counter': 3, 'sleep_time': 0.5}`": values.encode({"counter": 3, "sleep_time": 0.5}),
        "`2**64`": values.encode(2**64),
        "`-2**63 - 1`": values.encode(-(2**63) - 1),
        "`(1, 'a', None)`": values.encode((1, "a", None)),
        "`{1}`": values.encode({1}),
        "`{frozenset({1})}`": values.encode({frozenset({1})}),
        "`2024-02-29 12:30 UTC`": values.encode(moment),
        "`2024-02-29 12:30`, naive": values.encode(moment.replace(tzinfo=None)),
        "UUID `00112233-4455-6677-8899-aabbccddeeff`": values.encode(UUID("00112233-4455-6677-8899-aabbccddeeff")),
        "path `/tmp/a`": values.encode(PurePosixPath("/tmp/a")),
        "channel of 16 `C`": values.encode(Channel()),
        "`{(1, 2): b'x'}`": values.encode({(1, 2): b"x"}),
    }


def rows_of(text):
    """Give the cells of each line of a table."""
    return [
        tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in text.splitlines() if line[:2] == "| "
    ]


def section(number):
    """Give a section's text."""
    return re.split(r"^## \d+\. ", DOCUMENT, flags=re.MULTILINE)[number]


def test_the_vectors_of_the_document_are_these():
    shown = {name: data.strip("`") for name, data in rows_of(section(10))[2:]}
    expected = {name: data.hex() for name, data in vectors().items()}
    table = "\n".join(f"| {name} | `{data}` |" for name, data in expected.items())
    assert shown == expected, f"the table has to be:\n{table}"


@pytest.mark.parametrize("table", [ClientMessage, ServiceMessage])
def test_the_tables_of_messages_are_the_codes(table):
    rows = rows_of(section(7))
    for cls in get_args(table):
        assert (str(cls.__struct_config__.tag), cls.__name__, ", ".join(cls.__struct_fields__)) in rows
    tags = {str(cls.__struct_config__.tag) for cls in (*get_args(ClientMessage), *get_args(ServiceMessage))}
    assert {row[0] for row in rows if re.fullmatch(r"[A-Z][a-z]+[A-Za-z]*", row[1]) and row[0].isdigit()} == tags


def test_the_other_tables_are_the_codes():
    names = {row[:2] for row in rows_of(section(7))}
    for cls in (Verdict, Kind):
        assert {(str(number), name) for name, number in vars(cls).items() if name.isupper()} <= names
    codes = {number for name, number in vars(Code).items() if name.isupper()}
    assert {int(row[0]) for row in rows_of(section(8))[2:]} == codes


def test_items_results_and_records_are_told():
    text = " ".join(section(7).split())
    for cls, words in (
        (Item, "An item is an array of"),
        (messages.Result, "a result of"),
        (ChannelRecord, "a record of"),
    ):
        assert f"{words} {', '.join(cls._fields)}" in text


def test_the_limits_are_told():
    assert f"{frames.MAX_FRAME_BYTES_BEFORE_AUTHENTICATION:,}" in section(2)
    assert f"{frames.MAX_FRAME_BYTES:,}" in section(2)
    assert f"{scram.MIN_ITERATIONS:,}" in section(5)
    assert f"{scram.MAX_ITERATIONS:,}" in section(5)
    assert f"{ConnectionLimits().unauthenticated} connections" in section(6)
    assert f"{ConnectionLimits().handshake_deadline:.0f} seconds" in section(6)
    assert f"nest to {wire_types.MAX_DEPTH}" in section(8)
