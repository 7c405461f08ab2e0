"""``orcha serve``: one service for commands and for what every installed plugin offers."""

from __future__ import annotations

from orcha._cli import options
from orcha.interfaces.built_in import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from orcha._configuration.configured import Configured
    from orcha._service.lifecycle.reloading import ConfigurationSource
    from orcha.lib.manager import Manager
    from orcha.lib.several import Several
    from orcha.plugins.record import Plugin

_EPILOG = """\
examples:
  orcha serve
  orcha serve commands hello-world
  orcha serve --resource gpu=0,1 --resource ram_gb=64
  orcha serve --detect
  orcha serve --fair past:12h
  orcha --port 50001 serve --background
  orcha serve --system

With no PLUGIN named, commands and the manager of every installed plugin that offers one are served. A plugin that
cannot be loaded is named, and the others are served. SIGTERM, SIGINT or orcha stop stop it in good order.
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Serve commands and plugins on one endpoint, until it is stopped."
    parser.epilog = _EPILOG
    parser.add_argument("plugins", nargs="*", metavar="PLUGIN", help="serve these alone; commands is the built-in one")
    parser.add_argument(
        "--slots",
        action="append",
        type=options.slots,
        default=[],
        metavar="GROUP=N",
        help="run at most N petitions of a group at once: a number, none for any, or forget to take the group away; "
        "may be given repeatedly, and stays as it is for later starts",
    )
    parser.add_argument(
        "--new-groups",
        type=_new_groups,
        metavar="N",
        help="what a group gets that a petition names first: a number of slots, none for any number (the default), or"
        " refuse to refuse the petition",
    )
    parser.add_argument(
        "--fair",
        type=options.fair,
        metavar="WHAT",
        help="whose turn it is among owners: now, of who has least in use (the default), or past[:HALF-LIFE], where "
        "also counts what each used before; what was used a half-life ago (default: 1d) counts half",
    )
    parser.add_argument(
        "--resource",
        action="append",
        type=options.resources,
        default=[],
        metavar="NAME=N",
        help="have N of a resource that petitions may need, or devices of these names, as in gpu=0,1 or "
        "gpu=0@mem=24G,1@mem=80G (one device: gpu=0,); may be given repeatedly",
    )
    parser.add_argument(
        "--detect",
        action="store_true",
        help="have the processors (cpu), the bytes of memory and NVIDIA's GPUs (gpu) of this machine as resources, too",
    )
    parser.add_argument(
        "--share",
        nargs="?",
        const=True,
        default=False,
        metavar="alice,@lab",
        help="let in these users and groups of this machine, who reach the service as user:NAME (orcha --service"
        " user:NAME run ...); or, without any, other users and machines by the key, which needs a --port. What they ask"
        " for runs as you",
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate of the port, in PEM (default: one of its own)")
    parser.add_argument("--tls-key", metavar="FILE", help="private key of that certificate, in PEM")
    parser.add_argument(
        "--tls-client-ca",
        metavar="FILE",
        help="clients on TCP show a certificate of this authority",
    )
    parser.add_argument(
        "--log",
        choices=("text", "json", "journal"),
        help="how the log on stderr is written: text, a line of JSON for each event, or entries of systemd's journal "
        "(the default where stderr leads there)",
    )
    parser.add_argument(
        "--state",
        metavar="FOLDER",
        help="keep everything below this folder, instead of ORCHA_HOME; clients find the service with ORCHA_HOME set "
        "to it",
    )
    parser.add_argument(
        "--system",
        action="store_true",
        help="be the machine's service, for root: every local user may ask, and each command runs as who asked",
    )
    parser.add_argument("--background", action="store_true", help="become a daemon, and return when it serves")
    parser.add_argument(
        "--pidfile", metavar="FILE", help="where the daemon writes its process id (default: in its folder)"
    )


def _new_groups(text: str) -> str:
    return text if text in {"none", "refuse"} else str(options.not_negative(text))


def run(namespace: argparse.Namespace) -> int:
    """Serve; in the foreground it does not return."""
    import os

    from orcha._cli import render
    from orcha.interfaces import ServiceWrapper, start_service
    from orcha.lib.several import Several

    _take_apart_share(namespace)
    if (wrong := _wrong_options(namespace)) is not None:
        render.note(wrong)
        return 2
    _set_variables(namespace)
    source = configuration(namespace)
    configured = source.loaded.configured
    _set_up_log(configured, in_background=namespace.background)
    managers, broken = _managers_of(namespace, configured)
    _add_to("ORCHA_SLOTS", namespace.slots)
    _add_to("ORCHA_RESOURCES", namespace.resource)
    if namespace.new_groups is not None:
        os.environ["ORCHA_NEW_GROUPS"] = namespace.new_groups
    if namespace.fair is not None:
        os.environ["ORCHA_FAIR"] = namespace.fair
    if namespace.detect:
        os.environ["ORCHA_DETECT"] = "1"
    several = Several(managers, broken, source, system=namespace.system)
    if namespace.share is True and not several.endpoint.has_port:
        render.note("--share lets others in over TCP: give --port before serve too, 0 for any free one")
        return 2
    if namespace.share:
        os.environ["ORCHA_SHARE"] = "1" if namespace.share is True else f"{namespace.share},"
    if _tls_options(namespace) and not several.endpoint.has_port:
        render.note("--tls-cert is for a port: give --port before serve too, 0 for any free one")
        return 2
    _check_share(configured, several)
    if not namespace.background:
        start_service(ServiceWrapper(several))
    from orcha._cli.background import start

    return start(several, namespace.pidfile)


def _set_variables(namespace: argparse.Namespace) -> None:
    """Have what options say in the environment, which counts more than the configuration files."""
    import os

    if namespace.log is not None:
        os.environ["ORCHA_LOG"] = namespace.log
    paths = _tls_options(namespace) | ({} if namespace.state is None else {"ORCHA_HOME": namespace.state})
    for variable, path in paths.items():
        os.environ[variable] = os.path.abspath(path)  # noqa: PTH100 - as named_path


def _tls_options(namespace: argparse.Namespace) -> dict[str, str]:
    """Give the files that options name, by the variables that name them, too."""
    given = {
        "ORCHA_TLS_CERT": namespace.tls_cert,
        "ORCHA_TLS_KEY": namespace.tls_key,
        "ORCHA_TLS_CLIENT_CA": namespace.tls_client_ca,
    }
    return {variable: path for variable, path in given.items() if path is not None}


def _take_apart_share(namespace: argparse.Namespace) -> None:
    """Have what stands behind --share be a plugin to serve, where it is the name of one, as in --share commands."""
    from orcha.plugins.discovery import installed

    if isinstance(namespace.share, str) and (
        namespace.share == COMMANDS or namespace.share in {plugin.name for plugin in installed()}
    ):
        namespace.plugins = [namespace.share, *namespace.plugins]
        namespace.share = True


def _set_up_log(configured: Configured, *, in_background: bool) -> None:
    """Have the log written as is configured; a daemon sets it up once its stderr is the daemon's own."""
    import os

    from orcha.utils import event_log

    wanted = configured.value("service", "log", None)
    kind = event_log.wanted_kind(os.environ, configured=wanted)
    if wanted is not None:
        os.environ["ORCHA_LOG"] = kind
    if not in_background:
        event_log.set_up(kind)


