"""The one place that names all parts of a service, and the order in which they start and stop.

One file, since that order can be judged only where it is seen whole.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orcha._configuration.configured import Configured
from orcha._output.log import MemoryLog, OutputLog
from orcha._output.raw import RawFiles
from orcha._processes import attempt_tracking
from orcha._processes.helpers import end_multiprocessing_children, ensure_helpers, helper_pids
from orcha._processes.hidden_processes import hidden, hides_processes
from orcha._processes.identity import boot_id
from orcha._processes.lock import EndpointLock
from orcha._processes.sweep import hidden_since, started_tasks, sweep
from orcha._processes.tag import all_of, attempts_of, new_nonce, ordinal_of, read_tag, tag_of, tag_self
from orcha._processes.watcher_process import Watcher
from orcha._protocol.endpoint import Endpoint, free_port, unusable
from orcha._server.activation import passed_listeners
from orcha._server.server import Server, ServerSettings, given_key
from orcha._service import faults
from orcha._service.doctor.last_words import add_last_words
from orcha._service.engine import Engine
from orcha._service.execution.attempt_port import STOPPED_OUTSIDE
from orcha._service.execution.outside_stop import OutsideStop
from orcha._service.hooks.managers import Managers, alone
from orcha._service.hooks.starting import is_marked
from orcha._service.lifecycle.certificate import service_tls
from orcha._service.lifecycle.host_shutdown import why_host_stops
from orcha._service.lifecycle.main_thread import MainThread
from orcha._service.lifecycle.preloading import preload
from orcha._service.lifecycle.process_limits import check_limits
from orcha._service.lifecycle.recovery import recover_all
from orcha._service.lifecycle.reloading import Reloading
from orcha._service.lifecycle.settings import Settings, checked_look_ahead, from_environment
from orcha._service.lifecycle.stopping import Shutdown
from orcha._service.lifecycle.systemd_status import StatusReports, status_text
from orcha._service.lifecycle.systemd_watchdog import Feeding, interval_of
from orcha._service.login_book import LoginBook
from orcha._service.reports.explanations import explain
from orcha._service.verbs.follow import recheck
from orcha._service.verbs.in_process import InProcessRequests
from orcha._store.last_start import refuse_moved
from orcha._store.memory import MemoryStore
from orcha._store.sqlite import SqliteStore
from orcha.exceptions import EndpointInUseError, OrchaError
from orcha.exceptions.store import StoreDamaged
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.utils.stop_signal import stop_signal
from orcha.utils.systemd import wish
from orcha.utils.threads import DeadThreadError, NoThreadError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Sequence

    from orcha._protocol.messages import Item, Result
    from orcha._service.lifecycle.reloading import ConfigurationSource
    from orcha._store.contract import Incarnation, Store
    from orcha._supervisor.command_executor import CommandExecutor
    from orcha._supervisor.contract import Event
    from orcha.interfaces.petition import Petition

PRELOADED = (
    "orcha.interfaces",
    "orcha._client.attempt_channel",
    "orcha._client.dial",
    "orcha._protocol.frames",
    "orcha._protocol.values",
)
"""Modules that a fork server imports once for all its children."""
SWITCH_INTERVAL_SECONDS = 0.0005
"""Seconds a computing thread keeps the interpreter while others wait: Python's 5 ms would be felt by every client."""


YOUNG_COLLECTION_OBJECTS = 100_000
"""Objects that are made, and not gone again, between two garbage collections."""
MIDDLE_COLLECTION_ROUNDS, FULL_COLLECTION_ROUNDS = 50, 100
"""The same for older generations, in collections of the next younger generation. An idle service collects all."""

RELOAD_LOOK_SECONDS = 1.0
"""Seconds after which the thread that waits for the end of a reload looks whether the service has stopped."""
LAST_LOOK_SECONDS = 1.0
"""Seconds that a look at the machine may take still when the service has stopped."""
LOG_CLOSE_SECONDS = 1.0
"""Seconds that the log may take for what is still to be written when the service has stopped."""


class ServiceFailedError(OrchaError):
    """The service stopped because of a failure; accepted petitions are kept, and go on at the next start."""

    exit_code = 75


