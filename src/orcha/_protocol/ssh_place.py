"""Where a service is that a client reaches over SSH: the login, and which service and program are meant there."""

from __future__ import annotations

from dataclasses import dataclass

from orcha.exceptions import ConfigurationError

PROGRAM = "orcha"
"""What is started there, where nothing else is named."""


@dataclass(frozen=True)
class SshPlace:
    """A login of ssh(1), and the service there.

    Example::

        place = ssh_place("ssh://anna@box:2222/system")
        place.login  # anna@box
    """

    login: str
    """The host, with a user where one is named, as ssh takes it: an alias of ssh's own configuration, too."""
    port: int = 0
    """0 for the port that ssh's configuration says."""
    service: str = ""
    """As ``--service`` names it there; empty for the first service that answers."""
    program: str = PROGRAM
    """A text for the shell of the login, which starts Orcha there."""
    is_known: bool = False
    """The client was connected: from then on ssh asks nothing, and waits for a service that is away."""
    folder: str | None = None
    """The folder in which a command is to run there, and whose environment is asked for; None where nobody asks."""

    @property
    def url(self) -> str:
        """The place as a URL, without the program."""
        service = self.service.removeprefix("unix:").removeprefix("/")
        return f"ssh://{self.bracketed_login}{f':{self.port}' if self.port else ''}{f'/{service}' if service else ''}"

    @property
    def bracketed_login(self) -> str:
        """The login where a colon follows it: an IPv6 address stands in brackets."""
        user, at, host = self.login.rpartition("@")
        return f"{user}{at}[{host}]" if ":" in host else self.login

    @property
    def host(self) -> str:
        """The host as people name it."""
        return self.login.rpartition("@")[2]


def ssh_place(where: str, program: str = PROGRAM) -> SshPlace:
    """Read a URL: ``ssh://[user@]host[:port][/service]``, where the service is a name, or the path of a socket.

    Raises:
        ConfigurationError: this is no such URL.

    >>> ssh_place("ssh://box/srv/lab/orcha.sock").service
    '/srv/lab/orcha.sock'
    """
    rest, _, service = where.removeprefix("ssh://").partition("/")
    user, at, place = rest.rpartition("@")
    host, port = _host_and_port(where, place)
    if ":" in user:
        raise ConfigurationError(f"{where.replace(user, '...')!a:.80} has a password: leave it out, ssh asks for it")
    login = f"{user}{at}{host}"
    if not host or (at and not user) or login.startswith("-") or not login.isprintable() or " " in login:
        raise ConfigurationError(
            f"{where!a:.80} is no place of a service: write ssh://host, ssh://user@host:port or ssh://host/service"
        )
    if not program.strip() or not program.isprintable():
        raise ConfigurationError(f"{program!a:.80} is no program: name the program that starts Orcha on {host}")
    service = service.rstrip("/")
    return SshPlace(login, port, f"/{service}" if "/" in service else service, program)


def _host_and_port(where: str, place: str) -> tuple[str, int]:
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        has_port, port = port.startswith(":"), port.removeprefix(":")
    else:
        host, colon, port = place.partition(":")
        has_port = bool(colon)
    if not has_port and not port:
        return host, 0
    if not has_port or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65_535):
        raise ConfigurationError(f"{where!a:.80} has no port: write ssh://host:port, as in ssh://box:2222")
    return host, int(port)


__all__ = ["PROGRAM", "SshPlace", "ssh_place"]
