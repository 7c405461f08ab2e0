"""Short stories of what seeds found: on some of them the oracle was wrong, on the others the service."""

from __future__ import annotations

import pytest

from orcha._core.changes import Changes
from orcha._core.effects import Effect
from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.messages import AddSchedule, Cancel, ChangeLease, DrainResource, Item, Pause
from orcha.interfaces import Retry
from orcha.interfaces.built_in import COMMANDS, LEASES
from orcha.interfaces.needs import WHOLE
from support.asking import ExtrasChannel
from support.simulation.by_hand import HandMade, Happening, asks_for, passes, rests, tell
from support.simulation.plans import Plan
from support.simulation.service import Service
from support.simulation.store import Crash

AGAIN = Retry(times=1, delay=50, jitter=0)


def is_kept(story: HandMade, identity: str, state: State) -> bool:
    return any(row.id == identity and row.state is state for row in story.world.store.rows_by_seq.values())


def is_waiting(identity: str) -> Happening:
    def happens(story: HandMade) -> None:
        assert is_kept(story, identity, State.QUEUED)

    return happens


def returns(identity: str, value: int):
    def happens(story: HandMade) -> None:
        service = story.service
        key = next(key for key, action in service.actions.items() if action.run.key == identity)
        service.finishes(key, value)
        service.returns(key, None)

    return happens


FIRST = (1, 1)
"""The first attempt of the first petition."""


def runs_command(identity: str, **fields: object):
    """Have somebody ask the manager of commands, whose petitions alone give their place, for one in the group rig."""

    def happens(story: HandMade) -> None:
        plan = Plan(command=True, group="rig", **fields)
        story._planning._draw = lambda: plan
        token, said = story._planning._fields()
        extras = values.encode({**said, "queue": ExtrasChannel(token)})
        story.service.submit(COMMANDS, [Item(token, identity, extras, None)])

    return happens


def is_executed(story: HandMade) -> None:
    story.world.shims.executes(FIRST)
    tells(story)


def tells(story: HandMade) -> None:
    """Have the service hear of what happened, where it asked for that."""
    shims = story.world.shims
    if shims.commands[FIRST].is_told:
        shims.tell(FIRST, story.service.engine.shims.on_events)
    story.rests()


def ends_with_survivors(story: HandMade) -> None:
    story.world.shims.ends(FIRST, 0, [42])


def loses_its_shim_with_survivors(story: HandMade) -> None:
    story.world.shims.loses(FIRST, (42,))


def survivors_go(story: HandMade) -> None:
    story.world.shims.survivors_go(FIRST)


def is_killed(_: HandMade) -> None:
    raise Crash


def is_held(story: HandMade) -> None:
    story.rests()
    assert is_kept(story, "a", State.ENDED)
    assert story.service.engine.granted.has(1)


def is_free(story: HandMade) -> None:
    assert not story.service.engine.granted.has(1)
    assert "a" not in story.service.engine.petitions.live


A_COMMAND_RUNS = (asks_for("a", command=True), rests, is_executed)


def test_a_place_that_is_kept_over_a_restart_is_free_when_the_shim_tells_that_nothing_lives():
    kept_over_a_restart = [ends_with_survivors, tells, is_held, is_killed, is_held]
    tell([*A_COMMAND_RUNS, *kept_over_a_restart, survivors_go, tells, is_free])


def test_a_place_is_free_when_what_outlived_a_shim_ends_after_a_restart():
    tell([*A_COMMAND_RUNS, loses_its_shim_with_survivors, is_killed, is_held, survivors_go, tells, is_free])


def test_a_place_is_free_though_what_outlived_a_shim_ends_before_its_petition_is_made_again():
    def survivors_go_first(story: HandMade) -> None:
        assert "hooks" in story.service.ready, "its petition is to be made again"
        survivors_go(story)
        tells(story)

    tell([*A_COMMAND_RUNS, loses_its_shim_with_survivors, is_killed, survivors_go_first, is_free])


