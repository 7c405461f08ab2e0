"""All that blocks a petition is named, and nothing else."""

from __future__ import annotations

import itertools
import re
import sys
import time
from dataclasses import replace
from unittest.mock import Mock

import pytest

from orcha._core.devices import Device
from orcha._core.permissions import Visibility
from orcha._core.preempted import PAUSE, Preempted
from orcha._core.quotas import Account, Limit
from orcha._core.reasons import MachineFull, Reason
from orcha._core.transitions import command, preempt
from orcha._protocol import values
from orcha._protocol.messages import Cancel, DrainResource, DrainService, Pause, Resume, SetGroup, Show, Verdict
from orcha.exceptions import ConditionFailed
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.interfaces.needs import WHOLE
from orcha.utils.users import name_of
from support.asking import GateManager, asking
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
    "behind_another": {"needs": {"rack": 1}},
    "held_free": {"needs": {"shelf": 1}, "expect": 7200},
    "not_alone": {"needs": {WHOLE: 1}},
    "machine_taken": {},
    "behind_exclusive": {},
    "quota_in_use": {},
    "text_is_false": {"when": 'running_in("gate") == 0'},
    "after_others": {"after": ["other"]},
    "dependency_failed": {"after_ok": ["failed"], "if_dependency_fails": "hold"},
    "starts_later": {"delay": 3600},
    "resting_until": {"code": 1, "retry": {"times": 1, "delay": 3600}},
    "replaces_another": {"once": "key", "if_exists": "replace"},
    "machine_full": {},
    "behind_preempted": {"needs": {"seat": 1}},
    "condition_said_no": {"waits": True},
}
"""What a petition declares so that each cause can block it."""
RESOURCES = {"gpu": 1, "disk": 1, "rack": 2, "shelf": 2, "seat": 2, "card": (Device("0"),), "tape": (Device("0"),)}
RULES = {"user_full": ("per_user", 1), "rate_reached": ("rate", [1, 3600])}
"""The rule of the group for each cause that a running petition of the group brings about with it."""
OF_THE_GROUP = ("group_full", *RULES)
HOLDERS = {
    "needs_short": {"needs": {"gpu": 1}},
    "share_short": {"needs": {"card": "0.75"}},
    "behind_another": {"needs": {"rack": 1}},
    "held_free": {"needs": {"shelf": 1}, "expect": 3600},
    "not_alone": {"needs": {"disk": 1}},
    "behind_exclusive": {"needs": {"disk": 1}},
    "machine_taken": {"needs": {WHOLE: 1}},
    "machine_full": {},
    "quota_in_use": {},
    "behind_preempted": {"needs": {"seat": 1}, "priority": -1},
    "text_is_false": {"group": "gate"},
    "replaces_another": {"once": "key"},
}
"""What another petition declares that runs, for each cause that it brings about."""
FIRST = {
    "behind_another": {"needs": {"rack": 2}},
    "held_free": {"needs": {"shelf": 2}, "expect": 3600},
    "behind_exclusive": {"needs": {WHOLE: 1}, "priority": -1},
}
"""What another petition declares that waits and comes first, for each cause that it brings about."""
OF_COMMANDS = ("machine_full", "behind_preempted")
"""Causes that block commands alone: the manager's petitions are stored as commands are."""
OF_ALL = ("everything_paused", "service_drained", "service_stops")
OF_IT = ("petition_paused", "secrets_lost")
CAUSES = (*DECLARED, *OF_IT, *OF_ALL)
ASKED_AFTER_ALL_ELSE = "condition_said_no"
"""A condition is asked only where nothing that is declared blocks the petition.

A key, and a pause of everything, block the petition after its condition was asked."""
NEVER_TOGETHER = {
    frozenset(pair): why
    for why, pairs in {
        "one pause of the petition has one reason": [("petition_paused", "dependency_failed")],
        "who needs the whole machine is told that others run, or who is first of those that need it": [
            ("not_alone", "machine_taken"),
            ("not_alone", "behind_exclusive"),
        ],
        "nobody waits behind a petition for the machine while another one has it": [
            ("machine_taken", "behind_exclusive")
        ],
        "what needs the whole machine takes the place of no petition": [("machine_taken", "behind_preempted")],
        "a petition that is asked while another one has the machine leaves the lines of resources": [
            ("machine_taken", "behind_another"),
            ("machine_taken", "held_free"),
        ],
        "what rests has started before, and only commands can be changed after that": [
            ("resting_until", "starts_later"),
            ("resting_until", "replaces_another"),
            ("resting_until", "after_others"),
            ("resting_until", "dependency_failed"),
        ],
        "a condition is asked again when the petition has rested": [("resting_until", "condition_said_no")],
        "the condition of commands is that fewer run than may": [
            ("condition_said_no", "machine_full"),
            ("condition_said_no", "behind_preempted"),
        ],
    }.items()
    for pair in pairs
}
"""Causes that cannot block a petition at the same time, and why."""
PAIRS = [pair for pair in itertools.combinations(CAUSES, 2) if frozenset(pair) not in NEVER_TOGETHER]
STANDS_ALONE = {
    "in_order": "it is told where nothing else blocks the petition",
    "manager_not_served": "what a petition declares is not known without its manager",
    "preempted_by": "it is told of a command that has started, and not of a petition that waits",
    "group_unknown": "a petition of an unknown group is refused",
    "longer_than_allowed": "the petition is refused",
    "never_enough": "the petition is refused",
    "no_such_share": "the petition is refused",
    "quota_spent": "the petition is refused",
    "quota_too_small": "the petition is refused",
}
"""Kinds of reasons that stand beside no other one, and why."""
ELSEWHERE = {
    "owner_first": "test_another_owner_is_named_beside_each_cause_while_it_stands_in_the_same_line",
    "held_after_interruption": "test_what_a_crash_interrupted_tells_beside_that_what_else_blocks_it",
}
"""Kinds that stand beside others, and the tests that have them: they are no causes that block a petition alone."""
OUT_OF_EACH_LINE = {
    *("user_full", "text_is_false", "quota_in_use", "after_others", "dependency_failed"),
    *("starts_later", "resting_until", "replaces_another"),
}
OUT_OF_LINE = {
    "group_full": OUT_OF_EACH_LINE,
    "needs_short": {
        *(*OUT_OF_EACH_LINE, "group_full", "group_text_is_false", "group_paused", "rate_reached"),
        *("drained", "not_alone", "petition_paused"),
    },
}
"""Beside which causes a petition does not stand in the line for a group, or for a resource: no owner is before it."""


