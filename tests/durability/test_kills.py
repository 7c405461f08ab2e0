"""Kill -9 at random moments under load: nothing accepted is lost, nothing runs twice, no line is lost or doubled.

``TEST_SEED`` repeats a run as far as chance allows; ``TEST_KILLS`` sets how many kills there are in all.
"""

from __future__ import annotations

import itertools
import os
import random

import pytest

from durability.killing import Campaign
from orcha.interfaces import Message
from support.ledger import read_ledger
from support.waiting import wait_for

KILLS = int(os.environ.get("TEST_KILLS", "220"))
RUNS = 4
"""Each on a service and a store of its own; several, so that no other test has to wait for a long one."""


@pytest.mark.slow
@pytest.mark.timeout(60 + 3 * KILLS)
@pytest.mark.parametrize("run", range(RUNS))
def test_killed_at_random_under_load_it_loses_and_doubles_nothing(serve, tmp_path, run, capsys):
    seed = int(os.environ.get("TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
    print(f"TEST_SEED={seed}")
    campaign = Campaign(serve, tmp_path, seed)
    while campaign.kills < KILLS // RUNS:
        campaign.round()
        if campaign.random.random() < 0.05:
            campaign.kill_client()
    wait_for(
        lambda: campaign.acked() > campaign.kills, what="enough work, on a slow machine after the kills", interval=1
    )
    figures = campaign.end()
    with capsys.disabled():
        print(f"\nTEST_SEED={seed}: {campaign.kills} kills: {figures}")
    assert figures.acked > campaign.kills


@pytest.mark.slow
def test_killed_again_and_again_it_runs_what_was_queued_in_order(serve, connect, gate, tmp_path):
    service = serve("support.ledger:LedgerManager", environment={"TEST_LIMIT": "1"})
    client = connect(service)
    ledger = tmp_path / "ledger"
    source = random.Random(7)
    client.send(Message("first", {"ledger": str(ledger), "gate": gate.path, "priority": -1}))
    gate.wait_until_reached()
    priorities = {f"m{number}": source.choice([0, 1, 1.5, 2]) for number in range(60)}
    client.send_many(
        [
            Message(name, {"ledger": str(ledger), "priority": priority, "pause": 0.01, "lines": 1, "policy": policy})
            for (name, priority), policy in zip(priorities.items(), itertools.cycle(["fail", "rerun"]), strict=False)
        ]
    )
    service.kill()
    gate.close()
    for count in (1, 5, 6, 20, 21, 40):
        service.start()
        wait_for(lambda count=count: len(read_ledger(ledger)) > count, what=f"the start of {count}", interval=0.001)
        service.kill()
    service.start()
    ended = wait_for(lambda: all_ended(client, 61), what="the end of all")
    started = list(dict.fromkeys(name for name, _ in read_ledger(ledger) if name != "first"))
    ordered = sorted(priorities, key=lambda name: (priorities[name], int(name[1:])))
    assert started == [name for name in ordered if name in started]
    assert len(started) >= 54
    assert {ended[name] for name in set(priorities) - set(started)} <= {"interrupted"}


def all_ended(client, count):
    """Give the outcomes once all have one."""
    outcomes = {row["id"]: row["outcome"] for row in client.manager.client.rows(0b1111110, count + 1)}
    return outcomes if len(outcomes) == count and all(outcomes.values()) else None
