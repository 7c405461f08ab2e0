"""Who has what: users who have something, or are connected, and nobody else."""

from __future__ import annotations

from orcha._protocol.messages import Who
from support.asking import asking


def test_before_the_first_petition_the_connected_users_alone_are_told_of():
    with asking() as asked:
        known = asked.value(asked.ask(asked.owner, Who))["users"]
        assert [(each["owner"], each["queued"], each["connections"]) for each in known] == [("uid:0", 0, 1)]
