"""API.md, orcha.plugins: what is a plugin, where it is looked for, and who gets a name."""

from __future__ import annotations

import os
import sys

import pytest

from support.interpreters import newest_too


def lines(run):
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def shown(run):
    """Give what the tree shows of plugins that are not embedded."""
    return [line[2:] for line in lines(run) if line[:1] in "├└" and "*" not in line]


def problems(run):
    return [line for line in lines(run) if line.startswith("! ")]


def test_a_plugin_is_a_module_on_pythonpath(orcha):
    orcha.plugin("orcha_a", "alpha")
    assert "orcha_a - 1" in shown(orcha.run("ls"))
    assert orcha.run("alpha", "x").stdout == "alpha x\n"


def test_a_plugin_may_be_a_package(orcha):
    (orcha.folder / "orcha_pack").mkdir()
    orcha.plugin("orcha_pack/inner", "packed", version="packed - 3")
    (orcha.folder / "orcha_pack" / "__init__.py").write_text("from .inner import plugin\n")
    assert "packed - 3" in shown(orcha.run("ls"))
    assert orcha.run("packed").stdout == "packed\n"


def test_a_plugin_may_be_an_entry_point(orcha):
    orcha.plugin("tool", "tool")
    orcha.distribution("some-tool", "1.0", entry_points__txt="[orcha.plugins]\ntool = tool:Plugin\n")
    assert "tool - 1" in shown(orcha.run("ls"))
    assert orcha.run("tool", "x").stdout == "tool x\n"


def test_a_class_that_is_found_in_two_ways_is_one_plugin(orcha):
    orcha.plugin("orcha_a", "alpha")
    orcha.distribution("orcha-a", "1.0", entry_points__txt="[orcha.plugins]\na = orcha_a:Plugin\n")
    run = orcha.run("ls")
    assert shown(run).count("orcha_a - 1") == 1
    assert problems(run) == []


def test_a_module_that_only_an_editable_finder_knows_is_found(orcha, tmp_path):
    source = orcha.plugin("orcha_edit", "edit").rename(tmp_path / "elsewhere.py")
    orcha.distribution("orcha-edit", "1.0", top_level__txt="orcha_edit\n")
    finder = f"""
    import sys
    from importlib.machinery import ModuleSpec
    from importlib.util import spec_from_file_location

    class Finder:
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return spec_from_file_location(name, {str(source)!r}) if name == "orcha_edit" else None

    sys.meta_path.append(Finder)
    """
    orcha.module("sitecustomize", finder)
    assert "orcha_edit - 1" in shown(orcha.run("ls"))
    assert orcha.run("edit").stdout == "edit\n"


# --- never the working directory -------------------------------------------------------------------------------------

MINE = """
import pathlib
pathlib.Path(__file__).with_suffix(".ran").touch()
"""


