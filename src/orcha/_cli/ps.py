"""``orcha ps``: which petitions there are, since when, and why they wait."""

from __future__ import annotations

from typing import NamedTuple

from orcha._cli import options
from orcha._cli.drawn_tree import drawn_tree
from orcha._cli.layout import Column, cut
from orcha._cli.owners import are_others, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from orcha._cli.foretold import Estimate
    from orcha._cli.session import Session
    from orcha._protocol.messages import Rows

    Row = dict[str, Any]

_PAGE_ROWS = 1_000
_DEFAULT_LIMIT_ROWS = 100
_ENDED_STATE = 6
_STATES: dict[str, tuple[int, ...]] = {
    "queued": (1,),
    "held": (2,),
    "starting": (3,),
    "running": (3, 4),
    "paused": (3, 4),
    "cancelling": (5,),
    "succeeded": (_ENDED_STATE,),
    "failed": (_ENDED_STATE,),
    "cancelled": (_ENDED_STATE,),
    "timed out": (_ENDED_STATE,),
    "interrupted": (_ENDED_STATE,),
    "rejected": (_ENDED_STATE,),
    "broken": (_ENDED_STATE,),
    "ended": (_ENDED_STATE,),
}
"""The table's word for a state, and the numbers in `orcha._core.state.State`; `ended` stands for all ends."""
LIVE_STATE_NAMES = ("queued", "held", "starting", "running", "paused", "cancelling")
_RANK = {"cancelling": 0, "starting": 1, "running": 1, "held": 2, "queued": 3, "ended": 4}
_COLUMNS = {
    "ID": Column("ID", 36, middle=True, at_last=8),
    "STATE": Column("STATE"),
    "PRIORITY": Column("PRIORITY", given_up=0),
    "GROUP": Column("GROUP", 8, given_up=3),
    "USER": Column("USER", 8, given_up=2),
    "ELAPSED": Column("ELAPSED", given_up=8),
    "ENDED": Column("ENDED", given_up=1),
    "LABEL": Column("LABEL", 8, given_up=4),
    "ELEMENTS": Column("ELEMENTS"),
    "COMMAND": Column("COMMAND", 12, middle=True, given_up=7),
    "STARTS": Column("STARTS", given_up=5),
    "WHY": Column("WHY", 12, given_up=6),
}
_OPTIONAL_COLUMNS = frozenset(("GROUP", "ENDED", "LABEL", "ELEMENTS", "STARTS", "WHY"))
"""Columns that are shown only where a row has a value for them."""
_MAX_COMMAND_COLUMNS = 60
"""Columns of a terminal that a command takes in the table at most."""
_BAR_CHARACTERS = 10
_ALL, _GROUP = "all", "group:"
"""What `orcha._protocol.messages.Rows` calls pauses."""
_EPILOG = """\
examples:
  orcha ps
  orcha ps --state failed --limit 20
  orcha ps --all --json
  orcha ps --tree
  orcha ps --starts
  orcha ps train
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Show the petitions of the service: what waits, and why, and what runs."
    parser.epilog = _EPILOG
    parser.add_argument(
        "array",
        nargs="?",
        type=options.written,
        metavar="ARRAY",
        help="show the elements of this array, ended ones too",
    )
    parser.add_argument("-a", "--all", action="store_true", help="show ended ones too, as long as they are kept")
    parser.add_argument(
        "--state",
        action="append",
        type=_state,
        metavar="STATE",
        help=f"show those in this state only: {', '.join(_STATES)}; may be given repeatedly",
    )
    parser.add_argument("-g", "--group", type=options.name, metavar="G", help="show petitions of this group only")
    parser.add_argument(
        "--tree", action="store_true", help="draw which wait for which: each below the petition that it comes after"
    )
    parser.add_argument(
        "--starts",
        action="store_true",
        help="tell when what waits will probably start, with --json too (default: on a terminal, where few wait)",
    )
    parser.add_argument(
        "-w",
        "--watch",
        nargs="?",
        type=options.duration,
        const=2.0,
        metavar="T",
        help="show it again every T (default: 2s)",
    )
    parser.add_argument(
        "--limit",
        type=options.count,
        metavar="N",
        help=f"show at most N (default: {_DEFAULT_LIMIT_ROWS}; with --json all that wait and run, "
        f"and {_DEFAULT_LIMIT_ROWS} that have ended)",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array; times are ISO 8601, in UTC")


def _state(text: str) -> str:
    """Read a state as the table calls it."""
    import argparse

    name = " ".join(text.lower().replace("_", " ").replace("-", " ").split())
    if name not in _STATES:
        raise argparse.ArgumentTypeError(f"{text!a} is no state: give one of {', '.join(_STATES)}")
    return name


class _RowSource:
    """Asks for rows, and remembers what is paused, and whether another build lies where the service's did."""

    def __init__(self, service: Session, array: str | None = None, seq: int | None = None) -> None:
        self._service = service
        self._array = seq
        self._more: dict[str, Any] = {} if array is None else {"array": array}
        self.paused: list[str] = []
        self.drained: str | None = None
        self.answer: Rows | None = None

    def estimates(self, rows: list[Row], *, is_asked_for: bool) -> dict[int, Estimate]:
        """Give when petitions of these rows will probably start, as far as that can be foretold."""
        from orcha._cli import foretold

        return foretold.of_rows(self._service, rows, is_asked_for=is_asked_for, array=self._array)

    def __call__(self, *which: Any, **more: Any) -> list[Row]:
        """Give a page of rows."""
        answer = self._service.page(*which, **(more | self._more))
        self.paused = answer.paused
        self.drained = answer.drained
        self.answer = answer
        return answer.rows


