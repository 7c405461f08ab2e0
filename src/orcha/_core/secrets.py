"""The secrets of petitions, in memory alone, and which petitions have to wait for theirs.

A petition's message names its secrets; their values never get near the store. So they are gone with the service, and a
petition that waited then has to be given them again.

>>> secrets = Secrets()
>>> secrets.keep(b"t", "uid:7", {"TOKEN": b"x"})
>>> secrets.find(7, b"t", ["TOKEN", "KEY"])
('KEY',)
>>> secrets.lacks(7).text()
'its secret KEY is lost: a service forgets secrets when it ends'
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.reasons import SecretsLost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_OWNER_SECRET_BYTES = 16 << 20
"""Bytes of secrets that are kept for one owner at a time."""
_NONE: Mapping[str, bytes] = MappingProxyType({})


class _Kept(NamedTuple):
    owner: str
    values: Mapping[str, bytes]

    def __repr__(self) -> str:
        """Show no value."""
        return f"<secrets {sorted(self.values)} of {self.owner}>"


class Secrets:
    """What is known of secrets; the engine's, but for `find`, which the hook thread calls in a conversion.

    Nobody gives secrets while a hook thread converts.
    """

    def __init__(self) -> None:
        """Know no secret."""
        self.kept: dict[bytes, _Kept] = {}
        """By the token of the petition."""
        self.lacking: dict[int, tuple[str, ...]] = {}
        """The names that a petition lacks, by its sequence number; most services have no such petition."""

    def of(self, token: bytes) -> Mapping[str, bytes]:
        """Give the secrets of a petition, by its token."""
        kept = self.kept.get(token)
        return _NONE if kept is None else kept.values

    def refusal(self, token: bytes, owner: str, values: Mapping[str, bytes]) -> str | None:
        """Give why these values cannot be kept for an owner; None where they can."""
        size = _size(values) + sum(
            _size(kept.values) for other, kept in self.kept.items() if kept.owner == owner and other != token
        )
        if size <= MAX_OWNER_SECRET_BYTES:
            return None
        return (
            f"the secrets of all your petitions would have {size} bytes, and the service keeps at most"
            f" {MAX_OWNER_SECRET_BYTES}: wait until some have ended, or have the command read a file of yours"
        )

    def keep(self, token: bytes, owner: str, values: Mapping[str, bytes]) -> None:
        """Keep secrets for the petition of a token, beside secrets of other names that it has."""
        self.kept[token] = _Kept(owner, {**self.of(token), **values})

    def find(self, seq: int, token: bytes, names: Iterable[str]) -> tuple[str, ...]:
        """Note which of its secrets a petition lacks, and give their names."""
        known = self.of(token)
        lost = tuple(name for name in names if name not in known)
        if lost:
            self.lacking[seq] = lost
        return lost

    def lacks(self, seq: int) -> SecretsLost | None:
        """Give why a petition may not start, where it lacks a secret."""
        names = self.lacking.get(seq)
        return None if names is None else SecretsLost(names)

    def are_found(self, seq: int, token: bytes) -> bool:
        """Look again after secrets were given; tell whether the petition lacked some, and lacks none any more."""
        names = self.lacking.pop(seq, None)
        return names is not None and not self.find(seq, token, names)

    def drop(self, token: bytes, seq: int | None = None) -> None:
        """Forget the secrets of a petition that has ended, or was refused."""
        self.kept.pop(token, None)
        if seq is not None:
            self.lacking.pop(seq, None)


def _size(values: Mapping[str, bytes]) -> int:
    return sum(map(len, values.values()))


__all__ = ["MAX_OWNER_SECRET_BYTES", "Secrets"]