class Service:
    """One manager's service: everything `Manager.start` starts."""

    def __init__(
        self,
        manager: Any,
        functions: dict[str, Callable[..., Any]],
        *,
        key: bytes | str | None,
        managers: Managers | None = None,
        endpoint: Endpoint | None = None,
        source: ConfigurationSource | None = None,
    ) -> None:
        """Resolve settings; nothing is started, opened or made.

        Args:
            manager: says where it listens, and how it treats hooks; whose hooks are called where it is the only one.
            functions: what clients may call by name.
            key: what clients have to prove.
            managers: the managers that are served, where there are several.
            endpoint: where it serves; None for the manager's address and port.
            source: where its configuration files are; None where it has none.

        """
        if endpoint is None:
            port = manager.port or free_port(manager.listen_address)
            endpoint = Endpoint(manager.listen_address, port)
        text = os.fsdecode(key) if isinstance(key, bytes) else key
        self.source = source
        """Where its configuration files are."""
        self.resolve: Callable[[Configured], Settings] = lambda configured: from_environment(
            endpoint,
            key=text,
            look_ahead=manager.look_ahead,
            on_hook_timeout=manager.on_hook_timeout,
            configured=configured,
        )
        """Gives the settings, where the files say this."""
        self.settings: Settings = self.resolve(Configured() if source is None else source.loaded.configured)
        self.port = endpoint.port or manager.port
        self._manager = manager
        self._managers = managers or Managers([alone(manager)])
        self._functions = functions
        self._stopping: Shutdown | None = None
        self.passed: list[socket.socket] = []
        """Listening sockets that systemd has handed over."""
        self.main_thread = MainThread()
        """Where callers wait for the end of the service."""
        self._unclosed: Exception | None = None
        """Why the service could not be stopped in good order."""
        self._parts: _Parts | None = None

    def start(self) -> None:
        """Lock, sweep, recover, bind: in this order, so that nobody is served before everything is in a known place.

        An error says what `orcha doctor` would say.
        """
        try:
            self._start()
        except EndpointInUseError:  # it says all; and this process may hold the lock for a service of its own
            raise
        except OrchaError as error:
            add_last_words(error, self.settings.endpoint, self.settings.key, has_served=False)
            raise

    def _start(self) -> None:
        check_limits()
        self.passed = passed_listeners(os.environ)  # before any process is started, which would get them
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_SECONDS))
        if self.settings.durable:
            refuse_moved(Path(self.settings.endpoint.folder))
        folder = self.settings.endpoint.folder
        try:
            lock = EndpointLock(Path(folder))
        except OSError as error:
            raise unusable(f"{error.filename or folder} cannot be used", error) from error
        preload()
        try:
            self._parts = _Parts(self, lock, self._managers, self._functions)
        except BaseException:
            lock.release()
            raise
        _tune_collector()
        self._stopping = Shutdown(self._parts.engine, self._stopped)
        self._parts.start()
        try:
            self._stopping.start(self._cannot_stop)
        except NoThreadError:
            self._parts.give_up()
            raise

    def _cannot_stop(self, death: DeadThreadError) -> None:
        """End without a stop: the thread that stops the service has died."""
        assert self._parts is not None
        self._unclosed = death
        self._parts.engine.reporter.stop(LOG_CLOSE_SECONDS)
        self.main_thread.end()

    def _stopped(self) -> None:
        """Stop all parts; a thread that waits for the end hears of it even if a part cannot be stopped well."""
        assert self._parts is not None
        try:
            self._parts.stop()
        except Exception as error:  # noqa: BLE001 - whatever it is, the service is over
            self._unclosed = error
        finally:
            self.main_thread.end()

    def stop(self, *, now: bool = False) -> None:
        """Stop in good order, and return when it has; the same from several threads."""
        assert self._stopping is not None
        if stop_signal.came is not None and self._engine.commands.keep and (why := why_host_stops(os.environ)):
            self._stopping.end_commands(why)
        self._stopping.stop("the service is stopping", now=now)
        self.main_thread.wait()

    def reload(self) -> None:
        """Have the configuration files read again; the log says what came of it. Returns when that is so."""
        reloading, over = self._engine.reloading, threading.Event()
        assert reloading is not None
        self._engine.post(reloading.ask, lambda _: over.set())
        while not over.wait(RELOAD_LOOK_SECONDS) and not self._engine.stopped.is_set():
            pass

    def join(self) -> None:
        """Wait until it has stopped; ServiceFailedError where it had to, with what `orcha doctor` would say."""
        try:
            self._join()
        except ServiceFailedError as error:
            if self._unclosed is None:  # else the lock may not be released yet
                add_last_words(error, self.settings.endpoint, self.settings.key, has_served=True)
            raise

    def _join(self) -> None:
        assert self._parts is not None
        engine = self._parts.engine
        self.main_thread.wait()
        if engine.failure is not None:
            raise ServiceFailedError(f"the service failed: {_what_failed(engine.failure)}")
        if engine.degraded is not None:
            raise ServiceFailedError(f"the service stopped: {engine.degraded}")
        if isinstance(self._unclosed, DeadThreadError):
            raise ServiceFailedError(f"the service failed: {self._unclosed}")
        if self._unclosed is not None:
            raise ServiceFailedError(f"the service stopped, but not in good order: {explain(self._unclosed)}")

    # --- what the manager asks ----------------------------------------------------------------------------------

    @property
    def _engine(self) -> Engine:
        assert self._parts is not None
        return self._parts.engine

    def granted(self, manager: str | None = None) -> Collection[str]:
        """Give the running petitions by str(id): all, or the petitions of the manager of this ``module:qualname``."""
        assert self._parts is not None
        engine = self._parts.engine
        if engine.hook_state.given_up:
            engine.hook_state.check()
        return engine.granted.keys if manager is None else engine.granted.of_manager(manager)

    def submit(self, items: Sequence[Item], plugin: str | None = None) -> list[Result] | None:
        """Take messages from the manager's own code; None in a hook, where nothing is waited for."""
        return InProcessRequests(self._engine, plugin).submit(items)

    def cancel(self, key: str, manager: str | None = None) -> bool:
        """Cancel for the manager's own code; False where nothing of this str(id) waits or runs."""
        return InProcessRequests(self._engine).cancel(key, manager)

    def is_in_hook(self) -> bool:
        """Tell whether the caller is a hook."""
        return self._engine.visits.hooks.is_hook_thread()

    def wake(self) -> None:
        """Have blocked conditions asked again."""
        self._engine.hook_state.check()
        self._engine.post(self._engine.visits.wake)

    def look_ahead(self, count: int | None) -> None:
        """Consider only the first `count` of the waiting.

        Raises:
            TypeError, ValueError: it is neither None nor a whole number of at least 1.

        """
        checked_look_ahead(count)
        self._engine.post(self._engine.visits.set_look_ahead, count)

    def has_started(self, petition: Petition) -> bool:
        """Tell whether a petition has been started by this service."""
        return is_marked(petition)

    @property
    def is_starting(self) -> bool:
        """Whether petitions are started."""
        return not self._engine.paused

    @is_starting.setter
    def is_starting(self, value: bool) -> None:
        self._engine.post(self._engine.pause, not value)


