"""The questions that verbs ask a service; importing this costs what a client costs."""

from __future__ import annotations

from functools import partial

from orcha import properties
from orcha._client.client import Client
from orcha._client.pending import Request
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import (
    AddSchedule,
    Cancel,
    ChangeLease,
    ChangeSchedule,
    DrainResource,
    DrainService,
    FireSchedule,
    GiveSecrets,
    Item,
    ListEvents,
    ListKeys,
    ListResources,
    ListSchedules,
    Reload,
    Resize,
    Select,
    SetGroup,
    SetKey,
    SetResource,
    Unset,
    Verdict,
    Who,
)
from orcha._protocol.services import place
from orcha._protocol.values import encode
from orcha.exceptions import OrchaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    from orcha._client.channel import ClientChannel
    from orcha._client.connection import ServiceConnection
    from orcha._protocol.messages import Reply, Result
    from orcha._protocol.relay_greeting import FarSide

    Row = dict[str, Any]

MANAGER = "commands"
"""Name of the built-in manager, whose values are (stream, bytes) and whose lines are the service's."""
LIVE_STATES = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5
"""States of a petition that has not ended, as a bit mask."""
ENDED_STATES = 1 << 6
INDEX_BEYOND_END = 1 << 62
"""An index that no channel has: a reader that follows from there gets the records after the channel's end."""


class NoSuchPetitionError(OrchaError):
    """The service knows no such petition."""


class VerbRefusedError(OrchaError):
    """The service refused the request."""