class CommandsManager(GateManager):
    """Says no as the manager of commands does, while as many of its petitions run as may."""

    def __init__(self, most):
        super().__init__()
        self.most = most
        self.granted = None

    @property
    def running_processes(self):
        return 0 if self.granted is None else len(self.granted.of_manager(COMMAND_MANAGER))

    def convert_to_petition(self, m):
        petition = super().convert_to_petition(m)
        petition.condition = self.may_run
        if m.extras.get("code"):
            petition.action = self.fail
        return petition

    def fail(self, *_):
        """Fail as a command does, which no hook is asked about."""
        raise OSError

    def may_run(self, _):
        return self.running_processes < self.most or ConditionFailed(MachineFull(self.most).text(), for_all=True)


@pytest.fixture
def causes():
    """What blocks the petition; a test about certain causes has them in place of this."""
    return ()


@pytest.fixture
def asked(causes):
    manager, name = GateManager(), "m:M"
    if {*OF_COMMANDS} & {*causes}:
        most = len(holders_for(causes)) if "machine_full" in causes else sys.maxsize
        manager, name = CommandsManager(most), COMMAND_MANAGER
    with asking(manager=manager, name=name, slots={"rig": 1, "gate": 1}, resources=RESOURCES) as asked:
        manager.granted = asked.engine.granted
        manager.let_go.clear()
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


def runs_to_its_end(asked, name, state, **declared):
    """Have a petition start, and come to the end of its attempt."""
    asked.manager.let_go.set()
    assert asked.submit(asked.user, name, **declared).verdict == Verdict.ACCEPTED
    wait_for(lambda: state(asked.rows()[name]), what=f"{name} has had its attempt")
    asked.manager.let_go.clear()


def merged(*declared):
    """Declare all of this at once."""
    needs = {name: amount for each in declared for name, amount in each.get("needs", {}).items()}
    return {name: value for each in declared for name, value in each.items()} | ({"needs": needs} if needs else {})


def holders_for(causes):
    """Give what the petitions declare that run, so that a petition is blocked by these causes."""
    holders = {cause: declared for cause, declared in HOLDERS.items() if cause in causes}
    if {*OF_THE_GROUP} & {*causes}:
        holders["of the group"] = {"group": "rig"}
    # where one petition needs the whole machine, it has all there is
    return {"the machine": merged(*holders.values())} if "machine_taken" in causes else holders


