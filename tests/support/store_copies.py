"""Copies of a store's folder that stand for the folder itself, as a killed process leaves it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from orcha._store.birth import birth_of


def copy_to(folder: Path, target: Path) -> Path:
    """Copy a folder and what stands beside it; the next start takes the copy for the file that the service had."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("ballast"))
    for suffix in ("last-start", "last-commit"):
        if (beside := Path(f"{folder}.{suffix}")).exists():
            shutil.copy(beside, f"{target}.{suffix}")
    own_copy(target)
    return target


def own_copy(folder: Path) -> None:
    """Have the note of the last start name the file of the database that is in the folder now."""
    note, database = Path(f"{folder}.last-start"), folder / "orcha.db"
    if note.exists() and database.exists():
        with database.open("rb") as file:
            note.write_text(re.sub(r"born \d+", f"born {birth_of(file.fileno())}", note.read_text()))
