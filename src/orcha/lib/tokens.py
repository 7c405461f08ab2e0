"""Which submits a message's id stands for: what `finish` has to cancel, known from the service's answers alone."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REMEMBERED_TOKENS = 10_000
"""Ids whose token is remembered, so that `finish` means that very petition."""


class Tokens:
    """The tokens of messages, by the messages' ids.

    A submit that is refused leaves the petition that was accepted before it where it is, so nothing takes an older
    token's place before the service has answered. Until then both are meant: a cancel may come before its submit.

    Example::

        tokens.ask([("m", token)])
        ...                             # the submit, and its answer
        tokens.accept([("m", token)])
        tokens.of("m")                  # [token]

    """

    def __init__(self) -> None:
        """Know none."""
        self._lock = threading.Lock()
        self._accepted: dict[str, bytes] = {}
        self._asked: dict[str, list[bytes]] = {}

    def ask(self, asked: Iterable[tuple[str, bytes]]) -> None:
        """Note that these tokens are sent with messages of these ids."""
        with self._lock:
            for key, token in asked:
                self._asked.setdefault(key, []).append(token)
            _forget(self._asked)

    def accept(self, accepted: Iterable[tuple[str, bytes]]) -> None:
        """Note that the service has petitions of these tokens: an older one of such an id has ended."""
        with self._lock:
            for key, token in accepted:
                self._answered(key, token)
                self._accepted.pop(key, None)  # the newest stand at the end
                self._accepted[key] = token
            _forget(self._accepted)

    def refuse(self, refused: Iterable[tuple[str, bytes]]) -> None:
        """Note that the service has no petitions of these tokens: what was accepted before is meant as ever."""
        with self._lock:
            for key, token in refused:
                self._answered(key, token)

    def of(self, key: str) -> list[bytes]:
        """Give the token that was accepted last for this id, and those without an answer."""
        with self._lock:
            accepted = self._accepted.get(key)
            return [*([] if accepted is None else [accepted]), *self._asked.get(key, ())]

    def _answered(self, key: str, token: bytes) -> None:
        """Take a token from those without an answer; the caller has the lock."""
        asked = self._asked.get(key)
        if asked is not None and token in asked:
            asked.remove(token)
            if not asked:
                del self._asked[key]


def _forget(tokens: dict[str, bytes] | dict[str, list[bytes]]) -> None:
    """Drop the oldest beyond what is remembered."""
    while len(tokens) > MAX_REMEMBERED_TOKENS:
        del tokens[next(iter(tokens))]
