"""Starts that are kept ahead: a short command begins as soon as the last one has ended, and what is kept is true."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from commands.conftest import CommandsManager, CommandsUnderTest
from commands.fake_commands import FakeCommands, ended, started
from orcha._core.state import Outcome, State
from orcha._protocol import messages
from orcha._service.execution import starts_ahead
from orcha._supervisor.contract import ResourceUsage
from orcha.interfaces import CommandPetition, Message
from orcha.interfaces.built_in import COMMAND_MANAGER
from support.waiting import wait_for

AHEAD = (State.STARTING, 1)
WAITS = (State.QUEUED, 0)


class OneAtATime(CommandsManager):
    """Stands for the built-in manager: one command runs at a time."""

    most = 1

    def __init__(self) -> None:
        super().__init__()
        self.granted: Any = None

    def convert_to_petition(self, m: Message) -> CommandPetition | None:
        petition = super().convert_to_petition(m)
        assert petition is not None
        petition.condition = lambda _: len(self.granted) < 1
        petition.priority = -1 if m.id == "better" else 0
        return petition


class Told(FakeCommands):
    """Notes each hand-over among the transactions."""

    def start(self, spec: Any) -> None:
        super().start(spec)
        self.calls.append(("start", spec.seq, spec.attempt))


class ShortCommands(CommandsUnderTest):
    """An engine that notes in which order transactions are made and commands begin."""

    def __init__(self, folder: Any, **options: Any) -> None:
        super().__init__(folder, Told, manager=OneAtATime(), manager_name=COMMAND_MANAGER, **options)
        self.manager.granted = self.engine.granted
        commit = self.store.commit

        def noted(changes: Any, **options: Any) -> Any:
            kept = commit(changes, **options)
            if self.commands is not None and changes.transitions:
                self.commands.calls.append(("commit", *sorted(changes.transitions)))
            return kept

        self.store.commit = noted  # type: ignore[method-assign]
        self.asks = itertools.count(1000)

    def short_end(self, spec: Any) -> None:
        self.commands.tell(ended(spec, usage=ResourceUsage(wall=0.001)))

    def place(self, asked: Any) -> tuple[State, int]:
        row = self.row(asked)
        return row.state, row.attempt

    def wait_for_place(self, asked: Any, place: tuple[State, int]) -> None:
        wait_for(lambda: self.place(asked) == place, what=f"{asked.id} {place}")

    def ask(self, make: Any, *args: Any) -> None:
        self.engine.receive(self.peer, make(next(self.asks), *args))


@pytest.fixture
def short(folder, monkeypatch):
    monkeypatch.setattr(starts_ahead, "MAX_AHEAD_SECONDS", 3600.0)
    under_test = ShortCommands(folder)
    under_test.start()
    yield under_test
    if not under_test.closed:
        under_test.stop()


def three_more_than_run(engine, names="abcd"):
    """Give four commands: the first has ended, the second runs, and the starts of the others are kept ahead."""
    asked = [engine.run(name) for name in names]
    first = engine.wait_for_spec()
    wait_for(lambda: len(engine.told.accepted) == len(names), what="all to be accepted")
    engine.settle_engine()
    engine.short_end(first)
    wait_for(lambda: len(engine.commands.specs) == 2, what="the start of the second")
    for each in asked[2:]:
        engine.wait_for_place(each, AHEAD)
    return asked


def test_the_next_command_begins_before_the_transaction_of_the_end_before_it(short):
    asked = three_more_than_run(short)
    before = len(short.commands.calls)
    short.short_end(short.commands.specs[-1])
    wait_for(lambda: len(short.commands.specs) == 3, what="the start of the third")
    short.settle_engine()
    happened = [call for call in short.commands.calls[before:] if call[0] in {"start", "commit"}]
    assert happened[0] == ("start", 3, 1)
    assert happened[1] == ("commit", 2, 3)
    assert short.place(asked[1])[0] is State.ENDED
    assert short.row(asked[2]).started >= short.row(asked[1]).started
    short.commands.tell(started(short.commands.specs[-1]))
    short.short_end(short.commands.specs[-1])
    wait_for(lambda: len(short.commands.specs) == 4, what="the start of the fourth")
    short.short_end(short.commands.specs[-1])
    short.settle(*asked)
    assert [short.values(each) for each in asked] == [[0]] * 4
    stats = short.engine.statistics
    assert (stats.starts, stats.ends, len(stats.ran)) == (4, 4, 4)
    assert all(short.row(each).started is not None for each in asked)


def test_an_action_s_or_a_long_command_s_end_keeps_nothing_ahead(short):
    asked = [short.run(name) for name in "abc"]
    first = short.wait_for_spec()
    wait_for(lambda: len(short.told.accepted) == 3, what="all to be accepted")
    short.settle_engine()
    short.commands.tell(ended(first, usage=ResourceUsage(wall=0.5)))
    wait_for(lambda: len(short.commands.specs) == 2, what="the start of the second")
    short.settle_engine()
    assert short.place(asked[2]) == WAITS


def test_who_looks_is_told_that_it_is_queued(short):
    asked = three_more_than_run(short)
    short.ask(messages.List, 1 << State.QUEUED, 10)
    for each in asked[2:]:
        short.wait_for_place(each, WAITS)
        assert short.row(each).started is None
    rows = short.store.page(states=1 << State.QUEUED, limit=10)
    assert [row.id for row in rows] == ["d", "c"]
    short.short_end(short.commands.specs[-1])
    wait_for(lambda: len(short.commands.specs) == 3, what="the start of the third")
    short.settle_engine()
    assert short.place(asked[3]) == WAITS  # somebody may be about to decide


def test_the_thread_that_brings_messages_does_not_wait_for_the_disk(short, monkeypatch):
    three_more_than_run(short)
    with monkeypatch.context() as patch:
        patch.setattr(short.engine.mailbox, "wake", lambda: None)
        short.ask(messages.List, 1 << State.QUEUED, 10)
        before = list(short.commands.made("commit"))
        last = short.run("e")
        assert short.commands.made("commit") == before
    short.engine.mailbox.wake()
    wait_for(lambda: last.token in short.told.accepted, what="it to be accepted")


def test_what_does_not_begin_is_put_back(short, monkeypatch):
    monkeypatch.setattr(starts_ahead, "MAX_AHEAD_SECONDS", 0.01)
    asked = [short.run(name) for name in "abc"]
    first = short.wait_for_spec()
    wait_for(lambda: len(short.told.accepted) == 3, what="all to be accepted")
    short.settle_engine()
    before = len(short.commands.calls)
    short.short_end(first)
    wait_for(lambda: ("commit", 3) in short.commands.calls[before:], what="the transaction that puts it back")
    assert short.place(asked[2]) == WAITS
    assert short.row(asked[2]).started is None
    assert ("commit", 1, 2, 3) in short.commands.calls[before:]


def test_another_priority_counts_though_the_start_is_kept_ahead(short):
    asked = three_more_than_run(short)
    short.ask(messages.Priority, "d", None, -5)
    wait_for(lambda: short.row(asked[3]).priority == -5, what="the priority")
    short.short_end(short.commands.specs[-1])
    wait_for(lambda: len(short.commands.specs) == 3, what="the start of the third")
    assert short.commands.specs[-1].seq == 4


def test_a_better_one_that_comes_goes_first(short):
    asked = three_more_than_run(short)
    better = short.run("better")
    wait_for(lambda: better.token in short.told.accepted, what="it to be accepted")
    short.settle_engine()
    short.short_end(short.commands.specs[-1])
    wait_for(lambda: len(short.commands.specs) == 3, what="the start of the third")
    assert short.commands.specs[-1].seq == 5
    short.settle_engine()
    assert [short.place(each) for each in asked[2:]] == [AHEAD] * 2


def test_cancelled_it_ends_as_one_that_never_began(short):
    asked = three_more_than_run(short)
    short.cancel(asked[2])
    short.settle(asked[2])
    row = short.row(asked[2])
    assert (row.state, row.attempt, row.started, row.outcome) == (State.ENDED, 0, None, Outcome.CANCELLED)
    assert short.commands.made("cancel") == []


def test_while_everything_is_paused_nothing_begins(short):
    asked = three_more_than_run(short)
    short.ask(messages.Pause)
    for each in asked[2:]:
        short.wait_for_place(each, WAITS)
    short.short_end(short.commands.specs[-1])
    short.settle(asked[1])
    short.settle_engine()
    assert len(short.commands.specs) == 2


def test_a_stop_leaves_them_queued(short):
    asked = three_more_than_run(short)
    short.engine.post(short.engine.drain, "the service is stopping")
    for each in asked[2:]:
        short.wait_for_place(each, WAITS)


@pytest.mark.parametrize("unproven", [False, True])
def test_after_a_crash_only_a_missing_proof_makes_them_interrupted(short, folder, unproven):
    asked = three_more_than_run(short)
    short.stop()  # without an orderly end
    again = ShortCommands(folder, unproven=unproven)
    places = [again.place(each) for each in asked[2:]]
    again.start()
    try:
        if not unproven:
            assert places == [(State.QUEUED, 1)] * 2
            for number in range(1, 4):
                wait_for(lambda n=number: len(again.commands.specs) == n, what="the next start")
                again.short_end(again.commands.specs[-1])
            again.settle_engine()
            assert [spec.seq for spec in again.commands.specs] == [2, 3, 4]
        for each in asked[1:]:
            again.wait_for_place(each, (State.ENDED, 1 if unproven else 2))
            assert again.row(each).outcome is (Outcome.INTERRUPTED if unproven else Outcome.SUCCEEDED)
    finally:
        again.stop()
