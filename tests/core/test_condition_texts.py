"""Conditions in text: what they mean, and how people are told what is wrong with one."""

from __future__ import annotations

import pytest

from orcha._core.conditions.condition import Condition
from orcha._core.conditions.errors import ConditionTextError
from orcha._core.conditions.kinds import MAX_TEXT_CHARACTERS, Unknown, ValueKind, checked
from orcha._core.conditions.terms import BUILT_IN, Origin, Reading, Term, help_text

GIB = 1 << 30
SEEN = {
    Reading("load", (1,)): 5.25,
    Reading("cpus"): 4,
    Reading("memory.free"): 3 * GIB,
    Reading("memory.total"): 16 * GIB,
    Reading("exists", ("/run/maint",)): True,
    Reading("age", ("/data",)): 7200.0,
    Reading("disk.free", ("/",)): 10 * GIB,
    Reading("hour"): 23,
    Reading("minute"): 0,
    Reading("weekday"): "sun",
    Reading("users"): Unknown("permission denied"),
}

UNITS = "there are B, K, M, G, T and P for sizes, and ms, s, m, min, h, d for durations"
NO_TRUTH = "and a yes or no has to stand here: compare it, as in"


def answer(text):
    return Condition(text, BUILT_IN).holds(SEEN)


def said(text):
    return Condition(text, BUILT_IN).false_parts(SEEN)


def wrong(text):
    with pytest.raises(ConditionTextError) as error:
        Condition(text, BUILT_IN)
    return error.value


@pytest.mark.parametrize(
    "text",
    [
        "hour == 23",
        "hour != 22",
        "hour in (22, 23)",
        "hour in [22, 23]",
        "hour in {22, 23}",
        "hour not in (0, 1)",
        "hour in (22, minute + 23)",
        "20 < hour < 24",
        "hour in (23,) and weekday in ('sat', 'sun')",
        "weekday == 'mon' or weekday == 'sun'",
        "not hour == 3",
        "hour > 06",
        "hour > 2_0",
        "hour == 2.3e1",
        "hour < 1e3",
        "-hour < +3",
        "hour + 1 == 24 and hour - 1 == 22 and hour * 2 == 46",
        "hour / 2 == 11.5 and hour // 2 == 11 and hour % 2 == 1",
        "memory.free > 2G",
        "memory.free == 3072M and memory.free == 3072MB and memory.free == 3072mib",
        "memory.free == 3221225472B",
        "memory.free > 0",
        "0 < memory.free",
        "memory.free * 2 > 5G and 2 * memory.free > 5G",
        "memory.free / memory.total < 0.2",
        "memory.total // memory.free == 5",
        "memory.total % memory.free == 1G",
        "memory.total - memory.free > 1.5G",
        'age("/data") == 2h and age("/data") > 119m and age("/data") > 7199s',
        "age('/data') < 1d and age('/data') > 1ms and age('/data') == 120min",
        "disk('/').free > 9G",
        "exists('/run/maint')",
        "exists('/run/maint') == True",
        "load(1) > cpus\nand hour == 23",
        "  hour == 23  ",
        "(((hour == 23)))",
        "hour == 23 or users > 3",
    ],
)
def test_it_is_true(text):
    assert answer(text)
    assert said(text) == ()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("memory.free > 8G", ("memory.free > 8G is false: 3G",)),
        ("load(1) < cpus", ("load(1) < cpus is false: load(1) is 5.25, cpus is 4",)),
        ("load(1)<4 and memory.free>1G", ("load(1)<4 is false: 5.25",)),
        ("load(1) < 4 and memory.free > 8G", ("load(1) < 4 is false: 5.25", "memory.free > 8G is false: 3G")),
        ("load(1) < 4 and (load(1) < 4 and hour == 23)", ("load(1) < 4 is false: 5.25",)),
        ("not exists('/run/maint')", ("not exists('/run/maint') is false: exists('/run/maint') is true",)),
        ("8 < hour < 18", ("8 < hour < 18 is false: 23",)),
        ("age('/data') > 3h", ("age('/data') > 3h is false: 2h",)),
        ("weekday == 'mon'", ("weekday == 'mon' is false: \"sun\"",)),
        (
            "hour < 6 or exists('/run/maint') == False",
            ("hour < 6 or exists('/run/maint') == False is false: hour is 23, exists('/run/maint') is true",),
        ),
        ("users == 0", ("users is not known: permission denied",)),
        ("not users == 0", ("users is not known: permission denied",)),
        ("swap.used < 1M", ("swap.used is not known: it has not been looked at yet",)),
        ("hour / minute > 1", ("hour / minute is not known: it divides by zero",)),
        ("hour * 9e18 > 1", ("hour * 9e18 is not known: its value is too large",)),
        ("hour\n> 23", ("hour > 23 is false: 23",)),
        ("False and hour == 23", ("False is false",)),
        ("hour == 23 and (False or users == 1)", ("users is not known: permission denied",)),
        (
            "exists('/run/maint') and not (hour < 24 or users > 1)",
            ("not (hour < 24 or users > 1) is false: hour is 23",),
        ),
    ],
)
def test_it_says_which_part_is_false(text, parts):
    assert not answer(text)
    assert said(text) == parts


