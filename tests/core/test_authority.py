"""Roles, whose petitions each may touch, and as which user a command runs."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from orcha._core import authority
from orcha._core.authority import ATTEMPT, ROLES, CannotRunAsError, may_act_for, runs_as, uid_of


class Client(NamedTuple):
    """A client that asks for something."""

    role: str
    identity: str = "uid:7"


OWN = {"viewer": False, "submitter": True, "operator": True, "admin": True, ATTEMPT: False, "": False, "owner": False}
OTHERS = OWN | {"submitter": False}


@pytest.mark.parametrize("role", OWN)
def test_a_submitter_changes_its_own_and_operators_all(role):
    assert may_act_for(Client(role), "uid:7") is OWN[role]
    assert may_act_for(Client(role), "uid:8") is OTHERS[role]
    assert authority.may_act_for_all(Client(role)) is OTHERS[role]


def test_each_role_may_what_a_weaker_one_may():
    for weaker, role in enumerate(ROLES):
        assert [authority.is_at_least(role, least) for least in ROLES] == [at <= weaker for at in range(len(ROLES))]
    with pytest.raises(KeyError, match="king"):
        authority.is_at_least("admin", "king")


def test_words_of_older_builds_are_understood():
    words = {"owner": "admin", "user": "submitter", ATTEMPT: None, "": None, "Admin": None}
    assert {word: authority.role_of(word) for word in words} == words
    assert [authority.role_of(role) for role in ROLES] == list(ROLES)


def test_a_service_of_root_runs_what_was_asked_for_as_who_asked():
    assert runs_as("uid:1001", as_submitter=True, service=0) == 1001
    assert runs_as("uid:0", as_submitter=True, service=0) is None
    assert runs_as("uid:1001", as_submitter=False, service=0) is None


def test_a_service_of_a_user_runs_all_as_that_user():
    for owner in ("uid:1001", "uid:0", "key:abc"):
        assert runs_as(owner, as_submitter=True, service=1000) is None


@pytest.mark.parametrize("owner", ["key:abc", "attempt", "uid:", "uid:-1", "uid:1x", "uid:\u0661"])
def test_nothing_runs_as_root_for_somebody_whom_no_kernel_knows(owner):
    assert uid_of(owner) is None
    with pytest.raises(CannotRunAsError, match="no user of this machine"):
        runs_as(owner, as_submitter=True, service=0)
