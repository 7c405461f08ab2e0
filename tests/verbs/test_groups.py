"""Groups are there when they were declared, and stay as they were set; one that is mistyped is none of them."""

from __future__ import annotations

import json
from functools import partial

import pytest

from orcha._protocol import values
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.messages import Pause, Resume, Retry, SetGroup, Show, Stats, Submitted, Verdict
from orcha._service.lifecycle.settings import from_environment
from orcha.exceptions import ConfigurationError
from support.asking import asking
from support.waiting import wait_for

TYPO = "there is no group rgi: did you mean rig? Else serve with --slots rgi=N, or rgi=none for any number at once"
GONE = "there is no group rig: serve with --slots rig=N, or rig=none for any number at once"


def groups(asked):
    known = asked.value(asked.ask(asked.owner, Stats))["groups"]
    return {group["group"]: group["slots"] for group in known}


def test_a_group_that_is_not_there_is_refused_with_the_cure(tmp_path):
    with asking(tmp_path, slots={"rig": 1}, takes_new_groups=False) as asked:
        result = asked.submit(asked.user, "a", group="rgi")
        assert (result.verdict, result.reason) == (Verdict.REFUSED, TYPO)
        assert asked.rows() == {}
        assert groups(asked) == {"rig": 1}


@pytest.mark.parametrize("kind", [Pause, Resume])
def test_a_group_that_is_not_there_cannot_be_paused(tmp_path, kind):
    with asking(tmp_path, slots={"rig": 1}) as asked:
        reply = asked.ask(asked.owner, kind, None, None, "rgi")
        assert (reply.verdict, reply.reason) == (Verdict.UNKNOWN, TYPO)
    with asking(tmp_path) as asked:
        assert asked.store.pauses() == set()


def test_slots_stay_as_they_were_set_until_they_are_set_anew(tmp_path):
    with asking(tmp_path, slots={"rig": 1, "nightly": None}):
        pass
    with asking(tmp_path, slots={"build": 4}) as asked:
        assert groups(asked) == {"rig": 1, "nightly": None, "build": 4}
        asked.manager.let_go.clear()
        asked.submit(asked.user, "a", group="rig")
        asked.submit(asked.user, "b", group="rig")
        asked.wait_for("a", "running")
        wait_for(
            lambda: asked.rows()["b"]["why"] == "1 of 1 slots of its group rig is in use", what="it waits for the slot"
        )
        asked.manager.let_go.set()
        asked.wait_for("b", "succeeded")
    with asking(tmp_path, slots={"rig": 2, "nightly": 1}) as asked:
        assert groups(asked) == {"rig": 2, "nightly": 1, "build": 4}
    with asking(tmp_path, slots={"rig": None}, forgotten_groups=frozenset({"build"})) as asked:
        assert groups(asked) == {"rig": None, "nightly": 1}
    with asking(tmp_path) as asked:
        assert groups(asked) == {"rig": None, "nightly": 1}


def test_what_waits_in_a_group_that_is_forgotten_says_so_hides_nobody_and_goes_on_when_it_is_back(tmp_path):
    with asking(tmp_path, slots={"rig": 1, "other": 1}) as asked:
        asked.ask(asked.owner, Pause)
        for number in range(40):
            asked.submit(asked.user, f"waits {number}", group="rig")
        asked.submit(asked.user, "goes", group="other", priority=1)
    with asking(tmp_path, forgotten_groups=frozenset({"rig"})) as asked:
        asked.ask(asked.owner, Resume)
        asked.wait_for("goes", "succeeded")
        wait_for(lambda: asked.rows()["waits 0"]["why"] == GONE, what="it says why")
        assert asked.value(asked.ask(asked.user, Show, "waits 39"))["state"] == "queued"
        reply = asked.ask(asked.user, Retry, b"t" * 16, "goes")
        assert reply.verdict == Verdict.OK
    with asking(tmp_path, slots={"rig": 5}) as asked:
        for number in range(40):
            asked.wait_for(f"waits {number}", "succeeded")


def test_a_retry_of_what_was_of_a_forgotten_group_is_refused(tmp_path):
    with asking(tmp_path, slots={"rig": 1}) as asked:
        asked.submit(asked.user, "a", group="rig")
        asked.wait_for("a", "succeeded")
    with asking(tmp_path, forgotten_groups=frozenset({"rig"}), takes_new_groups=False) as asked:
        reply = asked.ask(asked.user, Retry, b"t" * 16, "a")
        assert (reply.verdict, reply.reason) == (Verdict.REFUSED, GONE)


