"""Whatever is written: Python would say the same, or it is refused with the place of what is wrong."""

from __future__ import annotations

import operator
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._core.conditions.condition import Condition
from orcha._core.conditions.errors import ConditionTextError
from orcha._core.conditions.kinds import MAX_NUMBER, Unknown
from orcha._core.conditions.nodes import NoAnswerError
from orcha._core.conditions.parsing import parse
from orcha._core.conditions.terms import BUILT_IN, Reading

NUMBERS = {"hour": Reading("hour"), "cpus": Reading("cpus"), "load(1)": Reading("load", (1,))}
TRUTHS = {"exists('/a')": Reading("exists", ("/a",)), 'exists("/b c")': Reading("exists", ("/b c",))}
SIZES = {"memory.free": Reading("memory.free"), "memory.total": Reading("memory.total")}
SIGNS = ["+", "-", "*", "/", "//", "%"]

numbers = st.recursive(
    st.one_of(
        st.sampled_from(sorted(NUMBERS)),
        st.integers(0, 10**6).map(str),
        st.floats(0, 1e6, allow_subnormal=False).map(repr).filter(lambda text: len(text) <= 20),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(SIGNS), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map("-{}".format),
    ),
    max_leaves=6,
)
sizes = st.one_of(st.sampled_from(sorted(SIZES)), st.sampled_from(sorted(SIZES)).map("({} + memory.free * 2)".format))
comparisons = st.one_of(
    st.lists(numbers, min_size=2, max_size=4).flatmap(
        lambda parts: st.lists(
            st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), min_size=len(parts) - 1, max_size=len(parts) - 1
        ).map(lambda signs: " ".join(f"{part} {sign}" for part, sign in zip(parts, [*signs, ""], strict=True)))
    ),
    st.tuples(sizes, st.sampled_from(["<", ">=", "==", "!="]), sizes).map(" ".join),
    st.tuples(numbers, st.sampled_from(["in", "not in"]), st.lists(numbers, min_size=1, max_size=4)).map(
        lambda parts: f"{parts[0]} {parts[1]} ({', '.join(parts[2])},)"
    ),
)
truths = st.recursive(
    st.one_of(comparisons, st.sampled_from(sorted(TRUTHS)), st.sampled_from(["True", "False"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map("not ({})".format),
    ),
    max_leaves=8,
)
values = st.one_of(st.integers(-100, 100), st.floats(-1e6, 1e6))
worlds = st.fixed_dictionaries(
    dict.fromkeys(NUMBERS.values(), values)
    | {each: st.booleans() for each in TRUTHS.values()}
    | {each: st.integers(0, 1 << 50) for each in SIZES.values()}
)


def python(text, seen):
    memory = SimpleNamespace(free=seen[Reading("memory.free")], total=seen[Reading("memory.total")])
    names = {
        "hour": seen[Reading("hour")],
        "cpus": seen[Reading("cpus")],
        "memory": memory,
        "load": lambda minutes: seen[Reading("load", (minutes,))],
        "exists": lambda path: seen[Reading("exists", (path,))],
    }
    return eval(text, {"__builtins__": {}}, names)


def read(text):
    """Give the condition, or what is wrong with it."""
    try:
        return Condition(text, BUILT_IN)
    except ConditionTextError as error:
        return error


def value_of(root, seen):
    try:
        return root.value(seen)
    except NoAnswerError as error:
        return error.reason


@given(truths, worlds)
def test_python_says_the_same(text, seen):
    try:
        root = parse(text, BUILT_IN)
    except ConditionTextError as error:
        is_bound = any(each in error.what for each in ("by zero", "too large", "deep", "words and signs", "characters"))
        if is_bound:
            return
        raise
    value = value_of(root, seen)
    if value == "it divides by zero":
        with pytest.raises(ZeroDivisionError):
            python(text, seen)
    elif value != "its value is too large":
        assert value is python(text, seen)


@given(truths, worlds)
def test_a_condition_that_holds_has_no_false_part_and_another_has(text, seen):
    condition = read(text)
    if isinstance(condition, Condition):
        assert condition.holds(seen) is not bool(condition.false_parts(seen))


@given(truths, worlds, st.sampled_from([*NUMBERS.values(), *TRUTHS.values()]))
def test_what_is_not_known_makes_nothing_true_but_what_does_not_need_it(text, seen, lost):
    condition = read(text)
    if isinstance(condition, Condition):
        assert condition.holds(seen) or not condition.holds(seen | {lost: Unknown("gone")})


def refused_or_bounded(text):
    condition = read(text)
    if isinstance(condition, Condition):
        assert condition.false_parts({})
        assert not condition.holds({})
    else:
        assert 0 <= condition.start < condition.end
        assert condition.start <= max(len(text), 1)
        assert condition.what
        assert all(line.isprintable() for line in str(condition).split("\n")[1:])
        assert str(condition).count("\n") == 2


@given(st.text(max_size=60))
def test_any_text_is_refused_with_its_place_or_read(text):
    refused_or_bounded(text)


WORDS = [
    *(
        "hour",
        "load",
        "(1)",
        "memory",
        ".free",
        "exists",
        "('/a')",
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "for",
    ),
    *("lambda", "True", "None", "8G", "3", "1.5", "0", "10m", "9e18", "(", ")", "[", "]", "{", "}", ",", ".", "+", "-"),
    *("*", "/", "//", "%", "<", "<=", "==", "!=", "**", "=", ":", "'x'", '"', "'", "\\", "é", "\n", "await", "yield"),
    *("weekday", "'mon'", "f'{x}'", "b'x'", "disk", "*", "...", "_", "__class__", "1_0", "\u2028", "\ud800"),
]


@given(st.lists(st.sampled_from(WORDS), max_size=14), st.sampled_from(["", " "]))
def test_any_words_are_refused_with_their_place_or_read(words, between):
    refused_or_bounded(between.join(words))


@given(st.lists(st.sampled_from(["-", "not ", "(", "+", "hour.", "1+", "[", "f(", "x if "]), min_size=1, max_size=3))
def test_what_stands_in_itself_is_bounded(repeated):
    text = "".join(repeated)
    for count in (10, 40, 1_000 // len(text) - 1, 100_000):
        refused_or_bounded(text * count)


@given(st.integers(1, 60), st.sampled_from([operator.add, operator.mul]))
def test_numbers_stay_within_bounds(count, grows):
    sign = "+" if grows is operator.add else "*"
    text = f"load(1) > hour {sign} " + f" {sign} ".join(["9e17"] * count)
    condition = read(text)
    if isinstance(condition, ConditionTextError):
        assert "too large" in condition.what or "deep" in condition.what
        return
    said = condition.false_parts({Reading("load", (1,)): 1, Reading("hour"): 23})
    expected = 23
    for _ in range(count):
        expected = grows(expected, 9e17)
    assert ("too large" in said[0]) is (expected > MAX_NUMBER)
