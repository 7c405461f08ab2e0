"""What another user may not do to petitions and schedules that are not theirs, message by message."""

from __future__ import annotations

import os

from orcha._protocol import values
from orcha._protocol.messages import AddSchedule, Finish, Put, Verdict
from support.asking import asking


def test_another_user_neither_ends_an_action_nor_writes_for_it():
    with asking() as asked:
        token = os.urandom(16)
        asked.submit(asked.user, "hers", token, holds=True)
        asked.wait_for("hers", "running")
        seq = asked.rows()["hers"]["seq"]
        for forged in (
            asked.ask(asked.stranger, Finish, token, seq, 1, 0),
            asked.ask(asked.stranger, Put, token, seq, 1, bytes(8), 1, [values.encode("forged\n")]),
        ):
            assert forged.verdict == Verdict.DENIED
            assert forged.reason.startswith("'hers' is somebody else's petition: only an admin may send the values")
        assert asked.state("hers") == "running"
        assert asked.ask(asked.stranger, Finish, token, seq + 1, 1, 0).verdict == Verdict.GONE
        assert asked.ask(asked.user, Finish, token, seq, 1, 7).verdict == Verdict.OK
        asked.manager.free("hers")
        asked.wait_for("hers", "failed")


def test_an_id_of_a_firing_is_kept_for_the_owner_of_its_schedule():
    with asking() as asked:
        added = asked.ask(asked.owner, AddSchedule, "backup", "0 3 * * *", values.encode({}), None, "UTC")
        assert added.verdict == Verdict.OK
        squatted = asked.submit(asked.stranger, "backup@2027-01-01T03:00", holds=True)
        assert squatted.verdict == Verdict.REFUSED
        assert "of a firing of somebody else's schedule" in squatted.reason
        assert asked.submit(asked.stranger, "restore@2027-01-01T03:00").verdict == Verdict.ACCEPTED
        assert asked.submit(asked.owner, "backup@2027-01-01T03:00").verdict == Verdict.ACCEPTED
