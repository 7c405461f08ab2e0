"""What a store of petitions raises."""

from __future__ import annotations

from orcha.exceptions.base import OrchaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class StoreError(OrchaError):
    """The store could not do what was asked."""

    exit_code = 74


class StoreFull(StoreError):  # noqa: N818 - a state of the disk, named as such
    """There is no room on the disk for what was to be kept: nothing of it is kept, and a smaller change may succeed."""

    exit_code = 75


class StoreBroken(StoreError):  # noqa: N818 - a state of the store, named as such
    """What is kept cannot be read or written any more: whether the last change is kept is not known.

    The store must only be closed after it. Nothing is tried again in place, since Linux may have dropped what it failed
    to write; the next start verifies what is there.
    """

    exit_code = 78


class StoreDamaged(StoreBroken):
    """The file is not what it was, or never was a store: a copy of it is needed, or a new one."""


class StoreNewer(StoreBroken):
    """The schema is of a newer Orcha: nothing of it is touched."""


class FencedError(StoreError):
    """Steps that are not allowed from where these petitions are: nothing of the whole change is kept."""

    seqs: tuple[int, ...]
    """The sequence numbers of the petitions that were not where the step expected them."""

    def __init__(self, seqs: Iterable[int]) -> None:
        """Keep which petitions it was."""
        self.seqs = tuple(seqs)
        super().__init__(self.seqs)

    def __str__(self) -> str:
        """Name the first of them."""
        return f"petitions not in the expected attempt and state: {_some([str(seq) for seq in self.seqs])}"


class TokenKnown(StoreError):  # noqa: N818 - an answer as much as an error
    """New petitions whose tokens belong to others already: nothing of the whole change is kept."""

    tokens: tuple[bytes, ...]
    """Those tokens."""

    def __init__(self, tokens: Iterable[bytes]) -> None:
        """Keep which tokens it was."""
        self.tokens = tuple(tokens)
        super().__init__(self.tokens)

    def __str__(self) -> str:
        """Name the first of them."""
        return f"tokens that are known already: {_some([token.hex() for token in self.tokens])}"


class ChannelKnown(StoreError, ValueError):  # noqa: N818 - an answer as much as an error
    """New channels that are there already: nothing of the whole change is kept."""

    channels: tuple[bytes, ...]
    """Their ids."""

    def __init__(self, channels: Iterable[bytes]) -> None:
        """Keep which channels it was."""
        self.channels = tuple(channels)
        super().__init__(self.channels)

    def __str__(self) -> str:
        """Name the first of them."""
        return f"channels that are there already: {_some([channel.hex() for channel in self.channels])}"


def no_room(path: object) -> str:
    """Say that a disk is full, and what helps.

    >>> no_room("/srv/orcha.db")
    'there is no room on the disk for /srv/orcha.db: make room there'
    """
    return f"there is no room on the disk for {path}: make room there"


def _some(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
