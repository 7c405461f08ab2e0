"""The log for programs: one event a line of JSON, or an entry of systemd's journal with fields of its own.

A service sets this up for its process: what its log says, and what it and its plugins print on stderr, become events.
Newlines in a text are escaped, so that no text of a plugin or a user looks like an event of its own.
"""

from __future__ import annotations

import logging
import os
import sys

from orcha.exceptions import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TextIO

    Fields = Mapping[str, object]

TEXT, JSON, JOURNAL = "text", "json", "journal"
KINDS = (TEXT, JSON, JOURNAL)
"""What `orcha serve --log` and ``ORCHA_LOG`` may say."""
_PREFIX = "orcha: "
_LEVELS = {
    logging.DEBUG: ("debug", 7),
    logging.INFO: ("info", 6),
    logging.WARNING: ("warning", 4),
    logging.ERROR: ("error", 3),
    logging.CRITICAL: ("critical", 2),
}
"""Names of levels, and their numbers for syslog(3)."""


def wanted_kind(environment: Mapping[str, str], descriptor: int = 2, configured: str | None = None) -> str:
    """Give the kind of log: ``ORCHA_LOG``, else what is configured, else the journal where stderr leads there.

    ``JOURNAL_STREAM`` holds device and inode of what systemd made stderr: systemd.exec(5).

    Raises ConfigurationError where ``ORCHA_LOG`` names no kind.
    """
    kind = environment.get("ORCHA_LOG")
    if kind:
        if kind not in KINDS:
            raise ConfigurationError(f"ORCHA_LOG is {kind!a:.80}: set it to {', '.join(KINDS[:-1])} or {KINDS[-1]}")
        return kind
    if configured:
        return configured
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(descriptor)
    except OSError:
        return TEXT
    return JOURNAL if (device, inode) == (str(found.st_dev), str(found.st_ino)) else TEXT


def set_up(kind: str) -> None:
    """Have what this process writes to its stderr from now on become events; nothing for text, or where it did so."""
    if kind == TEXT or sys.stderr is None or isinstance(sys.stderr, EventStream):
        return
    if kind == JSON:
        sys.stderr = EventStream(sys.stderr, json_line)
        return
    from orcha.utils.journald import entry, send

    def tell(record: logging.LogRecord, fields: Fields) -> str:
        _, priority = _level(record)
        sent = send(entry({"MESSAGE": _message(record), "PRIORITY": priority} | _journal_fields(record, fields)))
        return "" if sent else json_line(record, fields)  # the journal may be away

    sys.stderr = EventStream(sys.stderr, tell)


class EventStream:
    """Stands in the place of stderr; everything that is not defined here is the stream's that was there before."""

    def __init__(self, stream: TextIO, line_of: Callable[[logging.LogRecord, Fields], str]) -> None:
        """Write to this stream what `line_of` makes of events; it may give nothing to write."""
        self._stream = stream
        self._line_of = line_of
        self._rest = ""

    def event(self, record: logging.LogRecord) -> None:
        """Write an event of the log."""
        line = self._line_of(record, getattr(record, "orcha_fields", {}))
        if line:
            self._stream.write(line)
            self._stream.flush()

    def say(self, text: str, level: int) -> None:
        """Write a line that somebody prints as an event of this level."""
        self.event(logging.LogRecord("orcha", level, "", 0, text.removeprefix(_PREFIX), None, None))

    def write(self, text: str) -> int:
        """Write each whole line as an event."""
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            if line.strip():
                self.say(line, logging.INFO)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all of them."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        """Give what the stream itself has."""
        return getattr(self._stream, name)


def json_line(record: logging.LogRecord, fields: Fields) -> str:
    """Give an event as a line of JSON: `time` (ISO 8601), `level`, `message`, then what is known beside that."""
    import json
    from datetime import UTC, datetime

    known = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
        "level": _level(record)[0],
        "message": _message(record),
        **fields,
    }
    if error := _traceback(record):
        known["error"] = error
    return json.dumps(known, default=str) + "\n"


def _journal_fields(record: logging.LogRecord, fields: Fields) -> dict[str, object]:
    error = _traceback(record)
    known = {**fields, "error": error} if error else fields
    return {"SYSLOG_IDENTIFIER": "orcha"} | {f"ORCHA_{name.upper()}": value for name, value in known.items()}


def _level(record: logging.LogRecord) -> tuple[str, int]:
    """Give a level's name and its number for syslog(3); a level between two counts as the lower level."""
    return _LEVELS[max((level for level in _LEVELS if level <= record.levelno), default=logging.DEBUG)]


def _message(record: logging.LogRecord) -> str:
    """Give the text on one line."""
    text = record.getMessage()
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _traceback(record: logging.LogRecord) -> str:
    return "" if not record.exc_info else logging.Formatter().formatException(record.exc_info)


__all__ = ["JOURNAL", "JSON", "KINDS", "TEXT", "EventStream", "json_line", "set_up", "wanted_kind"]
