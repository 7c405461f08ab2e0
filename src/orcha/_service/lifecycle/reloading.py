"""Reading the configuration again while a service runs: what can be changed is changed, and petitions stay as they are.

Where a file is wrong the settings before stay in force, and the service says so until the file is mended.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._configuration.configured import GROUPS
from orcha._configuration.files import NOTHING, BadConfigurationError, Loaded
from orcha._configuration.known import KNOWN
from orcha._configuration.named_accounts import notes_on_accounts
from orcha._configuration.reading import Fault, dotted
from orcha._core.conditions.errors import ConditionTextError
from orcha._core.weights import NO_WEIGHTS
from orcha._service.lifecycle.certificate import service_tls
from orcha._service.searches import Searches
from orcha.exceptions import OrchaError
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.utils.amounts import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orcha._configuration.configured import Configured
    from orcha._configuration.reading import Given
    from orcha._protocol.tls import ServerTls
    from orcha._service.engine import Engine
    from orcha._service.lifecycle.settings import Settings
    from orcha.interfaces.roles import RoleBook

_CHANGED = tuple(each.attribute for each in KNOWN if each.at_run_time and each.attribute)
"""Attributes of `Settings` that change while the service runs."""
_FROM_FILES = ("roles", "visibility", "resources", "from_files", "configured", "new_group_slots", "takes_new_groups")
_NO_FILES = "this service reads no configuration file: orcha serve does, and a plugin's own service does not"


class ConfigurationSource(NamedTuple):
    """Where the configuration of a service comes from."""

    load: Callable[[], Loaded]
    """Reads the files."""
    loaded: Loaded
    """What they said when the service was built."""
    options: Mapping[str, str]
    """The settings that options say, by their keys, with the options."""


class ReloadReport(NamedTuple):
    """What became of reading the configuration again."""

    files: tuple[str, ...]
    """The files that were read."""
    fault: str | None = None
    """Why nothing was changed; None where the files were right."""
    changed: tuple[str, ...] = ()
    """The settings that hold from now on and did not before."""
    restart: tuple[str, ...] = ()
    """The settings that wait for the next start of the service."""
    overridden: tuple[str, ...] = ()
    """The settings of the files that something else counts more than, and what that is."""
    notes: tuple[str, ...] = ()
    """The settings that hold, and are probably not what was meant."""


class Reloading:
    """Reads the configuration again; the engine thread's, but for the reading."""

    def __init__(
        self, engine: Engine, source: ConfigurationSource | None, resolve: Callable[[Configured], Settings]
    ) -> None:
        """Know what the service was started with.

        Args:
            engine: whose settings change.
            source: where the files are; None where the service has none.
            resolve: gives all settings, where the files say this.

        """
        self._engine = engine
        self._source = source
        self._resolve = resolve
        self._begun_with = source.loaded if source is not None else NOTHING
        self.loaded = self._begun_with
        """What is in force."""
        self.read_at = time.time()
        """When that was read, by the clock on the wall."""
        self.fault: str | None = None
        """What is wrong with the files as they were read last; None where they are in force."""
        self.restart: tuple[str, ...] = ()
        self.use_roles: Callable[[RoleBook], None] = lambda _: None
        """Has other roles hold, also for clients that are connected."""
        self.shows: ServerTls | None = None
        """The certificate of the port; None where there is no port."""
        self._searches = Searches(engine.post, engine.end_with)
        """Reads the files, and looks up users and groups in them, apart from searches, which do not wait for that."""
        self.use_tls: Callable[[ServerTls], None] = lambda _: None
        """Shows another certificate to the clients that come from now on."""

    def check(self, loaded: Loaded) -> None:
        """Raise BadConfigurationError where a condition names what neither the service nor a plugin knows."""
        faults = []
        for keys, given in loaded.configured.given.items():
            if keys[0] == GROUPS and keys[-1] == "when" and len(keys) > 2:
                try:
                    self._engine.admission.conditions.read(given.value)
                except ConditionTextError as error:
                    what = f"{dotted(keys)} cannot be read: {error.what} (column {error.column} of the condition)"
                    faults.append(Fault(given.file, *given.place, what))
        if faults:
            raise BadConfigurationError(tuple(faults))

    def look_at_names(self) -> None:
        """Have the log say which quotas and weights are nobody's; nothing waits for the directory of users."""
        configured = self.loaded.configured
        if configured.quotas.are_any or configured.weights != NO_WEIGHTS:
            self._searches.begin(partial(notes_on_accounts, configured), self._note)

    def _note(self, found: Any) -> None:
        for note in () if isinstance(found, Exception) else found:
            self._warn(str(note))

    def ask(self, then: Callable[[ReloadReport], None]) -> None:
        """Read the files on another thread, and have them hold; `then` is told on the engine's thread."""
        if self._source is None:
            then(ReloadReport((), _NO_FILES))
        else:
            self._searches.begin(partial(self._read, self._source), partial(self._take, then))

    def _read(self, source: ConfigurationSource) -> tuple[Loaded, Settings, ServerTls | None, tuple[Fault, ...]]:
        loaded = source.load().sound()
        settings = self._resolve(loaded.configured)
        return loaded, settings, service_tls(settings, self._warn), notes_on_accounts(loaded.configured)

    def _warn(self, line: str) -> None:
        self._engine.report(logging.WARNING, "%s", line)

    def _take(self, then: Callable[[ReloadReport], None], found: Any) -> None:
        if not isinstance(found, Exception):
            try:
                self.check(found[0])
            except BadConfigurationError as error:
                found = error
        then(self._refuse(found) if isinstance(found, Exception) else self._change(*found))

    def _refuse(self, error: Exception) -> ReloadReport:
        """Keep what is in force, and say why."""
        self.fault = str(error) if isinstance(error, OrchaError) else f"{type(error).__name__}: {error}"
        self._engine.report(logging.ERROR, "the configuration stays as it was: %s", self.fault)
        return ReloadReport((), self.fault)

    def _change(self, loaded: Loaded, found: Settings, tls: ServerTls | None, notes: tuple[Fault, ...]) -> ReloadReport:
        """Have the files hold, as far as that can be while the service runs."""
        engine, before = self._engine, self.loaded
        self.loaded, self.fault, self.read_at = loaded, None, time.time()
        settings = replace(engine.settings, **{name: getattr(found, name) for name in (*_CHANGED, *_FROM_FILES)})
        set_otherwise = self._apply(settings)
        overridden = {each.key: why for each in KNOWN if (why := self._counts_more(each.key, each.variable))}
        differs = [keys for keys in _differing(before, loaded) if dotted(keys) not in overridden]
        at_start = {each.key for each in KNOWN if not each.at_run_time}
        waits = [keys for keys in _differing(self._begun_with, loaded) if dotted(keys) in at_start]
        self.restart = tuple(dotted(keys) for keys in waits if dotted(keys) not in overridden)
        changed = tuple(
            f"{dotted(keys)} ({loaded.configured.origin(*keys) or 'no file has it any more'})"
            for keys in differs
            if dotted(keys) not in at_start
        )
        changed = (*changed, *self._show(settings, tls))
        stands = [f"{key} ({why})" for key, why in overridden.items() if loaded.configured.origin(*key.split("."))]
        for line in changed:
            engine.report(logging.INFO, "the configuration changed: %s", line)
        self._note(notes)
        return ReloadReport(
            loaded.files, None, changed, self.restart, (*stands, *set_otherwise), tuple(map(str, notes))
        )

    def _show(self, settings: Settings, tls: ServerTls | None) -> Iterator[str]:
        """Show another certificate, or take those of another authority, where there is one, and say so."""
        before = self.shows
        if tls is None or before is None:
            return
        self.shows = tls
        self.use_tls(tls)
        if tls.certificate_hash != before.certificate_hash:
            path = settings.tls_certificate
            which = "a certificate of its own" if path is None else f"the certificate {path}"
            yield f"{which} ({tls.fingerprint})"
        if tls.client_ca != before.client_ca:
            path = settings.tls_client_ca or "(none)"
            yield f"the authority of clients {path}: who came in by a certificate comes again"

    def _counts_more(self, key: str, variable: str | None) -> str | None:
        """Give the option or the variable that counts more than the files."""
        assert self._source is not None
        return self._source.options.get(key) or (variable if variable is not None and variable in os.environ else None)

    def _apply(self, settings: Settings) -> tuple[str, ...]:
        """Have other settings hold; give what people have set otherwise."""
        engine = self._engine
        engine.use(settings)
        manager = engine.managers.by_name.get(COMMAND_MANAGER)
        if manager is not None:
            manager.use(settings.configured)
            engine.petitions.slots = engine.managers.slots
        groups, resources = engine.admitting.configure(settings), engine.stocktaking.configure(settings)
        self.use_roles(settings.roles)
        engine.user_quotas.configure(settings)
        engine.user_weights.configure(settings)
        engine.visits.wake()
        return (
            *(
                f"{dotted(('groups', each))} (orcha group set; orcha group unset {quoted(each)} ends that)"
                for each in groups
            ),
            *(
                f"{dotted(('resources', each))} (orcha resource set; orcha resource unset {quoted(each)} ends that)"
                for each in resources
            ),
        )

    def described(self) -> dict[str, Any]:
        """Give what `docs/wire.md` says of the configuration in Stats."""
        return {
            "files": list(self.loaded.files),
            "read": self.read_at,
            "fault": self.fault,
            "restart": list(self.restart),
        }

    def line(self) -> str | None:
        """Give a line for people where the files are not in force; else None."""
        return (
            None
            if self.fault is None
            else f"the configuration is as it was before, since a file is wrong: {self.fault}"
        )


def _differing(before: Loaded, now: Loaded) -> list[tuple[str, ...]]:
    """Give the keys of settings that differ."""
    had, has = before.configured.given, now.configured.given

    def value(given: Mapping[tuple[str, ...], Given], keys: tuple[str, ...]) -> tuple[bool, Any]:
        return keys in given, given[keys].value if keys in given else None

    return [keys for keys in {**had, **has} if value(had, keys) != value(has, keys)]


__all__ = ["ConfigurationSource", "ReloadReport", "Reloading"]
