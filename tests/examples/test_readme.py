"""The README does what it says, word for word."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from orcha._cli import VERBS
from orcha.bin import main
from orcha.plugins.discovery import EMBEDDED
from support.authorities import Authority

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def readme_plugin() -> str:
    found = re.search(r"<!-- orcha_shout.py -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_plugin_in_the_readme_fits_a_screen():
    assert len(readme_plugin().splitlines()) <= 32


class Line(NamedTuple):
    """A command of the README, and what it shows of the output."""

    command: str
    output: list[str]


def readme_lines() -> list[Line]:
    """Give the commands of all its console blocks, in order."""
    lines: list[Line] = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                lines.append(Line(line.removeprefix("$ "), []))
            else:
                lines[-1].output.append(line)
    return lines


def as_written(output: str, shown: list[str]) -> list[str]:
    """Give an output as the README has it: with its ages."""
    lines = output.splitlines()
    if not any(" 0 s " in line for line in shown):
        return lines
    spaced = [re.sub(r" {2,}", "  ", re.sub(r"\b\d+ s\b", "0 s", line)) for line in lines]
    assert [re.sub(r" {2,}", "  ", line) for line in shown] == spaced
    return shown


def test_every_line_of_the_readme_does_what_it_says(tmp_path, orcha_home):
    installing = [line for line in readme_lines() if " install " in line.command]
    lines = [line for line in readme_lines() if line not in installing]
    assert len(installing) == 3
    assert len(lines) >= 10
    (tmp_path / "orcha_shout.py").write_text(readme_plugin())
    script = "".join(f'{line.command}\necho "<$?>"\n' for line in lines)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": ""}
    try:
        done = subprocess.run(
            ["bash", "-c", f"exec 2>&1\n{script}"],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        subprocess.run(["orcha", "stop", "--now"], env=environment, capture_output=True, check=False)
    ends = re.findall(r"(.*?)<(\d+)>\n", done.stdout, re.DOTALL)
    assert len(ends) == len(lines)
    for line, (output, code) in zip(lines, ends, strict=True):
        assert code == "0", (line.command, output)
        if line.output:
            assert as_written(output, line.output) == line.output, line.command
        else:
            assert all(said.startswith("orcha: ") for said in output.splitlines()), (line.command, output)


def test_the_readme_installs_without_the_name_of_an_index(tmp_path):
    """Its lines are typed as they stand; what they find is a wheel of this tree, as an index would give it."""
    built = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    subprocess.run(built, check=True, capture_output=True)
    lines = [line.command for line in readme_lines() if line.command.startswith("pip install ")]
    assert lines
    environment = os.environ | {
        **dict.fromkeys(("PIP_NO_INDEX", "PIP_NO_DEPS", "PIP_FORCE_REINSTALL", "PIP_DISABLE_PIP_VERSION_CHECK"), "1"),
        # What pip reads as its options --no-build-isolation and --no-compile: that all can be compiled, mypy has seen.
        **dict.fromkeys(("PIP_NO_BUILD_ISOLATION", "PIP_NO_COMPILE"), "0"),
        "PIP_FIND_LINKS": str(tmp_path),
        "PIP_TARGET": str(tmp_path / "there"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for line in lines:
        folder = ROOT if line.partition("#")[0].split()[-1] == "." else tmp_path
        done = subprocess.run(
            ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "there/bin/orcha").exists()
        shutil.rmtree(tmp_path / "there")


OF_PLUGINS = {"hello", "hello-world", "shout"}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands_of(page: Path) -> list[list[str]]:
    """Give the orcha commands of the console blocks of a page, as a shell divides them."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
        for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            words: list[str] = []
            lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
            lexer.whitespace_split = True
            for word in [*lexer, ";"]:
                if not word.strip("();<>|&"):
                    if words[:1] == ["orcha"]:
                        found.append(words[1:])
                    words = []
                else:
                    words.append(word)
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page)], ids=lambda page: page.name)
def test_every_command_of_the_pages_can_be_typed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Authority(tmp_path, "web")  # web.crt: an option that names a file reads it
    known = {*VERBS, *EMBEDDED, *(alias for _, _, aliases, _ in EMBEDDED.values() for alias in aliases), "core"}
    for words in commands_of(page):
        parser = main._Parser()
        if {"--help", "--version"} & set(words):
            continue
        if not known & set(words):
            assert {"hello", "hello-world", "shout"} & set(words), (
                words,
                "is neither a verb nor a plugin of the pages",
            )
            continue
        assert parser.parse_args(words) is not None, words
