"""The names and functions that conditions may use, each with a sentence and an example."""

from __future__ import annotations

from difflib import get_close_matches
from enum import Enum
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.conditions.kinds import ValueKind
from orcha._core.conditions.times import WEEKDAYS, minute_of_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


_NEAR_NAME_RATIO = 0.7
"""How alike a misspelt name and the name that may be meant are: from 0, for nothing in common, to 1."""


class Origin(Enum):
    """From where the value of a name comes."""

    SERVICE = 1
    """From the service, which knows at once when it changes."""
    CLOCK = 2
    """From the time of day: it is known when it changes next."""
    MACHINE = 3
    """From the machine, which has to be looked at."""
    FILES = 4
    """From file systems, which may not answer."""
    PLUGIN = 5
    """From a function of a plugin, which may not return."""


LOOKED_AT = frozenset((Origin.MACHINE, Origin.FILES, Origin.PLUGIN))
"""Origins whose changes nobody tells."""


class Parameter(NamedTuple):
    """What stands between the brackets of a function."""

    name: str
    kind: ValueKind
    cure: str | None = None
    """What people are told of an argument that cannot be."""
    accepts: Callable[[object], bool] = lambda _: True


class Term(NamedTuple):
    """One name, or one function."""

    name: str
    """With its dots, without its arguments: `disk.free` is written `disk("/").free`."""
    kind: ValueKind
    origin: Origin
    sentence: str
    example: str
    parameters: tuple[Parameter, ...] = ()
    words: tuple[str, ...] = ()
    """The only texts that it stands for, where they are few."""

    @property
    def written(self) -> str:
        """How it is written.

        >>> BUILT_IN["disk.free"].written, BUILT_IN["hour"].written
        ('disk(path).free', 'hour')
        """
        if not self.parameters:
            return self.name
        function, dot, rest = self.name.partition(".")
        return f"{function}({', '.join(each.name for each in self.parameters)}){dot}{rest}"


class Reading(NamedTuple):
    """A name with its arguments: what has one value at a time."""

    name: str
    arguments: tuple[str | int | float | bool, ...] = ()


class Vocabulary:
    """All names and functions of one service."""

    def __init__(self, terms: Iterable[Term]) -> None:
        """Take the terms; of two with one name the later one counts."""
        self._terms = {term.name: term for term in terms}

    def __getitem__(self, name: str) -> Term:
        """Give the term of a name."""
        return self._terms[name]

    def __iter__(self) -> Iterator[Term]:
        """Give each term, in the order in which they are told to people."""
        return iter(self._terms.values())

    def get(self, name: str) -> Term | None:
        """Give the term of a name, if there is one."""
        return self._terms.get(name)

    def extended(self, terms: Iterable[Term]) -> Vocabulary:
        """Give a vocabulary with further terms."""
        return Vocabulary([*self, *terms])

    def nearest(self, name: str) -> str | None:
        """Give how the name that may be meant is written.

        >>> BUILT_IN.nearest("memory.fre"), BUILT_IN.nearest("ours"), BUILT_IN.nearest("xyz")
        ('memory.free', 'hour', None)
        """
        near = get_close_matches(name, self._terms, 1, _NEAR_NAME_RATIO) or [
            each for each in self._terms if each.partition(".")[0] == name
        ]
        if not near:
            firsts = {each.partition(".")[0]: each for each in reversed(self._terms)}
            near = [firsts[each] for each in get_close_matches(name.partition(".")[0], firsts, 1, _NEAR_NAME_RATIO)]
        return self._terms[near[0]].written if near else None

    def help(self) -> str:
        """Tell all of them to people, in lines that fit a narrow terminal."""
        width = max(len(term.written) for term in self)
        lines = []
        for term in self:
            lines.append(f"  {term.written:{width}}  {term.example}")
            lines += wrap(term.sentence, HELP_COLUMNS, initial_indent="      ", subsequent_indent="      ")
        return "\n".join(lines)


def _is_absolute(path: object) -> bool:
    return isinstance(path, str) and path.startswith("/")


_MINUTES = Parameter(
    "minutes",
    ValueKind.NUMBER,
    "the machine tells its load over 1, 5 or 15 minutes",
    lambda minutes: minutes in {1, 5, 15},
)
_PATH = Parameter(
    "path", ValueKind.TEXT, "give the whole path, from / on: the service runs in another folder", _is_absolute
)
_GROUP = Parameter("group", ValueKind.TEXT)
_RESOURCE = Parameter("name", ValueKind.TEXT)
_TIMES = tuple(
    Parameter(name, ValueKind.TEXT, 'write a time of day as "22:00"', lambda time: minute_of_day(time) is not None)
    for name in ("from", "to")
)

