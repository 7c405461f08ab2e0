"""The cache of what is known of plugins: a saving, never believed when it may be wrong, and never in the way."""

from __future__ import annotations

import os
import subprocess

import pytest

from orcha.plugins import cache, discovery
from orcha.plugins.record import TOO_SLOW, Plugin, Stamp


@pytest.fixture
def kept(orcha):
    """Give the command with one plugin that is known already; it notes each time it is imported."""
    path = orcha.plugin("orcha_a", "alpha")
    ledger = orcha.home / "imports"
    path.write_text(f"with open({str(ledger)!r}, 'a') as file: file.write('x')\n{path.read_text()}")
    orcha.settle()
    orcha.run("ls")
    orcha.imports = lambda: ledger.read_text().count("x")
    assert orcha.imports() == 1
    return orcha


def file(orcha):
    (found,) = (orcha.home / "cache").glob("plugins-*")
    return found


def test_a_second_run_imports_nothing(kept):
    before = kept.run("ls").stdout
    assert kept.run("ls").stdout == before
    kept.run("--help")
    assert kept.imports() == 1


def test_a_new_plugin_is_seen(kept):
    kept.plugin("orcha_b", "beta")
    assert "orcha_b - 1" in kept.run("ls").stdout


def test_bytecode_of_a_first_import_is_no_news(kept):
    assert list((kept.folder / "__pycache__").iterdir())
    assert kept.run("alpha").stdout == "alpha\n"
    kept.run("ls")
    assert kept.imports() == 2  # to be searched for, and to be used


def test_a_distribution_that_is_installed_again_is_read_again(orcha):
    orcha.plugin("tool", "tool")
    orcha.distribution("some-tool", "1.0")
    info = orcha.folder / "some_tool-1.0.dist-info"
    for folder in (info, orcha.folder):
        os.utime(folder, (1_000_000_000, 1_000_000_000))
    assert "tool - 1" not in orcha.run("ls").stdout
    (info / "entry_points.txt").write_text("[orcha.plugins]\ntool = tool:Plugin\n")
    info.rename(orcha.folder / "old")
    (orcha.folder / "old").rename(info)
    assert "tool - 1" in orcha.run("ls").stdout


def test_a_removed_plugin_is_gone(kept):
    kept.plugin("orcha_b", "beta")
    assert "orcha_b - 1" in kept.run("ls").stdout
    (kept.folder / "orcha_b.py").unlink()
    assert "orcha_b" not in kept.run("ls").stdout


def test_a_plugin_that_was_edited_in_place_is_read_again(kept):
    path = kept.folder / "orcha_a.py"
    path.write_text(path.read_text().replace("'alpha'", "'omega'").replace("orcha_a - 1", "orcha_a - 22"))
    kept.settle()
    assert "orcha_a - 22" in kept.run("ls").stdout
    assert kept.run("omega").stdout == "omega\n"


def test_a_broken_plugin_is_tried_again_when_it_was_repaired(orcha):
    folder = orcha.folder / "orcha_pack"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .inner import plugin\n")
    orcha.settle()
    assert "! orcha_pack: ModuleNotFoundError" in orcha.run("ls").stdout
    assert "! orcha_pack: ModuleNotFoundError" in orcha.run("ls").stdout
    orcha.plugin("orcha_pack/inner", "packed", version="packed - 1")
    orcha.settle()
    assert "├ packed - 1" in orcha.run("ls").stdout


def test_a_broken_plugin_is_not_imported_each_time(orcha):
    ledger = orcha.home / "imports"
    orcha.module("orcha_broken", f"open({str(ledger)!r}, 'a').write('x'); 1 / 0")
    orcha.settle()
    for _ in range(3):
        assert "! orcha_broken: ZeroDivisionError" in orcha.run("ls").stdout
    assert ledger.read_text() == "x"


@pytest.mark.parametrize("damage", [b"", b"\0\1\2", b"orcha plugins 2", bytes(range(256)) * 9])
def test_a_file_that_is_no_cache_is_not_believed(kept, damage):
    file(kept).write_bytes(damage)
    assert "orcha_a - 1" in kept.run("ls").stdout
    assert kept.run("alpha").stdout == "alpha\n"


def test_a_cache_that_was_cut_anywhere_is_not_believed(kept, monkeypatch):
    whole = file(kept).read_bytes()
    monkeypatch.setenv("ORCHA_HOME", str(kept.home))
    kept.settle()
    path = [str(kept.folder)]
    mark = cache.Mark(path)
    found = [Plugin("orcha_a", name="alpha"), Plugin("orcha_b", name="beta")]
    cache.write(mark, found, versions=True)
    assert [plugin.name for plugin in cache.read(path, versions=True)] == ["alpha", "beta"]
    place = next(each for each in (kept.home / "cache").iterdir() if each.read_bytes() != whole)
    text = place.read_bytes()
    for size in range(len(text)):
        place.write_bytes(text[:size])
        assert cache.read(path, versions=True) is None, size


