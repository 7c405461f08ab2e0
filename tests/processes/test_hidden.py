"""What is told where /proc hides processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcha._processes.hidden import hidden

LINE = "proc /proc proc rw,relatime{} 0 0\n"


@pytest.mark.parametrize(
    ("options", "is_told"),
    [
        ("", False),
        (",hidepid=0", False),
        (",hidepid=off", False),
        (",hidepid=1", False),
        (",hidepid=noaccess", False),
        (",gid=4,hidepid=2", True),
        (",hidepid=invisible", True),
        (",hidepid=4", True),
        (",hidepid=ptraceable", True),
    ],
)
def test_it_is_told_where_processes_are_not_shown(tmp_path: Path, options: str, is_told: bool) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("tmpfs /tmp tmpfs rw 0 0\n" + LINE.format(options))
    told = hidden(str(mounts), uid=61003)
    assert (told is not None) is is_told
    assert told is None or options.rpartition(",")[2] in told
    assert hidden(str(mounts), uid=0) is None


def test_the_mount_on_top_counts(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(LINE.format(",hidepid=2") + LINE.format(""))
    assert hidden(str(mounts), uid=61003) is None


def test_nothing_is_told_where_nobody_knows(tmp_path: Path) -> None:
    assert hidden(str(tmp_path / "none"), uid=61003) is None
