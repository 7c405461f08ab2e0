"""`docs/wire.md` names what rows, Show and Stats hold."""

from __future__ import annotations

import re
from pathlib import Path

from orcha._protocol.messages import Show, Stats
from support.asking import asking

SECTION = re.split(r"^## 9\. .*$", (Path(__file__).parents[2] / "docs" / "wire.md").read_text(), flags=re.MULTILINE)[1]
SECTION = SECTION.partition("\n## ")[0]


def words(text):
    return set(re.findall(r"[a-z_]+", re.sub(r"\([^)]*\)", "", text)))


def keys(table):
    lines = [line for line in table.splitlines() if line.startswith("| ")][2:]
    return {key.strip() for line in lines for key in line.strip("|").split(" | ")[0].split(",")}


def test_rows_show_and_stats_hold_what_is_told():
    rows, rest = SECTION.partition("A row of **Rows**:")[2].split("**Show** has")
    show, stats = rest.split("**Stats**:")
    with asking(slots={"rig": 1}) as asked:
        asked.submit(asked.user, "a", waits=True)
        row = asked.rows()["a"]
        assert set(row) <= words(rows)
        shown = asked.value(asked.ask(asked.owner, Show, "a"))
        assert set(shown) == set(row) | keys(show)
        known = asked.value(asked.ask(asked.owner, Stats))
        assert set(known) == keys(stats)
