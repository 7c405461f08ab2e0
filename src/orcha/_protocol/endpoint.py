"""Where a service is: its address and port, and the folder with its database, its output and its Unix socket."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass, replace

from orcha.exceptions import ConfigurationError
from orcha.utils.paths import named_path
from orcha.utils.system_paths import SYSTEM_ROOT, shared_folder, system_socket, system_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._protocol.ssh_place import SshPlace
    from orcha._protocol.trust import ServiceTrust

SYSTEM_FOLDER = "/var/lib/orcha"
"""Where a service without a home keeps its folders."""
KEY_VARIABLE = "ORCHA_KEY_FILE"
"""Names the key file, where it is not the user's own."""
CONFIG_VARIABLE = "ORCHA_CONFIG"
"""Names the configuration file, where it is not the user's own."""
DEFAULT_FOLDER = "default"
"""Name of the folder of a user's default service."""
_MAX_SOCKET_PATH_BYTES = 107
"""Longest path in a Unix socket's address: unix(7), sun_path without its last byte."""


@dataclass(frozen=True)
class Endpoint:
    """An address and a port, and the folder of the service there; without an address, its Unix socket alone.

    Raises ConfigurationError for an address that cannot name a folder, and for a port outside 0 to 65535.

    Example::

        endpoint = Endpoint("127.0.0.1", 50000)
        endpoint.socket_path  # /home/me/.local/state/orcha/127.0.0.1-50000/orcha.sock
    """

    address: str
    """An address or a host's name; empty where the service does not listen on TCP."""
    port: int
    """TCP port; 0 for any free one, which only a service can ask for."""
    folder: str = ""
    """Absolute path; empty for `<home of Orcha>/<address>-<port>`."""
    elsewhere: tuple[str, ...] | None = None
    """Folders whose Unix sockets a client tries after the one here; None for the system's folder of the same name."""
    socket: str = ""
    """Absolute path of the Unix socket; empty for `orcha.sock` in the folder."""
    owner: int | None = None
    """The uid of another user whose service this is, as a client knows; None for one's own and root's."""
    ssh: SshPlace | None = None
    """The login through which the service is reached; it has no folder here then."""
    trust: ServiceTrust | None = None
    """What stands with the name by which the user named the service; None where no name was given."""

    def __post_init__(self) -> None:
        local = not self.address and (self.folder or self.ssh) and not self.port
        if not local and (not self.address or "/" in self.address or not self.address.isprintable()):
            raise ConfigurationError(
                f"{self.address!r} is no address to listen on or to connect to: give an IP address or a host's name"
            )
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"{self.port} is no TCP port: give a number from 0 to 65535")
        own = "" if local else endpoint_folder(self.address, self.port)
        object.__setattr__(self, "folder", self.folder or own)
        if self.elsewhere is None:
            object.__setattr__(self, "elsewhere", with_system(own)[1:] if self.folder == own else ())

    @property
    def has_port(self) -> bool:
        """Whether the service listens on TCP too."""
        return bool(self.address)

    @property
    def name(self) -> str:
        """The address and port as people write them, else the URL of the login, else the path of the Unix socket."""
        if self.ssh is not None:
            return self.ssh.url
        if not self.address:
            return self.socket_path
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the service can be reached from this machine only."""
        return not self.address or is_loopback(self.address)

    @property
    def socket_path(self) -> str:
        """The Unix socket."""
        return self.socket or f"{self.folder}/orcha.sock"

    @property
    def shared_path(self) -> str:
        """The Unix socket by which the service of a user lets in other users, beside its own socket."""
        return f"{shared_folder(os.geteuid())}/{os.path.basename(self.folder)}.sock"  # noqa: PTH119

    @property
    def lock_path(self) -> str:
        """The file whose lock says that a service is there."""
        return f"{self.folder}/lock"

    @property
    def database_path(self) -> str:
        """What the service keeps."""
        return f"{self.folder}/orcha.db"

    @property
    def output_folder(self) -> str:
        """Output too long for the database."""
        return f"{self.folder}/output"

    @property
    def is_system(self) -> bool:
        """Whether this is the machine's service."""
        return self.socket == system_socket()

    @property
    def key_path(self) -> str:
        """The key file of the machine's service, beside its folder: no other service has the same key."""
        return f"{self.folder}.key"

    def make_folder(self) -> None:
        """Make the folder, 0700, where it does not exist; raises ConfigurationError where others may enter it.

        The folders around it, and around the socket, of the machine's service everybody may enter, and only root write.
        """
        if self.is_system:
            make_public_folder(os.path.dirname(self.folder))  # noqa: PTH120
            make_public_folder(os.path.dirname(self.socket))  # noqa: PTH120
        make_private_folder(self.folder)

    def socket_paths(self) -> list[str]:
        """Give the Unix sockets that a client tries: the one in this folder, then those elsewhere."""
        if self.ssh is not None:
            return []
        return [self.socket_path, *(f"{folder}/orcha.sock" for folder in self.elsewhere or ())]

    def folders(self) -> list[str]:
        """Give the folders with the states of these services, in the order in which a client tries the services."""
        return [self.found(path).folder for path in self.socket_paths()]

    def found(self, path: str) -> Endpoint:
        """Give the endpoint of the service that answered on this Unix socket, one of the sockets that were tried.

        A client stays with it: another service that comes up elsewhere meanwhile knows nothing of what was asked.
        """
        if path == self.socket_path:
            return replace(self, elsewhere=())
        if path == system_socket():
            return system_place()
        return Endpoint("", 0, os.path.dirname(path), ())  # noqa: PTH120 - pathlib costs a client 5 ms


