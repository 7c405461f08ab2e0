"""Values come out as they went in; whatever else arrives is a ValueError, and nothing in it is executed."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import enum
import itertools
import math
import sys
import uuid
from pathlib import Path, PurePosixPath

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._protocol import values, wire_types
from orcha._protocol.wire_types import MAX_DEPTH, Code

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(allow_nan=False),
    TEXT,
    st.binary(max_size=8),
    st.datetimes(),
    st.datetimes(timezones=st.timezones().map(lambda zone: zone) | st.just(dt.UTC)).map(
        lambda moment: moment.replace(tzinfo=dt.timezone(moment.utcoffset()))
    ),
    st.uuids(),
    st.builds(Path, TEXT.map(lambda text: text.replace("\0", ""))),
)
KEYS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(KEYS, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)


class Channel:
    def __init__(self, identity=b"0123456789abcdef"):
        self.__orcha_channel__ = identity


@dataclasses.dataclass
class Job:
    name: str
    parts: list[object]
    total: int = dataclasses.field(init=False, default=0)


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int

    def __post_init__(self):
        if self.x < 0:
            raise RuntimeError("no such point")


class Colour(enum.Enum):
    RED = ("r", 1)


class Level(enum.IntEnum):
    HIGH = 3


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(wire_types, "_classes", {})
    monkeypatch.setattr(wire_types, "_names", {})


def same(left, right):
    """Equal, and of the same types all the way down."""
    if type(left) is not type(right) or left != right:
        return False
    if isinstance(left, dict):
        return same(list(left), list(right)) and same(list(left.values()), list(right.values()))
    if isinstance(left, (list, tuple)):
        return all(map(same, left, right))
    return True


def through(value, **options):
    return values.decode(values.encode(value), **options)


@given(VALUES)
def test_a_value_comes_out_as_it_went_in(value):
    assert same(through(value), value)


@pytest.mark.parametrize(
    "value",
    [math.inf, -math.inf, 0.0, -0.0, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 255, -128, 2**4000],
)
def test_numbers_at_the_edges_come_out_as_they_went_in(value):
    for wrapped in (value, {"n": value}, [value], {value: 1}):
        assert same(through(wrapped), wrapped)
    assert str(through({"n": value})["n"]) == str(value) if abs(value) < 2**70 else True


def test_nan_comes_out_as_nan():
    assert math.isnan(through({"n": math.nan})["n"])
    assert math.isnan(through([(math.nan,)])[0][0])


def test_naive_and_aware_datetimes_stay_what_they_are():
    naive = dt.datetime(2024, 2, 29, 12, 0, 0, 123456)  # noqa: DTZ001
    aware = naive.replace(tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=45, seconds=7)))
    assert through([naive, aware]) == [naive, aware]
    assert through(naive).tzinfo is None
    assert through(aware).utcoffset() == aware.utcoffset()
    assert through(naive.replace(tzinfo=dt.UTC)).tzinfo is dt.UTC


def test_a_path_that_is_no_utf_8_comes_out_as_it_went_in():
    assert through(Path("/a\udcff")) == Path("/a\udcff")
    assert type(through(PurePosixPath("/a"))) is type(Path("/a"))


def test_a_frozenset_arrives_as_a_set_and_inside_a_set_as_a_frozenset():
    assert same(through([frozenset({1})]), [{1}])
    assert same(
        through({frozenset({frozenset({1}), (frozenset(),)}): 2}), {frozenset({frozenset({1}), (frozenset(),)}): 2}
    )


def test_subclasses_arrive_as_what_they_derive_from():
    class Text(str):  # noqa: SLOT000
        def __str__(self):
            raise AssertionError

    class Whole(int):
        __index__ = __int__ = None

    class Real(float):
        __float__ = None

    class Raw(bytes):
        pass

    class Moment(dt.datetime):
        def isoformat(self):
            raise AssertionError

    class Row(list):
        pass

    Pair = collections.namedtuple("Pair", "a b")  # noqa: PYI024
    ordered = collections.OrderedDict(a=collections.defaultdict(int, x=1))
    value = [
        Text("t"),
        Whole(3),
        Real(1.5),
        Raw(b"b"),
        Moment(2024, 1, 1),
        Row([1]),
        Pair(1, 2),
        ordered,
        Level.HIGH,
        True,
    ]
    expected = ["t", 3, 1.5, b"b", dt.datetime(2024, 1, 1), [1], (1, 2), {"a": {"x": 1}}, 3, True]  # noqa: DTZ001
    assert same(through(value), expected)
    assert same(through({Text("k"): 1, Whole(2): 2, Pair(1, 2): 3, Level.HIGH: 4}), {"k": 1, 2: 2, (1, 2): 3, 3: 4})


def test_unregistered_classes_arrive_as_dicts_and_values():
    job = Job("a", [Point(1, 2), Colour.RED])
    assert same(through({"j": job}), {"j": {"name": "a", "parts": [{"x": 1, "y": 2}, ("r", 1)], "total": 0}})


def test_registered_classes_arrive_as_instances_also_as_keys():
    for cls in (Job, Point, Colour, Level):
        assert values.register(cls) is cls
    job = Job("a", [Point(1, 2), Colour.RED, Level.HIGH])
    job.total = 7
    value = {"j": job, "k": {Point(3, 4): {Colour.RED}}}
    assert same(through(value), value)
    assert through(job).total == 7


def test_an_instance_arrives_as_a_dict_where_the_reader_has_not_registered_it_and_nothing_is_imported():
    values.register(Point)
    data = values.encode([Point(1, 2)])
    wire_types._classes.clear()
    foreign = data.replace(Point.__module__.encode(), b"x" * len(Point.__module__))
    assert values.decode(data) == [{"x": 1, "y": 2}]
    before = set(sys.modules)
    assert values.decode(foreign) == [{"x": 1, "y": 2}]
    assert set(sys.modules) == before


def test_an_instance_that_its_class_refuses_is_no_value():
    values.register(Point)
    with pytest.raises(ValueError, match="no such point"):
        values.decode(values.encode(Point(1, 2)).replace(b"\xa1x\x01", b"\xa1x\xff"))


def test_fields_that_the_reader_does_not_know_are_left_out_and_missing_ones_have_their_defaults():
    values.register(Job)
    name = f"{Job.__module__}:{Job.__qualname__}"
    body = msgspec.msgpack.encode([name, {"name": "a", "parts": [], "later": 1}])
    assert values.decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(Code.INSTANCE, body))) == Job("a", [])


def test_only_dataclasses_and_enums_can_be_registered():
    with pytest.raises(TypeError):
        values.register(dict)


def test_a_channel_is_what_the_reader_makes_of_its_id():
    made = []
    value = through(
        {"queue": Channel(), "n": [Channel(b"x" * 16)]}, channel=lambda identity: made.append(identity) or len(made)
    )
    assert value == {"queue": 1, "n": [2]}
    assert made == [b"0123456789abcdef", b"x" * 16]


def test_a_channel_where_none_is_wanted_is_no_value():
    with pytest.raises(ValueError, match="channel"):
        through([Channel()])


@pytest.mark.parametrize(
    ("value", "error", "place"),
    [
        ({"a": [1, 2, 3, object()]}, TypeError, r"^extras\['a'\]\[3\] is a object"),
        ({"a": {"b": (1, {2, 3j})}}, TypeError, r"^extras\['a'\]\['b'\]\[1\]\{3j\} is a complex"),
        ({"a": dt.date(2024, 1, 1)}, TypeError, r"^extras\['a'\] is a datetime.date"),
        (Job("a", [1, object()]), TypeError, r"^extras\.parts\[1\] is a object"),
        ({(1, object): 1}, TypeError, r"^extras\.key\(.*\)\[1\] is a type"),
        ({Point(1, 2): 1}, TypeError, r"^extras\.key\(.*\) is a .*Point, which arrives as nothing that can be hashed"),
        (bytearray(b"x"), TypeError, r"^extras is a bytearray"),
        ({"a": ["\ud800"]}, ValueError, r"^extras\['a'\]\[0\] holds a lone surrogate"),
        ({"\ud800": 1}, ValueError, r"^extras\.key\(.*\) holds a lone surrogate"),
        ({"a": "\ud800"}, ValueError, r"^extras\['a'\] holds a lone surrogate"),
        ("\ud800", ValueError, r"^extras holds a lone surrogate"),
        (Channel("no bytes"), TypeError, r"^extras is a .*Channel"),
    ],
    ids=itertools.count(),
)
def test_what_cannot_be_sent_is_named_with_its_place(value, error, place):
    with pytest.raises(error, match=place):
        values.encode(value)


def test_the_place_begins_with_the_given_path():
    with pytest.raises(TypeError, match=r"^args\[0\] is"):
        values.encode([object()], path="args")


def test_a_repr_that_raises_does_not_hide_what_is_wrong():
    class Shy:
        def __repr__(self):
            raise RuntimeError

    with pytest.raises(TypeError, match="Shy"):
        values.encode([Shy()])


def nested(make, depth):
    value = 1
    for _ in range(depth):
        value = make(value)
    return value


SHAPES = {
    "list": lambda inner: [inner],
    "tuple": lambda inner: (inner,),
    "dict": lambda inner: {"a": inner},
    "pairs": lambda inner: {(): inner},
    "dataclass": lambda inner: Job("a", inner),
}


@pytest.mark.parametrize("shape", ["list", "tuple", "dict", "pairs", "dataclass"])
def test_containers_nest_to_the_limit_and_no_deeper(shape):
    most = MAX_DEPTH - (shape == "pairs")  # its empty key is one more
    values.register(Job)
    assert through(nested(SHAPES[shape], most)) == nested(SHAPES[shape], most)
    with pytest.raises(ValueError, match="more than 32 containers"):
        values.encode(nested(SHAPES[shape], most + 1))


def test_a_container_that_contains_itself_is_refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(ValueError, match="more than 32"):
        values.encode(value)


def extension(code, body):
    return msgspec.msgpack.Ext(code, msgspec.msgpack.encode(body))


@pytest.mark.parametrize(
    "shape",
    [
        lambda inner: [inner],
        lambda inner: {"a": inner},
        lambda inner: extension(Code.TUPLE, [inner]),
        lambda inner: extension(Code.SET, [inner]),
        lambda inner: extension(Code.PAIRS, [1, inner]),
        lambda inner: extension(Code.INSTANCE, ["a:b", [inner]]),
    ],
    ids=["list", "dict", "tuple", "set", "pairs", "instance"],
)
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 200])
def test_deeper_values_are_refused_where_they_arrive(shape, depth):
    with pytest.raises(ValueError, match="no value"):
        values.decode(msgspec.msgpack.encode(nested(shape, depth)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\x91" * 1_000_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x02",
        b"\x81\x91\x01\x01",
        b"\x81\x80\x01",
        *[
            msgspec.msgpack.encode(bad)
            for bad in [
                extension(99, 1),
                extension(Code.TUPLE, 1),
                extension(Code.SET, [[1]]),
                extension(Code.SET, [{}]),
                extension(Code.PAIRS, [1]),
                extension(Code.PAIRS, [[1], 1]),
                extension(Code.PAIRS, [extension(Code.PAIRS, []), 1]),
                extension(Code.INSTANCE, 1),
                extension(Code.INSTANCE, [1, 2]),
                extension(Code.INSTANCE, ["a:b"]),
                extension(Code.SET, [extension(Code.INSTANCE, ["a:b", {}])]),
                msgspec.msgpack.Ext(Code.UUID, b"short"),
                msgspec.msgpack.Ext(Code.DATETIME, b"yesterday"),
                msgspec.msgpack.Ext(Code.DATETIME, b"\xff"),
                msgspec.msgpack.Ext(Code.CHANNEL, b"short"),
                msgspec.msgpack.Ext(Code.TUPLE, b""),
            ]
        ],
    ],
    ids=itertools.count(),
)
def test_what_is_no_value_is_a_value_error(data):
    with pytest.raises(ValueError):
        values.decode(data, channel=bytes)


def test_an_unhashable_instance_in_a_set_or_as_a_key_is_a_value_error():
    values.register(Job)
    name = f"{Job.__module__}:{Job.__qualname__}"
    job = extension(Code.INSTANCE, [name, {"name": "a", "parts": []}])
    for bad in (extension(Code.SET, [job]), extension(Code.PAIRS, [job, 1])):
        with pytest.raises(ValueError, match="unhashable"):
            values.decode(msgspec.msgpack.encode(bad))


def test_an_instance_without_its_fields_is_a_value_error():
    values.register(Job)
    name = f"{Job.__module__}:{Job.__qualname__}"
    for content in (1, {}):
        with pytest.raises(ValueError, match=r"no .*Job"):
            values.decode(msgspec.msgpack.encode(extension(Code.INSTANCE, [name, content])))


@given(st.binary(max_size=60))
def test_garbage_is_a_value_or_a_value_error(data):
    with contextlib.suppress(ValueError):
        values.decode(data, channel=bytes)


@given(VALUES, st.data())
def test_a_damaged_value_is_a_value_or_a_value_error(value, data):
    encoded = bytearray(values.encode(value))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        values.decode(bytes(encoded), channel=bytes)


def test_values_can_be_read_from_a_memoryview():
    assert values.decode(memoryview(values.encode({"a": (1, [b"x"])}))) == {"a": (1, [b"x"])}


def test_a_uuid_is_equal_to_itself_after_the_journey_as_a_key():
    key = uuid.uuid4()
    assert through({key: 1}) == {key: 1}
