"""Several managers served on one endpoint: the built-in manager, and the managers that plugins offer."""

from __future__ import annotations

from typing import Literal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from orcha._service.lifecycle.compose import Service
    from orcha._service.lifecycle.reloading import ConfigurationSource
    from orcha._service.lifecycle.shared_service import Share
    from orcha.lib.manager import Manager


class Several:
    """Serves managers, each by the name that messages for it carry; :func:`orcha.interfaces.start_service` takes it.

    Where neither an option nor the environment names an address or a port, it is the user's default service: it has its
    Unix socket alone.

    Their hooks and conditions are called one at a time, from one thread, as for a single manager. Petitions
    wait in one queue, and an id belongs to one petition at a time, of whichever user.

    Args:
        managers: the managers by the name of their plugin; at least one.
        broken: why other plugins are not served, by name; told to clients that ask for these plugins.
        source: the service's own, of :func:`orcha._cli.serve`: where its configuration files are.

    Example::

        start_service(ServiceWrapper(Several({"commands": CommandManager(), "hello": HelloManager()})))

    """

    plugin_name: str | None = None

    def __init__(
        self,
        managers: Mapping[str, Manager],
        broken: Mapping[str, str] | None = None,
        source: ConfigurationSource | None = None,
        *,
        system: bool = False,
    ) -> None:
        """Take them; nothing is started. With `system` they are the machine's service."""
        from orcha._protocol.endpoint import service_place, system_place
        from orcha.utils.place import place_of

        self._managers = dict(managers)
        self._broken = dict(broken or {})
        self._source = source
        self.listen_address, self.port, named = place_of()
        listen = None if source is None else source.loaded.listen
        own = service_place(self.listen_address, self.port, named=named, listen=listen)
        self.endpoint = system_place() if system else own
        """Where it serves."""
        self._service: Service | None = None

    @property
    def place(self) -> str:
        """Where it serves, for people."""
        return self.endpoint.name

    @property
    def title(self) -> str:
        """What is served, for people."""
        return ", ".join(self._managers)

    @property
    def look_ahead(self) -> int | None:
        """How many of the first waiting petitions are asked: as many as one of the managers wants, None for all."""
        wanted = [manager.look_ahead for manager in self._managers.values()]
        known = [count for count in wanted if count is not None]
        return max(known) if len(known) == len(wanted) else None

    @property
    def on_hook_timeout(self) -> Literal["replace", "stop"]:
        """Call no further hook until a hook that hangs has returned, where one of the managers wants that."""
        stops = any(manager.on_hook_timeout == "stop" for manager in self._managers.values())
        return "stop" if stops else "replace"

    def check(self) -> None:
        """Raise StoreBroken where the state was moved away, as a start does before it makes anything in its place."""
        from pathlib import Path

        from orcha._service.lifecycle.settings import is_durable
        from orcha._store.last_start import refuse_moved

        if is_durable(None if self._source is None else self._source.loaded.configured):
            refuse_moved(Path(self.endpoint.folder))

    def start(self) -> None:
        """Start serving all, and return.

        Raises:
            OrchaError: the endpoint is taken, cannot be listened on, or what is kept cannot be read.

        """
        from orcha import properties
        from orcha._service.hooks.managers import Managers, Served, name_of
        from orcha._service.lifecycle.compose import Service
        from orcha._service.lifecycle.shared_service import Share
        from orcha.interfaces.built_in import LEASES, WATCHDOG
        from orcha.lib.leases import LeaseManager
        from orcha.lib.watchdog import WatchdogManager

        served = [Served(name, name_of(manager), manager) for name, manager in self._managers.items()]
        watchdog = WatchdogManager(notify_watchdog=True)
        leases = LeaseManager()
        beside = [Served(LEASES, name_of(leases), leases), Served(WATCHDOG, name_of(watchdog), watchdog)]
        managers = Managers([*served, *beside])
        managers.broken = self._broken
        service = Service(
            self,
            self._functions(),
            key=properties.authkey,
            managers=managers,
            endpoint=self.endpoint,
            source=self._source,
        )
        for each in managers.served:
            _join(each.manager, Share(service, each))
        self._service = service
        self.port = service.port
        try:
            service.start()
        except BaseException:
            self._service = None
            for each in managers.served:
                _join(each.manager, None)
            raise

    def _functions(self) -> dict[str, Callable[..., Any]]:
        """Give what clients may call: by plugin and name, and by the name alone where only one has it."""
        functions: dict[str, Callable[..., Any]] = {}
        owners: dict[str, list[str]] = {}
        for plugin, manager in self._managers.items():
            manager.setup()
            _ = manager.processor  # so that ``Processor()`` gives it
            for name, function in manager._functions.items():  # noqa: SLF001 - its other half
                functions[f"{plugin}:{name}"] = function
                owners.setdefault(name, []).append(plugin)
        return functions | {name: functions[f"{those[0]}:{name}"] for name, those in owners.items() if len(those) == 1}

    def join(self) -> None:
        """Wait until the service has stopped.

        Raises:
            OrchaError: it stopped because of a failure.

        """
        if self._service is not None:
            self._service.join()

    @property
    def reloads(self) -> bool:
        """Whether there are configuration files that can be read again."""
        return self._source is not None

    def reload(self) -> None:
        """Have the configuration files read again; the log says what came of it."""
        if self._service is not None:
            self._service.reload()

    def shutdown(self, *, now: bool = False) -> None:
        """Stop the service in good order; with `now` what runs gets no time to come to its end."""
        if self._service is not None:
            self._service.stop(now=now)


def _join(manager: Manager, share: Share | None) -> None:
    """Let a manager be part of a service, or of none."""
    manager._service = share  # noqa: SLF001 - its other half
    if share is not None:
        manager.port = share.port


__all__ = ["Several"]
