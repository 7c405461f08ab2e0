"""All that blocks a petition is named, and nothing else."""

from __future__ import annotations

import itertools
import re
import time
from dataclasses import replace

import pytest

from orcha._core.devices import Device
from orcha._core.permissions import Visibility
from orcha._core.quotas import Account, Limit
from orcha._core.reasons import Reason
from orcha._protocol import values
from orcha._protocol.messages import Cancel, DrainResource, DrainService, Pause, Resume, SetGroup, Show, Verdict
from orcha.interfaces.needs import WHOLE
from orcha.utils.users import name_of
from support.asking import asking
from support.waiting import wait_for

DECLARED = {
    "group_full": {"group": "rig"},
    "user_full": {"group": "rig"},
    "rate_reached": {"group": "rig"},
    "group_text_is_false": {"group": "rig"},
    "group_paused": {"group": "rig"},
    "needs_short": {"needs": {"gpu": 1}},
    "share_short": {"needs": {"card": "0.5"}},
    "drained": {"needs": {"tape": 1}},
    "not_alone": {"needs": {WHOLE: 1}},
    "quota_in_use": {},
    "text_is_false": {"when": 'exists("/nowhere")'},
    "after_others": {"after": ["other"]},
    "starts_later": {"delay": 3600},
    "replaces_another": {"once": "key", "if_exists": "replace"},
    "condition_said_no": {"waits": True},
}
"""What a petition declares so that each cause can block it."""
RESOURCES = {"gpu": 1, "disk": 1, "card": (Device("0"),), "tape": (Device("0"),)}
RULES = {"user_full": ("per_user", 1), "rate_reached": ("rate", [1, 3600])}
"""The rule of the group for each cause that a running petition of the group brings about with it."""
HOLDERS = {"needs_short": {"gpu": 1}, "share_short": {"card": "0.75"}, "not_alone": {"disk": 1}, "quota_in_use": {}}
"""What another petition needs that runs, for each cause that it brings about."""
PEOPLE = ("petition_paused", "everything_paused", "service_drained")
CAUSES = (*DECLARED, *PEOPLE)
ASKED_AFTER_ALL_ELSE = "condition_said_no"
"""A condition is asked only where nothing that is declared blocks the petition.

A key, and a pause of everything, block the petition after its condition was asked."""


@pytest.fixture
def asked():
    with asking(slots={"rig": 1}, resources=RESOURCES) as asked:
        asked.manager.let_go.clear()
        yield asked
        asked.ask(asked.owner, Cancel, None, "it", "", at_once=True)  # else it would begin while the engine ends
        asked.ask(asked.owner, Resume)
        asked.ask(asked.owner, DrainService, False)


def holds(asked, name, **declared):
    """Have a petition run, and hold what it declares."""
    assert asked.submit(asked.user, name, **declared).verdict == Verdict.ACCEPTED
    asked.wait_for(name, "running")


def sets(asked, slots, **rules):
    """Have this hold for the group."""
    reply = asked.ask(asked.owner, SetGroup, "rig", slots, values.encode(rules))
    assert reply.verdict == Verdict.OK, reply


def occupy(asked, causes):
    """Have what others hold and do block a petition that declares this."""
    rules = {rule: value for cause, (rule, value) in RULES.items() if cause in causes}
    if rules:
        sets(asked, slots=1 if "group_full" in causes else 2, **rules)
    if {"group_full", *RULES} & {*causes}:
        holds(asked, "of the group", group="rig")
    if "group_text_is_false" in causes:
        sets(asked, slots=1 if "group_full" in causes else 2, when='exists("/nowhere")')
    for cause in HOLDERS.keys() & {*causes}:
        holds(asked, f"with what is {cause}", needs=HOLDERS[cause])
    if "drained" in causes:
        assert asked.ask(asked.owner, DrainResource, "tape:0", drained=True).verdict == Verdict.OK
    if "after_others" in causes:
        asked.submit(asked.user, "other", waits=True)
    if "replaces_another" in causes:
        holds(asked, "replaced", once="key")
    if "quota_in_use" in causes:
        running = len(asked.engine.granted)
        account = Account("user 7", {"running": Limit(running)}, {})
        asked.engine.post(lambda: asked.engine.admission.set_quotas(lambda _: (account,)))


