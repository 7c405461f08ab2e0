"""Whatever a plugin gives the service ends or changes that petition alone, and never the service or an answer."""

from __future__ import annotations

import pytest

from orcha._protocol import messages, values
from orcha._protocol.frames import MAX_FRAME_BYTES
from orcha.exceptions import ConditionFailed
from orcha.interfaces import Petition, Policy
from service.answers import AnsweringEngine


class Raises:
    """Raises whatever is asked of it."""

    def __str__(self):
        raise ValueError("no text")

    __repr__ = __bool__ = __eq__ = __hash__ = __len__ = __iter__ = __int__ = __index__ = __float__ = __call__ = __str__

    def __getattr__(self, name):
        raise SystemExit(name)


class Text(str):
    """A text that is no plain one."""

    __slots__ = ()

    def __str__(self):
        return "another text"


class Number(int):
    """A number that is no plain one."""

    def __int__(self):
        return 2**70


class Bare(ConditionFailed):
    """Has no reason."""

    def __init__(self):
        """Leave it out."""


class Loud(Exception):
    """Has no text."""

    def __str__(self):
        raise ValueError("no text")


NAMES = {
    "none": None,
    "true": True,
    "number": 2**64,
    "negative": -(2**70),
    "nan": float("nan"),
    "infinite": float("inf"),
    "large": 1e308,
    "empty": "",
    "surrogate": "a\ud800",
    "nul": "a\0b",
    "lines": "a\nb\r\x1b[31m",
    "long": "x" * (MAX_FRAME_BYTES + 1),
    "wide": "\U0001f600" * 100_000,
    "bytes": b"\xff",
    "list": [1, [2]],
    "itself": [],
    "dict": {("a",): {1}},
    "class": object,
    "object": object(),
    "text": Text("a"),
    "whole": Number(3),
    "raises": Raises(),
    "generator": (each for each in "ab"),
    "error": ValueError("\ud800"),
    "loud": Loud(),
    "type": type("x" * 200_000, (Exception,), {})(),
    "bare": Bare(),
    "said": ConditionFailed("a\ud800" * 2_000_000),
    "for all": ConditionFailed(Raises(), for_all=Raises()),
    "numbered": ConditionFailed(7, for_all=True),
}
NAMES["itself"].append(NAMES["itself"])


class Policed(Policy):
    """Checks nothing."""

    def __post_init__(self):
        """Take it all."""


class Odd:
    """A manager whose petitions meet odd values where their extras say."""

    def convert_to_petition(self, m):
        """Make a petition, or something else."""
        self.value = value = NAMES.get(m.extras.get("value"))
        self.place = place = m.extras.get("place")
        if place == "convert":
            return value
        if place == "convert raises":
            _raise(value)
        waits = bool(m.extras.get("waits"))
        petition = Petition(m.id, None, lambda *_: None, lambda *_: not waits)
        for name, given in FIELDS[place](value).items() if place in FIELDS else ():
            setattr(petition, name, given)
        return _stateful(petition, value) if place == "state" else petition

    def on_start(self, _):
        """Give the value, or raise it."""
        if self.place == "on_start raises":
            _raise(self.value)
        return self.value if self.place == "on_start" else True

    def on_finish(self, _):
        """Give the value, or raise it."""
        if self.place == "on_finish raises":
            _raise(self.value)
        return self.value if self.place == "on_finish" else True

    def function(self):
        """Give the value."""
        return self.value


def _raise(value):
    if isinstance(value, BaseException):
        raise value
    raise ConditionFailed(value)


def _stateful(petition, value):
    """Give the petition as an object of a class whose state and queue raise."""

    class Stateful(Petition):
        @property
        def state(self):
            raise SystemExit(value)

        @state.setter
        def state(self, given):
            raise SystemExit(value)

        @property
        def queue(self):
            raise SystemExit(value)

        @queue.setter
        def queue(self, given):
            pass

    made = Stateful.__new__(Stateful)
    made.__dict__.update(petition.__dict__)
    return made


