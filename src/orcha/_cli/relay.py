"""``orcha relay``: join standard input and output with the service of this machine, for a client elsewhere."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from orcha._protocol.endpoint import Endpoint
    from orcha._protocol.relay_greeting import FarSide

_EPILOG = """\
examples:
  orcha relay
  orcha --service system relay --wait 2s

Clients start it by ssh, as for orcha --service ssh://box ps, and nobody else
needs it. It looks for the service as every command does (orcha where).
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    from orcha._cli.options import duration

    parser.description = "Join standard input and output with the service: what a client starts at the end of ssh."
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("--wait", metavar="T", type=duration, default=0.0, help="wait this long for a service that is away")
    add("--folder", metavar="D", help="tell the folder in which a command of that folder runs here, and the variables")
    add("--prepare", metavar="NAME", help="make a folder that rsync fills, in place of joining anything")
    add("--unpack", metavar="NAME", help="unpack a folder from standard input, in place of joining anything")
    add("--until-stopped", action="store_true", help="tell when the service has stopped, in place of joining anything")


def run(namespace: argparse.Namespace) -> int:
    """Look for the service, tell what was found, and pass bytes on."""
    from orcha._cli import render
    from orcha._client.relay import connect, join
    from orcha._protocol.relay_greeting import FarSide, greeting
    from orcha._protocol.services import local_place
    from orcha._protocol.socket_ends import peer_credentials
    from orcha.exceptions import OrchaError

    if os.isatty(0):
        render.note("orcha relay is started by clients, over ssh: orcha --service ssh://HOST COMMAND")
        return 2
    try:
        endpoint = local_place("relay")
        if namespace.prepare:
            _say(greeting(_prepared(namespace.prepare)))
            return 0
        if namespace.unpack:
            _say(greeting(_unpacked(namespace.unpack)))
            return 0
        if namespace.until_stopped:
            _say(greeting(FarSide(error=_until_stopped(endpoint))))
            return 0
        sock, path = connect(endpoint, namespace.wait)
    except OrchaError as error:
        _say(greeting(FarSide(error=" ".join(str(error).split()), code=error.exit_code)))
        return error.exit_code
    _say(greeting(_about(path, peer_credentials(sock)[1], namespace.folder)))
    join(sock, 0, 1)
    return 0


def _until_stopped(endpoint: Endpoint) -> str:
    """Wait until the service has stopped; give why it has not, empty where it has."""
    from orcha._cli.background import PIDFILE
    from orcha._cli.stop import still_runs_text, wait_until_gone
    from orcha._protocol.endpoint import system_place

    if endpoint.socket_path == system_place().socket_path:
        endpoint = system_place()
    return "" if wait_until_gone(endpoint.lock_path, f"{endpoint.folder}/{PIDFILE}") else still_runs_text()


def _prepared(name: str) -> FarSide:
    """Make a folder for an upload where there is an rsync; say where it lies, or why it does not."""
    from orcha._cli.upload import prepare
    from orcha._client import rsync
    from orcha._protocol.relay_greeting import FarSide

    if rsync.program() is None:
        return FarSide(has_rsync=False)
    try:
        made, earlier = prepare(name, os.path.expanduser("~"))  # noqa: PTH111
    except (OSError, ValueError) as error:
        return FarSide(error=f"the folder cannot be made: {error}", code=1)
    return FarSide(folder=made, earlier=earlier, has_rsync=True)


def _unpacked(name: str) -> FarSide:
    """Unpack what comes on standard input; say where it lies, or why it does not."""
    import sys

    from orcha._cli.upload import unpack
    from orcha._protocol.relay_greeting import FarSide

    try:
        return FarSide(folder=unpack(name, os.path.expanduser("~"), sys.stdin.buffer))  # noqa: PTH111
    except (OSError, ValueError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        return FarSide(error=f"the folder cannot be unpacked: {' '.join(text.split())}", code=1)


def _about(path: str, uid: int, folder: str | None) -> FarSide:
    """Say what a client may want to know of this login."""
    import pwd

    from orcha._protocol.relay_greeting import FarSide
    from orcha.utils.packages import own_version

    try:
        user = pwd.getpwuid(os.geteuid())
        name, home = user.pw_name, os.environ.get("HOME") or user.pw_dir
    except KeyError:
        name, home = str(os.geteuid()), os.environ.get("HOME") or "/"
    far = FarSide(version=own_version(), user=name, host=os.uname().nodename, home=home, place=path, uid=uid)
    if folder is None:
        return far
    from dataclasses import replace

    from orcha._cli.options import inherited
    from orcha._cli.run_options import own_umask

    return replace(far, folder=_entered(folder, home), umask=own_umask(), environment=inherited())


def _entered(folder: str, home: str) -> str:
    """Give the first of these folders that this login can enter, else the root."""
    for each in (folder, home):
        try:
            os.chdir(each)
        except OSError:
            continue
        return each
    return "/"


def _say(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]
