"""House rules that no tool checks for us."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from orcha._core.record import Record

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "orcha"
PYTHON = sorted(SOURCE.rglob("*.py"))
SKIPPED = {"build", "dist", "__pycache__"}


@cache
def tree(path: Path) -> ast.Module:
    """Give what a file says; each is parsed once for all tests here."""
    return ast.parse(path.read_text())


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Give all nodes of what a file says."""
    return tuple(ast.walk(tree(path)))


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    """Free the trees at the end: so many objects make each collection of garbage slow."""
    yield
    for known in (tree, nodes):
        known.cache_clear()


def tracked() -> list[Path]:
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED and (not name.startswith(".") or name == ".ci")]
        found += [Path(folder, name) for name in files if name != ".git"]  # in a worktree .git is a file
    return found


def test_a_source_file_of_more_than_500_lines_says_why_it_is_one():
    """The reason stands in its first lines, in a sentence that begins with "One file, since"."""
    long = [path for path in PYTHON if path.read_text().count("\n") > 500]
    unexplained = [path for path in long if "One file, since" not in "".join(path.read_text().splitlines()[:15])]
    assert [str(path.relative_to(ROOT)) for path in unexplained] == []


def test_no_file_has_the_marks_of_a_merge_in_it():
    marks = re.compile(rb"^(<{7}|>{7}) ", re.MULTILINE)
    assert [str(path.relative_to(ROOT)) for path in tracked() if marks.search(path.read_bytes())] == []


_CLASSES_OF_ONE_NAME = {
    # a public name of the package, and the message of that name in docs/wire.md
    "Retry": {"_protocol/messages.py", "interfaces/command.py"},
}
"""The class names that more than one file of the package has, each with its reason."""


def test_a_class_name_is_unique_in_the_package():
    files: dict[str, list[str]] = {}
    for path in PYTHON:
        for node in nodes(path):
            if isinstance(node, ast.ClassDef):
                files.setdefault(node.name, []).append(path.relative_to(SOURCE).as_posix())
    assert {name: {*where} for name, where in files.items() if len(where) > 1} == _CLASSES_OF_ONE_NAME


_BOUND = re.compile(r"_?(MOST|LEAST|LARGEST|SMALLEST|LONGEST|SHORTEST|HIGHEST|LOWEST|BIGGEST)_")
_UNITLESS = {
    *("_KIBIBYTE", "GIBIBYTE"),  # units themselves
    *("SPAN", "PASSED", "_NEWLINE", "_GONE_VERDICT", "_NOBODY", "APPLICATION", "_VERSION"),  # marks of a format
    *(
        "_OWN_THREAD_ONLY",
        "_SUBREAPER",
        "_PR_SET_DUMPABLE",
        "_CAPABILITY_VERSION_3",
        "_KEYCTL_JOIN_SESSION_KEYRING",
        "_PUNCH_AND_KEEP_SIZE",
        "_SET_PIPE_SIZE",
        "_EXITING",
        "_KILLED",
    ),  # the kernel's
}
"""Numbers that measure nothing."""
_UNITS = re.compile(
    r"(?:^|_)(SECONDS|MILLISECONDS|MICROSECONDS|NANOSECONDS|DAYS|BYTES|BITS|CHARACTERS|COLUMNS|COLUMN|ROWS|CODES?|RATIO|SHARE|FACTOR"
    r"|COUNT|UID|INDEX|STATES?|FLAGS?|NUMBER|INDEX|DEPTH|[A-Z]+S)(?:_|$)"
)
"""A unit, or a plural that says what is counted, anywhere in the name of a constant."""


def numeric_constants() -> list[tuple[str, str]]:
    found = []
    for path in PYTHON:
        for node in tree(path).body:
            value = getattr(node, "value", None)
            if not isinstance(value, ast.Constant | ast.BinOp):
                continue
            parts = {type(part.value) for part in ast.walk(value) if isinstance(part, ast.Constant)}
            is_computed = any(isinstance(part, ast.Call | ast.Attribute | ast.Name) for part in ast.walk(value))
            if parts <= {int, float} and not is_computed:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found += [(path.relative_to(SOURCE).as_posix(), ast.unparse(target)) for target in targets]
    return [(where, name) for where, name in found if name.isupper()]


def test_a_number_says_in_its_name_what_it_measures_and_in_which_unit():
    """A bound is called MAX or MIN; the name holds a unit, or the plural of what is counted."""
    constants = numeric_constants()
    assert len(constants) > 100
    named_otherwise = [found for found in constants if _BOUND.match(found[1])]
    assert named_otherwise == []
    assert [found for found in constants if not _UNITS.search(found[1]) and found[1] not in _UNITLESS] == []


def test_no_exception_is_swallowed_whole():
    def swallows(handler: ast.ExceptHandler) -> bool:
        broad = handler.type is None or ast.unparse(handler.type) in {"Exception", "BaseException"}
        return broad and all(isinstance(step, ast.Pass) for step in handler.body)

    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in PYTHON
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler) and swallows(node)
    ]
    assert found == []


def test_each_part_of_the_service_stands_in_the_contract_that_keeps_the_engine_from_it():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if each.get("forbidden_modules") == ["orcha._service.engine"])
    parts = {path.stem for path in (SOURCE / "_service").iterdir() if not path.name.startswith("__")}
    knowing = {"engine", "lifecycle", "verbs"}
    assert set(contract["source_modules"]) == {f"orcha._service.{part}" for part in parts - knowing}


def test_no_test_sleeps():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        # plugins as their authors wrote them, what services run, and kills at moments that chance chooses
        if not {"fixtures", "support", "killing.py"} & {*path.parts}
        if "sleep(" in path.read_text()
        for node in nodes(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}
    ]
    assert found == []


