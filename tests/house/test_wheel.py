"""What is in the wheel, and that one number is the version."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("orcha-*.whl")
    return path


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_file_of_the_source_is_in_the_wheel(wheel):
    source = ROOT / "src"
    kinds = {".py", ".sql", ".typed", ".service", ".socket", ".conf"}
    wanted = {str(path.relative_to(source)) for path in source.rglob("*") if path.suffix in kinds}
    assert "orcha/py.typed" in wanted
    assert any(name.endswith(".sql") for name in wanted)
    assert wanted <= names_in(wheel)


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    tops = {name.partition("/")[0] for name in names_in(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"orcha"}


def test_the_wheel_installs_an_orcha_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        assert "orcha = orcha.bin.main:main" in archive.read(entry_points).decode()


def test_the_version_stands_in_one_place():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    copies = [path for path in (ROOT / "src").rglob("*.py") if f'"{version}"' in path.read_text()]
    assert copies == []
