"""Both stores, driven by chance, never differ; nor does the durable one after it was closed or killed."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orcha._core.changes import Append, AttemptStep, Changes, NewChannel
from orcha._core.state import OnInterrupt, Outcome, State
from orcha._store.disk_reserve import Limits
from orcha._store.memory import MemoryStore
from orcha._store.sqlite import SqliteStore
from orcha.exceptions.store import FencedError, TokenKnown
from support.changes import ANY_STATE, name, petition, step

LIMITS = Limits(log=64 << 10, checkpoint=32 << 10, ballast=64 << 10, watermark=1 << 10)
MANAGERS = ["a:A", "b:B"]
SEQS = st.integers(1, 12)
CHANNELS = st.integers(1, 6).map(name)
STATES = st.sampled_from(State)
TIMES = st.floats(0, 2e9) | st.sampled_from([10.0, 20.0, 30.0])
NUMBERS = st.none() | st.integers(-(2**63), 2**63 - 1)
PRIORITIES = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.integers(-2, 2)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PETITIONS = st.builds(
    petition,
    SEQS,
    token=st.integers(1, 20).map(name),
    id=TEXT,
    id_is_int=st.booleans(),
    manager=st.sampled_from(MANAGERS),
    channel=CHANNELS,
    state=STATES,
    attempt=st.integers(0, 2),
    priority=PRIORITIES | st.sampled_from([math.nan, 1 << 63]),
    extras=st.binary(max_size=20),
    on_interrupt=st.sampled_from(OnInterrupt),
    submitted=TIMES,
    outcome=st.none() | st.sampled_from(Outcome),
    code=NUMBERS,
    reason=st.none() | TEXT,
)
STEPS = st.builds(
    step,
    SEQS,
    STATES,
    attempt=st.integers(0, 2),
    to_attempt=st.none() | st.integers(0, 2),
    from_states=st.sampled_from([ANY_STATE, ANY_STATE, 1 << State.QUEUED, 1 << State.STARTING]),
    at=TIMES,
    outcome=st.none() | st.sampled_from(Outcome),
    code=NUMBERS,
    reason=st.none() | TEXT,
    hook_pending=st.booleans(),
    slot_held=st.booleans(),
)
APPENDS = st.builds(Append, CHANNELS, st.integers(0, 5), st.integers(1, 3), st.binary(max_size=30))
ATTEMPTS = st.builds(
    AttemptStep,
    SEQS,
    st.integers(0, 2),
    st.none() | st.integers(1, 9),
    st.none() | TIMES,
    st.none() | TEXT,
    st.none() | TEXT,
    st.integers(0, 9),
    st.none() | TIMES,
    st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 9),
    st.none() | TEXT,
    st.booleans(),
)


def few(strategy):
    return st.lists(strategy, max_size=3)


def outcome_of(store, changes, durable):
    """Give what a commit gives, or the error it raises, so far as the contract says."""
    try:
        return "kept", sorted(store.commit(changes, durable=durable))
    except FencedError as error:
        return FencedError, error.seqs
    except TokenKnown as error:
        return TokenKnown, sorted(error.tokens)
    except ValueError:
        return (ValueError,)


class Agreement(RuleBasedStateMachine):
    """The same changes for both."""

    @initialize()
    def begin(self):
        self.root = Path(tempfile.mkdtemp(prefix="orcha-agreement-"))
        self.folder = self.root / "0"
        self.folder.mkdir()
        self.durable = SqliteStore(self.folder, limits=LIMITS)
        self.memory = MemoryStore()
        self.starts = 0
        self.restart()

    def restart(self):
        self.starts += 1
        given = [store.begin(nonce=self.starts, boot_id="b", uid=0, now=1.0) for store in (self.durable, self.memory)]
        assert given[0] == given[1]

    def both(self, ask):
        one, other = ask(self.durable), ask(self.memory)
        assert one == other
        return one

    @rule(
        petitions=few(PETITIONS),
        transitions=few(STEPS),
        appends=few(APPENDS),
        flags=st.dictionaries(SEQS, st.tuples(st.booleans(), st.booleans()), max_size=2),
        deleted=few(SEQS),
        tombstones=few(st.tuples(CHANNELS, TIMES)),
        own=st.booleans(),
        durable=st.booleans(),
    )
    def commit(self, petitions, transitions, appends, flags, deleted, tombstones, own, durable):
        for new in petitions:
            known = self.memory.channel(new.channel)
            missing = known is None and all(append.channel != new.channel for append in appends)
            channels = {} if not missing else {new.channel: NewChannel(new.channel, new.owner, own=own)}
            one = Changes(petitions=[new], channels=list(channels.values()))
            self.apply(one, durable)
        for append in appends:
            self.apply(Changes(appends=[append]), durable)
        for transition in transitions:
            self.apply(Changes(transitions={transition.seq: transition}), durable)
        self.apply(Changes(flags=flags), durable)
        self.apply(Changes(deleted=deleted, tombstones=tombstones), durable)

    @rule(petitions=few(PETITIONS), transitions=few(STEPS), appends=few(APPENDS), deleted=few(SEQS))
    def commit_all_at_once(self, petitions, transitions, appends, deleted):
        """Apply a mixture, where no two of its errors compete."""
        changes = Changes(
            petitions=petitions,
            transitions={transition.seq: transition for transition in transitions},
            appends=appends,
            deleted=deleted,
        )
        for channel in {new.channel for new in petitions}:
            if self.memory.channel(channel) is None:
                changes.channels.append(NewChannel(channel, "uid:0", own=False))
        results = [outcome_of(store, changes, True) for store in (self.durable, self.memory)]
        assert (results[0][0] == "kept") == (results[1][0] == "kept"), results
        if results[0][0] == "kept":
            assert results[0] == results[1]

    @rule(attempts=few(ATTEMPTS), transitions=few(STEPS), durable=st.booleans())
    def keep_attempts(self, attempts, transitions, durable):
        changes = Changes(
            transitions={transition.seq: transition for transition in transitions},
            attempts={attempt.seq: attempt for attempt in attempts},
        )
        self.apply(changes, durable)

    @rule(seqs=few(SEQS))
    def ask_for_attempts(self, seqs):
        self.both(lambda store: store.attempts(seqs))
        self.both(lambda store: store.resting())

    def apply(self, changes, durable):
        self.both(lambda store: outcome_of(store, changes, durable))

    @rule()
    def close_and_open(self):
        self.durable.close()
        self.durable = SqliteStore(self.folder, limits=LIMITS)
        self.restart()

    @rule()
    def kill_and_open(self):
        copy = self.root / str(self.starts)
        shutil.copytree(self.folder, copy, ignore=shutil.ignore_patterns("*-shm"))
        self.durable.close()
        self.folder = copy
        self.durable = SqliteStore(copy, limits=LIMITS)
        self.restart()

    @rule(epochs=few(st.integers(1, 6)))
    def forget(self, epochs):
        self.durable.forget_incarnations(epochs)
        self.memory.forget_incarnations(epochs)

    @rule(
        states=st.integers(0, ANY_STATE),
        limit=st.integers(0, 5),
        before=st.none() | SEQS,
        id=st.none() | TEXT,
        owner=st.sampled_from([None, "uid:0", "nobody"]),
    )
    def page(self, states, limit, before, id, owner):  # noqa: A002
        self.both(lambda store: store.page(states=states, limit=limit, before=before, id=id, owner=owner))

    @rule(older=TIMES, keep=st.integers(0, 5), younger=TIMES, limit=st.integers(1, 5))
    def prunable(self, older, keep, younger, limit):
        self.both(lambda store: store.prunable(older_than=older, keep=keep, younger_than=younger, limit=limit))

    @rule(channel=CHANNELS, index=st.integers(0, 9), limit=st.integers(0, 90))
    def records(self, channel, index, limit):
        self.both(lambda store: store.records(channel, index, limit))

    @rule(tokens=few(CHANNELS), now=TIMES)
    def ask_for_tokens(self, tokens, now):
        self.both(lambda store: store.tokens(tokens))

    @precondition(lambda self: hasattr(self, "durable"))
    @invariant()
    def agree(self):
        self.both(lambda store: store.page(states=ANY_STATE, limit=99))
        self.both(lambda store: store.rows([3, 1, 2, 99, 5]))
        self.both(lambda store: store.next_seq())
        for manager in MANAGERS:
            self.both(lambda store, m=manager: list(store.waiting(m)))
            self.both(lambda store, m=manager: store.unfinished(m))
        for channel in (name(1), name(2), name(3)):
            self.both(lambda store, c=channel: store.channel(c))
            self.both(lambda store, c=channel: store.records(c, 0, 1000))

    def teardown(self):
        if hasattr(self, "durable"):
            self.durable.close()
            shutil.rmtree(self.root)


Agreement.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBothStoresAgree = Agreement.TestCase
