"""`orcha events --follow`, against answers that a test makes up."""

from __future__ import annotations

import json
from argparse import Namespace

import pytest

from orcha._cli import events


class Answers:
    """A service that gives these rows, one list a look, and is interrupted after the last one."""

    def __init__(self, *looks):
        self.looks = list(looks)
        self.since = []

    def events(self, limit, *, since, **_):
        self.since.append(since)
        return {"events": self.looks.pop(0)[::-1][:limit]}

    def done(self, reply):
        return reply

    def pause(self, _):
        if not self.looks:
            raise KeyboardInterrupt


def row(at, name):
    known = {"at": at, "user": "ann", "who": "uid:7", "key": "", "door": "socket", "host": "", "verb": "cancel"}
    return known | {"ids": [name], "total": 1, "why": "", "outcome": "done", "reason": "", "number": 1, "owners": []}


def test_follow_tells_each_event_once_also_one_that_is_kept_late(monkeypatch, capsys):
    a, b, late, c = row(1000.0, "a"), row(1050.0, "b"), row(1010.0, "late"), row(1100.0, "c")
    service = Answers([a], [a, b], [a, late, b], [a, late, b], [late, b, c], [b, c], [c])
    monkeypatch.setattr("time.sleep", service.pause)
    wanted = Namespace(who=None, verb=None, id=None, json=True)
    known = events._ask(service, wanted, 0.0, 100)
    with pytest.raises(KeyboardInterrupt):
        events._follow(service, wanted, known)
    told = [json.loads(line)["ids"] for line in capsys.readouterr().out.splitlines()]
    assert told == [["b"], ["late"], ["c"]]
    assert service.since == [0.0, 1000.0, 1000.0, 1000.0, 1000.0, 1040.0, 1040.0]
