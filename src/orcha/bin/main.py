"""What ``orcha`` does: read the options, find whose command it is, run that, and end with a code and one line.

Only the plugin whose command was given is imported.
"""

from __future__ import annotations

import argparse
import os
import sys

from orcha import properties
from orcha.bin.help import Formatter, grouped, with_formatter
from orcha.plugins.base import PrintVersion
from orcha.plugins.discovery import EMBEDDED, PluginError, installed, load
from orcha.utils.paths import fix_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, NoReturn

    from orcha.plugins.record import Plugin

NOT_FOUND_CODE = 127
INTERRUPTED_BY_USER_CODE = 130
BROKEN_PIPE_CODE = 141
"""128 + SIGPIPE, as a shell reports it."""
_MAX_PORT_CHARACTERS = 6

_EPILOG = """\
examples:
  orcha serve --background
  orcha run -- echo hello
  orcha run --detach --name nightly -- sleep 60
  orcha ps
  orcha cancel nightly
  orcha stop

orcha COMMAND --help shows the options of a command.

Service and clients of one user share a key file, made at first use, and need no --key. A key on the command line can be
read by every user of the machine.

exit codes: 69 no service, 75 the service stopped, 77 wrong key, 124 timed out, 127 no such command, 130 interrupted
"""


def main() -> int:
    """Run the command that the arguments of this process name.

    Returns:
        The command's exit code; 127 where nothing handles it, and without a traceback 69 where no service answers, 75
        where it stopped, 77 for a wrong key, 130 after Ctrl+C.

    """
    try:
        code = _run(sys.argv[1:])
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED_BY_USER_CODE
    except BrokenPipeError:
        from orcha.utils.streams import silence_stdout

        silence_stdout()
        return BROKEN_PIPE_CODE
    except Exception as error:  # noqa: BLE001 - whatever it is: a line and a code, no traceback
        return _report(error)
    return code


def _run(arguments: Sequence[str]) -> int:
    """Parse the arguments and run the command."""
    fix_paths()
    parser = _Parser()
    namespace = parser.parse_args(arguments)
    properties.extras.update(vars(namespace))
    command, owner = parser.commands.chosen, getattr(namespace, "owner", None)
    if command is None or not command.can_handle(owner):
        _say(f"nothing handles {' '.join(arguments)}: orcha --help lists the commands")
        return NOT_FOUND_CODE
    return _code(command.handle(namespace))


def _code(value: object) -> int:
    """Give what a command returned as a code from 0 to 255: no failure as 0, a signal's number as a shell has it."""
    if value is None:
        return 0
    if not isinstance(value, int):
        _say(f"the command returned {value!r:.80}, which is no exit code: its plugin should give a number, or nothing")
        return 1
    if value < 0:
        return 128 - value if value > -128 else 1
    return int(value) & 0xFF or (1 if value else 0)


def _report(error: Exception) -> int:
    """Say in one line what ended the command, and give its code."""
    from orcha.exceptions import OrchaError

    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror and not isinstance(error, OrchaError):
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif not isinstance(error, (OrchaError, PluginError)):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    _say_failed(text)
    if os.environ.get("LOG_LEVEL", "").upper() == "DEBUG":
        import traceback

        _say("".join(traceback.format_exception(error)).rstrip())
    return error.exit_code if isinstance(error, OrchaError) else 1


def _say_failed(line: str) -> None:
    """Write why the command ends; in the log of a service for programs this is an error, and no other line."""
    tell = getattr(sys.stderr, "say", None)  # orcha.utils.event_log.EventStream, where it stands in the place of stderr
    if tell is None:
        _say(line)
    else:
        import logging

        tell(_plain(line), logging.ERROR)


def _say(line: str) -> None:
    """Write a line to stderr, where there is one, in which nothing moves a terminal's cursor."""
    if sys.stderr is not None:
        sys.stderr.write(f"orcha: {_plain(line)}\n")


