"""The built-in verbs of ``orcha``, one file each; which there are is known without importing them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from types import ModuleType
    from typing import Any

VERBS = {
    "serve": "serve commands, and what every installed plugin offers",
    "run": "run a command",
    "exec": "run a command beside a running command",
    "ps": "show what waits and runs",
    "why": "tell what keeps a petition from starting",
    "show": "show everything that is known of a petition",
    "logs": "show what petitions wrote",
    "attach": "follow a petition, and end as it ends",
    "wait": "wait until petitions have ended",
    "stats": "show what the service has done",
    "history": "show what has ended, as a workload",
    "simulate": "tell who would run when",
    "group": "show groups, or set what holds for the petitions of one",
    "resource": "show what there is for petitions that need it, or change that",
    "lock": "take a device, or the whole machine, for a while",
    "unlock": "give back what was taken",
    "extend": "hold it longer",
    "cancel": "end petitions",
    "retry": "run an ended petition once more",
    "cron": "run a command again and again, at times that a line of cron tells",
    "pause": "let petitions rest",
    "resume": "let go on what was paused",
    "signal": "send a signal to what a petition runs",
    "priority": "let a waiting petition start sooner or later",
    "set": "change petitions that wait, or the time limit of what runs",
    "rm": "forget ended petitions",
    "service": "name services of other machines",
    "key": "let programs and other machines in, each by a key of its own",
    "drain": "start nothing more, and let what runs come to its end",
    "undrain": "start petitions again",
    "config": "check, show and change the configuration",
    "reload": "have the service read its configuration again",
    "events": "show what clients did and tried",
    "who": "show what each user has and may have",
    "where": "tell which service a command would use, and why",
    "doctor": "find what is wrong here, and say the cure",
    "backup": "copy everything that the service keeps to a file",
    "restore": "put a backup to where no service runs",
    "stop": "stop the service, and wait until it has",
    "relay": "join standard input and output with the service, at the end of ssh",
    "install-units": "write the units with which systemd starts the service",
}
"""Each verb with its line in ``orcha --help``; its module here has its name, with _ for -."""


_BEFORE = ("--listen-address", "--port", "--service", "--key", "--systemd", "--no-store", "--allow-weak-key")
"""Options that stand before the command."""


def refuse_what_is_unknown(parser: argparse.ArgumentParser) -> None:
    """Have a verb's own parser refuse what it does not know, with its own usage: else that of `orcha` is shown."""
    parse = parser.parse_known_args

    def parse_all(args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, unknown = parse(args, namespace)
        for word in unknown:
            name = word.partition("=")[0]
            if name in _BEFORE:
                parser.error(f"{name} goes before the command: orcha {name} ... {parser.prog.rpartition(' ')[2]}")
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    parser.parse_known_args = parse_all  # type: ignore[method-assign]  # what a subparser is asked by


class Verb:
    """A built-in verb as the command line sees it: it answers as a plugin does."""

    def __init__(self, name: str, subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Import it and add its command."""
        module = name.replace("-", "_")
        self._module: ModuleType = __import__(f"{__name__}.{module}", fromlist=[module])
        parser = subparsers.add_parser(name, help=VERBS[name])
        parser.set_defaults(owner=self)
        self._module.create_parser(parser)
        refuse_what_is_unknown(parser)

    def can_handle(self, owner: object) -> bool:
        """Whether a command is this verb's."""
        return owner is self

    def handle(self, namespace: argparse.Namespace) -> int:
        """Run it."""
        code: int = self._module.run(namespace)
        return code
