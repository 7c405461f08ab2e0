"""Records as a client keeps them until they are read."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Entry:
    """A record in the client's memory, with what holds once it was handed out."""

    __slots__ = ("end", "final", "finals", "index", "local", "over", "value")

    def __init__(self, before: Entry | None, index: int, value: Any, *, size: int = 0, local: bool = False) -> None:
        self.index = index
        """Its place in the service's log; an entry made here bears the place of the one before it."""
        self.value = value
        """Encoded for a VALUE or NOTICE of the service, else as it is handed out."""
        self.local = local
        """It does not come from the service."""
        self.end: int = size if before is None else before.end + size
        """Bytes received up to its end."""
        self.finals: int = 0 if before is None else before.finals
        """How many finals of the service have come up to it."""
        self.over: bool = False if before is None else before.over
        """There was a final, of the service or made here."""
        self.final: int | None = None if before is None else before.final
        """The last of them."""
