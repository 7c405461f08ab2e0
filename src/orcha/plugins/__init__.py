"""Plugins: what one is (:class:`BasePlugin`), and which are installed (:func:`query_plugins`).

A plugin is a top-level module or package named ``orcha_<name>`` that exports its class as ``plugin``, or an entry point
of the group ``orcha.plugins``. It is looked for in what is installed: the site directories, what distributions name
(wheels, eggs, editable installs), and ``PYTHONPATH``; never in the working directory.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha.plugins.base import B, BasePlugin
    from orcha.plugins.discovery import query_plugins
    from orcha.plugins.embedded import PLUGIN_LIST
    from orcha.plugins.embedded.watchdog import WatchdogPlugin
    from orcha.plugins.lp import ListPlugin

_HOMES = {
    "B": "base",
    "BasePlugin": "base",
    "ListPlugin": "lp",
    "PLUGIN_LIST": "embedded",
    "WatchdogPlugin": "embedded.watchdog",
    "query_plugins": "discovery",
}


def __getattr__(name: str) -> object:
    """Import the module a public name lives in."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(__import__(f"{__name__}.{home}", fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what can be imported from here."""
    return sorted({*globals(), *_HOMES})


__all__ = ["PLUGIN_LIST", "B", "BasePlugin", "ListPlugin", "WatchdogPlugin", "query_plugins"]
