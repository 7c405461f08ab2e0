"""A plugin's policy: what becomes of a message, and what happens around it."""

from __future__ import annotations

import abc
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import Any, Literal, TypeVar

    from orcha._core.conditions.terms import Term
    from orcha._service.lifecycle.compose import Service
    from orcha._service.lifecycle.shared_service import Share
    from orcha.interfaces.message import Message
    from orcha.interfaces.petition import Petition
    from orcha.lib.in_process import InProcessClient
    from orcha.lib.processor import Processor
    from orcha.lib.remote import Remote

    C = TypeVar("C", bound=type[object])

_SERVER_NAMES = ("finish", "send")
"""Functions of every service; methods of these names do the same with more care."""
_RESERVED_ID = "watchdog"


class Manager(abc.ABC):
    """The policy of a plugin: override the three hooks, and hand it to :func:`orcha.interfaces.start_service`.

    The service calls the hooks and the conditions one at a time, from one thread, so that they need no locks. (Except
    a call that outlives its deadline: see ``docs/guarantees.md``.)

    Args:
        listen_address: address to listen on, or to connect to; default ``orcha.properties.listen_address``, and where
            that says nothing, the environment's ORCHA_LISTEN_ADDRESS.
        port: TCP port; default ``orcha.properties.port``, and where that says nothing, ORCHA_PORT.
        auth_key: the key both sides share, bytes or str; default ``orcha.properties.authkey``, and where that is None
            too, the key file of the user.
        create_processor: kept for plugins that pass it; a service always has one.
        queue: kept for plugins that pass it; messages do not go through a queue of the caller's.
        finish_queue: kept like `queue`.
        is_client: True for a client, whose hooks are never called.
        look_ahead: how many of the first waiting petitions are asked whether they may start; None for all.
        notify_watchdog: whether a watchdog petition tells systemd that the service is alive.

    A manager may have one more method, ``authorize(identity, verb, petition)``. It is asked before a petition of the
    manager is accepted (``submit``), and before a client who is no admin changes it (``cancel``, ``set``, ``priority``,
    ``pause``, ``resume``, ``rm``, ``retry``, ``signal``). A false value denies what the roles of the service allow; no
    value allows what they deny. `identity` is ``uid:<number>`` or ``key:<name>``; `petition` is None where it has
    ended, or was not made again since the service started. A call that raises, or outlives its deadline, denies.

    Example::

        class Printer(Manager):
            def convert_to_petition(self, m):
                return Petition(m.id, m.extras["queue"], self.print, self.is_free)

            def on_start(self, petition): ...
            def on_finish(self, petition): ...

    """

    on_hook_timeout: Literal["replace", "stop"] = "replace"
    """When a hook does not return: go on with a fresh thread, or call no further hook until it has returned."""

    plugin_name: str | None = None
    """The plugin whose messages these are, for a service of several managers; where a class says nothing, that of the
    plugin whose command runs."""

    def __init__(  # noqa: PLR0913, PLR0917 - a signature plugins know
        self,
        listen_address: str | None = None,
        port: int | None = None,
        auth_key: bytes | str | None = None,
        create_processor: bool = True,
        queue: Any = None,
        finish_queue: Any = None,
        is_client: bool = False,
        look_ahead: int | None = None,
        notify_watchdog: bool = False,
    ) -> None:
        """Resolve what is not given; no thread, socket, file or lock is made before `start` or `connect`."""
        from orcha import properties

        del create_processor, queue, finish_queue
        from orcha.utils.place import place_of, service_of

        self.listen_address: str
        self.port: int
        self._named_service = service_of(listen_address, port)
        self.listen_address, self.port, self._named = place_of(listen_address, port)
        self._key = properties.authkey if auth_key is None else auth_key
        if self.plugin_name is None:
            self.plugin_name = properties.plugin
        self.is_client = is_client
        self.look_ahead = look_ahead
        self.notify_watchdog = notify_watchdog
        self._functions: dict[str, Callable[..., Any]] = {}
        self._named_values: dict[str, tuple[Term, Callable[..., Any]]] = {}
        self._service: Service | Share | None = None
        self._remote: Remote | None = None
        self._processor: Processor | None = None

    # --- hooks --------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make a petition of a message, or None for a message that is not valid.

        It may be called more than once for one message: again after a restart of the service.
        """
        return None

    @abc.abstractmethod
    def on_start(self, petition: Petition) -> bool | None:
        """Do what is to be done before a petition's action; False, or raising, breaks the petition instead."""
        return True

    @abc.abstractmethod
    def on_finish(self, petition: Petition) -> bool | None:
        """Do what is to be done after a petition that was started, however it ended; called once for each on_start."""
        return self._service is not None and self._service.has_started(petition)

    # --- both sides ---------------------------------------------------------------------------------------------

    @property
    def manager(self) -> Remote:
        """What makes channels: ``manager.manager.Queue()``. It works before `connect` too."""
        return self._reach()

    def setup(self) -> None:
        """Register what clients may call; called once, at `start` or `connect`. Override it and call it by super()."""
        for name in _SERVER_NAMES:
            self._functions.setdefault(name, getattr(self, name))

    def register(self, name: str, func: Callable[..., Any] | None = None, **_: Any) -> None:
        """Give a function a name by which clients call it.

        The service registers name and function, a client the name alone; then ``client.name(*args)`` calls it on the
        service's hook thread and returns what it returned, or raises what it raised (as a RuntimeError with its text,
        unless it is a built-in exception).

        Raises:
            ValueError: on a client, when the name would hide an attribute of the manager.

        """
        if func is not None:
            self._functions[name] = func
        if not self.is_client or name in _SERVER_NAMES:
            return
        if hasattr(self, name):
            message = f"cannot register {name!r}: it would hide an attribute of {type(self).__name__}"
            raise ValueError(message)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._reach().call(name, args, kwargs)

        call.__name__ = name
        setattr(self, name, call)

    def register_value(
        self,
        name: str,
        func: Callable[..., Any],
        *,
        kind: Literal["number", "size", "duration", "text", "truth"] = "number",
        sentence: str,
        example: str,
    ) -> None:
        """Add a name to what conditions in text may hold; call it before the service starts, as in `setup`.

        The function is called once a second while a petition waits that names it, on a thread of its own. It may take
        texts and numbers, which stand between the brackets of the name, before its first dot. Where it raises, or does
        not return, the value is not known, and what names it does not start.

        Args:
            name: how it is written in a condition.
            func: gives the value.
            kind: what it gives; a size is a number of bytes, a duration one of seconds.
            sentence: what it is, for people.
            example: a condition that names it.

        Raises:
            TypeError: the function takes something that a condition cannot give.
            ValueError: the name cannot be one, there is one already, or the example is no condition.

        Example::

            self.register_value("rig.heat", read_heat, sentence="How warm a rig is.", example='rig("a").heat < 60')

        """
        from orcha.lib.named_values import term

        self._named_values[name] = (term(name, func, kind, sentence, example), func)

    @staticmethod
    def wire_type(kind: C) -> C:
        """Let instances of a dataclass or an enum arrive as such in `extras` and on channels; works as a decorator.

        Both sides register the same class; where it is not registered a dataclass's instance arrives as a dict and an
        enum's member as its value. Nothing is imported because of what arrives.

        Raises:
            TypeError: it is neither a dataclass nor an enum.

        Example::

            @Manager.wire_type
            @dataclass
            class Board:
                serial: str

        """
        from orcha._protocol.wire_types import register

        return register(kind)

    def send(self, message: Message, *, secrets: Mapping[str, bytes] | None = None) -> None:
        """Submit a message, and return when it is accepted: from then on no crash loses it.

        A refusal goes, as a line and a code, to the channel the message holds. In a hook of the service itself it
        returns at once, since nothing is converted before the hook has returned; a refusal is then logged.

        Args:
            message: what is asked for.
            secrets: secrets by name, for the command that the message asks for, which names the same secrets
                (`CommandPetition.secrets`). They are never stored; a service that has ended has forgotten them.

        Raises:
            RejectedError: it was refused, and holds no channel.
            ManagerShutdownError: the service is stopping.
            OrchaConnectionError, AuthenticationError: there is no service, or it does not take the key.
            TypeError: the id is neither an int nor a str, or the extras hold something that cannot be sent; the error
                names where.
            ValueError: the id is too long, no valid text, or reserved; or there can be no such secrets.

        """
        self._check_ids([message])
        self._way().send(message, secrets)

    def send_many(self, messages: Iterable[Message]) -> None:
        """Submit messages over one connection, in order, without waiting for each; return when all are answered.

        Raises:
            RejectedError: some were refused; it holds which were accepted and which not.
            ManagerShutdownError, OrchaConnectionError, AuthenticationError, TypeError, ValueError: as `send`.

        """
        batch = list(messages)
        self._check_ids(batch)
        self._way().send_many(batch)

    def finish(self, message: Message | int | str) -> bool:
        """Cancel a petition by its message or id, whatever it is doing.

        From a client it returns when nothing of the petition runs any more, in the service itself at once.

        Returns:
            True when it is decided that it ends (or had ended); False when there is no such petition.

        Raises:
            TypeError: `message` is neither a Message nor an id.

        """
        return self._way().finish(message)

    @staticmethod
    def _check_ids(messages: list[Message]) -> None:
        from orcha.interfaces.message import check_id

        for message in messages:
            if check_id(message.id) == _RESERVED_ID:
                error = f"the id {_RESERVED_ID!r} is reserved: choose another, or use send_watchdog()"
                raise ValueError(error)

    def _way(self) -> Remote | InProcessClient:
        """Give what messages go through: the connection, or in the service itself the engine."""
        if self._service is None:
            return self._reach()
        from orcha.lib.in_process import InProcessClient

        return InProcessClient(self._service, self._reach)

    def _reach(self) -> Remote:
        if self._remote is None:
            from orcha._protocol.services import place_of_client
            from orcha.lib.remote import Remote

            endpoint = place_of_client(self.listen_address, self.port, named=self._named, service=self._named_service)
            self._remote = Remote(endpoint, self._key, self.plugin_name)
        return self._remote

    # --- client -------------------------------------------------------------------------------------------------

    def connect(self) -> bool:
        """Connect to the service.

        Returns:
            False when the service does not take the key; then whatever is sent raises AuthenticationError.

        Raises:
            OrchaConnectionError: nobody listens there.

        """
        self.setup()
        return self._reach().connect()

    # --- service ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start serving, and return: threads, sockets and files are made here, never before."""
        if self.is_client:
            warnings.warn("a client has no service to start", RuntimeWarning, stacklevel=2)
            return
        if self._service is not None:
            return
        from orcha._service.lifecycle.compose import Service

        self.setup()
        _ = self.processor  # so that ``Processor()`` gives it
        service = Service(self, self._functions, key=self._key)
        self._service = service  # conditions count what runs from the first one on
        self.port = service.port
        try:
            service.start()
        except BaseException:
            self._service = None
            raise

    def serve(self) -> None:
        """Start serving, and return when the service has stopped."""
        if self.is_client:
            warnings.warn("a client has no service to start", RuntimeWarning, stacklevel=2)
            return
        self.start()
        self.join()

    def join(self) -> None:
        """Wait until the service has stopped.

        Raises:
            OrchaError: it stopped because of a failure.

        """
        if self._service is not None:
            self._service.join()

    def shutdown(self, *, now: bool = False) -> None:
        """Stop the service in good order, or close a client's connection.

        Queued petitions stay; running ones may go on for a while (10 s; not at all with `now`), then they are ended as
        interrupted.
        """
        if self._service is not None:
            self._service.stop(now=now)
        if self._remote is not None:
            self._remote.close()

    def wake(self) -> None:
        """Have the conditions of the waiting petitions asked again now: something they depend on has changed.

        Without it they are asked when something starts or ends, and by time. Any thread of the service may call it.

        Example::

            threading.Thread(target=lambda: watch(folder, on_change=manager.wake), daemon=True).start()

        """
        if self._service is not None:
            self._service.wake()

    @property
    def running_processes(self) -> int:
        """How many petitions may run now: their condition said yes, and they have not ended.

        Raises:
            NotImplementedError: on a client.

        """
        service = self._service  # conditions ask this more often than anything else
        return len(service.granted() if service is not None else self._granted("running_processes"))

    def is_running(self, x: Message | Petition | int | str) -> bool:
        """Tell whether the petition of a message, of an id, or a petition itself, is among those that run.

        Raises:
            NotImplementedError: on a client.

        """
        return str(getattr(x, "id", x)) in self._granted("is_running")

    def _granted(self, name: str) -> Collection[str]:
        service = self._service
        if service is not None:
            return service.granted()
        if self.is_client:
            message = f"{name} is known to the service only"
            raise NotImplementedError(message)
        return ()

    @property
    def processor(self) -> Processor:
        """What the service runs now.

        Raises:
            RuntimeError: on a client.

        """
        if self.is_client:
            message = "a client has no processor"
            raise RuntimeError(message)
        if self._processor is None:
            from orcha.lib.processor import Processor

            self._processor = Processor(self)
        return self._processor

    def start_petition(self, petition: Petition) -> bool:
        """Call `on_start`, as 0.2.6 did inside; not to be overridden."""
        return self.on_start(petition) is not False

    def finish_petition(self, petition: Petition) -> bool:
        """Call `on_finish`, as 0.2.6 did inside; not to be overridden."""
        return self.on_finish(petition) is not False