def test_a_cancelled_command_whose_shim_dies_is_broken_and_keeps_its_place_until_nothing_lives():
    def is_cancelled(story: HandMade) -> None:
        story.service.ask(Cancel, None, "a")
        story.rests()

    happenings = [*A_COMMAND_RUNS, is_cancelled, ends_with_survivors, loses_its_shim_with_survivors, is_killed, is_held]
    tell([*happenings, survivors_go, tells, is_free])


def test_a_command_that_ended_while_others_had_its_place_tells_nothing_when_it_has_that_again():
    def is_executed_beside(story: HandMade) -> None:
        story.rests()
        assert 1 not in story.service.engine.petitions.lent, "its shim has not told that it was stopped"
        tells(story)
        assert 1 in story.service.engine.petitions.lent
        story.world.shims.executes((2, 1))

    def gives_its_place_back(story: HandMade) -> None:
        shims = story.world.shims
        shims.ends((2, 1), 0, [])
        shims.tell((2, 1), story.service.engine.shims.on_events)
        story.rests()
        assert 1 not in story.service.engine.petitions.lent

    runs = [runs_command("a", preemptible="pause"), rests, is_executed]
    lends = [runs_command("b", priority=-1), is_executed_beside]
    ends = [loses_its_shim_with_survivors, tells, is_held]
    tell([*runs, *lends, *ends, gives_its_place_back, is_held, survivors_go, tells, is_free])


def test_a_pause_counts_from_its_decision_whatever_people_make_of_the_clock_before_that_is_kept():
    def has_its_end_kept_late(story: HandMade) -> None:
        transaction = story.service.engine.transaction
        keep = transaction.keep

        def is_set_back(changes: Changes, effects: list[Effect]) -> list[Effect]:
            transaction.keep = keep  # type: ignore[method-assign]
            story.world.time.is_set_by(-30.0)
            return keep(changes, effects)

        transaction.keep = is_set_back  # type: ignore[method-assign]
        returns("a", 7)(story)
        story.rests()
        assert is_kept(story, "a", State.QUEUED)

    def dies(story: HandMade) -> None:
        story.world.store.dies = "before"
        story.asks_for("b", Plan())
        story.rests()

    story = tell([asks_for("a", retry=AGAIN), rests, has_its_end_kept_late, dies, passes(51.0), rests])
    assert story.world.begun.keys() >= {(1, 2)}


def test_a_pause_counts_from_the_time_limit_though_the_clock_is_set_back_while_the_attempt_is_ended():
    def clock_is_set(story: HandMade) -> None:
        assert is_kept(story, "a", State.CANCELLING)
        story.world.time.is_set_by(-7_200.0)

    again = AGAIN.__class__(times=1, delay=50, jitter=0, timeout=True)
    happenings = [asks_for("a", timeout=5, retry=again), rests, passes(6.0), rests, clock_is_set]
    story = tell([*happenings, returns("a", 7), rests, passes(51.0), rests])
    assert story.world.begun.keys() >= {(1, 2)}


def test_the_answer_of_a_petition_that_has_ended_lets_nobody_pass():
    def is_cancelled_before_it_is_asked(story: HandMade) -> None:
        service = story.service
        service.ask(Cancel, None, "b")
        service.make_batch()  # the round of both is handed over
        assert is_kept(story, "b", State.ENDED)
        story.while_asked("b", lambda: story.world.flags.add("x"))
        story.rests()

    story = tell(
        [
            asks_for("z", owner="uid:1"),
            asks_for("r"),
            rests,
            returns("z", 0),
            rests,
            asks_for("a", flag="x"),
            asks_for("b", flag="x"),
            rests,
            lambda story: story.wakes(),
            lambda story: story.service.make_batch(),
            is_cancelled_before_it_is_asked,
        ]
    )
    assert story.world.interleave(story.service) is None
    asked = [args[0] for _, text, args in story.world.lines if text == "hook: {}" and args[0].startswith("ask")]
    assert asked[-3:-1] == ["ask b", "ask a"]


