"""As which user a command runs."""

from __future__ import annotations

import pytest

from orcha._core.authority import CannotRunAsError, runs_as, uid_of


def test_a_service_of_root_runs_what_was_asked_for_as_who_asked():
    assert runs_as("uid:1001", as_submitter=True, service=0) == 1001
    assert runs_as("uid:0", as_submitter=True, service=0) is None
    assert runs_as("uid:1001", as_submitter=False, service=0) is None


def test_a_service_of_a_user_runs_all_as_that_user():
    for owner in ("uid:1001", "uid:0", "key:abc"):
        assert runs_as(owner, as_submitter=True, service=1000) is None


@pytest.mark.parametrize("owner", ["key:abc", "attempt", "uid:", "uid:-1", "uid:1x", "uid:\u0661"])
def test_nothing_runs_as_root_for_somebody_whom_no_kernel_knows(owner):
    assert uid_of(owner) is None
    with pytest.raises(CannotRunAsError, match="no user of this machine"):
        runs_as(owner, as_submitter=True, service=0)
