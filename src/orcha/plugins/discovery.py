"""Which plugins are installed, without importing them: a small cache says what the command line needs of each.

The cache holds as long as nothing but bytecode came into a folder of ``sys.path``, and no file of a plugin was written,
since. Where it does not, another process imports every plugin once (`orcha.plugins.scan`), so that no plugin can harm
the command that is run.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orcha.plugins.base import BasePlugin
    from orcha.plugins.record import Plugin

EMBEDDED = {
    "list-plugins": ("orcha.plugins.lp", "ListPlugin", ("ls",), "list the installed plugins and exit"),
    "watchdog": (
        "orcha.plugins.embedded.watchdog",
        "WatchdogPlugin",
        ("wd",),
        "ask the service for a sign of life",
    ),
}
"""Orcha's own plugins by command: module, class, aliases, help. Nobody else's plugin takes their names."""

RESERVED = frozenset({"core", *EMBEDDED, *(alias for _, _, aliases, _ in EMBEDDED.values() for alias in aliases)})
"""Names of commands that no other plugin can have."""


class PluginError(Exception):
    """A plugin cannot be used; its text says why."""


def installed(*, versions: bool = False) -> list[Plugin]:
    """Give what is known of each installed plugin, by name of distribution, those with a problem among them.

    Args:
        versions: whether each plugin has to be asked for its version, where it was not yet.

    """
    from orcha.plugins import cache, places

    path = places.safe_path()
    found = cache.read(path, versions=versions)
    if found is None:
        from orcha.plugins import survey

        mark = cache.Mark(path)
        found, complete = survey.survey(path, versions=versions)
        settle(found)
        if complete:
            cache.write(mark, found, versions=versions)
    return found


def settle(plugins: list[Plugin]) -> None:
    """Sort plugins by distribution, and let the first one have a name; a name goes before any alias."""
    plugins.sort(key=lambda plugin: (plugin.distribution, plugin.module, plugin.attribute))
    owners: dict[str, Plugin] = {}
    for plugin in plugins:
        name, owner = plugin.name, owners.get(plugin.name)
        if name in RESERVED:
            plugin.name, plugin.problem = "", f"the name {name} is Orcha's own"
        elif owner is not None:
            plugin.name, plugin.problem = "", f"the name {name} is taken by {owner.module} ({owner.distribution})"
        elif name:
            owners[name] = plugin
    for plugin in plugins:
        if plugin.usable:
            _settle_aliases(plugin, owners)


def _settle_aliases(plugin: Plugin, owners: dict[str, Plugin]) -> None:
    """Drop the aliases that another command has."""
    kept = []
    for alias in dict.fromkeys(plugin.aliases):
        owner = owners.setdefault(alias, plugin)
        if alias in RESERVED or owner is not plugin:
            other = "Orcha" if alias in RESERVED else owner.module
            plugin.problem = f"its alias {alias} is taken by {other}; its command {plugin.name} works"
        elif alias != plugin.name:
            kept.append(alias)
    plugin.aliases = kept


def load(module: str, attribute: str) -> type[BasePlugin]:
    """Import a plugin's class.

    Raises:
        PluginError: it cannot be imported, or is not a plugin.

    """
    import sys

    from orcha.plugins import places

    try:
        with places.importing():
            __import__(module)
            found: Any = sys.modules[module]
            for name in attribute.split("."):
                found = getattr(found, name, None)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a plugin may do anything while it is imported, sys.exit() among it
        raise PluginError(describe(error)) from error
    problem = misfit(found)
    if problem:
        raise PluginError(problem)
    plugin: type[BasePlugin] = found
    return plugin


def describe(error: BaseException) -> str:
    """Give an exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def misfit(found: object) -> str:
    """Say why an object is no plugin's class; nothing where it is one."""
    from orcha.plugins.base import BasePlugin

    if found is None:
        return "it exports no class named plugin"
    if not isinstance(found, type) or not issubclass(found, BasePlugin):
        return f"its plugin is no subclass of orcha.plugins.BasePlugin but {found!r:.80}"
    name: object = getattr(found, "name", None)
    if (
        not isinstance(name, str)
        or not name
        or name.startswith("-")
        or not all(c.isalnum() or c in "-_." for c in name)
    ):
        return f"its plugin's name is not the name of a command: {name!r:.80}"
    return ""


def query_plugins() -> list[type[BasePlugin]]:
    """Import every installed plugin and give their classes, the embedded ones first; what cannot be used is logged.

    Example::

        names = [plugin.name for plugin in query_plugins()]

    """
    from orcha.plugins.embedded import PLUGIN_LIST
    from orcha.utils.logging_utils import get_logger

    classes = list(PLUGIN_LIST)
    for plugin in installed():
        if plugin.problem:
            get_logger().warning("%s: %s", plugin.module, plugin.problem)
        if not plugin.usable:
            continue
        try:
            classes.append(load(plugin.module, plugin.attribute))
        except PluginError as error:
            get_logger().warning("%s: %s", plugin.module, error)
    return classes


__all__ = ["EMBEDDED", "RESERVED", "PluginError", "installed", "load", "query_plugins"]
