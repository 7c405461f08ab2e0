"""Documentation that can be wrong is tested."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import orcha.exceptions
from orcha._core import codes as core_codes
from orcha._service.doctor.checks import CHECKS
from orcha.lib import Manager

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def links(page: Path) -> list[tuple[str, str]]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return LINK.findall(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    targets = [target.partition("#")[0] for _, target in links(page) if "://" not in target]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_each_page_is_linked_from_somewhere():
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for _, target in links(page)
        if "://" not in target
    }
    orphans = {page for page in (ROOT / "docs").rglob("*.md") if page not in linked}
    assert {str(page.relative_to(ROOT)) for page in orphans if page.parent.name != "decisions"} == set()


def test_each_promise_links_to_tests_that_exist():
    page = ROOT / "docs" / "guarantees.md"
    promises = re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]
    assert len(promises) >= 10
    for promise in promises:
        tests = [(name, target) for name, target in LINK.findall(promise) if "/tests/" in f"/{target}"]
        assert tests, f"no test holds: {promise.splitlines()[0]}"
        for name, target in tests:
            source = (page.parent / target).read_text()
            assert re.search(rf"^ *(def|class) {name.strip('`')}\b", source, re.MULTILINE), f"{target} has no {name}"


def test_the_table_of_exit_codes_names_each_error():
    table = (ROOT / "docs" / "exit-codes.md").read_text()
    codes = {int(code) for code in re.findall(r"\| (\d+) \|$", table, re.MULTILINE)}
    raised = {
        value.exit_code
        for value in vars(orcha.exceptions).values()
        if isinstance(value, type) and issubclass(value, orcha.exceptions.OrchaError)
    }
    assert raised - codes == set()
    ends = {value for name, value in vars(core_codes).items() if name.endswith("_CODE")}
    assert len(ends) >= 3
    assert ends - codes == set()


def test_each_setting_is_documented_and_each_documented_one_exists():
    variable = re.compile(r"\bORCHA_[A-Z][A-Z_]+")
    read = {name for path in (ROOT / "src").rglob("*.py") for name in variable.findall(path.read_text())}
    for_users = set(variable.findall((ROOT / "docs" / "settings.md").read_text()))
    for_tests = set(variable.findall((ROOT / "CONTRIBUTING.md").read_text()))
    assert read == for_users | for_tests
    assert for_users & for_tests == set()


def test_each_option_is_documented():
    source = (ROOT / "src" / "orcha" / "bin" / "main.py").read_text()
    page = (ROOT / "docs" / "settings.md").read_text()
    options = set(re.findall(r'add\("(--[a-z-]+)"', source)) - {"--version"}
    assert len(options) >= 4
    assert {option for option in options if f"`{option}`" not in page} == set()


def test_the_table_of_checks_names_what_the_doctor_looks_for():
    page = (ROOT / "docs" / "serving.md").read_text().partition("## When something is wrong")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)`( \(note\))? \|", page, re.MULTILINE)
    assert [(name, bool(note)) for name, note in rows] == [(check.name, check.is_note) for check in CHECKS]


def test_what_the_pages_name_of_a_manager_exists():
    named = {name for page in PAGES for name in re.findall(r"`Manager\.(\w+)", page.read_text())}
    assert named
    assert {name for name in named if not hasattr(Manager, name)} == set()


def test_the_units_of_packagers_are_those_that_the_command_writes():
    checked = subprocess.run(
        [sys.executable, ROOT / "scripts" / "write-units", "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, f"{checked.stdout}{checked.stderr}"


def test_the_tables_of_situations_are_written_by_their_script():
    checked = subprocess.run(
        [sys.executable, ROOT / "scripts" / "write-states", "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, f"{checked.stderr}: run scripts/write-states"


def test_the_table_of_roles_is_written_by_its_script():
    checked = subprocess.run(
        [sys.executable, ROOT / "scripts" / "write-roles", "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, f"{checked.stdout}{checked.stderr}"


def test_each_shared_helper_stands_on_the_page_that_says_when_to_take_it():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    helpers = {path.stem for path in (ROOT / "tests" / "support").iterdir() if not path.name.startswith("__")}
    assert {name for name in helpers if f"`support.{name}" not in page} == set()