def test_what_was_drained_is_there_at_the_end_though_the_service_died_before_it_kept_that():
    def is_to_die_at_the_end(story: HandMade) -> None:
        holds_nothing_back = story._planning.holds_nothing_back

        def dies() -> None:
            story._planning.holds_nothing_back = holds_nothing_back  # type: ignore[method-assign]
            holds_nothing_back()
            story.world.store.dies = "before"

        story._planning.holds_nothing_back = dies  # type: ignore[method-assign]

    drains = lambda story: story.service.ask(DrainResource, "rack", drained=True, why="a fan")  # noqa: E731
    story = tell([drains, rests, asks_for("a", needs={"rack": 1}), rests, is_to_die_at_the_end])
    assert story.world.begun


def test_a_gap_that_has_passed_while_others_were_asked_is_none():
    def asks_for_both(story: HandMade) -> None:
        story.submit(("d", Plan(needs={"gpu": 2}, timeout=5)), ("b", Plan(needs={"gpu": 1}, timeout=5)))
        story.service.make_batch()  # in the visit that this hands over, conditions may take long
        story.passes(60.0)
        story.service.step("hooks")

    story = tell([asks_for("h", needs={"gpu": 1}, timeout=5), rests, asks_for_both])
    begun = [args[0] for _, text, args in story.world.lines if text.startswith("action of {} begins")]
    assert begun == ["h", "d", "b"]


def test_a_gap_that_closes_while_the_condition_of_the_petition_in_it_is_asked_was_one_when_it_was_asked():
    def asks_for_what_takes_a_moment(story: HandMade) -> None:
        story.while_asked("b", lambda: story.passes(0.3))
        story.asks_for("b", Plan(needs={"gpu": 1}, timeout=30))
        story.rests()

    first = [asks_for("h", needs={"gpu": 1}, timeout=30), rests, asks_for("d", needs={"gpu": 2}, timeout=5), rests]
    assert begun(tell([*first, asks_for_what_takes_a_moment])) == ["h", "b", "d"]


def test_a_petition_that_came_while_everything_was_paused_starts_behind_the_petitions_that_wait():
    def is_paused(story: HandMade) -> None:
        story.service.ask(Pause, None)

    def all_go_on_while_it_is_asked(story: HandMade) -> None:
        def all_go_on() -> None:
            story.resume("all")
            story.service.make_batch()

        story.while_asked("b", all_go_on)
        story.asks_for("b", Plan(needs={"gpu": 2}))
        story.rests()

    story = tell([is_paused, rests, asks_for("a", needs={"gpu": 2}), rests, all_go_on_while_it_is_asked])
    begun = [args[0] for _, text, args in story.world.lines if text.startswith("action of {} begins")]
    assert begun == ["a", "b"]


def has_another_rate(starts: int, seconds: float) -> Happening:
    def happens(story: HandMade) -> None:
        story._sharing.set_group("rig", None, {"rate": [starts, seconds]})
        story.rests()

    return happens


has_a_rate = has_another_rate(1, 40.0)


def begun(story: HandMade) -> list[str]:
    return [args[0] for _, text, args in story.world.lines if text.startswith("action of {} begins")]


def test_a_rate_counts_a_start_that_was_cancelled_before_it_was_kept():
    def is_cancelled_while_it_is_asked(story: HandMade) -> None:
        story.while_asked("b", lambda: story.service.ask(Cancel, None, "b"))
        story.rests()
        assert is_kept(story, "b", State.ENDED)

    first = [has_a_rate, asks_for("a", group="rig"), rests, asks_for("b", group="rig"), rests]
    story = tell([*first, passes(41.0), is_cancelled_while_it_is_asked, asks_for("c", group="rig"), rests])
    assert begun(story) == ["a", "c"]


def test_a_rate_counts_until_the_visit_is_over_the_yes_of_a_petition_that_ended_while_it_was_asked():
    """Nobody gives that yes back before: meanwhile the next petition of the group lets others pass."""

    def the_first_ends_while_it_is_asked(story: HandMade) -> None:
        def ends() -> None:
            story.service.ask(Cancel, None, "a")
            story.service.make_batch()
            assert is_kept(story, "a", State.ENDED)

        story.while_asked("a", ends)
        story.world.flags.add("x")
        story.passes(3.0)
        story.rests()

    waiting = [asks_for("a", group="rig", flag="x"), asks_for("b", group="rig", flag="x"), asks_for("c", flag="x")]
    assert begun(tell([has_a_rate, *waiting, rests, the_first_ends_while_it_is_asked])) == ["c", "b"]


