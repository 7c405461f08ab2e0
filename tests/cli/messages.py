"""Every message of Orcha for people, found in its source: where it is raised or written, and its text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).resolve().parents[2] / "src" / "orcha"

ABOUT_OPTIONS = frozenset(("ArgumentTypeError", "WrongOptionError"))
ABOUT_THE_MACHINE = frozenset(
    (
        *("ConfigurationError", "EndpointInUseError", "UnsafeFolderError", "AlreadyServingError", "unusable"),
        *("StoreError", "StoreFull", "StoreBroken", "StoreDamaged", "NoThreadError"),
    )
)
ABOUT_THE_SERVICE = frozenset(
    (
        *("OrchaConnectionError", "AuthenticationError", "ManagerShutdownError", "ServiceFailedError"),
        *("PluginError", "NoSuchPetitionError", "RefusedError", "VerbRefusedError"),
        *("ConditionFailed", "NotExecutedError"),
    )
)
REFUSING = frozenset(("refuse", "_refuse"))
SAYING = frozenset(("note", "tell", "_say"))
EVERY = ABOUT_OPTIONS | ABOUT_THE_MACHINE | ABOUT_THE_SERVICE | REFUSING | SAYING


class Message(NamedTuple):
    """One message."""

    where: str
    """File and line."""
    by: str
    """The error or the function that takes it."""
    text: str
    """Its text, with `{}` for what is filled in."""


def every() -> list[Message]:
    """Give all of them, in the order of their places."""
    return [found for path in sorted(SOURCE.rglob("*.py")) for found in _of(path)]


def _of(path: Path) -> Iterator[Message]:
    source = path.read_text("utf-8")
    if not any(name in source for name in EVERY):  # each process of a test run reads all of them
        return
    nodes = list(ast.walk(ast.parse(source)))
    named = _assigned(nodes)
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in EVERY:
            continue
        where = f"{path.relative_to(SOURCE)}:{node.lineno}"
        for argument in node.args:
            for text in _texts(argument, named):
                if " " in text.strip():
                    yield Message(where, name, text)


def _assigned(nodes: list[ast.AST]) -> dict[str, list[ast.expr]]:
    """Give what is assigned to the names that messages wait in until they are raised."""
    named: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id in {"message", "error", "reason", "why", "line", "text"}:
                    named.setdefault(target.id, []).append(node.value)
    return named


def _texts(node: ast.expr, named: dict[str, list[ast.expr]]) -> Iterator[str]:
    """Give the texts that an expression may be."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            rest = list(_texts(right, named))
            yield from (first + last for first in list(_texts(left, named)) or ["{}"] for last in rest or ["{}"])
        case ast.IfExp(body=one, orelse=other):
            yield from (*_texts(one, named), *_texts(other, named))
        case ast.BoolOp(values=values):
            for value in values:
                yield from _texts(value, named)
        case ast.Name(id=name):
            for value in named.get(name, ()):
                yield from _texts(value, {})