class _Parts:
    """The parts of a running service."""

    def __init__(
        self, service: Service, lock: EndpointLock, managers: Managers, functions: dict[str, Callable[..., Any]]
    ) -> None:
        """Open, sweep and recover; afterwards nobody is served yet."""
        settings = service.settings
        folder = Path(settings.endpoint.folder)
        self._lock = lock
        key = given_key(settings.endpoint, settings.key)  # before the store: who finds a state may look for its key
        self._tls = service_tls(settings, lambda line: sys.stderr.write(f"orcha: {line}\n"))
        self._nonce = nonce = new_nonce()
        tag_self(tag_of(nonce, 0))
        ensure_helpers((*PRELOADED, *(name.partition(":")[0] for name in managers.names)))
        self.store: Store = _open_store(folder) if settings.durable else MemoryStore()
        self.log: OutputLog | MemoryLog = OutputLog(folder / "output") if settings.durable else MemoryLog()
        if not settings.durable:
            sys.stderr.write("orcha: nothing is kept: petitions end with this process\n")
        if (hides := hidden()) is not None:
            sys.stderr.write(f"orcha: {hides}\n")
        incarnation = self._begin(nonce)
        _, name, manager = managers.served[0]
        self.engine = Engine(manager, name, self.store, self.log, incarnation, settings, managers=managers)
        self.engine.hooks.functions.update(functions)
        self.engine.reloading = Reloading(self.engine, service.source, service.resolve)
        if service.source is not None:
            self.engine.reloading.check(service.source.loaded)
        for old, left in self._left:
            self.engine.left_by_actions.found(old, left)
        raw = RawFiles(folder / "output")
        self.engine.shims.connect(self._commands)
        self.engine.commands_output.keep_in(raw)
        self.engine.standard_input.keep_in(raw)
        self.engine.shims.rebooted = self._rebooted
        raw.recover(lambda channel: self.store.channel(channel) is not None)
        self.log.recover(lambda channel: self.store.channel(channel) is not None)
        recover_all(self.engine)
        self._watcher = Watcher(nonce, self.engine.end_with)
        outside = OutsideStop(self._watcher, service.main_thread.run_handlers, stop_signal)
        self.engine.port.is_stopped_outside = outside.explains
        self.engine.port.stop_starting = lambda: self.engine.drain(STOPPED_OUTSIDE)
        self.server = Server(
            ServerSettings(
                settings.endpoint,
                key=key,
                allow_weak_key=settings.allow_weak_key,
                reached_as=settings.reached_as,
                tls=self._tls,
                share=settings.share,
                passed=service.passed,
                roles=settings.roles,
                named_keys=self.engine.keys.records,
                salts=self.engine.keys.salts,
                on_login=LoginBook(partial(self.engine.post, self.engine.audit.logged_in)).note,
                on_key=lambda name: self.engine.post(self.engine.keys.note_use, name),
                capability=self.engine.ending.capability_of,
                report=self._report,
                on_death=self.engine.end_with,
            ),
            self.engine.receive,
            self.engine.peer_closed,
        )
        self.engine.outbox.send_by(self.server.send)
        self.engine.keys.let_in = self.server.use_keys
        self.engine.reloading.use_roles = lambda roles: self.server.use_roles(
            roles, lambda: self.engine.post(recheck, self.engine)
        )
        self.engine.reloading.shows = self._tls
        self.engine.reloading.use_tls = self.server.use_tls
        attempt_tracking.install(
            attempt_tracking.ServiceState(
                self.engine.ending.population,
                descriptors=self._descriptors,
                forget=(
                    self.store.forget_in_child,
                    self.log.forget_in_child,
                    raw.close,
                    self.engine.ending.forget_secret,
                ),
                on_child=self._watcher.need,
            )
        )

    def _begin(self, nonce: int) -> Incarnation:
        """Record this start, and kill the processes of earlier starts, which are still recorded."""
        boot = boot_id()
        faults.reach("begin.before-commit")
        own = {"nonce": nonce, "pid": os.getpid(), "tasks": started_tasks()}
        incarnation, earlier = self.store.begin(boot_id=boot, uid=os.getuid(), now=time.time(), **own)
        faults.reach("begin.after-commit")
        self._rebooted = any(old.boot_id != boot for old in earlier)
        left = {old: _sweep_left(old) for old in earlier if old.boot_id == boot}
        self._left = [(old.nonce, pids) for old, pids in left.items()]
        """Processes of each attempt of earlier starts, by its ordinal, that cannot be killed."""
        faults.reach("begin.after-sweep")
        self.store.forget_incarnations(old.epoch for old in earlier if not left.get(old))
        faults.reach("begin.after-forget")
        return incarnation

    def _commands(self, on_events: Callable[[list[Event]], None]) -> CommandExecutor:
        """Make the way to commands; a service that neither offers nor has commands does without."""
        from orcha._supervisor.shim_executor import ShimExecutor

        settings = self.engine.settings
        return ShimExecutor(
            Path(settings.endpoint.folder),
            epoch=self.engine.incarnation.epoch,
            on_events=on_events,
            report=self.engine.report,
            on_death=self.engine.end_with,
            silence=settings.shim_silence,
        )

    def _report(self, what: object, error: BaseException | None) -> None:
        self.engine.report(logging.ERROR if error is not None else logging.WARNING, "%s", what, error=error)

    def _descriptors(self) -> list[int]:
        return [self._lock.descriptor, *self.server.filenos(), *self.engine.shims.descriptors()]

    def start(self) -> None:
        """Serve."""
        self.engine.retention.start()
        try:
            self.server.start()
            interval = interval_of(os.environ)
            if interval is not None:
                goes_on = self.engine.visits.go_on
                Feeding(self.engine.timers, self.server.call_soon, interval, hooks_go_on=goes_on).start()
            if wish.tells and os.environ.get("NOTIFY_SOCKET"):
                StatusReports(self.engine.timers, self._status).look()
            self.engine.start()
            assert self.engine.reloading is not None
            self.engine.post(self.engine.reloading.look_at_names)
            if COMMAND_MANAGER in self.engine.managers.names:
                with contextlib.suppress(OSError):  # it is told with the first command
                    self.engine.shims.reach().prepare()
        except BaseException:
            self.give_up()
            raise

    def _status(self) -> str:
        """Say how many petitions wait and run, for systemd."""
        engine = self.engine
        drained, stops = engine.drains.drained is not None, engine.draining is not None
        held_back = "stopping" if stops else "drained" if drained else "paused" if engine.paused else ""
        queued = len(engine.petitions.waiting) + engine.petitions.waiting.parked
        return status_text(queued, len(engine.granted.keys), held_back=held_back)

    def give_up(self) -> None:
        """Stop the parts that have been started, since another part could not be started."""
        self.engine.halt()
        self.engine.mailbox.join()
        self.server.stop(0.0)
        self._close()

    def stop(self) -> None:
        """Stop all parts; the engine has stopped."""
        faults.reach("stop.before-close")
        self.server.stop(2.0)
        self._close()
        faults.reach("stop.after-close")

    def _close(self) -> None:
        self.engine.ending.stop()
        self.engine.sampling.stop(LAST_LOOK_SECONDS)
        self.engine.gpu_watch.stop(LAST_LOOK_SECONDS)
        self.engine.left_by_actions.stop()
        self.engine.actions.stop()
        self.engine.commands.close(failed=self.engine.failure is not None)
        self.engine.commands_output.close()
        attempt_tracking.uninstall()
        end_multiprocessing_children()
        sweep(attempts_of(self._nonce), spare=helper_pids(), since=os.getpid())
        self._watcher.stop()
        try:
            self.store.close()
        finally:
            self.log.close()
            self._lock.release()
            self.engine.reporter.stop(LOG_CLOSE_SECONDS)


