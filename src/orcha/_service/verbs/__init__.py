"""What each message of a client means: one verb, one file. The table is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._service.verbs.call import call
from orcha._service.verbs.cancel import cancel
from orcha._service.verbs.finish import finish
from orcha._service.verbs.follow import close_channel, credit, follow, unfollow
from orcha._service.verbs.list import list_petitions
from orcha._service.verbs.ping import ping
from orcha._service.verbs.put import put
from orcha._service.verbs.submit import submit
from orcha._wire import messages

if TYPE_CHECKING:
    from collections.abc import Callable


def _not_here(engine: Any, peer: Any, message: Any) -> None:
    """Answer that this service does not know the verb."""
    reason = f"this service knows no {type(message).__name__}"
    engine.reply(peer, messages.Reply(message.request, messages.Verdict.UNKNOWN, None, reason))


HANDLERS: dict[type, Callable[[Any, Any, Any], None]] = {
    messages.Submit: submit,
    messages.Cancel: cancel,
    messages.Follow: follow,
    messages.Unfollow: unfollow,
    messages.Credit: credit,
    messages.Put: put,
    messages.Finish: finish,
    messages.List: list_petitions,
    messages.Call: call,
    messages.Ping: ping,
    messages.CloseChannel: close_channel,
    messages.Show: _not_here,
    messages.Priority: _not_here,
    messages.Pause: _not_here,
    messages.Resume: _not_here,
    messages.Remove: _not_here,
    messages.Retry: _not_here,
    messages.Stats: _not_here,
    messages.Stdin: _not_here,
    messages.Resize: _not_here,
    messages.Stop: _not_here,
}