def test_a_function_that_is_false_is_named_alone():
    condition = Condition("exists('/x')", BUILT_IN)
    assert condition.false_parts({Reading("exists", ("/x",)): False}) == ("exists('/x') is false",)


def test_what_is_to_be_looked_up_is_known_before():
    condition = Condition("load(5) < 4 and (exists('/a') or not exists('/b')) and load(5) > 1", BUILT_IN)
    assert condition.readings == {Reading("load", (5,)), Reading("exists", ("/a",)), Reading("exists", ("/b",))}


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("memry.free > 3", 1, "there is no memry.free: did you mean memory.free?"),
        ("hour > 3 and memory > 3G", 14, "there is no memory: did you mean memory.free?"),
        ("hours > 3", 1, "there is no hours: did you mean hour?"),
        ("diks('/').free > 1G", 1, "there is no diks.free: did you mean disk(path).free?"),
        ("xyzzy > 3", 1, "there is no xyzzy: --when help says what there is"),
        ("memory.free > 8", 15, "8 is a number, and memory.free is a size: compare it with a size, as in 8G"),
        ("hour > 8G", 8, "8G is a size, and hour is a number: compare it with a number, as in 1"),
        ("..2mB", 2, "a number stands by itself: write a blank before it, or leave out the dot"),
        ("memory.free > 2K.5", 17, "a number stands by itself: leave out the dot behind it"),
        ("hour.5e1 > 3", 5, "a number stands by itself: write a blank before it, or leave out the dot"),
        ("hour > 1..5", 10, "a number stands by itself: leave out the dot behind it"),
        ("hour == weekday", 9, "weekday is a text, and hour is a number: compare it with a number, as in 1"),
        ("hour in (22, 'x')", 14, "'x' is a text, and hour is a number: compare it with a number, as in 1"),
        ("weekday == 0", 12, '0 is a number, and weekday is a text: compare it with a text, as in "..."'),
        ("weekday in ('Mon',)", 13, "weekday is never that: it is one of mon, tue, wed, thu, fri, sat, sun"),
        ("weekday > 'mon'", 11, "a text is neither more nor less than another: compare with == or !="),
        ("load < 4", 1, "write it as load(minutes), as in load(1) < 4"),
        ("load(1, 2) < 4", 1, "write it as load(minutes), as in load(1) < 4"),
        ("load(minutes=1) < 4", 13, "= has no meaning here: write == to compare"),
        ("load(2) < 4", 6, "minutes cannot be that: the machine tells its load over 1, 5 or 15 minutes"),
        ("load(hour) < 4", 6, "minutes is written out here: nothing is looked up for it"),
        ("exists(5)", 8, 'path is a text, and this is a number: write it as "..."'),
        ("exists('x')", 8, "path cannot be that: give the whole path, from / on: the service runs in another folder"),
        ("between('22:00', '24:00')", 18, 'to cannot be that: write a time of day as "22:00"'),
        ("disk.free('/') > 1G", 1, 'write it as disk(path).free, as in disk("/data").free > 50G'),
        ("hour() > 3", 1, "hour is written without brackets, as in hour in (22, 23, 0, 1)"),
        ("load(1)(2) > 3", 1, "a name has to stand before a dot or a bracket, as in load(1)"),
        ("'a'.b > 3", 1, "a name has to stand before a dot or a bracket, as in load(1)"),
        ("hour", 1, "hour is a number, and a yes or no has to stand here: compare it, as in hour > 1"),
        ("not cpus", 5, "cpus is a number, and a yes or no has to stand here: compare it, as in cpus > 1"),
        ("hour and cpus", 1, "hour is a number, and a yes or no has to stand here: compare it, as in hour > 1"),
        ("weekday", 1, f'weekday is a text, {NO_TRUTH} weekday == "..."'),
        ("swap.used", 1, f"swap.used is a size, {NO_TRUTH} swap.used > 8G"),
        ("-weekday == 'x'", 2, "a sign stands before a number, and weekday is a text"),
        ("hour in (22)", 10, "several values stand behind in: write them as (22, 23), a single one as (22,)"),
        ("hour in ()", 9, "no value stands behind in, so that this is never true"),
        ("(22, 23) == hour", 1, "several values stand behind in alone, as in hour in (22, 23)"),
        ("hour in (1, 2) in (3, 4)", 9, "several values stand behind in alone, as in hour in (22, 23)"),
        ("hour is 3", 9, "what stands before this is no comparison here: write == or !="),
        ("hour + memory.free > 1", 1, "hour is a number, and memory.free is a size: these cannot be added"),
        ("swap.free * 1G > 1", 1, "swap.free is a size, and 1G is a size: these cannot be multiplied"),
        ("hour % weekday > 1", 1, "hour is a number, and weekday is a text: these cannot be divided"),
        ("hour << 2 > 1", 1, "numbers are reckoned with + - * / // and % here"),
        ("hour > 1/0", 8, "this has no value: it divides by zero"),
        ("hour > None", 8, "None is no value here"),
        ("hour > ...", 8, "... is no value here"),
        ("hour if hour else 3", 1, "there is no if here: write and, or, and not"),
        ("hour > 3 if hour else load(1)", 1, "there is no if here: write and, or, and not"),
        ("[hour for hour in (1, 2)]", 1, "nothing repeats here"),
        ("hour[0] > 3", 1, "there are no [...] behind a value here"),
        ("load(*(1, 2)) > 3", 6, "there is no * before a value here"),
        ("hour > (yield)", 9, "a condition holds nothing like this: --when help says what there is"),
        ("a b", 3, "this is no expression: something is missing before it, or too much"),
        ("hour > 3 and", 13, "something is missing at the end"),
        ("hour > 3 and and 1", 14, "this is no expression: something is missing before it, or too much"),
        ("", 1, "nothing is written: write a condition, as in load(1) < 4"),
        (" \n", 1, "nothing is written: write a condition, as in load(1) < 4"),
        ("1 < 2", 1, "nothing in this ever changes: name something that does, as in load(1) < 4"),
        ("hour = 3", 6, "= has no meaning here: write == to compare"),
        ("hour => 3", 6, "=> has no meaning here: write >="),
        ("hour > 3 && hour < 5", 10, "&& has no meaning here: write and"),
        ("hour > 3 | hour < 5", 10, "| has no meaning here: write or"),
        ("!exists('/x')", 1, "! has no meaning here: write not"),
        ("hour ** 2 > 3", 6, "** has no meaning here: there are no powers here"),
        ("(x := 3) > hour", 4, ":= has no meaning here: nothing can be named here"),
        ("hour > 3 # late", 10, "# has no meaning here: a condition holds no remark"),
        ("hour > é", 8, "é has no meaning here: a text stands between quotes"),
        ("hour > \0", 8, r"'\x00' has no meaning here: a text stands between quotes"),
        ("hour > “x”", 8, '“ begins no text: write "'),
        ("exists('/x", 8, "this text has no end: close it with the same quote"),
        (r"exists('\d')", 8, r"in this text, \ stands before a sign that needs none: write it twice"),
        ("exists('/a\nb')", 11, r"a text holds no '\n'"),
        ("exists(f'/a')", 9, "a text begins with its quote: write a blank before it"),
        ("exists('/a' '/b')", 12, "two texts stand side by side: divide them by a comma"),
        ("(hour > 3", 1, "this ( is never closed"),
        ("hour > 3)", 9, "no ( is open that this closes"),
        ("(hour > 3]", 10, "no [ is open that this closes"),
        ("hour > 5x", 9, f"there is no unit x: {UNITS}"),
        ("hour > 0x10", 9, f"there is no unit x10: {UNITS}"),
        ("hour > 5__0", 8, "this is no number: write it as 5000 or 5_000"),
        ("hour > " + "9" * 21, 8, "a number has at most 20 digits"),
        ("hour > 1e400", 8, "this number is too large"),
        ("memory.free > 9e18K", 15, "this number is too large"),
        ("hour > 9e18 * 9e18", 8, "this has no value: its value is too large"),
        ("hour > 3 " + "x" * 1000, 1001, "a condition has at most 1000 characters, and this one has 1009"),
        ("(" * 21 + "hour > 3" + ")" * 21, 21, "brackets stand in each other at most 20 deep"),
        ("not " * 50 + "exists('/x')", 161, "parts stand in each other at most 40 deep"),
        ("hour > 3" + "+1" * 300, 406, "a condition has at most 400 words and signs"),
    ],
)  # fmt: skip
def test_it_points_at_what_is_wrong(text, column, what):
    error = wrong(text)
    assert (error.what, error.column) == (what, column)
    lines = str(error).split("\n")
    assert lines[0] == f"column {column}: {what}"
    assert len(lines) == 3


