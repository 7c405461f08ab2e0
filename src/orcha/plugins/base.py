"""What a plugin is."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    B = TypeVar("B", bound="BasePlugin")


class BasePlugin:
    """A command of ``orcha``: its name, its arguments, and what it does.

    Export the class as ``plugin`` from a module named ``orcha_<name>``. It is built when its command is given, and only
    then; its module is imported by no other command.

    Example::

        class HelloPlugin(BasePlugin):
            name = "hello"
            help = "say hello"

            def create_parser(self, parser):
                parser.add_argument("who")

            def handle(self, namespace):
                print("Hello", namespace.who)
                return 0

            @staticmethod
            def version():
                return f"orcha-hello - {version('orcha_hello')}"

    """

    name: str
    """The command; letters, digits, ``-``, ``_`` and ``.``, without a leading ``-``."""
    aliases: Sequence[str] = ()
    """Other names of the command, while no other command has them. ``alias`` is read too."""
    help: str | None = None
    """One line for ``orcha --help``."""
    manager: type[Any] | None = None
    """The manager class of this plugin's service, where it says so."""

    def __init__(self, subparsers: argparse._SubParsersAction[Any]) -> None:
        """Add this plugin's command to those of `argparse`; :meth:`create_parser` fills in its arguments."""
        extras: dict[str, Any] = {} if self.help is None else {"help": self.help}
        self._parser: argparse.ArgumentParser = subparsers.add_parser(
            self.name, aliases=alias_list(type(self)), **extras
        )
        self._parser.set_defaults(owner=self)
        self.create_parser(self._parser)
        if "--version" not in self._parser._option_string_actions:  # noqa: SLF001 - no public way to ask
            self._parser.add_argument(
                "--version", action=PrintVersion, text=self.version, help="show the plugin's version and exit"
            )

    def create_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""
        raise NotImplementedError(f"{type(self).__name__} has no create_parser()")

    def handle(self, namespace: argparse.Namespace) -> int:
        """Run the command.

        Args:
            namespace: the parsed arguments, those before the command among them.

        Returns:
            The exit code; None counts as 0.

        """
        raise NotImplementedError(f"{type(self).__name__} has no handle()")

    @staticmethod
    def version() -> str:
        """Give the plugin's name and version, as ``orcha ls`` shows it; asked only then."""
        raise NotImplementedError("a plugin says its version")

    def can_handle(self, owner: object) -> bool:
        """Whether a command is this plugin's, from its parser's default ``owner``: the plugin that made the parser."""
        return owner is self


class PrintVersion(argparse.Action):
    """Prints what a function says, and exits: unlike ``action="version"`` it is asked only when it is needed."""

    def __init__(self, *, text: Callable[[], str], **keywords: Any) -> None:
        """Take the function."""
        super().__init__(nargs=0, default=argparse.SUPPRESS, **(keywords | {"dest": argparse.SUPPRESS}))
        self._text = text

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print and exit."""
        from orcha.utils.streams import write_out

        write_out(f"{self._text()}\n")
        parser.exit()


def alias_list(plugin: type[BasePlugin]) -> list[str]:
    """Give a plugin's aliases, whether it calls them ``aliases`` or ``alias``, a sequence or a single text."""
    found: object = plugin.aliases or getattr(plugin, "alias", ())
    if isinstance(found, str):
        return [found]
    return [str(each) for each in found] if isinstance(found, (tuple, list, set, frozenset)) else []


def __getattr__(name: str) -> object:
    """Make the TypeVar when it is asked for: typing is not needed to run a command."""
    if name != "B":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from typing import TypeVar

    globals()["B"] = variable = TypeVar("B", bound=BasePlugin)
    return variable


__all__ = ["B", "BasePlugin"]
