"""Follow a channel, give credit, and stop following."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.permissions import Deed, Whose, refusal
from orcha._protocol.messages import CloseChannel, Credit, Follow, Gone, Unfollow
from orcha._service.audit_book import Named
from orcha._service.verbs.marks import deed_of
from orcha._service.verbs.petition_lookup import may_do

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def follow(engine: Engine, peer: Peer, message: Follow) -> None:
    """Send the records from the index on; an unknown channel, or somebody else's, is Gone."""
    channel = engine.channels.get(message.channel)
    if channel is None or not may_do(engine, peer, deed_of(message), channel.owner):
        engine.reply(peer, Gone(message.channel, "the service knows no such channel"))
        return
    engine.channels.follow(peer, channel, message.index, message.credit)
    if channel.owner != peer.identity:
        row = engine.store.tokens([channel.id]).get(channel.id) if channel.own else None  # its number is the token
        engine.audit.note(peer, Named("attach", [] if row is None else [row.id], [channel.owner]))


def recheck(engine: Engine) -> None:
    """Have nobody follow a channel any more that they may not read, since roles or the visibility have changed."""
    for channel, peer in engine.channels.all_followers():
        if not may_do(engine, peer, Deed.READ, channel.owner):
            engine.channels.unfollow(peer, channel.id)
            engine.reply(peer, Gone(channel.id, refusal(Deed.READ, peer.role, Whose.OTHERS)))


def unfollow(engine: Engine, peer: Peer, message: Unfollow) -> None:
    """Send the client no more of the channel."""
    engine.channels.unfollow(peer, message.channel)


def credit(engine: Engine, peer: Peer, message: Credit) -> None:
    """Send more, if there is more."""
    engine.channels.credit(peer, message.channel, message.size)


def close_channel(engine: Engine, peer: Peer, message: CloseChannel) -> None:
    """Let go of a channel: its creator follows it no more."""
    engine.channels.unfollow(peer, message.channel)
