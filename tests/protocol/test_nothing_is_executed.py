"""Nothing that arrives is ever executed: the means for it are nowhere in the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import orcha

SOURCES = sorted(Path(orcha.__file__).parent.rglob("*.py"))
MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "marshal",
    "shelve",
    "code",
    "codeop",
    "runpy",
    "jsonpickle",
}
CALLS = {"eval", "exec", "compile"}
METHODS = {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen", "builtins.eval", "builtins.exec"}


def found_in(tree):
    """Name each use of what executes data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {alias.name}" for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES and not node.level:
            yield f"from {node.module} import"
        elif isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id in CALLS:
                yield f"{function.id}()"
            if isinstance(function, ast.Attribute) and ast.unparse(function) in METHODS:
                yield f"{ast.unparse(function)}()"
            yield from ("shell=True" for keyword in node.keywords if keyword.arg == "shell")


@pytest.mark.once
def test_the_sources_hold_nothing_that_executes_data():
    assert len(SOURCES) > 20
    found = [f"{path}: {what}" for path in SOURCES for what in found_in(ast.parse(path.read_text(encoding="utf-8")))]
    assert found == []


def test_the_wire_imports_nothing_by_a_name_that_it_computes():
    names = {"__import__", "import_module"}
    for path in SOURCES:
        if {"_protocol", "_client", "_server"} & {*path.parts}:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            assert not used & names, path


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import shelve as s",
        "eval('1')",
        "def f():\n exec(x)",
        "yaml.load(f)",
        "run(c, shell=True)",
    ],
)
def test_what_is_looked_for_is_found(source):
    assert list(found_in(ast.parse(source)))
