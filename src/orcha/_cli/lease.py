"""A client that waits for a lease, and holds it: in the foreground, or around a command that runs here."""

from __future__ import annotations

import os
import queue
import signal

from orcha._cli.attached import Attached, Left
from orcha.exceptions import OrchaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orcha._cli.array_output import ArrayChannel
    from orcha._cli.session import Session
    from orcha._cli.streams import Streams
    from orcha._cli.terminal_input import Typing
    from orcha._client.channel import ClientChannel

NOT_FOUND_CODE, NOT_EXECUTABLE_CODE = 127, 126
_ANSWER_SECONDS = 5.0
"""Seconds that the service has to answer that the lease is given back."""


class Lease(Attached):
    """Follows a lease.

    Ctrl+C gives it back, or up where it waits. With a command, the command is run while the lease is held, and the
    lease is given back when it ends.
    """

    def __init__(
        self,
        service: Session,
        streams: Streams,
        name: str,
        *,
        token: bytes,
        command: list[str],
        is_shell: bool = False,
        leaves: bool = False,
    ) -> None:
        """Prepare.

        Args:
            service: a client.
            streams: where lines go.
            name: the lease's id.
            token: the lease's.
            command: the command that runs while the lease is held; empty for none.
            is_shell: whether the command is a shell, which SIGTERM does not end.
            leaves: whether the client ends as soon as the lease is held.

        """
        super().__init__(service, streams, name, token=token)
        self._program = command
        self._is_shell = is_shell
        self._leaves = leaves
        self._until: float | None = None
        self.is_held = False

    def is_had_at_once(self) -> bool:
        """Tell whether the lease is held already; else give it up, and tell what it would wait for."""
        from orcha._cli.waiting_line import waiting

        row = self._service.details(self._name)
        if row["state"] not in {"queued", "held"}:
            return True
        outcome = self._service.done(self._service.cancel(token=self._token, why="it was not to wait"), self._name)
        if outcome != "cancelled":
            return True
        self._streams.tell(f"it cannot be had at once: {waiting(row)}")
        return False

    def cancel(self, why: str, *, at_once: bool = False) -> None:
        """Give the lease back, or up where it is not held yet, without waiting for the answer."""
        if not self.is_held:
            super().cancel(why, at_once=at_once)
        else:
            self._asked = self._service.ask_to_give_back(self._name, self._streams.tell)

    def _take(self, value: Any) -> None:
        """Take a line of the service: the lease is held, lasts longer, or ends soon."""
        from orcha._cli import render

        if not isinstance(value, str):
            return
        try:
            details = self._service.details(self._name)
        except OrchaError:
            self._streams.tell(render.local(value))
            return
        until = details.get("until")
        if details["state"] != "running" or (self.is_held and until == self._until):
            self._streams.tell(render.local(value))
            return
        self._waits, self._until = False, until
        self._streams.erase()
        if self._leaves:
            render.line(self._name)
            raise Left(0)
        self._streams.tell(f"{self._name} has {details['lease']['what']}{_until(until)}{self._hint_at_end()}")
        if not self.is_held:
            self.is_held = True
            if self._program:
                raise _Held(details)

    def _hint_at_end(self) -> str:
        return "" if self._program or self.is_held else ": Ctrl+C gives it back"

    def follow(self, channel: ClientChannel | ArrayChannel, typing: Typing | None = None) -> int:
        """Wait for the lease, and hold it to its end; give the exit code: with a command, the code of the command."""
        try:
            return super().follow(channel, typing)
        except _Held as held:
            return self._around(channel, held.details)

    # --- around a command -------------------------------------------------------------------------------------------

    def _around(self, channel: ClientChannel | ArrayChannel, details: dict[str, Any]) -> int:
        """Run the command, and give the lease back when the command has ended."""
        from orcha.lib.foreground import Foreground

        program = self._program[0]
        try:
            command = Foreground(self._program, environment(self._name, details))
        except OSError as error:
            self._give_back()
            self._streams.tell(f"{program}: {error.strerror}")
            return NOT_FOUND_CODE if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE_CODE
        ends: list[object] = []

        def wait(seconds: float) -> bool:
            try:
                value = channel.get(timeout=seconds)
            except queue.Empty:
                return True
            if isinstance(value, str):
                self._take(value)
                return True
            ends.append(value)
            command.send(signal.SIGHUP if self._is_shell else signal.SIGTERM)
            return False

        code = command.until_end(wait)
        if not ends:
            self._give_back()
        return code

    def _give_back(self) -> None:
        request = self._service.ask_to_give_back(self._name, self._streams.tell)
        request.wait(_ANSWER_SECONDS)


class _Held(BaseException):
    """The lease is held, and the command is to be run."""

    def __init__(self, details: dict[str, Any]) -> None:
        super().__init__()
        self.details = details


def environment(name: str, details: dict[str, Any]) -> dict[str, str]:
    """Give the variables of the command: which lease it runs in, and which devices that has."""
    from orcha._core.device_variables import variables

    attempts = details.get("attempts") or [{}]
    devices = {resource: tuple(names) for resource, names in (attempts[-1].get("devices") or {}).items()}
    return {**os.environ, "ORCHA_LEASE": name, **variables(devices)}


def _until(seconds: float | None) -> str:
    from orcha._cli import render

    return "" if seconds is None else f" until {render.clock(seconds)}"


__all__ = ["Lease", "environment"]