def _open_store(folder: Path) -> Store:
    """Open the store; an error says what is in the folder and what can be done."""
    try:
        return SqliteStore(folder)
    except StoreDamaged as error:
        raise StoreDamaged(
            f"{error}. Nothing was changed. Put a copy of orcha.db back; or, to begin anew with nothing waiting, keep a"
            f" copy of {folder} (output/ and shims/ belong to it) and move orcha.db* out of it. For both remove"
            f" {folder}.last-start, which tells what was lost from what never was"
        ) from error


def _sweep_left(old: Incarnation) -> dict[int, tuple[int, ...]]:
    """Kill the processes that an earlier start left; give the survivors by the ordinals of their tags."""
    since = hidden_since(old.pid, old.tasks) if hides_processes() else 0
    left = sweep(all_of(old.nonce), spare=helper_pids(), since=since or 0).survivors
    if left:
        pids = ", ".join(map(str, left))
        sys.stderr.write(f"orcha: an earlier start left processes that cannot be killed: {pids}\n")
    living: dict[int, tuple[int, ...]] = {}
    for pid in left:
        tag = read_tag(pid)
        if tag in all_of(old.nonce):
            living[ordinal_of(tag)] = (*living.get(ordinal_of(tag), ()), pid)
    if since is None:
        sys.stderr.write(
            "orcha: processes of an earlier start may live on unseen: /proc hides them, and too many others have been"
            " started since to look for them by number\n"
        )
    return living


def _what_failed(failure: BaseException) -> str:
    """Name the thread that died; the engine's thread where its failure is no error of Orcha's own."""
    if not isinstance(failure, OrchaError):
        failure = DeadThreadError("orcha-engine", failure)
    return str(failure) if isinstance(failure, DeadThreadError) else explain(failure)


def _tune_collector() -> None:
    """Keep the service's own objects out of garbage collections, and collect less often: a collection looks at all."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_COLLECTION_OBJECTS, MIDDLE_COLLECTION_ROUNDS, FULL_COLLECTION_ROUNDS)