def test_a_pause_of_a_group_outlives_that_it_is_forgotten(tmp_path):
    with asking(tmp_path, slots={"rig": 1}) as asked:
        asked.ask(asked.owner, Pause, None, None, "rig")
    with asking(tmp_path, forgotten_groups=frozenset({"rig"}), takes_new_groups=False) as asked:
        asked.submit(asked.user, "a", group="rig")
        assert asked.rows()["a"]["why"] == "its group rig is paused"
        assert asked.ask(asked.owner, Resume, None, None, "rig").verdict == Verdict.OK
        wait_for(lambda: asked.rows()["a"]["why"] == GONE, what="it says that there is no such group")


@pytest.mark.parametrize(
    ("text", "slots", "forgotten"),
    [
        ("rig=1,nightly=none", {"rig": 1, "nightly": None}, set()),
        ("rig=1,rig=forget", {}, {"rig"}),
        ("rig=forget,rig=0", {"rig": 0}, set()),
        ("a=b=2", {"a=b": 2}, set()),
        ("", {}, set()),
    ],
)
def test_slots_are_read(monkeypatch, text, slots, forgotten):
    monkeypatch.setenv("ORCHA_SLOTS", text)
    settings = from_environment(Endpoint("127.0.0.1", 1, "/x"), key=None, look_ahead=None, on_hook_timeout="replace")
    assert (settings.slots, settings.forgotten_groups) == (slots, forgotten)


@pytest.mark.parametrize("variable", ["ORCHA_SLOTS", "ORCHA_RESOURCES"])
@pytest.mark.parametrize(
    "text", ["rig", "=1", "rig=-1", "rig=1.5", "rig=", "rig=9999999999", "rig=²", "r\udcffg=1", "rig=None"]
)
def test_what_is_no_number_of_slots_is_refused(monkeypatch, variable, text):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigurationError, match=variable) as caught:
        from_environment(Endpoint("127.0.0.1", 1, "/x"), key=None, look_ahead=None, on_hook_timeout="replace")
    assert str(caught.value).encode()


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"per_user": -1}, "per_user is a whole number from 0 to"),
        ({"per_user": 1.5}, "per_user is a whole number from 0 to"),
        ({"longest": 0}, "longest is a number of seconds above 0"),
        ({"longest": "1h"}, "longest is a number of seconds above 0"),
        ({"default_timeout": 90, "longest": 60}, "its default timeout is 90 s, and its longest 60 s: give"),
        ({"colour": "red"}, "the rules of a group are per_user, default_timeout, longest, rate, when"),
        ({"rate": 5}, "rate is a number of starts, and the seconds within which they are counted, not 5"),
        ({"rate": [0, 60]}, "rate is 1 to 1000 starts within some seconds, not 0: count a shorter time"),
        ({"rate": [1, 0]}, "rate is a number of seconds above 0"),
        ({"when": 5}, "when is a condition in text, not 5"),
        ({"when": "load(1) <"}, "its condition cannot be read, "),
        ([1], "the rules of a group are"),
    ],
)
def test_what_is_no_rule_of_a_group_is_refused_and_nothing_changes(tmp_path, rules, why):
    with asking(tmp_path, slots={"rig": 1}) as asked:
        reply = asked.ask(asked.owner, SetGroup, "rig", 5, values.encode(rules))
        assert (reply.verdict, why in reply.reason) == (Verdict.REFUSED, True), reply.reason
        assert groups(asked) == {"rig": 1}
        assert asked.ask(asked.user, SetGroup, "rig", 5).verdict == Verdict.DENIED


def test_rules_outlive_a_crash_change_one_by_one_and_go_with_their_group(tmp_path):
    def known(asked):
        (found,) = asked.value(asked.ask(asked.owner, Stats))["groups"]
        return found["slots"], found["per_user"], found["longest"]

    with asking(tmp_path, slots={"rig": 1}) as asked:
        asked.ask(asked.owner, SetGroup, "rig", None, values.encode({"per_user": 1, "longest": 60}), True)
        assert known(asked) == (1, 1, 60)
    with asking(tmp_path) as asked:
        assert known(asked) == (1, 1, 60)
        asked.ask(asked.owner, SetGroup, "rig", 3, values.encode({"longest": None}))
        assert known(asked) == (3, 1, None)
    with asking(tmp_path, forgotten_groups=frozenset({"rig"})):
        pass
    with asking(tmp_path, slots={"rig": 2}) as asked:
        assert known(asked) == (2, None, None)


