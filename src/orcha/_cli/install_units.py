"""``orcha install-units``: write the units with which systemd starts the service, and its PAM service."""

from __future__ import annotations

import os
import re
import sys

from orcha._cli import render
from orcha.exceptions import ConfigurationError
from orcha.utils.new_file import replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  orcha install-units --user
  orcha install-units --system --hardened
  orcha install-units --system --dry-run

The units start the Orcha that writes them, with its interpreter. What to tell systemd then is printed.
For the service of the machine /etc/pam.d/orcha is written, too, where there is PAM: so commands have the limits of
their users' logins (limits.conf). With --dir it is FOLDER/pam.d/orcha.
"""
_MARK = b'Written by "orcha install-units'
"""What the files hold that this command has written, and may write again."""
_SYSTEM_FOLDER = "/etc/systemd/system"
_SYSTEM_SOCKET = "/run/orcha/orcha.sock"
_PAM_FOLDER = "/etc/pam.d"


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Write the units with which systemd starts this Orcha: orcha.service and orcha.socket."
    parser.epilog = _EPILOG
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--user", action="store_true", help="for your own service (the default, but for root)")
    whose.add_argument("--system", action="store_true", help="for the service of the machine (root's default)")
    parser.add_argument(
        "--hardened",
        action="store_true",
        help="add a drop-in that takes what few commands need: devices, sudo, containers; for --system alone",
    )
    parser.add_argument(
        "--dir", metavar="FOLDER", help=f"write here (default: {_SYSTEM_FOLDER}, or systemd/user of your settings)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be written, and write nothing")


def run(namespace: argparse.Namespace) -> int:
    """Write or print the units; give 0, or 2 for options that do not fit."""
    is_system = namespace.system or (not namespace.user and not os.geteuid())
    if namespace.hardened and not is_system:
        render.note("--hardened is for --system: a user's own manager cannot take what the drop-in takes")
        return 2
    folder = namespace.dir or (_SYSTEM_FOLDER if is_system else _users_folder())
    texts = units(is_system=is_system, is_hardened=namespace.hardened, program=program(), socket=_socket(is_system))
    files = {f"{folder}/{name}": text for name, text in texts.items()}
    pam = _PAM_FOLDER if namespace.dir is None else f"{folder}/pam.d"
    keeps_pam = is_system and _is_others(f"{pam}/orcha")
    if is_system and not keeps_pam and (namespace.dir is not None or os.path.isdir(pam)):  # noqa: PTH112
        files[f"{pam}/orcha"] = pam_service()
    if namespace.dry_run:
        for path, text in files.items():
            render.out(f"# --- {path}\n{text}\n")
        return 0
    for path in files:
        _refuse_others(path)
    for path, text in files.items():
        _write(path, text)
        render.note(f"wrote {path}")
    if keeps_pam:
        render.note(f"left {pam}/orcha as it is: somebody else has written it")
    _say_what_follows(is_system=is_system)
    return 0


def units(*, is_system: bool, is_hardened: bool, program: str, socket: str) -> dict[str, str]:
    """Give the texts of the files by their names.

    Args:
        is_system: whether they are for the machine's service, else for one user's.
        is_hardened: whether there is a drop-in that takes away what few commands need.
        program: the words that start Orcha, as a unit has them.
        socket: the path of the Unix socket that clients look for.

    """
    texts = {
        "orcha.service": _template("orcha-system.service" if is_system else "orcha-user.service"),
        "orcha.socket": _template("orcha.socket"),
    }
    if is_hardened:
        texts["orcha.service.d/50-hardened.conf"] = _template("hardened.conf")
    socket_mode, folder_mode = ("0666", "0755") if is_system else ("0600", "0700")
    values = {
        "@ORCHA@": program,
        "@SOCKET@": socket,
        "@SOCKET_MODE@": socket_mode,
        "@FOLDER_MODE@": folder_mode,
    }
    return {name: re.sub(r"@[A-Z_]+@", lambda found: values[found[0]], text) for name, text in texts.items()}


def pam_service() -> str:
    """Give the text of the PAM service by which commands have the limits of their users' logins."""
    return _template("orcha.pam")


def program() -> str:
    """Give the words of a unit that start the Orcha which runs now: systemd.service(5), "Command lines"."""
    return f"{_quoted(sys.executable)} -P -m orcha"


def _quoted(path: str) -> str:
    r"""Give a path as one word of a unit.

    >>> _quoted("/opt/100% mine/python")
    '"/opt/100%% mine/python"'
    """
    if not path or any(not each.isprintable() for each in path):
        raise ConfigurationError(f"systemd cannot start {path!r}: install Orcha below a folder with a plain name")
    text = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if text != path or " " in path or "'" in path or ";" in path else path


def _socket(is_system: bool) -> str:
    """Give the path at which clients without an option look, as a unit has it."""
    from orcha._protocol.endpoint import Endpoint, default_folder

    path = _SYSTEM_SOCKET if is_system else Endpoint("", 0, default_folder()).socket_path
    return path.replace("%", "%%")


def _users_folder() -> str:
    home = os.environ.get("XDG_CONFIG_HOME") or f"{os.path.expanduser('~')}/.config"  # noqa: PTH111
    return f"{home}/systemd/user"


def _template(name: str) -> str:
    path = f"{os.path.dirname(os.path.abspath(__file__))}/units/{name}"  # noqa: PTH100, PTH120
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return file.read()


def _is_others(path: str) -> bool:
    """Tell whether a file is there that somebody else has written; raises ConfigurationError."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return _MARK not in file.read()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _cannot(path, error) from None


def _refuse_others(path: str) -> None:
    """Raise ConfigurationError where a file is there that somebody else has written."""
    if _is_others(path):
        raise ConfigurationError(
            f"{path} is there, and orcha install-units has not written it: move it away, or give another --dir"
        )


def _write(path: str, text: str) -> None:
    """Put a file in its place, whole or not at all."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        replace_file(path, text.encode(), 0o644)  # systemd warns of a unit that nobody else may read
    except OSError as error:
        raise _cannot(path, error) from None


def _cannot(path: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be written: {error.strerror}: be root for --system, or give a --dir that is yours"
    )


def _say_what_follows(*, is_system: bool) -> None:
    user = "" if is_system else " --user"
    lines = [
        f"systemctl{user} daemon-reload",
        f"systemctl{user} enable --now orcha.service   # or orcha.socket: starts Orcha for the first client",
    ]
    if not is_system:
        lines.append("loginctl enable-linger   # so that Orcha lives without a login, too")
    render.out("".join(f"{line}\n" for line in lines))
