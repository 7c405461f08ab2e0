"""``orcha ls``: which plugins are installed, and why some of them do not work."""

from __future__ import annotations

from orcha.plugins.base import BasePlugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


class ListPlugin(BasePlugin):
    """List the installed plugins."""

    name = "list-plugins"
    aliases = ("ls",)
    help = "list the installed plugins and exit"

    def create_parser(self, parser: argparse.ArgumentParser) -> None:
        """Take no arguments."""
        parser.description = "List the installed plugins, and what is wrong with plugins that cannot be used."
        parser.epilog = "example:\n  orcha ls\n"

    def handle(self, namespace: argparse.Namespace) -> int:  # noqa: ARG002 - it has no arguments
        """Print one line a plugin."""
        from orcha.utils.streams import write_out

        write_out(listing())
        return 0

    @staticmethod
    def version() -> str:
        """Give its line in the list; it is released with Orcha."""
        from orcha.utils.packages import own_version

        return f"list-plugins* - {own_version()}"


def listing() -> str:
    """Give what ``orcha ls`` prints."""
    from orcha.plugins.discovery import installed
    from orcha.utils.packages import own_version

    own = own_version()
    found = installed(versions=True)
    lines = [f"list-plugins* - {own}", f"watchdog* - {own}"]
    lines += [plugin.version or f"{plugin.name} - unknown" for plugin in found if plugin.usable]
    lines.sort()
    tree = [f"├ {line}" for line in lines[:-1]] + [f"└ {lines[-1]}"]
    note = ["", "Plugins marked with an asterisk (*) are embedded plugins"]
    problems = sorted(f"! {plugin.module}: {plugin.problem}" for plugin in found if plugin.problem)
    return "\n".join([f"orcha - {own}", *tree, *note, *problems]) + "\n"


__all__ = ["ListPlugin"]