def test_a_petition_without_a_limit_gets_that_of_its_group_and_a_longer_one_is_refused(tmp_path):
    with asking(tmp_path, slots={"rig": 1, "any": None}) as asked:
        asked.manager.let_go.clear()
        asked.ask(asked.owner, SetGroup, "rig", 0, values.encode({"default_timeout": 50, "longest": 60}))
        refused = asked.submit(asked.user, "long", group="rig", timeout=61.0)
        assert (refused.verdict, refused.reason) == (
            Verdict.REFUSED,
            "it asks for 1m1s, and its group rig gives 1m at most: give --timeout 1m or less, or another group",
        )
        for name, given in (("own", {"timeout": 60.0}), ("default", {})):
            assert asked.submit(asked.user, name, group="rig", **given).verdict == Verdict.ACCEPTED
        asked.submit(asked.user, "free", group="any")
        limits = {
            name: asked.value(asked.ask(asked.user, Show, name))["timeout"] for name in ("own", "default", "free")
        }
        assert limits == {"own": 60.0, "default": 50.0, "free": None}
        asked.ask(asked.owner, SetGroup, "rig", 0, values.encode({"default_timeout": None}))
        asked.submit(asked.user, "longest", group="rig")
        assert asked.value(asked.ask(asked.user, Show, "longest"))["timeout"] == 60.0


def test_a_petition_keeps_over_a_restart_the_limit_that_its_group_gave_when_it_came(tmp_path):
    given = {"before": None, "first": 50.0, "second": 60.0, "behind": None}
    with asking(tmp_path, slots={"rig": 0}) as asked:
        asked.submit(asked.user, "before", group="rig")
        set_rules(asked, 0, default_timeout=50)
        asked.submit(asked.user, "first", group="rig")
        set_rules(asked, 0, default_timeout=60)
        asked.submit(asked.user, "second", group="rig")
        set_rules(asked, 0, default_timeout=None)
        asked.submit(asked.user, "behind", group="rig")
    with asking(tmp_path) as asked:
        asked.manager.let_go.clear()
        set_rules(asked, default_timeout=70)
        for name, limit in given.items():
            asked.wait_for(name, "running")
            assert asked.value(asked.ask(asked.user, Show, name))["timeout"] == limit
        asked.manager.let_go.set()


def set_rules(asked, slots=None, **rules):
    reply = asked.ask(asked.owner, SetGroup, "rig", slots, values.encode(rules))
    assert reply.verdict == Verdict.OK, reply


def why(asked, identity):
    return [reason["kind"] for reason in asked.value(asked.ask(asked.owner, Show, identity))["blocked"] or ()]


def test_the_starts_that_a_rate_counts_outlive_a_crash_and_another_rate(tmp_path):
    with asking(tmp_path) as asked:
        set_rules(asked, rate=[2, 3_600])
        for name in ("a", "b", "c"):
            asked.submit(asked.user, name, group="rig")
        for name in ("a", "b"):
            asked.wait_for(name, "succeeded")
        assert why(asked, "c") == ["rate_reached"]
    with asking(tmp_path) as asked:
        wait_for(lambda: why(asked, "c") == ["rate_reached"], what="it waits still")
        set_rules(asked, rate=[1, 3_600])
        assert why(asked, "c") == ["rate_reached"]
    with asking(tmp_path) as asked:
        wait_for(lambda: why(asked, "c") == ["rate_reached"], what="it waits still")
        set_rules(asked, rate=[2, 3_600])
        asked.wait_for("c", "succeeded")
        asked.submit(asked.user, "d", group="rig")
        wait_for(lambda: why(asked, "d") == ["rate_reached"], what="the starts before count on")
        (group,) = asked.value(asked.ask(asked.owner, Stats))["groups"]
        assert (group["rate"], len(group["begun"])) == ((2, 3_600), 2)
        set_rules(asked, rate=None)
        asked.wait_for("d", "succeeded")
    with asking(tmp_path) as asked:
        assert asked.store.decided("starts of a group") == {}


def test_who_waits_for_the_rate_of_its_group_starts_when_its_time_has_come(tmp_path):
    with asking(tmp_path) as asked:
        set_rules(asked, rate=[2, 0.2])
        names = [f"p{number}" for number in range(7)]
        for name in names:
            asked.submit(asked.user, name, group="rig")
        for name in names:
            asked.wait_for(name, "succeeded")
        begun = [asked.rows()[name]["started"] for name in names]
        assert begun == sorted(begun)
        assert all(later - earlier >= 0.199 for earlier, later in zip(begun, begun[2:], strict=False)), begun