def run(namespace: argparse.Namespace) -> int:
    """Print the table, once or again and again."""
    from orcha._cli.connection import connected

    with connected() as service:
        details = {} if namespace.array is None else service.details(namespace.array)
        from orcha._cli import render

        if namespace.array is not None and "elements" not in details:
            render.note(f"{render.plain(namespace.array)} is no array: orcha show tells of one petition")
            return 1
        if namespace.watch is None:
            found = _show(namespace, _RowSource(service, namespace.array, details.get("seq")))
            if namespace.array is not None and not namespace.json:
                _say_the_rest(service, namespace.array)
            why = None if found or namespace.group is None else _no_group(service, namespace.group)
            if why is not None:
                render.note(why)
            return 0 if why is None else 1
        from time import sleep  # noqa: TID251 - a person sets the pace

        try:
            while True:
                _show(namespace, _RowSource(service, namespace.array, details.get("seq")))
                sleep(namespace.watch)
        except KeyboardInterrupt:
            return 0


def _say_the_rest(service: Session, array: str) -> None:
    """Say how far an array is, since elements that have not begun have no row."""
    from orcha._cli import render

    known = service.details(array)
    render.line(f"{render.plain(array)}: {progress(known)}, {known['elements_waiting']} wait")


def elements(service: Session, array: str) -> list[str]:
    """Give the ids of the elements of an array that are or were petitions, in their order."""

    def page(states: int, limit: int, before: int | None = None) -> list[Row]:
        return service.page(states, limit, before, array=array).rows

    found = {row["id"] for row in pages(page, (*LIVE_STATE_NAMES, "ended"))}
    return sorted(found, key=lambda identity: int(identity.rpartition(".")[2]))