def _plain(text: str) -> str:
    """Give text with what is not printable as its escape, but the ends of lines."""
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)


class _PlainParser(argparse.ArgumentParser):
    """A parser that says what is wrong without repeating what would move a terminal's cursor."""

    def error(self, message: str) -> NoReturn:
        """Say it, and leave with 2."""
        super().error(_plain(message).replace("\n", "\\n"))


class _Parser(_PlainParser):
    """The parser of what stands before the command; it lists the commands when it is asked for help."""

    def __init__(self) -> None:
        """Add the options, and a place for the command."""
        super().__init__(
            prog="orcha",
            usage="orcha [OPTION ...] COMMAND [ARGUMENT ...]",
            description="Orcha, a job service for shared machines that you program in Python.",
            epilog=_EPILOG,
            formatter_class=Formatter,
        )
        add = self.add_argument
        add("--listen-address", metavar="ADDRESS", default=None, help="address of the service")
        add("--port", metavar="N", type=_port, default=None, help="TCP port of the service; 0 for any free one")
        add("--service", metavar="NAME", default=None, help="service that clients use: a name, a path or a URL")
        add("--key", metavar="KEY", default=None, help="key shared by service and clients, instead of the key file")
        add(
            "--allow-weak-key",
            action="store_true",
            help="use a KEY of fewer than 16 characters with other machines too",
        )
        add("--systemd", action="store_true", help="run under systemd: tell it when the service is ready, and lives")
        add("--no-store", action="store_true", help="serve without keeping anything: petitions end with the service")
        add("--version", action=PrintVersion, text=_version, help="show the version and exit")
        found = self.add_subparsers(
            title="commands",
            prog="orcha",
            metavar="COMMAND",
            required=True,
            action=Commands,
            parser_class=_PlainParser,
        )
        assert isinstance(found, Commands)
        self.commands = found

    def format_help(self) -> str:
        """Give the help with all commands, in groups."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        for title, commands in self.commands.list_all():
            formatter.start_section(title)
            formatter.add_arguments(commands)
            formatter.end_section()
        formatter.start_section("options, before the command")
        formatter.add_arguments(action for action in self._actions if action is not self.commands)
        formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()


class Commands(argparse._SubParsersAction):  # type: ignore[type-arg]  # noqa: SLF001 - what add_subparsers documents as `action`
    """The command: whose it is, is found out when it is given, and only that is imported."""

    chosen: Any = None
    """The plugin or verb whose command was given."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Take any word for a command: what is none gets an answer and a code of its own."""
        super().__init__(*arguments, **keywords)
        self.choices = None  # type: ignore[assignment]

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Set the properties, import the command, parse its arguments."""
        if namespace.service is not None and (namespace.listen_address, namespace.port) != (None, None):
            parser.error("--service says where a service is: leave out --listen-address and --port")
        _apply(namespace)
        words = [str(word) for word in values or ()]
        if words[0] == "core":
            words = self._core(parser, words)
        else:
            self._choose(words[0])
        if words[0] not in self._name_parser_map:
            raise PluginError(f"{words[0]} has changed while it was looked up: try again")
        super().__call__(parser, namespace, words, option_string)

    def _core(self, parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
        """Choose a built-in verb, whatever plugins there are; give the words from the verb on."""
        from orcha._cli import VERBS, Verb

        if len(words) < 2 or words[1] in {"-h", "--help"}:
            names = "".join(f"\n  {name:<12}{line}" for name, line in VERBS.items())
            text = f"usage: orcha core VERB ...\n\nbuilt-in verbs:{names}\n"
            if len(words) < 2:
                parser.exit(2, text)
            from orcha.utils.streams import write_out

            write_out(text)
            parser.exit()
        if words[1] not in VERBS:
            _refuse(f"orcha core has no verb {words[1]}: orcha core --help")
        self.chosen = Verb(words[1], self)
        return words[1:]

    def _choose(self, word: str) -> None:
        """Find whose command it is: Orcha's own plugins, then plugins by name, then verbs, then plugins by alias."""
        for name, (module, attribute, aliases, _) in EMBEDDED.items():
            if word == name or word in aliases:
                self._load(module, attribute)
                return
        from orcha._cli import VERBS, Verb

        plugins = installed()
        named = [plugin for plugin in plugins if plugin.name == word]
        if not named and word in VERBS:
            self.chosen = Verb(word, self)
            return
        for plugin in named or [plugin for plugin in plugins if plugin.usable and word in plugin.aliases]:
            properties.plugin = plugin.name or None
            self._load(plugin.module, plugin.attribute)
            return
        _unknown(word, plugins)

    def _load(self, module: str, attribute: str) -> None:
        """Import a plugin and let it add its arguments."""
        try:
            plugin = load(module, attribute)
        except PluginError as error:
            _forget()
            raise PluginError(f"{module}: {error}") from error
        self.chosen = plugin(self)

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """Add a command."""
        parser: argparse.ArgumentParser = super().add_parser(name, **with_formatter(options))
        return parser

    def list_all(self) -> Iterator[tuple[str, list[argparse.Action]]]:
        """Give the help of every command, by what is known of it, in groups."""
        from orcha._cli import VERBS

        lines: dict[str, tuple[tuple[str, ...], str]] = {
            name: (aliases, line) for name, (_, _, aliases, line) in EMBEDDED.items()
        }
        lines |= {name: ((), line) for name, line in VERBS.items()}
        lines |= {plugin.name: (tuple(plugin.aliases), plugin.help) for plugin in installed() if plugin.usable}
        for title, names in grouped(lines):
            yield title, [self._ChoicesPseudoAction(name, lines[name][0], _escaped(lines[name][1])) for name in names]