def test_a_group_starts_something_only_while_its_condition_holds(tmp_path):
    gate = tmp_path / "gate"
    with asking(tmp_path) as asked:
        set_rules(asked, when=f'exists("{gate}")   and running < 5')
        for name in ("a", "b"):
            asked.submit(asked.user, name, group="rig")
        asked.submit(asked.user, "other")
        asked.wait_for("other", "succeeded")
        (reason,) = asked.value(asked.ask(asked.user, Show, "b"))["blocked"]
        assert (reason["kind"], reason["group"]) == ("group_text_is_false", "rig")
        assert "its group rig does not start anything now: exists(" in asked.rows()["a"]["why"]
    gate.touch()
    with asking(tmp_path) as asked:
        for name in ("a", "b"):
            asked.wait_for(name, "succeeded")


def test_a_command_is_ended_by_the_limit_of_its_group(serve):
    service = serve(arguments=("serve", "commands"))
    assert service.run("group", "set", "short", "--default-timeout", "0.2s", "--longest", "1h").returncode == 0
    done = service.run("run", "--group", "short", "--", "sleep", "1000")
    assert (done.returncode, "ran longer than 0.2 s" in done.stderr) == (124, True), done.stderr
    long = service.run("run", "--group", "short", "--timeout", "2h", "--", "true")
    assert (long.returncode, "its group short gives 1h at most" in long.stderr) == (125, True), long.stderr
    rules = service.run("group", "ls").stdout.splitlines()[-1]
    assert "default-timeout 0.2s, longest 1h" in rules
    (group,) = json.loads(service.run("group", "ls", "--json").stdout)
    assert (group["default_timeout"], group["longest"], group["per_user"]) == (0.2, 3600.0, None)
    assert service.run("group", "set", "short", "--longest", "none").returncode == 0
    assert service.run("run", "--group", "short", "--timeout", "2h", "--", "true").returncode == 0
    assert service.run("group", "set", "short", "--rate", "10/m", "--when", "load(1) < 4").returncode == 0
    assert service.run("group", "ls").stdout.rstrip().endswith(", rate 10/m, when load(1) < 4")
    wrong = service.run("group", "set", "short", "--when", "load(1) < ")
    assert (wrong.returncode, "its condition cannot be read" in wrong.stderr) == (1, True), wrong.stderr
    for rate in ("10", "0/m", "x/m", "5/"):
        assert service.run("group", "set", "short", "--rate", rate).returncode == 2
    nothing = service.run("group", "set", "short")
    assert (nothing.returncode, "say what is to hold for the group" in nothing.stderr) == (2, True)


def test_a_petition_makes_the_group_that_it_names_first_and_that_is_told(tmp_path):
    with asking(tmp_path, slots={"train": 1}, new_group_slots=1) as asked:
        asked.manager.let_go.clear()
        for name in ("a", "b"):
            assert asked.submit(asked.user, name, group="trian").verdict == Verdict.ACCEPTED
        told = [note for said in asked.user.heard if isinstance(said, Submitted) for note in said.notes]
        assert told == ["group trian is new, and runs 1 at once: did you mean train?"]
        assert groups(asked) == {"train": 1, "trian": 1}
        asked.wait_for("a", "running")
        assert why(asked, "b") == ["group_full"]
    with asking(tmp_path, takes_new_groups=False) as asked:
        assert groups(asked) == {"train": 1, "trian": 1}


def test_a_group_that_is_named_first_by_a_command_an_array_and_a_change(serve):
    service = serve(arguments=("serve", "commands", "--new-groups", "2"))
    new = "orcha: group {} is new, and runs 2 at once: orcha group set {} --slots N changes that\n"
    done = service.run("run", "--group", "one", "--", "true")
    assert (done.returncode, done.stderr) == (0, new.format("one", "one"))
    assert service.run("run", "--group", "one", "--", "true").stderr == ""
    assert service.ask("run", "--detach", "--name", "b", "--in", "1h", "--", "true").stdout == "b\n"
    many = service.run("run", "--detach", "--name", "many", "--group", "two", "--array", "1-2", "--", "true")
    assert (many.stdout, many.stderr) == ("many\n", new.format("two", "two"))
    assert service.run("set", "b", "--group", "three").returncode == 0
    known = json.loads(service.run("group", "ls", "--json").stdout)
    assert {each["group"]: each["slots"] for each in known} == {"one": 2, "two": 2, "three": 2}
    service.run("cancel", "b")


