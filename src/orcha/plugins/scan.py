"""Importing every installed plugin, in the process that `orcha.plugins.survey` starts for it."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import os
import pkgutil
import sys

from orcha.plugins.discovery import PluginError, describe, load
from orcha.plugins.record import Plugin, Stamp, clean
from orcha.plugins.survey import write_record
from orcha.utils.packages import normalised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN_PREFIX = "orcha_"
ENTRY_POINT_GROUP = "orcha.plugins"
_STAMPS = 64


def main() -> None:
    """Read the request from stdin, answer on the descriptor named by the first argument, leave without ceremony."""
    lines = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    folders, skipped, versions = lines.split("\n")[:3]
    sys.stdin.close()
    out = int(sys.argv[1])
    sys.argv[:] = ["orcha"]
    seen: set[int] = set()
    for plugin in candidates(_split(folders)):
        if plugin.module in _split(skipped):
            continue
        write_record(out, "at", clean(plugin.module))
        known = examine(plugin, seen, versions=versions == "1")
        if known is not None:
            write_record(out, "plugin", known.write())
    write_record(out, "end")
    os._exit(0)  # neither a plugin's threads nor its exit handlers shall keep this process


def _split(line: str) -> list[str]:
    """Give the fields of a line."""
    return line.split("\x1f") if line else []


def candidates(folders: list[str]) -> list[Plugin]:
    """Give what may be a plugin: modules by their name, and entry points; sorted as they come first."""
    distributions = _distributions(folders)
    owners: dict[str, str] = {}
    found: dict[tuple[str, str], Plugin] = {}
    for name, distribution in distributions:
        for module in _named_modules(name, distribution):
            owners.setdefault(module, name)
        for entry in distribution.entry_points.select(group=ENTRY_POINT_GROUP):
            plugin = Plugin(entry.module, entry.attr or "plugin", name)
            found.setdefault((plugin.module, plugin.attribute), plugin)
    modules = {info.name for info in pkgutil.iter_modules(folders) if info.name.startswith(PLUGIN_PREFIX)}
    modules |= {module for module in owners if _exists(module)}
    for module in sorted(modules):
        owner = owners.get(module) or _recorded(module, distributions)
        found.setdefault((module, "plugin"), Plugin(module, distribution=owner))
    return sorted(found.values(), key=lambda plugin: (plugin.distribution, plugin.module, plugin.attribute))


def _distributions(folders: list[str]) -> list[tuple[str, importlib.metadata.Distribution]]:
    """Give what is installed, by normalised name; what has no readable name is none."""
    found = []
    for distribution in importlib.metadata.distributions(path=folders):
        name: object = distribution.metadata["Name"]
        if isinstance(name, str):
            found.append((normalised(name), distribution))
    return found


def _named_modules(name: str, distribution: importlib.metadata.Distribution) -> Iterator[str]:
    """Give the top-level modules that a distribution says it has, and the module that its own name promises."""
    listed = (distribution.read_text("top_level.txt") or "").split()
    promised = name.replace("-", "_")
    return (
        module
        for module in dict.fromkeys([*listed, promised])
        if module.startswith(PLUGIN_PREFIX) and module.isidentifier()
    )


def _recorded(module: str, distributions: list[tuple[str, importlib.metadata.Distribution]]) -> str:
    """Give the distribution whose record holds a module; nothing where none does."""
    marks = (f"\n{module}/__init__.py,", f"\n{module}.py,")
    for name, distribution in distributions:
        record = "\n" + (distribution.read_text("RECORD") or "")
        if any(mark in record for mark in marks):
            return name
    return ""


def _exists(module: str) -> bool:
    """Whether a module can be found, be it through an editable install's own finder."""
    spec = _spec(module)
    return spec is not None and spec.loader is not None


def _spec(module: str) -> importlib.machinery.ModuleSpec | None:
    """Find a module without importing it, None where there is none or its finder fails."""
    try:
        return importlib.util.find_spec(module)
    except Exception:  # noqa: BLE001 - a finder is anybody's code; what cannot be found is not there
        return None


def examine(plugin: Plugin, seen: set[int], *, versions: bool) -> Plugin | None:
    """Import a plugin and note what the command line needs; None for a class that another name led to before."""
    from orcha.plugins.base import alias_list

    before = set(sys.modules)
    try:
        found = load(plugin.module, plugin.attribute)
    except (PluginError, KeyboardInterrupt) as error:
        plugin.problem = str(error) or describe(error)
        plugin.stamps = _stamps_of_broken(plugin.module, before)
        return plugin
    if id(found) in seen:
        return None
    seen.add(id(found))
    plugin.name = found.name
    plugin.aliases = [clean(alias) for alias in alias_list(found)]
    plugin.help = str(found.help or "")
    if versions:
        plugin.version = _version(found.version)
    plugin.stamps = _stamps(plugin.module)
    return plugin


def _version(ask: object) -> str:
    """Give the first line of what a plugin says its version is; nothing where it cannot say."""
    try:
        return str(ask()).strip().partition("\n")[0] if callable(ask) else ""
    except BaseException:  # noqa: BLE001 - a plugin that cannot say its version still works
        return ""


def _stamps(module: str) -> list[Stamp]:
    """Stamp the files of the package that were imported, and what describes its distribution."""
    top = module.partition(".")[0]
    names = sorted(name for name in sys.modules if name == top or name.startswith(top + "."))
    files = [getattr(sys.modules[name], "__file__", None) for name in names]
    return [Stamp.of(file) for file in files if isinstance(file, str)][:_STAMPS]


def _stamps_of_broken(module: str, before: set[str]) -> list[Stamp]:
    """Stamp what a repair may change: the plugin's files and folder, and the files of modules that it imported."""
    spec = _spec(module.partition(".")[0])
    paths = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
    for folder in paths[1:]:
        paths += sorted(entry.path for entry in os.scandir(folder) if entry.name.endswith(".py"))
    paths += [getattr(sys.modules[name], "__file__", None) or "" for name in sorted(set(sys.modules) - before)]
    return [Stamp.of(path) for path in dict.fromkeys(paths) if os.path.isabs(path)][:_STAMPS]  # noqa: PTH117
