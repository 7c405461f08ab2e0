"""Short stories of what seeds found: on some of them the oracle was wrong, on the others the service."""

from __future__ import annotations

from orcha._core.state import State
from orcha._protocol.messages import Cancel, DrainResource
from orcha.interfaces import Retry
from support.simulation.by_hand import HandMade, asks_for, passes, rests, tell
from support.simulation.plans import Plan

AGAIN = Retry(times=1, delay=50, jitter=0)


def is_kept(story: HandMade, identity: str, state: State) -> bool:
    return any(row.id == identity and row.state is state for row in story.world.store.rows_by_seq.values())


def returns(identity: str, value: int):
    def happens(story: HandMade) -> None:
        service = story.service
        key = next(key for key, action in service.actions.items() if action.run.record.key == identity)
        service.finishes(key, value)
        service.returns(key, None)

    return happens


def test_a_pause_counts_from_its_decision_whatever_people_make_of_the_clock_before_that_is_kept():
    def has_its_end_kept_late(story: HandMade) -> None:
        transaction = story.service.engine.transaction
        look = transaction.look_for_room

        def is_set_back() -> None:
            transaction.look_for_room = look  # type: ignore[method-assign]
            story.world.time.is_set_by(-30.0)
            look()

        transaction.look_for_room = is_set_back  # type: ignore[method-assign]
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
