"""Forgetting ended petitions, within a transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orcha._store.queries import decode_list, decode_rows
from orcha.exceptions.store import FencedError

if TYPE_CHECKING:
    from collections.abc import Callable


def delete(seqs: list[int], ask: Callable[..., Any]) -> list[bytes]:
    """Forget ended petitions, and the channels that no other petition names; give the ids of these channels."""
    gone = json.dumps(seqs)
    ask("note_used")
    candidates = _as_array(ask("channels_of", gone))
    ask("release_channels", gone)
    ask("delete_petitions", gone)
    ask("delete_attempts", gone)
    left = decode_rows(ask("rows", gone))
    if left:
        raise FencedError(sorted({row.seq for row in left}))
    unused = ask("unused_channels", candidates)
    ask("delete_records", _as_array(unused))
    ask("delete_channels", _as_array(unused))
    return [bytes.fromhex(channel) for channel in decode_list(unused)]


def _as_array(texts: str | None) -> str:
    return f"[{texts or ''}]"
