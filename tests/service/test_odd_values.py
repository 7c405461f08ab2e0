"""Whatever a plugin gives the service ends or changes that petition alone, and never the service or an answer."""

from __future__ import annotations

import pytest

from orcha._protocol import messages, values
from orcha._protocol.frames import MAX_FRAME
from orcha.exceptions import ConditionFailed
from orcha.interfaces import Petition, Policy
from support.answers import AnsweringEngine


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
    "long": "x" * (MAX_FRAME + 1),
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
        petition = Petition(m.id, None, lambda *_: None, lambda *_: True)
        make = getattr(self, f"_in_{place.replace(' ', '_')}", None) if place else None
        return petition if make is None else make(petition, value)

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

    def _in_id(self, petition, value):
        petition.id = value
        return petition

    def _in_priority(self, petition, value):
        petition.priority = value
        return petition

    def _in_queue(self, petition, value):
        petition.queue = value
        return petition

    def _in_state(self, petition, value):
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

    def _in_policy(self, petition, value):
        petition.policy = value
        return petition

    def _in_condition(self, petition, value):
        petition.condition = lambda *_: value
        return petition

    def _in_condition_itself(self, petition, value):
        petition.condition = value
        return petition

    def _in_condition_raises(self, petition, value):
        petition.condition = lambda *_: _raise(value)
        return petition

    def _in_action(self, petition, value):
        petition.action = lambda *_: value
        return petition

    def _in_action_itself(self, petition, value):
        petition.action = value
        return petition

    def _in_action_raises(self, petition, value):
        petition.action = lambda *_: _raise(value)
        return petition

    def _in_callback(self, petition, value):
        petition.action = lambda callback, _: callback(value)
        return petition

    def _in_finish(self, petition, value):
        petition.action = lambda _, made: made.finish(value)
        return petition


for _field in ("group", "once", "timeout", "queue_timeout", "needs", "retry", "on_interrupt", "if_exists"):

    def _make(self, petition, value, _field=_field):
        petition.policy = Policed(**{_field: value})
        return petition

    setattr(Odd, f"_in_policy_{_field}", _make)


def _make_needs(_, petition, value):
    petition.policy = Policed(needs={value: value})
    return petition


Odd._in_policy_of_needs = _make_needs


def _raise(value):
    if isinstance(value, BaseException):
        raise value
    raise ConditionFailed(value)


PLACES = [
    *("convert", "convert raises", "id", "priority", "queue", "state", "policy", "condition", "condition itself"),
    *("condition raises", "on_start", "on_start raises", "action", "action itself", "action raises", "callback"),
    *("finish", "on_finish", "on_finish raises", "policy group", "policy once", "policy timeout"),
    *("policy queue_timeout", "policy needs", "policy of needs", "policy retry", "policy on_interrupt"),
    "policy if_exists",
]


@pytest.fixture
def engine(tmp_path):
    odd = Odd()
    made = AnsweringEngine(tmp_path, manager=odd)
    made.engine.visits.functions["function"] = odd.function
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
    assert str(MAX_FRAME - 1024) in answer.reason