def test_a_rate_counts_from_the_decision_to_start_though_that_is_kept_later():
    def is_decided(story: HandMade) -> None:
        while "a" not in story.service.engine.granted:
            story.service.make_batch()
        assert not is_kept(story, "a", State.STARTING)

    def is_cancelled(story: HandMade) -> None:
        story.service.ask(Cancel, None, "a")
        story.rests()
        assert is_kept(story, "a", State.ENDED)

    first = [has_a_rate, runs_command("a"), is_decided, passes(0.3), is_cancelled, asks_for("b", group="rig"), rests]
    assert begun(tell([*first, passes(39.8), rests])) == ["b"]


def test_a_rate_that_lets_a_petition_start_since_its_visit_was_handed_over_counts_in_the_next_visit():
    def two_come_and_time_passes(story: HandMade) -> None:
        story.submit(("b", Plan(group="rig")), ("c", Plan()))
        story.service.make_batch()
        story.passes(41.0)
        story.service.step("hooks")

    first = [has_a_rate, asks_for("a", group="rig"), rests, returns("a", 0), rests]
    assert begun(tell([*first, two_come_and_time_passes, rests])) == ["a", "c", "b"]


def test_a_rate_lets_start_when_its_time_is_over_by_the_sums_of_the_service_too():
    """The sums of the two may differ by less than the last digit of a time on the wall."""
    first = [has_a_rate, asks_for("a", group="rig"), rests, returns("a", 0), asks_for("b", group="rig"), rests]
    assert begun(tell([*first, passes(40.0 - 5e-8), rests, passes(1e-6), rests])) == ["a", "b"]


def test_a_rate_counts_as_many_of_the_starts_before_it_as_the_rates_between_them_let_start():
    rates = [has_another_rate(1, 400.0), rests, has_another_rate(2, 4_000.0), rests]
    two = [
        asks_for("a", group="rig"),
        rests,
        returns("a", 0),
        asks_for("b", group="rig"),
        rests,
        returns("b", 0),
        rests,
    ]
    story = tell([has_another_rate(2, 4_000.0), *two, *rates, asks_for("c", group="rig"), rests])
    assert begun(story) == ["a", "b", "c"]


def test_a_rate_counts_from_a_restart_what_started_by_a_clock_that_was_set_back_since():
    first = [has_a_rate, asks_for("a", group="rig"), rests, returns("a", 0), asks_for("b", group="rig"), rests]
    sets_back = lambda story: story.world.time.is_set_by(-7_200.0)  # noqa: E731
    story = tell(
        [*first, passes(10.0), sets_back, is_killed, rests, passes(31.0), rests, is_waiting("b"), passes(9.1), rests]
    )
    assert begun(story) == ["a", "b"]


def test_a_rate_counts_what_it_counted_before_a_change_that_a_crash_forgets():
    """A lower rate forgets the starts that it does not count."""

    def another_rate_is_not_kept(story: HandMade) -> None:
        story.world.store.dies = "before"
        has_another_rate(1, 40.0)(story)

    runs = lambda name: [asks_for(name, group="rig"), rests, returns(name, 0), rests]  # noqa: E731
    first = [has_another_rate(2, 4_000.0), *runs("a"), passes(100.0), *runs("b")]
    story = tell([*first, another_rate_is_not_kept, rests, asks_for("c", group="rig"), rests, is_waiting("c")])
    assert begun(story) == ["a", "b", "c"]