def test_the_carets_stand_below_what_is_wrong():
    lines = str(wrong('"é" == weekday and hours > 2')).split("\n")
    assert lines[1:] == ['  "é" == weekday and hours > 2', "  ^^^"]
    shown, carets = str(wrong("memory.free > 8.5G and hours > 2G")).split("\n")[1:]
    assert shown[carets.index("^") : carets.rindex("^") + 1] == "hours"


def test_of_a_long_text_a_part_is_shown():
    shown, carets = str(wrong(f"{'hour < 25 and ' * 20} hours > 2 {' and hour < 25' * 20}")).split("\n")[1:]
    assert len(shown) < 90
    assert shown[carets.index("^") : carets.rindex("^") + 1] == "hours"
    assert shown.startswith("  ...")
    assert shown.endswith("...")


def test_too_deep_for_python_is_too_deep(monkeypatch):
    def refuses(*_, **__):
        raise RecursionError

    monkeypatch.setattr("orcha._core.conditions.parsing.ast.parse", refuses)
    assert wrong("hour > 3").what == "too much stands in itself here: write it simpler"


def test_further_names_can_be_added():
    term = Term("rig.heat", ValueKind.NUMBER, Origin.PLUGIN, "How warm the rig is.", "rig.heat < 60")
    vocabulary = BUILT_IN.extended([term])
    assert Condition("rig.heat < 60", vocabulary).holds({Reading("rig.heat"): 20})
    assert BUILT_IN.get("rig.heat") is None
    assert vocabulary.get("rig.heat") == term
    assert vocabulary.get("hour") == BUILT_IN["hour"]


