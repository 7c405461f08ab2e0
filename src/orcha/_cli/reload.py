"""``orcha reload``: have the service read its configuration again."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

_EPILOG = """\
examples:
  orcha reload
  orcha reload --json

Petitions stay as they are. Where a file is wrong nothing changes, and the exit code is 78.
"""
WRONG_FILE_CODE = 78


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Have the service read its configuration files again. What can be changed while it runs is changed and listed;"
        " what waits for the next start is named."
    )
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(namespace: argparse.Namespace) -> int:
    """Ask the service to read its configuration, and print the result."""
    from orcha._cli import render
    from orcha._cli.connection import connected

    with connected() as service:
        found: dict[str, Any] = service.done(service.reload())
    if namespace.json:
        render.json(found)
    elif found["fault"] is not None:
        render.note(f"{render.plain(found['fault'])}: what was in force before stays")
    else:
        for line in lines(found):
            render.line(line)
    return 0 if found["fault"] is None else WRONG_FILE_CODE


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Give the result of a reload in lines for people.

    >>> print(*lines(dict(files=["a.toml"], changed=[], restart=["listen.port"], overridden=[])), sep="; ")
    nothing changed (a.toml); waits for the next start of the service: listen.port
    """
    files = ", ".join(found["files"]) or "there is no configuration file"
    if not found["changed"]:
        yield f"nothing changed ({files})"
    for each in found["changed"]:
        yield f"changed: {each}"
    for each in found["restart"]:
        yield f"waits for the next start of the service: {each}"
    for each in found["overridden"]:
        yield f"something else counts more: {each}"
    for each in found.get("notes", ()):  # a service of an older build has none
        yield f"note: {each}"
