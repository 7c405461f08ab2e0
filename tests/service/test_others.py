"""What another user may not do to petitions and schedules that are not theirs, message by message."""

from __future__ import annotations

import os

from orcha._protocol import values
from orcha._protocol.messages import AddSchedule, Finish, Item, Kind, Put, Submit, Verdict
from support.asking import ExtrasChannel, Person, asking


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


def test_nobody_writes_into_a_channel_of_another_user():
    """Neither with the channel, nor with a token that is the channel's number: that would be the petition's channel."""
    with asking() as asked:
        hers, operator = os.urandom(16), Person("operator", "uid:9")

        def submit(person, identity):
            extras = values.encode({"queue": ExtrasChannel(hers)})
            return asked.ask(person, Submit, None, 1 << 20, [Item(os.urandom(16), identity, extras, hers)]).results[0]

        for identity in ("first", "second"):
            assert submit(asked.user, identity).verdict == Verdict.ACCEPTED
            asked.wait_for(identity, "succeeded")
        for person in (asked.stranger, operator, asked.owner):
            named = submit(person, f"by {person.role}")
            assert (named.verdict, named.reason) == (Verdict.REFUSED, "this channel belongs to somebody else")
            taken = asked.submit(person, f"by {person.role}", hers)
            assert (taken.verdict, taken.reason) == (Verdict.REFUSED, "this token is somebody else's")
        assert asked.rows().keys() == {"first", "second"}
        written = asked.records(asked.user, hers)
        assert [values.decode(each.payload) for each in written if each.kind == Kind.VALUE] == [
            "first runs\n",
            "second runs\n",
        ]


def test_an_id_of_a_firing_is_kept_for_the_owner_of_its_schedule():
    with asking() as asked:
        added = asked.ask(asked.owner, AddSchedule, "backup", "0 3 * * *", values.encode({}), None, "UTC")
        assert added.verdict == Verdict.OK
        squatted = asked.submit(asked.stranger, "backup@2027-01-01T03:00", holds=True)
        assert squatted.verdict == Verdict.REFUSED
        assert "of a firing of somebody else's schedule" in squatted.reason
        assert asked.submit(asked.stranger, "restore@2027-01-01T03:00").verdict == Verdict.ACCEPTED
        assert asked.submit(asked.owner, "backup@2027-01-01T03:00").verdict == Verdict.ACCEPTED