def test_a_cache_without_versions_does_not_serve_who_wants_them(tmp_path, monkeypatch):
    monkeypatch.setenv("ORCHA_HOME", str(tmp_path))
    mark = cache.Mark([])
    cache.write(mark, [Plugin("orcha_a", name="alpha")], versions=False)
    assert cache.read([], versions=True) is None
    assert [plugin.name for plugin in cache.read([], versions=False)] == ["alpha"]


def test_a_plugin_that_was_too_slow_is_tried_again_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setenv("ORCHA_HOME", str(tmp_path))
    slow = Plugin("orcha_a")
    slow.problem = f"{TOO_SLOW} 10 s"
    cache.write(cache.Mark([]), [slow], versions=True)
    assert [plugin.problem for plugin in cache.read([], versions=True)] == [slow.problem]
    (place,) = (tmp_path / "cache").iterdir()
    os.utime(place, (1_000_000_000, 1_000_000_000))
    assert cache.read([], versions=True) is None


def test_a_cache_that_others_may_write_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setenv("ORCHA_HOME", str(tmp_path))
    cache.write(cache.Mark([]), [Plugin("orcha_a", name="alpha")], versions=True)
    (place,) = (tmp_path / "cache").iterdir()
    assert place.stat().st_mode & 0o777 == 0o600
    place.chmod(0o620)
    assert cache.read([], versions=True) is None
    place.chmod(0o600)
    target = place.rename(tmp_path / "elsewhere")
    place.symlink_to(target)
    assert cache.read([], versions=True) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_cache_of_another_user_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setenv("ORCHA_HOME", str(tmp_path))
    cache.write(cache.Mark([]), [Plugin("orcha_a", name="alpha")], versions=True)
    (place,) = (tmp_path / "cache").iterdir()
    os.chown(place, 65534, 65534)
    assert cache.read([], versions=True) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_nothing_is_left_in_the_folder_of_another_user(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    monkeypatch.setenv("ORCHA_HOME", str(home))
    cache.write(cache.Mark([]), [], versions=True)
    assert list(home.iterdir()) == []


def test_a_place_that_cannot_be_written_is_no_hindrance(orcha):
    orcha.plugin("orcha_a", "alpha")
    orcha.settle()
    for _ in range(2):
        assert orcha.run("alpha", ORCHA_HOME="/proc/nowhere").stdout == "alpha\n"
        assert orcha.run("alpha", ORCHA_HOME="", XDG_CACHE_HOME="relative", HOME="").stdout == "alpha\n"


def test_a_folder_that_was_written_a_moment_ago_is_not_trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("ORCHA_HOME", str(tmp_path / "home"))
    (tmp_path / "site").mkdir()
    mark = cache.Mark([str(tmp_path / "site")])
    mark.taken = mark.stamps[0].modified + 1
    cache.write(mark, [], versions=True)
    assert not (tmp_path / "home").exists()


def test_many_at_once_leave_one_whole_cache(kept):
    file(kept).unlink()
    commands = [[kept.python, *kept.start, "ls"]] * 6
    runs = [subprocess.Popen(each, env=kept.environment(), stdout=subprocess.PIPE, text=True) for each in commands]
    outputs = {run.communicate(timeout=60)[0] for run in runs}
    assert len(outputs) == 1
    assert "orcha_a - 1" in outputs.pop()
    assert [each.name for each in (kept.home / "cache").iterdir()] == [file(kept).name]
    before = kept.imports()
    kept.run("ls")
    assert kept.imports() == before


def test_only_so_many_caches_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("ORCHA_HOME", str(tmp_path))
    for number in range(40):
        cache.write(cache.Mark([f"/nowhere/{number}"]), [], versions=True)
    assert len(list((tmp_path / "cache").iterdir())) == 32
    assert cache.read(["/nowhere/39"], versions=True) == []


def test_what_is_written_is_what_is_read():
    plugin = Plugin("orcha_a.b", "Class.inner", "orcha-a", "alpha")
    plugin.aliases, plugin.help, plugin.version, plugin.problem = ["a", "b"], "does\x1fit\n100 %", "v", "none"
    plugin.stamps = [Stamp("/x/\udcff", 5, 6)]
    twin = Plugin.read(plugin.write())
    assert (twin.module, twin.attribute, twin.distribution, twin.name) == (
        "orcha_a.b",
        "Class.inner",
        "orcha-a",
        "alpha",
    )
    assert (twin.aliases, twin.help, twin.version, twin.problem) == (["a", "b"], "does it 100 %", "v", "none")
    assert (twin.stamps[0].path, twin.stamps[0].modified, twin.stamps[0].size) == ("/x/\udcff", 5, 6)


def test_the_names_of_the_embedded_plugins_are_theirs():
    for name, (module, attribute, aliases, line) in discovery.EMBEDDED.items():
        plugin = discovery.load(module, attribute)
        assert (plugin.name, tuple(plugin.aliases), plugin.help) == (name, aliases, line)
        assert plugin.version().startswith(f"{name}* - ")
