"""The log for programs: an event a line of JSON, or an entry of systemd's journal, with the petition's id."""

from __future__ import annotations

import array
import io
import json
import logging
import os
import socket
import sys
from datetime import datetime

import pytest

from orcha.exceptions import ConfigurationError
from orcha.utils import event_log, journald
from orcha.utils.logging_utils import _StandardError
from support.commands import COMMANDS
from support.gates import Gate
from support.waiting import DEADLINE, wait_for


class Journal:
    """Stands in for systemd-journald."""

    def __init__(self, folder):
        self.path = str(folder / "journal")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(DEADLINE)

    def next(self):
        """Wait for the next entry; give its fields."""
        data, ancillary, _, _ = self._socket.recvmsg(1 << 20, socket.CMSG_SPACE(array.array("i").itemsize))
        for _, _, numbers in ancillary:
            [descriptor] = array.array("i", numbers)
            data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            os.close(descriptor)
        return fields(data)

    def close(self):
        self._socket.close()


def fields(data):
    """Read an entry as journald does."""
    found = {}
    while data:
        name, sign, rest = data.partition(b"\n")
        if b"=" in name:
            name, _, value = name.partition(b"=")
            data = rest
        else:
            assert sign
            size = int.from_bytes(rest[:8], "little")
            value, data = rest[8 : 8 + size], rest[9 + size :]
        found[name.decode()] = value.decode()
    return found


@pytest.fixture
def journal(tmp_path, monkeypatch):
    known = Journal(tmp_path)
    monkeypatch.setattr(journald, "SOCKET_PATH", known.path)
    yield known
    known.close()


@pytest.fixture
def begin(monkeypatch):
    """Give a function that has a kind of log written, in the place of this process's own stderr."""

    def begun(kind):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        event_log.set_up(kind)
        return stream

    return begun


LOG = logging.getLogger("orcha-test-event-log")
LOG.addHandler(_StandardError())
LOG.propagate = False  # pytest has handlers of its own at the root


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_each_event_is_a_line_whatever_its_text_holds(begin):
    stderr = begin("json")
    event_log.set_up("json")  # again
    LOG.warning("two\nlines and \x1b[2J")
    try:
        int("bad\nthing")
    except ValueError:
        LOG.exception("it failed")
    print("orcha: a line\n\nand half", file=sys.stderr, end="")
    print(" of one", file=sys.stderr)
    found = lines(stderr.getvalue())
    assert [each["level"] for each in found] == ["warning", "error", "info", "info"]
    texts = ["two\\nlines and \\x1b[2J", "it failed", "a line", "and half of one"]
    assert [each["message"] for each in found] == texts
    assert found[1]["error"].endswith("'bad\\nthing'")
    assert all(datetime.fromisoformat(each["time"]).tzinfo for each in found)


def test_the_life_of_a_petition_is_read_by_its_id(serve, tmp_path):
    gate = Gate(tmp_path)
    service = serve(COMMANDS, environment={"ORCHA_LOG": "json", "ORCHA_COMMANDS": "1"}, ready=False)
    wait_for(lambda: '"message": "serving' in service.stderr(), what="the ready line")
    service.ask("run", "--detach", "--name", "first", "--", "cat", gate.path)
    gate.wait_until_reached()
    service.ask("run", "--detach", "--name", "a\nb", "--", "sh", "-c", "exit 3")
    gate.open()
    assert service.ask("wait", "a\nb").returncode == 3
    assert service.stop() == 0
    found = lines(service.stderr())
    mine = [each for each in found if each.get("id") == "a\nb"]
    assert [each["event"] for each in mine] == ["is queued", "begins", "ends"]
    assert (mine[-1]["outcome"], mine[-1]["code"], mine[1]["attempt"]) == ("failed", 3, 1)
    assert [each["event"] for each in found if each.get("id") == "first"] == ["begins", "ends"]
    assert all("user" in each for each in mine)


# --- the journal ------------------------------------------------------------------------------------------------------


def test_why_a_service_does_not_start_is_an_error_in_the_log(serve):
    """So journalctl -p err shows it."""
    words = ("serve", "commands", "--log", "json")
    refused = serve(start=False).run(*words, env=serve.environment() | {"ORCHA_COMMANDS": "never"})
    last = json.loads(refused.stderr.splitlines()[-1])
    assert (refused.returncode, last["level"], last["message"][:14]) == (78, "error", "ORCHA_COMMANDS")


def test_an_entry_has_the_fields_of_its_petition(begin, journal):
    stderr = begin("journal")
    LOG.error("petition %s: lost", "a\nb", extra={"orcha_fields": {"id": "a\nb", "user": "alice"}})
    entry = journal.next()
    expected = {"MESSAGE": "petition a\\nb: lost", "PRIORITY": "3", "ORCHA_ID": "a\nb", "ORCHA_USER": "alice"}
    assert entry == expected | {"SYSLOG_IDENTIFIER": "orcha"}
    assert stderr.getvalue() == ""


def test_what_is_too_large_for_a_datagram_goes_as_a_file(journal):
    assert journald.send(journald.entry({"MESSAGE": "x" * (8 << 20)}))
    assert journal.next() == {"MESSAGE": "x" * (8 << 20)}


def test_where_the_journal_is_away_the_event_goes_to_stderr(begin, journal):
    journal.close()
    stderr = begin("journal")
    LOG.warning("nobody listens")
    assert lines(stderr.getvalue())[0]["message"] == "nobody listens"


def test_a_service_whose_stderr_leads_to_the_journal_writes_there(serve, journal, tmp_path):
    source = f"""
from orcha.utils import journald
journald.SOCKET_PATH = {journal.path!r}
from support.managers import ScriptManager
"""
    service = serve("journaled:ScriptManager", source=source, environment={"ORCHA_LOG": "journal"}, ready=False)
    entries = [journal.next()]
    while not entries[-1]["MESSAGE"].startswith("serving"):
        entries.append(journal.next())
    assert service.stop() == 0
    while entries[-1]["MESSAGE"] != "the service is stopping":
        entries.append(journal.next())
    assert service.stderr() == ""
    assert {each["PRIORITY"] for each in entries} == {"6"}


# --- which ------------------------------------------------------------------------------------------------------------


def test_the_kind_is_what_is_asked_for_else_what_stderr_is(tmp_path):
    with (tmp_path / "stream").open("wb") as stream:
        found = os.fstat(stream.fileno())
        known = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert event_log.wanted_kind(known, stream.fileno()) == "journal"
        assert event_log.wanted_kind(known | {"ORCHA_LOG": "text"}, stream.fileno()) == "text"
        assert event_log.wanted_kind({"JOURNAL_STREAM": "1:2"}, stream.fileno()) == "text"
        assert event_log.wanted_kind({}, stream.fileno()) == "text"
    assert event_log.wanted_kind(known, 10_000) == "text"
    with pytest.raises(ConfigurationError, match="text, json or journal"):
        event_log.wanted_kind({"ORCHA_LOG": "xml"})


def test_a_level_between_two_has_the_name_of_the_lower(begin):
    stderr = begin("json")
    sys.stderr.event(logging.LogRecord("x", 35, "", 0, "a", None, None))
    sys.stderr.event(logging.LogRecord("x", 5, "", 0, "a", None, None))
    assert [each["level"] for each in lines(stderr.getvalue())] == ["warning", "debug"]