def service_place(address: str, port: int, *, named: bool, listen: tuple[str, int] | None = None) -> Endpoint:
    """Give the endpoint of ``orcha serve``, whose address and port come from :func:`orcha.utils.place.place_of`.

    Where nobody named an address or a port this is the default service, on its Unix socket alone. With port 0 this is
    the default service too, and it listens on a free port besides. Any other port is a service of its own. Where the
    configuration says where to `listen`, the default service listens there besides, on a free port for port 0.
    """
    if not named:
        if listen is not None:
            return Endpoint(listen[0], listen[1] or free_port(listen[0]), default_folder())
        return Endpoint("", 0, default_folder())
    return Endpoint(address, port) if port else Endpoint(address, free_port(address), default_folder())


def client_place(address: str, port: int, *, named: bool, plugin: bool) -> Endpoint:
    """Give the endpoint that a client looks for, whose address and port come from :func:`orcha.utils.place.place_of`.

    Where nobody named an address or a port, a plugin's client looks for the plugin's own service before the default
    one, and the built-in verbs for the default one first.
    The machine's service comes after all services of the user's own.
    """
    if not port:
        return Endpoint("", 0, default_folder(), with_system(default_folder())[1:])
    if named:
        return Endpoint(address, port)
    own, default = with_system(endpoint_folder(address, port)), with_system(default_folder())
    if plugin:
        return Endpoint(address, port, elsewhere=(*own[1:], *default, *_machine()))
    return Endpoint("", 0, default[0], (*default[1:], *own, *_machine()))


def shared_place(uid: int) -> Endpoint:
    """Give the endpoint of the default service that another user shares."""
    folder = shared_folder(uid)
    return Endpoint("", 0, folder, (), f"{folder}/{DEFAULT_FOLDER}.sock", uid)


def system_place() -> Endpoint:
    """Give the endpoint of the machine's service, which ``orcha serve --system`` starts."""
    return Endpoint("", 0, system_state(), (), system_socket())


def _machine() -> tuple[str, ...]:
    """Give the folder with the socket of the machine's service, where a client looks for that without being told to.

    A user who has set ORCHA_HOME means what is in that folder, and nothing beside it.
    """
    if "ORCHA_HOME" in os.environ and not os.environ.get(SYSTEM_ROOT):
        return ()
    return (os.path.dirname(system_socket()),)  # noqa: PTH120 - pathlib costs a client 5 ms


def is_loopback(address: str) -> bool:
    """Tell whether an address is one of this machine's loopback: 127.0.0.0/8, ::1, or the name localhost.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    if address.lower() == "localhost":
        return True
    try:
        return socket.inet_pton(socket.AF_INET, address)[0] == 127
    except OSError:
        pass
    try:
        return socket.inet_pton(socket.AF_INET6, address) == bytes(15) + b"\x01"
    except OSError:
        return False


def endpoint_folder(address: str, port: int) -> str:
    """Give the folder of the service at an address and a port."""
    return f"{state_home()}/{address}-{port}"


def default_folder() -> str:
    """Give the folder of this user's default service, which no option needs to name."""
    return f"{state_home()}/{DEFAULT_FOLDER}"


