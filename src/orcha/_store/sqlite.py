"""The durable store: SQLite in write-ahead mode, one connection for writing and checkpoints.

One file, since it is one class: each method is a question to the same database, or a part of one commit.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from orcha._core.changes import PART_BYTES, AuditEntry, Changes, Schedule
from orcha._store import commit_rows, declarations, page_reader
from orcha._store.commit_errors import explained, result_code
from orcha._store.contract import (
    ArrayRow,
    AttemptRow,
    Element,
    EventFilter,
    Incarnation,
    KeptAlteration,
    KeptDependency,
    KeptFiring,
    Row,
    StoredChannel,
    Waiting,
)
from orcha._store.deleting import delete
from orcha._store.disk_reserve import NO_ROOM, DiskReserve, Limits
from orcha._store.folder_watch import FolderWatch
from orcha._store.last_commit import LastCommit
from orcha._store.last_start import LastStart
from orcha._store.opening import connect, open_database
from orcha._store.queries import (
    commit_statements,
    decode_arrays,
    decode_attempts,
    decode_dependencies,
    decode_devices,
    decode_elements,
    decode_ends,
    decode_firing,
    decode_list,
    decode_needs,
    decode_rows,
    decode_schedule,
    queries,
)
from orcha._store.store_files import StoreFiles
from orcha.exceptions.store import StoreBroken, StoreDamaged, StoreFull, no_room

_CHECKPOINT_RETRY_PAGES = 256
"""Pages that are written after an unfinished checkpoint before the next checkpoint."""
_MAX_ROWS_PER_QUERY = 50
"""Rows that one query gives: their extras, up to 8 MiB each, have to fit into one text of SQLite."""
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _guarded(
    method: Callable[Concatenate[SqliteStore, _P], _T],
) -> Callable[Concatenate[SqliteStore, _P], _T]:
    """Have a method raise StoreBroken for each error of SQLite, and from the first such error on."""

    @functools.wraps(method)
    def guarded(self: SqliteStore, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        if self._broken is not None:
            self._refuse_broken()
        try:
            return method(self, *args, **kwargs)
        except apsw.Error as error:
            raise self._broken_by(error) from error

    return guarded


class SqliteStore:
    """What `contract.Store` says, in the file `orcha.db` of a folder.

    The folder is the caller's: locked against other processes, and of mode 0700. No connection is ever used in a forked
    child: call `forget_in_child` there.
    """

    durable = True

    def __init__(self, folder: Path, *, limits: Limits | None = None, vfs: str | None = None) -> None:
        """Open the store in `folder`, or make it.

        Args:
            folder: an existing folder on a local disk.
            limits: sizes of log, reserve and cache.
            vfs: the name of the SQLite VFS to go through; tests break the disk with it.

        Raises:
            StoreBroken: what is there is damaged, foreign, of a newer Orcha or on a network: nothing was changed.
            StoreError: the folder cannot be used.
        """
        self._limits = limits or Limits()
        self._files = StoreFiles(folder)
        self._queries = queries()
        self._broken: StoreBroken | None = None
        self._closed = False
        self._last_commit: LastCommit | None = None
        self._watch: FolderWatch | None = None
        self._space = DiskReserve(self._files.descriptor, self._limits)
        try:
            self._connection, self._page_sums = open_database(self._files, self._limits, self._space, vfs)
        except BaseException:
            self._files.close()
            raise
        self._reader = page_reader.PageReader(self._connect_reader)
        self._searcher = page_reader.PageReader(self._connect_reader)
        self._vfs = vfs
        self._full_sync = True
        self._now = 0.0
        self._pages_at_checkpoint = 0
        try:
            self._page_size = int(self._connection.pragma("page_size"))
            self._has_tombstones = bool(self._ask("any_tombstone"))
            self._prepare(0)
        except apsw.Error as error:
            broken = self._broken_by(error)
            self.close()
            raise broken from error

    def _prepare(self, epoch: int) -> None:
        """Make the view and the triggers that commits go through."""
        connection = self._connection
        for name in ("change_accept", "change_step", "change_command"):
            connection.execute(f"DROP TRIGGER IF EXISTS temp.{name}")
        connection.execute("DROP VIEW IF EXISTS temp.change")
        connection.execute(commit_statements().replace("{epoch}", str(epoch)))

    def _connect_reader(self) -> apsw.Connection:
        self._files.check_in_place()
        return connect(self._files.real / self._files.database.name, self._limits, vfs=self._vfs, reading=True)

    def _ask(self, name: str, *parameters: Any) -> Any:
        return self._connection.execute(self._queries[name], parameters).get

    # --- starts of the service ----------------------------------------------------------------------------------

    @_guarded
    def begin(
        self, *, nonce: int, boot_id: str, uid: int, now: float, pid: int = 0, tasks: int = 0
    ) -> tuple[Incarnation, Sequence[Incarnation]]:
        """Record a new start of the service (fsynced); give it and all earlier ones still recorded."""
        self._synchronous(full=True)

        def write() -> int:
            with self._transaction():
                epoch = self._ask("begin_incarnation", nonce, boot_id, uid, now, pid, tasks)
                self._ask("delete_tombstones", now)
            return int(epoch)

        epoch = self._with_reserve(write)
        self._files.witness.write(LastStart(epoch, nonce, boot_id, born=self._files.born))
        self._last_commit = LastCommit(self._files, nonce)
        self._watch = FolderWatch(self._files.descriptor)
        with self._broken_by_disk():
            self._page_sums.begin(nonce)
        self._prepare(epoch)
        self._now = now
        earlier: list[Any] = self._connection.execute(self._queries["earlier_incarnations"], (epoch,)).fetchall()
        return Incarnation(epoch, nonce, boot_id, uid, now, pid, tasks), [Incarnation(*row) for row in earlier]

    @_guarded
    def forget_incarnations(self, epochs: Iterable[int]) -> None:
        """Drop the records of earlier starts whose leftovers have been swept; the last start stays."""
        gone = json.dumps(list(epochs))
        self._with_reserve(lambda: self._ask("forget_incarnations", gone))

    @_guarded
    def next_seq(self) -> int:
        """Give the lowest sequence number never used so far, also by rows deleted since."""
        return int(self._ask("next_seq"))

    # --- keeping ------------------------------------------------------------------------------------------------

    @_guarded
    def commit(self, changes: Changes, *, durable: bool = True) -> list[bytes]:
        """Keep all of `changes` or none; with `durable` it is fsynced on return, else it survives a crash of processes.

        Gives the ids of the channels that went with the deleted petitions.

        Raises:
            FencedError: a step is not allowed from where its petition is.
            TokenKnown: a new petition's token is another's.
            ValueError: the changes contradict each other or what is kept, or hold what no store can keep.
            StoreFull: no room on the disk, even after the reserve was given up.
            StoreBroken: the store cannot be written any more; whether the changes are kept is not known.
        """
        if durable:
            self._check_in_place()
        accepted, channels = commit_rows.accepted(changes)
        statements = commit_rows.statements(accepted + commit_rows.steps(changes) + commit_rows.attempts(changes))
        self._synchronous(full=durable)
        try:
            dropped = self._with_reserve(lambda: self._write(changes, statements, channels))
        except apsw.ConstraintError as error:
            raise explained(error, changes, self._ask) from error
        except OverflowError as error:
            raise ValueError(f"a number does not fit into 64 bits: {error}") from error
        if self._last_commit is not None:
            self._last_commit.note()
        self._checkpoint_when_due()
        return dropped

    def _write(self, changes: Changes, statements: list[tuple[str, list[Any]]], channels: list[Any]) -> list[bytes]:
        declared = changes.declares
        if len(statements) == 1 and not (channels or changes.tombstones or changes.deleted or declared):
            self._connection.execute(*statements[0])
            return []
        dropped: list[bytes] = []
        with self._transaction():
            if channels:
                rows = [(channel.id.hex(), channel.owner, int(channel.own)) for channel in channels]
                self._ask("insert_channels", json.dumps(rows))
            for statement, values in statements:
                self._connection.execute(statement, values)
            if declared:
                declarations.write(changes, self._ask)
            if changes.tombstones:
                self._bury(changes)
            if changes.deleted:
                dropped = delete(changes.deleted, self._ask)
        return dropped

    def _bury(self, changes: Changes) -> None:
        self._ask("delete_tombstones", self._now)
        self._ask("insert_tombstones", json.dumps([(token.hex(), until) for token, until in changes.tombstones]))
        self._has_tombstones = True

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _synchronous(self, *, full: bool) -> None:
        """Say whether commits are fsynced. An fsync covers the whole log, also earlier commits without an fsync."""
        if full is not self._full_sync:
            self._connection.pragma("synchronous", "FULL" if full else "NORMAL")
            self._full_sync = full

    # --- when something is wrong --------------------------------------------------------------------------------

    def _with_reserve(self, write: Callable[[], _T]) -> _T:
        """Write; where the disk is full, once more with the reserve given up."""
        try:
            return write()
        except apsw.Error as error:
            if not self._is_full(error):
                raise
        try:
            if self._space.release():
                self._checkpoint()
                return write()
        except apsw.Error as error:
            if not self._is_full(error):
                raise
        raise StoreFull(no_room(self._files.database))

    def _is_full(self, error: apsw.Error) -> bool:
        if isinstance(error, apsw.FullError):
            return True
        # SQLite knows ENOSPC only: a quota that is used up is the same to us.
        return result_code(error) == apsw.SQLITE_IOERR_WRITE and self._connection.system_errno == errno.EDQUOT

    def _broken_by(self, error: apsw.Error) -> StoreBroken:
        kind = StoreDamaged if isinstance(error, apsw.CorruptError) else StoreBroken
        self._broken = kind(f"{self._files.database} cannot be used any more: {error}")
        with contextlib.suppress(OSError):  # the disk that just failed may fail again; without the mark less is checked
            self._files.mark(self._files.damaged, f"{error}\n")
        return self._broken

    def _check_in_place(self) -> None:
        """Raise StoreBroken, now and from now on, where the database was taken away: what is accepted would be lost."""
        watch = self._watch
        if watch is not None and watch.is_unchanged():
            return
        try:
            self._files.check_in_place()
        except StoreBroken as error:
            self._broken = error
            with contextlib.suppress(OSError):
                self._files.mark(self._files.damaged, f"{error}\n")
            raise
        if watch is not None:
            watch.trust()

    def _refuse_broken(self) -> None:
        if self._broken is not None:
            raise type(self._broken)(*self._broken.args)

    @property
    def has_reserve(self) -> bool:
        """Whether there is room set aside for what has to be kept even when the disk is full."""
        return self._space.has_ballast

    def space(self) -> bool:
        """Tell whether there is room for new petitions; makes the reserve whole again where it can."""
        return self._space.is_enough()

    def _checkpoint_when_due(self) -> None:
        """Move the log into the database once enough is in it, so that it starts over instead of growing."""
        written = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
        if (written - self._pages_at_checkpoint) * self._page_size < self._limits.checkpoint:
            return
        try:
            is_moved = self._checkpoint()
        except apsw.FullError:
            self._space.release()
            is_moved = False
        later = 0 if is_moved else _CHECKPOINT_RETRY_PAGES * self._page_size - self._limits.checkpoint
        self._pages_at_checkpoint = written + later // self._page_size

    def _checkpoint(self) -> bool:
        """Move the log into the database, as far as readers let it; tell whether all of the log was moved.

        Raises:
            StoreDamaged: a page that the log replaces is not what was noted of it.
            StoreBroken: a file cannot be read or written.
            apsw.Error: of SQLite's own.
        """
        with self._broken_by_disk():
            self._page_sums.refuse_replaced()
        in_log, moved = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if moved < in_log:
            return False
        with self._broken_by_disk():
            self._page_sums.note_moved(in_log)
        return True

    @contextlib.contextmanager
    def _broken_by_disk(self) -> Iterator[None]:
        """Raise StoreBroken, now and from now on, for an error of the disk; so for a page that the disk has changed."""
        try:
            yield
        except (OSError, StoreDamaged) as error:
            said = str(error)
            if isinstance(error, OSError):
                said = f"{self._files.database} cannot be used any more: {error}"
            self._broken = type(error)(said) if isinstance(error, StoreDamaged) else StoreBroken(said)
            with contextlib.suppress(OSError):
                self._files.mark(self._files.damaged, f"{error}\n")
            raise self._broken from error

    # --- asking -------------------------------------------------------------------------------------------------

    @_guarded
    def tokens(self, tokens: Sequence[bytes]) -> dict[bytes, Row]:
        """Give the rows of the known tokens among these."""
        return {row.token: row for row in self._rows("rows_of_tokens", [token.hex() for token in tokens])}

    @_guarded
    def tombstones(self, tokens: Sequence[bytes], now: float) -> set[bytes]:
        """Give the tokens among these that were cancelled before their submit came."""
        self._now = max(self._now, now)
        if not self._has_tombstones:
            return set()
        found = decode_list(self._ask("tombstones", json.dumps([token.hex() for token in tokens]), now))
        return {bytes.fromhex(token) for token in found}

    @_guarded
    def rows(self, seqs: Sequence[int]) -> list[Row]:
        """Give these rows, in the order asked, without the missing rows."""
        return self._rows("rows", seqs)

    def _rows(self, query: str, wanted: Sequence[Any]) -> list[Row]:
        found: list[Row] = []
        for start in range(0, len(wanted), _MAX_ROWS_PER_QUERY):
            found += decode_rows(self._ask(query, json.dumps(list(wanted[start : start + _MAX_ROWS_PER_QUERY]))))
        return found

    @_guarded
    def all_tombstones(self, now: float) -> dict[bytes, float]:
        """Give all tombstones still in force, with the time until which each is kept."""
        self._now = max(self._now, now)
        found: list[Any] = self._connection.execute(self._queries["all_tombstones"], (now,)).fetchall()
        return dict(found)

    def waiting(self, manager: str) -> Iterator[Waiting]:
        """Give this manager's QUEUED petitions as they are when the first is asked for, by (priority, seq)."""
        self._refuse_broken()
        try:
            yield from page_reader.waiting(self._connect_reader(), manager)
        except apsw.Error as error:
            raise self._broken_by(error) from error

    @_guarded
    def unfinished(self, manager: str) -> list[Row]:
        """Give the rows that this manager is busy with: see the contract."""
        return self._rows("rows", sorted(decode_list(self._ask("active_seqs", manager))))

    @_guarded
    def attempts(self, seqs: Sequence[int]) -> dict[int, AttemptRow]:
        """Give what is kept of these petitions' attempts, by seq."""
        return {row.seq: row for row in decode_attempts(self._ask("attempts", json.dumps(list(seqs))))}

    @_guarded
    def resting(self) -> list[AttemptRow]:
        """Give what is kept of petitions that wait for the time of their next attempt, the earliest first."""
        return sorted(decode_attempts(self._ask("resting")), key=lambda row: (row.due or 0.0, row.seq))

    @_guarded
    def channel(self, channel: bytes) -> StoredChannel | None:
        """Give a channel, None for an unknown one."""
        found = self._ask("channel", channel)
        return found and StoredChannel(channel, found[0], bool(found[1]), found[2], found[3])

    def events(self, wanted: EventFilter) -> list[tuple[AuditEntry, int]]:
        """Give what clients did and tried, the newest first, each with a number of its own; from any thread."""
        self._refuse_broken()
        try:
            return self._searcher.events(wanted)
        except apsw.Error as error:
            raise self._broken_by(error) from error

    @_guarded
    def channel_owners(self, channels: Sequence[bytes]) -> dict[bytes, str]:
        """Give the owners of the known channels among these."""
        found = decode_list(self._ask("channel_owners", json.dumps([channel.hex() for channel in channels])))
        return {bytes.fromhex(channel): owner for channel, owner in found}

    @_guarded
    def records(self, channel: bytes, index: int, limit: int) -> list[tuple[int, int, bytes]]:
        """Give (first, count, data) of the appends holding `index` and later ones, about `limit` bytes."""
        found = decode_list(self._ask("records", channel, index, max(limit, 1)))
        return sorted((first, count, bytes.fromhex(data)) for first, count, data in found)

    def page(
        self,
        *,
        states: int,
        limit: int,
        before: int | None = None,
        id: str | None = None,  # noqa: A002 - the contract's name
        group: str | None = None,
        owner: str | None = None,
        array: int | None = None,
        apart: bool = False,
    ) -> list[Row]:
        """Give up to `limit` rows in the states of the bit mask, highest seq first, below `before`; from any thread."""
        self._refuse_broken()
        try:
            which = {"id": id, "group": group, "owner": owner, "array": array}
            reader = self._searcher if apart else self._reader
            return reader.page(states=states, limit=limit, before=before, **which)  # type: ignore[arg-type]
        except apsw.Error as error:
            raise self._broken_by(error) from error

    @_guarded
    def groups(self, seqs: Sequence[int]) -> dict[int, str]:
        """Give the groups of these petitions, for each petition that is in a group."""
        return dict(decode_list(self._ask("groups", json.dumps(list(seqs)))))

    @_guarded
    def expected(self, seqs: Sequence[int]) -> dict[int, float]:
        """Give how many seconds an attempt of each of these petitions will probably take, where that was said."""
        return dict(decode_list(self._ask("expected", json.dumps(list(seqs)))))

    @_guarded
    def needs(self, seqs: Sequence[int]) -> dict[int, dict[str, int | str]]:
        """Give the needs of these petitions (an amount of each resource), for each petition that has any."""
        return decode_needs(self._ask("needs", json.dumps(list(seqs))))

    @_guarded
    def devices(self, seqs: Sequence[int]) -> dict[int, dict[int, dict[str, tuple[str, ...]]]]:
        """Give the devices of attempts that got any."""
        return decode_devices(self._ask("devices", json.dumps(list(seqs))))

    @_guarded
    def once(self) -> list[tuple[int, str, str, str]]:
        """Give seq, manager, owner and key of petitions with a key that live or hold their slot, the oldest first."""
        return [tuple(known) for known in decode_list(self._ask("once"))]

    @_guarded
    def dependencies_of_live(self) -> list[KeptDependency]:
        """Give the dependencies of petitions that are QUEUED or HELD, in the order of these."""
        return decode_dependencies(self._ask("dependencies_of_live"))

    @_guarded
    def dependencies(self, seqs: Sequence[int]) -> list[KeptDependency]:
        """Give the dependencies of these petitions."""
        return decode_dependencies(self._ask("dependencies", json.dumps(list(seqs))))

    @_guarded
    def dependents(self, seq: int, limit: int) -> list[KeptDependency]:
        """Give up to `limit` dependencies of petitions, the oldest first, that name this petition."""
        return decode_dependencies(self._ask("dependents", seq, limit))

    @_guarded
    def alterations(self, seq: int) -> list[KeptAlteration]:
        """Give what people changed of a petition, the oldest change first."""
        return [KeptAlteration(*each) for each in decode_list(self._ask("alterations", seq))]

    @_guarded
    def schedules(self) -> list[Schedule]:
        """Give all schedules, by name."""
        found: list[Any] = self._connection.execute(self._queries["schedules"]).fetchall()
        return [decode_schedule(row) for row in found]

    @_guarded
    def firings(self, schedule: str, limit: int) -> list[KeptFiring]:
        """Give the last firings of a schedule, the latest instant first."""
        found: list[Any] = self._connection.execute(self._queries["firings"], (schedule, limit)).fetchall()
        return [decode_firing(row) for row in found]

    @_guarded
    def live_firings(self, schedule: str) -> list[KeptFiring]:
        """Give the firings of a schedule whose petitions have not ended, the latest instant first."""
        found: list[Any] = self._connection.execute(self._queries["live_firings"], (schedule,)).fetchall()
        return [decode_firing(row) for row in found]

    @_guarded
    def has_firing(self, schedule: str, instant: float) -> bool:
        """Tell whether it is known what became of an instant of a schedule."""
        return bool(self._ask("has_firing", schedule, instant))

    @_guarded
    def live_arrays(self) -> list[ArrayRow]:
        """Give the arrays that have not ended, the oldest first."""
        return decode_arrays(self._ask("live_arrays"))

    @_guarded
    def arrays(self, seqs: Sequence[int]) -> dict[int, ArrayRow]:
        """Give what these petitions consist of, for each petition that is an array."""
        return {row.petition: row for row in decode_arrays(self._ask("arrays", json.dumps(list(seqs))))}

    @_guarded
    def array_ends(self, seq: int) -> bytes:
        """Give how the elements of an array ended, two bytes an element."""
        return decode_ends(self._ask("array_ends", seq), PART_BYTES)

    @_guarded
    def array_items(self, seq: int, part: int) -> bytes | None:
        """Give a packed part of an array's items."""
        found: bytes | None = self._ask("array_items", seq, part)
        return found

    @_guarded
    def live_elements(self) -> list[Element]:
        """Give the elements of arrays that are petitions and have not ended, the oldest first."""
        return decode_elements(self._ask("live_elements"))

    @_guarded
    def elements(self, seqs: Sequence[int]) -> dict[int, Element]:
        """Give the array of each of these petitions that is an element."""
        return {each.petition: each for each in decode_elements(self._ask("elements", json.dumps(list(seqs))))}

    @_guarded
    def pauses(self) -> set[str]:
        """Give what is paused."""
        return set(decode_list(self._ask("pauses")))

    @_guarded
    def decided(self, kind: str) -> dict[str, str]:
        """Give what people decided of things of one kind, by their names."""
        return dict(decode_list(self._ask("decided", kind)))

    @_guarded
    def slots(self) -> dict[str, int | None]:
        """Give the groups there are, with how many petitions of each may run at once."""
        return dict(decode_list(self._ask("slots")))

    @_guarded
    def ended(self) -> int:
        """Count the petitions that have ended."""
        return int(self._ask("ended"))

    @_guarded
    def prunable(self, *, older_than: float, keep: int, younger_than: float, limit: int) -> list[tuple[int, bytes]]:
        """Give (seq, channel) of ended rows to forget, oldest end first: see the contract."""
        self._now = max(self._now, younger_than)
        last_ended, last_seq = self._ask("end_of_keep", keep) or (-1.0, -1)
        bound = max(older_than, last_ended)
        text = self._ask("prunable", bound, older_than, last_ended, last_seq, younger_than, limit)
        return [(seq, bytes.fromhex(channel)) for seq, channel in decode_list(text)]

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close; safe to call twice. Afterwards the database file alone holds everything."""
        if self._closed:
            return
        self._closed = True
        self._reader.close()
        self._searcher.close()
        try:
            if self._broken is None:
                self._close_in_order()
        except (apsw.Error, OSError) as error:
            self._broken = StoreBroken(f"{self._files.database} was not closed in good order: {error}")
            if isinstance(error, apsw.FullError) or getattr(error, "errno", None) in NO_ROOM:
                self._broken.exit_code = StoreFull.exit_code  # it may go well once there is room
            raise self._broken from error  # the log stays: nothing says that it is not needed
        finally:
            self._connection.close()
            self._page_sums.close()
            if self._last_commit is not None:
                self._last_commit.close()
            if self._watch is not None:
                self._watch.close()
            self._files.close()

    def _close_in_order(self) -> None:
        """Note that the database holds everything, before the log is cut: a crash in between finds one of both."""
        if self._checkpoint():
            left = ""  # where the file cannot be read now, the next start compares nothing
            with contextlib.suppress(OSError):
                left = self._files.fingerprint()
            self._files.mark(self._files.clean, f"{left}\n")
            with contextlib.suppress(StoreBroken):  # the next start compares less
                self._files.witness.note_stop(stopped=True)
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)

    def forget_in_child(self) -> None:
        """Drop everything without closing it, in a forked child.

        Closing there would checkpoint, and take part in the parent's locks: the handles are leaked on purpose, and
        never finalized.
        """
        for connection in (self._connection, self._reader.take(), self._searcher.take()):
            if connection is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        self._closed = True
        self._broken = StoreBroken("the store belongs to the process that this one was forked from")
