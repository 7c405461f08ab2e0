"""Numbers of the command line, through the service to the command."""

from __future__ import annotations

import pytest

AT_ONCE = 2
"""Commands that the service runs."""


@pytest.mark.parametrize("text", ["25d", "720h", "3650d", "36500d"])
@pytest.mark.parametrize("option", ["timeout", "idle-timeout", "cpu-timeout", "queue-timeout", "grace", "drain"])
def test_a_limit_of_weeks_or_years_ends_nothing(service, option, text):
    done = service.run("run", f"--{option}", text, "--", "sh", "-c", "echo $(sleep 0.01)a")
    assert (done.stdout, done.stderr, done.returncode) == ("a\n", "", 0)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("timeout", "36501d"),
        ("timeout", "-1"),
        ("idle-timeout", "nan"),
        ("cpu-timeout", "inf"),
        ("grace", "1e5"),
        ("drain", "36501d"),
        ("memory", "9" * 400),
        ("pids", str(2**63)),
        ("cpu-share", "0"),
        ("output-limit", "-1"),
        ("priority", "nan"),
        ("retry", "x"),
        ("retry-factor", "nan"),
        ("retry-delay", "100000d"),
        ("need", "a=0"),
    ],
)
def test_what_is_no_such_number_is_refused_with_the_options_name(service, option, text):
    done = service.run("run", f"--{option}={text}", "--", "true")
    assert done.returncode == 2
    assert f"--{option}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_timeout_of_a_millisecond_is_one(service):
    done = service.run("run", "--timeout", "1ms", "--", "sleep", "1000")
    assert (done.stderr, done.returncode) == ("orcha: ran longer than 0.001 s\n", 124)
