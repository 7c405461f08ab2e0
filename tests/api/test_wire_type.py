"""`Manager.wire_type`: classes of a plugin's own in extras and on channels."""

from __future__ import annotations

import sys

import pytest

from orcha.interfaces import Message
from orcha.lib import Manager

SOURCE = """
from dataclasses import dataclass
from enum import Enum
from orcha.interfaces import Petition
from orcha.lib import Manager

@Manager.wire_type
@dataclass
class Board:
    serial: str
    slots: tuple

@dataclass
class Unknown:
    name: str

def answer(callback, petition):
    petition.communicate(f"{type(petition.given).__name__}")
    petition.communicate(petition.given)
    petition.finish()

class Boards(Manager):
    def convert_to_petition(self, m):
        petition = Petition(m.id, m.extras["queue"], answer, bool)
        petition.given = m.extras["given"]
        return petition
    def on_start(self, petition): ...
    def on_finish(self, petition): ...
"""


@pytest.fixture
def boards(monkeypatch, tmp_path):
    (tmp_path / "boards.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import boards

    yield boards
    del sys.modules["boards"]


def test_a_registered_class_arrives_as_itself_and_another_as_a_dict(boards, serve, connect):
    client = connect(serve("boards:Boards", source=SOURCE))
    for number, (given, name, back) in enumerate(
        [
            (boards.Board("b1", (1, 2)), "Board", boards.Board("b1", (1, 2))),
            (boards.Unknown("b2"), "dict", {"name": "b2"}),
        ]
    ):
        queue = client.manager.Queue()
        client.send(Message(number, {"queue": queue, "given": given}))
        assert [queue.get(), queue.get(), queue.get()] == [name, back, None]


def test_what_is_neither_a_dataclass_nor_an_enum_is_refused():
    with pytest.raises(TypeError, match="neither a dataclass nor an enum"):
        Manager.wire_type(int)