def _escaped(line: str) -> str:
    """Give a line of help as argparse prints it."""
    return line.replace("%", "%%")


def _apply(namespace: argparse.Namespace) -> None:
    """Set what the options before the command say, before any of a plugin's code is imported."""
    from orcha.utils.place import place_of

    names_place = namespace.listen_address is not None or namespace.port is not None
    properties.service = "" if names_place else namespace.service
    namespace.listen_address, namespace.port, properties.named = place_of(namespace.listen_address, namespace.port)
    properties.listen_address = namespace.listen_address
    properties.port = namespace.port
    properties.allow_weak_key = namespace.allow_weak_key
    properties.systemd = namespace.systemd
    properties.no_store = namespace.no_store
    if namespace.key is not None:
        properties.authkey = os.fsencode(namespace.key)
    properties.extras.update(vars(namespace))


def _unknown(word: str, plugins: list[Plugin]) -> None:
    """Leave: nothing has this name. Where a broken plugin might have had it, say so."""
    module = "orcha_" + word.replace("-", "_")
    for plugin in plugins:
        if plugin.problem and not plugin.usable and plugin.module == module:
            _refuse(f"{word}: {module} cannot be used: {plugin.problem}")
    _refuse(f"there is no command {word}: orcha --help lists them, orcha ls says what is wrong with a plugin")


def _refuse(line: str) -> None:
    """Leave with a line, as for a command that was not found."""
    _say(line)
    raise SystemExit(NOT_FOUND_CODE)


def _forget() -> None:
    """Drop what is known of plugins: one is not what it was when it was looked at."""
    from orcha.plugins import cache, places

    cache.forget(places.safe_path())


def _port(text: str) -> int:
    """Read a port number."""
    number = int(text) if text.isdecimal() and len(text) < _MAX_PORT_CHARACTERS else -1
    if not 0 <= number <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!a:.40} is not a port: give a number from 0 to 65535")
    return number


def _version() -> str:
    """Give the line of ``orcha --version``."""
    from orcha.utils.packages import own_version

    return f"orcha - {own_version()}"


if __name__ == "__main__":
    sys.exit(main())
