"""What the client's half needs of a connection and of its channels."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Lock
    from typing import Any, Protocol

    from orcha._client.channel import ClientChannel
    from orcha._protocol.endpoint import Endpoint

    class Link(Protocol):
        """An authenticated connection: one thread sends while another reads."""

        @property
        def endpoint(self) -> Endpoint:
            """Where the service was found."""

        @property
        def is_anothers(self) -> bool:
            """Whether the service is another user's, or on another machine."""

        @property
        def instance(self) -> object:
            """Which start of the service this is."""

        def send(self, data: bytes, /) -> object:
            """Send all of it; OSError where that is not possible."""

        def read_frames(self) -> Sequence[bytes | memoryview]:
            """Wait for frames and give their bodies; none, or OSError, at the end of the connection."""

        def read_some(self) -> Sequence[bytes | memoryview] | None:
            """Read what has come, once; None at the end of the connection, OSError where it breaks."""

        def fileno(self) -> int:
            """Give the descriptor to be polled; -1 once it is closed."""

        def close(self) -> object:
            """Close it, and end what another thread waits for on it."""

        def abandon(self) -> object:
            """Close this process's copy after a fork; the connection stays the parent's."""

    class Channels(Protocol):
        """A client's channels."""

        def find(self, identity: bytes | None, /) -> ClientChannel | None:
            """Give the channel where somebody can still read it."""

        def everyone(self) -> list[ClientChannel]:
            """Give all of them."""

    class Owner(Protocol):
        """What a channel needs of its client."""

        def wish(self, channel: ClientChannel, what: str) -> None:
            """Have the thread that sends "follow" the channel, or "credit" what was handed out."""

        def discard(self, channel: bytes) -> None:
            """Nobody can read this channel any more."""

        def wait(self, gate: Lock, timeout: float, *, is_answer: bool) -> bool:
            """Wait until the gate is released, `timeout` seconds at most unless negative; no longer than is any use.

            What `is_answer` may come at once.
            """

        def nudge(self) -> None:
            """Have who waits look at its gate."""

        def patience(self) -> float | None:
            """Seconds to wait where no connection was ever made; None where one was."""

        def decode(self, payload: bytes) -> Any:
            """Decode a value."""
