"""The table of deeds and roles: every cell of it, against what is written here by hand."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import pytest

from orcha._core import authority
from orcha._core.permissions import ALLOWED, TABLE, Deed, Entrance, Sight, Visibility, Whose, may, refusal, sight
from orcha._core.reasons import BehindPreempted, EverythingPaused, PreemptedBy, with_names
from orcha._core.redaction import redacted
from orcha.interfaces.roles import ADMIN, ATTEMPT, OPERATOR, ROLES, SUBMITTER, VIEWER

WORDS = (*ROLES, ATTEMPT, "", "owner")
OF_OWN = {
    VIEWER: {Deed.GREET, Deed.LOOK, Deed.READ},
    SUBMITTER: {Deed.SUBMIT, Deed.CALL, Deed.CHANGE, Deed.ACT_AS, Deed.REPORT},
    OPERATOR: {Deed.COUNT, Deed.HOLD},
    ADMIN: {Deed.CONFIGURE, Deed.SERVE},
}
"""What each role may do to its own petitions, or to none, that a weaker role may not."""
OF_OTHERS = {OPERATOR: {Deed.LOOK, Deed.READ, Deed.CHANGE}, ADMIN: {Deed.ACT_AS, Deed.REPORT}}
SEEN = {Visibility.PRIVATE: set(), Visibility.METADATA: {Deed.LOOK}, Visibility.OPEN: {Deed.LOOK, Deed.READ}}


class Client(NamedTuple):
    """A client that asks for something."""

    role: str
    identity: str = "uid:7"


def expected(deed, role, whose, door, visibility):
    """Give what the sets above say."""
    if role == ATTEMPT or door is Entrance.ATTEMPT:
        return (deed, role, whose, door) == (Deed.REPORT, ATTEMPT, Whose.OWN, Entrance.ATTEMPT)
    if role not in ROLES:
        return False
    given = OF_OWN if whose is Whose.OWN else OF_OTHERS
    mine = set().union(*(given.get(each, set()) for each in ROLES[: ROLES.index(role) + 1]))
    return deed in mine or (whose is Whose.OTHERS and deed in SEEN[visibility])


def test_each_cell_of_the_table_is_as_it_is_written_here():
    cells = list(product(Deed, WORDS, Whose, Entrance, Visibility))
    assert [cell for cell in cells if may(*cell) is not expected(*cell)] == []
    assert {cell[:2] + cell[3:4] for cell in cells if cell[2] is Whose.OWN and may(*cell)} == ALLOWED
    assert {*TABLE} == {*Deed}


@pytest.mark.parametrize("visibility", Visibility)
def test_others_are_seen_as_far_as_the_visibility_says_and_by_operators_wholly(visibility):
    seen = {"private": Sight.NOTHING, "metadata": Sight.METADATA, "open": Sight.ALL}[visibility]
    assert [sight(role, Whose.OTHERS, visibility) for role in ROLES] == [seen, seen, Sight.ALL, Sight.ALL]
    assert {sight(role, Whose.OWN, visibility) for role in ROLES} == {Sight.ALL}
    assert {sight(role, whose, visibility) for role in (ATTEMPT, "") for whose in Whose} == {Sight.NOTHING}


def test_what_stands_in_for_the_table_where_it_is_asked_often_says_the_same():
    for role, (whose, owner) in product(WORDS, ((Whose.OWN, "uid:7"), (Whose.OTHERS, "uid:8"))):
        client = Client(role)
        assert authority.may_act_for(client, owner) is may(Deed.CHANGE, role, whose, Entrance.SOCKET)
        assert authority.may_act_as(client, owner) is may(Deed.ACT_AS, role, whose, Entrance.SOCKET)
        assert authority.may_act_for_all(client) is may(Deed.CHANGE, role, Whose.OTHERS, Entrance.SOCKET)


def test_a_refusal_names_both_roles_and_who_gives_them():
    for deed, role in product(Deed, (VIEWER, SUBMITTER, OPERATOR)):
        for whose in Whose:
            least = TABLE[deed].own if whose is Whose.OWN else TABLE[deed].others
            if least is None:
                assert refusal(deed, role, whose).startswith("nobody may ")
            elif not may(deed, role, whose, Entrance.SOCKET):
                text = refusal(deed, role, whose)
                assert f" {least} may " in text
                assert f" {role} here" in text
                assert "[roles]" in text
    assert "you have no role here" in refusal(Deed.LOOK, "king")
    assert refusal(Deed.LOOK, ATTEMPT) == "an attempt may only send its values and its end"


def test_of_the_petitions_of_others_only_what_is_named_is_told():
    known = {"id": "a", "state": "running", "command": {"argv": ["make"]}, "attempts": [1], "label": "x", "new": 1}
    assert redacted(known) == {
        "id": "a",
        "state": "running",
        "sight": "metadata",
        "command": None,
        "attempts": [],
        "label": None,
        "new": None,
    }


def test_a_reason_that_names_another_petition_is_told_without_its_name():
    for reason in (PreemptedBy("secret"), BehindPreempted("secret")):
        assert "secret" not in with_names(reason, lambda _: "another petition").text()
    assert with_names(EverythingPaused(), lambda _: "x") == EverythingPaused()
