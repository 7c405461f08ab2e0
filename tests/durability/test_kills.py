"""Kill -9 at random moments under load: nothing accepted is lost, nothing runs twice, no line is lost or doubled.

``TEST_SEED`` repeats a run as far as chance allows; ``TEST_KILLS`` sets how many kills there are in all.
"""

from __future__ import annotations

import os
import random

import pytest

from support.killing import Campaign

KILLS = int(os.environ.get("TEST_KILLS", "220"))
RUNS = 2


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
    figures = campaign.end()
    with capsys.disabled():
        print(f"\nTEST_SEED={seed}: {campaign.kills} kills: {figures}")
    assert figures.acked > campaign.kills