BUILT_IN = Vocabulary(
    (
        Term(
            "load",
            ValueKind.NUMBER,
            Origin.MACHINE,
            "How many processes run or want to run, on average over 1, 5 or 15 minutes.",
            "load(1) < 4",
            (_MINUTES,),
        ),
        Term("cpus", ValueKind.NUMBER, Origin.MACHINE, "How many processors the machine has.", "load(5) < cpus / 2"),
        Term("memory.free", ValueKind.SIZE, Origin.MACHINE, "Memory that nothing uses at all.", "memory.free > 1G"),
        Term(
            "memory.available",
            ValueKind.SIZE,
            Origin.MACHINE,
            "Memory that can be had without swapping, caches among it.",
            "memory.available > 8G",
        ),
        Term("memory.total", ValueKind.SIZE, Origin.MACHINE, "Memory that the machine has.", "memory.total >= 64G"),
        Term("swap.used", ValueKind.SIZE, Origin.MACHINE, "Swap that is in use.", "swap.used < 100M"),
        Term("swap.free", ValueKind.SIZE, Origin.MACHINE, "Swap that is free.", "swap.free > 1G"),
        Term("users", ValueKind.NUMBER, Origin.MACHINE, "How many users are logged in.", "users == 0"),
        Term(
            "disk.free",
            ValueKind.SIZE,
            Origin.FILES,
            "What users may still write to the file system of a path.",
            'disk("/data").free > 50G',
            (_PATH,),
        ),
        Term(
            "exists",
            ValueKind.TRUTH,
            Origin.FILES,
            "Whether there is a file or folder, links followed.",
            'not exists("/run/maint")',
            (_PATH,),
        ),
        Term(
            "age",
            ValueKind.DURATION,
            Origin.FILES,
            "How long ago a file was written to; where there is no such file, it is not known.",
            'age("/data/input.csv") > 10m',
            (_PATH,),
        ),
        Term(
            "hour",
            ValueKind.NUMBER,
            Origin.CLOCK,
            "The hour where the service runs, 0 to 23.",
            "hour in (22, 23, 0, 1)",
        ),
        Term("minute", ValueKind.NUMBER, Origin.CLOCK, "The minute of the hour, 0 to 59.", "minute < 30"),
        Term(
            "weekday",
            ValueKind.TEXT,
            Origin.CLOCK,
            f"The day of the week: {', '.join(WEEKDAYS)}.",
            'weekday in ("sat", "sun")',
            words=WEEKDAYS,
        ),
        Term("day", ValueKind.NUMBER, Origin.CLOCK, "The day of the month, 1 to 31.", "day == 1"),
        Term(
            "between",
            ValueKind.TRUTH,
            Origin.CLOCK,
            "Whether it is between two times of day, also over midnight; the second is outside.",
            'between("22:00", "06:00")',
            _TIMES,
        ),
        Term(
            "queued", ValueKind.NUMBER, Origin.SERVICE, "How many petitions wait, this one among them.", "queued < 100"
        ),
        Term("running", ValueKind.NUMBER, Origin.SERVICE, "How many petitions run.", "running < 8"),
        Term(
            "running_in",
            ValueKind.NUMBER,
            Origin.SERVICE,
            "How many petitions of a group run.",
            'running_in("nightly") == 0',
            (_GROUP,),
        ),
        Term(
            "resource.free",
            ValueKind.NUMBER,
            Origin.SERVICE,
            "How much of a resource is free.",
            'resource("gpu").free >= 2',
            (_RESOURCE,),
        ),
        Term(
            "slots.free",
            ValueKind.NUMBER,
            Origin.SERVICE,
            "How many slots of a group are free; where it has any number of them, it is not known.",
            'slots("nightly").free > 1',
            (_GROUP,),
        ),
    )
)
"""What each service knows."""

HELP = """\
A condition is one expression in Python's syntax: and, or, not, comparisons
(also chained), in, + - * / // %, brackets, numbers, texts, sizes as 8G (K, M,
G, T and P are powers of 1024) and durations as 30s, 10m, 2h, 1d.
It is asked when something that it names changes; what has to be looked at is
looked at once a second. A plugin may add names of its own, which its
documentation tells.
"""
HELP_COLUMNS = 79
"""Columns of a line of the help."""


def help_text(vocabulary: Vocabulary = BUILT_IN) -> str:
    """Give what `--when help` prints."""
    return f"{HELP}\n{vocabulary.help()}\n"


__all__ = [
    "BUILT_IN",
    "LOOKED_AT",
    "Origin",
    "Parameter",
    "Reading",
    "Term",
    "Vocabulary",
    "help_text",
]
