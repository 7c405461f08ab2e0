"""Which limit of time a group gave to a petition, by the petition's sequence number."""

from __future__ import annotations

import pytest

from orcha._core.admission import Admission
from orcha._core.group_limits import changed, limit_at, limits_of, limits_text
from orcha._core.moment import Moment
from orcha._core.petitions import Petitions


@pytest.mark.parametrize(("seq", "seconds"), [(1, None), (4, None), (5, 60.0), (8, 60.0), (9, 30.0), (99, 30.0)])
def test_a_petition_gets_what_the_group_gave_when_it_came(seq, seconds):
    assert limit_at(((5, 60.0), (9, 30.0)), seq) == seconds


def test_only_another_limit_is_a_change_and_the_last_of_one_moment_counts():
    changes = changed((), 5, 60.0)
    assert changed(changes, 7, 60.0) is changes
    assert changed(changes, 5, 30.0) == ((5, 30.0),)
    assert limits_of(limits_text(changed(changes, 7, None))) == ((5, 60.0), (7, None))


def test_a_hundred_changes_are_kept():
    changes = ()
    for seq in range(1, 151):
        changes = changed(changes, seq, float(seq))
    assert (len(changes), changes[0], limit_at(changes, 150)) == (100, (51, 51.0), 150.0)


def test_what_a_petition_asks_for_counts_more_and_a_message_gets_what_the_group_gives_now():
    groups = Admission(Petitions(), now=lambda: Moment(0.0, 0.0)).of_groups
    groups.limits = {"rig": ((5, 60.0), (9, 30.0))}
    assert groups.timeout_of("rig", 6, 10.0) == 10.0
    assert groups.timeout_of(None, 6, None) is None
    assert groups.timeout_of("other", 6, None) is None
    assert (groups.timeout_of("rig", 6, None), groups.timeout_of("rig", 0, None)) == (60.0, 30.0)