def _check_share(configured: Configured, several: Several) -> None:
    """Raise ConfigurationError where the configuration lets others in, and gives them no way in."""
    if configured.value("listen", "share", False) is True and not several.endpoint.has_port:
        from orcha.exceptions import ConfigurationError

        raise ConfigurationError(
            f"{configured.origin('listen', 'share')}: listen.share lets others in over TCP: give listen.port too"
        )


def _managers_of(namespace: argparse.Namespace, configured: Configured) -> tuple[dict[str, Manager], dict[str, str]]:
    """Give the managers that the arguments name, else the configuration; errors as of `load_managers`."""
    unnamed = (COMMANDS,) if namespace.system else ()
    managers, broken = load_managers(namespace.plugins or configured.value("service", "plugins", ()) or unnamed)
    if COMMANDS in managers:
        managers[COMMANDS].use(configured)  # type: ignore[attr-defined]  # it is the built-in manager
    return managers, broken


def configuration(namespace: argparse.Namespace) -> ConfigurationSource:
    """Read the configuration files of the user's service, and note which settings options say.

    Raises:
        BadConfigurationError: something is wrong with a file.

    """
    from orcha._protocol.endpoint import configuration_path
    from orcha.utils.system_paths import system_configuration

    if namespace.system:
        return configuration_at(system_configuration(), namespace, is_system=True)
    return configuration_at(configuration_path(), namespace, is_system=False)


def configuration_at(path: str, namespace: argparse.Namespace, *, is_system: bool) -> ConfigurationSource:
    """Read a configuration file with its drop-ins; errors as of `configuration`."""
    from functools import partial

    from orcha import properties
    from orcha._configuration.files import load
    from orcha._service.lifecycle.reloading import ConfigurationSource

    given = {
        "service.plugins": ("PLUGIN", bool(namespace.plugins)),
        "service.new_groups": ("--new-groups", namespace.new_groups is not None),
        "service.fair": ("--fair", namespace.fair is not None),
        "service.detect": ("--detect", namespace.detect),
        "service.log": ("--log", namespace.log is not None),
        "service.store": ("--no-store", properties.no_store),
        "listen.address": ("--listen-address", properties.named),
        "listen.port": ("--port", properties.named),
        "listen.share": ("--share", bool(namespace.share)),
        "tls.certificate": ("--tls-cert", namespace.tls_cert is not None),
        "tls.key": ("--tls-key", namespace.tls_key is not None),
        "tls.client_ca": ("--tls-client-ca", namespace.tls_client_ca is not None),
        "listen.allow_weak_key": ("--allow-weak-key", properties.allow_weak_key),
    }
    read = partial(load, path, is_system=is_system)
    options_by_key = {key: option for key, (option, is_given) in given.items() if is_given}
    return ConfigurationSource(read, read().sound(), options_by_key)


