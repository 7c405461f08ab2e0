"""The service's end of channels: their records, their followers, and how far each follower is.

Owned by the engine thread. Records are kept first and sent to followers afterwards; a follower that falls behind is
served from what is kept, at its own pace, and costs one small object here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from orcha._core.changes import Append
from orcha._protocol import losses
from orcha._protocol.frames import MAX_FRAME_BYTES, encode, frame
from orcha._protocol.messages import ChannelRecord, Gap, Gone, Kind, Reset
from orcha._protocol.values import encode as encode_value
from orcha._service import faults
from orcha._service.channels.catch_up import CatchUpPace
from orcha._service.channels.data_parts import parts
from orcha._service.channels.output_pieces import PASSED, SPAN, Expander, has_pieces
from orcha._service.channels.unkept_output import UnkeptOutput
from orcha.exceptions.store import StoreFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orcha._core.changes import Changes
    from orcha._core.effects import Final
    from orcha._output.log import MemoryLog, OutputLog
    from orcha._server.server import Peer
    from orcha._store.contract import Store

# Looked up once: an attribute of an enumeration costs ten times a global name.
_CLOSED, _FINAL, _NOTICE = Kind.CLOSED, Kind.FINAL, Kind.NOTICE

MAX_BYTES_IN_STORE = 64 * 1024
"""Bytes of a channel kept in the store; later records go to a file of their own, but final values never do."""
MAX_CACHED_CHANNELS = 20_000
"""Channels known without asking the store, followed ones aside."""
MAX_DATA_BYTES = MAX_FRAME_BYTES - 64 * 1024
"""Bytes of the records of one Data message."""
READ_BYTES = 128 * 1024
"""Bytes read at once for a follower that is behind."""
MAX_CREDIT_BYTES = 16 << 20
"""Bytes that a follower is sent at most before it gives credit again, however much credit it gave."""
MAX_CHANNEL_BYTES = 1 << 30
"""Bytes of values that a channel takes; later values are dropped and counted."""

_records = msgspec.msgpack.Encoder()
_blocks = msgspec.msgpack.Decoder(list[ChannelRecord])
_OUTPUT_KINDS = frozenset((Kind.VALUE, SPAN))
"""Kinds of records that may be kept in files, and left out where the disk is full."""
_ENCODED_NONE = msgspec.msgpack.encode(None)


class _RawData(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=35):
    """A Data message whose records are encoded already."""

    channel: bytes
    index: int
    records: msgspec.Raw


def _data(channel: bytes, first: int, records: bytes) -> bytes:
    """Frame a Data message around records that are encoded already; several, where one does not hold them."""
    if len(records) <= MAX_DATA_BYTES:
        return frame(_records.encode(_RawData(channel, first, msgspec.Raw(records))))
    frames = []
    for part in parts(_blocks.decode(records), MAX_DATA_BYTES):
        frames.append(frame(_records.encode(_RawData(channel, first, msgspec.Raw(_records.encode(part))))))
        first += len(part)
    return b"".join(frames)


class Follower:
    """How far one peer is with one channel."""

    __slots__ = ("credit", "is_slow", "next", "peer", "reads_along", "told_lost")

    def __init__(self, peer: Peer, index: int, credit: int) -> None:
        """Start at `index` with room for `credit` bytes."""
        self.peer = peer
        self.next = index
        self.credit = credit
        self.reads_along = False
        """Whether the follower keeps up: a command whose output is not kept waits for this follower."""
        self.is_slow = False
        """Whether a command has waited for it too long: no command does so again."""
        self.told_lost = (0, 0, 0)
        """The attempt (two numbers) whose output it lacked last, and the offset up to which a line has said so."""

    def lost_to(self, seq: int, attempt: int) -> int:
        """Return the offset up to which a line has told the follower that output of this attempt is lost."""
        return self.told_lost[2] if self.told_lost[:2] == (seq, attempt) else 0


class Channel:
    """What the service knows of a channel that is followed or written."""

    __slots__ = (
        "bounded",
        "dropped",
        "followers",
        "id",
        "kept",
        "names_pieces",
        "next",
        "own",
        "owner",
        "pending",
        "size",
        "stored",
    )

    def __init__(self, channel: bytes, owner: str, *, own: bool, following: int = 0, size: int = 0) -> None:
        """Know a channel whose next record gets the index `following`."""
        self.id = channel
        self.owner = owner
        self.own = own
        self.next = following
        self.size = size
        self.stored = size
        self.kept = False
        """Whether the store has it, or will with the transaction in the making."""
        self.bounded = True
        """Whether it takes a bounded amount, and in files at last. Output of commands is bounded where it is read; that
        output stays in the store, since what is kept of it and what is acknowledged have to be one transaction."""
        self.names_pieces = False
        """Whether records that this service has appended may name pieces of output that lie elsewhere."""
        self.dropped = 0
        self.followers: dict[int, Follower] = {}
        self.pending: list[ChannelRecord] = []


class ChannelBook:
    """All channels in use."""

    def __init__(
        self,
        store: Store,
        log: OutputLog | MemoryLog,
        send: Callable[[Peer, bytes], None],
        report: Callable[..., None],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        """Keep records in `store` and `log`, hand frames for followers to `send`, and lines for the log to `report`.

        `later` makes a call after a number of seconds.
        """
        self._store = store
        self._log = log
        self._send = send
        self._report = report
        self.expander = Expander(lambda _channel, _piece: None)
        """What stands for output in files is put in its place by it on the way to followers."""
        self.unkept = UnkeptOutput(self.known, later, lambda _seq, _attempt: None)
        """Output that is passed on and not kept."""
        self._channels: dict[bytes, Channel] = {}
        self.dirty: list[Channel] = []
        """The channels to which the transaction in the making appends."""
        self.delivery: list[tuple[Channel, int, int, bytes]] = []
        """What followers get once it is kept: a channel, the first index, how many records, the records."""
        self._followed: dict[int, set[bytes]] = {}
        self.pace = CatchUpPace(later, self._catch_up)
        self.scarce = False
        """Whether the disk is so full that values are dropped; reasons and finals are kept all the same."""

    def get(self, channel: bytes) -> Channel | None:
        """Give a channel that exists."""
        known = self._channels.get(channel)
        if known is not None and known.kept:
            return known
        stored = self._store.channel(channel)
        if stored is None:
            return known
        following = max(stored.next, self._log.end(channel))
        known = Channel(channel, stored.owner, own=stored.own, following=following, size=stored.size)
        known.kept = True
        self._keep(known)
        return known

    def known(self, channel: bytes) -> Channel | None:
        """Give a channel without a look into the store; where the store has it already, keeping it again shows that."""
        return self._channels.get(channel)

    def adopt(self, channel: bytes, changes: Changes) -> bool:
        """Replace a channel that was thought new by the kept channel; False where the kept channel is another user's.

        What the transaction in the making appends to it moves behind what is there.
        """
        stored = self._store.channel(channel)
        known = self._channels[channel]
        if stored is None or stored.owner != known.owner:
            return False
        shift = max(stored.next, self._log.end(channel))
        known.next += shift
        known.size += stored.size
        known.stored += stored.size
        known.own = stored.own
        known.kept = True
        changes.channels = [new for new in changes.channels if new.id != channel]
        changes.appends = [a._replace(first=a.first + shift) if a.channel == channel else a for a in changes.appends]
        self.delivery = [(c, first + shift if c is known else first, n, d) for c, first, n, d in self.delivery]
        return True

    def create(self, channel: bytes, owner: str, *, own: bool) -> Channel:
        """Make a channel that does not exist yet."""
        created = Channel(channel, owner, own=own)
        self._keep(created)
        return created

    def _keep(self, channel: Channel) -> None:
        self._channels[channel.id] = channel
        if len(self._channels) > MAX_CACHED_CHANNELS:
            self._evict()

    def _evict(self) -> None:
        unused = [c for c in self._channels.values() if c.kept and not c.followers and not c.pending]
        for channel in unused[: MAX_CACHED_CHANNELS // 4]:
            del self._channels[channel.id]

    def forget(self, channel: bytes) -> None:
        """Drop a channel that was never kept, or is not kept any more; its followers are told."""
        known = self._channels.pop(channel, None)
        if known is not None:
            for follower in known.followers.values():
                self._followed.get(follower.peer.id, set()).discard(channel)
                self._send(follower.peer, encode(Gone(channel, "no longer kept")))

    def discard(self, channel: bytes) -> None:
        """Note that a channel is not kept after all, since its first petition was not kept."""
        known = self._channels.get(channel)
        if known is not None:
            known.kept = False
            self.drop_unused(channel)

    def drop_unused(self, channel: bytes) -> None:
        """Drop a channel that a refused submit would have made."""
        known = self._channels.get(channel)
        if known is not None and not known.kept and not known.followers:
            del self._channels[channel]

    def is_followed(self, channel: bytes) -> bool:
        """Tell whether anyone follows the channel."""
        known = self._channels.get(channel)
        return known is not None and bool(known.followers)

    def all_followers(self) -> list[tuple[Channel, Peer]]:
        """Give each channel that is followed, with each client that follows it."""
        return [(channel, each.peer) for channel in self._channels.values() for each in channel.followers.values()]

    def followed(self) -> int:
        """Count the follows of all peers: a channel that three peers follow counts three times."""
        return sum(map(len, self._followed.values()))

    # --- writing ------------------------------------------------------------------------------------------------

    def append(self, channel: Channel, kind: int, seq: int, payload: bytes) -> None:
        """Add a record to the transaction in the making."""
        if not channel.pending:
            self.dirty.append(channel)
        channel.pending.append(ChannelRecord(kind, seq, payload))

    def append_final(self, final: Final) -> None:
        """Add a petition's last records to the transaction in the making."""
        record, line, value = final
        channel = self.get(record.channel)
        if channel is None:
            channel = self.create(record.channel, record.owner, own=record.channel == record.token)
        if line is not None:
            self.append(channel, _NOTICE, record.seq, encode_value(line))
        self.append(channel, _FINAL, record.seq, encode_value(value))
        if channel.own:
            self.append(channel, _CLOSED, record.seq, encode_value(None))

    def flush(self, changes: Changes) -> None:
        """Move all pending records into `changes` (or, beyond the store's share, to files) and give them places."""
        for channel in self.dirty:
            records, channel.pending = channel.pending, []
            if self.scarce or channel.dropped or (channel.bounded and channel.size >= MAX_CHANNEL_BYTES):
                records = self._spared(channel, records)
                if not records:
                    continue
            if channel.stored >= MAX_BYTES_IN_STORE and channel.bounded:
                values = [r for r in records if r.kind in _OUTPUT_KINDS]
                if len(values) == len(records):
                    self._to_file(channel, records)
                    continue
                if values and records[: len(values)] == values:
                    self._to_file(channel, values)
                    records = records[len(values) :]
            data = _records.encode(records)
            changes.appends.append(Append(channel.id, channel.next, len(records), data))
            channel.stored += len(data)
            self._note(channel, records, data)
        self.dirty.clear()

    def _spared(self, channel: Channel, records: list[ChannelRecord]) -> list[ChannelRecord]:
        """Give the records that are kept on a full disk: reasons and finals. One line counts the dropped values."""
        long = channel.bounded and channel.size >= MAX_CHANNEL_BYTES
        if self.scarce or long:
            left = [record for record in records if record.kind not in _OUTPUT_KINDS]
            channel.dropped += len(records) - len(left)
            records = left
        if records and channel.dropped:
            why = f"a channel takes {MAX_CHANNEL_BYTES} bytes" if long else "the service's disk was full"
            line = losses.VALUES.format(channel.dropped, why)
            records.insert(0, ChannelRecord(_NOTICE, records[0].seq, encode_value(line)))
            channel.dropped = 0
        return records

    def _to_file(self, channel: Channel, records: list[ChannelRecord]) -> None:
        data = _records.encode(records)
        if faults.CRASHES:
            faults.reach("output.before-write")
        try:
            self._log.append(channel.id, channel.next, len(records), data)
        except StoreFull:
            self.scarce = True
            channel.dropped += len(records)
            return
        if faults.CRASHES:
            faults.reach("output.after-write")
        self._note(channel, records, data)

    def _note(self, channel: Channel, records: list[ChannelRecord], data: bytes) -> None:
        self.delivery.append((channel, channel.next, len(records), data))
        channel.next += len(records)
        channel.size += len(data)

    def sync(self, channels: Iterable[bytes]) -> None:
        """Make the files of these channels durable, before an outcome is kept that promises all output."""
        for channel in channels:
            known = self._channels.get(channel)
            if known is None or known.stored >= MAX_BYTES_IN_STORE:  # else it has no file
                self._log.sync(channel)

    def redo(self, changes: Changes, keep: Callable[[ChannelRecord], bool]) -> None:
        """Give the records that `keep` lets be new places: the transaction that held them all was not kept."""
        delivery, self.delivery = self.delivery, []
        stored = {(append.channel, append.first) for append in changes.appends}
        changes.appends = []
        for channel, first, _, data in reversed(delivery):
            channel.next = first
            channel.size -= len(data)
            if (channel.id, first) in stored:
                channel.stored -= len(data)
        for channel, _, _, data in delivery:
            for record in _blocks.decode(data):
                if keep(record):
                    self.append(channel, record.kind, record.seq, record.payload)
                elif record.kind in _OUTPUT_KINDS or record.kind == PASSED:
                    channel.dropped += 1
        self.flush(changes)

    def has_passed(self, changes: Changes) -> bool:
        """Tell whether these changes append records of output that is not kept."""
        appended = (_blocks.decode(append.data) for append in changes.appends)
        return any(record.kind == PASSED for records in appended for record in records)

    # --- following ----------------------------------------------------------------------------------------------

    def deliver(self) -> None:
        """Send the records that were kept to the followers that are not behind and have room."""
        delivery, self.delivery = self.delivery, []
        for channel, first, count, data in delivery:
            frame = b""
            if channel.names_pieces and channel.followers and has_pieces(data):
                for follower in channel.followers.values():
                    if follower.next == first:
                        self._send_pieces(channel, follower, first, data)
                continue
            for follower in channel.followers.values():
                if follower.next != first or follower.credit <= 0:
                    continue
                frame = frame or _data(channel.id, first, data)
                follower.next = first + count
                follower.credit -= len(data)
                self._send(follower.peer, frame)
        if self.unkept.attempts:
            self.unkept.settle()

    def follow(self, peer: Peer, channel: Channel, index: int, credit: int) -> None:
        """Send `peer` the records from `index` on, and later ones as they come."""
        if index > channel.next:
            self._send(peer, encode(Reset(channel.id, channel.next)))
            index = channel.next
        follower = Follower(peer, index, min(credit, MAX_CREDIT_BYTES))
        channel.followers[peer.id] = follower
        self._followed.setdefault(peer.id, set()).add(channel.id)
        if index < channel.next:
            self._catch_up(channel, follower)
        follower.reads_along = follower.next >= channel.next
        if self.unkept.attempts:
            self.unkept.followed(channel.id)

    def unfollow(self, peer: Peer, channel: bytes) -> None:
        """Send the peer no more of the channel."""
        self._followed.get(peer.id, set()).discard(channel)
        known = self._channels.get(channel)
        if known is not None:
            known.followers.pop(peer.id, None)
        self.unkept.settle()

    def peer_gone(self, peer: Peer) -> None:
        """Forget all that this peer followed."""
        self.pace.forget(peer)
        for channel in self._followed.pop(peer.id, ()):
            known = self._channels.get(channel)
            if known is not None:
                known.followers.pop(peer.id, None)
        self.unkept.settle()

    def credit(self, peer: Peer, channel: bytes, size: int) -> None:
        """Note that the peer has room for more."""
        known = self._channels.get(channel)
        follower = known.followers.get(peer.id) if known is not None else None
        if known is not None and follower is not None:
            follower.credit = min(follower.credit + size, MAX_CREDIT_BYTES)
            if follower.next < known.next:
                self._catch_up(known, follower)
                self.unkept.settle()

    def _catch_up(self, channel: Channel, follower: Follower) -> None:
        kept = channel.next - sum(count for c, _, count, _ in self.delivery if c is channel)
        while follower.credit > 0 and follower.next < kept:
            if not self.pace.may_go_on(follower.peer):
                self.pace.put_off(channel, follower)
                return
            blocks = self._read(channel, follower.next, min(follower.credit, READ_BYTES))
            if not blocks or blocks[0][0] > follower.next:
                self._skip(channel, follower, blocks[0][0] if blocks else kept)
                return
            for first, count, data in blocks:
                if follower.credit <= 0:
                    return
                if has_pieces(data):
                    self._send_pieces(channel, follower, first, data)
                    continue
                if first < follower.next:
                    data = _records.encode(_blocks.decode(data)[follower.next - first :])  # noqa: PLW2901
                self._send(follower.peer, _data(channel.id, follower.next, data))
                self.pace.note(follower.peer, len(data))
                follower.next = first + count
                follower.credit -= len(data)

    def _send_pieces(self, channel: Channel, follower: Follower, first: int, data: bytes) -> None:
        """Send a follower records, some of them output in files, one by one, as far as it has room."""
        for record in _blocks.decode(data)[follower.next - first :]:
            if follower.credit <= 0:
                return
            if record.kind == PASSED:
                encoded = _records.encode([self.unkept.expanded(channel.id, record, follower)])
            else:
                encoded = _records.encode([self.expander.expanded(channel.id, record)])
            self._send(follower.peer, _data(channel.id, follower.next, encoded))
            self.pace.note(follower.peer, len(encoded))
            follower.next += 1
            follower.credit -= len(encoded)

    def _skip(self, channel: Channel, follower: Follower, first: int) -> None:
        """Tell a follower that its next records are lost; it follows again from the first record that is kept."""
        lost = (channel.id.hex(), follower.next, first - 1)
        self._report(logging.ERROR, "channel %s: its records %d to %d are lost", *lost)
        follower.next = first
        follower.credit = 0
        self._send(follower.peer, encode(Gap(channel.id, first)))

    def _read(self, channel: Channel, index: int, limit: int) -> list[tuple[int, int, bytes]]:
        """Give consecutive blocks from the block with `index` on; where no block has it, from the first later block."""
        stored = self._store.records(channel.id, index, limit)
        if stored and stored[0][0] <= index:
            consecutive = [stored[0]]
            for block in stored[1:]:
                if block[0] != consecutive[-1][0] + consecutive[-1][1]:
                    break
                consecutive.append(block)
            return consecutive
        logged = self._log.read(channel.id, index, limit)
        if logged and logged[0][0] <= index:
            return logged
        return min([stored[:1], logged[:1]], key=lambda block: block[0][0] if block else channel.next)