@pytest.fixture
def trap(tmp_path):
    """Give a folder with modules that note that they were imported."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("orcha_evil", "orcha_a", "rich", "argparse"):
        (folder / f"{name}.py").write_text(MINE)
    return folder


@pytest.mark.parametrize(
    "start",
    [
        ["-m", "orcha"],
        ["-P", "-m", "orcha"],
        ["-P", "-c", "import sys; sys.path.insert(0, ''); from orcha.bin.main import main; sys.exit(main())"],
    ],
)
@pytest.mark.parametrize("entry", newest_too(["{0}", "{0}:", ":{0}", "{0}:.", "{0}::"], "{0}:"))
def test_the_working_directory_is_not_searched(orcha, trap, start, entry):
    (trap / "argparse.py").unlink()  # which Python itself imports from there with such a PYTHONPATH
    orcha.plugin("orcha_a", "alpha")
    orcha.start = start
    path = entry.format(orcha.folder)
    assert "evil" not in orcha.run("ls", cwd=trap, PYTHONPATH=path).stdout
    assert orcha.run("alpha", cwd=trap, PYTHONPATH=path).stdout == "alpha\n"
    assert sorted(trap.glob("*.ran")) == []


def test_a_folder_named_on_pythonpath_is_searched_even_from_within(orcha):
    orcha.plugin("orcha_a", "alpha")
    assert orcha.run("alpha", cwd=orcha.folder).stdout == "alpha\n"


# --- broken plugins --------------------------------------------------------------------------------------------------

BROKEN = {
    "import nonsense_module": "ModuleNotFoundError: No module named 'nonsense_module'",
    "raise SystemExit(3)": "SystemExit: 3",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "class Odd(BaseException): pass\nraise Odd('x\\ny')": "Odd: x y",
    "def f(:": "SyntaxError",
    "x = 1": "it exports no class named plugin",
    "plugin = 3": "no subclass of orcha.plugins.BasePlugin",
    "class plugin: pass": "no subclass of orcha.plugins.BasePlugin",
    "from orcha.plugins import BasePlugin\nclass plugin(BasePlugin): pass": "not the name of a command",
    "from orcha.plugins import BasePlugin\nclass plugin(BasePlugin): name = '-x'": "not the name of a command",
    "import os; os._exit(4)": "ended the interpreter with exit code 4",
    "import os; os.kill(os.getpid(), 9)": "ended the interpreter by SIGKILL",
}


@pytest.mark.once
@pytest.mark.parametrize(("source", "reason"), BROKEN.items())
def test_a_broken_plugin_is_named_with_its_reason_and_breaks_nothing(orcha, source, reason):
    orcha.module("orcha_broken", source)
    orcha.plugin("orcha_good", "good")
    run = orcha.run("ls")
    assert [line for line in problems(run) if line.startswith("! orcha_broken: ") and reason in line]
    assert "orcha_good - 1" in shown(run)
    assert run.stdout.index("Plugins marked") < run.stdout.index("! orcha_broken")
    assert run.stderr == ""
    assert orcha.run("good").stdout == "good\n"


@pytest.mark.once
def test_several_broken_plugins_are_all_named(orcha):
    for name, source in {
        "orcha_b": "import os; os._exit(4)",
        "orcha_c": "1 / 0",
        "orcha_d": "import os; os.abort()",
    }.items():
        orcha.module(name, source)
    assert [line.partition(":")[0] for line in problems(orcha.run("ls"))] == ["! orcha_b", "! orcha_c", "! orcha_d"]


def test_what_a_plugin_prints_while_it_is_looked_at_is_not_seen(orcha):
    orcha.plugin("orcha_loud", "loud")
    with (orcha.folder / "orcha_loud.py").open("a") as file:
        file.write("import atexit\nprint('LOUD')\natexit.register(print, 'LOUD')\n")
    run = orcha.run("ls")
    assert "LOUD" not in run.stdout + run.stderr


def test_a_command_whose_plugin_is_broken_says_why(orcha):
    orcha.module("orcha_my_tool", "1 / 0")
    run = orcha.run("my-tool")
    assert run.returncode == 127
    assert run.stderr == "orcha: my-tool: orcha_my_tool cannot be used: ZeroDivisionError: division by zero\n"


def test_a_plugin_that_breaks_only_when_it_is_used_is_one_line(orcha):
    orcha.plugin("orcha_a", "alpha")
    with (orcha.folder / "orcha_a.py").open("a") as file:
        file.write("import os\nif 'BREAK' in os.environ: raise SystemExit('no')\n")
    orcha.settle()
    assert orcha.run("alpha").returncode == 0
    run = orcha.run("alpha", BREAK="1")
    assert (run.returncode, run.stderr) == (1, "orcha: orcha_a: SystemExit: no\n")


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.once
def test_of_two_plugins_of_one_name_the_first_by_distribution_wins(orcha):
    orcha.plugin("orcha_a", "same")
    orcha.plugin("orcha_z", "same")
    orcha.distribution("orcha-m", "1", top_level__txt="orcha_z\n")
    orcha.distribution("orcha-n", "1", RECORD="orcha_a.py,,\n")
    run = orcha.run("ls")
    assert problems(run) == ["! orcha_a: the name same is taken by orcha_z (orcha-m)"]
    assert "orcha_z - 1" in shown(run)
    assert "orcha_a - 1" not in shown(run)
    assert orcha.run("same").returncode == 0


@pytest.mark.once
@pytest.mark.parametrize("name", ["ls", "list-plugins", "watchdog", "wd", "core"])
def test_a_plugin_cannot_take_orchas_own_names(orcha, name):
    orcha.plugin("orcha_thief", name)
    assert f"! orcha_thief: the name {name} is Orcha's own" in problems(orcha.run("ls"))


@pytest.mark.once
def test_an_alias_yields_to_names_and_to_earlier_aliases(orcha):
    orcha.plugin("orcha_a", "alpha", aliases=("beta", "x", "ls"))
    orcha.plugin("orcha_b", "beta", aliases=("x", "y"))
    run = orcha.run("ls")
    assert {"orcha_a - 1", "orcha_b - 1"} <= set(shown(run))
    assert [line for line in problems(run) if "orcha_a: its alias" in line]
    assert "! orcha_b: its alias x is taken by orcha_a; its command beta works" in problems(run)
    answers = {word: orcha.run(word).stdout for word in ("alpha", "beta", "x", "y")}
    assert answers == {"alpha": "alpha\n", "beta": "beta\n", "x": "alpha\n", "y": "beta\n"}


@pytest.mark.once
@pytest.mark.parametrize("aliases", [("hw", "h"), ["hw", "h"], "hw"])
def test_aliases_may_be_any_sequence_or_a_text(orcha, aliases):
    orcha.plugin("orcha_a", "alpha", aliases=aliases)
    assert orcha.run("hw", "x").stdout == "alpha x\n"


def test_alias_is_read_for_aliases(orcha):
    path = orcha.plugin("orcha_a", "alpha", aliases=("hw",))
    path.write_text(path.read_text().replace("aliases =", "alias ="))
    assert orcha.run("hw", "x").stdout == "alpha x\n"


def test_a_plugins_name_wins_over_a_verb_and_its_alias_does_not(orcha):
    orcha.plugin("orcha_a", "alpha", aliases=("ps",))
    assert "show what waits" in orcha.run("--help").stdout
    assert orcha.run("ps", "--help").stdout.startswith("usage: orcha ps [-h] [-a]")
    orcha.plugin("orcha_b", "ps")
    assert orcha.run("ps", "x").stdout == "ps x\n"
    assert orcha.run("core", "ps", "--help").stdout.startswith("usage: orcha ps [-h] [-a]")


# --- what is imported, and when --------------------------------------------------------------------------------------


def test_only_the_plugin_whose_command_was_given_is_imported(orcha):
    for name in ("a", "b", "c"):
        path = orcha.plugin(f"orcha_{name}", name)
        path.write_text(
            f"import os, sys\nif 'WHO' in os.environ: print({name!r}, os.getppid(), file=sys.stderr)\n"
            + path.read_text()
        )
    run = orcha.run("b", WHO="1")
    assert (run.stdout, run.stderr.split()[0], len(run.stderr.splitlines())) == ("b\n", "b", 1)
    assert orcha.run("ls", WHO="1").stderr == ""
    assert orcha.run("--help", WHO="1").stderr == ""


def test_version_is_asked_only_when_it_is_shown(orcha):
    path = orcha.plugin("orcha_a", "alpha")
    mark = orcha.home / "asked"
    path.write_text(
        path.read_text().replace(
            "        return 'orcha_a", f"        open({str(mark)!r}, 'a').write('x')\n        return 'orcha_a"
        )
    )
    orcha.settle()
    orcha.run("alpha")
    orcha.run("--help")
    assert not mark.exists()
    orcha.settle()  # the first import has just put bytecode there
    orcha.run("ls")
    orcha.run("ls")
    assert mark.read_text() == "x"
    assert orcha.run("alpha", "--version").stdout == "orcha_a - 1\n"


@pytest.mark.parametrize("said", ["raise SystemExit", "return 1 / 0", "raise NotImplementedError"])
def test_a_plugin_that_cannot_say_its_version_works(orcha, said):
    path = orcha.plugin("orcha_a", "alpha")
    path.write_text(path.read_text().replace("return 'orcha_a - 1'", said))
    run = orcha.run("ls")
    assert "alpha - unknown" in shown(run)
    assert orcha.run("alpha").returncode == 0


def test_query_plugins_gives_the_classes(orcha):
    orcha.plugin("orcha_a", "alpha")
    orcha.module("orcha_broken", "1 / 0")
    orcha.start = ["-P", "-c"]
    run = orcha.run(
        "from orcha.plugins import *; print(*[p.name for p in query_plugins()]); print(PLUGIN_LIST[0].name)"
    )
    names, embedded = run.stdout.splitlines()
    assert {"watchdog", "alpha"} <= set(names.split())
    assert embedded == "watchdog"
    assert run.stderr == "WARNING: orcha_broken: ZeroDivisionError: division by zero\n"


def test_plugins_are_found_by_a_name_that_no_utf8_holds(orcha, tmp_path):
    odd = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(odd)  # noqa: PTH102 - not a name for a str
    orcha.plugin("orcha_a", "alpha")
    os.rename(orcha.folder / "orcha_a.py", odd + b"/orcha_a.py")  # noqa: PTH104
    path = os.fsdecode(odd)
    for _ in range(2):
        assert orcha.run("alpha", PYTHONPATH=path).stdout == "alpha\n", sys.version
