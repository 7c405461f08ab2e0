"""What proves of an attempt that it was never executed: notes of what was handed over, and what shims took."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orcha._supervisor import handover_log
from orcha._supervisor.handover_log import HandoverLog, HandoverNotes

SHIM, OTHER = "00112233aabb", "ffeeddccbbaa"
NOTHING = {SHIM: (0, 0)}


def earlier(folder: Path, epoch: int) -> HandoverNotes:
    """Give what a start of the service finds, and let that die."""
    notes = HandoverLog(folder, epoch)
    notes.close()
    return notes.earlier


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """Give a folder in which the third start of a service noted two hand-overs to one shim, and one to another."""
    notes = HandoverLog(tmp_path, 3)
    for key, shim in (((1, 1), SHIM), ((2, 1), SHIM), ((3, 1), OTHER)):
        notes.note(key, shim)
    notes.close()
    return tmp_path


@pytest.mark.parametrize(
    ("key", "took", "may_have_run"),
    [
        ((9, 1), NOTHING, False),
        ((2, 2), NOTHING, False),
        ((2, 1), {SHIM: (1, 1)}, False),
        ((2, 1), NOTHING, False),
        ((2, 1), {SHIM: (2, 1)}, True),
        ((2, 1), {}, True),
        ((2, 1), {OTHER: (1, 1)}, True),
        ((1, 1), {SHIM: (2, 1)}, True),
        ((1, 1), NOTHING, True),
        ((3, 1), {OTHER: (7, 7)}, False),
    ],
)
def test_only_what_was_not_handed_over_or_not_taken_was_not_executed(noted, key, took, may_have_run) -> None:
    assert earlier(noted, 4).may_have_run(key, 3, took) is may_have_run


def test_of_what_was_meant_to_run_before_the_first_note_nothing_is_known(noted) -> None:
    found = earlier(noted, 4)
    assert found.may_have_run((9, 1), 2, NOTHING)
    assert not found.may_have_run((9, 1), 4, NOTHING)


def test_notes_begun_anew_know_of_what_still_matters_and_of_nothing_before(noted) -> None:
    notes = HandoverLog(noted, 4)
    notes.begin([((3, 1), OTHER)])
    notes.note((4, 1), SHIM)
    notes.close()
    later = earlier(noted, 5)
    assert not later.may_have_run((3, 1), 4, {OTHER: (0, 0)})
    assert later.may_have_run((3, 1), 4, {})
    assert later.may_have_run((4, 1), 4, {})
    assert later.may_have_run((2, 1), 3, {SHIM: (0, 0)})


def damaged(content: bytes) -> list[bytes]:
    flipped = [content[:n] + bytes([content[n] ^ 0x10]) + content[n + 1 :] for n in range(len(content))]
    whole = {handover_log._HEAD.size + n * handover_log._NOTE.size for n in range(4)}
    return [*flipped, *(content[:n] for n in range(len(content)) if n not in whole), content + b"x"]


def test_damaged_notes_prove_nothing_and_are_begun_anew(noted) -> None:
    path = noted / handover_log.FILE_NAME
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        for epoch in (4, 5):  # a start that dies before it has kept what it made of them changes nothing
            assert earlier(noted, epoch).may_have_run((9, 1), 3, NOTHING), content


def test_missing_notes_prove_nothing(tmp_path: Path) -> None:
    assert earlier(tmp_path, 4).may_have_run((9, 1), 3, NOTHING)
    assert not earlier(tmp_path, 5).may_have_run((9, 1), 4, NOTHING)


def test_after_a_hand_over_that_could_not_be_noted_nothing_is_known_of_this_start(noted, monkeypatch) -> None:
    notes = HandoverLog(noted, 4)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda *_: 3)
        notes.note((4, 1), SHIM)
    notes.begin([])
    notes.note((5, 1), SHIM)
    notes.close()
    assert earlier(noted, 5).may_have_run((9, 1), 4, NOTHING)


def test_they_do_not_grow_for_ever(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(handover_log, "MAX_LOG_BYTES", 200)
    notes = HandoverLog(tmp_path, 1)
    for seq in range(50):
        notes.note((seq, 1), SHIM)
        if notes.is_large:
            notes.begin([((seq, 1), SHIM)])
    assert (tmp_path / handover_log.FILE_NAME).stat().st_size < 300
    notes.close()
    assert earlier(tmp_path, 2).may_have_run((49, 1), 1, {SHIM: (49, 1)})