def progress(row: Row) -> str:
    """Give how far an array is; nothing for other petitions.

    >>> counts = {"elements_succeeded": 40, "elements_failed": 3, "elements_cancelled": 0, "elements_running": 4}
    >>> progress({"elements": 100} | counts)
    '[####......] 43/100, 4 run, 3 failed'
    """
    total = row.get("elements")
    if not total:
        return ""
    failed, cancelled, running = (row[f"elements_{name}"] for name in ("failed", "cancelled", "running"))
    ended = row["elements_succeeded"] + failed + cancelled
    bar = "#" * (ended * _BAR_CHARACTERS // total)
    told = [(running, "run"), (failed, "failed"), (cancelled, "cancelled")]
    parts = [f"[{bar:.<{_BAR_CHARACTERS}}] {ended}/{total}", *(f"{count} {word}" for count, word in told if count)]
    return ", ".join(parts)


def _no_group(service: Session, group: str) -> str | None:
    """Say that there is no such group, and which groups there are; None where the group may exist."""
    from orcha._cli import render
    from orcha._protocol.messages import Verdict

    reply = service.stats()
    if reply.verdict != Verdict.OK or reply.value is None:
        return None
    names = [use["group"] for use in service.decode(reply.value)["groups"]]
    if group in names or service.page(1 << _ENDED_STATE, 1, group=group).rows:  # it was set by an earlier start
        return None
    there_are = f"there are {', '.join(map(render.plain, names))}" if names else "orcha serve --slots G=N makes one"
    return f"there is no group {render.plain(group)}: {there_are}"


def _show(namespace: argparse.Namespace, ask: _RowSource) -> bool:
    """Print the table; tell whether there was any petition."""
    from orcha._cli import descriptions, foretold, render

    shows_all = namespace.all or namespace.array is not None
    names = namespace.state or ((*LIVE_STATE_NAMES, "ended") if shows_all else LIVE_STATE_NAMES)
    limit = namespace.limit or (None if namespace.json else _DEFAULT_LIMIT_ROWS)
    found = listing(ask, names, limit, namespace.group)
    paused = list(_held_back(ask.paused, ask.drained))
    is_short = len(found.rows) + found.left_out <= foretold.MAX_UNASKED_PETITIONS
    tells = namespace.starts or (is_short and render.is_terminal() and not namespace.json)
    starts = ask.estimates(found.rows, is_asked_for=namespace.starts) if tells else {}
    if namespace.json:
        now = render.now()
        rows = [as_json(row, now) for row in found.rows]
        if namespace.starts:
            rows = [row | {"estimate": foretold.as_json(starts.get(row["seq"]))} for row in rows]
        (render.json if namespace.watch is None else render.json_line)(rows)
    else:
        _for_people(namespace, found.rows, starts)
        render.out("".join(f"{line}\n" for line in paused))
    if found.left_out or found.older:
        left = f"at least {found.left_out + 1}" if found.older else str(found.left_out)
        render.note(f"{left} left out: orcha ps --limit N")
    if namespace.json and namespace.watch is None:
        for line in paused:
            render.note(line)
    for line in descriptions.of_the_service(ask.answer) if namespace.watch is None else ():
        render.note(line)
    return bool(found.rows)


def _for_people(namespace: argparse.Namespace, rows: list[Row], starts: dict[int, Estimate]) -> None:
    """Print a table."""
    from orcha._cli import foretold, render

    if namespace.watch is not None:
        render.afresh()
    if rows:
        now = render.now()
        told = {seq: foretold.brief(estimate, now) for seq, estimate in starts.items()}
        drawn = drawn_tree(rows) if namespace.tree else ((row, "") for row in rows)
        cells = [
            dict(zip(_COLUMNS, columns(row, now, branch, told.get(row["seq"], "")), strict=True))
            for row, branch in drawn
        ]
        left_out = () if are_others(rows) else ("USER",)
        shown = [title for title in _COLUMNS if title not in _OPTIONAL_COLUMNS or any(row[title] for row in cells)]
        shown = [title for title in shown if title not in left_out]
        table = [tuple(row[title] or "-" * (title == "GROUP") for title in shown) for row in cells]
        render.table([_COLUMNS[title] for title in shown], table)
    else:
        narrowed = namespace.all or namespace.state or namespace.group or namespace.array
        render.line("no petitions" if narrowed else "nothing waits or runs")


def _held_back(names: list[str], drained: str | None) -> Iterator[str]:
    """Say what is paused or drained, and how it goes on."""
    from shlex import quote

    from orcha._cli import render

    if drained is not None:
        yield f"{render.plain(render.local(drained))}, nothing starts: orcha undrain"
    if _ALL in names:
        yield "everything is paused, nothing starts: orcha resume --all"
    for name in names:
        if name.startswith(_GROUP):
            group = render.plain(name.removeprefix(_GROUP))
            yield f"group {group} is paused, nothing of it starts: orcha resume --group {quote(group)}"


class Listing(NamedTuple):
    """The rows that are shown, and how many are not."""

    rows: list[Row]
    left_out: int
    older: bool
    """Whether more petitions have ended; how many is not asked."""


def listing(
    ask: Callable[..., list[Row]], names: Iterable[str], limit: int | None, group: str | None = None
) -> Listing:
    """Give the rows in these states: running petitions, then waiting ones in their order, then the newest ended ones.

    The service gives the newest first, and what starts next is among the oldest: all that has not ended is looked at
    before anything is left out, in one go, so that what changes its state meanwhile is not missed.

    Args:
        ask: asks the service for a page.
        names: the states.
        limit: how many rows at most; None for all that have not ended.
        group: only petitions of this group.

    """
    names = frozenset(names)
    ended = frozenset(name for name in names if _ENDED_STATE in _STATES[name])
    live, left_out = _first(limit, pages(ask, names - ended, group))
    if not ended:
        return Listing(live, left_out, older=False)
    room = _DEFAULT_LIMIT_ROWS if limit is None else limit - len(live)
    found = _newest(pages(ask, ended, group, most=room + 1 if "ended" in ended else _PAGE_ROWS), room + 1)
    over = {row["seq"] for row in found}  # an end between the two questions
    rows = [row for row in live if row["seq"] not in over] + sorted(found[:room], key=_order)
    return Listing(rows, left_out, older=len(found) > room)


def _first(limit: int | None, rows: Iterable[Row]) -> tuple[list[Row], int]:
    """Give the first rows in the order in which they are shown, and how many are left out."""
    from heapq import nsmallest
    from itertools import count

    if limit is None:
        return sorted(rows, key=_order), 0
    numbers = count()
    kept = nsmallest(limit, (row for row, _ in zip(rows, numbers, strict=False)), key=_order)  # a few of a million
    return kept, next(numbers) - len(kept)


def _order(row: Row) -> tuple[float, ...]:
    """Give the sort key of a row: of waiting petitions, the petition that starts first comes first."""
    return _RANK.get(row["state"], 9), _place(row) if row["state"] == "queued" else 0, row["seq"]


def _place(row: Row) -> float:
    return float(row["priority"] if row.get("aged") is None else row["aged"])


def aged(row: Row, form: str = "{:g}, aged to {:g}") -> str:
    """Give the priority of a petition, and that which it has gained by waiting.

    >>> aged({"priority": 5, "aged": 3}), aged({"priority": 5, "aged": None})
    ('5, aged to 3', '5')
    """
    gained = row.get("aged")
    return f"{row['priority']:g}" if gained is None else form.format(row["priority"], gained)


def _newest(rows: Iterator[Row], limit: int) -> list[Row]:
    """Give up to `limit` rows; the service may send them in several answers."""
    found: list[Row] = []
    for row in rows:
        found.append(row)
        if len(found) == limit:
            break
    return found


def pages(
    ask: Callable[..., list[Row]], names: Iterable[str], group: str | None = None, most: int = _PAGE_ROWS
) -> Iterator[Row]:
    """Give the rows that the table shows in these states, newest first; up to `most` are asked for at once."""
    more = {} if group is None else {"group": group}
    names = frozenset(names)
    mask = sum(1 << number for number in {number for name in names for number in _STATES[name]})
    before: int | None = None
    while mask and (page := ask(mask, min(_PAGE_ROWS, most), before, **more)):
        yield from (row for row in page if _is_meant(row, names, mask))
        before = page[-1]["seq"]


def _is_meant(row: Row, names: frozenset[str], mask: int) -> bool:
    """Tell whether a row is in one of these states; a petition that holds a slot after its end counts as running."""
    if row["state"] == "ended" and ("ended" in names or (row["why"] and not mask >> _ENDED_STATE & 1)):
        return True
    return word(row) in names


def columns(row: Row, now: float, branch: str = "", starts: str = "") -> tuple[str, ...]:
    """Give a row as people read it; `branch` stands before its id, `starts` tells when it will probably start."""
    from orcha._cli import render

    took = elapsed(row, now)
    return tuple(
        render.plain(cell)
        for cell in (
            branch + row["id"],
            state(row),
            aged(row, "{:g}→{:g}"),
            row.get("group") or "",
            user(row) or row["owner"],
            "-" if took is None else render.elapsed(took),
            "" if row["ended"] is None else render.ago(now - row["ended"]),
            row.get("label") or "",
            progress(row),
            cut(_command(row), _MAX_COMMAND_COLUMNS, _COLUMNS["COMMAND"]),
            starts,
            render.local(row["why"] or row["reason"] or ""),
        )
    )


def _command(row: Row) -> str:
    """Give the command, or the manager in brackets: ps(1) shows a process without a command line so."""
    from orcha._cli import render

    command = row.get("command")
    return render.plain(command) if command else f"[{str(row['manager']).rpartition(':')[2]}]"


def elapsed(row: Row, now: float) -> float | None:
    """Give for how many seconds a petition has run, or has waited where it waits; None where it never ran."""
    if row["ended"] is not None:
        ended: float = row["ended"]
        return None if row["started"] is None else max(0.0, ended - row["started"])
    waits = row["state"] in {"queued", "held"} or row["started"] is None
    since: float = row["submitted"] if waits else row["started"]
    return max(0.0, now - since)


def word(row: Row) -> str:
    """Give the one word, or two, for where a petition is or how it ended."""
    if row.get("outcome") is not None:
        return str(row["outcome"]).replace("_", " ")
    name = str(row["state"])
    return "paused" if row.get("paused") and name in {"starting", "running"} else name


def state(row: Row) -> str:
    """Give where a petition is, or how it ended."""
    name = word(row)
    return f"{name} ({row['code']})" if name == "failed" and row["code"] is not None else name


def needs_of(row: Row) -> dict[str, Any]:
    """Give what a petition needs, by resource; nothing where that text was too long for an answer and was cut.

    >>> needs_of({"needs": '{"gpu": 1}'}), needs_of({"needs": '{"gp'}), needs_of({})
    ({'gpu': 1}, {}, {})
    """
    from json import loads

    try:
        found = loads(row.get("needs") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def as_json(row: Row, now: float) -> Row:
    """Give a row with its times in ISO 8601, numbers that JSON has, and what is reckoned here: user and elapsed."""
    from orcha._cli import render

    took = elapsed(row, now)
    reckoned = {"user": user(row), "elapsed": None if took is None else round(took, 3)}
    after = [int(seq) for seq in (row.get("after") or "").split()]
    needs = needs_of(row)
    times = {name: render.iso(row[name]) for name in ("submitted", "started", "ended", "until") if name in row}
    return row | times | {"priority": render.number(row["priority"]), "after": after, "needs": needs} | reckoned