class Session(Client):
    """A client with the requests that verbs need.

    Example::

        with session() as service:
            row = service.details("make-k3x9qz")

    """

    far: FarSide | None = None
    """What the relay said when the client connected first, where the service is reached over SSH."""
    connection: ServiceConnection | None = None
    """The connection that was made last."""

    def _dial(self, timeout: float, *, start_timeout: float = 0.0) -> ServiceConnection:
        connection = super()._dial(timeout, start_timeout=start_timeout)
        self.far = self.far or connection.far
        self.connection = connection
        return connection

    def details(self, identity: str) -> Row:
        """Give everything about a petition: the petition of this id that has not ended, else the newest.

        Raises:
            NoSuchPetitionError: there is no such petition.
            VerbRefusedError: the petition is another user's.
            OrchaConnectionError: the service stayed away.

        """
        found = self.done(self.show(identity), identity)
        assert isinstance(found, dict)
        return found

    def done(self, reply: Reply, identity: str | None = None) -> Any:
        """Give a reply's value.

        Raises:
            NoSuchPetitionError: there is no such petition.
            VerbRefusedError: the service refused.

        """
        if reply.verdict == Verdict.OK:
            return None if reply.value is None else self.decode(reply.value)
        reason = reply.reason or "the service does not do that"
        if reply.verdict == Verdict.UNKNOWN:
            raise NoSuchPetitionError(reply.reason or f"no petition with the id {identity!r} is known")
        raise VerbRefusedError(reason)

    def select(
        self, verb: str | None, selector: Row, arguments: Row, *, dry_run: bool = False, before: int | None = None
    ) -> Row:
        """Have a verb done to petitions that meet a selector; give these petitions, and the refusals.

        Raises:
            VerbRefusedError: nothing was changed.

        """
        sent = encode(arguments)
        build = partial(Select, verb=verb, **selector, arguments=sent, dry_run=dry_run, before=before)
        found = self.done(self._ask(build))
        assert isinstance(found, dict)
        return found

    def add_schedule(self, name: str, expression: str, extras: bytes, **how: Any) -> Row:
        """Have a command run again and again; give what is known of the schedule.

        Raises:
            VerbRefusedError: there can be no such schedule.

        """
        return self._of_schedule(partial(AddSchedule, name=name, expression=expression, extras=extras, **how))

    def schedules(self) -> list[Row]:
        """Give the schedules that this client may see."""
        found: list[Row] = self._of_schedule(ListSchedules)["schedules"]
        return found

    def schedule(self, name: str) -> Row:
        """Give a schedule, with its last firings.

        Raises:
            NoSuchPetitionError: there is none.
            VerbRefusedError: it is somebody else's.

        """
        return self._of_schedule(partial(ListSchedules, name=name))

    def change_schedule(self, name: str, change: str) -> None:
        """Have a schedule paused, resumed or removed; errors as of `schedule`."""
        self.done(self._ask(partial(ChangeSchedule, name=name, change=change)), name)

    def set_schedule(self, name: str, changes: Row) -> Row:
        """Change a schedule; give what is known of it then. Errors as of `schedule`."""
        return self._of_schedule(partial(ChangeSchedule, name=name, change="set", arguments=encode(changes)))

    def fire_schedule(self, name: str) -> Row:
        """Have a schedule's command run now; give the petition's seq, id and channel. Errors as of `schedule`."""
        return self._of_schedule(partial(FireSchedule, token=new_identity(), name=name))

    def _of_schedule(self, build: Callable[[int], Any]) -> Row:
        found = self.done(self._ask(build))
        assert isinstance(found, dict)
        return found

    def is_anothers(self, details: Row) -> bool:
        """Tell whether a petition belongs to another user than this client is to the service; so it does if unsure."""
        known = self.done(self.ping())
        mine = known.get("you") if isinstance(known, dict) else None
        return mine is None or details.get("owner") != mine

    def look(self, identity: str) -> Row | None:
        """Give the row of the petition of this id that has not ended, None where there is none."""
        rows = self.page(LIVE_STATES, 1, id=identity).rows
        return rows[0] if rows else None

    secrets: dict[str, bytes] | None = None
    """Of the command that this client asks for; None for none."""

    def one(self, item: Item) -> Result:
        """Submit one command."""
        return self.submit([item], MANAGER, self.secrets)[0]

    def keep_secrets(self, token: bytes, secrets: dict[str, bytes], tell: Callable[[str], None]) -> None:
        """Send secrets with the command of a token, and again to each service that is started while the client is here.

        Such a service has forgotten them. `tell` gets the reason where the service does not take them.
        """
        from orcha.utils import core_files

        core_files.write_none()
        self.secrets = secrets

        def give_again() -> None:
            self.post(_UnawaitedRequest(lambda number: GiveSecrets(number, None, None, secrets, token), tell))

        self.on_return(give_again)

    def output(self, details: Row, *, index: int = 0) -> ClientChannel:
        """Give the channel of a petition, to be read from `index` on."""
        if details["channel"] is None:
            raise OrchaError(f"{details['id']!r} is somebody else's: you may see that it is there, and not its output")
        return self.channel(bytes(details["channel"]), own=True, index=index)

    def from_its_end(self, identity: str) -> tuple[ClientChannel, Row]:
        """Give the channel of a petition, to be read from its end on, and what is known of the petition at that moment.

        Nothing falls in between: what is not in the details comes on the channel. The channel's `position` is the index
        of the last record before.

        Raises:
            OrchaError: there is no such petition, or no service.

        """
        details = self.details(identity)
        channel = self.output(details, index=INDEX_BEYOND_END)
        self.follow(channel)
        while (details := self.details(identity)) and channel.position >= INDEX_BEYOND_END - 1:
            pass  # the connection was lost before the service said where the end is; now the service was asked again
        return channel, details

    def resources(self) -> Reply:
        """Ask what there is of each resource, and who has what."""
        return self._ask(ListResources)

    def set_group(self, name: str, slots: int | None = None, *, keeps_slots: bool, rules: dict[str, Any]) -> Reply:
        """Set how many petitions of a group run at once, None for any number, and the group's other rules."""
        sent = encode(rules) if rules else None
        return self._ask(partial(SetGroup, group=name, slots=slots, rules=sent, keeps_slots=keeps_slots))

    def events(self, limit: int, **which: Any) -> Reply:
        """Ask what clients did and tried: the newest of what meets `which`, fields of ListEvents."""
        return self._ask(partial(ListEvents, limit=limit, **which))

    def who(self) -> Reply:
        """Ask what each user has of the service, and may have."""
        return self._ask(Who)

    def reload(self) -> Reply:
        """Have the configuration files read again."""
        return self._ask(Reload)

    def unset(self, kind: Literal["group", "resource"], name: str) -> Reply:
        """Undo what people have set for a group or a resource: the configuration holds again."""
        return self._ask(partial(Unset, kind=kind, name=name))

    def set_resource(self, resources: str) -> Reply:
        """Set the amounts or the devices of resources."""
        return self._ask(partial(SetResource, resources=resources))

    def drain_resource(self, name: str, why: str | None) -> Reply:
        """Drain a device or a resource, so that nothing new is placed there; undrain it where `why` is None."""
        return self._ask(partial(DrainResource, name=name, drained=why is not None, why=why or ""))

    def drain(self, *, why: str, seconds: float | None) -> Reply:
        """Drain the service, for `seconds`; None for no end."""
        return self._ask(partial(DrainService, drained=True, why=why, seconds=seconds))

    def undrain(self) -> Reply:
        """Undrain the service: petitions start again."""
        return self._ask(partial(DrainService, drained=False))

    def keys(self, name: str | None = None) -> Row:
        """Give what is known of the keys with names, and with a name what a verifier of that name is made with.

        Raises:
            VerbRefusedError: one may not ask that.

        """
        found = self.done(self._ask(partial(ListKeys, name=name)))
        assert isinstance(found, dict)
        return found

    def set_key(self, name: str, verifier: bytes | None, **how: Any) -> Reply:
        """Let in the key of this name and verifier, or certificate; without either, let it in no more."""
        return self._ask(partial(SetKey, name=name, verifier=verifier, **how))

    def change_lease(self, name: str, seconds: float | None) -> Reply:
        """Extend a lease by `seconds`; None gives it back. Its id, or a device that it has, names the lease."""
        return self._ask(partial(ChangeLease, name=name, seconds=seconds))

    def ask_to_give_back(self, name: str, tell: Callable[[str], None]) -> Request:
        """Give a lease back without waiting; a signal handler may call it. `tell` gets a refusal's reason."""
        made = _UnawaitedRequest(lambda number: ChangeLease(number, name), tell)
        self.post(made)
        return made

    def ask_to_cancel(
        self, *, token: bytes | None, identity: str | None, why: str, at_once: bool, tell: Callable[[str], None]
    ) -> Request:
        """Have a petition cancelled without waiting; a signal handler may call it. `tell` gets a refusal's reason."""
        made = _UnawaitedRequest(lambda number: Cancel(number, token, identity, why, at_once), tell)
        self.post(made)
        return made

    def ask_to_resize(self, seq: int, attempt: int, rows: int, columns: int) -> None:
        """Tell a terminal's size without waiting; a signal handler may call it."""
        made = _UnawaitedRequest(lambda number: Resize(number, seq, attempt, rows, columns), None)
        self.post(made)


class _UnawaitedRequest(Request):
    """A request whose answer no thread waits for."""

    def __init__(self, build: Callable[[int], Any], tell: Callable[[str], None] | None) -> None:
        super().__init__(build)
        self._tell = tell

    def finish(self, error: Exception | None = None) -> None:
        """Tell why the service refused."""
        super().finish(error)
        answer: Any = self.answer
        if self._tell is not None and answer is not None and answer.verdict not in {Verdict.OK, Verdict.UNKNOWN}:
            self._tell(answer.reason or "the service does not cancel it")


def session(notify: Callable[[str], None] | None = None, *, runs: bool = False) -> Session:
    """Make a client for the service that the options before the command name; `connect` connects it.

    `runs` says that a command is to run there: where that is a login elsewhere, `far` tells its folder and variables.
    """
    import os

    key = properties.authkey
    text = os.fsdecode(key) if isinstance(key, bytes) else key
    endpoint = place()
    if runs and endpoint.ssh is not None:
        from dataclasses import replace

        here = os.getcwd()  # noqa: PTH109 - pathlib costs a client 5 ms
        endpoint = replace(endpoint, ssh=replace(endpoint.ssh, folder=here))
    return Session(endpoint, text, notify=notify)
