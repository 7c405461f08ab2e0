"""A reader that lacks bytes of a command's output does not end with success, and is told how many."""

from __future__ import annotations

import pytest

AT_ONCE = 2
OWN_FAILURE = 125


def written(service, *options, size=5_000_000, code=0):
    script = f"head -c {size} /dev/zero; exit {code}"
    return service.run("run", "--name", "it", *options, "--", "sh", "-c", script, text=False)


@pytest.mark.parametrize("limit", ["1", "1M", "4999999"])
def test_who_reads_along_and_lacks_what_was_dropped_does_not_end_with_0(service, limit):
    done = written(service, "--output-limit", limit)
    lacking = 5_000_000 - len(done.stdout)
    assert lacking
    assert f"{lacking} bytes of output are lost" in done.stderr.decode()
    assert done.returncode == OWN_FAILURE
    logs = service.run("logs", "it", text=False)
    assert len(logs.stdout) == len(done.stdout)
    assert f"{lacking} bytes of output are lost" in logs.stderr.decode()


def test_who_attaches_later_is_told_too(service):
    assert written(service, "--detach", "--output-limit", "10").returncode == 0
    done = service.run("attach", "it", text=False)
    assert (len(done.stdout), done.returncode) == (10, OWN_FAILURE)
    assert "4999990 bytes of output are lost" in done.stderr.decode()


def test_a_failure_keeps_its_code(service):
    assert written(service, "--output-limit", "10", code=3).returncode == 3


def test_all_there_may_be_is_no_loss(service):
    done = written(service, "--output-limit", "5000000")
    assert (len(done.stdout), done.stderr, done.returncode) == (5_000_000, b"", 0)