@pytest.mark.parametrize("term", list(BUILT_IN), ids=lambda term: term.written)
def test_each_name_is_told_with_an_example_that_can_be_read(term):
    told = help_text()
    assert f"  {term.written}  " in told
    assert term.sentence in " ".join(told.split())
    assert max(map(len, told.splitlines())) < 80
    assert term.example in told
    assert term.name in {reading.name for reading in Condition(term.example, BUILT_IN).readings}


@pytest.mark.parametrize(
    ("kind", "found", "value"),
    [
        (ValueKind.NUMBER, True, True),
        (ValueKind.DURATION, 2.5, 2.5),
        (ValueKind.TRUTH, 0, False),
        (ValueKind.TEXT, "x" * (MAX_TEXT_CHARACTERS + 1), Unknown("what was found is a text that is too long")),
        (ValueKind.NUMBER, 2**64, Unknown("what was found is a number out of bounds")),
        (ValueKind.NUMBER, None, Unknown("what was found is no number but 'NoneType'")),
        (ValueKind.TRUTH, "yes", Unknown("what was found is no yes or no but 'str'")),
    ],
)
def test_what_was_found_is_checked(kind, found, value):
    assert checked(kind, found) == value


def test_what_is_unknown_is_compared_by_its_reason():
    assert len({Unknown("a"), Unknown("a"), Unknown("b")}) == 2
    assert Unknown("a") != "a"
