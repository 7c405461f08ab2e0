"""The plugins that come with Orcha, beside :class:`orcha.plugins.ListPlugin`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha.plugins.base import BasePlugin
    from orcha.plugins.embedded.watchdog import WatchdogPlugin

    PLUGIN_LIST: tuple[type[BasePlugin], ...]


def __getattr__(name: str) -> object:
    """Import a plugin when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from orcha.plugins.embedded.watchdog import WatchdogPlugin

    globals().update(WatchdogPlugin=WatchdogPlugin, PLUGIN_LIST=(WatchdogPlugin,))
    return globals()[name]


__all__ = ["PLUGIN_LIST", "WatchdogPlugin"]
