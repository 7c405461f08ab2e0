"""A service is drained and goes on, as people ask for it; a kill in between changes nothing."""

from __future__ import annotations

import re


def test_a_drained_service_starts_nothing_over_a_kill_until_it_is_undrained(serve):
    service = serve(arguments=("serve", "commands"))
    done = service.run("drain", "--for", "2h", "--why", "a new disk")
    assert done.returncode == 0
    assert re.fullmatch(r"orcha: nothing runs, and nothing starts until [-: \d]{19}, or orcha undrain\n", done.stderr)
    waits = service.ask("run", "-d", "--", "true").stdout.strip()
    service.kill()
    service.start()
    shown = service.ask("ps").stdout
    assert waits in shown
    last = shown.splitlines()[-1]
    assert last.startswith("the service is drained until 2")
    assert re.fullmatch(r"the service is drained until [-: \d]{19}: a new disk, nothing starts: orcha undrain", last)
    assert "the service is drained until 2" in service.ask("why", waits).stdout
    assert service.run("undrain").returncode == 0
    assert service.ask("wait", waits).returncode == 0
    done = service.ask("undrain")
    assert (done.returncode, "the service is not drained" in done.stderr) == (1, True)
