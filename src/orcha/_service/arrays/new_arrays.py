"""How an array is accepted: a message to the manager of commands says what the elements are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._core import transitions
from orcha._core.array_items import item_at, message_of, read, unpacked
from orcha._core.arrays import Array
from orcha._core.changes import NewArray
from orcha._core.record import Record
from orcha._core.transitions.submit import enter_converted
from orcha._protocol import values
from orcha._service.arrays.array_book import position_of
from orcha._service.hooks.conversion import convert
from orcha.interfaces.built_in import ARRAY_MANAGER, COMMAND_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.admission import Admission
    from orcha._core.array_items import Spec
    from orcha._core.converted import Converted
    from orcha._core.petitions import Petitions
    from orcha._protocol.messages import Item
    from orcha._service.arrays.array_book import ArrayBook
    from orcha._service.channels.channel_book import ChannelBook
    from orcha._service.execution.attempt_port import AttemptPort
    from orcha._service.hooks.admitting import Admitting
    from orcha._service.submissions import Asked, Submissions

MAX_LOOKED_AT_IDS = 10_000
"""Ids that are looked at when an array is accepted."""
_FIELD = values.encode("array")
_NOT_OF_ARRAYS = {
    "once": "an array has no key of its own: leave out --once",
    "stdin": "the elements of an array have no standard input: leave out --stdin",
    "secrets": "the elements of an array have no secrets: run each as a command of its own, or leave out --secret",
    "tty": "the elements of an array have no terminal: leave out --tty",
}


class NewArrays:
    """Accepts arrays; the engine thread's."""

    def __init__(  # noqa: PLR0913 - each is one neighbour
        self,
        *,
        petitions: Petitions,
        admission: Admission,
        admitting: Admitting,
        channels: ChannelBook,
        submissions: Submissions,
        book: ArrayBook,
        manager_of: Callable[[Record], Any],
        port: AttemptPort,
        may_depend: Callable[[Record], bool],
        after_batch: Callable[[Callable[[], None]], None],
    ) -> None:
        """Prepare.

        Args:
            petitions: the petitions.
            admission: knows the groups and resources that there are.
            admitting: makes the groups that are named first.
            channels: have the channel of each petition.
            submissions: the petitions that are undecided.
            book: the arrays that have not ended.
            manager_of: gives the manager of a petition.
            port: the engine, as channels in this process see it.
            may_depend: finds the petitions that a new one waits for; refuses the new one where it cannot.
            after_batch: has a call made once a batch is kept.

        """
        self._petitions = petitions
        self._admission = admission
        self._admitting = admitting
        self._channels = channels
        self._submissions = submissions
        self._book = book
        self._manager_of = manager_of
        self._port = port
        self._may_depend = may_depend
        self._after_batch = after_batch

    def fields_of(self, extras: bytes) -> dict[str, Any] | None:
        """Give the fields of a message that asks for an array; None for any other message."""
        fields = values.fields_of(extras) if _FIELD in extras else {}
        return fields if fields.get("array") is not None else None

    def take(self, asked: Asked, item: Item, owner: str, fields: dict[str, Any], ends: bytes = b"") -> str | None:
        """Accept an array, some of whose elements may have ended before; give why it cannot be accepted."""
        petitions, (token, identity, _, channel) = self._petitions, item
        try:
            spec, parts = read(fields["array"])
            for name, why in _NOT_OF_ARRAYS.items():
                if fields.get(name):
                    return why
            first = message_of(fields, item_at(spec, 0, unpacked(parts[0]) if parts else None))
        except (ValueError, TypeError) as error:
            return str(error)
        if (taken := self._taken(str(identity), spec)) is not None:
            return f"the id {taken!r} of an element is taken by a petition: wait for it, cancel it, or choose another"
        converted = self._spent(owner, spec, ends) or self._converted(item, owner, spec, first | _others_first(fields))
        if isinstance(converted, str):
            return converted
        template = {name: value for name, value in fields.items() if name not in {"array", "queue"}}
        if converted.delay is not None:
            template["at"] = petitions.now.wall + converted.delay
        mine = token if channel is None else channel
        extras = values.encode(template)
        record = Record(petitions.take_seq(), token, identity, ARRAY_MANAGER, owner, mine, extras, petitions.now.wall)
        enter_converted(record, converted)
        petitions.enter(record)
        self._submissions.add(record, asked)
        if not record.after or self._may_depend(record):
            known = self._channels.known(mine) or self._channels.create(mine, owner, own=channel is None)
            new = NewArray(spec.total, spec.text(), parts)
            transitions.array.accept(petitions, record, new, new_channel=not known.kept)
            known.kept = True
            if record.group is not None:
                self._admitting.appear(record.group, record)
            self._book.enter(record, spec, ends)
        self._after_batch(lambda: self._book.kept(record))
        return None

    def _spent(self, owner: str, spec: Spec, ends: bytes) -> str | None:
        """Give why its owner's quota has no room for an array, if that is so."""
        quotas = self._petitions.quotas
        elements = Array(0, "", spec.total, spec.bounds, ends).unmade if quotas is not None else 0
        spent = None if quotas is None else quotas.refusal(owner, elements)
        return None if spent is None else spent.text()

    def _converted(self, item: Item, owner: str, spec: Spec, first: dict[str, Any]) -> Converted | str:
        """Convert the message of the first element, to find out what the elements declare; or say what is wrong."""
        identity = f"{item.id}.{spec.number_of(0)}"
        return self.convert(identity, item.token, owner, values.encode(first), is_new=True)

    def convert(self, identity: str | int, token: bytes, owner: str, extras: bytes, *, is_new: bool) -> Converted | str:
        """Convert the message of a command that is no petition yet; or say what is wrong with the message."""
        record = Record(0, token, identity, COMMAND_MANAGER, owner, token, extras, self._petitions.now.wall)
        return convert(record, self._manager_of(record), self._port, self._admission, is_new=is_new)

    def _taken(self, key: str, spec: Spec) -> str | None:
        """Give an id of an element that a live petition has; None where all are free."""
        head, live = f"{key}.", self._petitions.live
        if len(live) > MAX_LOOKED_AT_IDS:  # one that is found when its element is to be made is waited for
            firsts = range(min(spec.total, MAX_LOOKED_AT_IDS))
            return next((name for each in firsts if (name := f"{head}{spec.number_of(each)}") in live), None)
        for known in live:
            if known.startswith(head) and position_of(spec, known[len(head) :]) is not None:
                return known
        return None


def _others_first(fields: dict[str, Any]) -> dict[str, Any]:
    """Give the fields that name petitions which the array as a whole comes after, and its delay."""
    names = ("after", "after_ok", "if_dependency_fails", "delay")
    return {name: fields[name] for name in names if name in fields}
