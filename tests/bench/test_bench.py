"""The benchmarks run; what they measure is no matter here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
LINES = {
    "noop": 6,
    "first_line": 6,
    "commands": 11,
    "start_up": 5,
    "depth": 11,
    "scheduling": 10,
    "forecasts": 20,
    "arrays": 10,
    "dependencies": 5,
    "slow_sockets": 4,
    "revisions": 4,
    "peers": 12,
    "peer_commands": 9,
}
"""How many each one's table has."""


def peers_are_there():
    """Whether bench/peers.py finds its environment, and needs no package index."""
    holds = ROOT / ".venv-peers" / "peers-requirements.txt"
    wanted = f"# {sys.version}\n{(BENCH / 'peers-requirements.txt').read_text()}"
    return shutil.which("redis-server") is not None and holds.exists() and holds.read_text() == wanted


@pytest.fixture
def bench(tmp_path):
    """Give a function that runs a script with next to nothing to do; its services' files lie in `tmp_path`."""
    variables = os.environ | {"BENCH_SCALE": "1000", "BENCH_FOLDER": str(tmp_path)}

    def run(name, *arguments, **environment):
        command = [sys.executable, BENCH / f"{name}.py", *arguments]
        done = subprocess.run(command, env=variables | environment, capture_output=True, text=True, check=False)
        leftovers = [path.name for path in tmp_path.iterdir() if path.name.startswith(".bench-")]
        assert leftovers == []
        return done

    return run


def table(text):
    """Give the cells of the one table in a text; all of its rows have as many."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert all(cell for row in rows for cell in row)
    return rows


def check(done, name):
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(table(done.stdout)) == LINES[name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("first_line", ["5"]),
        ("commands", ["5"]),
        ("scheduling", ["200"]),
        ("forecasts", ["20"]),
        ("arrays", ["100"]),
        ("dependencies", ["10"]),
        ("slow_sockets", []),
    ],
)
def test_a_benchmark_of_the_service_prints_its_table(bench, name, arguments):
    """Those of a deep queue and of no-op petitions are looked at in the report."""
    check(bench(name, *arguments), name)


@pytest.mark.slow
def test_the_comparison_of_two_revisions_prints_its_table(bench):
    """The other one is this one here."""
    done = bench("revisions", ROOT, "one", "true-2", "--seconds", "0")
    check(done, "revisions")
    assert {row[-1] for row in table(done.stdout)[2:]} == {"1"}


@pytest.mark.slow
def test_the_benchmark_of_the_command_prints_its_table(bench):
    check(bench("start_up", "--runs", "2", "--bare"), "start_up")


@pytest.mark.slow
@pytest.mark.skipif(not peers_are_there(), reason="needs redis-server, and what bench/peers.py installs once")
def test_the_comparison_with_the_peers_prints_its_table(bench):
    done = bench("peers", "10")
    check(done, "peers")
    assert {row[1] for row in table(done.stdout) if row[0].startswith("Orcha")} == {"yes"}


@pytest.mark.slow
@pytest.mark.skipif(not peers_are_there(), reason="needs redis-server, and what bench/peers.py installs once")
def test_the_comparison_of_commands_prints_its_table(bench):
    done = bench("peer_commands", "10", "--no-install")
    check(done, "peer_commands")
    measured = {row[0]: row[1] for row in table(done.stdout)[2:] if not row[1].startswith("not measured: ")}
    assert [name for name, synced in measured.items() if synced == "yes"] == ["Orcha"]
    assert {name.partition(" ")[0] for name in measured} >= {"Orcha", "posix_spawn", "Huey", "Celery"}


@pytest.mark.slow
def test_the_comparison_of_commands_goes_on_without_what_it_lacks(bench, tmp_path):
    done = bench("peer_commands", "10", "--no-install", PATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row[0]: row[1] for row in table(done.stdout)}
    assert rows["Orcha"] == "yes"
    for peer, package in (("Huey + Redis", "redis-server"), ("Celery + Redis", "redis-server"), ("task-spooler",) * 2):
        assert f"apt-get install {package}" in rows[peer]
        said = f"peer_commands.py: without {peer}: "
        why = [line.removeprefix(said) for line in done.stderr.splitlines() if line.startswith(said)]
        assert rows[peer] == "not measured: " + "; ".join(why)


def test_without_a_redis_the_comparison_says_what_to_install(bench, tmp_path):
    done = bench("peers", PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"peers\.py: .*apt-get install redis-server\n", done.stderr)


@pytest.mark.slow
def test_the_report_holds_the_tables_and_the_facts(bench, tmp_path):
    page = tmp_path / "page.md"
    done = bench("report", "depth", "noop", "--queued", "200", "--to", page)
    assert done.returncode == 0, done.stdout + done.stderr
    text = page.read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["A deep queue", "No-op petitions"]
    assert re.findall(r"^- (.*?):", text, re.MULTILINE) == ["Date", "Orcha", "Machine", "Disk", "SQLite", "Load before"]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert [line for line in done.stdout.splitlines() if line.startswith("|")] == lines
    assert len(lines) == LINES["depth"] + LINES["noop"]
    for section in text.split("\n## ")[1:]:
        table(section)


@pytest.mark.slow
def test_the_report_says_what_failed(bench, tmp_path):
    page = tmp_path / "page.md"
    done = bench("report", "depth", "--queued", "many", "--to", page)
    assert done.returncode == 1
    assert done.stderr.endswith("report.py: failed: depth\n")
    assert "failed with 1" in page.read_text()


def test_the_report_says_what_could_not_be_measured(bench, tmp_path):
    page = tmp_path / "page.md"
    done = bench("report", "peers", "--to", page, PATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Not measured: redis-server was not installed." in page.read_text()
