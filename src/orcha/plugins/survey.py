"""Finding out about every plugin, in a process of its own: whatever one does while it is imported, it does it there."""

from __future__ import annotations

import os
import select
import signal
import subprocess  # noqa: TID251 - the process that imports plugins is no petition's
import sys

from orcha.plugins.places import search_folders, with_orcha
from orcha.plugins.record import FIELD, RECORD, TOO_SLOW, Plugin, clean

IMPORT_DEADLINE_SECONDS = 10.0
"""Seconds that one plugin may take to be imported and to say its version."""

_BOOT = """
import sys
sys.path[:] = sys.stdin.buffer.readline()[:-1].decode("utf-8", "surrogateescape").split("\\0")
from orcha.plugins.scan import main
main()
"""


def survey(path: list[str], *, versions: bool) -> tuple[list[Plugin], bool]:
    """Import each plugin found on a safe path once, elsewhere, and give what is to be known of it.

    Where a plugin ends the process that imports it, or does not come back within `IMPORT_DEADLINE_SECONDS`, this is
    given as the plugin's problem. The other plugins are then imported by another process.

    Returns:
        The plugins, and whether they are all: not so where the process failed without any plugin's help.

    """
    culprits: list[Plugin] = []
    while True:
        scan = _Scan(path, skip=[plugin.module for plugin in culprits], versions=versions)
        complete = scan.run()
        if complete or not scan.current:
            return scan.found + culprits, complete
        culprit = Plugin(scan.current)
        culprit.problem = scan.problem
        culprits.append(culprit)


class _Scan:
    """One process that imports plugins, and what it says of them."""

    def __init__(self, path: list[str], *, skip: list[str], versions: bool) -> None:
        """Prepare what it is told."""
        lines = ["\0".join(with_orcha(path)), FIELD.join(search_folders(path)), FIELD.join(skip), str(int(versions))]
        self._request = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        self.found: list[Plugin] = []
        self.current = ""
        """The module it is at, while it has not said that it is done with it."""
        self.problem = ""

    def run(self) -> bool:
        """Run it; tell whether it came to its end."""
        reader, writer = os.pipe()
        process = subprocess.Popen(
            [sys.executable, *subprocess._args_from_interpreter_flags(), "-P", "-c", _BOOT, str(writer)],  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing does
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(writer,),
            start_new_session=True,
        )
        os.close(writer)
        try:
            return self._converse(process, reader)
        finally:
            os.close(reader)
            _end(process)

    def _converse(self, process: subprocess.Popen[bytes], reader: int) -> bool:
        """Send the request and read the answers; tell whether the last of them came."""
        assert process.stdin is not None
        try:
            with process.stdin as stdin:
                stdin.write(self._request)
        except BrokenPipeError:
            return self._failed(process)
        rest = b""
        while True:
            ready, _, _ = select.select([reader], [], [], IMPORT_DEADLINE_SECONDS)
            if not ready:
                self.problem = f"{TOO_SLOW} {IMPORT_DEADLINE_SECONDS:g} s"
                return False
            received = os.read(reader, 65536)
            if not received:
                return self._failed(process)
            *records, rest = (rest + received).split(RECORD.encode())
            for record in records:
                if self._take(record.decode("utf-8", "surrogateescape")):
                    return True

    def _take(self, record: str) -> bool:
        """Take one answer; tell whether it is the last."""
        kind, _, body = record.partition(FIELD)
        if kind == "at":
            self.current = body
        elif kind == "plugin":
            self.found.append(Plugin.read(body))
            self.current = ""
        return kind == "end"

    def _failed(self, process: subprocess.Popen[bytes]) -> bool:
        """Note how the process ended before its time."""
        code = process.wait()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        self.problem = f"importing it ended the interpreter {how}"
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what plugins started in it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)  # it is not reaped yet, or its group lives on: the number is its own
    except ProcessLookupError:
        return
    finally:
        process.wait()


def write_record(descriptor: int, kind: str, body: str = "") -> None:
    """Write one answer, from the process that imports."""
    text = f"{clean(kind)}{FIELD}{body}{RECORD}"
    os.write(descriptor, text.encode("utf-8", "surrogateescape"))
