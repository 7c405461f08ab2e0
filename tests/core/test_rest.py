"""After each event the rounds of asking come to an end: nothing is parked and let go in turns, without end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcha._core import transitions
from orcha._core.admission import ALL, Admission, group_name, petition_name
from orcha._core.asking_round import NO, YES, Said
from orcha._core.conditions.condition import Condition
from orcha._core.conditions.terms import BUILT_IN
from orcha._core.groups import GroupRules
from orcha._core.moment import Moment
from orcha._core.petitions import Petitions
from orcha._core.quotas import Account, Limit
from orcha._core.reasons import MachineFull
from orcha._core.record import Record
from orcha._core.selection import Selection
from orcha._core.start_log import StartLog, StartRate
from orcha._core.state import Outcome
from orcha._core.transitions.command import CommandEnd
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.interfaces.needs import WHOLE

MAX_ROUNDS = 200
"""Far more rounds than one event can lead to, with so few petitions."""
SLOTS = 3
RULES = {"ruled": GroupRules(per_user=1, when="running < 2"), "rated": GroupRules(rate=StartRate(1, 60.0))}
GROUPS = (None, "rig", "any", "ruled", "rated")
ACCOUNTS = {
    "ann": (Account("ann", {"running": Limit(1)}, {}), Account("@lab", {}, {"gpu": Limit(1)})),
    "bob": (Account("bob", {"slots": Limit(2)}, {"gpu": Limit(2)}), Account("@lab", {}, {"gpu": Limit(1)})),
}


class Restless:
    """Petitions of three owners, and rounds of asking as the service makes them."""

    def __init__(self, look_ahead, *, has_quotas):
        self.time = 100.0
        self.petitions = Petitions()
        self.petitions.slots_of = {COMMAND_MANAGER: SLOTS}
        self.admission = Admission(self.petitions, resources={"gpu": 2}, now=lambda: Moment(self.time, self.time))
        self.admission.load([], {"rig": 1, "any": None, "ruled": 2, "rated": None}, RULES)
        self.petitions.granted.start_logs = {"rated": StartLog(RULES["rated"].rate)}
        self.selection = Selection(self.petitions, self.admission, look_ahead=look_ahead, are_all_own=True)
        if has_quotas:
            self.turn_quotas()

    def turn_quotas(self):
        is_off = self.petitions.quotas is None
        self.admission.set_quotas((lambda owner: ACCOUNTS.get(owner, ())) if is_off else None)

    def submit(self, owner, group, needs, priority, when):
        petitions = self.petitions
        seq = petitions.take_seq()
        record = Record(seq, seq.to_bytes(16, "big"), f"p{seq}", COMMAND_MANAGER, owner, b"", b"", 0.0)
        record.petition, record.command = object(), True
        record.group, record.needs, record.priority = group, needs, priority
        record.when = None if when is None else Condition(when, BUILT_IN)
        assert transitions.submit.receive(petitions, record) is None
        transitions.submit.accept(petitions, record, petitions.now, start=False, new_channel=False)
        petitions.note_change()

    def end(self, which):
        running = sorted(self.petitions.granted.seqs())
        if running:
            seq = running[which % len(running)]
            record = self.petitions.records[seq]
            transitions.command.ended(
                self.petitions, seq, record.attempt, CommandEnd(Outcome.SUCCEEDED, 0), self.petitions.now
            )
            transitions.finish.hook_done(self.petitions, seq, self.petitions.now)

    def turn_pause(self, name):
        (self.admission.resume if name in self.admission.paused else self.admission.pause)(name)

    def rests(self):
        """Make rounds as long as the service would; tell whether that comes to an end."""
        petitions, selection, admission = self.petitions, self.selection, self.admission
        for _ in range(MAX_ROUNDS):
            are_more = True
            while are_more:
                assert admission.unpark_resumed()[0] == []
                are_more = admission.unpark_resumed()[1]
            assert selection.make_ready() == []
            asked = selection.next_round(self.time, converting=False)
            selection.handed_over()
            asking, said = asked.ask(admission, petitions.granted, lambda: petitions.version), None
            while True:
                try:
                    candidate = asking.send(said)
                except StopIteration:
                    break
                is_full = len(petitions.granted.of_manager(candidate.manager)) >= SLOTS
                said = Said(NO, MachineFull(SLOTS), for_all=True) if is_full else Said(YES)
            selection.settle(asked.answers, asked.unchanged, petitions.now)
            selection.note(asked, self.time)
            petitions.take()
            if ALL in admission.paused or not selection.are_news:
                return True
        return False


_NEEDS = st.sampled_from([None, None, None, None, {"gpu": 1}, {"gpu": 2}, {WHOLE: 1}])
_TEXTS = st.sampled_from([None, None, None, None, "running < 1", 'resource("gpu").free >= 1'])
_EVENTS = st.one_of(
    st.tuples(
        st.just("submit"),
        st.sampled_from(["ann", "bob", "eve"]),
        st.sampled_from(GROUPS),
        _NEEDS,
        st.integers(-1, 1),
        _TEXTS,
    ),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(
        st.just("turn_pause"),
        st.sampled_from(
            [ALL, group_name("rig"), group_name("any"), group_name("ruled"), *map(petition_name, range(1, 5))]
        ),
    ),
    st.just(("turn_quotas",)),
)


def _submit(owner="ann", group=None, needs=None, priority=0, when=None):
    return ("submit", owner, group, needs, priority, when)


_OF_A_PAUSED_GROUP_WITH_ITS_QUOTA_USED_UP = [_submit(), ("turn_pause", "group:rig"), _submit(group="rig")]
_BEHIND_AN_EXCLUSIVE_ONE_OF_ITS_GROUP = [
    *(_submit(), ("turn_pause", "petition:4"), _submit(), _submit(), ("end", 4), _submit()),
    *(_submit(group="rated", needs={WHOLE: 1}, priority=1), _submit(needs={WHOLE: 1}), ("end", 0), ("end", 1)),
    *(_submit("bob", "rated", {"gpu": 2}, 1), _submit(group="rated", needs={"gpu": 1}), ("end", 3)),
]
_BEHIND_ITS_TEXT_WHERE_THE_MACHINE_IS_FULL = [
    *(_submit(priority=1), _submit(), _submit("eve", "rig", priority=1)),
    *(_submit("eve", "any", priority=-1), _submit(group="rated", priority=-1, when="running < 1")),
]
_TIMES = st.sampled_from([0.5, 1.0, 70.0])


def goes_through(events, look_ahead, *, has_quotas):
    """Have the events happen, each with the seconds that pass after it; all rounds have to come to an end."""
    world = Restless(look_ahead, has_quotas=has_quotas)
    for (what, *details), seconds in events:
        getattr(world, what)(*details)
        assert world.rests(), "rounds without end"
        world.time += seconds


@pytest.mark.parametrize(
    "events",
    [
        _OF_A_PAUSED_GROUP_WITH_ITS_QUOTA_USED_UP,
        _BEHIND_AN_EXCLUSIVE_ONE_OF_ITS_GROUP,
        _BEHIND_ITS_TEXT_WHERE_THE_MACHINE_IS_FULL,
    ],
)
def test_a_petition_is_parked_where_it_stays(events):
    has_quotas = events is _OF_A_PAUSED_GROUP_WITH_ITS_QUOTA_USED_UP
    goes_through([(event, 50.0) for event in events], None, has_quotas=has_quotas)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(_EVENTS, _TIMES), min_size=15, max_size=40), st.sampled_from([None, None, 1, 3]), st.booleans()
)
def test_after_each_event_the_rounds_come_to_an_end(events, look_ahead, has_quotas):
    goes_through(events, look_ahead, has_quotas=has_quotas)
