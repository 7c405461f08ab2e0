"""What holds of petitions at every moment, each as a function of a simulated service and what was seen before."""

from __future__ import annotations

from collections import Counter

from orcha._core.asking_round import YES
from orcha._core.record import Phase, Record
from orcha._core.situations import situation
from orcha._core.state import OnInterrupt, Outcome, State
from orcha._core.transitions.retry import is_decided
from orcha._store.contract import Row
from support.scheduling import (
    could_start,
    no_more_lives_than_groups_and_resources_allow,
    one_of_a_key_lives_at_a_time,
    the_book_says_what_was_granted,
)
from support.simulated import MANAGERS, World
from support.simulated_hooks import CAPACITY

RUNS = (State.STARTING, State.RUNNING, State.CANCELLING)


class Seen:
    """What was seen at earlier moments."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.logs: dict[bytes, list[tuple[str, int, object]]] = {}

    def remember(self, world: World) -> None:
        """Take what is kept now as seen."""
        self.rows = {row.seq: row for row in world.store.all_rows()}
        self.logs = world.store.logs()


def every_acknowledged_token_has_its_row(world: World, _: Seen) -> None:
    rows = {row.token: row.seq for row in world.store.all_rows()}
    assert world.acked.items() <= rows.items()


def one_row_a_token_and_one_live_row_an_id(world: World, _: Seen) -> None:
    rows = world.store.all_rows()
    assert len({row.token for row in rows}) == len(rows)
    live = Counter(row.id for row in rows if row.state is not State.ENDED or row.slot_held)
    assert all(count == 1 for count in live.values()), live


def an_attempt_starts_at_most_once(world: World, _: Seen) -> None:
    assert all(count == 1 for count in world.on_starts.values()), world.on_starts


def attempts_only_rise(world: World, seen: Seen) -> None:
    for row in world.store.all_rows():
        if row.seq in seen.rows:
            assert row.attempt >= seen.rows[row.seq].attempt


def queued_means_never_executed(world: World, _: Seen) -> None:
    for row in world.store.all_rows():
        if row.state is State.QUEUED:
            assert not world.on_starts[row.seq, row.attempt + 1]
            assert not world.executed[row.seq, row.attempt + 1]


def nothing_leaves_its_end(world: World, seen: Seen) -> None:
    now = {row.seq: row for row in world.store.all_rows()}
    for seq, before in seen.rows.items():
        if before.state is State.ENDED:
            after = now[seq]
            assert (after.state, after.outcome, after.code, after.reason, after.ended, after.attempt) == (
                before.state, before.outcome, before.code, before.reason, before.ended, before.attempt,
            )  # fmt: skip


def one_final_value_and_nothing_after_it(world: World, _: Seen) -> None:
    rows = {row.seq: row for row in world.store.all_rows()}
    finals: Counter[int] = Counter()
    for log in world.store.logs().values():
        for kind, seq, _value in log:
            assert not finals[seq], f"{kind} after the final value"
            finals[seq] += kind == "final"
    for seq, row in rows.items():
        assert finals[seq] == (row.state is State.ENDED)
    assert finals.keys() <= rows.keys()


def what_a_follower_has_read_stays(world: World, seen: Seen) -> None:
    for channel, before in seen.logs.items():
        assert world.store.log(channel)[: len(before)] == before


def the_final_value_is_what_the_row_says(world: World, _: Seen) -> None:
    rows = {row.seq: row for row in world.store.all_rows()}
    for log in world.store.logs().values():
        for kind, seq, value in log:
            if kind == "final":
                assert value == rows[seq].code
            if kind == "notice":
                assert value == f"{rows[seq].reason}\n"


def a_cancel_that_was_kept_is_no_success(world: World, seen: Seen) -> None:
    for row in world.store.all_rows():
        before = seen.rows.get(row.seq)
        if row.seq in world.by_itself:
            continue
        if before is not None and before.state is State.CANCELLING and row.attempt == before.attempt:
            assert row.outcome not in {Outcome.SUCCEEDED, Outcome.FAILED}


def cancelled_means_nothing_of_it_lives(world: World, _: Seen) -> None:
    for row in world.store.all_rows():
        action = world.actions.get((row.seq, row.attempt))
        if action is None or row.outcome not in {Outcome.CANCELLED, Outcome.TIMED_OUT} or row.state is not State.ENDED:
            continue
        assert not action.alive or row.slot_held, "its thread lives, and it is not known as abandoned"
        if action.processes:
            assert action.alive, "a process lives, and no abandoned thread can have started it"
            ended = (row.seq, row.attempt) in world.ladders or world.petitions.effects
            assert ended, "a process of an abandoned thread is not killed"


def a_command_is_executed_once_an_attempt_and_ends_before_the_next(world: World, _: Seen) -> None:
    assert all(count == 1 for count in world.executed.values()), world.executed
    rows = {row.seq: row for row in world.store.all_rows()}
    for (seq, attempt), command in world.commands.items():
        row = rows[seq]
        if command.end is not None:  # nothing of it lives: it waits to be forgotten
            continue
        assert row.attempt == attempt, f"attempt {row.attempt} while attempt {attempt} lives"
        assert command.lost or row.state in RUNS, f"a command lives, and its petition is {row.state.name}"


def what_may_have_run_runs_again_only_where_its_policy_says_so(world: World, _: Seen) -> None:
    executed: Counter[int] = Counter()
    for (seq, _attempt), count in world.executed.items():
        executed[seq] += count
    for row in world.store.all_rows():
        if world.plans[row.token].command and row.on_interrupt is OnInterrupt.FAIL:
            assert executed[row.seq] <= 1 + world.again_after_failure[row.seq], f"{row} was executed again"


def no_more_run_than_may(world: World, _: Seen) -> None:
    assert all(len(world.petitions.granted.of_manager(manager)) <= CAPACITY for manager in MANAGERS)
    if world.petitions.changes:
        return
    held = [row.id for row in world.store.all_rows() if _holds_a_slot(world, row)]
    assert set(held) <= set(world.petitions.granted), "a petition runs that running_processes does not name"
    pending = world.visit.round.answers if world.visit is not None else []
    said_yes = {answered.record.key for answered in pending if answered.answer is YES}
    assert set(held) | said_yes == set(world.petitions.granted), "running_processes names what does not run"


def _holds_a_slot(world: World, row: Row) -> bool:
    record = world.petitions.records.get(row.seq)
    ends = record is not None and is_decided(record)
    runs = row.state in RUNS and row.seq not in world.petitions.leaving
    return runs or ends or row.slot_held


def a_slot_is_held_while_anything_of_the_attempt_lives(world: World, _: Seen) -> None:
    for (seq, _attempt), action in world.actions.items():
        if action.alive or action.processes:
            assert seq in world.petitions.granted.seqs(), f"petition {seq} is not said to run"


def an_action_and_its_processes_end_before_the_next_attempt(world: World, _: Seen) -> None:
    attempts = {row.seq: row.attempt for row in world.store.all_rows()}
    for (seq, attempt), action in world.actions.items():
        if action.alive or action.processes:
            assert attempts[seq] == attempt, f"attempt {attempts[seq]} while attempt {attempt} lives"


def nothing_is_tried_again_more_often_than_it_may(world: World, _: Seen) -> None:
    rows = {row.seq: row for row in world.store.all_rows()}
    for seq, kept in world.store.attempts(list(rows)).items():
        retry = world.plans[rows[seq].token].retry
        assert kept.retries <= (retry.times if retry is not None else 0)


def what_failed_is_tried_again_as_often_as_it_may(world: World, _: Seen) -> None:
    for row in world.store.all_rows():
        plan = world.plans[row.token]
        if row.state is not State.ENDED or row.outcome is not Outcome.FAILED or plan.retry is None or plan.command:
            continue
        kept = world.store.attempts([row.seq]).get(row.seq)
        tried = 0 if kept is None else kept.retries
        codes = plan.retry.codes or ((row.code,) if not plan.retry.timeout else ())
        assert tried == plan.retry.times or row.code not in codes or row.seq in world.survived


def hooks_are_called_in_pairs(world: World, _: Seen) -> None:
    for attempt, calls in world.on_finishes.items():
        assert len(calls) == len(set(calls)), f"on_finish of {attempt} was called twice without a crash"


def memory_agrees_with_what_is_kept(world: World, _: Seen) -> None:
    """Checked where nothing waits to be kept: then the machine's live petitions are the store's."""
    petitions = world.petitions
    if petitions.changes:
        return
    rows = {row.seq: row for row in world.store.all_rows()}
    for key, known in petitions.live.items():
        if not isinstance(known, Record):
            assert rows[known[1]].state is State.QUEUED
        elif known.phase is not Phase.CONVERTING:
            row = rows[known.seq]
            assert (row.id, row.state, row.attempt) == (key, known.state, known.attempt)
            assert known.state is not State.ENDED or row.outcome is known.outcome
    live = {known.seq if isinstance(known, Record) else known[1] for known in petitions.live.values()}
    assert {seq for seq, row in rows.items() if row.state is not State.ENDED or row.slot_held} <= live
    assert {seq for seq in petitions.records if seq not in live} == set()


def the_queue_holds_what_is_queued(world: World, _: Seen) -> None:
    petitions = world.petitions
    queued = [r.seq for r in petitions.records.values() if r.state is State.QUEUED and r.phase is Phase.WAITING]
    queued += [known[1] for known in petitions.live.values() if not isinstance(known, Record)]
    assert len(petitions.waiting) + petitions.waiting.parked == len(queued)
    ready = petitions.waiting.head(len(queued))
    assert ready == sorted(ready)
    assert all(key[1] in petitions.records for key in ready), "a ready petition cannot be asked"


def everyone_is_in_a_legal_situation(world: World, _: Seen) -> None:
    for record in world.petitions.records.values():
        situation(world.petitions, record)


ALWAYS = [
    everyone_is_in_a_legal_situation,
    every_acknowledged_token_has_its_row,
    one_row_a_token_and_one_live_row_an_id,
    an_attempt_starts_at_most_once,
    attempts_only_rise,
    queued_means_never_executed,
    nothing_leaves_its_end,
    one_final_value_and_nothing_after_it,
    what_a_follower_has_read_stays,
    the_final_value_is_what_the_row_says,
    a_cancel_that_was_kept_is_no_success,
    cancelled_means_nothing_of_it_lives,
    a_command_is_executed_once_an_attempt_and_ends_before_the_next,
    what_may_have_run_runs_again_only_where_its_policy_says_so,
    no_more_run_than_may,
    no_more_lives_than_groups_and_resources_allow,
    one_of_a_key_lives_at_a_time,
    the_book_says_what_was_granted,
    a_slot_is_held_while_anything_of_the_attempt_lives,
    an_action_and_its_processes_end_before_the_next_attempt,
    nothing_is_tried_again_more_often_than_it_may,
    what_failed_is_tried_again_as_often_as_it_may,
    hooks_are_called_in_pairs,
    memory_agrees_with_what_is_kept,
    the_queue_holds_what_is_queued,
]


def nobody_runnable_is_left(world: World) -> None:
    """Where everyone was asked and nothing changed since, no petition could start, be it ready or parked."""
    for record in world.petitions.records.values():
        assert not could_start(world, record), (
            f"{record} could run and is not asked",
            world.draining,
            world.look_ahead,
            world.visit,
            world.petitions.records,
            world.petitions.waiting._ready,
            world.petitions.waiting._spilled,
            world.petitions.waiting._lots,
            world.paused,
            world.selection._asked_version,
            world.petitions.version,
            world.gathered,
            world.petitions.granted._grants,
        )


def everything_is_known_after_recovery(world: World) -> None:
    for row in world.store.all_rows():
        if (row.seq, row.attempt) not in world.commands:
            assert row.state in {State.QUEUED, State.HELD, State.ENDED}
        assert not row.slot_held


def everybody_got_an_answer(world: World) -> None:
    """Where everything has come to its end: nobody waits, nothing runs, each on_start had its on_finish."""
    petitions = world.petitions
    assert not petitions.granted
    assert not petitions.leaving
    assert not world.unanswered
    for row in world.store.all_rows():
        assert row.state in {State.HELD, State.ENDED}, row
        assert not row.hook_pending, row
        assert not row.slot_held, row
    for attempt, count in world.on_starts.items():
        assert len(world.on_finishes.get(attempt, ())) >= count, f"no on_finish for {attempt}"
