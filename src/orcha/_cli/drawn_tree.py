"""Which petition comes after which, drawn as a tree."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    Row = dict[str, Any]


def drawn_tree(rows: Iterable[Row]) -> Iterator[tuple[Row, str]]:
    """Give each row below the last of the rows that it comes after, with the branch that leads to the row.

    >>> rows = [{"seq": 1, "after": None}, {"seq": 2, "after": "1"}, {"seq": 3, "after": "1 2"}]
    >>> [(row["seq"], branch) for row, branch in drawn_tree(rows)]
    [(1, ''), (2, '└─ '), (3, '   └─ ')]
    """
    rows = list(rows)
    known = {row["seq"] for row in rows}
    below: dict[int | None, list[Row]] = {}
    for row in rows:
        others = [int(seq) for seq in (row.get("after") or "").split()]
        below.setdefault(max((seq for seq in others if seq in known), default=None), []).append(row)
    left = [(row, "", "") for row in reversed(below.get(None, []))]
    while left:
        row, branch, margin = left.pop()
        yield row, branch
        children = below.get(row["seq"], [])
        for child in reversed(children):
            is_last = child is children[-1]
            left.append((child, margin + ("└─ " if is_last else "├─ "), margin + ("   " if is_last else "│  ")))


__all__ = ["drawn_tree"]