def preempts(asked, name, **declared):
    """Have a petition run in the place of another one, which stands still as its command would."""
    asked.engine.shims.connect(lambda _: Mock())  # which is told when the petition goes on
    holds(asked, "train", needs={"seat": 2})
    petitions = asked.engine.petitions
    train = petitions.live["train"]
    assert asked.submit(asked.user, name, **declared).verdict == Verdict.ACCEPTED
    wait_for(lambda: known(asked, name)["blocked"], what=f"{name} is in line")

    def stand_still():
        command.running(petitions, train.seq, train.attempt, petitions.now)
        petitions.keep_preempted(train, Preempted(name, PAUSE, petitions.now.wall))
        assert preempt.stands_still(petitions, train)

    asked.engine.post(stand_still)
    asked.wait_for(name, "running")


def occupy(asked, causes):
    """Have what others hold and do block a petition that declares this."""
    rules = {rule: value for cause, (rule, value) in RULES.items() if cause in causes}
    slots = 1 if "group_full" in causes else 2
    if rules:
        sets(asked, slots, **rules)
    for cause, declared in holders_for(causes).items():
        runs = preempts if cause == "behind_preempted" else holds
        runs(asked, f"with what is {cause}", **declared)
    if "group_text_is_false" in causes:
        sets(asked, slots, when='exists("/nowhere")')
    if "drained" in causes:
        assert asked.ask(asked.owner, DrainResource, "tape:0", drained=True).verdict == Verdict.OK
    if "after_others" in causes:
        asked.submit(asked.user, "other", waits=True)
    stand_first(asked, causes)
    if "quota_in_use" in causes:
        running = len(asked.engine.granted)
        account = Account("user 7", {"running": Limit(running)}, {})
        asked.engine.post(lambda: asked.engine.admission.set_quotas(lambda owner: (account,) * (owner == "uid:7")))


def stand_first(asked, causes):
    """Have others wait who come before a petition that is blocked by these causes."""
    for cause, declared in FIRST.items():
        if cause in causes:
            first = f"first of {cause}"
            assert asked.submit(asked.stranger, first, **declared).verdict == Verdict.ACCEPTED
            wait_for(lambda first=first: known(asked, first)["blocked"], what="it is in line")


def block(asked, causes):
    """Have `it` blocked by these causes."""
    declared = merged(*(DECLARED.get(cause, {}) for cause in causes))
    rests = "resting_until" in causes
    if rests:
        runs_to_its_end(asked, "it", lambda row: row["state"] == "queued" and row["attempt"] == 1, **declared)
    if "dependency_failed" in causes:
        runs_to_its_end(asked, "failed", lambda row: row["outcome"] == "failed", code=1)
    occupy(asked, causes)
    if "group_paused" in causes:
        does(asked, Pause, group="rig")
    of_it = {*OF_IT} & {*causes}
    if of_it or ({*OF_ALL} & {*causes} and ASKED_AFTER_ALL_ELSE not in causes):
        does(asked, Pause)
    if not rests:
        assert asked.submit(asked.user, "it", **declared).verdict == Verdict.ACCEPTED
    wait_for(lambda: known(asked), what="it is accepted")
    hold_back(asked, of_it)
    have_everything_wait(asked, causes)


def does(asked, kind, *arguments, **keywords):
    """Have the owner do something."""
    assert asked.ask(asked.owner, kind, *arguments, **keywords).verdict == Verdict.OK


def hold_back(asked, causes):
    """Have `it` alone be held back by these causes, while everything is paused; and let all else go on."""
    if "petition_paused" in causes:
        does(asked, Pause, "it")
    if "secrets_lost" in causes:
        seq, lost = asked.rows()["it"]["seq"], asked.engine.admission.secrets.find
        asked.engine.post(lambda: lost(seq, b"", ["TOKEN"]))
    if causes:
        does(asked, Resume)


def have_everything_wait(asked, causes):
    """Have all petitions be held back by these causes."""
    if "service_drained" in causes:
        does(asked, DrainService, True)
    if "service_stops" in causes:
        asked.engine.post(lambda: asked.engine.drain("the service is stopping"))
        wait_for(lambda: asked.engine.draining, what="the service stops")
    if "everything_paused" in causes:
        does(asked, Pause)
    elif {*OF_ALL} & {*causes}:
        does(asked, Resume)


def known(asked, identity="it"):
    return asked.value(asked.ask(asked.owner, Show, identity))


def kinds(asked):
    return sorted(reason["kind"] for reason in known(asked)["blocked"] or ())


