"""The document's plugin, installed in each way that there is, into an environment of its own."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

import orcha as package
from support.command import Command
from support.interpreters import newest_too

ROOT = Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "hello_world"
DOCUMENT = ROOT.parent / "shared" / "acceptance" / "extract_tutorial.py"

pytest.importorskip("setuptools")


@pytest.fixture
def environment(tmp_path):
    """Give a virtual environment that sees Orcha, and what it needs, beside what is installed into it."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    own = Path(next(folder.glob("lib/python*/site-packages")))
    paths = [str(Path(package.__file__).parents[1]), *site.getsitepackages()]
    (own / "_beside.pth").write_text("".join(f"{path}\n" for path in paths))
    return folder


@pytest.fixture
def project(tmp_path):
    """Give the document's plugin as a project, under names that nothing else here has."""
    project = Path(shutil.copytree(FIXTURE, tmp_path / "project"))
    (project / "orcha_hello_world").rename(project / "orcha_hello_there")
    for path in project.rglob("*.py"):
        text = path.read_text(encoding="utf-8").replace("hello-world", "hello-there").replace('"hw"', '"ht"')
        path.write_text(text.replace("orcha_hello_world", "orcha_hello_there"), encoding="utf-8")
    return project


@pytest.fixture
def orcha(environment, tmp_path):
    """Give the command of that environment."""
    command = Command(tmp_path)
    command.python = str(environment / "bin" / "python")
    return command


def python(orcha, *arguments, cwd):
    done = subprocess.run(
        [orcha.python, *arguments],
        cwd=cwd,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def pip(orcha, *arguments, cwd):
    python(orcha, "-m", "pip", *arguments, cwd=cwd)


def check(orcha):
    assert "orcha-hello-there - 0.1.0" in orcha.run("ls").stdout
    for word in ("hello-there", "ht"):
        assert "--sleep-time T" in orcha.run(word, "send", "--help").stdout
    assert orcha.run("ht", "--version").stdout == "orcha-hello-there - 0.1.0\n"


def remove(orcha, cwd):
    pip(orcha, "uninstall", "-y", "orcha-hello-there", cwd=cwd)
    assert "hello-there" not in orcha.run("ls").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    newest_too([["."], ["-e", "."], ["-e", ".", "--config-settings", "editable_mode=strict"]], ["-e", "."]),
)
def test_pip_install(orcha, project, tmp_path, options):
    pip(orcha, "install", "--no-build-isolation", "--no-deps", *options, cwd=project)
    check(orcha)
    remove(orcha, tmp_path)


@pytest.mark.slow
def test_setup_py_build_and_install(orcha, project, tmp_path):
    import setuptools

    if int(setuptools.__version__.partition(".")[0]) >= 80:
        pytest.skip("this setuptools has no `setup.py install`")
    python(orcha, "-W", "ignore", "setup.py", "build", cwd=project)
    python(orcha, "-W", "ignore", "setup.py", "install", cwd=project)
    shutil.rmtree(project)
    check(orcha)
    remove(orcha, tmp_path)


@pytest.mark.skipif(not DOCUMENT.exists(), reason="the document is not beside this repository")
def test_the_fixture_is_the_document_to_the_letter(tmp_path):
    subprocess.run([sys.executable, DOCUMENT, tmp_path], check=True, stdout=subprocess.DEVNULL)
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.py")}
    assert written == {path.relative_to(FIXTURE): path.read_bytes() for path in FIXTURE.rglob("*.py")}