def test_a_petition_waits_behind_another_one_of_its_quota_that_is_asked_in_the_next_round():
    def starts_with_groups(story: HandMade) -> None:
        story.world.allowances.groups = {"uid:0": ("lab",), "uid:2": ("lab",)}
        raise Crash

    def a_quota_holds(story: HandMade) -> None:
        story.service.reload({("group", "lab"): {"running": 1}})
        story.rests()

    def another_owner_goes_first(story: HandMade) -> None:
        def two_come_in_one_visit(_: Service) -> None:
            story.world.interleave = a_place_is_free_while_they_are_converted
            story.asks_for("c", Plan(owner="uid:2"))
            story.asks_for("d", Plan(owner="uid:1", priority=1))

        def a_place_is_free_while_they_are_converted(_: Service) -> None:
            if story.world.lines[-1][2] == ("convert c",):
                story.world.interleave = lambda _: None
                returns("a", 0)(story)
                story.service.make_batch()

        story.world.interleave = two_come_in_one_visit
        story.asks_for("y", Plan(owner="uid:1", flag="y"))
        story.rests()

    first = [starts_with_groups, asks_for("a"), rests, asks_for("z", owner="uid:2"), rests, returns("z", 0), rests]
    story = tell([*first, a_quota_holds, asks_for("b"), rests, another_owner_goes_first])
    assert begun(story)[:4] == ["a", "z", "d", "b"]


def come_while_a_visit_is_under_way(comes: Happening) -> Happening:
    """Have petitions come so that the next visit converts and asks them together."""

    def happens(story: HandMade) -> None:
        story.while_asked("x", lambda: comes(story))
        story.asks_for("x", Plan(flag="x"))
        story.rests()

    return happens


def test_a_petition_starts_that_was_behind_a_lease_of_the_machine_which_was_given_back_in_the_same_visit():
    def a_lease_is_given_back(story: HandMade) -> None:
        story.world.has_leases = True
        token, needs = story._token(), {WHOLE: 1}
        story.world.plans[token] = Plan(needs=needs)
        extras = values.encode({"needs": needs, "for": None, "priority": 0, "queue": ExtrasChannel(token)})
        story.service.submit(LEASES, [Item(token, "lease", extras, None)])
        story.service.ask(ChangeLease, "lease")
        story.asks_for("b", Plan())

    story = tell([asks_for("a"), rests, come_while_a_visit_is_under_way(a_lease_is_given_back)])
    assert begun(story)[:2] == ["a", "b"]


@pytest.mark.parametrize("needs", [{"gpu": 2}, {WHOLE: 1}])
@pytest.mark.parametrize("is_refused", [False, True])
def test_a_petition_starts_that_was_behind_another_one_which_was_cancelled_or_refused_in_the_same_visit(
    needs: dict[str, int], is_refused: bool
):
    def another_one_goes(story: HandMade) -> None:
        story.world.has_leases = True
        story.asks_for("goes", Plan(needs=needs, once="nightly" if is_refused else None, if_exists="reject"))
        if not is_refused:
            story.service.ask(Cancel, None, "goes")
        story.asks_for("b", Plan(needs={"gpu": 1}))

    runs, waits = asks_for("a", needs={"gpu": 1}, once="nightly"), asks_for("w", needs={"gpu": 2}, priority=1)
    story = tell([runs, rests, waits, rests, come_while_a_visit_is_under_way(another_one_goes)])
    assert begun(story)[:2] == ["a", "b"]


MANY_FIRINGS = 102
"""More than the store keeps of a schedule whose petitions have all ended."""


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
def test_a_firing_starts_beside_no_earlier_one_however_many_came_between_them_and_after_a_restart(overlap: str):
    def is_scheduled(story: HandMade) -> None:
        story._planning._draw = lambda: Plan(command=True, on_interrupt="rerun")
        _, said = story._planning._fields()
        how = {"zone": "UTC", "overlap": overlap, "missed": "skip"}
        story.service.ask(AddSchedule, "nightly", "* * * * *", values.encode(said), COMMANDS, **how)

    def has_its_place_alone(story: HandMade) -> None:
        assert story.service.engine.granted.seqs() == [1]

    minute = [passes(60.0), rests]
    many = [*minute * MANY_FIRINGS, has_its_place_alone]
    tell([is_scheduled, rests, *minute, is_executed, *many, is_killed, *minute, *minute, has_its_place_alone])
