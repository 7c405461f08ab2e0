"""How many petitions of a group may start within a time: never more in any span of that time, over restarts too."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orcha._core.moment import Moment
from orcha._core.start_log import StartLog, StartRate


@given(
    st.integers(1, 4),
    st.integers(1, 10),
    st.lists(st.integers(0, 5), max_size=40),
    st.lists(st.booleans(), max_size=40),
    st.sets(st.integers(0, 39)),
)
def test_in_no_span_do_more_start_and_no_longer_than_that_does_one_wait(count, seconds, pauses, restarts, undone):
    rate, now, kept, begun = StartRate(count, float(seconds)), 1_000.0, {}, []
    log = StartLog(rate)
    for number, pause in enumerate(pauses):
        now += pause
        if number < len(restarts) and restarts[number]:  # the clock that nobody sets begins anew
            log = StartLog(rate)
            log.load(kept, Moment(now, now))
        may = sum(each > now - seconds for each in begun) < count
        assert (log.due(now) is None) is may, (now, begun)
        assert log.free(now) == count - sum(each > now - seconds for each in begun)
        if may:
            log.said_yes(number)
            kept[log.note_start(number, Moment(now, now))] = now
            begun.append(now)
            if number in undone:  # the transaction of this start was not kept
                del kept[log.drop_start(number)]
                begun.pop()
        else:
            assert log.due(now) == sorted(begun)[-count] + seconds


def test_who_was_let_start_counts_until_the_yes_is_dropped():
    log = StartLog(StartRate(2, 60.0))
    log.said_yes(1)
    assert (log.free(0.0), log.due(0.0)) == (1, None)
    log.said_yes(2)
    assert (log.free(0.0), log.due(0.0)) == (0, 60.0)
    log.drop_yes(1)
    log.drop_yes(1)
    assert log.free(0.0) == 1
    log.note_start(2, Moment(0.0, 0.0))
    assert log.free(0.0) == 1


def test_a_clock_that_was_set_back_makes_nobody_wait_longer_than_the_time_of_the_rate():
    log = StartLog(StartRate(1, 60.0))
    log.load({0: 5_000.0}, Moment(1_000.0, 7.0))
    assert log.due(7.0) == 67.0
    assert log.walls(Moment(1_000.0, 7.0)) == [1_000.0]
    assert log.walls(Moment(1_060.0, 67.0)) == []