@pytest.mark.parametrize(
    ("text", "slots", "takes"), [("none", None, True), ("3", 3, True), ("refuse", None, False), ("-1", 0, True)]
)
def test_what_new_groups_get_is_read(monkeypatch, text, slots, takes):
    monkeypatch.setenv("ORCHA_NEW_GROUPS", text)
    asked = partial(
        from_environment, Endpoint("127.0.0.1", 1, "/x"), key=None, look_ahead=None, on_hook_timeout="replace"
    )
    if text == "-1":
        with pytest.raises(ConfigurationError, match="ORCHA_NEW_GROUPS"):
            asked()
    else:
        assert (asked().new_group_slots, asked().takes_new_groups) == (slots, takes)


def test_what_counts_in_whose_turn_it_is_is_read(monkeypatch):
    asked = partial(
        from_environment, Endpoint("127.0.0.1", 1, "/x"), key=None, look_ahead=None, on_hook_timeout="replace"
    )
    for text, half_life in (("now", None), ("past", 86_400.0), ("past:1h", 3_600.0)):
        monkeypatch.setenv("ORCHA_FAIR", text)
        assert asked().past_half_life == half_life
    for text in ("", "past:", "past:59s", "now:1h", "future"):
        monkeypatch.setenv("ORCHA_FAIR", text)
        with pytest.raises(ConfigurationError, match="ORCHA_FAIR is"):
            asked()


def test_as_a_person_meets_it(serve):
    service = serve(arguments=("serve", "commands", "--slots", "rig=1", "--new-groups", "refuse"))
    refused = service.run("run", "--group", "rgi", "--", "true")
    assert (refused.returncode, TYPO in refused.stderr) == (125, True), refused.stderr
    paused = service.run("pause", "--group", "rgi")
    assert (paused.returncode, paused.stdout, TYPO in paused.stderr) == (1, "", True), paused.stderr
    nobody = service.run("ps", "--group", "rgi")
    assert (nobody.returncode, nobody.stdout) == (1, "no petitions\n")
    assert nobody.stderr == "orcha: there is no group rgi: there are rig\n"
    empty = service.run("ps", "--group", "rig")
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "no petitions\n", "")
    assert service.run("run", "--group", "rig", "--", "true").returncode == 0
    service.stop()
    service.command = [*service.command[: service.command.index("--slots")], "--slots", "nightly=none"]
    service.start()
    assert "groups are as they were set before: rig=1" in service.stderr()
    assert service.run("run", "--group", "nightly", "--", "true").returncode == 0
    assert '"slots": 1' in service.run("stats", "--json").stdout


def test_where_no_group_was_set_ps_says_how_one_is_made(serve):
    service = serve(arguments=("serve", "commands"))
    nobody = service.run("ps", "--group", "rig", "--json")
    assert (nobody.returncode, nobody.stdout) == (1, "[]\n")
    assert nobody.stderr == "orcha: there is no group rig: orcha serve --slots G=N makes one\n"


def test_a_group_that_was_set_once_is_none_that_nobody_knows(serve):
    service = serve(arguments=("serve", "commands", "--slots", "rig=1"))
    assert service.run("run", "--group", "rig", "--", "true").returncode == 0
    service.stop()
    service.command = service.command[: service.command.index("--slots")]
    service.start()
    known = service.run("ps", "--group", "rig")
    assert (known.returncode, known.stdout, known.stderr) == (0, "no petitions\n", "")


def test_slots_that_are_set_at_run_time_stay_until_a_start_says_something_new(serve):
    service = serve(arguments=("serve", "commands"), environment={"ORCHA_SLOTS": "rig=1", "ORCHA_COMMANDS": "2"})

    def slots():
        return {each["group"]: each["slots"] for each in json.loads(service.run("group", "ls", "--json").stdout)}

    assert service.ask("run", "--detach", "--name", "a", "--group", "rig", "--", "sleep", "1000").returncode == 0
    assert service.ask("run", "--detach", "--name", "b", "--group", "rig", "--", "sleep", "1000").returncode == 0
    assert service.run("group", "set", "rig", "--slots", "2").returncode == 0
    wait_for(lambda: "b is running\n" in service.run("why", "b").stdout, what="it has a slot now")
    assert service.run("group", "set", "any", "--slots", "none").returncode == 0
    assert service.run("group", "ls").stdout.splitlines()[2].split() == ["rig", "2", "2", "0", "set"]
    service.kill()
    service.start()
    assert slots() == {"rig": 2, "any": None}
    service.stop()
    service.start(environment={"ORCHA_SLOTS": "rig=3"})
    assert slots() == {"rig": 3, "any": None}
    service.run("cancel", "a", "b")