def _policed(name):
    return lambda value: {"policy": Policed(**{name: value})}


FIELDS = {
    "id": lambda value: {"id": value},
    "priority": lambda value: {"priority": value},
    "queue": lambda value: {"queue": value},
    "policy": lambda value: {"policy": value},
    "condition": lambda value: {"condition": lambda *_: value},
    "condition itself": lambda value: {"condition": value},
    "condition raises": lambda value: {"condition": lambda *_: _raise(value)},
    "action": lambda value: {"action": lambda *_: value},
    "action itself": lambda value: {"action": value},
    "action raises": lambda value: {"action": lambda *_: _raise(value)},
    "callback": lambda value: {"action": lambda callback, _: callback(value)},
    "finish": lambda value: {"action": lambda _, made: made.finish(value)},
    "policy of needs": lambda value: {"policy": Policed(needs={value: value})},
} | {
    f"policy {name}": _policed(name)
    for name in ("group", "once", "timeout", "queue_timeout", "needs", "retry", "on_interrupt", "if_exists")
}
"""What a petition has in its fields, by the place of the odd value."""
PLACES = [
    *("convert", "convert raises", "state", "on_start", "on_start raises", "on_finish", "on_finish raises"),
    *FIELDS,
]


@pytest.fixture
def engine(tmp_path):
    odd = Odd()
    made = AnsweringEngine(tmp_path, manager=odd)
    made.engine.hooks.functions["function"] = odd.function
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("place", PLACES)
def test_an_odd_value_of_a_plugin_changes_nothing_for_others(engine, place):
    client = engine.client()
    for name in NAMES:
        submitted = client.submit(name, {"place": place, "value": name})
        if submitted.results[0].verdict != messages.Verdict.ACCEPTED:
            assert submitted.results[0].verdict == messages.Verdict.REFUSED, name
        (row,) = [row for row in client.rows() if row["id"] == name] or [None]
        assert (row is None) == (submitted.results[0].verdict == messages.Verdict.REFUSED), name
        if row is not None:
            answer = client.ask(messages.Show(next(engine.numbers), name))
            assert answer.verdict == messages.Verdict.OK, (name, answer.reason)
            client.ask(messages.Cancel(next(engine.numbers), None, name))
            assert client.final(submitted), name
        sound = client.submit(f"after {name}", {})
        assert client.final(sound) == [None], name


@pytest.mark.parametrize("place", [place for place in FIELDS if place.startswith("policy") or place == "priority"])
def test_an_odd_value_of_what_waits_is_listed_and_shown(engine, place):
    client = engine.client()
    for name in NAMES:
        submitted = client.submit(name, {"place": place, "value": name, "waits": True})
        if submitted.results[0].verdict == messages.Verdict.ACCEPTED:
            assert [row["state"] for row in client.rows() if row["id"] == name] == ["queued"], name
            assert client.ask(messages.Show(next(engine.numbers), name)).verdict == messages.Verdict.OK, name
            client.ask(messages.Cancel(next(engine.numbers), None, name))
            assert client.final(submitted), name


def test_whatever_a_registered_function_gives_is_answered(engine):
    client = engine.client()
    for name in NAMES:
        client.final(client.submit(name, {"value": name}))
        number = next(engine.numbers)
        answer = client.ask(messages.Call(number, "function", values.encode([]), values.encode({})))
        assert answer.verdict in {messages.Verdict.OK, messages.Verdict.RAISED}, name
        assert (answer.value is None) == (answer.verdict == messages.Verdict.RAISED), name
        assert client.is_served()


def test_a_result_that_is_longer_than_an_answer_is_refused_with_its_size(engine):
    client = engine.client()
    client.final(client.submit("a", {"value": "long"}))
    answer = client.ask(messages.Call(next(engine.numbers), "function", values.encode([]), values.encode({})))
    assert answer.verdict == messages.Verdict.RAISED
    assert str(MAX_FRAME_BYTES - 1024) in answer.reason