_WRITTEN_ELSEWHERE = {
    "_service/lifecycle/stored_records.py": {  # it makes records of rows, before anybody else has them
        *(
            "attempt",
            "code",
            "devices",
            "expect",
            "group",
            "needs",
            "on_interrupt",
            "outcome",
            "phase",
            "priority",
            "reason",
            "started",
        ),
        "state",
    },
}
"""Fields of a petition that are written outside its transitions; none may be added."""


def test_a_petition_is_written_by_its_transitions():
    """A record is known by its name, or by the annotation of an argument."""
    fields = set(Record.__slots__)
    owners = ("_core/petitions.py", "_core/record.py", "_core/transitions/")
    found: dict[str, set[str]] = {}
    for path in PYTHON:
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith(owners):
            continue
        annotated = (
            node for node in nodes(path) if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None
        )
        records = {"record"}
        for node in annotated:
            if "Record" in re.split(r"\W+", ast.unparse(node.annotation)):
                records.add(node.arg if isinstance(node, ast.arg) else ast.unparse(node.target))
        for node in nodes(path):
            written = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del)
            if not written or node.attr not in fields:
                continue
            if (owner := ast.unparse(node.value)) in records or owner.endswith(".record"):
                found.setdefault(name, set()).add(node.attr)
    assert found == _WRITTEN_ELSEWHERE


def test_time_is_an_argument_of_the_core():
    """The begin of a batch is noted by the edges, and handed on to transitions; the core reads no time by itself."""
    used: dict[type, set[str]] = {ast.Load: set(), ast.Store: set()}
    for path in PYTHON:
        for node in nodes(path):
            if isinstance(node, ast.Attribute) and node.attr == "now" and "petitions" in ast.unparse(node.value):
                used[type(node.ctx)].add(path.relative_to(SOURCE).as_posix())
    assert used[ast.Store] == {"_service/batch.py", "_service/lifecycle/recovery.py"}
    assert used[ast.Load], "how the begin of a batch is read is not known here any more"
    assert [name for name in used[ast.Load] if name.startswith("_core/")] == []


def test_what_every_interpreter_runs_is_there():
    steps = ast.parse((ROOT / "tests" / "conftest.py").read_text()).body
    named = next(
        step.value for step in steps if isinstance(step, ast.AnnAssign) and ast.unparse(step.target) == "_EACH"
    )
    areas = ast.literal_eval(named)
    paths = [f"{area}/test_{name}.py" for area, names in areas.items() for name in names]
    missing = [path for path in [*areas, *paths] if not (ROOT / "tests" / path).exists()]
    assert (len(areas) > 5, missing) == (True, [])


def test_each_source_folder_stands_in_the_map():
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    folders = {f"{path.relative_to(SOURCE)}/" for path in SOURCE.rglob("*") if path.is_dir() and any(path.glob("*.py"))}
    named = {row for row in rows if row.endswith("/")}
    assert folders - named == set()
    assert {row for row in rows if not (SOURCE / row).exists()} == set()


def test_no_package_index_is_named():
    address = re.compile("|".join(["py" + r"pi\.org", "python" + "hosted", "index" + "-url", r"/simp" + r"le\b"]))
    named = [
        str(path.relative_to(ROOT)) for path in tracked() if address.search(path.read_bytes().decode(errors="replace"))
    ]
    assert named == []


CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_changelog_fragments_have_a_known_type_and_a_sentence():
    releases = set(re.findall(r"^## ([0-9.]+)", CHANGELOG, re.MULTILINE)) - {VERSION}
    types = "added|changed|fixed" if releases else "added|changed"  # users of a first release never met what is fixed
    for path in (ROOT / "changelog.d").glob("*.md"):
        assert re.fullmatch(rf"[a-z0-9-]+\.({types})\.md", path.name), path.name
        assert path.read_text().strip().endswith("."), path.name


def test_the_changelog_has_a_section_for_this_version_below_the_mark_for_the_next_one():
    before, mark, after = CHANGELOG.partition("<!-- next -->\n")
    assert mark
    assert f"\n## {VERSION}" in after
    assert "## " not in before
    assert not re.search(r"\b(?:fixed|no longer|was broken)\b", after.partition("\n## 0")[0], re.IGNORECASE)


@pytest.mark.parametrize("name", ["scripts/audit", "scripts/find-python", "scripts/setup", ".ci/run"])
def test_scripts_are_executable(name):
    assert os.access(ROOT / name, os.X_OK)


_BANNED_MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "dbm"}
"""What reads code where it reads data."""
_BANNED_CALLS = {"eval", "exec", "compile", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}


def dangers(tree: ast.AST) -> list[str]:
    """Name what of a source may run something that came from outside."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [each.name for each in node.names if each.name.partition(".")[0] in _BANNED_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in _BANNED_MODULES:
            found.append(node.module or "")
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).removeprefix("builtins.")
            found += [name] * (name in _BANNED_CALLS or name == "os.system")
            found += [
                "shell=True" for each in node.keywords if each.arg == "shell" and ast.unparse(each.value) != "False"
            ]
    return found


def test_nothing_that_comes_from_outside_is_run_as_code():
    """No pickle, no eval, no exec, no shell: SECURITY.md says so."""
    found = {path.relative_to(SOURCE).as_posix(): dangers(tree(path)) for path in PYTHON}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import os, shelve as s",
        "eval('1')",
        "builtins.exec(text)",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "Popen(words, shell=how)",
    ],
)
def test_what_is_banned_is_found(source):
    assert len(dangers(ast.parse(source))) == 1