def with_system(folder: str) -> tuple[str, ...]:
    """Give a folder in the user's own home of Orcha, and the one of that name of a service without a home."""
    system = f"{SYSTEM_FOLDER}/{os.path.basename(folder)}"  # noqa: PTH119 - pathlib costs a client 5 ms
    return (folder,) if "ORCHA_HOME" in os.environ or system == folder else (folder, system)


def with_short_path(path: str, use: Callable[[str], object]) -> None:
    """Call `use` with a Unix socket's path, or with a shorter one where that path does not fit a socket's address.

    The short path leads through the folder's descriptor: /proc/self/fd, proc(5).
    """
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES:
        use(path)
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{descriptor}/{name}")
    finally:
        os.close(descriptor)


def free_port(address: str) -> int:
    """Find a port on which nobody listens at this address.

    Raises:
        ConfigurationError: this machine does not have that address.

    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {address}: {error.strerror or error}: give an address of this machine"
            ) from None
        port: int = probe.getsockname()[1]
        return port


_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
NO_ROOM_CODE = 75
"""Exit code where there is no room on a disk."""
_CURES = {
    **dict.fromkeys(_FULL, "make room on that disk"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "see whose it is and who may use it"),
    errno.EROFS: "mount that disk for writing",
    errno.EIO: "see what the kernel says about that disk (dmesg)",
}
"""What helps, by the kind of the error."""


def state_home() -> str:
    """Give the folder of all endpoints' folders: $ORCHA_HOME, else `orcha` in the XDG state folder, else the system's.

    The system's, /var/lib/orcha, is for services without a home. XDG Base Directory Specification 0.8.
    """
    return _home("XDG_STATE_HOME", ".local/state", SYSTEM_FOLDER)


def key_path() -> str:
    """Give the path of the key file: $ORCHA_KEY_FILE, else in $ORCHA_HOME, else in `orcha` of the XDG config folder."""
    if path := named_path(KEY_VARIABLE):
        return path
    return f"{config_home()}/key"


def config_home() -> str:
    """Give the folder of what a user has set: $ORCHA_HOME, else `orcha` in the XDG config folder, else the system's."""
    return _home("XDG_CONFIG_HOME", ".config", SYSTEM_FOLDER)


def configuration_path() -> str:
    """Give the path of the user's configuration file: $ORCHA_CONFIG, else beside the key file of the user."""
    return named_path(CONFIG_VARIABLE) or f"{config_home()}/orcha.toml"


def _home(variable: str, below_home: str, system: str) -> str:
    if home := named_path("ORCHA_HOME"):
        return home
    if (folder := os.environ.get(variable, "")).startswith("/"):
        return f"{folder.rstrip('/')}/orcha"
    if (home := os.environ.get("HOME", "")).startswith("/"):
        return f"{home.rstrip('/')}/{below_home}/orcha"
    return system


def make_private_folder(path: str) -> None:
    """Make a folder, 0700, and those above it.

    Raises ConfigurationError where that is not possible, and where it is not this user's alone.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)  # noqa: PTH103
        found = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise unusable(f"the folder {path} cannot be made", error) from None
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} belongs to uid {found.st_uid}, not to uid {os.geteuid()} who runs this: "
            "set ORCHA_HOME to a folder of your own"
        )
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise ConfigurationError(f"others may write to {path}: run chmod 700 {path}")


def make_public_folder(path: str) -> None:
    """Make a folder that everybody may enter and nobody else may write to, whatever the umask is, and those above it.

    Raises ConfigurationError where that is not possible, or another user may write to it.
    """
    above = os.path.dirname(path)  # noqa: PTH120
    try:
        if not os.path.isdir(above):  # noqa: PTH112
            make_public_folder(above)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)  # noqa: PTH102
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o022:
                os.fchmod(descriptor, 0o755)
                return
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unusable(f"the folder {path} cannot be made", error) from None
    raise ConfigurationError(
        f"others may write to {path}, which belongs to uid {found.st_uid}: run chown {os.geteuid()} {path} &&"
        f" chmod 755 {path}"
    )


def unusable(what: str, error: OSError) -> ConfigurationError:
    """Give the error for a file or folder that this machine does not let Orcha use, with the cure.

    A full disk has the code of what may succeed later, as `StoreFull` has.
    """
    cure = _CURES.get(error.errno or 0, "see what lies there")
    made = ConfigurationError(f"{what}: {error.strerror or error}: {cure}, or set ORCHA_HOME to another folder")
    if error.errno in _FULL:
        made.exit_code = NO_ROOM_CODE
    return made
