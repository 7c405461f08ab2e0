"""Secrets in memory, and petitions that lack some: these wait apart until they are given them again."""

from __future__ import annotations

import pytest

from core.test_admission import AdmittedPetitions
from orcha._core import secrets as secrets_module
from orcha._core.reasons import SecretsLost
from orcha._core.secrets import Secrets
from orcha._core.state import State

TOKEN = b"t" * 16


def test_a_petition_has_its_secrets_until_it_is_dropped():
    secrets = Secrets()
    assert not secrets.kept
    secrets.keep(TOKEN, "uid:7", {"A": b"1"})
    secrets.keep(TOKEN, "uid:7", {"A": b"2", "B": b"3"})
    assert secrets.kept
    assert dict(secrets.of(TOKEN)) == {"A": b"2", "B": b"3"}
    assert "1" not in repr(vars(secrets)), "what is printed to find a fault shows no value"
    assert secrets.find(1, TOKEN, ["A", "B"]) == ()
    secrets.drop(TOKEN)
    assert not secrets.of(TOKEN)
    assert not secrets.kept


def test_what_an_owner_has_is_bounded(monkeypatch):
    monkeypatch.setattr(secrets_module, "MAX_OWNER_SECRET_BYTES", 8)
    secrets = Secrets()
    secrets.keep(TOKEN, "uid:7", {"A": b"12345"})
    assert secrets.refusal(TOKEN, "uid:7", {"A": b"12345678"}) is None, "instead of the secrets that it has"
    assert secrets.refusal(b"other", "uid:8", {"A": b"12345678"}) is None
    assert "at most 8" in (secrets.refusal(b"other", "uid:7", {"A": b"1234"}) or "")


@pytest.fixture
def world():
    return AdmittedPetitions()


def test_a_petition_without_its_secrets_waits_apart_until_it_has_all_of_them(world):
    lacks, other = world.waits(1), world.waits(2)
    secrets = world.admission.secrets
    assert secrets.find(lacks.seq, TOKEN, ["A", "B"]) == ("A", "B")
    assert world.blocked(lacks) == SecretsLost(("A", "B"))
    assert world.admission.blocked_by(other) is None
    assert world.asked() == [other.seq]
    assert world.admission.before(lacks, None) is None
    assert world.admission.is_paused(lacks.seq, None, State.QUEUED)
    assert not world.admission.is_paused(lacks.seq, None, State.RUNNING)
    assert not world.admission.is_paused(other.seq, None, State.QUEUED)
    assert world.admission.reasons(lacks) == [SecretsLost(("A", "B"))]
    secrets.keep(TOKEN, "me", {"A": b"1"})
    world.admission.note_secrets(lacks.seq, TOKEN)
    world.admission.unpark_resumed()
    assert world.admission.held_by(lacks.seq, None) == SecretsLost(("B",))
    assert world.asked() == [other.seq]
    secrets.keep(TOKEN, "me", {"B": b"2"})
    world.admission.note_secrets(lacks.seq, TOKEN)
    assert world.admission.unpark_resumed() == ([], False)
    assert world.asked() == [lacks.seq, other.seq]
    assert world.admission.blocked_by(lacks) is None
    world.admission.note_secrets(other.seq, TOKEN)
    assert world.admission.unpark_resumed() == ([], False), "it lacked none"


def test_what_has_ended_lacks_nothing(world):
    record = world.waits(1)
    world.admission.secrets.find(record.seq, TOKEN, ["A"])
    assert world.admission.secrets.lacking
    world.admission.secrets.drop(TOKEN, record.seq)
    assert not world.admission.secrets.lacking
