"""What the programs import that a service starts for itself: their start is felt by the first command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import orcha

SUPERVISOR = tuple(f"orcha._supervisor.{name}" for name in ("main", "shim", "link", "secret_files"))
WATCHER = "orcha._processes.watcher", "orcha._processes.sweep"
IMPORTS = """
import sys
sys.path.append({source!r})
for name in {names!r}:
    __import__(name)
print(*sys.modules)
"""


@pytest.mark.parametrize("names", [SUPERVISOR, WATCHER], ids=["supervisor", "watcher"])
def test_they_import_nothing_that_is_for_type_checkers_alone(names):
    code = IMPORTS.format(source=str(Path(orcha.__file__).parents[1]), names=names)
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert not {"typing", "dataclasses", "inspect", "traceback"} & set(ran.stdout.split())