def _wrong_options(namespace: argparse.Namespace) -> str | None:
    """Say which options do not go together; None where all of them do."""
    from orcha import properties

    if properties.service:
        return "--service is for clients: give serve --system, or --port before serve, or nothing of both"
    if namespace.pidfile is not None and not namespace.background:
        return "--pidfile is for a daemon: give --background too"
    return _not_of_the_machine(namespace) if namespace.system else None


def _not_of_the_machine(namespace: argparse.Namespace) -> str | None:
    """Say why this process cannot be the machine's service; None where it can."""
    import os

    from orcha import properties

    if os.geteuid():
        return "serve --system is for root: each command runs as the user who asked for it"
    if namespace.state is not None:
        return "serve --system keeps its state in /var/lib/orcha: leave out --state, or set ORCHA_SYSTEM_ROOT"
    if properties.named or namespace.share or os.environ.get("ORCHA_SHARE", "0") != "0":
        return (
            "serve --system listens on its Unix socket alone, where the kernel says who asks: leave out --port,"
            " --listen-address, --share and their variables"
        )
    return None


def load_managers(wanted: Iterable[str]) -> tuple[dict[str, Manager], dict[str, str]]:
    """Give the managers of these plugins, or of all that have one, by name; and why others cannot be served.

    Raises:
        ConfigurationError: a plugin that was named is not installed, or offers no manager; or none is left.

    """
    from orcha._cli import render
    from orcha.exceptions import ConfigurationError
    from orcha.plugins.discovery import installed

    names = list(dict.fromkeys(wanted))
    found = installed()
    plugins = {plugin.name: plugin for plugin in found if plugin.usable}
    broken = {_word(plugin): plugin.problem for plugin in found if not plugin.usable}
    unknown = [name for name in names if name not in {COMMANDS, *plugins, *broken}]
    if unknown:
        raise ConfigurationError(f"there is no plugin {unknown[0]}: orcha ls lists them")
    for name in [name for name in broken if not names or name in names]:
        render.note(f"{name} is not served: {broken[name]}")
    managers: dict[str, Manager] = {}
    if not names or COMMANDS in names:
        managers[COMMANDS] = _built_in()
    for name, plugin in plugins.items():
        if (names and name not in names) or name == COMMANDS:
            continue
        try:
            manager = _manager_of(plugin)
        except Exception as error:  # noqa: BLE001 - a plugin's code may raise anything: the others are served
            broken[name] = _line(error)
            render.note(f"{name} is not served: {broken[name]}")
            continue
        if manager is not None:
            managers[name] = manager
        elif names:
            raise ConfigurationError(
                f"{name} offers no manager: set `manager` in the class of its plugin, or leave it out"
            )
    if not managers:
        raise ConfigurationError("nothing is left to be served: orcha ls says what is wrong with each plugin")
    return managers, broken


def _word(plugin: Plugin) -> str:
    """Give the probable name of a plugin that cannot be imported."""
    return plugin.name or plugin.module.removeprefix("orcha_").replace("_", "-")


def _built_in() -> Manager:
    from orcha.lib.commands import CommandManager

    return CommandManager()


def _manager_of(plugin: Plugin) -> Manager | None:
    """Build the manager a plugin offers; None where it offers none."""
    from orcha import properties
    from orcha.lib.manager import Manager
    from orcha.plugins.discovery import load

    before = properties.plugin
    properties.plugin = plugin.name
    try:
        offered = load(plugin.module, plugin.attribute).manager
        if offered is None:
            return None
        made = offered()
    finally:
        properties.plugin = before
    if not isinstance(made, Manager):
        raise TypeError(f"its manager is no orcha.lib.Manager but {made!r:.80}")
    if made.is_client:
        raise TypeError("its manager is a client's")
    return made


def _add_to(variable: str, given: Iterable[str]) -> None:
    """Put settings into the environment, where the service and its children read them."""
    import os

    text = ",".join(given)
    if text:
        os.environ[variable] = ",".join(each for each in (os.environ.get(variable, ""), text) if each)


def _line(error: BaseException) -> str:
    from orcha.plugins.discovery import PluginError, describe

    return str(error) if isinstance(error, PluginError) else describe(error)
