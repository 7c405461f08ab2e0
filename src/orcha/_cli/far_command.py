"""What a command gets that is asked for over SSH: the folder, the variables and the umask of the login there."""

from __future__ import annotations

import os

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from typing import Any

    from orcha._protocol.relay_greeting import FarSide

_OF_TERMINAL = ("TERM", "COLORTERM")
"""Variables that tell of the terminal here, which a command with --tty gets."""


def adapt(message: dict[str, Any], namespace: argparse.Namespace, far: FarSide, tell: Callable[[str], None]) -> None:
    """Have a command run as if it had been asked for at the login there.

    Its folder has the path of the folder here where the login can enter that, else it is the login's home, which is
    told. Its variables are the login's; of the variables here it gets what -e and ORCHA_ENV_ALLOW name, and with --tty
    what the terminal is.
    """
    here = os.getcwd()  # noqa: PTH109 - pathlib costs a client 5 ms
    chosen, uploaded = namespace.cwd, getattr(namespace, "uploaded", None)
    if chosen is None or not chosen.startswith("/"):
        folder = uploaded or far.folder
        if uploaded is None and folder != here:
            tell(f"there is no folder {here} on {far.host} that {far.user} can enter: running in {far.folder}")
        message["cwd"] = options.sent(f"{folder}/{chosen}" if chosen else folder)
    message["env"] = variables(
        far.environment,
        options.inherited(),
        namespace.env,
        everything=namespace.all_env,
        tty=bool(message.get("tty")),
    )
    message["umask"] = far.umask


def variables(
    there: Mapping[str, str], here: Mapping[str, str], settings: list[str], *, everything: bool, tty: bool
) -> dict[str | bytes, str | bytes]:
    """Give the variables of a command there.

    >>> variables({"HOME": "/home/u", "X": "1"}, {"HOME": "/root", "Y": "2"}, ["Y"], everything=False, tty=False)
    {'HOME': '/home/u', 'Y': '2'}
    """
    chosen = options.environment(there, (), everything=everything)
    named = here.get("ORCHA_ENV_ALLOW", "").replace(",", " ").split() + (list(_OF_TERMINAL) if tty else [])
    listed = {name: value for name, value in here.items() if options.is_among(name, named)}
    kept = options.environment(listed, (), everything=True)
    given = options.environment({name: here[name] for name in settings if name in here}, settings, everything=True)
    return chosen | kept | given


__all__ = ["adapt", "variables"]