def block(asked, causes):
    """Have `it` blocked by these causes."""
    declared = {}
    for cause in causes:
        needs = declared.get("needs", {})
        declared |= DECLARED.get(cause, {})
        declared |= {"needs": needs | declared["needs"]} if "needs" in declared else {}
    occupy(asked, causes)
    if "group_paused" in causes:
        assert asked.ask(asked.owner, Pause, group="rig").verdict == Verdict.OK
    of_all = {"everything_paused", "service_drained"} & {*causes}
    if "petition_paused" in causes or (of_all and ASKED_AFTER_ALL_ELSE not in causes):
        assert asked.ask(asked.owner, Pause).verdict == Verdict.OK
    assert asked.submit(asked.user, "it", **declared).verdict == Verdict.ACCEPTED
    if "petition_paused" in causes:
        assert asked.ask(asked.owner, Pause, "it").verdict == Verdict.OK
        assert asked.ask(asked.owner, Resume).verdict == Verdict.OK
    if of_all:
        wait_for(lambda: known(asked), what="it is accepted")
    if "service_drained" in causes:
        assert asked.ask(asked.owner, DrainService, True).verdict == Verdict.OK
        assert asked.ask(asked.owner, Resume).verdict == Verdict.OK
    if "everything_paused" in causes:
        assert asked.ask(asked.owner, Pause).verdict == Verdict.OK


def known(asked, identity="it"):
    return asked.value(asked.ask(asked.owner, Show, identity))


def kinds(asked):
    return sorted(reason["kind"] for reason in known(asked)["blocked"] or ())


def expected(causes):
    named = set(causes)
    asked_before = {"everything_paused", "service_drained", "replaces_another"}
    if named - {ASKED_AFTER_ALL_ELSE} - asked_before:
        named.discard(ASKED_AFTER_ALL_ELSE)
    return sorted(named)


@pytest.mark.parametrize(
    "causes",
    [(cause,) for cause in CAUSES] + list(itertools.combinations(CAUSES, 2)),
    ids=" and ".join,
)
def test_each_cause_and_each_pair_of_causes_is_named_exactly(asked, causes):
    block(asked, causes)
    wait_for(lambda: kinds(asked) == expected(causes), what=f"the reasons are {expected(causes)}")


def test_all_causes_at_once_are_named(asked):
    causes = [cause for cause in CAUSES if cause != ASKED_AFTER_ALL_ELSE]
    block(asked, causes)
    wait_for(lambda: kinds(asked) == sorted(causes), what="all are named")


def test_who_holds_what_it_waits_for_is_named(asked):
    holds(asked, "a", group="rig", needs={"gpu": 1})
    asked.submit(asked.user, "it", group="rig", needs={"gpu": 1, "disk": 1})
    reasons = {reason["kind"]: reason for reason in known(asked)["blocked"]}
    assert [reasons[kind]["holders"] for kind in ("group_full", "needs_short")] == [["a"], ["a"]]
    assert (reasons["needs_short"]["resource"], reasons["needs_short"]["free"]) == ("gpu", 0)


@pytest.mark.parametrize("declared", [{"group": "rig"}, {"needs": {"gpu": 1}}], ids=["group", "resource"])
def test_another_owner_who_has_less_in_use_is_first(asked, declared):
    holds(asked, "a", **declared)
    asked.submit(asked.user, "it", **declared)
    asked.wait_for("it", "queued")
    cause = "group_full" if "group" in declared else "needs_short"
    wait_for(lambda: kinds(asked) == [cause], what="it waits")
    asked.submit(asked.stranger, "of another", **declared)
    wait_for(
        lambda: kinds(asked) == sorted([cause, "owner_first"]), what="it comes after the petition of another owner"
    )
    first = next(reason for reason in known(asked)["blocked"] if reason["kind"] == "owner_first")
    assert (first["share"], first["other"]) == (1.0, 0.0)
    asked.manager.let_go.set()
    asked.wait_for("it", "succeeded")
    assert asked.manager.order == ["a", "of another", "it"]


