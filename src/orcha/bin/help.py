"""What ``--help`` shows: no wider than 80 columns, and the commands in groups, the most used at the top."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

MAX_WIDTH_COLUMNS = 80
"""Columns that are used, however wide the terminal is."""
GROUPS = (
    ("start here", ("serve", "run")),
    (
        "look at what waits, runs and has ended",
        ("ps", "why", "show", "logs", "attach", "wait", "stats", "history", "simulate"),
    ),
    (
        "decide about it",
        (
            *("exec", "cron", "cancel", "retry", "pause", "resume", "signal", "set", "priority", "rm", "group"),
            "resource",
        ),
    ),
    ("take a device, or the whole machine, for a while", ("lock", "unlock", "extend")),
    (
        "the service itself",
        (
            *(
                "where",
                "who",
                "events",
                "service",
                "doctor",
                "config",
                "reload",
                "key",
                "drain",
                "undrain",
                "stop",
                "backup",
                "restore",
                "relay",
                "install-units",
                "watchdog",
            ),
            "list-plugins",
        ),
    ),
)
"""The built-in commands, in the order in which a newcomer meets them."""
OF_PLUGINS = "plugins"


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help in lines of 80 columns at most; indented lines of a text, as examples are, stay as they are."""

    def __init__(self, prog: str) -> None:
        """Be as wide as the terminal, 80 columns at most."""
        from shutil import get_terminal_size

        super().__init__(prog, width=min(MAX_WIDTH_COLUMNS, get_terminal_size().columns) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Give a text with its paragraphs wrapped."""
        from textwrap import fill

        lines = (
            block if is_kept else fill(block, width, initial_indent=indent, subsequent_indent=indent)
            for is_kept, block in _blocks(text)
        )
        return "\n".join(lines)


def _blocks(text: str) -> Iterator[tuple[bool, str]]:
    r"""Give each line that stays as it is, and each paragraph as one line.

    >>> list(_blocks("a\nb\n\nexamples:\n  c\n"))
    [(False, 'a b'), (True, ''), (False, 'examples:'), (True, '  c')]
    """
    paragraph: list[str] = []
    for line in [*text.splitlines(), None]:
        if line and not line.startswith(" "):
            paragraph.append(line)
            continue
        if paragraph:
            yield False, " ".join(paragraph)
            paragraph = []
        if line is not None:
            yield True, line


def grouped(lines: Mapping[str, tuple[tuple[str, ...], str]]) -> Iterable[tuple[str, list[str]]]:
    """Give commands by groups, the commands of plugins last.

    >>> list(grouped({"run": ((), "run a command"), "hello": ((), "say hello")}))
    [('start here', ['run']), ('plugins', ['hello'])]
    """
    left = dict.fromkeys(sorted(lines))
    for title, names in GROUPS:
        found = [name for name in names if name in left]
        for name in found:
            del left[name]
        if found:
            yield title, found
    if left:
        yield OF_PLUGINS, list(left)


def with_formatter(options: dict[str, Any]) -> dict[str, Any]:
    """Give what a command's parser is made with, its help formatted as all others are unless it says how."""
    return {"formatter_class": Formatter} | options
