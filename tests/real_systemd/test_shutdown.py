"""The machine is switched off: commands end as interrupted, soon, and that is told after the next boot."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.slow]


@pytest.mark.may_leave("children", "descriptors")  # the machine that was booted again
def test_commands_end_where_the_machine_goes_down_and_are_told_after_the_next_boot(unit):
    unit.systemctl("enable")
    unit.start()
    unit.machine.run_as("alice", "orcha run --detach --name keep -- sleep 3000")
    unit.machine.run_as(
        "bob", "orcha run --detach --name ends -- sh -c 'trap \"echo told; exit\" INT; sleep 3000 & wait'"
    )
    unit.machine.run("systemctl", "poweroff", "--no-block")
    unit.machine.wait_until_off()
    unit.machine.boot()
    rows = unit.rows()
    assert rows["keep"]["outcome"] == "interrupted"
    assert "machine" in rows["keep"]["reason"]
    assert "told" in unit.machine.run_as("bob", "orcha logs ends")
    assert unit.machine.run_as("alice", "orcha run -- echo again") == "again"
