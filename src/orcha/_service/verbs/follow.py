"""Follow a channel, give credit, and stop following."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.authority import may_act_for
from orcha._protocol.messages import CloseChannel, Credit, Follow, Gone, Unfollow

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def follow(engine: Engine, peer: Peer, message: Follow) -> None:
    """Send the records from the index on; an unknown channel, or somebody else's, is Gone."""
    channel = engine.channels.get(message.channel)
    if channel is None or not may_act_for(peer, channel.owner):
        engine.reply(peer, Gone(message.channel, "the service knows no such channel"))
        return
    engine.channels.follow(peer, channel, message.index, message.credit)


def unfollow(engine: Engine, peer: Peer, message: Unfollow) -> None:
    """Send the client no more of the channel."""
    engine.channels.unfollow(peer, message.channel)


def credit(engine: Engine, peer: Peer, message: Credit) -> None:
    """Send more, if there is more."""
    engine.channels.credit(peer, message.channel, message.size)


def close_channel(engine: Engine, peer: Peer, message: CloseChannel) -> None:
    """Let go of a channel: its creator follows it no more."""
    engine.channels.unfollow(peer, message.channel)
