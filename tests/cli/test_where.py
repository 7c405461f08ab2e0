"""`orcha where`, and the options and variables that say which service is meant."""

from __future__ import annotations

import json

import pytest

from support import warm
from support.waiting import DEADLINE

AT_ONCE = 2


@pytest.fixture
def asked(service):
    """Give a function that runs orcha with options before the command, and variables."""

    def run(*words, **variables):
        environment = {name: text for name, text in service.environment.items() if not name.startswith("ORCHA_S")}
        command = [*service.orcha()[:3], *words]
        return warm.run(
            command, env=environment | variables, capture_output=True, text=True, timeout=DEADLINE, check=False
        )

    return run


def test_where_tells_which_service_and_why(asked, service):
    there = ("--port", str(service.port), "where")
    told = asked(*there)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines()[0] == f"127.0.0.1:{service.port}"
    assert told.stdout.splitlines()[2] == "  --port or --listen-address names it"
    known = json.loads(asked(*there, "--json").stdout)
    assert (known["kind"], known["transport"], known["tried"]) == ("named", "unix", [])
    by_path = f"{service.home}/127.0.0.1-{service.port}"
    known = json.loads(asked("--service", by_path, "where", "--json").stdout)
    assert (known["place"], known["named_by"]) == (f"{by_path}/orcha.sock", "--service")
    known = json.loads(asked("where", "--json", ORCHA_SERVICE=by_path, ORCHA_PORT="1").stdout)
    assert (known["place"], known["named_by"]) == (f"{by_path}/orcha.sock", "ORCHA_SERVICE")
    known = json.loads(asked("where", "--json", ORCHA_PORT=str(service.port)).stdout)
    assert known["named_by"] == "ORCHA_PORT"
    assert asked("run", "--", "echo", "hi", ORCHA_SERVICE=by_path).stdout == "hi\n"


def test_where_nobody_answers_is_told_with_all_that_was_tried(asked, service):
    none = asked("where")
    assert (none.returncode, none.stdout, none.stderr.count("\n")) == (69, "", 1)
    none = asked("where", "--json", ORCHA_SYSTEM_ROOT="/nonexistent")
    known = json.loads(none.stdout)
    assert (none.returncode, known["place"], known["named_by"]) == (69, None, None)
    assert known["tried"] == [
        f"{service.home}/default/orcha.sock",
        f"{service.home}/127.0.0.1-50000/orcha.sock",
        "/nonexistent/run/orcha/orcha.sock",
    ]


def test_a_service_is_named_in_one_way(asked):
    both = asked("--service", "user", "--port", "50001", "where")
    assert both.returncode == 2
    assert "--service says where a service is" in both.stderr
    serving = asked("--service", "user", "serve")
    assert (serving.returncode, serving.stderr.count("\n")) == (2, 1)
    unknown = asked("where", ORCHA_SERVICE="nowhere")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (78, 1)
    assert "there is no service 'nowhere'" in unknown.stderr
