"""``--help``: what comes first stands first, it fits 80 columns, and its examples work."""

from __future__ import annotations

import doctest
import re
import shlex

import pytest

from orcha._cli import VERBS
from orcha.bin import help as helping
from orcha.bin import main
from orcha.bin.help import GROUPS
from orcha.plugins.discovery import EMBEDDED
from support.authorities import Authority

EVERY = [*VERBS, *EMBEDDED]


@pytest.fixture(autouse=True)
def _known_plugins(monkeypatch, tmp_path_factory):
    """Look for plugins once, not in each test: what was found is kept in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "known-plugins"))


def shown(capsys, monkeypatch, *words, columns=80):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.argv", ["orcha", *words])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 0
    return capsys.readouterr().out


def examples(text):
    """Give the commands of the examples that a help shows."""
    found = re.search(r"^examples?:\n((?:  .*\n)+)", text, re.MULTILINE)
    return [] if found is None else [shlex.split(line, comments=True) for line in found[1].splitlines()]


def test_its_own_examples_are_true():
    assert doctest.testmod(helping).failed == 0


@pytest.mark.parametrize("columns", [20, 40, 80, 81, 200, 1_000])
@pytest.mark.parametrize("words", [[], *([name] for name in EVERY), ["core"], ["core", "run"]], ids=" ".join)
def test_it_is_no_wider_than_80_columns_on_any_terminal(capsys, monkeypatch, words, columns):
    text = shown(capsys, monkeypatch, *words, "--help", columns=columns)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert text.isascii()
    assert "\x1b" not in text


def test_to_serve_and_to_run_come_first_and_each_command_once(capsys, monkeypatch):
    text = shown(capsys, monkeypatch, "--help")
    listed = [line.split()[0] for line in text.splitlines() if re.match(r"  [a-z-]+ .* ", line) and "orcha" not in line]
    listed = [name for name in listed if name in EVERY]
    assert listed[:2] == ["serve", "run"]
    assert sorted(listed) == sorted(EVERY)
    assert {name for _, names in GROUPS for name in names} == set(EVERY)
    for title, _ in GROUPS:
        assert f"\n{title}:\n" in text


def test_a_plugin_has_a_group_below_the_built_in_ones(orcha):
    text = orcha.run("--help").stdout
    assert (
        text.index("\nthe service itself:\n")
        < text.index("\nplugins:\n")
        < text.index("end as told, 100 % of the time")
    )


@pytest.mark.parametrize("name", EVERY)
def test_each_command_shows_examples_that_can_be_typed(capsys, monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    Authority(tmp_path, "web")  # web.crt: an option that names a file reads it
    found = examples(shown(capsys, monkeypatch, name, "--help"))
    assert found
    for program, *arguments in found:
        assert program == "orcha"
        namespace = main._Parser().parse_args(arguments)
        assert namespace.owner.can_handle(namespace.owner)
        assert name in arguments or set(arguments) & {alias for each in EMBEDDED.values() for alias in each[2]}


def test_the_first_examples_work_one_after_another(orcha):
    found = examples(orcha.run("--help").stdout)
    assert [arguments[0] for _, *arguments in found] == ["serve", "run", "run", "ps", "cancel", "stop"]
    outputs = []
    try:
        for _, *arguments in found:
            done = orcha.run(*arguments)
            assert done.returncode == 0, (arguments, done.stderr)
            outputs.append(done.stdout)
    finally:
        orcha.run("stop", "--now")
    assert outputs[1:3] == ["hello\n", "nightly\n"]
    assert "sleep 60" in outputs[3]