def test_each_reason_says_what_ends_it(asked):
    block(asked, ("petition_paused", "group_paused"))
    remedies = [reason["remedy"] for reason in known(asked)["blocked"]]
    assert remedies == ["somebody resumes it: orcha resume it", "somebody resumes the group: orcha resume --group rig"]


def test_where_nothing_blocks_it_and_where_it_does_not_wait_that_is_said(asked):
    holds(asked, "it")
    assert known(asked)["blocked"] is None
    number = asked.send(asked.owner, Cancel, None, "it", "", at_once=True)
    asked.wait_for("it", "cancelling")
    asked.manager.let_go.set()
    assert asked.answer(asked.owner, number).verdict == Verdict.OK
    asked.wait_for("it", "cancelled")
    assert known(asked)["blocked"] is None


def test_every_kind_of_reason_has_a_name_of_its_own_and_a_remedy_or_a_text_with_it():
    every = {kind.__name__: kind for kind in Reason.__subclasses__()}  # a class with slots is made twice
    assert len({kind.kind() for kind in every.values()}) == len(every) > 15
    for kind in every.values():
        assert re.fullmatch("[a-z_]+", kind.kind())
        assert kind.remedy.format(id="a", group="b") or "text" in vars(kind)


def test_where_petitions_are_private_those_of_others_are_named_to_operators_alone(asked):
    asked.engine.settings = replace(asked.engine.settings, visibility=Visibility.PRIVATE)
    assert asked.submit(asked.stranger, "theirs", group="rig").verdict == Verdict.ACCEPTED
    asked.wait_for("theirs", "running")
    assert asked.submit(asked.user, "mine", group="rig").verdict == Verdict.ACCEPTED
    assert asked.submit(asked.owner, "after", after=["mine"]).verdict == Verdict.ACCEPTED
    for person, holders, dependents in ((asked.user, [], None), (asked.owner, ["theirs"], ["after"])):
        shown = asked.value(asked.ask(person, Show, "mine"))
        (reason,) = shown["blocked"]
        assert (reason["kind"], reason["holders"], shown["dependents"]) == ("group_full", holders, dependents)


@pytest.mark.parametrize("cause", [cause for cause in CAUSES if cause != ASKED_AFTER_ALL_ELSE])
def test_each_reason_says_since_when(asked, cause):
    before = time.time()
    block(asked, (cause,))
    wait_for(lambda: kinds(asked) == [cause], what=f"the reason is {cause}")
    (reason,) = known(asked)["blocked"]
    assert before - 1 <= reason["since"] <= time.time(), reason


def test_who_paused_it_and_when_is_told_over_a_restart_until_it_is_resumed(tmp_path):
    with asking(tmp_path, slots={"rig": 1}) as asked:
        asked.ask(asked.owner, Pause)
        asked.submit(asked.user, "it", group="rig")
        asked.ask(asked.user, Pause, "it")
        asked.ask(asked.owner, Pause, group="rig")
        before = {each["kind"]: (each["by"], each["since"]) for each in known(asked)["blocked"]}
    with asking(tmp_path) as asked:
        after = {each["kind"]: (each["by"], each["since"]) for each in known(asked)["blocked"]}
        assert after == before
        assert {kind: by for kind, (by, _) in after.items()} == {
            "everything_paused": name_of(0), "petition_paused": name_of(7), "group_paused": name_of(0)
        }  # fmt: skip
        asked.ask(asked.user, Resume, "it")
        assert "petition_paused" not in kinds(asked)
        assert len(asked.store.decided("paused by")) == 2