def expected(causes):
    named = set(causes)
    asked_before = {*OF_ALL, "replaces_another"}
    if named - {ASKED_AFTER_ALL_ELSE} - asked_before:
        named.discard(ASKED_AFTER_ALL_ELSE)
    return sorted(named)


@pytest.mark.parametrize(
    "causes",
    [(cause,) for cause in CAUSES] + PAIRS,
    ids=" and ".join,
)
def test_each_cause_and_each_pair_of_causes_is_named_exactly(asked, causes):
    block(asked, causes)
    wait_for(lambda: kinds(asked) == expected(causes), what=f"the reasons are {expected(causes)}")


def all_at_once(but):
    """Give as many causes as can block a petition at the same time, without one."""
    causes = []
    for cause in CAUSES:
        are_possible = all(frozenset((cause, other)) not in NEVER_TOGETHER for other in causes)
        if cause not in {ASKED_AFTER_ALL_ELSE, but} and are_possible:
            causes.append(cause)
    return causes


WITHOUT = ("machine_full", "held_free")


# Where all slots are taken, any petition that waits may take the next one: then nobody knows when the first petition in
# the line of a resource starts, and no gap before it is told.
@pytest.mark.parametrize("causes", [all_at_once(but=cause) for cause in WITHOUT], ids=WITHOUT)
def test_all_causes_at_once_are_named(asked, causes):
    block(asked, causes)
    wait_for(lambda: kinds(asked) == sorted(causes), what="all are named")


def test_what_a_crash_interrupted_tells_beside_that_what_else_blocks_it(tmp_path):
    with asking(tmp_path, slots={"rig": 1}, resources=RESOURCES) as asked:
        asked.manager.let_go.clear()
        holds(asked, "it", group="rig", needs={"gpu": 1}, on_interrupt="ask")
        asked.engine.post(asked.engine.halt)
        wait_for(asked.engine.stopped.is_set, what="the engine has ended before its petition")
    with asking(tmp_path, slots={"rig": 1}, resources=RESOURCES) as asked:
        asked.wait_for("it", "held")
        assert kinds(asked) == ["held_after_interruption"]
        asked.manager.let_go.clear()
        holds(asked, "another", group="rig", needs={"gpu": 1})
        asked.ask(asked.owner, Pause, group="rig")
        asked.ask(asked.owner, Pause)
        others = ["everything_paused", "group_full", "group_paused", "needs_short"]
        assert kinds(asked) == sorted([*others, "held_after_interruption"])


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


@pytest.mark.parametrize(
    "causes",
    [
        (line, cause)
        for line in OUT_OF_LINE
        for cause in CAUSES
        if cause not in {line, "service_stops"} and frozenset((line, cause)) not in NEVER_TOGETHER
    ],
    ids=" and ".join,
)
def test_another_owner_is_named_beside_each_cause_while_it_stands_in_the_same_line(asked, causes):
    line, cause = causes
    block(asked, causes)
    wait_for(lambda: kinds(asked) == expected(causes), what=f"the reasons are {expected(causes)}")
    assert asked.submit(asked.stranger, "of another", **DECLARED[line]).verdict == Verdict.ACCEPTED
    first = [] if cause in OUT_OF_LINE[line] else ["owner_first"]
    wait_for(lambda: known(asked, "of another")["blocked"], what="the petition of another owner is in line")
    wait_for(lambda: kinds(asked) == sorted([*expected(causes), *first]), what=f"{first} stands beside the others")


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


def test_every_kind_of_reason_has_a_place_among_the_causes_or_says_why_it_has_none():
    places = [*CAUSES, *STANDS_ALONE, *ELSEWHERE]
    assert sorted(places) == sorted({kind.kind() for kind in Reason.__subclasses__()})
    assert {*itertools.chain.from_iterable(NEVER_TOGETHER)} <= {*CAUSES}


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


@pytest.mark.parametrize("causes", [(cause,) for cause in CAUSES if cause != ASKED_AFTER_ALL_ELSE], ids=" ".join)
def test_each_reason_says_since_when(asked, causes):
    before = time.time()
    block(asked, causes)
    wait_for(lambda: kinds(asked) == [*causes], what=f"the reasons are {causes}")

    def since_known():
        """Give the reason once its time is known: some reasons have none until the petition was asked."""
        (reason,) = known(asked)["blocked"]
        return reason if reason["since"] is not None else None

    reason = wait_for(since_known, what=f"since when there is {causes}")
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
